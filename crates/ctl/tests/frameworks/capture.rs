//! Tunnelled packets on a link, decoded by tshark.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use crate::scene::Scene;

/// A capture that ends by itself after some packets; killed if it is dropped before.
pub(crate) struct Capture {
    child: Child,
}

/// A packet inside a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Destination of the outer header.
    pub(crate) outer: String,
    /// Destination of the inner one.
    pub(crate) inner: String,
    /// TCP destination port.
    pub(crate) port: String,
    /// Whether it opens a connection.
    pub(crate) syn: bool,
}

impl Capture {
    /// Starts capturing the first `packets` tunnelled TCP packets that a node sends or receives on an interface.
    ///
    /// With tshark: tcpdump insists on changing its user, which a user namespace of one user forbids.
    pub(crate) fn start(scene: &Scene, node: &str, interface: &str, packets: u32) -> Self {
        let node = scene.lab.node(node).unwrap();
        let fields = ["ipv6.dst", "ip.dst", "tcp.dstport", "tcp.flags.syn"];
        let mut child = node
            .command("tshark")
            .args(["-i", interface, "-f", "ip6 proto 41 or ip6 proto 4", "-c", &packets.to_string()])
            .args(["-a", "duration:300", "-n", "-l", "-T", "fields", "-E", "occurrence=a"])
            .args(fields.iter().flat_map(|field| ["-e", field]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tshark runs");
        let errors = BufReader::new(child.stderr.take().unwrap());
        let told = errors.lines().map_while(Result::ok).find(|line| line.contains("Capturing on"));
        assert!(told.is_some(), "tshark does not capture");
        Self { child }
    }

    /// Waits for the last packet.
    pub(crate) fn finish(mut self) -> Vec<Decoded> {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text.lines()
            .map(|line| {
                let [six, four, port, syn] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
                let (outer, inner) = six.split_once(',').unwrap_or((six, four));
                let [outer, inner, port] = [outer, inner, port].map(str::to_owned);
                Decoded { outer, inner, port, syn: syn == "1" || syn == "True" }
            })
            .collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
