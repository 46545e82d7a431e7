//! Which fabric: a preset, numbers, or a topology's documents.

use std::path::PathBuf;

use anyhow::{Context, bail};
use srv6_paths::read_topology;
use srv6_sim::{Clos, Names, import, preset};

/// Rate where nothing says one, in Gbit/s.
const RATE: f64 = 400.0;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fabric")]
pub(super) struct FabricArgs {
    /// A fabric by name: 4x4, 2x4x4, clos-256, clos-4096, planes-1024, fat-tree-1024, fat-tree-65536 or mrc-131072;
    /// the options below change single numbers of it
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// A fabric from a topology: a JSON file, several separated by commas, or a folder, as for srv6ctl lab
    #[arg(long, value_name = "FILE", conflicts_with_all = ["preset", "tiers", "planes", "pods", "leaves", "spines", "cores", "hosts_per_leaf"])]
    topology: Option<PathBuf>,
    /// Collection of edges that come without a collection name
    #[arg(long, value_name = "NAME", default_value = "fabric_graph", requires = "topology")]
    graph: String,
    /// Collection of hosts that come without a collection name
    #[arg(long, value_name = "NAME", default_value = "hosts", requires = "topology")]
    hosts: String,
    /// Tiers of switches, 2 or 3
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=3))]
    tiers: Option<u8>,
    /// Planes: separate networks, with a port of every host in each
    #[arg(long, value_name = "N")]
    planes: Option<usize>,
    /// Pods of a fabric of three tiers
    #[arg(long, value_name = "N")]
    pods: Option<usize>,
    /// Leaves, of each pod where there are pods
    #[arg(long, value_name = "N")]
    leaves: Option<usize>,
    /// Spines, of each pod where there are pods; every leaf of the pod has a link to each
    #[arg(long, value_name = "N")]
    spines: Option<usize>,
    /// Core switches above each spine of a pod, in three tiers
    #[arg(long, value_name = "N")]
    cores: Option<usize>,
    /// Hosts on each leaf; a host is one NIC
    #[arg(long, value_name = "N")]
    hosts_per_leaf: Option<usize>,
    /// Rate of a host's port into one plane, in Gbit/s [default: the preset's or the topology's, else 400]
    #[arg(long, value_name = "GBPS")]
    rate: Option<f64>,
    /// Rate of a link between switches, in Gbit/s [default: the preset's or the topology's, else --rate]
    #[arg(long, value_name = "GBPS")]
    rate_fabric: Option<f64>,
}

/// A fabric and what it is called.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) clos: Clos,
    pub(super) names: Names,
}

impl FabricArgs {
    pub(super) fn choose(&self) -> anyhow::Result<Chosen> {
        if let Some(file) = &self.topology {
            let (_, topology) =
                read_topology(file, &self.graph, &self.hosts).context("reading the topology")?;
            let name = file.display().to_string();
            let (clos, names) = import(&topology, RATE).with_context(|| format!("{name} is no Clos"))?;
            return Ok(Chosen { name, clos: self.with_rates(clos).check()?, names });
        }
        let (name, clos) = match &self.preset {
            Some(name) => (name.clone(), preset(name)?),
            None => ("custom".to_owned(), self.of_numbers()?),
        };
        let clos = self.with_rates(Clos {
            planes: self.planes.unwrap_or(clos.planes),
            pods: self.pods.unwrap_or(clos.pods),
            leaves: self.leaves.unwrap_or(clos.leaves),
            spines: self.spines.unwrap_or(clos.spines),
            cores: self.cores.unwrap_or(clos.cores),
            hosts_per_leaf: self.hosts_per_leaf.unwrap_or(clos.hosts_per_leaf),
            ..clos
        });
        let clos = clos.check()?;
        match self.tiers {
            Some(3) if clos.cores == 0 => {
                bail!("--tiers 3: want --cores too, the core switches above each spine")
            }
            Some(2) if clos.cores > 0 => bail!("--tiers 2: want no --cores, but there are {}", clos.cores),
            _ => {}
        }
        // The name is of the preset as it is; a changed one says so.
        let changed = self.preset.as_deref().is_some_and(|name| preset(name).is_ok_and(|p| p != clos));
        Ok(Chosen {
            name: if changed { format!("{name}, changed") } else { name },
            clos,
            names: Names::Generated,
        })
    }

    fn of_numbers(&self) -> anyhow::Result<Clos> {
        let wanted =
            [("--leaves", self.leaves), ("--spines", self.spines), ("--hosts-per-leaf", self.hosts_per_leaf)];
        let missing: Vec<&str> = wanted.iter().filter(|(_, n)| n.is_none()).map(|(name, _)| *name).collect();
        if missing.len() == wanted.len() {
            bail!(
                "no fabric: want --preset NAME, --topology FILE, or --leaves, --spines and --hosts-per-leaf"
            );
        }
        if !missing.is_empty() {
            bail!("a fabric without a preset: want {} too", missing.join(" and "));
        }
        // The numbers that were given replace all of these but the rates.
        Ok(Clos {
            planes: 1,
            pods: 1,
            leaves: 1,
            spines: 1,
            cores: 0,
            hosts_per_leaf: 1,
            host_rate: RATE,
            fabric_rate: self.rate.unwrap_or(RATE),
        })
    }

    fn with_rates(&self, clos: Clos) -> Clos {
        Clos {
            host_rate: self.rate.unwrap_or(clos.host_rate),
            fabric_rate: self.rate_fabric.unwrap_or(clos.fabric_rate),
            ..clos
        }
    }
}
