//! The shape of a fabric: planes of equal folded Clos networks, and how its parts are numbered.

use crate::Error;

/// A fabric of one or more planes, each the same two- or three-tier Clos.
///
/// A host is one NIC (as a rule: one GPU) with a port into each plane. In two tiers every leaf has a link to every
/// spine. In three, that holds within a pod, and spine number a of every pod has a link to each of the `cores`
/// core switches of group a.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clos {
    /// Planes, 1 to 64.
    pub planes: usize,
    /// Pods; 1 in two tiers.
    pub pods: usize,
    /// Leaves of each pod.
    pub leaves: usize,
    /// Spines of each pod.
    pub spines: usize,
    /// Core switches above each spine; 0 in two tiers.
    pub cores: usize,
    /// Hosts on each leaf.
    pub hosts_per_leaf: usize,
    /// Rate of a host's port into one plane, in Gbit/s.
    pub host_rate: f64,
    /// Rate of a link between switches, in Gbit/s.
    pub fabric_rate: f64,
}

/// Most directed links of one fabric: what the counters of one policy take is 16 bytes per link.
const MOST_LINKS: usize = 1 << 28;

impl Clos {
    /// Checks the numbers.
    ///
    /// # Errors
    /// A zero, a rate that is none, or more than can be counted in memory.
    pub fn check(self) -> Result<Self, Error> {
        let counts = [
            ("planes", self.planes, 64, "1 to 64"),
            ("pods", self.pods, 65_536, "1 to 65536"),
            ("leaves", self.leaves, 65_536, "1 to 65536"),
            ("spines", self.spines, 4096, "1 to 4096"),
            ("hosts per leaf", self.hosts_per_leaf, 65_536, "1 to 65536"),
        ];
        for (what, given, most, want) in counts {
            if given == 0 || given > most {
                return Err(Error::Shape { what, given: given.to_string(), want });
            }
        }
        if self.cores > 4096 {
            let given = self.cores.to_string();
            return Err(Error::Shape { what: "cores", given, want: "0 (two tiers) to 4096" });
        }
        if self.cores == 0 && self.pods > 1 {
            let given = self.pods.to_string();
            return Err(Error::Shape { what: "pods", given, want: "1 where there are no cores" });
        }
        for (what, rate) in [("rate", self.host_rate), ("fabric rate", self.fabric_rate)] {
            if !rate.is_finite() || rate <= 0.0 {
                return Err(Error::Shape { what, given: rate.to_string(), want: "more than 0 Gbit/s" });
            }
        }
        // A count of hosts is below 2^48, so only the products with it need checking.
        let links = [
            self.planes.checked_mul(self.hosts()),
            self.planes.checked_mul(self.all_leaves()).and_then(|n| n.checked_mul(self.spines)),
            self.planes.checked_mul(self.pods * self.spines).and_then(|n| n.checked_mul(self.cores)),
        ];
        let links = links.into_iter().try_fold(0usize, |sum, n| sum.checked_add(n?));
        match links.and_then(|n| n.checked_mul(2)) {
            Some(links) if links <= MOST_LINKS => Ok(self),
            links => Err(Error::Shape {
                what: "directed links",
                given: links.map_or_else(|| "beyond counting".to_owned(), |n| n.to_string()),
                want: "at most 268435456",
            }),
        }
    }

    /// 2 or 3.
    pub fn tiers(&self) -> usize {
        if self.cores == 0 { 2 } else { 3 }
    }

    /// Hosts of the fabric.
    pub fn hosts(&self) -> usize {
        self.all_leaves() * self.hosts_per_leaf
    }

    /// Leaves of one plane, all pods together.
    pub fn all_leaves(&self) -> usize {
        self.pods * self.leaves
    }

    /// Switches of all planes.
    pub fn switches(&self) -> usize {
        self.planes * (self.all_leaves() + self.pods * self.spines + self.spines * self.cores)
    }

    /// Equal paths between hosts of different pods, or of different leaves where there is one pod.
    pub fn most_paths(&self) -> usize {
        self.planes * self.spines * self.cores.max(1)
    }

