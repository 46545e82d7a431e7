//! A fabric with its dead parts, and the equal shortest paths between two hosts, computed and never stored.

use std::ops::Range;

use crate::alive::Alive;
use crate::links::Layout;
use crate::{Clos, Error, Node};

/// A Clos, and which of its links and switches are dead.
#[derive(Debug, Clone)]
pub struct Fabric {
    clos: Clos,
    layout: Layout,
    /// None where nothing is dead: then everything is arithmetic.
    alive: Option<Alive>,
    /// By host.
    places: Vec<Stored>,
}

/// Where a host is, as [`srv6_fabric::spread`] counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Among the live hosts of its leaf.
    pub(crate) rank: usize,
    /// Of its leaf among all leaves with hosts.
    pub(crate) leaf: usize,
    /// Of its leaf's pod among all pods that have such leaves.
    pub(crate) pod: usize,
}

/// A [`Place`] in less memory.
#[derive(Debug, Clone, Copy)]
struct Stored {
    rank: u32,
    leaf: u32,
    pod: u32,
}

/// One of the equal paths between two hosts. `spine` and `core` are 0 where the path has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Plane.
    pub plane: usize,
    /// Spine of each pod that the path goes through, by its position in the pod.
    pub spine: usize,
    /// Core, by its position in the spine's group.
    pub core: usize,
}

/// How far up a path goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Leaf,
    Spine,
    Core,
}

/// A pair of hosts, with what all paths between them have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) source: usize,
    pub(crate) destination: usize,
    /// Leaf positions.
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) reach: Reach,
}

impl Fabric {
    /// The whole fabric, with nothing dead.
    ///
    /// # Errors
    /// As [`Clos::check`].
    pub fn new(clos: Clos) -> Result<Self, Error> {
        let clos = clos.check()?;
        let mut fabric = Self { clos, layout: Layout::new(clos), alive: None, places: Vec::new() };
        fabric.number_hosts();
        Ok(fabric)
    }

    /// The fabric without some nodes and cables. A pair of nodes that has no cable is left out.
    pub fn without(&self, nodes: &[Node], cables: &[(Node, Node)]) -> Self {
        let mut fabric = self.clone();
        if nodes.is_empty() && cables.is_empty() {
            return fabric;
        }
        let mut alive = fabric.alive.take().unwrap_or_else(|| Alive::all(&self.clos));
        nodes.iter().for_each(|node| alive.kill(&self.clos, *node));
        for &(a, b) in cables {
            alive.cut(&self.clos, a, b);
            alive.cut(&self.clos, b, a);
        }
        fabric.alive = Some(alive);
        fabric.number_hosts();
        fabric
    }

    /// Its shape.
    pub fn clos(&self) -> &Clos {
        &self.clos
    }

    /// Directed links, dead ones included.
    pub fn links(&self) -> usize {
        self.layout.len()
    }

    /// Directed links that are dead.
    pub fn dead_links(&self) -> usize {
        let Some(alive) = &self.alive else { return 0 };
        let ports: u32 = alive.ports.iter().map(|mask| mask.count_ones()).sum();
        self.links() - 2 * (ports as usize + alive.leaves.ones() + alive.spines.ones())
    }

    /// Equal shortest paths from one host to another; 0 where there is none. Paths that would go down and up again
    /// don't count.
    pub fn paths(&self, source: usize, destination: usize) -> usize {
        let ends = self.ends(source, destination);
        self.planes(&ends).map(|plane| self.paths_in(&ends, plane)).sum()
    }

    /// Path number `index` in the order of [`srv6_fabric::equal_cost_paths`] for a topology whose ids sort plane by
    /// plane; none beyond [`Fabric::paths`].
    pub fn path(&self, source: usize, destination: usize, index: usize) -> Option<Path> {
        self.nth(&self.ends(source, destination), index)
    }

    /// Links of a path, in travel order, by number.
    pub fn links_of(&self, source: usize, destination: usize, path: Path) -> Vec<usize> {
        let mut links = Vec::with_capacity(6);
        self.travel(&self.ends(source, destination), path, |link| links.push(link));
        links
    }

