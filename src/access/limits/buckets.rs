//! [`Buckets`]: how many streams each client may still open.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::time::Instant;

/// So many a minute, so many of them at once.
pub(super) fn quota(per_minute: u32, burst: u32) -> Result<Quota, String> {
    let quota = NonZeroU32::new(per_minute).map(Quota::per_minute);
    let quota = quota.zip(NonZeroU32::new(burst)).map(|(quota, burst)| quota.allow_burst(burst));
    let quota = quota.ok_or("a rate of 0 opens nothing")?;
    // `governor` reckons in nanoseconds, unchecked; a century is as good as for ever.
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    match quota.replenish_interval().checked_mul(burst) {
        Some(time) if time < century => Ok(quota),
        _ => Err(format!("a burst of {burst} at {per_minute} a minute takes over a century to come back")),
    }
}

/// The time since the hub was built; tokio's, so that tests can pause it.
#[derive(Debug, Clone)]
struct Since(Instant);

impl Clock for Since {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A bucket for each client that was active lately.
pub(super) struct Buckets {
    limiter: RateLimiter<u64, Table, Since, NoOpMiddleware<Duration>>,
    clock: Since,
    max: usize,
    /// In which second the table was swept last; a full one is looked through once a second.
    swept: AtomicU64,
}

impl Buckets {
    pub(super) fn new(quota: Quota, max: usize) -> Self {
        let clock = Since(Instant::now());
        let table = Table { buckets: Mutex::default(), clock: clock.clone(), max };
        let limiter = RateLimiter::new(quota, table, clock.clone());
        Buckets { limiter, clock, max, swept: AtomicU64::new(u64::MAX) }
    }

    /// Takes one of what the client has left, or tells how long until it has one.
    pub(super) fn take(&self, client: u64) -> Result<(), Duration> {
        let now = self.clock.now();
        let second = now.as_secs();
        if self.limiter.len() >= self.max && self.swept.swap(second, Ordering::Relaxed) != second {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&client).map_err(|until| until.wait_time_from(now))
    }
}

/// The buckets by client, as the times that `governor` reckons with. Bounded: who is not in it when it is full
/// shares one bucket with all who are not.
struct Table {
    buckets: Mutex<HashMap<u64, Nanos>>,
    clock: Since,
    max: usize,
}

impl Table {
    const SHARED: u64 = 0;
}

impl StateStore for Table {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, client: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut buckets = self.buckets.lock();
        let has_place = buckets.len() < self.max || buckets.contains_key(client);
        let client = if has_place { *client } else { Self::SHARED };
        let (outcome, bucket) = decide(buckets.get(&client).copied())?;
        buckets.insert(client, bucket);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<u64> for Table {
    /// Whose bucket is full again is as one who never came. `governor` would keep them for one interval longer.
    fn retain_recent(&self, _: Nanos) {
        let now = Nanos::from(self.clock.now());
        self.buckets.lock().retain(|_, full_at| *full_at > now);
    }

    fn len(&self) -> usize {
        self.buckets.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.buckets.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_stays_and_the_rest_share_one_bucket() {
        let buckets = Buckets::new(Quota::per_minute(NonZeroU32::MIN), 3);
        for client in 1..=3 {
            buckets.take(client).unwrap();
        }
        buckets.take(4).unwrap();
        assert!(buckets.take(5).is_err(), "the one that 4 and 5 share is empty");
        assert!(buckets.take(1).is_err(), "who has a bucket keeps it");
        assert_eq!(buckets.limiter.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_everything_back_makes_room_at_once() {
        let buckets = Buckets::new(quota(1, 1).unwrap(), 2);
        buckets.take(1).unwrap();
        buckets.take(2).unwrap();
        tokio::time::advance(Duration::from_secs(61)).await;
        for client in 3..=4 {
            buckets.take(client).unwrap();
            assert!(buckets.limiter.len() <= 2, "nobody shares a bucket");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_come_for_a_while_makes_room() {
        let quota = Quota::per_minute(NonZeroU32::MIN.saturating_add(59)).allow_burst(NonZeroU32::MIN);
        let buckets = Buckets::new(quota, 3);
        for client in 1..1000 {
            tokio::time::advance(Duration::from_secs(1)).await;
            buckets.take(client).unwrap();
            assert!(buckets.limiter.len() <= 3);
        }
    }
}
