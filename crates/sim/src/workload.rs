//! Who sends to whom: jobs, where their ranks are, and what they do.

use crate::random::{Random, mix};
use crate::{Clos, Error};

/// What every job does, at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Each rank sends to the next, the last to the first.
    Ring,
    /// Both of NCCL's double binary trees (`graph/trees.cc`), up and down.
    Tree,
    /// Each rank sends to every other of its group; a group is this many ranks that follow each other.
    AllToAll {
        /// Ranks of a group; the job's size is a multiple.
        group: usize,
    },
    /// Each rank sends to one that is drawn, and receives from one.
    Permutation,
    /// Each rank sends to the one so many further.
    Shift(usize),
}

/// How a job's ranks follow each other over the hosts that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Leaf by leaf, as a scheduler that knows the fabric numbers them.
    Rack,
    /// Each rank as far from the one before as the fabric allows: on another leaf, and in another pod.
    Alternating,
    /// Drawn.
    Random,
}

/// Which hosts a job gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Those that follow each other.
    Contiguous,
    /// Drawn.
    Random,
}

/// A workload before it is laid on a fabric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jobs {
    /// How many, all of one size.
    pub count: usize,
    /// Ranks of each; none for as many as the fabric has room for.
    pub size: Option<usize>,
    /// Which hosts they get.
    pub placement: Placement,
    /// How ranks follow each other.
    pub order: Order,
    /// What they do.
    pub pattern: Pattern,
    /// Connections per pair, as NCCL's channels: each carries its share of the bytes, and plain routing may treat
    /// each differently. Routes of ours don't: they are per pair of hosts.
    pub channels: usize,
}

/// Flows of all jobs, by number; none is stored.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Hosts in rank order, job after job.
    members: Vec<u32>,
    jobs: Jobs,
    size: usize,
    /// Flows of a job over one channel.
    per_channel: usize,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Sending host.
    pub source: usize,
    /// Receiving host.
    pub destination: usize,
    /// Channel, from 0.
    pub channel: usize,
    /// Job, from 0.
    pub job: usize,
}

impl Workload {
    /// Lays jobs on a fabric.
    ///
    /// # Errors
    /// Jobs that don't fit, or a group or shift that doesn't fit a job.
    pub fn new(clos: &Clos, jobs: Jobs, seed: u64) -> Result<Self, Error> {
        let hosts = clos.hosts();
        let wrong =
            |what, given: usize, want: String| Error::Workload { what, given: given.to_string(), want };
        if jobs.count == 0 || jobs.count > hosts / 2 {
            return Err(wrong("jobs", jobs.count, format!("1 to {} on {hosts} hosts", hosts / 2)));
        }
        let room = hosts / jobs.count;
        let size = jobs.size.unwrap_or(room);
        if !(2..=room).contains(&size) {
            let want = format!("2 to {room} for {} jobs on {hosts} hosts", jobs.count);
            return Err(wrong("job size", size, want));
        }
        if !(1..=256).contains(&jobs.channels) {
            return Err(wrong("channels", jobs.channels, "1 to 256".to_owned()));
        }
        let per_channel = match jobs.pattern {
            Pattern::Ring | Pattern::Permutation => size,
            Pattern::Tree => 4 * (size - 1),
            Pattern::AllToAll { group } => {
                if group < 2 || !size.is_multiple_of(group) {
                    return Err(wrong("group", group, format!("2 or more that divide the job size {size}")));
                }
                size * (group - 1)
            }
            Pattern::Shift(by) => {
                if by.is_multiple_of(size) {
                    return Err(wrong("shift", by, format!("no multiple of the job size {size}")));
                }
                size
            }
        };
        let members = members(clos, &jobs, size, seed);
        Ok(Self { members, jobs, size, per_channel })
    }

    /// How many flows there are.
    pub fn flows(&self) -> usize {
        self.jobs.count * self.jobs.channels * self.per_channel
    }

    /// Flow number `n`, below [`Workload::flows`]: by job, then channel, then rank.
    pub fn flow(&self, n: usize) -> Flow {
        let (n, k) = (n / self.per_channel, n % self.per_channel);
        let (job, channel) = (n / self.jobs.channels, n % self.jobs.channels);
        let size = self.size;
        let (from, to) = match self.jobs.pattern {
            Pattern::Ring | Pattern::Permutation => (k, (k + 1) % size),
            Pattern::Shift(by) => (k, (k + by) % size),
            Pattern::AllToAll { group } => {
                let (rank, turn) = (k / (group - 1), k % (group - 1));
                let first = rank - rank % group;
                (rank, first + (rank - first + 1 + turn) % group)
            }
            Pattern::Tree => {
                let (child, way) = (k / 4 + 1, k % 4);
                let second = way / 2 == 1;
                let (child, parent) =
                    (in_tree(child, size, second), in_tree(parent(child, size), size, second));
                if way % 2 == 0 { (child, parent) } else { (parent, child) }
            }
        };
        let host = |rank: usize| self.members[job * size + rank] as usize;
        Flow { source: host(from), destination: host(to), channel, job }
    }

