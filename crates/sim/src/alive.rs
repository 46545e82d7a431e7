//! Which cables of a fabric work, as bits.

use crate::{Clos, Node};

/// Cables that work.
#[derive(Debug, Clone)]
pub(crate) struct Alive {
    /// Per host, a bit per plane.
    pub(crate) ports: Vec<u64>,
    /// Per plane and leaf, a bit per spine.
    pub(crate) leaves: Rows,
    /// Per plane, pod and spine, a bit per core.
    pub(crate) spines: Rows,
}

impl Clos {
    pub(crate) fn spine_row(&self, plane: usize, pod: usize, spine: usize) -> usize {
        (plane * self.pods + pod) * self.spines + spine
    }
}

impl Alive {
    pub(crate) fn all(clos: &Clos) -> Self {
        Self {
            ports: vec![u64::MAX >> (64 - clos.planes); clos.hosts()],
            leaves: Rows::full(clos.planes * clos.all_leaves(), clos.spines),
            spines: Rows::full(clos.planes * clos.pods * clos.spines, clos.cores),
        }
    }

    pub(crate) fn kill(&mut self, clos: &Clos, node: Node) {
        match node {
            Node::Host(host) => self.ports[host] = 0,
            Node::Leaf(plane, leaf) => {
                let hosts = leaf * clos.hosts_per_leaf..(leaf + 1) * clos.hosts_per_leaf;
                self.ports[hosts].iter_mut().for_each(|mask| *mask &= !(1 << plane));
                self.leaves.clear_row(plane * clos.all_leaves() + leaf);
            }
            Node::Spine(plane, n) => {
                let (pod, spine) = (n / clos.spines, n % clos.spines);
                for leaf in pod * clos.leaves..(pod + 1) * clos.leaves {
                    self.leaves.clear(plane * clos.all_leaves() + leaf, spine);
                }
                self.spines.clear_row(clos.spine_row(plane, pod, spine));
            }
            Node::Core(plane, n) => {
                for pod in 0..clos.pods {
                    self.spines.clear(clos.spine_row(plane, pod, n / clos.cores), n % clos.cores);
                }
            }
        }
    }

    /// Whether a cable works that leads from a node to one above it.
    pub(crate) fn joins(&self, clos: &Clos, below: Node, above: Node) -> bool {
        let has = |row: &[u64], bit: usize| row[bit / 64] & (1 << (bit % 64)) != 0;
        match (below, above) {
            (Node::Host(host), Node::Leaf(plane, _)) => self.ports[host] & (1 << plane) != 0,
            (Node::Leaf(plane, leaf), Node::Spine(_, n)) => {
                has(self.leaves.row(plane * clos.all_leaves() + leaf), n % clos.spines)
            }
            (Node::Spine(plane, n), Node::Core(_, core)) => {
                let row = clos.spine_row(plane, n / clos.spines, n % clos.spines);
                has(self.spines.row(row), core % clos.cores)
            }
            _ => false,
        }
    }

    /// Cuts the cable from a node to one above it, if there is one.
    pub(crate) fn cut(&mut self, clos: &Clos, below: Node, above: Node) {
        match (below, above) {
            (Node::Host(host), Node::Leaf(plane, leaf)) if clos.leaf_of(host) == leaf => {
                self.ports[host] &= !(1 << plane);
            }
            (Node::Leaf(p, leaf), Node::Spine(q, n)) if p == q && n / clos.spines == clos.pod_of(leaf) => {
                self.leaves.clear(p * clos.all_leaves() + leaf, n % clos.spines);
            }
            (Node::Spine(p, n), Node::Core(q, core)) if p == q && core / clos.cores == n % clos.spines => {
                let row = clos.spine_row(p, n / clos.spines, n % clos.spines);
                self.spines.clear(row, core % clos.cores);
            }
            _ => {}
        }
    }
}

/// Rows of bits.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    words: Vec<u64>,
    per_row: usize,
}

impl Rows {
    /// Rows whose first `bits` bits are set, and no others.
    pub(crate) fn full(rows: usize, bits: usize) -> Self {
        let per_row = bits.div_ceil(64);
        let mut words = vec![0; rows * per_row];
        for row in words.chunks_mut(per_row.max(1)) {
            (0..bits).for_each(|bit| row[bit / 64] |= 1 << (bit % 64));
        }
        Self { words, per_row }
    }

    pub(crate) fn row(&self, row: usize) -> &[u64] {
        &self.words[row * self.per_row..(row + 1) * self.per_row]
    }

    pub(crate) fn clear(&mut self, row: usize, bit: usize) {
        self.words[row * self.per_row + bit / 64] &= !(1 << (bit % 64));
    }

    pub(crate) fn clear_row(&mut self, row: usize) {
        self.words[row * self.per_row..(row + 1) * self.per_row].fill(0);
    }

    pub(crate) fn ones(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}
