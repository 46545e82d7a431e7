//! From trials to what is drawn of them.

use super::{Fabric, Strip};
use crate::experiment::{Comparison, Trial, Workload};

/// What [`fractions`] shows.
pub(crate) const FRACTIONS: &str = "Slowest flow or collective, as a fraction of what the wire carries";

/// A strip for each workload and kind of routing.
pub(crate) fn fractions(comparison: &Comparison) -> Vec<Strip> {
    let mut strips = Vec::new();
    for workload in Workload::ALL {
        for routing in &comparison.routings {
            strips.push(Strip {
                group: workload.name().to_owned(),
                name: (*routing).to_owned(),
                values: comparison.fractions(workload, routing),
            });
        }
    }
    strips
}

/// The fabric of a trial, from the top: switches without hosts, switches with hosts, hosts.
pub(crate) fn fabric(trial: &Trial) -> Fabric {
    let ends = |switches: bool| {
        let links = trial.links.iter().filter(move |link| link.switches == switches);
        links.flat_map(|link| [link.from.clone(), link.to.clone()])
    };
    let switches: Vec<String> = distinct(ends(true));
    let near_hosts: Vec<String> = distinct(ends(false));
    let (leaves, hosts): (Vec<String>, Vec<String>) =
        near_hosts.into_iter().partition(|node| switches.contains(node));
    let spines = switches.into_iter().filter(|node| !leaves.contains(node)).collect();
    let links = trial.links.iter().map(|link| (link.from.clone(), link.to.clone(), link.load)).collect();
    Fabric { tiers: vec![spines, leaves, hosts], links }
}

fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::LinkLoad;

    #[test]
    fn tiers_follow_from_the_links() {
        let link = |from: &str, to: &str, switches| LinkLoad {
            from: from.into(),
            to: to.into(),
            load: 0.5,
            switches,
        };
        let trial = Trial {
            workload: Workload::Ring,
            routing: "ecmp",
            seconds: 1.0,
            fraction: 1.0,
            mean_fraction: 1.0,
            mbps: 1.0,
            jain: 1.0,
            links: vec![
                link("leaf00", "spine00", true),
                link("spine01", "leaf00", true),
                link("host00", "leaf00", false),
            ],
            wrong: 0,
            idle: 1.0,
        };
        let fabric = fabric(&trial);
        assert_eq!(fabric.tiers, [vec!["spine00", "spine01"], vec!["leaf00"], vec!["host00"]]);
        assert_eq!(fabric.links.len(), 3);
    }
}