    /// The job of a flow.
    pub(crate) fn job_of(&self, n: usize) -> usize {
        n / (self.per_channel * self.jobs.channels)
    }

    /// Flows that differ in their channel only count as one pair.
    pub(crate) fn pairs(&self) -> usize {
        self.jobs.count * self.per_channel
    }

    /// The pair that a flow belongs to.
    pub(crate) fn pair_of(&self, n: usize) -> usize {
        let (block, k) = (n / self.per_channel, n % self.per_channel);
        block / self.jobs.channels * self.per_channel + k
    }

    /// A pair's flow over the first channel.
    pub(crate) fn pair(&self, pair: usize) -> Flow {
        let (job, k) = (pair / self.per_channel, pair % self.per_channel);
        self.flow(job * self.jobs.channels * self.per_channel + k)
    }

    /// The jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Ranks of each job.
    pub fn job_size(&self) -> usize {
        self.size
    }

    /// Most flows that a host sends or receives, all channels together.
    pub fn heaviest(&self) -> usize {
        let per_rank = match self.jobs.pattern {
            Pattern::Ring | Pattern::Permutation | Pattern::Shift(_) => 1,
            Pattern::AllToAll { group } => group - 1,
            // A rank sends as many as it receives.
            Pattern::Tree => {
                let mut sent = vec![0usize; self.size];
                for child in 1..self.size {
                    for second in [false, true] {
                        sent[in_tree(child, self.size, second)] += 1;
                        sent[in_tree(parent(child, self.size), self.size, second)] += 1;
                    }
                }
                sent.into_iter().max().unwrap_or(0)
            }
        };
        per_rank * self.jobs.channels
    }

    /// Bytes that the busiest rank sends for a collective of `size` bytes: an all-reduce by ring or tree, an
    /// all-to-all, or `size` itself.
    pub fn bytes_per_host(&self, size: f64) -> f64 {
        let share = |n: usize| (n - 1) as f64 / n as f64;
        match self.jobs.pattern {
            Pattern::Ring => 2.0 * size * share(self.size),
            // Each tree carries one half over each of its edges.
            Pattern::Tree => size / 2.0 * (self.heaviest() / self.jobs.channels) as f64,
            Pattern::AllToAll { group } => size * share(group),
            Pattern::Permutation | Pattern::Shift(_) => size,
        }
    }
}

/// Hosts of all jobs in rank order.
fn members(clos: &Clos, jobs: &Jobs, size: usize, seed: u64) -> Vec<u32> {
    #[expect(clippy::cast_possible_truncation, reason = "a checked fabric has fewer than 2^28 hosts")]
    let mut hosts: Vec<u32> = (0..clos.hosts()).map(|host| host as u32).collect();
    if jobs.placement == Placement::Random {
        Random::new(mix(seed, 1)).shuffle(&mut hosts);
    }
    hosts.truncate(jobs.count * size);
    let order = if jobs.pattern == Pattern::Permutation { Order::Random } else { jobs.order };
    for (job, ranks) in hosts.chunks_mut(size).enumerate() {
        ranks.sort_unstable();
        match order {
            Order::Rack => {}
            Order::Random => Random::new(mix(mix(seed, 2), job as u64)).shuffle(ranks),
            Order::Alternating => alternate(clos, ranks),
        }
    }
    hosts
}

/// From hosts in ascending order: the first of each leaf, then the second of each, and neighbours in different pods.
fn alternate(clos: &Clos, ranks: &mut [u32]) {
    let leaf = |host: u32| clos.leaf_of(host as usize);
    let mut keyed: Vec<((usize, usize, usize), u32)> = Vec::with_capacity(ranks.len());
    let mut turn = 0;
    for (i, &host) in ranks.iter().enumerate() {
        let same = i > 0 && leaf(ranks[i - 1]) == leaf(host);
        turn = if same { turn + 1 } else { 0 };
        keyed.push(((turn, leaf(host) % clos.leaves, clos.pod_of(leaf(host))), host));
    }
    keyed.sort_unstable();
    ranks.iter_mut().zip(keyed).for_each(|(rank, (_, host))| *rank = host);
}

/// Parent of a rank other than 0 in NCCL's binary tree: ranks with more trailing zeros stand higher.
fn parent(rank: usize, size: usize) -> usize {
    let bit = rank & rank.wrapping_neg();
    let up = (rank ^ bit) | (bit << 1);
    if up >= size { rank ^ bit } else { up }
}

