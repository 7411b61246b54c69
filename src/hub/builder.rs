//! [`Builder`]: the options of a hub, each with its default.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use super::board::BoardOptions;
use super::{Hub, SessionInfo, Shared};
use crate::access::{Authorizer, Gate};
use crate::audit::AuditHook;
use crate::log::{EventLog, MemoryLog};
use crate::proto::{Floors, Millis, Policies, Retention, RetentionLimits};
use crate::{
    Audit, BuildError, Channel, ClientAddress, Epoch, Grant, IntoName, IntoQueryKey, Pattern, Policy,
    QueryKey, Refusal,
};

pub(crate) type SessionHook = Box<dyn Fn(&SessionInfo) + Send + Sync>;
pub(crate) type IsHttps = Box<dyn Fn(&Parts) -> bool + Send + Sync>;
pub(crate) type Filter = Box<dyn Fn(&Channel, &str, &str) -> bool + Send + Sync>;

/// What the shell of the hub needs to know; the rest went to the board and to retention.
pub(crate) struct Options {
    pub(crate) mount: String,
    pub(crate) enabled: bool,
    pub(crate) payload_bytes: usize,
    pub(crate) publish_keys: usize,
    pub(crate) channels: usize,
    pub(crate) scopes: usize,
    pub(crate) grant_lifetime: Millis,
    pub(crate) query_bytes: usize,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) authorizer: Option<Authorizer>,
    pub(crate) on_connect: Option<SessionHook>,
    pub(crate) on_disconnect: Option<SessionHook>,
    pub(crate) on_audit: Option<AuditHook>,
    pub(crate) audit_mutations: bool,
    pub(crate) filter: Option<Filter>,
    pub(crate) client_address: Option<ClientAddress>,
    /// What turns streams away for a while.
    pub(crate) gates: Vec<Box<dyn Gate>>,
    pub(crate) is_https: Option<IsHttps>,
    /// Keys that are never for everyone, nor are those below them.
    pub(crate) scoped_keys: Vec<QueryKey>,
    pub(crate) declared_channels_only: bool,
    #[cfg(feature = "header")]
    pub(crate) reads_header: bool,
}

