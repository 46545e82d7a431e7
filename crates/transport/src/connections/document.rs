//! What a process tells others about its connections: one JSON document, written and read here.

use serde::{Deserialize, Serialize};

use super::ConnectionStats;
use super::reading::Unread;

/// Raised when a reader of the one before would misunderstand. A new member is no reason: readers skip what they don't know.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Document {
    version: u32,
    /// As the process knows itself: another number than its reader's kernel has for it where process ids are namespaced.
    pub(super) pid: u32,
    pub(super) connections: Vec<ConnectionStats>,
}

/// All that is read of a document of another version.
#[derive(Deserialize)]
struct Preface {
    version: u32,
}

impl Document {
    pub(super) fn new(connections: Vec<ConnectionStats>) -> Document {
        Document { version: VERSION, pid: std::process::id(), connections }
    }

    pub(super) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Document, Unread> {
        let Preface { version } = serde_json::from_slice(bytes)?;
        match version {
            VERSION => Ok(serde_json::from_slice(bytes)?),
            found => Err(Unread::Version { found, wanted: VERSION }),
        }
    }
}

/// A connection's number in 16 hexadecimal digits: not every reader of JSON keeps 64 bits.
pub(super) mod hexadecimal {
    use serde::de::{Deserializer, Error};
    use serde::{Deserialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

/// Whole microseconds.
pub(crate) mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// Whole microseconds, or null.
pub(super) mod maybe_micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}

/// A text that others share.
pub(super) mod text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        Ok(String::deserialize(deserializer)?.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connections::{Direction, SubflowState, SubflowStats};
    use crate::subflow::TcpInfo;

    fn connection() -> ConnectionStats {
        let subflow = SubflowStats {
            index: 3,
            path: "a > \"b\" > c".into(),
            local: "[2001:db8::1]:1".parse().unwrap(),
            peer: "10.0.0.2:2".parse().unwrap(),
            bytes: u64::MAX,
            share: 0.25,
            chunks: 1,
            reissued: 2,
            hedged: 3,
            duplicates: 4,
            state: SubflowState::Suspect,
            changes: 5,
            suspected: Some(Duration::from_micros(6)),
            replaced: 7,
            rate: 8,
            ack_time: Duration::from_micros(9),
            tcp: Some(TcpInfo { rtt: Duration::from_micros(10), retransmits: 11, ..TcpInfo::default() }),
        };
        let bare = SubflowStats { suspected: None, tcp: None, state: SubflowState::Down, ..subflow.clone() };
        ConnectionStats {
            connection: 0xfedc_ba98_7654_3210,
            direction: Direction::Receive,
            subflows: vec![subflow, bare],
        }
    }

    #[test]
    fn a_document_comes_back_as_it_was() {
        let bytes = Document::new(vec![connection()]).encode().unwrap();
        let read = Document::decode(&bytes).unwrap();
        assert_eq!(read.pid, std::process::id());
        assert_eq!(format!("{:?}", read.connections), format!("{:?}", vec![connection()]));
    }

    #[test]
    fn its_members_have_the_names_that_are_documented() {
        let value: serde_json::Value =
            serde_json::from_slice(&Document::new(vec![connection()]).encode().unwrap()).unwrap();
        let connection = &value["connections"][0];
        assert_eq!(
            (&connection["connection"], &connection["direction"]),
            (&"fedcba9876543210".into(), &"receive".into())
        );
        let subflow = &connection["subflows"][0];
        assert_eq!((&subflow["state"], &subflow["suspected_us"]), (&"suspect".into(), &6.into()));
        assert_eq!((&subflow["ack_us"], &subflow["tcp"]["rtt_us"]), (&9.into(), &10.into()));
        assert_eq!(subflow["peer"], "10.0.0.2:2");
    }

    #[test]
    fn another_version_and_garbage_are_told_apart_and_new_members_are_skipped() {
        let later = br#"{"version":2,"processes":"of another shape"}"#;
        assert!(matches!(Document::decode(later), Err(Unread::Version { found: 2, wanted: 1 })));
        assert!(matches!(Document::decode(b"{\"version\":1,\"pid\":"), Err(Unread::Garbled(_))));
        let more = br#"{"version":1,"new":[{}],"pid":7,"connections":[]}"#;
        assert_eq!(Document::decode(more).unwrap().pid, 7);
    }
}
