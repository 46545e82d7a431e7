//! What VPP has beside segment routing: interfaces with their addresses, and tables.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use srv6_fabric::Prefix;

use super::client::Client;
use super::error::VppError;
use super::message::{AddressDump, InterfaceDump, IpTableDump, Lookup, LookupReply};
use crate::Interface;

/// How long what was read counts. Higher: less to ask. Lower: an address that has moved is followed sooner.
const FRESH: Duration = Duration::from_secs(5);

/// The table that is always there.
const DEFAULT_TABLE: u32 = 0;

/// Return values of a look-up: no such table, no such entry (VPP's `vnet/error.h`).
const NO_SUCH_FIB: i32 = -3;
const NO_SUCH_ENTRY: i32 = -6;

/// What was read last. An address that isn't in it is looked for again.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    interfaces: Vec<Interface>,
    read: Option<Instant>,
    addresses: BTreeMap<IpAddr, u32>,
    tables: BTreeSet<(u32, bool)>,
}

impl Inventory {
    /// The interface with this name.
    pub(super) fn named(&mut self, client: &mut Client, name: &str) -> Result<Option<Interface>, VppError> {
        if !self.is_fresh() || !self.interfaces.iter().any(|interface| interface.name == name) {
            self.read(client)?;
        }
        Ok(self.interfaces.iter().find(|interface| interface.name == name).cloned())
    }

    /// The interface that has this address.
    pub(super) fn holding(
        &mut self,
        client: &mut Client,
        address: IpAddr,
    ) -> Result<Option<Interface>, VppError> {
        if !self.is_fresh() || !self.addresses.contains_key(&address) {
            self.read(client)?;
        }
        let Some(index) = self.addresses.get(&address) else { return Ok(None) };
        Ok(self.interfaces.iter().find(|interface| interface.index == *index).cloned())
    }

    /// An IPv6 address of the interface that other hosts can answer to.
    pub(super) fn ipv6_of(&self, interface: u32) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|(address, index)| match address {
            IpAddr::V6(address) if *index == interface && !address.is_unicast_link_local() => Some(*address),
            _ => None,
        })
    }

    /// Sees to it that a table is there. Steering into one that isn't ends VPP.
    ///
    /// # Errors
    /// [`VppError::UnknownTable`], or no answer.
    pub(super) fn check_table(
        &mut self,
        client: &mut Client,
        table: u32,
        ipv6: bool,
    ) -> Result<(), VppError> {
        if table == DEFAULT_TABLE || self.tables.contains(&(table, ipv6)) {
            return Ok(());
        }
        self.tables = client.dump(&IpTableDump)?.into_iter().map(|t| (t.number, t.ipv6)).collect();
        if self.tables.contains(&(table, ipv6)) {
            Ok(())
        } else {
            Err(VppError::UnknownTable { table, ipv6 })
        }
    }

    fn is_fresh(&self) -> bool {
        self.read.is_some_and(|read| read.elapsed() < FRESH)
    }

    fn read(&mut self, client: &mut Client) -> Result<(), VppError> {
        let found = client.dump(&InterfaceDump)?;
        self.interfaces = found.into_iter().map(|i| Interface { name: i.name, index: i.index }).collect();
        self.addresses.clear();
        for interface in &self.interfaces {
            for ipv6 in [true, false] {
                let list = client.dump(&AddressDump { interface: interface.index, ipv6 })?;
                self.addresses.extend(list.into_iter().map(|a| (a.address, a.interface)));
            }
        }
        self.read = Some(Instant::now());
        Ok(())
    }
}

/// The entry of a table that packets to `prefix` match; `None` where there is none.
///
/// # Errors
/// No answer, or a VPP that can't be asked.
pub(super) fn look_up(
    client: &mut Client,
    table: u32,
    prefix: Prefix,
    exact: bool,
) -> Result<Option<LookupReply>, VppError> {
    let found = client.call(&Lookup { table, exact, prefix })?;
    match found.retval {
        0 => Ok(Some(found)),
        NO_SUCH_FIB | NO_SUCH_ENTRY => Ok(None),
        code => Err(VppError::Refused { message: "ip_route_lookup", subject: prefix.to_string(), code }),
    }
}
