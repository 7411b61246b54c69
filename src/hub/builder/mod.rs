//! [`Builder`]: the options of a hub, each with its default. Here is what a hub is and how it keeps time;
//! [`bounds`] has how much it holds, [`access`] who may do what, and who is told, [`rest`] the endpoints beside the
//! stream.

mod access;
mod bounds;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use super::board::BoardOptions;
use super::{Disconnect, Hub, SessionInfo, Shared};
use crate::access::{Authorizer, Gate};
use crate::audit::AuditHook;
use crate::log::{EventLog, MemoryLog};
use crate::proto::{
    Floors, Millis, Policies, PresenceLimits, ReadLimits, Retention, RetentionLimits, Stretch,
};
use crate::{BuildError, Channel, ClientAddress, Epoch, Grant, IntoName, Pattern, Policy, QueryKey};

pub(crate) type ConnectHook = Box<dyn Fn(&SessionInfo) + Send + Sync>;
pub(crate) type DisconnectHook = Box<dyn Fn(&SessionInfo, Disconnect) + Send + Sync>;
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
    pub(crate) authorizer: Option<Authorizer<Grant>>,
    /// Endpoints that are not there until one is set.
    pub(crate) stats: Option<Authorizer<()>>,
    #[allow(dead_code, reason = "presence answers there")]
    pub(crate) channel_users: Option<Authorizer<()>>,
    pub(crate) broadcast: Option<Authorizer<Grant>>,
    /// Front ends elsewhere, as their browsers write them in `Origin`.
    pub(crate) trusted_origins: Vec<String>,
    /// How long a body may take to arrive.
    pub(crate) body_timeout: Duration,
    /// Events of clients in work.
    pub(crate) emits: usize,
    pub(crate) on_connect: Option<ConnectHook>,
    pub(crate) on_disconnect: Option<DisconnectHook>,
    pub(crate) on_audit: Option<AuditHook>,
    pub(crate) audit_mutations: bool,
    pub(crate) filter: Option<Filter>,
    pub(crate) client_address: Option<ClientAddress>,
    /// What turns streams away for a while.
    pub(crate) gates: Vec<Box<dyn Gate>>,
    pub(crate) emit_gates: Vec<Box<dyn Gate>>,
    pub(crate) broadcast_gates: Vec<Box<dyn Gate>>,
    pub(crate) is_https: Option<IsHttps>,
    /// Keys that are never for everyone, nor are those below them.
    pub(crate) scoped_keys: Vec<QueryKey>,
    pub(crate) declared_channels_only: bool,
    /// The channels on which it is told who types.
    pub(crate) typing: Vec<Pattern>,
    pub(crate) changes: crate::change::Rules,
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
    pub(crate) options: Options,
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
                stats: None,
                channel_users: None,
                broadcast: None,
                trusted_origins: Vec::new(),
                body_timeout: Duration::from_secs(10),
                emits: 1024,
                on_connect: None,
                on_disconnect: None,
                on_audit: None,
                audit_mutations: false,
                filter: None,
                client_address: None,
                gates: Vec::new(),
                emit_gates: Vec::new(),
                broadcast_gates: Vec::new(),
                is_https: None,
                scoped_keys: Vec::new(),
                declared_channels_only: false,
                typing: Vec::new(),
                changes: crate::change::Rules::default(),
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
                presence: PresenceLimits { page: 200, updates: true },
            },
            board: BoardOptions {
                sessions: 100_000,
                subscriptions: 1_000_000,
                read: ReadLimits {
                    stretch: Stretch { bytes: 64 << 10, events: 256 },
                    gap_every: 10_000,
                    keys: 1024,
                    refetches_per_s: 1000,
                },
                heartbeat: 15_000,
                stall_after: 30_000,
                grace: 5000,
                describes_ends: false,
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
    /// channels are `Policy::history(256)`, not public. Of two declarations of one pattern the later wins.
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

    /// How long a user whose last session ended is still present, so that a reload is no leave and a join. Default
    /// 5 s; it is noticed at the next tick, within a second.
    pub fn presence_grace(mut self, time: Duration) -> Self {
        self.board.grace = millis(time);
        self
    }

    /// Up to how many users of a channel are told by name to each other; of more, the first of them, and then their
    /// number, once a tick. Default 200.
    pub fn presence_page(mut self, users: usize) -> Self {
        self.retention.presence.page = users;
        self
    }

    /// Whether streams are told who joins and leaves, or only who is present when they open. Default `true`.
    pub fn presence_updates(mut self, tells: bool) -> Self {
        self.retention.presence.updates = tells;
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
        self.board.read.gap_every = millis(time);
        self
    }

    /// How many refetches a second the app stands when something concerns everyone; `spreadMs` follows from it.
    /// Default 1 000.
    pub fn refetches_per_s(mut self, refetches: u32) -> Self {
        self.board.read.refetches_per_s = refetches;
        self
    }

    /// How often a client tries to connect before it gives up, told in `hello`. Default: it never gives up.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.options.max_attempts = Some(attempts);
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
        let hub = Hub { shared };
        crate::presence::install(&hub);
        crate::typing::install(&hub, &hub.shared.options.typing);
        Ok(hub)
    }

    fn check(&mut self) {
        let mount = &self.options.mount;
        if !(mount.is_empty() || mount.starts_with('/')) || mount.ends_with('/') || mount.contains(['?', '#'])
        {
            let reason = format!("{mount:?} must start with a slash and end without one");
            self.refuse("mount", reason);
        }
        let declared = self.policies.iter();
        let twice = |(pattern, policy): &&(Pattern, Policy)| {
            policy.scoped && self.policies.iter().any(|(other, policy)| other == pattern && policy.public)
        };
        if let Some((pattern, _)) = declared.clone().find(twice) {
            let reason = format!("{pattern} is declared scoped, and public");
            self.refuse("channel", reason);
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
        if self.board.read.stretch.bytes == 0 {
            self.refuse("write_bytes", "must not be 0".into());
        }
        if self.board.read.stretch.events == 0 {
            self.refuse("write_events", "must not be 0".into());
        }
        if self.options.emits == 0 {
            self.refuse("max_emits", "must not be 0".into());
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
    pub(crate) fn refuse(&mut self, option: &'static str, reason: String) {
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
