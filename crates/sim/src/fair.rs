//! Max-min fair shares: what TCP's flows would settle on if it shared every link equally.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Subflows and the links that each of them uses.
#[derive(Debug, Default)]
pub(crate) struct Subflows {
    /// Where the links of each subflow end in `links`.
    ends: Vec<usize>,
    links: Vec<u32>,
}

impl Subflows {
    pub(crate) fn push(&mut self, links: impl IntoIterator<Item = u32>) {
        self.links.extend(links);
        self.ends.push(self.links.len());
    }

    fn links_of(&self, subflow: usize) -> &[u32] {
        let first = if subflow == 0 { 0 } else { self.ends[subflow - 1] };
        &self.links[first..self.ends[subflow]]
    }

    /// The rate of each subflow, in the unit of the links' capacities. Water-filling: the link that gives its subflows
    /// least decides their rate, and what they leave of other links is for the rest (Bertsekas & Gallager, Data
    /// Networks, 6.5.2).
    pub(crate) fn rates(&self, capacities: &[f64]) -> Vec<f64> {
        let mut users: Vec<Vec<u32>> = vec![Vec::new(); capacities.len()];
        for subflow in 0..self.ends.len() {
            for &link in self.links_of(subflow) {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "run only for a limited number of subflows"
                )]
                users[link as usize].push(subflow as u32);
            }
        }
        let mut left = capacities.to_vec();
        let mut active: Vec<usize> = users.iter().map(Vec::len).collect();
        // Shares are never negative, and for such numbers the bits are in the numbers' own order.
        let share = |left: f64, active: usize| (left.max(0.0) / active as f64).to_bits();
        let mut heap: BinaryHeap<Reverse<(u64, usize)>> = (0..capacities.len())
            .filter(|&link| active[link] > 0)
            .map(|link| Reverse((share(left[link], active[link]), link)))
            .collect();
        let mut rates: Vec<Option<f64>> = vec![None; self.ends.len()];
        while let Some(Reverse((bits, link))) = heap.pop() {
            if active[link] == 0 {
                continue;
            }
            let now = share(left[link], active[link]);
            // The share has grown since it was put here: subflows left for a narrower link.
            if now > bits {
                heap.push(Reverse((now, link)));
                continue;
            }
            let rate = f64::from_bits(now);
            for &subflow in &users[link] {
                let slot = &mut rates[subflow as usize];
                if slot.is_none() {
                    *slot = Some(rate);
                    for &other in self.links_of(subflow as usize) {
                        left[other as usize] -= rate;
                        active[other as usize] -= 1;
                    }
                }
            }
        }
        rates.into_iter().map(|rate| rate.unwrap_or(0.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textbook_line_of_links_is_shared_as_the_textbook_says() {
        // Links 0 and 1 of capacity 1, link 2 of capacity 2. One subflow over all, two more over link 0, one over 2.
        let mut subflows = Subflows::default();
        subflows.push([0, 1, 2]);
        subflows.push([0]);
        subflows.push([0]);
        subflows.push([1]);
        subflows.push([2]);
        let rates = subflows.rates(&[1.0, 1.0, 2.0]);
        let want = [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0, 5.0 / 3.0];
        assert!(rates.iter().zip(want).all(|(rate, want)| (rate - want).abs() < 1e-12), "{rates:?}");
    }

    #[test]
    fn no_link_carries_more_than_it_can() {
        let mut random = crate::random::Random::new(5);
        let mut subflows = Subflows::default();
        for _ in 0..500 {
            let first = u32::try_from(random.below(37)).unwrap();
            subflows.push([first, first + 1, first + 2]);
        }
        let capacities: Vec<f64> = (1..=39).map(f64::from).collect();
        let rates = subflows.rates(&capacities);
        let mut carried = vec![0.0; 39];
        for (subflow, rate) in rates.iter().enumerate() {
            subflows.links_of(subflow).iter().for_each(|&link| carried[link as usize] += rate);
        }
        let full = |link: usize| carried[link] > capacities[link] - 1e-9;
        assert!(carried.iter().zip(&capacities).all(|(carried, capacity)| *carried < capacity + 1e-9));
        // Nobody could have more: each crosses a full link.
        assert!((0..500).all(|s| subflows.links_of(s).iter().any(|&link| full(link as usize))));
    }
}