/// Options of a [`Hub`]. Every bound has a default under which the hub holds a bounded amount of memory,
/// whatever clients and handlers do.
///
/// ```
/// use std::time::Duration;
/// use tower_revalidate::{Hub, Policy};
///
/// let hub = Hub::builder()
///     .channel("announcements", Policy::history(64).public())
///     .heartbeat(Duration::from_secs(20))
///     .build()?;
/// # Ok::<(), tower_revalidate::BuildError>(())
/// ```
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    options: Options,
    policies: Vec<(Pattern, Policy)>,
    retention: RetentionLimits,
    board: BoardOptions,
    min_interval: Duration,
    pending: usize,
    pending_bytes: usize,
    buckets: usize,
    log: Option<Box<dyn EventLog>>,
    seed: Option<u64>,
    needs_address: bool,
    refused: Option<BuildError>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder {
            options: Options {
                mount: "/realtime".into(),
                enabled: true,
                payload_bytes: 64 << 10,
                publish_keys: 1024,
                channels: 256,
                scopes: 64,
                grant_lifetime: 15 * 60_000,
                query_bytes: 8 << 10,
                max_attempts: None,
                authorizer: None,
                on_connect: None,
                on_disconnect: None,
                on_audit: None,
                audit_mutations: false,
                filter: None,
                client_address: None,
                gates: Vec::new(),
                is_https: None,
                scoped_keys: Vec::new(),
                declared_channels_only: false,
                #[cfg(feature = "header")]
                reads_header: false,
            },
            policies: Vec::new(),
            retention: RetentionLimits {
                bytes: 64 << 20,
                channel_bytes: 1 << 20,
                age: 3_600_000,
                topics: 65_536,
                keys: 1024,
            },
            board: BoardOptions {
                sessions: 100_000,
                subscriptions: 1_000_000,
                write_bytes: 64 << 10,
                write_events: 256,
                gap_every: 10_000,
                keys: 1024,
                refetches_per_s: 1000,
                heartbeat: 15_000,
                stall_after: 30_000,
                wait: Some(4000),
            },
            min_interval: Duration::ZERO,
            pending: 65_536,
            pending_bytes: 64 << 20,
            buckets: 4096,
            log: None,
            seed: None,
            needs_address: false,
            refused: None,
        }
    }

    /// Declares the policy of the channels that match a pattern; the most specific pattern wins. Undeclared
    /// channels are `Policy::history(256)`, not public.
    pub fn channel(mut self, pattern: impl IntoName<Pattern>, policy: Policy) -> Self {
        match pattern.into_name() {
            Ok(pattern) => self.policies.push((pattern, policy)),
            Err(error) => self.refuse("channel", error.to_string()),
        }
        self
    }

    /// The path under which the service answers where nothing strips it, and which stands in no other place.
    /// Default `/realtime`.
    pub fn mount(mut self, path: impl Into<String>) -> Self {
        self.options.mount = path.into();
        self
    }

    /// Whether anything is served and published. Default `true`; with `false` the service answers 404, and
    /// publishing does nothing and says that all is well.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.options.enabled = enabled;
        self
    }

    /// How long a stream may be silent: a heartbeat comes after at most this time, and up to two fifths sooner,
    /// so that streams are not in step. Clients learn it as `heartbeatMs` and take 2.5 times of it for a dead
    /// connection. Default 15 s, at least 50 ms.
    pub fn heartbeat(mut self, time: Duration) -> Self {
        self.board.heartbeat = millis(time);
        self
    }

    /// How long a stream may be woken without being polled before it is freed. Default 30 s. It is noticed
    /// within eight seconds, or half of the shorter of this time and the heartbeat. At least 50 ms.
    pub fn stall_after(mut self, time: Duration) -> Self {
        self.board.stall_after = millis(time);
        self
    }

    /// At most one revalidation of one audience in this time: the first goes at once, later keys join one that
    /// waits. Default 0, which is none.
    pub fn min_interval(mut self, time: Duration) -> Self {
        self.min_interval = time;
        self
    }

    /// At most one gap a session in this time. Default 10 s.
    pub fn gap_every(mut self, time: Duration) -> Self {
        self.board.gap_every = millis(time);
        self
    }

    /// How many refetches a second the app stands when something concerns everyone; `spreadMs` follows from it.
    /// Default 1 000.
    pub fn refetches_per_s(mut self, refetches: u32) -> Self {
        self.board.refetches_per_s = refetches;
        self
    }

    /// How often a client tries to connect before it gives up, told in `hello`. Default: it never gives up.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.options.max_attempts = Some(attempts);
        self
    }

    /// Sessions at the same time. Default 100 000.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.board.sessions = sessions;
        self
    }

    /// Places of sessions in lists of topics, over all sessions. Default 1 000 000.
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.board.subscriptions = subscriptions;
        self
    }

    /// Channels of one session. Default 256; more are refused with 400.
    pub fn max_channels(mut self, channels: usize) -> Self {
        self.options.channels = channels;
        self
    }

    /// Scopes that are used of a grant. Default 64; the rest is told in the log.
    pub fn max_scopes(mut self, scopes: usize) -> Self {
        self.options.scopes = scopes;
        self
    }

    /// How long a stream lives whose grant does not say, less up to 20 %. Default 15 min.
    pub fn grant_lifetime(mut self, time: Duration) -> Self {
        self.options.grant_lifetime = millis(time);
        self
    }

    /// Bytes of a stream's query. Default 8 192; more are refused with 400.
    pub fn max_query_bytes(mut self, bytes: usize) -> Self {
        self.options.query_bytes = bytes;
        self
    }

    /// Bytes of a message's payload as JSON. Default 65 536.
    pub fn max_payload_bytes(mut self, bytes: usize) -> Self {
        self.options.payload_bytes = bytes;
        self
    }

    /// Keys times scopes of one `Revalidate`, and keys of one event. Default 1 024. Over it the layer
    /// collapses keys to prefixes, and [`Hub::revalidate`] refuses.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.options.publish_keys = keys;
        self.board.keys = keys;
        self
    }

    /// Keys retained of one audience; past it they collapse to prefixes. Default 1 024.
    pub fn retain_keys(mut self, keys: usize) -> Self {
        self.retention.keys = keys;
        self
    }

    /// Bytes retained over all topics. Default 64 MiB, at least twice what one channel may hold.
    pub fn retain_bytes(mut self, bytes: usize) -> Self {
        self.retention.bytes = bytes;
        self
    }

    /// Bytes retained of one channel. Default 1 MiB, at least twice a payload.
    pub fn retain_channel_bytes(mut self, bytes: usize) -> Self {
        self.retention.channel_bytes = bytes;
        self
    }

    /// Topics of which something is retained. Default 65 536; past it the ones silent for longest go.
    pub fn retain_topics(mut self, topics: usize) -> Self {
        self.retention.topics = topics;
        self
    }

    /// How long an event is retained. Default 1 h.
    pub fn retain_for(mut self, time: Duration) -> Self {
        self.retention.age = millis(time);
        self
    }

    /// Bytes of one write to one stream; a larger event still goes whole. Default 65 536.
    pub fn write_bytes(mut self, bytes: usize) -> Self {
        self.board.write_bytes = bytes;
        self
    }

    /// Events of one write to one stream. Default 256.
    pub fn write_events(mut self, events: usize) -> Self {
        self.board.write_events = events;
        self
    }

    /// Revalidations that wait, for their interval, their delay or the log. Default 65 536, one an audience;
    /// more are refused.
    pub fn max_pending(mut self, revalidations: usize) -> Self {
        self.pending = revalidations;
        self
    }

    /// Bytes of the revalidations that wait. Default 64 MiB; past it the keys of one that waits collapse to
    /// everything, and one that is alone too large is refused.
    pub fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.pending_bytes = bytes;
        self
    }

    /// Makes the [`Grant`] of a request, instead of taking it from the request's extensions. It gets the parts
    /// by value. An error or a panic answers 500 and opens nothing.
    pub fn authorize<F, Fut>(mut self, authorize: F) -> Self
    where
        F: Fn(Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Grant, Refusal>> + Send + 'static,
    {
        self.options.authorizer = Some(Authorizer::new(authorize));
        self
    }

    /// Called when a session opened. It must not block.
    pub fn on_connect(mut self, hook: impl Fn(&SessionInfo) + Send + Sync + 'static) -> Self {
        self.options.on_connect = Some(Box::new(hook));
        self
    }

    /// Called once when a session is over, whatever ended it. It must not block; spawn what takes time.
    pub fn on_disconnect(mut self, hook: impl Fn(&SessionInfo) + Send + Sync + 'static) -> Self {
        self.options.on_disconnect = Some(Box::new(hook));
        self
    }

    /// Called for whatever is refused, besides the log line. See [`Audit`]. It must not block.
    pub fn on_audit(mut self, hook: impl Fn(&Audit<'_>) + Send + Sync + 'static) -> Self {
        self.options.on_audit = Some(Box::new(hook));
        self
    }

    /// Whether to tell of a POST, PUT, PATCH or DELETE that is answered 2xx and says nothing of what it
    /// changed: [`Audit::Silent`]. Where nothing became stale, a handler says
    /// [`Revalidate::nothing`](crate::Revalidate::nothing). Default `false`.
    pub fn audit_mutations(mut self, audit: bool) -> Self {
        self.options.audit_mutations = audit;
        self
    }

    /// Declares that a key, and every key below it, is never for everyone: saying so without an audience is
    /// refused with [`Fault::Unscoped`](crate::Fault::Unscoped), and nobody hears of it.
    pub fn scoped_key(mut self, key: impl IntoQueryKey) -> Self {
        match QueryKey::new(key) {
            Ok(key) => self.options.scoped_keys.push(key),
            Err(error) => self.refuse("scoped_key", error.to_string()),
        }
        self
    }

    /// Whether channels that no pattern [declares](Self::channel) are refused: publishing to one is
    /// [`PublishError::Undeclared`](crate::PublishError::Undeclared), and nobody may follow one. Default
    /// `false`.
    pub fn declared_channels_only(mut self, only: bool) -> Self {
        self.options.declared_channels_only = only;
        self
    }

    /// How to tell where a request comes from: for limits, and for the audit.
    pub fn client_address(mut self, address: ClientAddress) -> Self {
        self.options.client_address = Some(address);
        self
    }

    /// How often streams may be opened; several limits may be set. Default: none.
    #[cfg(feature = "limits")]
    #[cfg_attr(docsrs, doc(cfg(feature = "limits")))]
    #[allow(clippy::needless_pass_by_value, reason = "a builder takes what it is given")]
    pub fn limit(mut self, limit: crate::Limit) -> Self {
        self.needs_address |= limit.needs_address();
        match limit.gate() {
            Ok(gate) => self.options.gates.push(gate),
            Err(reason) => self.refuse("limit", reason),
        }
        self
    }

    /// Refuses streams with 403 `httpsrequired` where this says that the request did not come over HTTPS. How
    /// to tell depends on what stands in front, for TLS ends there:
    ///
    /// ```
    /// # use tower_revalidate::Hub;
    /// // one proxy, that *sets* the header
    /// let hub = Hub::builder()
    ///     .require_https(|parts| parts.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https"))
    ///     .build()?;
    /// # Ok::<(), tower_revalidate::BuildError>(())
    /// ```
    pub fn require_https(mut self, is_https: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.options.is_https = Some(Box::new(is_https));
        self
    }

    /// Whether the layer also reads what a response says in the header `X-Revalidate`, and takes it out. For
    /// upstreams that cannot set extensions, and that are trusted as handlers are. See
    /// [the module docs](crate::layer). Default `false`.
    #[cfg(feature = "header")]
    #[cfg_attr(docsrs, doc(cfg(feature = "header")))]
    pub fn response_header(mut self, reads: bool) -> Self {
        self.options.reads_header = reads;
        self
    }

    /// Looks at each message (channel, event, payload as JSON) before it leaves; `false` refuses it with
    /// [`PublishError::Filtered`](crate::PublishError::Filtered).
    pub fn filter(mut self, filter: impl Fn(&Channel, &str, &str) -> bool + Send + Sync + 'static) -> Self {
        self.options.filter = Some(Box::new(filter));
        self
    }

    /// The order of events. Default: a [`MemoryLog`], one process.
    pub fn event_log(mut self, log: impl EventLog) -> Self {
        self.log = Some(Box::new(log));
        self
    }

    /// The seed of everything drawn: the epoch, `retry`, jitter, session ids, hashing. For tests only.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The buckets that remember what was forgotten of topics that are gone. 4 096 outside of tests.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn floor_buckets(mut self, buckets: usize) -> Self {
        self.buckets = buckets;
        self
    }

    /// Builds the hub. It needs no runtime.
    ///
    /// # Errors
    /// [`BuildError`] names the option that is wrong.
    pub fn build(mut self) -> Result<Hub, BuildError> {
        self.check();
        if let Some(error) = self.refused {
            return Err(error);
        }
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let mut seeds = fastrand::Rng::with_seed(seed);
        let epoch = Epoch::from_random(seeds.u64(..));
        let log = self.log.unwrap_or_else(|| Box::new(MemoryLog::new(epoch)));
        if log.is_local() {
            self.board.wait = None;
        }
        let tip = log.tip();
        let policies = Policies::new(self.policies);
        let retention = Retention::new(
            tip.epoch,
            tip.offset,
            Floors::new(self.buckets, seeds.u64(..)),
            self.retention,
            policies.clone(),
        );
        let board = super::Board::new(retention, self.board, seeds.u64(..));
        let outbox = super::Outbox::new(
            millis(self.min_interval),
            self.pending,
            self.pending_bytes,
            self.options.publish_keys,
        );
        let shared = Arc::new(Shared::new(self.options, policies, board, outbox, log, tip));
        shared.log.follow(tip, crate::log::Follower(super::WeakHub(Arc::downgrade(&shared))));
        Ok(Hub { shared })
    }

    fn check(&mut self) {
        let mount = &self.options.mount;
        if !(mount.is_empty() || mount.starts_with('/')) || mount.ends_with('/') || mount.contains(['?', '#'])
        {
            let reason = format!("{mount:?} must start with a slash and end without one");
            self.refuse("mount", reason);
        }
        if self.needs_address && self.options.client_address.is_none() {
            self.refuse("limit", "a limit by address needs `client_address`".into());
        }
        if self.board.heartbeat < 50 {
            self.refuse("heartbeat", "under 50 ms".into());
        }
        if self.board.stall_after < 50 {
            self.refuse("stall_after", "under 50 ms".into());
        }
        if u32::try_from(self.board.sessions).is_err() {
            self.refuse("max_sessions", "over 4 294 967 295".into());
        }
        if self.board.write_bytes == 0 {
            self.refuse("write_bytes", "must not be 0".into());
        }
        if self.board.write_events == 0 {
            self.refuse("write_events", "must not be 0".into());
        }
        if self.options.publish_keys == 0 {
            self.refuse("max_keys", "must not be 0".into());
        }
        if self.retention.channel_bytes < self.options.payload_bytes.saturating_mul(2) {
            self.refuse("retain_channel_bytes", "under twice `max_payload_bytes`".into());
        }
        if self.retention.bytes < self.retention.channel_bytes.saturating_mul(2) {
            self.refuse("retain_bytes", "under twice `retain_channel_bytes`".into());
        }
    }

    /// The first refusal stands.
    fn refuse(&mut self, option: &'static str, reason: String) {
        self.refused.get_or_insert(BuildError { option, reason });
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("mount", &self.options.mount)
            .field("policies", &self.policies)
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

pub(crate) fn millis(time: Duration) -> Millis {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
