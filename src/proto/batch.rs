//! [`Batch`]: what one read gave.

use std::sync::Arc;

use bytes::Bytes;

use super::{Messages, Millis, Posted};
use crate::{Channel, Cursor, GapReason, Origin, QueryKey};

/// What a session reads in one go, in the order in which it is written: opening, revalidations, gap, messages,
/// and the cursor, which acknowledges all of it (PROTOCOL R1).
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) opening: Option<Opening>,
    /// The union of the keys that are new; at most one event.
    pub(crate) keys: Vec<QueryKey>,
    pub(crate) origin: Option<Origin>,
    pub(crate) keys_spread_ms: u64,
    /// Keys that are left out because another one covers them, or is the same of another audience.
    pub(crate) merged: usize,
    /// When the audience whose keys wait for longest was last written to.
    pub(crate) keys_at: Option<Millis>,
    pub(crate) gap: Option<GapNotice>,
    /// What is written without an id: who is present, and the current values of `latest` channels when a session
    /// opens.
    pub(crate) current: Vec<Arc<Posted>>,
    pub(crate) messages: Messages,
    /// What may be acknowledged after all of the above; none while the session lags behind a gap it may not
    /// tell yet, or while it waits to know where it stands.
    pub(crate) cursor: Option<Cursor>,
    /// When the session opened. What came before is caught up on: it is old, and not late.
    pub(crate) opened: Millis,
    /// The cursor is written even if it stands in the stream already.
    pub(crate) heartbeat: bool,
    /// A bound cut the read; there is more.
    pub(crate) more: bool,
}

/// The first thing in a stream.
pub(crate) enum Opening {
    /// It is not known yet whether the session resumes: bytes at once, `hello` later.
    Waiting,
    Hello {
        /// What the client came with or where it starts; none where its cursor was strange.
        id: Option<Cursor>,
        resumed: bool,
        spread_ms: u64,
        names: Box<Names>,
    },
}

/// What a session follows, and where it is present.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) channels: Vec<Channel>,
    pub(crate) presence: Vec<Channel>,
}

/// Something was missed.
pub(crate) struct GapNotice {
    pub(crate) reason: GapReason,
    /// None: everything.
    pub(crate) channels: Option<Vec<Channel>>,
    pub(crate) spread_ms: u64,
}

/// How far one read goes.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) bytes: usize,
    pub(crate) events: usize,
}

impl Stretch {
    /// Whether `bytes` fit behind `events` events.
    pub(crate) fn holds(&self, bytes: usize, events: usize) -> bool {
        bytes <= self.bytes && events < self.events
    }
}

impl Batch {
    /// The frames of the batch's messages, if the id of the last acknowledges all of the batch: what is written is
    /// then the shared bytes themselves.
    pub(crate) fn only_frames(&self) -> Option<&Bytes> {
        let last = self.messages.last()?;
        let acknowledges = self.cursor.is_some_and(|cursor| cursor.offset == last.offset) && last.id_len > 0;
        // Joined only where it is of use.
        (acknowledges && self.is_only_messages()).then(|| self.messages.frames())?
    }

    /// When the oldest event in it came, if that was while the session was open.
    pub(crate) fn oldest(&self) -> Option<Millis> {
        let messages = self.messages.first().map(|posted| posted.at);
        self.keys_at.into_iter().chain(messages).min().filter(|at| *at >= self.opened)
    }

    fn is_only_messages(&self) -> bool {
        self.opening.is_none()
            && self.keys.is_empty()
            && self.gap.is_none()
            && self.current.is_empty()
            && !self.heartbeat
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.is_only_messages()
    }
}
