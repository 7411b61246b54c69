//! [`Setting`]: the bounds of a history.

use std::time::Duration;

use super::super::checker::Rules;

/// The bounds of a history.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    /// How many nodes share a broker; none: one process with the real memory log.
    pub(crate) broker: Option<usize>,
    pub(crate) by_wire: bool,
    /// Nothing is ever forgotten, so that a gap is an objection.
    pub(crate) forgets_nothing: bool,
    pub(crate) kept: u32,
    pub(crate) topics: usize,
    pub(crate) keys: usize,
    pub(crate) max_keys: usize,
    pub(crate) age: Duration,
    pub(crate) bytes: usize,
    pub(crate) write_bytes: usize,
    pub(crate) buckets: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) gap_every: Duration,
    pub(crate) min_interval: Duration,
    /// Grants come from an authorizer, which takes its time.
    pub(crate) authorizes: bool,
}

pub(super) const PAYLOAD: usize = 256;
pub(super) const STALL_AFTER: Duration = Duration::from_secs(30);
/// Streams without an expiry of their own live for 12 minutes at least; a history is over before.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 60);

pub(super) fn pick<T: Copy>(rng: &mut fastrand::Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

impl Setting {
    pub(crate) fn draw(seed: u64, rng: &mut fastrand::Rng) -> Self {
        let forgets_nothing = rng.u8(0..4) == 0;
        let tight = |rng: &mut fastrand::Rng, tight: std::ops::Range<usize>, wide| {
            let drawn = rng.usize(tight);
            if forgets_nothing { wide } else { drawn }
        };
        Setting {
            seed,
            broker: pick(rng, &[None, Some(1), Some(2), Some(2)]),
            by_wire: rng.bool(),
            forgets_nothing,
            kept: tight(rng, 1..6, 4096) as u32,
            topics: tight(rng, 1..8, 4096),
            keys: tight(rng, 1..6, 4096),
            max_keys: tight(rng, 2..6, 1024),
            age: Duration::from_millis(tight(rng, 200..60_000, 3_600_000) as u64),
            bytes: tight(rng, 2 * PAYLOAD..8 * PAYLOAD, 4 << 20),
            write_bytes: pick(rng, &[1, 150, 400, 64 << 10]),
            buckets: pick(rng, &[1, 8, 4096]),
            heartbeat: pick(
                rng,
                &[Duration::from_secs(1), Duration::from_secs(15), Duration::from_secs(600)],
            ),
            gap_every: pick(
                rng,
                &[Duration::from_secs(10), Duration::from_secs(10), Duration::from_millis(500)],
            ),
            min_interval: pick(
                rng,
                &[Duration::ZERO, Duration::ZERO, Duration::from_millis(100), Duration::from_secs(2)],
            ),
            authorizes: rng.bool(),
        }
    }

    /// Two nodes that keep little and write little at a time.
    pub(crate) fn fixed() -> Self {
        Setting {
            seed: 7,
            broker: Some(2),
            by_wire: true,
            forgets_nothing: false,
            kept: 4,
            topics: 8,
            keys: 3,
            max_keys: 8,
            age: Duration::from_secs(60),
            bytes: 16 * PAYLOAD,
            write_bytes: 200,
            buckets: 64,
            heartbeat: Duration::from_secs(15),
            gap_every: Duration::from_secs(10),
            min_interval: Duration::ZERO,
            authorizes: false,
        }
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            is_local: self.broker.is_none(),
            gap_every: self.gap_every.as_millis() as u64,
            heartbeat: self.heartbeat.as_millis() as u64,
            stall_after: STALL_AFTER.as_millis() as u64,
            forgets_nothing: self.forgets_nothing,
        }
    }
}
