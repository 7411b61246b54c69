//! [`EventLog`]: the one total order of events.
//!
//! A log numbers records densely and hands every follower the same ones in the same order. In memory that is a
//! counter; over a broker it is a stream that many nodes append to and follow. The log drives its own I/O: the
//! hub calls [`append`](EventLog::append) and never waits, the log calls [`Ack`] when it knows, and
//! [`Follower`] for each record, its own included.
//!
//! What a log must keep:
//!
//! - **Dense, total, the same for all.** The first record after `{epoch}-n` is `n + 1`, for every follower. A
//!   follower that is handed a jump takes it for a trim.
//! - **In order.** Records handed to `append` one after the other stand in the log in that order. Nothing
//!   overtakes one that failed while it was in flight.
//! - **Acknowledged means kept**, and a retry inside the log never appends twice. Where the log cannot know, it
//!   says [`AppendError::Unknown`].
//! - **Loss is told.** What was trimmed before it was followed: [`Follower::trimmed`]. A lost tail is a new
//!   epoch: [`Follower::reset`].

mod memory;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use memory::MemoryLog;

use crate::event::Readers;
use crate::hub::WeakHub;
use crate::revalidate::Audience;
use crate::{Channel, Cursor, Origin, QueryKey};

/// The one total order of events. See the [module docs](self).
pub trait EventLog: Send + Sync + 'static {
    /// The place after the newest record.
    fn tip(&self) -> Cursor;

    /// Hands every record after the cursor to the follower, from now on. Called once, when the hub is built.
    fn follow(&self, after: Cursor, follower: Follower);

    /// Appends a record. Never blocks; `ack` is told when the record stands, or failed.
    fn append(&self, record: Record, ack: Ack);

    /// Whether a node knows every record as soon as it is appended, so that a cursor ahead of its tip is
    /// strange at once and need not wait for the node to catch up.
    fn is_local(&self) -> bool {
        false
    }
}

/// One event, as it travels through a log. Opaque; it serialises.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(pub(crate) RecordKind);

/// The kind is the outer key: an inner tag would be read through a buffer, which cannot hold the raw payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecordKind {
    Revalidate {
        audience: Audience,
        keys: Vec<QueryKey>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Origin>,
    },
    Message {
        channel: Channel,
        event: Box<str>,
        /// Never left out: a record that does not say for whom is for nobody.
        to: Readers,
        data: Box<RawValue>,
    },
    /// The grant of this user changed: its sessions end, and older cursors get a gap.
    Regrant {
        identity: String,
        /// It is gone, and not only about to come back as someone else.
        #[serde(default)]
        signed_out: bool,
    },
}

/// Where a log hands what it follows: the hub of this node.
pub struct Follower(pub(crate) WeakHub);

/// Sessions to wake. They are woken when it drops: drop it outside of your locks.
#[must_use = "dropping it wakes the sessions concerned; do that outside of your locks"]
pub struct Delivered(#[expect(dead_code, reason = "it acts when it drops")] Option<crate::hub::Wakes>);

impl Follower {
    /// The record at this cursor. One heard before, or of another epoch than the current one, is ignored; a
    /// jump is taken for a trim.
    pub fn event(&self, at: Cursor, record: &Record) -> Delivered {
        Delivered(self.0.upgrade().map(|hub| hub.deliver(at, record)))
    }

    /// Everything up to this offset is gone from the log and may not have been heard.
    pub fn trimmed(&self, up_to: u64) -> Delivered {
        Delivered(self.0.upgrade().map(|hub| hub.trimmed(up_to)))
    }

    /// A new epoch begins after this cursor; nothing of the old one can be compared with it.
    pub fn reset(&self, tip: Cursor) -> Delivered {
        Delivered(self.0.upgrade().map(|hub| hub.reset(tip)))
    }

    /// Whether the hub is still there. A log that follows for nobody stops.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.upgrade().is_some()
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Delivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivered").finish_non_exhaustive()
    }
}

/// Tells what became of an append. Dropped without a word it says [`AppendError::Unknown`].
pub struct Ack(Option<Told>);

type Told = Box<dyn FnOnce(Result<Cursor, AppendError>) + Send>;

impl Ack {
    pub(crate) fn new(told: impl FnOnce(Result<Cursor, AppendError>) + Send + 'static) -> Self {
        Ack(Some(Box::new(told)))
    }

    /// The record stands at this cursor.
    pub fn appended(mut self, at: Cursor) {
        if let Some(told) = self.0.take() {
            told(Ok(at));
        }
    }

    /// The record does not stand, or nobody knows.
    pub fn failed(mut self, error: AppendError) {
        if let Some(told) = self.0.take() {
            told(Err(error));
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(Err(AppendError::Unknown));
        }
    }
}

impl std::fmt::Debug for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ack").finish_non_exhaustive()
    }
}

/// Why a record does not stand in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The log cannot be reached; the record does not stand.
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// The log did not say whether the record stands.
    #[error("the log did not say whether it appended")]
    Unknown,
    /// The log will never take this record.
    #[error("the log refused the record: {0}")]
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scope;

    #[test]
    fn a_record_reads_back_as_written() {
        let channel = Channel::parse("room:1").unwrap();
        let data = || RawValue::from_string(r#"{"b":1.50,"a":[]}"#.to_owned()).unwrap();
        let origin = Origin::parse(&[b'a'; 32]);
        let audience = Audience::scopes(vec![Scope::parse("user:1").unwrap()]);
        for kind in [
            RecordKind::Message {
                channel: channel.clone(),
                event: "said".into(),
                to: Readers::All,
                data: data(),
            },
            RecordKind::Message {
                channel: channel.clone(),
                event: "said".into(),
                to: Readers::Except("1".into()),
                data: data(),
            },
            RecordKind::Message {
                channel,
                event: "said".into(),
                to: Readers::Only(vec!["1".into(), "2".into()]),
                data: data(),
            },
            RecordKind::Revalidate {
                audience: Audience::Everyone,
                keys: vec![QueryKey::everything()],
                origin,
            },
            RecordKind::Revalidate { audience, keys: vec![QueryKey::new("a.b").unwrap()], origin: None },
            RecordKind::Regrant { identity: "1".into(), signed_out: true },
        ] {
            let json = serde_json::to_string(&Record(kind)).unwrap();
            let read: Record = serde_json::from_slice(json.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
    }

    #[test]
    fn a_record_without_an_audience_is_for_nobody() {
        assert!(serde_json::from_str::<Record>(r#"{"revalidate":{"keys":[]}}"#).is_err());
        assert!(serde_json::from_str::<Record>(r#"{"revalidate":{"audience":null,"keys":[]}}"#).is_err());
        let message = |to: &str| format!(r#"{{"message":{{"channel":"a","event":"b",{to}"data":1}}}}"#);
        assert!(serde_json::from_str::<Record>(&message("")).is_err());
        assert!(serde_json::from_str::<Record>(&message(r#""to":"some","#)).is_err());
        assert!(serde_json::from_str::<Record>(&message(r#""to":"all","#)).is_ok());
    }
}