/// The rank that stands at a place of the first or the second tree: the second is the first mirrored, or turned by one
/// where the number of ranks is odd, so that inner ranks of one are leaves of the other.
fn in_tree(rank: usize, size: usize, second: bool) -> usize {
    match (second, size.is_multiple_of(2)) {
        (false, _) => rank,
        (true, true) => size - 1 - rank,
        (true, false) => (rank + 1) % size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;

    fn jobs(pattern: Pattern) -> Jobs {
        Jobs {
            count: 1,
            size: None,
            placement: Placement::Contiguous,
            order: Order::Rack,
            pattern,
            channels: 1,
        }
    }

    fn pairs(workload: &Workload) -> Vec<(usize, usize)> {
        (0..workload.flows()).map(|n| workload.flow(n)).map(|f| (f.source, f.destination)).collect()
    }

    fn of(name: &str, jobs: Jobs) -> Workload {
        Workload::new(&preset(name).unwrap(), jobs, 1).unwrap()
    }

    #[test]
    fn a_ring_alternates_as_the_demo_does() {
        let ring = of("2x4x4", Jobs { order: Order::Alternating, ..jobs(Pattern::Ring) });
        let want = [(0, 4), (4, 1), (1, 5), (5, 2), (2, 6), (6, 3), (3, 7), (7, 0)];
        assert_eq!(pairs(&ring), want);
        let tree = preset("fat-tree-1024").unwrap();
        let ring = of("fat-tree-1024", Jobs { order: Order::Alternating, ..jobs(Pattern::Ring) });
        let pod = |host| tree.pod_of(tree.leaf_of(host));
        assert!(pairs(&ring).iter().all(|&(a, b)| pod(a) != pod(b)));
    }

    #[test]
    fn groups_of_an_all_to_all_stay_among_themselves() {
        let exchange = of("2x4x4", jobs(Pattern::AllToAll { group: 4 }));
        let pairs = pairs(&exchange);
        assert_eq!(pairs.len(), 8 * 3);
        assert_eq!(&pairs[3..6], [(1, 2), (1, 3), (1, 0)]);
        assert!(pairs.iter().all(|&(a, b)| a != b && a / 4 == b / 4));
        assert_eq!((exchange.heaviest(), exchange.bytes_per_host(4.0)), (3, 3.0));
    }

    /// Facts of NCCL's trees: each is one tree, no rank has more than two children, and no rank is inner in both.
    #[test]
    fn both_trees_are_binary_and_share_no_inner_rank() {
        for size in [2, 3, 5, 8, 13, 64, 255] {
            let mut children = vec![[0; 2]; size];
            for second in [0, 1] {
                for child in 1..size {
                    children[in_tree(parent(child, size), size, second == 1)][second] += 1;
                }
                let mut rank = size - 1;
                while rank != 0 {
                    let up = parent(rank, size);
                    assert!(up.trailing_zeros() > rank.trailing_zeros());
                    rank = up;
                }
            }
            // The root's one child makes it an inner rank too.
            assert!(children.iter().all(|&[a, b]| a <= 2 && b <= 2), "{size}: {children:?}");
            let twice = children.iter().filter(|c| c[0] > 0 && c[1] > 0).count();
            assert!(twice <= 2, "{size}: {children:?}");
        }
        let tree = of("2x4x4", jobs(Pattern::Tree));
        assert_eq!(tree.flows(), 28);
        assert_eq!((tree.heaviest(), tree.bytes_per_host(8.0)), (4, 16.0));
    }

    #[test]
    fn jobs_have_their_own_hosts_and_permutations_no_fixed_point() {
        let two = Jobs { count: 2, placement: Placement::Random, channels: 2, ..jobs(Pattern::Permutation) };
        let workload = of("clos-256", two);
        let mut received = vec![[0; 2]; 256];
        let mut owner = vec![None; 256];
        for n in 0..workload.flows() {
            let flow = workload.flow(n);
            assert_ne!(flow.source, flow.destination);
            received[flow.destination][flow.channel] += 1;
            assert_eq!(*owner[flow.source].get_or_insert(flow.job), flow.job);
            assert_eq!(*owner[flow.destination].get_or_insert(flow.job), flow.job);
        }
        assert!(received.iter().all(|&r| r == [1, 1]));
        assert!(owner[..128].contains(&Some(1)), "drawn hosts are everywhere");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |jobs| Workload::new(&preset("4x4").unwrap(), jobs, 0).unwrap_err().to_string();
        let ring = jobs(Pattern::Ring);
        assert_eq!(error(Jobs { count: 3, ..ring }), "jobs 3: want 1 to 2 on 4 hosts");
        assert_eq!(error(Jobs { size: Some(5), ..ring }), "job size 5: want 2 to 4 for 1 jobs on 4 hosts");
        assert_eq!(error(Jobs { channels: 0, ..ring }), "channels 0: want 1 to 256");
        let group = error(jobs(Pattern::AllToAll { group: 3 }));
        assert_eq!(group, "group 3: want 2 or more that divide the job size 4");
        assert_eq!(error(jobs(Pattern::Shift(8))), "shift 8: want no multiple of the job size 4");
    }
}
