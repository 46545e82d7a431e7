//! Why a call failed, and what NCCL is told.

use std::path::PathBuf;
use std::sync::Arc;

use nccl_net_abi::{Code, Version};
use srv6_fabric::Flow;

use crate::config;
use crate::handle::Transport;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The environment asks for what can't be.
    #[error(transparent)]
    Config(#[from] config::Mistakes),
    /// No table to wrap.
    #[error("SRV6_TRANSPORT={wanted}: nothing to wrap")]
    Table {
        /// The setting's value.
        wanted: String,
        /// Why.
        #[source]
        source: nccl_net_abi::Error,
    },
    /// An NCCL whose own tables may look different from what we know.
    #[error("{} is NCCL release code {code}, whose internal net tables are unknown (known: 2.13 to 2.32); \
             use SRV6_TRANSPORT=multipath, or a newer nccl-net-srv6", path.display())]
    UnknownRelease {
        /// NCCL's image.
        path: PathBuf,
        /// What its ncclGetVersion says.
        code: i32,
    },
    /// NCCL took one of our tables that isn't of its own version.
    #[error("{} is NCCL release code {code} with internal tables of {layout}, but it chose our {chosen} table", path.display())]
    Layout {
        /// NCCL's image.
        path: PathBuf,
        /// What its ncclGetVersion says.
        code: i32,
        /// The version of its tables.
        layout: Version,
        /// The version of the table on which init was called.
        chosen: Version,
    },
    /// A second NCCL in this process.
    #[error(
        "this process has two NCCLs, at {first:#x} and {second:#x}; only the first one's connections are steered"
    )]
    SecondNccl {
        /// Base address of the first.
        first: usize,
        /// Base address of the second.
        second: usize,
    },
    /// The file named by SRV6_TRANSPORT is this plugin.
    #[error("SRV6_TRANSPORT={} is this plugin itself: name the net plugin that it shall wrap", path.display())]
    Ourselves {
        /// The file.
        path: PathBuf,
    },
    /// The wrapped transport has no devices.
    #[error("{transport} has no devices here")]
    NoDevices {
        /// Which one.
        transport: Transport,
    },
    /// `SRV6_MODE=local` without the right to change routes.
    #[error(
        "SRV6_MODE=local needs CAP_NET_ADMIN to install routes: give it to the job (in a container, \
             capabilities.add: [NET_ADMIN]), or set SRV6_MODE=off"
    )]
    NotAllowed,
    /// `SRV6_STRICT=1`, but nothing can be steered.
    #[error("SRV6_STRICT=1, but nothing can be steered: {reason}")]
    Strict {
        /// Why.
        reason: String,
    },
    /// Steering can't be set up.
    #[error("steering can't start")]
    Steering(#[source] srv6_steer::SteerError),
    /// NCCL passed no logger.
    #[error("init got no logger")]
    NoLogger,
    /// NCCL passed NULL or a value out of range.
    #[error("bad argument: {what}")]
    BadArgument {
        /// Which.
        what: &'static str,
    },
    /// A call before init, or after it failed.
    #[error("called before init succeeded")]
    NotInitialised,
    /// The peer's listener belongs to another transport.
    #[error(
        "this rank connects by {ours}, but the peer listens by {theirs}: \
             set the same SRV6_TRANSPORT on all ranks"
    )]
    OtherTransport {
        /// What this rank wraps.
        ours: Transport,
        /// What the peer's trailer says.
        theirs: Transport,
    },
    /// Strict, and it isn't known what to steer.
    #[error("connection can't be steered: {reason}")]
    Unsteerable {
        /// Why.
        reason: String,
    },
    /// Strict, and the flow has no path.
    #[error("connection {flow} can't be steered: {reason}")]
    Unsteered {
        /// The flow.
        flow: Flow,
        /// Why.
        reason: Arc<str>,
    },
    /// The wrapped transport failed.
    #[error("the wrapped transport's {call} failed")]
    Inner {
        /// NCCL's name of the call.
        call: &'static str,
        /// What it returned.
        #[source]
        code: Code,
    },
}

impl Error {
    /// What NCCL is told: system = OS or network, internal = NCCL broke the contract, invalid usage = a setting.
    ///
    /// The wrapped transport's own code passes through.
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Inner { code, .. } => *code,
            Self::Config(_)
            | Self::Table { .. }
            | Self::UnknownRelease { .. }
            | Self::Layout { .. }
            | Self::SecondNccl { .. }
            | Self::Ourselves { .. }
            | Self::NotAllowed
            | Self::Strict { .. }
            | Self::OtherTransport { .. } => Code::INVALID_USAGE,
            Self::NoDevices { .. }
            | Self::Steering(_)
            | Self::Unsteerable { .. }
            | Self::Unsteered { .. } => Code::SYSTEM_ERROR,
            Self::BadArgument { .. } => Code::INVALID_ARGUMENT,
            Self::NoLogger | Self::NotInitialised => Code::INTERNAL_ERROR,
        }
    }

    /// The whole chain of causes on one line.
    pub(crate) fn chain(&self) -> String {
        srv6_fabric::chain(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_ends_with_the_inner_code() {
        let error = Error::Inner { call: "connect", code: Code::REMOTE_ERROR };
        assert_eq!(error.chain(), "the wrapped transport's connect failed: ncclRemoteError (6)");
        assert_eq!(error.code(), Code::REMOTE_ERROR);
    }

    #[test]
    fn a_transport_mismatch_names_both() {
        let error = Error::OtherTransport { ours: Transport::Socket, theirs: Transport::Ib };
        assert_eq!(
            error.to_string(),
            "this rank connects by NCCL's Socket, but the peer listens by NCCL's IB: \
             set the same SRV6_TRANSPORT on all ranks"
        );
    }
}
