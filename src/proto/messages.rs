//! [`Messages`]: what one read found on channels, and [`Joins`], which has the sessions that stand at the same
//! place read the same bytes.
//!
//! Most sessions of a channel are woken together and stand together, so that of many events behind each other the
//! first who reads them joins them, and the rest take what it made.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};

use super::{Posted, Reader, Ring, TopicId};
use crate::event::Readers;

/// Messages in the order of their offsets.
#[derive(Default)]
pub(crate) enum Messages {
    #[default]
    None,
    One(Arc<Posted>),
    /// Of one channel, and of all who stand at this place.
    Shared(Arc<Joined>),
    /// Of several channels, or of one where something is not for everybody.
    Own(Vec<Arc<Posted>>),
}

/// A stretch of one channel.
pub(crate) struct Joined {
    posted: Vec<Arc<Posted>>,
    /// Made by the first who asks, which is under no lock of the hub; in-process sessions never do.
    frames: OnceLock<Bytes>,
}

/// How many stretches are remembered, over all channels: it bounds what they hold. The sessions of a channel read
/// one after the other, and dispatch sweeps a channel at a time, so that few are of use at any moment.
const REMEMBERED: usize = 8;

/// The stretches that were read last.
#[derive(Default)]
pub(crate) struct Joins([Option<Join>; REMEMBERED]);

struct Join {
    /// From where to where. An offset stands in one channel, and what stands between two of them never changes.
    first: u64,
    newest: u64,
    joined: Arc<Joined>,
    /// The bound cut it.
    more: bool,
}

impl Messages {
    /// The frames of all of them as they are shared, if they are.
    pub(crate) fn frames(&self) -> Option<&Bytes> {
        match self {
            Messages::One(posted) => Some(&posted.frame),
            Messages::Shared(joined) => Some(joined.frames()),
            Messages::None | Messages::Own(_) => None,
        }
    }
}

impl Deref for Messages {
    type Target = [Arc<Posted>];
    fn deref(&self) -> &[Arc<Posted>] {
        match self {
            Messages::None => &[],
            Messages::One(posted) => std::slice::from_ref(posted),
            Messages::Shared(joined) => &joined.posted,
            Messages::Own(posted) => posted,
        }
    }
}

impl Joined {
    fn frames(&self) -> &Bytes {
        self.frames.get_or_init(|| {
            let length = self.posted.iter().map(|posted| posted.frame.len()).sum();
            let mut frames = BytesMut::with_capacity(length);
            self.posted.iter().for_each(|posted| frames.extend_from_slice(&posted.frame));
            frames.freeze()
        })
    }
}

impl Joins {
    /// What a session of this user reads of a channel, from an index in its ring on, up to the bound; and whether
    /// that cut it.
    pub(crate) fn read(
        &mut self,
        id: TopicId,
        ring: &Ring,
        index: usize,
        reader: &Reader<'_>,
    ) -> (Messages, bool) {
        let (Some(first), Some(newest)) = (ring.get(index), ring.newest()) else {
            return (Messages::None, false);
        };
        if first.offset == newest.offset {
            let one = first.to.include(reader.identity).then(|| Messages::One(first.clone()));
            return (one.unwrap_or_default(), false);
        }
        let remembered = &mut self.0[id as usize % REMEMBERED];
        if let Some(join) = remembered {
            if join.first == first.offset && join.newest == newest.offset {
                return (Messages::Shared(join.joined.clone()), join.more);
            }
        }
        let mut posted = Vec::new();
        let (mut bytes, mut more, mut for_all) = (0, false, true);
        for next in ring.from(index) {
            for_all &= matches!(next.to, Readers::All);
            if !next.to.include(reader.identity) {
                continue;
            }
            bytes += next.frame.len();
            if !posted.is_empty() && !reader.limits.stretch.holds(bytes, posted.len()) {
                more = true;
                break;
            }
            posted.push(next.clone());
        }
        if !for_all {
            return (Messages::Own(posted), more);
        }
        let joined = Arc::new(Joined { posted, frames: OnceLock::new() });
        *remembered = Some(Join { first: first.offset, newest: newest.offset, joined: joined.clone(), more });
        (Messages::Shared(joined), more)
    }

    /// A new order begins, in which the offsets are others.
    pub(crate) fn clear(&mut self) {
        *self = Joins::default();
    }
}