    /// The directed link of a number below [`Fabric::links`].
    pub fn link(&self, number: usize) -> crate::Link {
        self.layout.link(number)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the link of a number works.
    pub fn is_alive(&self, number: usize) -> bool {
        let Some(alive) = &self.alive else { return true };
        let link = self.layout.link(number);
        alive.joins(&self.clos, link.from, link.to) || alive.joins(&self.clos, link.to, link.from)
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.alive.is_none()
    }

    pub(crate) fn place(&self, host: usize) -> Place {
        let Stored { rank, leaf, pod } = self.places[host];
        Place { rank: rank as usize, leaf: leaf as usize, pod: pod as usize }
    }

    pub(crate) fn ends(&self, source: usize, destination: usize) -> Ends {
        let (from, to) = (self.clos.leaf_of(source), self.clos.leaf_of(destination));
        let reach = if from == to {
            Reach::Leaf
        } else if self.clos.pod_of(from) == self.clos.pod_of(to) {
            Reach::Spine
        } else {
            Reach::Core
        };
        Ends { source, destination, from, to, reach }
    }

    /// Planes in which both hosts have a port.
    pub(crate) fn ports(&self, ends: &Ends) -> u64 {
        let all = u64::MAX >> (64 - self.clos.planes);
        self.alive.as_ref().map_or(all, |a| a.ports[ends.source] & a.ports[ends.destination])
    }

    /// Planes that have a path, in ascending order.
    pub(crate) fn planes(&self, ends: &Ends) -> impl Iterator<Item = usize> {
        let mask = self.ports(ends);
        (0..self.clos.planes).filter(move |&p| mask & (1 << p) != 0 && self.paths_in(ends, p) > 0)
    }

    /// Paths in a plane in which both hosts have a port.
    pub(crate) fn paths_in(&self, ends: &Ends, plane: usize) -> usize {
        let Clos { spines, cores, .. } = self.clos;
        match (&self.alive, ends.reach) {
            (_, Reach::Leaf) => 1,
            (None, Reach::Spine) => spines,
            (None, Reach::Core) => spines * cores,
            (Some(alive), Reach::Spine) => {
                let (up, down) = self.leaf_rows(alive, ends, plane);
                up.iter().zip(down).map(|(u, d)| (u & d).count_ones() as usize).sum()
            }
            (Some(_), Reach::Core) => {
                self.spines(ends, plane).map(|spine| self.cores_over(ends, plane, spine)).sum()
            }
        }
    }

    /// Spines over which a plane has paths, in ascending order; only 0 where paths need none.
    pub(crate) fn spines(&self, ends: &Ends, plane: usize) -> impl Iterator<Item = usize> {
        let count = if ends.reach == Reach::Leaf { 1 } else { self.clos.spines };
        (0..count).filter(move |&spine| self.cores_over(ends, plane, spine) > 0)
    }

    /// Paths of a plane over one spine.
    pub(crate) fn cores_over(&self, ends: &Ends, plane: usize, spine: usize) -> usize {
        let Some(alive) = &self.alive else {
            return if ends.reach == Reach::Core { self.clos.cores } else { 1 };
        };
        if ends.reach == Reach::Leaf {
            return 1;
        }
        let (up, down) = self.leaf_rows(alive, ends, plane);
        let bit = up[spine / 64] & down[spine / 64] & (1 << (spine % 64));
        match (bit, ends.reach) {
            (0, _) => 0,
            (_, Reach::Core) => {
                let (up, down) = self.spine_rows(alive, ends, plane, spine);
                up.iter().zip(down).map(|(u, d)| (u & d).count_ones() as usize).sum()
            }
            _ => 1,
        }
    }

    /// Core number `nth` of those that join both ends over a spine.
    pub(crate) fn core(&self, ends: &Ends, plane: usize, spine: usize, nth: usize) -> usize {
        let Some(alive) = self.alive.as_ref().filter(|_| ends.reach == Reach::Core) else { return nth };
        let (up, down) = self.spine_rows(alive, ends, plane, spine);
        let joined = |core: &usize| up[core / 64] & down[core / 64] & (1 << (core % 64)) != 0;
        (0..self.clos.cores).filter(joined).nth(nth).unwrap_or(0)
    }

    pub(crate) fn nth(&self, ends: &Ends, index: usize) -> Option<Path> {
        if self.is_whole() {
            let in_plane = self.paths_in(ends, 0);
            let plane = index / in_plane;
            return Some(plane)
                .filter(|p| *p < self.clos.planes)
                .map(|p| self.nth_in(ends, p, index % in_plane));
        }
        let mut left = index;
        for plane in self.planes(ends) {
            let count = self.paths_in(ends, plane);
            if left < count {
                return Some(self.nth_in(ends, plane, left));
            }
            left -= count;
        }
        None
    }

    /// Path number `index` of a plane that has more than that.
    pub(crate) fn nth_in(&self, ends: &Ends, plane: usize, index: usize) -> Path {
        if self.is_whole() {
            let cores = self.cores_over(ends, plane, 0);
            return Path { plane, spine: index / cores, core: index % cores };
        }
        let mut left = index;
        for spine in self.spines(ends, plane) {
            let count = self.cores_over(ends, plane, spine);
            if left < count {
                return Path { plane, spine, core: self.core(ends, plane, spine, left) };
            }
            left -= count;
        }
        Path { plane, spine: 0, core: 0 }
    }

    /// Planes that have a path, and the one of them at a position, counted round.
    pub(crate) fn plane_round(&self, ends: &Ends, position: usize) -> (usize, usize) {
        if self.is_whole() {
            return (self.clos.planes, position % self.clos.planes);
        }
        let count = self.planes(ends).count();
        let nth = position.checked_rem(count).unwrap_or(0);
        (count, self.planes(ends).nth(nth).unwrap_or(0))
    }

    /// Spines over which a plane has paths, and the one of them at a position, counted round.
    pub(crate) fn spine_round(&self, ends: &Ends, plane: usize, position: usize) -> (usize, usize) {
        if self.is_whole() {
            let count = if ends.reach == Reach::Leaf { 1 } else { self.clos.spines };
            return (count, position % count);
        }
        let count = self.spines(ends, plane).count();
        let nth = position.checked_rem(count).unwrap_or(0);
        (count, self.spines(ends, plane).nth(nth).unwrap_or(0))
    }

    /// Spines that the paths of all planes lead over; leaves where paths need none.
    pub(crate) fn spines_of(&self, ends: &Ends) -> usize {
        if self.is_whole() {
            return self.clos.planes * if ends.reach == Reach::Leaf { 1 } else { self.clos.spines };
        }
        self.planes(ends).map(|plane| self.spines(ends, plane).count()).sum()
    }

    /// The paths over the spine of a number below [`Fabric::spines_of`].
    pub(crate) fn over_spine(&self, ends: &Ends, number: usize) -> Range<usize> {
        if self.is_whole() {
            let cores = self.cores_over(ends, 0, 0);
            return number * cores..(number + 1) * cores;
        }
        let spines = self.planes(ends).flat_map(|plane| self.spines(ends, plane).map(move |s| (plane, s)));
        let mut counts = spines.map(|(plane, spine)| self.cores_over(ends, plane, spine));
        let begin = counts.by_ref().take(number).sum();
        begin..begin + counts.next().unwrap_or(0)
    }

    /// Whether every link of a path works.
    pub(crate) fn works(&self, ends: &Ends, path: Path) -> bool {
        let Some(alive) = &self.alive else { return true };
        if self.ports(ends) & (1 << path.plane) == 0 {
            return false;
        }
        let has = |row: &[u64], bit: usize| row[bit / 64] & (1 << (bit % 64)) != 0;
        let (up, down) = self.leaf_rows(alive, ends, path.plane);
        match ends.reach {
            Reach::Leaf => true,
            Reach::Spine => has(up, path.spine) && has(down, path.spine),
            Reach::Core => {
                let (rise, fall) = self.spine_rows(alive, ends, path.plane, path.spine);
                has(up, path.spine) && has(down, path.spine) && has(rise, path.core) && has(fall, path.core)
            }
        }
    }

    /// Calls `link` with the number of each link of a path, in travel order.
    pub(crate) fn travel(&self, ends: &Ends, path: Path, mut link: impl FnMut(usize)) {
        let Path { plane, spine, core } = path;
        link(self.layout.host_up(plane, ends.source));
        if ends.reach != Reach::Leaf {
            link(self.layout.leaf_up(plane, ends.from) + spine);
        }
        if ends.reach == Reach::Core {
            link(self.layout.core_up(plane, self.clos.pod_of(ends.from), spine) + core);
            link(self.layout.core_down(plane, self.clos.pod_of(ends.to), spine) + core);
        }
        if ends.reach != Reach::Leaf {
            link(self.layout.leaf_down(plane, ends.to) + spine);
        }
        link(self.layout.host_down(plane, ends.destination));
    }

    fn leaf_rows<'a>(&self, alive: &'a Alive, ends: &Ends, plane: usize) -> (&'a [u64], &'a [u64]) {
        let row = |leaf| alive.leaves.row(plane * self.clos.all_leaves() + leaf);
        (row(ends.from), row(ends.to))
    }