    /// Position of a host's leaf in each plane.
    pub(crate) fn leaf_of(&self, host: usize) -> usize {
        host / self.hosts_per_leaf
    }

    /// Position of a leaf's pod.
    pub(crate) fn pod_of(&self, leaf: usize) -> usize {
        leaf / self.leaves
    }
}

/// Fabrics by name.
pub const PRESETS: [(&str, Clos); 8] = [
    ("4x4", two_tiers(1, 4, 4, 1, 1.0)),
    ("2x4x4", two_tiers(1, 2, 4, 4, 1.0)),
    ("clos-256", two_tiers(1, 16, 16, 16, 400.0)),
    ("clos-4096", two_tiers(1, 64, 64, 64, 400.0)),
    ("planes-1024", two_tiers(8, 16, 64, 64, 100.0)),
    ("fat-tree-1024", three_tiers(16, 8, 8, 8, 8, 400.0)),
    ("fat-tree-65536", three_tiers(64, 32, 32, 32, 32, 800.0)),
    ("mrc-131072", two_tiers(8, 512, 256, 256, 100.0)),
];

/// The fabric of a name in [`PRESETS`].
///
/// # Errors
/// There is none.
pub fn preset(name: &str) -> Result<Clos, Error> {
    PRESETS.iter().find(|(n, _)| *n == name).map(|(_, clos)| *clos).ok_or_else(|| Error::Preset {
        given: name.to_owned(),
        known: PRESETS.iter().map(|(n, _)| *n).collect(),
    })
}

const fn two_tiers(planes: usize, leaves: usize, spines: usize, hosts_per_leaf: usize, rate: f64) -> Clos {
    Clos { planes, pods: 1, leaves, spines, cores: 0, hosts_per_leaf, host_rate: rate, fabric_rate: rate }
}

const fn three_tiers(
    pods: usize,
    leaves: usize,
    spines: usize,
    cores: usize,
    hosts_per_leaf: usize,
    rate: f64,
) -> Clos {
    Clos { planes: 1, pods, leaves, spines, cores, hosts_per_leaf, host_rate: rate, fabric_rate: rate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_sizes_that_their_names_say() {
        for (name, clos) in PRESETS {
            clos.check().unwrap();
            if let Some(hosts) = name.rsplit('-').next().filter(|_| name.contains('-')) {
                assert_eq!(clos.hosts().to_string(), hosts, "{name}");
            }
        }
        let mrc = preset("mrc-131072").unwrap();
        // 512-port switches: a T0 with 256 hosts and 256 uplinks, a T1 with 512 downlinks.
        assert_eq!((mrc.hosts_per_leaf + mrc.spines, mrc.all_leaves()), (512, 512));
        assert_eq!((mrc.switches(), mrc.most_paths()), (8 * 768, 2048));
        let tree = preset("fat-tree-65536").unwrap();
        assert_eq!(tree.leaves * tree.hosts_per_leaf, 1024, "hosts of a pod");
        assert_eq!((tree.leaves + tree.cores, tree.pods), (64, 64), "ports of a spine and of a core");
        let error = preset("mrc").unwrap_err().to_string();
        assert!(error.starts_with("preset \"mrc\": want one of 4x4, 2x4x4"), "{error}");
    }

    #[test]
    fn wrong_numbers_are_named() {
        let fine = preset("clos-256").unwrap();
        let error = |clos: Clos| clos.check().unwrap_err().to_string();
        assert_eq!(error(Clos { planes: 65, ..fine }), "planes 65: want 1 to 64");
        assert_eq!(error(Clos { leaves: 0, ..fine }), "leaves 0: want 1 to 65536");
        assert_eq!(error(Clos { pods: 2, ..fine }), "pods 2: want 1 where there are no cores");
        assert_eq!(error(Clos { host_rate: 0.0, ..fine }), "rate 0: want more than 0 Gbit/s");
        assert_eq!(error(Clos { fabric_rate: f64::NAN, ..fine }), "fabric rate NaN: want more than 0 Gbit/s");
        let huge = Clos { leaves: 65_536, spines: 4096, ..fine };
        assert!(error(huge).starts_with("directed links 538968064: want at most"), "{}", error(huge));
    }
}
