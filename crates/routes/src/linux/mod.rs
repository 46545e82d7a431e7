//! The Linux kernel as dataplane, over rtnetlink.

mod message;
mod rules;
mod watch;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::route::{RouteMessage, RouteType};
use rtnetlink::Handle;
use srv6_fabric::Flow;
use tokio::runtime::Runtime;

use crate::{
    Capabilities, Dataplane, Interface, LaneRules, Reach, Route, RouteError, RouteKey, Selector, Slot,
    Target, Watch,
};
use watch::LinuxWatch;

/// Attempts of one change before a lack of memory is believed.
///
/// A tunnel's per-CPU cache is allocated without sleeping, from a pool that the kernel refills a moment
/// later: bulk installation sees ENOMEM in up to half of its requests, and none of them twice after 1 ms.
const ATTEMPTS: u32 = 20;

/// The routing tables of the network namespace in which this was made.
#[derive(Debug)]
pub struct LinuxRoutes {
    handle: Handle,
    // Owns the socket's task. Current-thread: it runs only while one of our calls waits.
    runtime: Runtime,
}

impl LinuxRoutes {
    /// Opens a netlink socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// No socket to be had.
    pub fn new() -> Result<Self, RouteError> {
        let fault = |source| RouteError::Kernel { doing: "open a netlink socket".to_owned(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(fault)?;
        let entered = runtime.enter();
        // Strict checking makes the kernel filter dumps by protocol instead of sending every route.
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check().map_err(fault)?;
        runtime.spawn(connection);
        drop(entered);
        Ok(Self { handle, runtime })
    }

    /// The interface with this index.
    ///
    /// # Errors
    /// [`RouteError::UnknownInterface`].
    pub fn interface_indexed(&mut self, index: u32) -> Result<Interface, RouteError> {
        let request = self.handle.link().get().match_index(index);
        self.link(request, &index.to_string())
    }

    fn link(&self, request: rtnetlink::LinkGetRequest, name: &str) -> Result<Interface, RouteError> {
        let unknown = || RouteError::UnknownInterface { name: name.to_owned() };
        let message = self.wait(async move { request.execute().try_next().await }).map_err(|_| unknown())?;
        let message = message.ok_or_else(unknown)?;
        let name = message.attributes.iter().find_map(|a| match a {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
        Ok(Interface { name: name.ok_or_else(unknown)?, index: message.header.index })
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T, rtnetlink::Error>>) -> io::Result<T> {
        self.runtime.block_on(future).map_err(|error| match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other.to_string()),
        })
    }

    /// One change, again while the kernel is short of memory.
    fn change<F>(&self, request: impl Fn() -> F) -> io::Result<()>
    where
        F: Future<Output = Result<(), rtnetlink::Error>>,
    {
        let mut attempt = 1;
        loop {
            match self.wait(request()) {
                Err(error) if attempt < ATTEMPTS && is_shortage(&error) => {
                    std::thread::sleep(Duration::from_millis(1));
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// The table entry that a packet would match; `None` where there is none.
    fn lookup(
        &self,
        source: Option<IpAddr>,
        destination: IpAddr,
        selector: Option<Selector>,
    ) -> Result<Option<message::Entry>, RouteError> {
        let request = self.handle.route().get(message::lookup(source, destination, selector));
        match self.wait(async move { request.execute().boxed_local().try_next().await }) {
            Ok(found) => Ok(found.as_ref().map(message::entry)),
            Err(error) if is_unreachable(&error) => Ok(None),
            Err(source) => {
                Err(RouteError::Kernel { doing: format!("look up a route to {destination}"), source })
            }
        }
    }

    fn taken(&self, flow: Flow, selector: Option<Selector>, key: &RouteKey) -> Result<(), RouteError> {
        let taken = match self.lookup(Some(flow.src), flow.dst, selector)? {
            Some(entry) if entry.is_at(key) && entry.protocol == crate::PROTOCOL => return Ok(()),
            Some(entry) => format!(
                "they take one of /{} in table {} with metric {} and protocol {}",
                entry.prefix_len, entry.table, entry.metric, entry.protocol
            ),
            None => "they take none at all".to_owned(),
        };
        Err(RouteError::Shadowed { flow, destination: key.destination, table: key.table, taken })
    }

    fn dump(&self, family: AddressFamily) -> Result<Vec<RouteMessage>, RouteError> {
        let request = self.handle.route().get(message::ours(family));
        self.wait(async move { request.execute().boxed_local().try_collect().await })
            .map_err(|source| RouteError::Kernel { doing: "list routes".to_owned(), source })
    }

    fn name_of(&mut self, index: u32) -> String {
        self.interface_indexed(index).map_or_else(|_| format!("if{index}"), |i| i.name)
    }

    fn refusal(&mut self, route: &Route, source: io::Error) -> RouteError {
        let interface = self.name_of(route.interface);
        let doing = route.command(&interface);
        match (source.raw_os_error().unwrap_or(0), &route.target) {
            (libc::EPERM | libc::EACCES, _) => RouteError::NotPermitted { doing },
            (libc::EOPNOTSUPP | libc::EPROTONOSUPPORT, Target::Encap { .. }) => RouteError::NoSeg6 { doing },
            (libc::ENODEV, _) => RouteError::UnknownInterface { name: interface },
            (libc::ENETDOWN, _) => RouteError::InterfaceDown { name: interface },
            (libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL, Target::Gateway(gateway)) => {
                RouteError::UnreachableGateway { gateway: *gateway, interface }
            }
            _ => RouteError::Kernel { doing, source },
        }
    }
}

impl Dataplane for LinuxRoutes {
    fn capabilities(&mut self, _source: IpAddr) -> Capabilities {
        Capabilities { name: "linux", table: None, names_interface: true, no_pinning: None }
    }

    fn interface_named(&mut self, name: &str) -> Result<Interface, RouteError> {
        let request = self.handle.link().get().match_name(name.to_owned());
        self.link(request, name)
    }

    fn interface_of(&mut self, address: IpAddr) -> Result<Interface, RouteError> {
        let address = address.to_canonical();
        let request = self.handle.address().get().set_address_filter(address);
        let found = self
            .wait(async move { request.execute().try_collect::<Vec<_>>().await })
            .map_err(|source| RouteError::Kernel { doing: "list addresses".to_owned(), source })?;
        match found.first() {
            Some(message) => self.interface_indexed(message.header.index),
            None => Err(RouteError::ForeignSource { address }),
        }
    }

    fn owned(&mut self) -> Result<Vec<Route>, RouteError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet6, AddressFamily::Inet] {
            routes.extend(self.dump(family)?.iter().filter_map(message::read));
        }
        Ok(routes)
    }

    fn find(&mut self, key: &RouteKey) -> Result<Option<Route>, RouteError> {
        // A list grows with the routes that there are; what a packet would take is one answer, and as a rule says enough: the
        // longest prefix of a table is either ours, or there is none of ours. Only a better one of the same length hides it,
        // and only unmarked packets never see the tables of slots.
        if Slot::of_table(key.table).is_none() {
            let packet = key.destination.address();
            let request = self.handle.route().get(message::lookup(None, packet, None));
            match self.wait(async move { request.execute().boxed_local().try_next().await }) {
                Ok(Some(found)) => {
                    let entry = message::entry(&found);
                    if entry.is_at(key) {
                        return Ok(message::read(&found));
                    }
                    if entry.table == key.table && entry.prefix_len < key.destination.length() {
                        return Ok(None);
                    }
                }
                Ok(None) => {}
                Err(error) if is_unreachable(&error) => {}
                Err(source) => {
                    return Err(RouteError::Kernel {
                        doing: format!("look for {}", key.destination),
                        source,
                    });
                }
            }
        }
        let request = self.handle.route().get(message::ours_in(key));
        match self.wait(async move { request.execute().boxed_local().try_collect::<Vec<_>>().await }) {
            Ok(found) => Ok(found.iter().filter_map(message::read).find(|route| route.key == *key)),
            // No route of this family was ever in the table.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(source) => Err(RouteError::Kernel { doing: "list routes".to_owned(), source }),
        }
    }

    fn set(&mut self, route: &Route) -> Result<(), RouteError> {
        let routes = self.handle.route();
        let message = message::route(route);
        // Created if nothing is there, which is one question less than looking first.
        match self.change(|| routes.add(message.clone()).execute()) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            other => return other.map_err(|source| self.refusal(route, source)),
        }
        // Something is there; the whole table tells what, a lookup only what packets would take.
        let request = routes.get(message::table(&route.key));
        let present: Vec<RouteMessage> = self
            .wait(async move { request.execute().boxed_local().try_collect().await })
            .map_err(|source| RouteError::Kernel { doing: "list routes".to_owned(), source })?;
        let other = present
            .iter()
            .map(message::entry)
            .find(|entry| entry.is_at(&route.key) && entry.protocol != crate::PROTOCOL);
        if let Some(other) = other {
            return Err(RouteError::Occupied {
                destination: route.key.destination.to_string(),
                table: route.key.table,
                metric: crate::METRIC,
                protocol: other.protocol,
            });
        }
        self.replace(route)
    }

    fn replace(&mut self, route: &Route) -> Result<(), RouteError> {
        let routes = self.handle.route();
        let message = message::route(route);
        self.change(|| routes.add(message.clone()).replace().execute())
            .map_err(|source| self.refusal(route, source))
    }

    fn watch(&mut self) -> Result<Vec<Box<dyn Watch>>, RouteError> {
        Ok(vec![Box::new(LinuxWatch::new()?)])
    }

    fn remove(&mut self, key: &RouteKey) -> Result<(), RouteError> {
        let routes = self.handle.route();
        let message = message::key(key);
        match self.change(|| routes.del(message.clone()).execute()) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => {
                Err(RouteError::NotPermitted { doing: key.command() })
            }
            other => other.map_err(|source| RouteError::Kernel { doing: key.command(), source }),
        }
    }

    fn takes(&mut self, flow: Flow, key: &RouteKey) -> Result<(), RouteError> {
        self.taken(flow, None, key)
    }

    fn reach(&mut self, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError> {
        Ok(match self.lookup(None, carrier.into(), None)? {
            Some(message::Entry {
                kind: RouteType::Unicast,
                interface: Some(interface),
                gateway,
                prefix_len,
                ..
            }) => Some(Reach { interface, gateway, prefix_len }),
            // A local or unreachable entry swallows the packet just as none at all does.
            _ => None,
        })
    }

    fn carries(
        &mut self,
        carrier: Ipv6Addr,
        selector: Option<Selector>,
        key: &RouteKey,
    ) -> Result<bool, RouteError> {
        let found = self.lookup(None, carrier.into(), selector)?;
        Ok(found.is_some_and(|entry| entry.is_at(key) && entry.protocol == crate::PROTOCOL))
    }

    fn lane_rules(&mut self) -> Option<&mut dyn LaneRules> {
        Some(self)
    }
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN))
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ESRCH | libc::EINVAL | libc::EACCES)
    )
}
