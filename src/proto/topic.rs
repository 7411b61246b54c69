//! [`Topic`]: where an event is addressed, what is kept of it, and who reads it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{KeyLog, Millis, Ring, Roster};
use crate::{Channel, Scope};

/// The index of a topic in retention. Reused; whoever keeps one holds a subscription, too.
pub(crate) type TopicId = u32;

/// The topic of everyone is always there.
pub(crate) const EVERYONE: TopicId = 0;

/// Where an event is addressed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TopicName {
    Everyone,
    Scope(Scope),
    Channel(Channel),
    /// Who is present in a channel; no part of the one order.
    Presence(Channel),
    /// The sessions of one user; nothing is kept of it.
    Identity(Arc<str>),
}

/// What is kept of a topic.
pub(crate) enum Kept {
    /// None where nothing is.
    Keys(Option<Box<KeyLog>>),
    Ring(Ring),
    /// Boxed: most topics have none.
    Roster(Box<Roster>),
    Nothing,
}

/// A session in a topic's list. `slot` is the place of the topic in the session's own list, so that either
/// side can be removed in constant time.
#[derive(Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) session: u32,
    pub(crate) slot: u32,
}

pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) kept: Kept,
    /// The last event that touched it.
    pub(crate) last: u64,
    pub(crate) touched: Millis,
    /// A cursor below it missed something that is not kept any more.
    pub(crate) floor: u64,
    /// In place, where they are two or fewer.
    pub(crate) subscribers: SmallVec<[Subscriber; 2]>,
    /// Whether it waits for dispatch.
    pub(crate) queued: bool,
}

impl Topic {
    pub(crate) fn bytes(&self) -> usize {
        match &self.kept {
            Kept::Keys(keys) => keys.as_ref().map_or(0, |keys| keys.bytes()),
            Kept::Ring(ring) => ring.bytes(),
            Kept::Roster(_) | Kept::Nothing => 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match &self.kept {
            Kept::Keys(keys) => keys.as_ref().is_none_or(|keys| keys.is_empty()),
            Kept::Ring(ring) => ring.is_empty(),
            Kept::Roster(roster) => roster.is_empty(),
            Kept::Nothing => true,
        }
    }

    /// Whether a session that stands here may find something new.
    pub(crate) fn is_news(&self, position: u64) -> bool {
        self.last > position || matches!(self.kept, Kept::Roster(_))
    }

    /// Forgets everything, and records that it did.
    pub(crate) fn forget(&mut self) {
        let promised = match &mut self.kept {
            Kept::Keys(keys) => {
                *keys = None;
                true
            }
            Kept::Ring(ring) => {
                let promised = ring.is_promised() && !ring.is_empty();
                ring.clear();
                promised
            }
            Kept::Roster(_) | Kept::Nothing => false,
        };
        if promised {
            self.floor = self.floor.max(self.last);
        }
    }
}
