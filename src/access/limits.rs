//! [`Limit`]: how often streams may be opened, and how many at a time.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
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

use super::{Gate, Passed};

/// How often streams may be opened, and how many at a time, by each user or from each address. Several limits
/// may be set; each of them must allow. Needs the feature `limits`.
///
/// A stream that comes back is not counted with the new ones: one with a cursor of this hub, or one that
/// replaces a live session of the same user, has a limit of its own.
///
/// One that is refused is told when to come again: 429 with `Retry-After`, or to a browser's own `EventSource`,
/// which any status but 200 would end for good, 200 with `retry` and `bye`.
///
/// What is counted is bounded, too: past [`max_clients`](Self::max_clients) that were active a moment ago, all
/// further ones share one limit.
///
/// ```
/// use tower_revalidate::{ClientAddress, Hub, Limit};
///
/// let hub = Hub::builder()
///     .client_address(ClientAddress::forwarded_for(1))
///     .limit(Limit::by_identity())
///     .limit(Limit::by_address().per_minute(600).burst(300)) // an office behind one address
///     .build()?;
/// # Ok::<(), tower_revalidate::BuildError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a limit does nothing until a builder takes it"]
pub struct Limit {
    by: By,
    per_minute: u32,
    burst: u32,
    returns_per_minute: u32,
    max_open: Option<u32>,
    max_clients: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Identity,
    Address,
}

impl Limit {
    /// By the identity of the grant, once it is known. Those without one are counted by their address, where
    /// [`client_address`](crate::Builder::client_address) is set, and else not at all.
    pub fn by_identity() -> Self {
        Limit {
            by: By::Identity,
            per_minute: 60,
            burst: 30,
            returns_per_minute: 120,
            max_open: None,
            max_clients: 65_536,
        }
    }

    /// By the address, IPv6 by its /64, before the request is authorised. It needs
    /// [`client_address`](crate::Builder::client_address). Those whose address cannot be told are counted as
    /// one.
    pub fn by_address() -> Self {
        Limit { by: By::Address, ..Self::by_identity() }
    }

    /// New streams a minute in the long run. Default 60, at least 1.
    pub fn per_minute(mut self, streams: u32) -> Self {
        self.per_minute = streams;
        self
    }

    /// New streams at once, after a time without any. Default 30, at least 1.
    pub fn burst(mut self, streams: u32) -> Self {
        self.burst = streams;
        self
    }

    /// Streams a minute that come back, half of them at once. Default 120, at least 1.
    pub fn returns_per_minute(mut self, streams: u32) -> Self {
        self.returns_per_minute = streams;
        self
    }

    /// Streams open at the same time, whatever they were opened as. Each tab of a browser is one, unless tabs
    /// share it, a change of channels is two for a moment, and a peer that vanished counts until its socket is
    /// closed (`TCP_USER_TIMEOUT`). Default: as many as there may be sessions.
    pub fn max_open(mut self, streams: u32) -> Self {
        self.max_open = Some(streams);
        self
    }

