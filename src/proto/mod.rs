//! The protocol without I/O: what is kept, where a session stands, and what it reads next.
//!
//! Plain data. Time comes in as milliseconds of the hub's clock, seeds as numbers; there is no lock, no waker
//! and no runtime here, so the simulator runs the real thing and a reader needs no async to follow it.
//!
//! - [`Retention`] holds the tail of the one order of events, by topic: [`KeyLog`] for revalidations,
//!   [`Ring`] for channels. It is bounded, so it forgets, and [`Floors`] record what it forgot.
//! - [`Session`] is a *position* in that order. It holds no queue: when it can write, it reads its topics in
//!   (position, tip] and stands at the tip. A new, a slow and a returning client are one path.
//! - [`Attendance`] knows which users are present through sessions of this process, and a [`Roster`] who is in a
//!   channel; of presence, too, a session reads what is new since its place.
//! - [`Batch`] is what one read gave: revalidations first, then a gap, then messages in order, then the place
//!   that may be acknowledged.

mod batch;
mod floors;
mod keys;
mod messages;
mod presence;
mod retention;
mod ring;
mod roster;
mod session;
mod topic;

pub(crate) use batch::{Batch, GapNotice, Names, Opening, Stretch};
pub(crate) use floors::Floors;
pub(crate) use keys::KeyLog;
pub(crate) use messages::{Joins, Messages};
pub(crate) use presence::{Attendance, Attended, Left};
pub(crate) use retention::{Appended, Policies, Retention, RetentionLimits};
pub(crate) use ring::{Posted, Ring};
pub(crate) use roster::{PresenceLimits, Roster};
pub(crate) use session::{Follow, ReadLimits, Reader, Replay, Session, Start};
pub(crate) use topic::{EVERYONE, Subscriber, Topic, TopicId, TopicName};

/// Milliseconds on the hub's clock.
pub(crate) type Millis = u64;

/// By how many a list of so many grows. One that doubles is half empty right after it grew, and of the longest
/// ones that is most of what a hub holds.
pub(crate) fn growth(len: usize) -> usize {
    len.clamp(4, (len / 8).max(1024))
}

/// Over how many milliseconds `audience` clients should spread their refetches, so that the app sees at most
/// `per_second` of them: nothing up to 100 clients, at most 10 s.
pub(crate) fn spread_ms(audience: usize, per_second: u32) -> u64 {
    if audience <= 100 {
        return 0;
    }
    (audience as u64).saturating_mul(1000).div_ceil(u64::from(per_second.max(1))).min(10_000)
}
