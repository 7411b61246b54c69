//! What the outside may know of sessions: [`SessionInfo`] for hooks, [`Stats`] for operators.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::Channel;

/// Who a session is, for hooks.
#[derive(Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The name that `hello` gave it.
    pub id: String,
    /// The user; none for an anonymous one.
    pub identity: Option<Arc<str>>,
    /// What it follows.
    pub channels: Vec<Channel>,
    /// Where it is present from the beginning.
    pub presence: Vec<Channel>,
    pub(crate) hooks: Hooks,
}

/// Which hooks a session has seen. Its end may come before `on_connect` returned; the hooks still come in
/// their order, each once.
#[derive(Debug, Default)]
pub(crate) struct Hooks(AtomicU8);

impl Hooks {
    const CONNECTED: u8 = 1;
    const CLOSED: u8 = 2;

    /// `on_connect` returned. True if the session ended meanwhile, so that `on_disconnect` is due.
    pub(crate) fn connected(&self) -> bool {
        self.0.fetch_or(Self::CONNECTED, Ordering::AcqRel) & Self::CLOSED != 0
    }

    /// The session ended. True if `on_disconnect` is due.
    pub(crate) fn closed(&self) -> bool {
        self.0.fetch_or(Self::CLOSED, Ordering::AcqRel) & Self::CONNECTED != 0
    }
}

/// Figures of a hub at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Open sessions, in-process ones included.
    pub sessions: usize,
    /// Places of sessions in lists of topics; each session has one for everyone, one for its user, one a scope
    /// and one a channel.
    pub subscriptions: usize,
    /// Topics with subscribers or with something retained.
    pub topics: usize,
    /// Bytes retained, as the bounds count them.
    pub retained_bytes: usize,
    /// Topics that wait for dispatch.
    pub queued_topics: usize,
}
