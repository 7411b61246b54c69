//! What the outside may know of sessions: [`SessionInfo`] and [`Disconnect`] for hooks, [`Stats`] for operators.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use tracing::Span;
use tracing::span::Entered;

use super::ByeReason;
use crate::Channel;

/// Who a session is, for hooks.
#[derive(Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The name that `hello` gave it.
    pub id: String,
    /// The user; none for an anonymous one.
    pub identity: Option<Arc<str>>,
    /// What it follows: at its end, also what it took up later.
    pub channels: Vec<Channel>,
    /// Where it is present: at its end, also what it joined later.
    pub presence: Vec<Channel>,
}

/// The `tracing` span of a session, if somebody listens to it: `session`, at `debug`, with the session's name and
/// its user. A session that nobody looks at holds no more than the place for it.
#[derive(Debug, Default)]
pub(crate) struct SessionSpan(OnceLock<Box<Span>>);

impl SessionSpan {
    /// Opens the span, in the one that is current. Under no lock: who listens is foreign code.
    pub(crate) fn open(&self, session: &str, identity: Option<&str>) {
        let span = tracing::debug_span!("session", session, identity);
        if !span.is_disabled() {
            let _ = self.0.set(Box::new(span));
        }
    }

    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        self.0.get().map(|span| span.enter())
    }
}

/// What ended a session, for [`Builder::on_disconnect`](crate::Builder::on_disconnect).
///
/// ```
/// use tower_revalidate::{ByeReason, Disconnect, Hub};
///
/// let hub = Hub::builder()
///     .on_disconnect(|session, why| match why {
///         Disconnect::Bye(ByeReason::Stalled) => eprintln!("{:?} stopped reading", session.identity),
///         why => println!("{} is over: {why}", session.id), // `closed`, `shutdown`, `grant`, …
///     })
///     .build()?;
/// # Ok::<(), tower_revalidate::BuildError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnect {
    /// The peer went away, politely or not, or the [`Subscription`](crate::Subscription) was dropped.
    Closed,
    /// The hub ended it, and says why in `bye`.
    Bye(ByeReason),
}

impl Disconnect {
    /// As one word: `closed`, or what stands in `bye`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Disconnect::Closed => "closed",
            Disconnect::Bye(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which hooks a session has seen, and what ended it. Its end may come before `on_connect` returned; the hooks
/// still come in their order, each once.
#[derive(Debug, Default)]
pub(crate) struct Hooks(AtomicU8);

impl Hooks {
    const CONNECTED: u8 = 1;
    const CLOSED: u8 = 2;
    /// A handler wants to know of the end of its own stream.
    const AWAITED: u8 = 4;
    /// Above the flags: 0 for a session that was closed, else the code of the reason.
    const REASON: u32 = 3;

    /// `on_connect` returned. What ended the session meanwhile, if something did: then `on_disconnect` is due.
    pub(crate) fn connected(&self) -> Option<Disconnect> {
        let before = self.0.fetch_or(Self::CONNECTED, Ordering::AcqRel);
        let why = ByeReason::from_code(before >> Self::REASON).map_or(Disconnect::Closed, Disconnect::Bye);
        (before & Self::CLOSED != 0).then_some(why)
    }

    /// Somebody waits for the end. False if it is over.
    pub(crate) fn await_end(&self) -> bool {
        self.0.fetch_or(Self::AWAITED, Ordering::AcqRel) & Self::CLOSED == 0
    }

    /// The session ended. What is due of it.
    pub(crate) fn closed(&self, why: Disconnect) -> Due {
        let code = match why {
            Disconnect::Closed => 0,
            Disconnect::Bye(reason) => reason.code(),
        };
        let said = Self::CLOSED | (code << Self::REASON);
        let before = self.0.fetch_or(said, Ordering::AcqRel);
        Due { hook: before & Self::CONNECTED != 0, awaited: before & Self::AWAITED != 0 }
    }
}

/// Who is to be told of a session's end.
pub(crate) struct Due {
    pub(crate) hook: bool,
    pub(crate) awaited: bool,
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