    /// Users or addresses that are told apart at one time; about 40 bytes each. Default 65 536.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    pub(crate) fn needs_address(&self) -> bool {
        self.by == By::Address
    }

    /// The limit at work; or what is wrong with it.
    pub(crate) fn gate(&self) -> Result<Box<dyn Gate>, String> {
        let rate = |per_minute: u32, burst: u32| {
            let quota = NonZeroU32::new(per_minute).map(Quota::per_minute);
            let quota = quota.zip(NonZeroU32::new(burst)).map(|(quota, burst)| quota.allow_burst(burst));
            quota.map(|quota| Buckets::new(quota, self.max_clients)).ok_or("a rate of 0 opens nothing")
        };
        Ok(Box::new(Limiter {
            by: self.by,
            hasher: RandomState::new(),
            fresh: rate(self.per_minute, self.burst)?,
            returns: rate(self.returns_per_minute, self.returns_per_minute.div_ceil(2))?,
            open: match self.max_open {
                Some(0) => return Err("0 streams at the same time are none".into()),
                max => max.map(|max| Arc::new(Open { max, clients: Mutex::default() })),
            },
        }))
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

/// A limit at work.
struct Limiter {
    by: By,
    /// Of a key that nobody outside knows, so that no two clients can be made to share a bucket on purpose.
    hasher: RandomState,
    fresh: Buckets,
    returns: Buckets,
    open: Option<Arc<Open>>,
}

impl Gate for Limiter {
    fn arrive(&self, address: Option<IpAddr>, returns: bool) -> Passed {
        match self.by {
            By::Address => self.check(network(address.unwrap_or(UNKNOWN)), returns),
            By::Identity => Ok(None),
        }
    }

    fn admit(&self, identity: Option<&str>, address: Option<IpAddr>, returns: bool) -> Passed {
        match (self.by, identity, address) {
            (By::Address, ..) | (_, None, None) => Ok(None),
            (By::Identity, Some(identity), _) => self.check(identity, returns),
            (By::Identity, None, Some(address)) => self.check(network(address), returns),
        }
    }
}

impl Limiter {
    fn check(&self, client: impl Hash, returns: bool) -> Passed {
        let client = self.hasher.hash_one(client);
        let buckets = if returns { &self.returns } else { &self.fresh };
        buckets.take(client)?;
        Ok(match &self.open {
            Some(open) => Some(Box::new(open.enter(client)?)),
            None => None,
        })
    }
}

/// How many streams each client has open; no more entries than there are streams.
struct Open {
    max: u32,
    clients: Mutex<HashMap<u64, u32>>,
}

/// One of a client's streams.
struct OpenPlace {
    open: Arc<Open>,
    client: u64,
}

impl Open {
    /// Nobody knows when one closes; this is when to ask again.
    const WAIT: Duration = Duration::from_secs(5);

    fn enter(self: &Arc<Self>, client: u64) -> Result<OpenPlace, Duration> {
        let mut clients = self.clients.lock();
        let count = clients.entry(client).or_default();
        if *count >= self.max {
            return Err(Self::WAIT);
        }
        *count += 1;
        Ok(OpenPlace { open: self.clone(), client })
    }
}

impl Drop for OpenPlace {
    fn drop(&mut self) {
        let mut clients = self.open.clients.lock();
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

/// What is counted as one client: an IPv4 address, or the /64 of an IPv6 one, which is what one household gets
/// (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
    }
}

/// Those whose address is not known are counted as one client.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A bucket for each client that was active lately.
struct Buckets {
    limiter: RateLimiter<u64, Table, Since, NoOpMiddleware<Duration>>,
    clock: Since,
    max: usize,
    /// In which second the table was swept last; a full one is looked through once a second.
    swept: AtomicU64,
}

impl Buckets {
    fn new(quota: Quota, max: usize) -> Self {
        let clock = Since(Instant::now());
        let table = Table { buckets: Mutex::default(), max };
        let limiter = RateLimiter::new(quota, table, clock.clone());
        Buckets { limiter, clock, max, swept: AtomicU64::new(u64::MAX) }
    }

    /// Takes one of what the client has left, or tells how long until it has one.
    fn take(&self, client: u64) -> Result<(), Duration> {
        let now = self.clock.now();
        let second = now.as_secs();
        if self.limiter.len() >= self.max && self.swept.swap(second, Ordering::Relaxed) != second {
            // Whose bucket is full again is as one who never came.
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&client).map_err(|until| until.wait_time_from(now))
    }
}

/// The buckets by client, as the times that `governor` reckons with. Bounded: who is not in it when it is full
/// shares one bucket with all who are not.
struct Table {
    buckets: Mutex<HashMap<u64, Nanos>>,
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
    fn retain_recent(&self, drop_below: Nanos) {
        self.buckets.lock().retain(|_, bucket| *bucket > drop_below);
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
    fn an_ipv6_client_is_its_64_bit_network() {
        let net = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(net("2001:db8:1:2:3:4:5:6"), net("2001:db8:1:2:ffff::"));
        assert_ne!(net("2001:db8:1:2::"), net("2001:db8:1:3::"));
        assert_eq!(net("::ffff:192.0.2.1"), "192.0.2.1");
    }

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
