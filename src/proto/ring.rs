//! [`Ring`]: the messages of one channel.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Millis;
use crate::Channel;
use crate::channel::Keep;
use crate::event::Readers;

/// How many events of an ephemeral channel a session may be behind.
const EPHEMERAL: usize = 32;
/// What an event costs beside its frame: the allocation and its place in the ring.
const OVERHEAD: usize = 128;

/// A message as it is kept: encoded once, shared by every session that reads it.
pub(crate) struct Posted {
    pub(crate) offset: u64,
    pub(crate) at: Millis,
    pub(crate) channel: Channel,
    pub(crate) event: Box<str>,
    pub(crate) to: Readers,
    /// The payload, a slice of the frame.
    pub(crate) data: Bytes,
    /// The frame; with the message's id, unless the channel is ephemeral.
    pub(crate) frame: Bytes,
    /// The length of the id in front of the frame.
    pub(crate) id_len: u16,
}

impl Posted {
    /// The frame without the id.
    pub(crate) fn bare(&self) -> &[u8] {
        &self.frame[usize::from(self.id_len)..]
    }

    fn cost(&self) -> usize {
        self.frame.len() + self.event.len() + OVERHEAD
    }
}

/// The newest messages of a channel, in order of offset.
pub(crate) struct Ring {
    pub(crate) keep: Keep,
    events: VecDeque<Arc<Posted>>,
    bytes: usize,
}

impl Ring {
    pub(crate) fn new(keep: Keep) -> Self {
        Ring { keep, events: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.events = VecDeque::new();
        self.bytes = 0;
    }

    /// Whether what it forgets was promised. Superseded values and ephemeral events were not.
    pub(crate) fn is_promised(&self) -> bool {
        self.keep != Keep::Ephemeral
    }

    /// Adds a message and forgets the oldest past the bounds. Returns the last promised offset it forgot.
    pub(crate) fn push(&mut self, posted: Arc<Posted>, max_bytes: usize, max_age: Millis) -> Option<u64> {
        let now = posted.at;
        let cap = match self.keep {
            Keep::History(events) => events as usize,
            Keep::Latest => 1,
            Keep::Ephemeral => EPHEMERAL,
        };
        self.bytes += posted.cost();
        self.events.push_back(posted);
        let mut forgotten = None;
        while let Some(oldest) = self.events.front() {
            let expired = oldest.at.saturating_add(max_age) < now;
            let over = self.events.len() > cap || (self.bytes > max_bytes && self.events.len() > 1);
            if !expired && !over {
                break;
            }
            self.bytes -= oldest.cost();
            forgotten = Some(oldest.offset);
            self.events.pop_front();
        }
        forgotten.filter(|_| matches!(self.keep, Keep::History(_)))
    }

    /// The index of the first message after `position`.
    pub(crate) fn after(&self, position: u64) -> usize {
        // Most who read lack the newest alone.
        let newest = self.events.len().saturating_sub(1);
        if newest > 0 && self.events[newest - 1].offset <= position && position < self.events[newest].offset {
            return newest;
        }
        self.events.partition_point(|posted| posted.offset <= position)
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Posted>> {
        self.events.get(index)
    }

    /// The messages from an index on.
    pub(crate) fn from(&self, index: usize) -> impl Iterator<Item = &Arc<Posted>> {
        self.events.range(index.min(self.events.len())..)
    }

    pub(crate) fn newest(&self) -> Option<&Arc<Posted>> {
        self.events.back()
    }
}
