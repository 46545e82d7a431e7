//! What the evidence says about a flow. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde::Serialize;

use super::capture::LinkCount;
use super::trace::{Told, agreed};
use crate::echo::Outcome;

/// Everything that was gathered about one flow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// The lab's host that sends; `None` outside a lab.
    pub(crate) host: Option<String>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    /// The lane whose table the route is in; `None` for a whole flow's route.
    pub(crate) lane: Option<u8>,
    /// The binding SID of VPP's policy that was read back; `None` for the kernel's routes.
    pub(crate) policy: Option<Ipv6Addr>,
    /// Carriers in travel order; empty without a route of ours.
    pub(crate) segments: Vec<String>,
    /// Names in travel order; empty where no topology is at hand.
    pub(crate) hops: Vec<String>,
    /// Whether the topology has this path.
    pub(crate) is_path: bool,
    /// What speaks against the flow taking its path, before a packet is sent.
    pub(crate) contradictions: Vec<String>,
    /// Small probes, if any could be sent.
    pub(crate) small: Option<Outcome>,
    /// The largest packets that the route takes, with their size in bytes.
    pub(crate) full: Option<(usize, Outcome)>,
    /// Where in the lab the small probes were seen.
    pub(crate) links: Option<Vec<LinkCount>>,
    /// What the switches said, outside a lab.
    pub(crate) trace: Option<Trace>,
}

/// What switches on the way said, and what they should have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    pub(crate) told: Vec<Told>,
    /// By each switch but the last, in travel order.
    pub(crate) expected: Vec<Ipv6Addr>,
}

/// How sure it is that packets of the flow take the path of its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Every probe was seen on every link of the path and on no other; or, outside a lab, every switch on the way has told
    /// that it shifted its uSID, and every probe was answered.
    Proven,
    /// Nothing speaks against it, but neither links nor switches could be asked.
    Consistent,
    /// Something speaks against it.
    NotProven,
}

/// A flow that was judged.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) host: Option<String>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    /// `null` for the route of a whole flow.
    pub(crate) lane: Option<u8>,
    /// Binding SID of VPP's policy; `null` for what the kernel steers.
    pub(crate) policy: Option<Ipv6Addr>,
    pub(crate) path: Vec<String>,
    pub(crate) segments: Vec<String>,
    pub(crate) sent: usize,
    pub(crate) answered: usize,
    /// Microseconds.
    pub(crate) best_rtt_us: Option<u64>,
    /// Bytes of the largest packet that was answered at full size.
    pub(crate) largest: Option<usize>,
    /// `null` outside a lab.
    pub(crate) links: Option<Vec<LinkCount>>,
    /// `null` in a lab, and where switches can't be asked.
    pub(crate) trace: Option<Vec<Told>>,
    pub(crate) differences: Vec<String>,
}

