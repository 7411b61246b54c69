//! [`Signal`]: how dispatch tells a session to look, and the session's sleep.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use super::info::Hooks;
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, Mutex, Ordering};

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ByeReason {
    /// The server shuts down.
    Shutdown,
    /// The grant changed, or the user was disconnected.
    Grant,
    /// The grant expired.
    Expired,
    /// The stream was woken and not polled for too long.
    Stalled,
    /// The hub holds as many sessions or subscriptions as it may.
    Busy,
    /// Too many streams, or opened too often, by this user or from this address.
    Limited,
}

impl ByeReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ByeReason::Shutdown => "shutdown",
            ByeReason::Grant => "grant",
            ByeReason::Expired => "expired",
            ByeReason::Stalled => "stalled",
            ByeReason::Busy => "busy",
            ByeReason::Limited => "limited",
        }
    }

    pub(crate) const ALL: [ByeReason; 6] = {
        use ByeReason::{Busy, Expired, Grant, Limited, Shutdown, Stalled};
        [Shutdown, Grant, Expired, Stalled, Busy, Limited]
    };

    /// Not 0, and at most 31.
    pub(crate) fn code(self) -> u8 {
        self as u8 + 1
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// What dispatch and a session share. The dirty flag saves work; that nothing is missed rests on the position,
/// which is read again with every heartbeat.
pub(crate) struct Signal {
    dirty: AtomicBool,
    /// 0, or the code of a [`ByeReason`].
    ended: AtomicU8,
    pub(super) hooks: Hooks,
    retry_ms: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// A new session has its first read before it.
    pub(crate) fn new() -> Self {
        Signal {
            dirty: AtomicBool::new(true),
            ended: AtomicU8::new(0),
            hooks: Hooks::default(),
            retry_ms: AtomicU32::new(0),
            waker: Mutex::new(None),
        }
    }

    /// Says that there is something to read. True if that is news, so that somebody must [`wake`](Self::wake).
    pub(crate) fn mark(&self) -> bool {
        !self.dirty.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    pub(crate) fn take_dirty(&self) -> bool {
        // "Nothing new" is what hyper asks for most often: one load, no write to a shared line.
        self.is_dirty() && self.dirty.swap(false, Ordering::AcqRel)
    }

    /// Wakes the session. Never under a lock: a waker may run anything. One that panics takes neither the
    /// dispatch task down nor those with it that were marked and are yet to be woken.
    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
                tracing::error!("the waker of a session panicked");
            }
        }
    }

    /// Stores the waker, *then* looks at the flag once more. True if the session may sleep. The other way round
    /// a mark between look and store would wake nobody (PROTOCOL R2).
    pub(crate) fn sleep(&self, waker: &Waker) -> bool {
        let known = self.waker.lock().as_ref().is_some_and(|stored| stored.will_wake(waker));
        if !known {
            // Cloned and dropped without the lock: both are foreign code.
            let stored = Some(waker.clone());
            let replaced = std::mem::replace(&mut *self.waker.lock(), stored);
            drop(replaced);
        }
        !self.is_dirty()
    }

    /// Ends the session; the first reason stands. Whoever ends it must wake it.
    pub(crate) fn end(&self, reason: ByeReason, retry_ms: u32) {
        if self.ended.load(Ordering::Acquire) == 0 {
            self.retry_ms.store(retry_ms, Ordering::Relaxed);
            self.ended.store(reason.code(), Ordering::Release);
        }
        self.mark();
    }

    /// Why the session ended, and its own `retry` (0: none), if it did.
    pub(crate) fn ended(&self) -> Option<(ByeReason, u32)> {
        let reason = ByeReason::from_code(self.ended.load(Ordering::Acquire))?;
        Some((reason, self.retry_ms.load(Ordering::Relaxed)))
    }
}