    fn spine_rows<'a>(
        &self,
        alive: &'a Alive,
        ends: &Ends,
        plane: usize,
        spine: usize,
    ) -> (&'a [u64], &'a [u64]) {
        let row = |leaf| alive.spines.row(self.clos.spine_row(plane, self.clos.pod_of(leaf), spine));
        (row(ends.from), row(ends.to))
    }

    /// Counts as [`srv6_fabric::spread`] does: a host belongs to the first leaf that it has a link to, its rank is among
    /// the hosts that have a link to that leaf, and leaves without such hosts have no position. Leaves with the same first
    /// spine are in one pod.
    fn number_hosts(&mut self) {
        let per_leaf = self.clos.hosts_per_leaf;
        let hosts = 0..self.clos.hosts();
        let Some(alive) = &self.alive else {
            let place = |host| Stored {
                rank: narrow(host % per_leaf),
                leaf: narrow(host / per_leaf),
                pod: narrow(self.clos.pod_of(self.clos.leaf_of(host))),
            };
            self.places = hosts.map(place).collect();
            return;
        };
        let leaves = self.clos.all_leaves();
        let mut numbers = vec![0u32; self.clos.planes * leaves];
        let mut firsts = Vec::new();
        let mut next = 0;
        for (row, number) in numbers.iter_mut().enumerate() {
            let (plane, leaf) = (row / leaves, row % leaves);
            *number = next;
            let on_leaf = &alive.ports[leaf * per_leaf..(leaf + 1) * per_leaf];
            if on_leaf.iter().any(|mask| mask & (1 << plane) != 0) {
                next += 1;
                firsts.extend(self.first_spine(alive, plane, leaf));
            }
        }
        firsts.sort_unstable();
        firsts.dedup();
        let place = |host: usize| {
            let leaf = host / per_leaf;
            let plane = alive.ports[host].trailing_zeros() as usize;
            if plane >= self.clos.planes {
                return Stored { rank: 0, leaf: 0, pod: 0 };
            }
            let before = &alive.ports[leaf * per_leaf..host];
            let rank = before.iter().filter(|&&mask| mask & (1 << plane) != 0).count();
            let first = self.first_spine(alive, plane, leaf);
            let pod = first.and_then(|first| firsts.binary_search(&first).ok()).unwrap_or(0);
            Stored { rank: narrow(rank), leaf: numbers[plane * leaves + leaf], pod: narrow(pod) }
        };
        self.places = hosts.map(place).collect();
    }

    /// The first spine that a leaf has a link to, counted through all planes.
    fn first_spine(&self, alive: &Alive, plane: usize, leaf: usize) -> Option<usize> {
        let row = alive.leaves.row(plane * self.clos.all_leaves() + leaf);
        let word = row.iter().position(|&word| word != 0)?;
        let spine = word * 64 + row[word].trailing_zeros() as usize;
        Some(self.clos.spine_row(plane, self.clos.pod_of(leaf), spine))
    }
}

/// A position as it is stored.
fn narrow(position: usize) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a checked fabric has fewer than 2^28 hosts and leaves"
    )]
    let narrow = position as u32;
    narrow
}
