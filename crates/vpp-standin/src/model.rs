//! Segment routing as VPP does it: pools, return values, and what it doesn't check.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use srv6_fabric::Prefix;

use crate::{Fault, Setup, ShownPolicy};

/// A list with its place in the pool of lists.
pub(crate) struct List {
    pub(crate) index: u32,
    pub(crate) weight: u32,
    pub(crate) segments: Vec<Ipv6Addr>,
}

pub(crate) struct Policy {
    pub(crate) bsid: Ipv6Addr,
    pub(crate) source: Ipv6Addr,
    pub(crate) encap: bool,
    pub(crate) kind: u8,
    pub(crate) table: u32,
    pub(crate) lists: Vec<List>,
}

/// What a table's entry leads to.
pub(crate) struct Entry {
    pub(crate) prefix: Prefix,
    /// `vl_api_fib_path_type_t`: 0 normal, 1 local, 2 drop.
    pub(crate) kind: u32,
    pub(crate) interface: u32,
    pub(crate) next_hop: Option<IpAddr>,
}

pub(crate) struct Model {
    pub(crate) setup: Setup,
    pub(crate) policies: Vec<Policy>,
    pub(crate) steering: BTreeMap<(u32, Prefix), Ipv6Addr>,
    pub(crate) source: Ipv6Addr,
    pub(crate) fault: Fault,
    pub(crate) served: BTreeMap<&'static str, usize>,
    pub(crate) abuse: Option<String>,
    /// Clients that have gone without a word.
    pub(crate) unsaid: usize,
    /// Free places of the pool of lists: the one given back last is given out first.
    free: Vec<u32>,
    lists: u32,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("policies", &self.policies.len()).finish_non_exhaustive()
    }
}