/// Judges.
pub(crate) fn judge(evidence: Evidence) -> Judged {
    let mut differences = evidence.contradictions.clone();
    match &evidence.small {
        // VPP's packets don't pass the kernel, where a probe would be sent.
        None if differences.is_empty() && evidence.policy.is_none() => {
            differences.push("no probe was sent".to_owned())
        }
        None => {}
        Some(small) => match &evidence.links {
            Some(links) if evidence.is_path => {
                differences.extend(elsewhere(links, &evidence.hops, small.sent))
            }
            Some(links) => differences.extend(travelled(links, &evidence.hops)),
            None => differences.extend(unanswered(small)),
        },
    }
    if let (Some((size, full)), Some(small)) = (&evidence.full, &evidence.small)
        && small.answered > 0
    {
        differences.extend(too_large(*size, full));
    }
    let mut confirmed = false;
    if let Some(Trace { told, expected }) = &evidence.trace {
        match agreed(told, expected, &evidence.hops) {
            Err(difference) => differences.push(difference),
            Ok(count) => {
                confirmed = count == expected.len();
                let silent = evidence.small.as_ref().is_some_and(|small| small.answered == 0);
                let last = evidence.hops.get(count).filter(|_| silent && count > 0);
                differences.extend(last.map(|name| format!("the last switch that answers is {name}")));
            }
        }
    }
    let verdict = match (differences.is_empty(), evidence.links.is_some() || confirmed) {
        (false, _) => Verdict::NotProven,
        (true, true) => Verdict::Proven,
        (true, false) => Verdict::Consistent,
    };
    let small = evidence.small.unwrap_or_default();
    Judged {
        verdict,
        host: evidence.host,
        source: evidence.source,
        destination: evidence.destination,
        lane: evidence.lane,
        policy: evidence.policy,
        path: evidence.hops,
        segments: evidence.segments,
        sent: small.sent,
        answered: small.answered,
        best_rtt_us: small.best.map(microseconds),
        largest: evidence.full.filter(|(_, full)| full.answered > 0).map(|(size, _)| size),
        links: evidence.links,
        trace: evidence.trace.map(|trace| trace.told),
        differences,
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn unanswered(small: &Outcome) -> Option<String> {
    let Outcome { sent, answered, refused, .. } = small;
    let reason =
        refused.map_or_else(String::new, |code| format!(" ({})", std::io::Error::from_raw_os_error(code)));
    (answered < sent || *sent == 0).then(|| {
        format!(
            "{answered} of {sent} probes were answered{reason}: they, or the answers, are lost on the way"
        )
    })
}

fn too_large(size: usize, full: &Outcome) -> Option<String> {
    match (full.answered, full.refused) {
        (0, Some(libc::EMSGSIZE)) => Some(format!(
            "the kernel refuses packets of {size} bytes on this route: a link on the way takes less"
        )),
        (0, _) => Some(format!(
            "packets of {size} bytes are lost where small ones pass: TCP stalls; set SRV6_FABRIC_MTU to the fabric's MTU"
        )),
        _ => None,
    }
}

/// The way that probes took from the sender, where there is none that they should have taken.
fn travelled(links: &[LinkCount], hops: &[String]) -> Option<String> {
    let mut way = vec![hops.first()?.as_str()];
    while let Some(next) = way.last().and_then(|here| {
        links.iter().find(|link| link.from == *here && link.arrived > 0 && !way.contains(&link.to.as_str()))
    }) {
        way.push(&next.to);
    }
    Some(format!("probes went {}", way.join(" > ")))
}

/// Compares where probes were with where they should have been.
fn elsewhere(links: &[LinkCount], hops: &[String], sent: usize) -> Vec<String> {
    let mut found = Vec::new();
    let on_path =
        |link: &LinkCount| hops.windows(2).any(|pair| pair == [link.from.as_str(), link.to.as_str()]);
    for pair in hops.windows(2) {
        let [from, to] = pair else { continue };
        let link = links.iter().find(|link| link.from == *from && link.to == *to);
        let arrived = link.map_or(0, |link| link.arrived);
        if link.is_none() {
            found.push(format!("there is no link {from} > {to}"));
            break;
        }
        if arrived < sent {
            let told = if arrived == 0 { "none".to_owned() } else { format!("only {arrived}") };
            found.push(format!("{told} of {sent} probes came from {from} to {to}"));
            // What doesn't get here can't get further.
            break;
        }
    }
    for link in links.iter().filter(|link| !on_path(link)) {
        let LinkCount { from, to, left, arrived } = link;
        found.push(format!(
            "{} of {sent} probes went {from} > {to}, which is not on the path",
            left.max(arrived)
        ));
    }
    if sent == 0 {
        found.push("no probe was sent".to_owned());
    }
    found
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Proven => "PROVEN",
            Verdict::Consistent => "CONSISTENT",
            Verdict::NotProven => "NOT PROVEN",
        };
        let text = |address: Option<IpAddr>| address.map_or_else(|| "?".to_owned(), |a| a.to_string());
        write!(f, "{verdict:<10}  {} -> {}", text(self.source), text(self.destination))?;
        if let Some(lane) = self.lane {
            write!(f, " lane {lane}")?;
        }
        if !self.path.is_empty() {
            write!(f, "  {}", self.path.join(" > "))?;
        } else if !self.segments.is_empty() {
            write!(f, "  {}", self.segments.join(","))?;
        }
        if let Some(policy) = self.policy {
            write!(f, "  VPP's policy {policy} was read back; no probe can be sent")?;
        } else if self.verdict == Verdict::Proven && self.links.is_none() {
            write!(f, "  {} of {} probes answered, each switch confirms", self.answered, self.sent)?;
        } else if self.verdict == Verdict::Proven {
            write!(f, "  {} of {} probes on each link and on no other", self.sent, self.sent)?;
        } else if self.sent > 0 {
            write!(f, "  {} of {} probes answered", self.answered, self.sent)?;
        }
        if let Some(best) = self.best_rtt_us {
            write!(f, ", {:.2} ms", Duration::from_micros(best).as_secs_f64() * 1e3)?;
        }
        if let Some(largest) = self.largest {
            write!(f, ", {largest} bytes fit")?;
        }
        for difference in &self.differences {
            write!(f, "\n            - {difference}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(from: &str, to: &str, left: usize, arrived: usize) -> LinkCount {
        LinkCount { from: from.to_owned(), to: to.to_owned(), left, arrived }
    }

    fn outcome(sent: usize, answered: usize) -> Outcome {
        Outcome { sent, answered, best: Some(Duration::from_micros(120)), refused: None }
    }

    fn evidence(links: Vec<LinkCount>) -> Evidence {
        Evidence {
            host: Some("a".to_owned()),
            source: Some("2001:db8::1".parse().unwrap()),
            destination: Some("2001:db8::2".parse().unwrap()),
            lane: None,
            policy: None,
            segments: vec!["fc00:0:1::".to_owned()],
            hops: ["a", "leaf", "b"].map(str::to_owned).to_vec(),
            is_path: true,
            contradictions: Vec::new(),
            small: Some(outcome(4, 4)),
            full: Some((1436, outcome(2, 2))),
            links: Some(links),
            trace: None,
        }
    }

    #[test]
    fn every_probe_on_every_link_and_no_other_is_proof() {
        let judged = judge(evidence(vec![link("a", "leaf", 4, 4), link("leaf", "b", 4, 4)]));
        assert_eq!(judged.verdict, Verdict::Proven);
        assert_eq!(
            judged.to_string(),
            "PROVEN      2001:db8::1 -> 2001:db8::2  a > leaf > b  4 of 4 probes on each link and on no other, 0.12 ms, \
             1436 bytes fit"
        );
    }

    #[test]
    fn a_lost_or_strayed_probe_is_told_with_its_link() {
        let lost = judge(evidence(vec![link("a", "leaf", 4, 4), link("leaf", "b", 0, 0)]));
        assert_eq!(lost.verdict, Verdict::NotProven);
        assert_eq!(lost.differences, ["none of 4 probes came from leaf to b"]);
        let strayed =
            judge(evidence(vec![link("a", "leaf", 4, 4), link("leaf", "b", 3, 3), link("leaf", "c", 1, 1)]));
        assert_eq!(
            strayed.differences,
            [
                "only 3 of 4 probes came from leaf to b",
                "1 of 4 probes went leaf > c, which is not on the path"
            ]
        );
    }

    #[test]
    fn where_probes_went_is_told_where_no_path_is_known() {
        let links = vec![link("leaf", "c", 4, 4), link("a", "leaf", 4, 4), link("c", "b", 4, 0)];
        let contradictions = vec!["no path".to_owned()];
        let judged = judge(Evidence { is_path: false, contradictions, ..evidence(links) });
        assert_eq!(judged.differences, ["no path", "probes went a > leaf > c"]);
    }

    #[test]
    fn without_links_it_is_no_more_than_consistent() {
        let plain = Evidence { links: None, host: None, ..evidence(Vec::new()) };
        let judged = judge(plain.clone());
        assert_eq!(judged.verdict, Verdict::Consistent);
        assert!(
            judged
                .to_string()
                .starts_with("CONSISTENT  2001:db8::1 -> 2001:db8::2  a > leaf > b  4 of 4 probes answered")
        );
        let silent = Evidence { small: Some(outcome(4, 1)), ..plain.clone() };
        assert!(judge(silent).differences[0].starts_with("1 of 4 probes were answered"));
        assert_eq!(judge(Evidence { small: None, ..plain }).verdict, Verdict::NotProven);
    }

    #[test]
    fn switches_that_confirm_are_proof_too() {
        let left: Ipv6Addr = "fc00:0:2::".parse().unwrap();
        let told = vec![Told { passed: 1, carrier: left }];
        let trace = |told| Some(Trace { told, expected: vec![left] });
        let plain = Evidence { links: None, host: None, ..evidence(Vec::new()) };
        let judged = judge(Evidence { trace: trace(told.clone()), ..plain.clone() });
        assert_eq!(judged.verdict, Verdict::Proven);
        assert!(judged.to_string().contains("4 of 4 probes answered, each switch confirms"), "{judged}");
        let silent = judge(Evidence { trace: trace(Vec::new()), ..plain.clone() });
        assert_eq!(silent.verdict, Verdict::Consistent);
        let dead = judge(Evidence { trace: trace(told), small: Some(outcome(4, 0)), ..plain });
        assert_eq!(dead.differences[1], "the last switch that answers is leaf");
    }

    #[test]
    fn full_packets_that_are_lost_are_told_where_small_ones_pass() {
        let links = vec![link("a", "leaf", 4, 4), link("leaf", "b", 4, 4)];
        let stalled = Evidence { full: Some((1436, outcome(2, 0))), ..evidence(links) };
        let judged = judge(stalled);
        assert_eq!((judged.verdict, judged.largest), (Verdict::NotProven, None));
        assert!(judged.differences[0].contains("TCP stalls"), "{:?}", judged.differences);
    }

    #[test]
    fn the_keys_are_the_documented_ones() {
        let json = serde_json::to_value(judge(evidence(Vec::new()))).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "verdict",
                "host",
                "source",
                "destination",
                "lane",
                "policy",
                "path",
                "segments",
                "sent",
                "answered",
                "best_rtt_us",
                "largest",
                "links",
                "trace",
                "differences"
            ]
        );
        assert_eq!(json["verdict"], "not-proven");
    }
}
