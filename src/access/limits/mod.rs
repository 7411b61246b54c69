//! [`Limit`]: how often streams may be opened, and how many at a time; how often POSTs are taken.

mod buckets;
mod open;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::Arc;

use self::buckets::{Buckets, quota};
use self::open::Open;
use super::{Coming, Gate, Passed, Wait};

/// How often streams may be opened, and how many at a time, by each user or from each address. Several limits
/// may be set; each of them must allow. Also how often POSTs are taken, see
/// [`limit_emit`](crate::Builder::limit_emit). Needs the feature `limits`.
///
/// A stream that comes back is not counted with the new ones: one with a cursor of this hub, or one that
/// replaces a live session of the same user, has a limit of its own.
///
/// One that is refused is told when to come again: who sends `X-Revalidate-Client` by 429 with `Retry-After`,
/// everyone else by 200 with `retry` and `bye`, for any other status would end a browser's own `EventSource`
/// for good.
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
    returns_per_minute: Option<u32>,
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
            returns_per_minute: None,
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

    /// New streams at once, after a time without any. In memory, everyone comes as new after a restart: for those
    /// behind one address the burst decides how many are back at once. Default 30, at least 1.
    pub fn burst(mut self, streams: u32) -> Self {
        self.burst = streams;
        self
    }

    /// Streams a minute that come back, half of them at once, or the burst of new ones, whichever is more.
    /// Default: twice the new ones, and no less than 120.
    pub fn returns_per_minute(mut self, streams: u32) -> Self {
        self.returns_per_minute = Some(streams);
        self
    }

    /// Streams open at the same time. Each tab of a browser is one, unless tabs share it. One that resumes counts
    /// as a new one does, and a peer that vanished counts until its socket is closed (`TCP_USER_TIMEOUT`); one
    /// that replaces another of the client's may be open beside it, one at a time (by address, before it is known
    /// whose it is, anyone's will do). Default: as many as there may be sessions.
    pub fn max_open(mut self, streams: u32) -> Self {
        self.max_open = Some(streams);
        self
    }

    /// Users or addresses that are told apart at one time, new ones and those that come back each; about 35 bytes
    /// a client. Default 65 536.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    pub(crate) fn needs_address(&self) -> bool {
        self.by == By::Address
    }

    /// The limit at work for POSTs, of which none stays open or comes back; or what is wrong with it.
    pub(crate) fn post_gate(&self, reason: &'static str) -> Result<Box<dyn Gate>, String> {
        if self.max_open.is_some() || self.returns_per_minute.is_some() {
            return Err("`max_open` and `returns_per_minute` are of streams".into());
        }
        self.limiter(reason)
    }

    /// The limit at work for streams; or what is wrong with it.
    pub(crate) fn gate(&self) -> Result<Box<dyn Gate>, String> {
        self.limiter("streams are opened too often")
    }

    fn limiter(&self, reason: &'static str) -> Result<Box<dyn Gate>, String> {
        if self.max_clients == 0 {
            return Err("a table of 0 clients tells nobody apart".into());
        }
        if self.max_open == Some(0) {
            return Err("0 streams at the same time are none".into());
        }
        let returns = self.returns_per_minute.unwrap_or_else(|| self.per_minute.saturating_mul(2).max(120));
        Ok(Box::new(Limiter {
            by: self.by,
            reason,
            hasher: RandomState::new(),
            fresh: Buckets::new(quota(self.per_minute, self.burst)?, self.max_clients),
            returns: Buckets::new(quota(returns, returns.div_ceil(2).max(self.burst))?, self.max_clients),
            open: self.max_open.map(Open::new),
        }))
    }
}

/// A limit at work.
struct Limiter {
    by: By,
    reason: &'static str,
    /// Of a key that nobody outside knows, so that no two clients can be made to share a bucket on purpose.
    hasher: RandomState,
    fresh: Buckets,
    returns: Buckets,
    open: Option<Arc<Open>>,
}

impl Gate for Limiter {
    fn arrive(&self, address: Option<IpAddr>, coming: Coming) -> Passed {
        match self.by {
            By::Address => address.map_or(Ok(None), |address| self.check(network(address), coming)),
            By::Identity => Ok(None),
        }
    }

    fn admit(&self, identity: Option<&str>, address: Option<IpAddr>, coming: Coming) -> Passed {
        match (self.by, identity, address) {
            (By::Address, ..) | (_, None, None) => Ok(None),
            (By::Identity, Some(identity), _) => self.check(identity, coming),
            (By::Identity, None, Some(address)) => self.check(network(address), coming),
        }
    }
}

impl Limiter {
    fn check(&self, client: impl Hash, coming: Coming) -> Passed {
        let client = self.hasher.hash_one(client);
        let buckets = if coming == Coming::New { &self.fresh } else { &self.returns };
        buckets.take(client).map_err(|time| Wait { time, reason: self.reason })?;
        Ok(match &self.open {
            Some(open) => Some(Box::new(open.enter(client, coming == Coming::Replacing)?)),
            None => None,
        })
    }
}

/// What is counted as one client: an IPv4 address, also one that NAT64 carries (RFC 6052, 2.1), or the /64 of an
/// IPv6 one, which is what one household gets (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address)
            if address.octets().starts_with(&[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]) =>
        {
            let [.., a, b, c, d] = address.octets();
            IpAddr::V4([a, b, c, d].into())
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
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
        assert_eq!(net("64:ff9b::192.0.2.1"), "192.0.2.1");
    }
}