impl Model {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            policies: Vec::new(),
            steering: BTreeMap::new(),
            source: Ipv6Addr::UNSPECIFIED,
            fault: Fault::None,
            served: BTreeMap::new(),
            abuse: None,
            unsaid: 0,
            free: Vec::new(),
            lists: 0,
        }
    }

    fn list(&mut self, (weight, segments): (u32, Vec<Ipv6Addr>)) -> List {
        let index = self.free.pop().unwrap_or_else(|| {
            self.lists += 1;
            self.lists - 1
        });
        List { index, weight, segments }
    }

    fn has_table(&self, table: u32, ipv6: bool) -> bool {
        table == 0 || self.setup.tables.contains(&(table, ipv6))
    }

    fn place(&self, bsid: Ipv6Addr) -> Option<usize> {
        self.policies.iter().position(|policy| policy.bsid == bsid)
    }

    pub(crate) fn add_policy(
        &mut self,
        bsid: Ipv6Addr,
        source: Ipv6Addr,
        encap: bool,
        kind: u8,
        list: (u32, Vec<Ipv6Addr>),
        table: u32,
    ) -> i32 {
        let own = Prefix::host(bsid.into());
        if self.place(bsid).is_some() {
            return -12;
        }
        if !self.has_table(table, true) {
            return -13;
        }
        if self.setup.routes.iter().any(|(of, prefix, ..)| (*of, *prefix) == (table, own)) {
            return -12;
        }
        // A policy that names none gets the common one, once and for all.
        let source = if source.is_unspecified() { self.source } else { source };
        let lists = vec![self.list(list)];
        self.policies.push(Policy { bsid, source, encap, kind, table, lists });
        0
    }

    pub(crate) fn modify_policy(
        &mut self,
        bsid: Ipv6Addr,
        operation: u8,
        index: u32,
        list: (u32, Vec<Ipv6Addr>),
    ) -> i32 {
        let weight = list.0;
        let added = if operation == 1 { Some(self.list(list)) } else { None };
        let Some(policy) = self.policies.iter_mut().find(|policy| policy.bsid == bsid) else { return -1 };
        let lists = &mut policy.lists;
        match (operation, added) {
            (1, Some(list)) => lists.push(list),
            (2, _) => {
                if lists.len() == 1 {
                    return -21;
                }
                let Some(at) = lists.iter().position(|list| list.index == index) else { return -22 };
                lists.remove(at);
                self.free.push(index);
            }
            (3, _) => {
                let Some(list) = lists.iter_mut().find(|list| list.index == index) else { return -32 };
                list.weight = weight;
            }
            _ => return -1,
        }
        0
    }

    pub(crate) fn delete_policy(&mut self, bsid: Ipv6Addr) -> i32 {
        let Some(place) = self.place(bsid) else { return -1 };
        if self.steering.values().any(|other| *other == bsid) {
            self.abuse = Some(format!("policy {bsid} was deleted while something was steered into it"));
        }
        let policy = self.policies.remove(place);
        self.free.extend(policy.lists.iter().map(|list| list.index));
        0
    }

    pub(crate) fn steer(
        &mut self,
        delete: bool,
        bsid: Ipv6Addr,
        table: u32,
        prefix: Prefix,
        traffic: u8,
    ) -> i32 {
        if traffic != 4 && traffic != 6 {
            return -1;
        }
        let key = (table, prefix);
        if delete {
            return if self.steering.remove(&key).is_some() { 0 } else { -4 };
        }
        let Some(policy) = self.policies.iter().find(|policy| policy.bsid == bsid) else { return -2 };
        if traffic == 4 && !policy.encap {
            return -5;
        }
        if !self.has_table(table, traffic == 6) {
            self.abuse = Some(format!("{prefix} was steered in table {table}, which isn't there"));
        }
        self.steering.insert(key, bsid);
        0
    }

    /// The entry with the longest prefix; VPP has a default route of its own, which drops.
    pub(crate) fn look_up(&self, table: u32, wanted: Prefix, exact: bool) -> Result<Entry, i32> {
        let ipv6 = wanted.address().is_ipv6();
        if !self.has_table(table, ipv6) {
            return Err(-3);
        }
        let steered = self.steering.iter().filter(|((of, _), _)| *of == table).map(|((_, prefix), bsid)| {
            Entry { prefix: *prefix, kind: 0, interface: u32::MAX, next_hop: Some((*bsid).into()) }
        });
        let routes = self.setup.routes.iter().filter(|(of, ..)| *of == table).map(
            |(_, prefix, next_hop, interface)| Entry {
                prefix: *prefix,
                kind: 0,
                interface: *interface,
                next_hop: Some(*next_hop),
            },
        );
        let links = self.setup.interfaces.iter().zip(1..).filter(|_| table == 0).flat_map(
            |((_, prefixes), index)| {
                prefixes.iter().filter_map(move |&(address, length)| {
                    let prefix = Prefix::new(address, length).ok()?;
                    Some(Entry { prefix, kind: 0, interface: index, next_hop: None })
                })
            },
        );
        let any: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { [0, 0, 0, 0].into() };
        let drop = Prefix::new(any, 0).ok().map(|prefix| Entry {
            prefix,
            kind: 2,
            interface: u32::MAX,
            next_hop: None,
        });
        let matches = |entry: &Entry| {
            let prefix = entry.prefix;
            let covers = prefix.contains(wanted.address()) && prefix.length() <= wanted.length();
            prefix.address().is_ipv6() == ipv6 && if exact { prefix == wanted } else { covers }
        };
        // Segment routing wins over a route to the same prefix.
        let all = drop.into_iter().chain(links).chain(routes).chain(steered);
        all.filter(matches).max_by_key(|entry| entry.prefix.length()).ok_or(-6)
    }

    pub(crate) fn shown_policies(&self) -> BTreeMap<Ipv6Addr, ShownPolicy> {
        let shown = |policy: &Policy| ShownPolicy {
            source: policy.source,
            lists: policy.lists.iter().map(|list| (list.weight, list.segments.clone())).collect(),
        };
        self.policies.iter().map(|policy| (policy.bsid, shown(policy))).collect()
    }

    pub(crate) fn shown_steering(&self) -> BTreeMap<(u32, Prefix), Ipv6Addr> {
        self.steering.clone()
    }
}
