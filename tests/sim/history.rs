//! Histories: what may happen ([`Op`]), under which bounds ([`Setting`]), and the driver ([`History`]).

use std::convert::Infallible;
use std::future::IntoFuture as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream as _};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_revalidate::{
    Channel, Cursor, Epoch, Grant, Hub, PublishError, QueryKey, Refusal, Revalidate, RevalidateExt as _,
    SubscribeError, Subscription,
};

use tower_revalidate::log::{EventLog, MemoryLog};

use super::checker::{Came, Moment, Rules, Session, Viewer};
use super::client::{Client, Flag, Stream};
use super::ledger::{Ledger, What, payload};
use super::log::{Alive, Broker, Fate, Truth, Witness};
use super::world::{AUDIENCES, CHANNELS, MALFORMED, USERS, User, declare, key, scope};

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

/// In a request's extensions: this user's grant changes while the authorizer makes it.
#[derive(Clone)]
struct Meanwhile(Hub, &'static str);

const PAYLOAD: usize = 256;
const STALL_AFTER: Duration = Duration::from_secs(30);
/// Streams without an expiry of their own live for 12 minutes at least; a history is over before.
const LONGEST: Duration = Duration::from_secs(10 * 60);

fn pick<T: Copy>(rng: &mut fastrand::Rng, from: &[T]) -> T {
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

    fn rules(&self) -> Rules {
        Rules {
            is_local: self.broker.is_none(),
            gap_every: self.gap_every.as_millis() as u64,
            heartbeat: self.heartbeat.as_millis() as u64,
            stall_after: STALL_AFTER.as_millis() as u64,
            forgets_nothing: self.forgets_nothing,
        }
    }
}

/// With which cursor a client opens a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Own,
    Nothing,
    /// Some place it was never given, so many events before the tip, or ahead of it.
    Early(u64),
    Ahead(u64),
    OtherEpoch,
    Malformed(&'static str),
}

/// What a handler does with its pledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pledges {
    None,
    Carried,
    Cancelled,
    /// The client goes away: the handler is dropped after its commit.
    Dropped,
}

/// Keys for an audience of the world.
#[derive(Debug, Clone)]
pub(crate) struct Stale {
    pub(crate) keys: Vec<QueryKey>,
    pub(crate) audience: Option<&'static [&'static str]>,
    pub(crate) delay: Duration,
}

/// What may happen.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Message {
        node: usize,
        channel: usize,
        count: usize,
        pad: usize,
    },
    Revalidate {
        node: usize,
        stale: Stale,
    },
    /// A request that changes something, through the layer.
    Post {
        node: usize,
        stale: Stale,
        status: u16,
        origin: Option<&'static str>,
        pledges: Pledges,
    },
    /// A page, rendered while something changes; its cursor opens the stream of a client.
    Page {
        node: usize,
        client: usize,
        is_public: bool,
    },
    Connect {
        client: usize,
        node: usize,
        with: With,
        expires: bool,
    },
    /// Make before break.
    Switch {
        client: usize,
        node: usize,
        channels: Vec<usize>,
    },
    Read {
        client: usize,
        polls: usize,
    },
    Cut {
        client: usize,
        after: usize,
    },
    StopReading {
        client: usize,
    },
    /// The client's task is polled by another waker, though nobody woke it.
    Move {
        client: usize,
    },
    Subscribe {
        node: usize,
        user: usize,
    },
    Regrant {
        node: usize,
        user: usize,
        sign_out: bool,
    },
    Pass(Duration),
    Settle,
    Destine(usize, Fate),
    StallNode(usize),
    ReleaseNode(usize),
    Trim {
        keep: usize,
    },
    LoseTail(u64),
    Restart(usize),
    ShutDown(usize),
}

struct Node {
    hub: Hub,
    alive: Alive,
    shut: bool,
}

enum Log {
    Memory(Arc<MemoryLog>),
    Broker(Arc<Broker>),
}

struct Subscriber {
    node: usize,
    subscription: Subscription,
    flag: Arc<Flag>,
    session: Session,
}

/// A receipt that was not dropped.
struct Awaited {
    node: usize,
    future: Pin<Box<dyn Future<Output = Result<Cursor, PublishError>> + Send>>,
    flag: Arc<Flag>,
    expected: Expected,
}

#[derive(Debug)]
enum Expected {
    Message(u64),
    Keys(Vec<QueryKey>),
    Regrant(&'static str),
}

pub(crate) struct History {
    setting: Setting,
    rng: fastrand::Rng,
    truth: Truth,
    log: Log,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    subscribers: Vec<Subscriber>,
    receipts: Vec<Awaited>,
    users: [User; 4],
    serial: u64,
    began: Instant,
    /// The log failed something, or a process died.
    had_faults: bool,
    /// The driver reads for the clients after each op.
    reads_eagerly: bool,
    /// The first stream of the first client breaks after so many bytes.
    pub(crate) cut_first_at: Option<usize>,
    pub(crate) trace: Trace,
}

/// What happened: to print a failure, and to compare two runs of one seed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) is_on: bool,
    pub(crate) lines: Vec<String>,
}

impl Trace {
    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.is_on {
            let line = line();
            if std::env::var_os("SIM_TRACE").is_some() {
                eprintln!("{line}");
            }
            self.lines.push(line);
        }
    }
}

impl History {
    pub(crate) fn new(setting: Setting, clients: usize, rng: fastrand::Rng) -> Self {
        let truth: Truth = Arc::new(Mutex::new(Ledger::default()));
        let epoch = Epoch::from_random(setting.seed);
        let log = match setting.broker {
            None => Log::Memory(Arc::new(MemoryLog::new(epoch))),
            Some(nodes) => Log::Broker(Broker::new(epoch, nodes, setting.by_wire, truth.clone())),
        };
        let user = |name| User { name, joined: Cursor { epoch, offset: 0 }, wide: true };
        let mut history = History {
            rng,
            truth,
            log,
            nodes: Vec::new(),
            clients: (0..clients).map(|_| Client::new(0)).collect(),
            subscribers: Vec::new(),
            receipts: Vec::new(),
            users: USERS.map(user),
            serial: 0,
            began: Instant::now(),
            had_faults: false,
            reads_eagerly: true,
            cut_first_at: None,
            trace: Trace::default(),
            setting,
        };
        if let Log::Broker(broker) = &history.log {
            tokio::spawn(broker.clone().run());
        }
        for node in 0..history.setting.broker.unwrap_or(1) {
            let built = history.build(node);
            history.nodes.push(built);
        }
        history
    }

    fn build(&mut self, node: usize) -> Node {
        let setting = &self.setting;
        let alive: Alive = Arc::new(AtomicBool::new(true));
        let builder = declare(Hub::builder(), setting.kept)
            .seed(setting.seed.wrapping_add(self.serial).wrapping_add(node as u64))
            .floor_buckets(setting.buckets)
            .max_payload_bytes(PAYLOAD)
            .retain_channel_bytes((setting.bytes / 2).max(2 * PAYLOAD))
            .retain_bytes(setting.bytes.max(4 * PAYLOAD))
            .retain_topics(setting.topics)
            .retain_keys(setting.keys)
            .retain_for(setting.age)
            .max_keys(setting.max_keys)
            .write_bytes(setting.write_bytes)
            .heartbeat(setting.heartbeat)
            .stall_after(STALL_AFTER)
            .gap_every(setting.gap_every)
            .min_interval(setting.min_interval);
        let builder = if setting.authorizes { builder.authorize(authorize) } else { builder };
        let builder = match &self.log {
            Log::Memory(log) => {
                builder.event_log(Witness::new(log.clone(), alive.clone(), self.truth.clone()))
            }
            Log::Broker(broker) => builder.event_log(broker.connect(node, alive.clone())),
        };
        Node { hub: builder.build().expect("the options of a history are valid"), alive, shut: false }
    }

    /// A random op, of what makes sense now.
    pub(crate) fn draw(&mut self) -> Op {
        let rng = &mut self.rng;
        let node = rng.usize(..self.nodes.len());
        let client = rng.usize(..self.clients.len());
        let faulty = !self.setting.forgets_nothing;
        let is_broker = matches!(self.log, Log::Broker(_));
        match rng.u8(0..100) {
            0..=15 => {
                // More than the 64 by which dispatch may be behind a receipt (R6).
                let count = match rng.u8(..) {
                    0..2 => 70,
                    2..20 => 8,
                    _ => 1,
                };
                Op::Message { node, channel: rng.usize(..CHANNELS.len() - 1), count, pad: rng.usize(..100) }
            }
            16..=23 => Op::Revalidate { node, stale: self.stale() },
            24..=33 => {
                let status = pick(rng, &[200, 201, 201, 303, 404, 422, 500]);
                const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
                const B: &str = "0123456789abcdef0123456789abcdef";
                const C: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
                let origin = pick(rng, &[None, Some(A), Some(A), Some(B), Some(C)]);
                let pledges = pick(
                    rng,
                    &[Pledges::None, Pledges::None, Pledges::Carried, Pledges::Dropped, Pledges::Cancelled],
                );
                Op::Post { node, stale: self.stale(), status, origin, pledges }
            }
            34..=36 => Op::Page { node, client, is_public: rng.u8(0..5) == 0 },
            37..=52 => {
                let with = match rng.u8(0..16) {
                    0 => With::Nothing,
                    1 => With::Early(rng.u64(0..8)),
                    2 => With::Ahead(rng.u64(1..20)),
                    3 => With::OtherEpoch,
                    4 => With::Malformed(pick(
                        rng,
                        &["nonsense", "-1", "ABC-1", "abc-xyz", "abc-11111111111111111", "a b"],
                    )),
                    _ => With::Own,
                };
                Op::Connect { client, node, with, expires: rng.u8(0..10) == 0 }
            }
            53..=57 => {
                let channels = (0..CHANNELS.len()).filter(|_| rng.bool()).collect();
                Op::Switch { client, node, channels }
            }
            58..=69 => Op::Read { client, polls: rng.usize(1..4) },
            70..=75 | 77 => {
                let after = if rng.bool() { 0 } else { rng.usize(1..600) };
                Op::Cut { client, after }
            }
            76 => Op::Move { client },
            78 => Op::StopReading { client },
            79 => Op::Subscribe { node, user: rng.usize(..USERS.len()) },
            80..=81 => Op::Regrant { node, user: rng.usize(1..USERS.len()), sign_out: rng.bool() },
            82..=87 => {
                let millis = pick(rng, &[1, 20, 60, 300, 1000, 6000, 16_000, 40_000]);
                Op::Pass(Duration::from_millis(millis))
            }
            88 => Op::Settle,
            89..=90 if is_broker => {
                let fates = [Fate::Taken, Fate::Refused, Fate::Unacknowledged, Fate::Lost, Fate::Held];
                Op::Destine(node, pick(rng, &fates))
            }
            91..=92 if is_broker => Op::Destine(node, Fate::Taken),
            93..=94 if is_broker => Op::StallNode(node),
            95..=96 if is_broker => Op::ReleaseNode(node),
            97 if is_broker && faulty => Op::Trim { keep: rng.usize(..4) },
            98 if is_broker && faulty => Op::LoseTail(rng.u64(0..6)),
            99 if faulty => match rng.u8(0..6) {
                0 => Op::ShutDown(node),
                _ => Op::Restart(node),
            },
            _ => Op::Read { client, polls: 8 },
        }
    }

    fn stale(&mut self) -> Stale {
        let mut keys = Vec::new();
        for _ in 0..pick(&mut self.rng, &[1, 1, 2, 3, 7]) {
            self.serial += 1;
            let key = key(&mut self.rng, self.serial);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let audience = pick(&mut self.rng, &AUDIENCES);
        let delay = pick(&mut self.rng, &[0, 0, 0, 0, 0, 0, 40, 1500]);
        Stale { keys, audience, delay: Duration::from_millis(delay) }
    }

    pub(crate) async fn run(&mut self, ops: usize) {
        self.reads_eagerly = self.rng.bool();
        for _ in 0..ops {
            let op = self.draw();
            self.perform(op).await;
            if self.rng.u8(0..4) > 0 {
                self.travel().await;
            }
            if self.reads_eagerly {
                self.read_all(usize::MAX);
            }
        }
    }

    /// The history that is cut at every byte: a member of room 1 through messages, bursts that overflow, keys
    /// that collapse, a trim, heartbeats and a change of grant. It comes back after each break, on the other
    /// node. Returns whether its first stream lived long enough to be cut.
    pub(crate) async fn run_fixed(&mut self) -> bool {
        let key = |text: &'static str| QueryKey::new(text).expect("a key");
        let stale = |keys: &[&'static str], audience| Stale {
            keys: keys.iter().map(|text| key(text)).collect(),
            audience,
            delay: Duration::ZERO,
        };
        let (room, board, typing) = (0, 3, 5);
        let message = |node, channel, count| Op::Message { node, channel, count, pad: 20 };
        let everyone = |node, keys: &[&'static str]| Op::Revalidate { node, stale: stale(keys, None) };
        let script = [
            Op::Message { node: 0, channel: board, count: 1, pad: 5 },
            Op::Connect { client: 0, node: 0, with: With::Own, expires: false },
            message(0, room, 1),
            everyone(1, &["posts.list"]),
            message(1, room, 2),
            Op::StopReading { client: 0 },
            everyone(0, &["posts.list", "users.me"]),
            message(0, room, 3),
            message(0, typing, 1),
            Op::Revalidate { node: 1, stale: stale(&["users.badges"], Some(&["role:staff"])) },
            Op::Read { client: 0, polls: 9 },
            message(1, room, 8),
            message(1, board, 2),
            everyone(0, &["a.b", "a.c", "d.e", "d.f"]),
            Op::Read { client: 0, polls: 9 },
            Op::Pass(Duration::from_secs(16)),
            Op::Read { client: 0, polls: 9 },
            message(0, room, 1),
            Op::StallNode(0),
            message(1, room, 2),
            everyone(1, &["posts.detail"]),
            Op::Trim { keep: 1 },
            Op::ReleaseNode(0),
            Op::Read { client: 0, polls: 9 },
            message(0, room, 1),
            Op::Regrant { node: 1, user: 1, sign_out: false },
            message(0, room, 1),
        ];
        self.clients[0].user = 1;
        self.clients[0].channels = [room, board, typing].map(|index| CHANNELS[index].0.to_owned()).to_vec();
        for (turn, op) in script.into_iter().enumerate() {
            self.perform(op).await;
            self.calm().await;
            if turn > 0 && self.clients[0].stream.is_none() {
                self.connect(0, turn % 2, With::Own, false).await;
                self.calm().await;
            }
        }
        self.clients[0].was_cut
    }

    pub(crate) async fn perform(&mut self, op: Op) {
        let at = self.began.elapsed().as_millis();
        self.trace.note(|| format!("{at:>6} {op:?}"));
        match op {
            Op::Message { node, channel, count, pad } => {
                for _ in 0..count {
                    self.publish(node, CHANNELS[channel].0, pad);
                }
            }
            Op::Revalidate { node, stale } => self.revalidate(node, &stale),
            Op::Post { node, stale, status, origin, pledges } => {
                self.post(node, &stale, status, origin, pledges).await;
            }
            Op::Page { node, client, is_public } => self.page(node, client, is_public).await,
            Op::Connect { client, node, with, expires } => self.connect(client, node, with, expires).await,
            Op::Switch { client, node, channels } => self.switch(client, node, channels).await,
            Op::Read { client, polls } => self.read(client, polls),
            Op::Cut { client, after } => self.cut(client, after),
            Op::StopReading { client } => self.clients[client].is_reading = false,
            Op::Move { client } => {
                self.clients[client].wake();
                self.read(client, 1);
            }
            Op::Subscribe { node, user } => self.subscribe(node, user),
            Op::Regrant { node, user, sign_out } => self.regrant(node, user, sign_out),
            Op::Pass(time) => self.pass(time).await,
            Op::Settle => {
                self.calm().await;
                self.settle(false);
            }
            Op::Destine(node, fate) => {
                self.had_faults |= fate != Fate::Taken;
                self.broker().destine(node, fate);
            }
            Op::StallNode(node) => self.broker().stall(node, true),
            Op::ReleaseNode(node) => self.broker().stall(node, false),
            Op::Trim { keep } => self.broker().trim(keep),
            Op::LoseTail(lost) => {
                let epoch = Epoch::from_random(self.rng.u64(..));
                self.broker().lose_tail(lost, epoch);
            }
            Op::Restart(node) => self.restart(node),
            Op::ShutDown(node) => {
                self.nodes[node].shut = true;
                self.nodes[node].hub.shutdown();
            }
        }
    }

    fn broker(&self) -> &Arc<Broker> {
        match &self.log {
            Log::Broker(broker) => broker,
            Log::Memory(_) => panic!("this history has no broker"),
        }
    }

    fn moment(&self, node: usize) -> Moment {
        moment(&self.log, &self.nodes, self.began, node)
    }

    // What handlers and tasks do.

    fn publish(&mut self, node: usize, channel: &'static str, pad: usize) {
        self.serial += 1;
        let number = self.serial;
        let channel = Channel::parse(channel).expect("a channel");
        let receipt = self.nodes[node].hub.channel(channel).publish("said", &payload(number, pad));
        self.await_receipt(node, receipt.into_future(), Expected::Message(number));
    }

    fn revalidate(&mut self, node: usize, stale: &Stale) {
        let receipt = {
            let scopes = stale.audience.map_or(1, <[_]>::len).max(1);
            let hub = &self.nodes[node].hub;
            if stale.keys.len() * scopes > self.setting.max_keys {
                let refused = hub.revalidate(revalidate(stale)).into_future().now_or_never();
                assert!(matches!(refused, Some(Err(PublishError::TooMany { .. }))), "{refused:?}");
                return;
            }
            self.truth.lock().said(node, stale.audience, &stale.keys, None);
            hub.revalidate(revalidate(stale))
        };
        let nobody = stale.audience.is_some_and(<[_]>::is_empty);
        let keys = if nobody { Vec::new() } else { stale.keys.clone() };
        self.await_receipt(node, receipt.into_future(), Expected::Keys(keys));
    }

    fn await_receipt(
        &mut self,
        node: usize,
        future: Pin<Box<dyn Future<Output = Result<Cursor, PublishError>> + Send>>,
        expected: Expected,
    ) {
        self.receipts.push(Awaited { node, future, flag: Flag::new(), expected });
    }

    async fn post(
        &mut self,
        node: usize,
        stale: &Stale,
        status: u16,
        origin: Option<&'static str>,
        pledges: Pledges,
    ) {
        let hub = self.nodes[node].hub.clone();
        let status = StatusCode::from_u16(status).expect("a status");
        let said = revalidate(stale);
        let handler = service_fn(|_: Request<()>| {
            let (hub, said) = (hub.clone(), said.clone());
            async move {
                let response = Response::builder().status(status).body(()).expect("a response");
                let pledge = (pledges != Pledges::None).then(|| hub.pledge(said.clone()));
                // The commit.
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(match (pledges, pledge) {
                    (Pledges::Carried, Some(pledge)) => response.revalidate(pledge),
                    (_, Some(pledge)) => {
                        pledge.cancel();
                        response
                    }
                    (_, None) => response.revalidate(said),
                })
            }
        });
        let mut request = Request::post("/posts");
        if let Some(origin) = origin {
            request = request.header("x-revalidate-id", origin);
        }
        let succeeds = status.is_success() || status.is_redirection();
        let is_said = match pledges {
            Pledges::None | Pledges::Carried => succeeds,
            Pledges::Cancelled => false,
            Pledges::Dropped => true,
        };
        if is_said {
            let valid = |origin: &&str| origin.bytes().all(|byte| !byte.is_ascii_uppercase());
            let origin = origin.filter(valid).filter(|_| pledges != Pledges::Dropped);
            self.truth.lock().said(node, stale.audience, &stale.keys, origin.map(str::to_owned));
        }
        let mut service = hub.layer().layer(handler);
        let mut answer = Box::pin(service.call(request.body(()).expect("a request")));
        if pledges == Pledges::Dropped {
            assert!(answer.as_mut().now_or_never().is_none(), "the handler waits for its commit");
            drop(answer);
            return;
        }
        let Ok(response) = answer.await;
        assert_eq!(response.status(), status);
        assert!(response.extensions().get::<Revalidate>().is_none(), "the layer left its extension");
    }

    /// R8: the cursor is from before the page's data was read.
    async fn page(&mut self, node: usize, client: usize, is_public: bool) {
        let hub = self.nodes[node].hub.clone();
        self.serial += 1;
        let number = self.serial;
        let before = self.moment(node).known;
        let (log, nodes, began) = (&self.log, &self.nodes, self.began);
        let mut read_at = before;
        let (mut receipt, read) = (None, &mut read_at);
        let handler = service_fn(|_: Request<()>| {
            *read = moment(log, nodes, began, node).known;
            // Something changes while the page is rendered.
            receipt = Some(hub.channel("news").publish("said", &payload(number, 0)));
            async move {
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                let response = Response::builder();
                let response =
                    if is_public { response.header("cache-control", "public, max-age=60") } else { response };
                Ok::<_, Infallible>(response.body(()).expect("a response"))
            }
        });
        let answer = hub.layer().layer(handler).oneshot(Request::get("/").body(()).expect("a request"));
        let Ok(response) = answer.await;
        let receipt = receipt.expect("the handler ran").into_future();
        self.await_receipt(node, receipt, Expected::Message(number));
        let stamp = response.headers().get("x-revalidate-cursor");
        assert_eq!(stamp.is_none(), is_public, "a page is stamped unless it is public");
        let Some(stamp) = stamp else { return };
        let stamp: Cursor = stamp.to_str().expect("text").parse().expect("a cursor");
        assert_eq!(stamp.epoch, read_at.epoch);
        assert!(stamp.offset <= read_at.offset, "the page read at {read_at} and is stamped {stamp}");
        assert!(stamp.offset >= before.offset, "the page was asked for at {before} and is stamped {stamp}");
        self.hang_up(client);
        if self.clients[client].is_honest {
            self.clients[client].start_from_page(stamp);
        }
        self.connect(client, node, With::Own, false).await;
    }

    fn regrant(&mut self, node: usize, user: usize, sign_out: bool) {
        let tip = self.tip();
        let user = &mut self.users[user];
        user.wide = !user.wide;
        user.joined = tip;
        let name = user.name;
        let hub = &self.nodes[node].hub;
        let receipt = if sign_out { hub.disconnect_user(name) } else { hub.regrant(name) };
        self.await_receipt(node, receipt.into_future(), Expected::Regrant(name));
    }

    fn tip(&self) -> Cursor {
        match &self.log {
            Log::Memory(log) => EventLog::tip(&**log),
            Log::Broker(broker) => broker.tip(),
        }
    }

    // What clients do.

    async fn connect(&mut self, client: usize, node: usize, with: With, expires: bool) {
        self.hang_up(client);
        if self.clients[client].channels.is_empty() {
            self.clients[client].user = self.rng.usize(..USERS.len());
            self.clients[client].channels = self.wish();
        }
        let known = self.moment(node).known;
        let other = Epoch::from_random(self.rng.u64(..));
        let cursor = match with {
            With::Own => self.clients[client].cursor.map(|cursor| cursor.to_string()),
            With::Nothing => None,
            With::Early(by) => Some(Cursor { offset: known.offset.saturating_sub(by), ..known }.to_string()),
            With::Ahead(by) => Some(Cursor { offset: known.offset + by, ..known }.to_string()),
            With::OtherEpoch => Some(Cursor { epoch: other, ..known }.to_string()),
            With::Malformed(text) => Some(text.to_owned()),
        };
        self.clients[client].is_honest &= matches!(with, With::Own | With::Nothing);
        let channels = self.clients[client].channels.clone();
        if let Some(mut stream) = self.open(client, node, channels, cursor, expires).await {
            if client == 0 {
                stream.cut_after = self.cut_first_at.take();
            }
            self.clients[client].adopt(stream);
        }
    }

    fn wish(&mut self) -> Vec<String> {
        let rng = &mut self.rng;
        let names = CHANNELS.iter().map(|(name, _)| *name).chain([MALFORMED]);
        let mut wish: Vec<String> = names.filter(|_| rng.u8(0..3) > 0).map(str::to_owned).collect();
        rng.shuffle(&mut wish);
        wish
    }

    async fn switch(&mut self, client: usize, node: usize, channels: Vec<usize>) {
        let Some(cursor) = self.clients[client].cursor.filter(|_| self.clients[client].stream.is_some())
        else {
            return;
        };
        let channels = channels.into_iter().map(|index| CHANNELS[index].0.to_owned()).collect();
        if let Some(next) = self.open(client, node, channels, Some(cursor.to_string()), false).await {
            self.clients[client].switch_to(next);
        }
    }

    /// A request for a stream; none if the process is gone.
    async fn open(
        &mut self,
        client: usize,
        node: usize,
        channels: Vec<String>,
        cursor: Option<String>,
        expires: bool,
    ) -> Option<Stream> {
        let user = self.users[self.clients[client].user];
        let mut grant = user.grant();
        if expires {
            grant = grant.expires_in(Duration::from_secs(5));
        }
        let viewer = viewer(&user, &channels, expires.then_some(5000));
        let mut uri = format!("/realtime/events?channels={}", channels.join(","));
        let mut request = Request::builder();
        match (&cursor, self.rng.u8(0..3)) {
            (Some(cursor), 0) => request = request.header("last-event-id", cursor),
            (Some(cursor), 1) => uri += &format!("&last_event_id={}", cursor.replace(' ', "+")),
            (Some(cursor), _) => uri += &format!("&lastEventId={}", cursor.replace(' ', "+")),
            (None, _) => {}
        }
        let hub = self.nodes[node].hub.clone();
        let mut request = request.uri(uri).extension(grant);
        if let Some(name) = user.identity().filter(|_| self.rng.u8(0..20) == 0) {
            request = request.extension(Meanwhile(hub.clone(), name));
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let asked = self.moment(node).known;
        let answer = if self.rng.bool() {
            hub.service().oneshot(request).await
        } else {
            hub.layer().layer(hub.service()).oneshot(request).await
        };
        let Ok(response) = answer;
        assert_eq!(response.status(), StatusCode::OK);
        let came = match &cursor {
            None => Came::Fresh,
            Some(text) => text.parse().map_or(Came::Strange, Came::With),
        };
        let opened = self.moment(node);
        self.trace.note(|| format!("       client {client} opens at {} with {came:?}", opened.known));
        let follows = viewer.follows.clone();
        let session = Session::open(viewer, came, self.setting.rules(), asked, opened);
        Some(Stream::new(node, response.into_body(), session, channels, follows))
    }

    fn hang_up(&mut self, client: usize) {
        let client = &mut self.clients[client];
        client.stream = None;
        client.next = None;
        client.is_reading = true;
    }

    fn cut(&mut self, client: usize, after: usize) {
        let client = &mut self.clients[client];
        match (after, &mut client.stream) {
            (0, stream) => *stream = None,
            (after, Some(stream)) => stream.cut_after = Some(after),
            _ => {}
        }
    }

    fn read(&mut self, client: usize, polls: usize) {
        let anew = self.rng.bool();
        let (log, nodes, began) = (&self.log, &self.nodes, self.began);
        let moment =
            |stream: &Stream| Moment { idle: stream.idle(), ..moment(log, nodes, began, stream.node) };
        let truth = self.truth.lock();
        let trace = &mut self.trace;
        self.clients[client].read(polls, moment, anew, &truth, &mut |line| {
            trace.note(|| format!("       client {client} < {}", line()));
        });
    }

    fn read_all(&mut self, polls: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].is_reading && self.clients[client].is_woken() {
                self.read(client, polls);
            }
        }
        self.read_subscriptions();
        self.read_receipts();
    }

    fn subscribe(&mut self, node: usize, user: usize) {
        let user = self.users[user];
        let channels: Vec<String> = self.wish().into_iter().filter(|name| name != MALFORMED).collect();
        let subscribed = self.nodes[node].hub.subscribe(user.grant());
        if self.nodes[node].shut {
            assert!(matches!(subscribed, Err(SubscribeError::Shutdown)));
            return;
        }
        let mut subscription = subscribed.expect("the hub has room");
        let viewer = viewer(&user, &channels, None);
        for (name, _) in &viewer.follows {
            subscription = subscription.follow(Channel::parse(name).expect("a name")).expect("it is granted");
        }
        let session = Session::subscribe(viewer, self.setting.rules(), self.moment(node));
        self.subscribers.push(Subscriber { node, subscription, flag: Flag::new(), session });
    }

    fn read_subscriptions(&mut self) {
        let truth = self.truth.lock();
        let (log, nodes, began) = (&self.log, &self.nodes, self.began);
        self.subscribers.retain_mut(|subscriber| {
            if !subscriber.flag.is_woken() {
                return true;
            }
            let now = Moment { idle: subscriber.flag.idle(), ..moment(log, nodes, began, subscriber.node) };
            let waker = Flag::rearm(&mut subscriber.flag, false);
            let mut events = Vec::new();
            let over = loop {
                match Pin::new(&mut subscriber.subscription).poll_next(&mut Context::from_waker(&waker)) {
                    Poll::Ready(Some(event)) => events.push(event),
                    Poll::Ready(None) => break true,
                    Poll::Pending => break false,
                }
            };
            if !events.is_empty() {
                subscriber.session.heard(&events, now, &truth);
            }
            if over {
                let reason = subscriber
                    .subscription
                    .recv()
                    .now_or_never()
                    .expect("it is over")
                    .expect_err("it is over");
                subscriber.session.ended(&format!("{:?}", reason.reason).to_lowercase(), now, &truth);
            }
            !over
        });
    }

    /// R6: what a receipt says is so.
    fn read_receipts(&mut self) {
        let truth = self.truth.lock();
        let (log, nodes, began, had_faults) = (&self.log, &self.nodes, self.began, self.had_faults);
        self.receipts.retain_mut(|receipt| {
            if !receipt.flag.is_woken() {
                return true;
            }
            let waker = Flag::rearm(&mut receipt.flag, false);
            let Poll::Ready(result) = receipt.future.as_mut().poll(&mut Context::from_waker(&waker)) else {
                return true;
            };
            let expected = &receipt.expected;
            let Ok(at) = result else {
                assert!(had_faults, "{expected:?} failed for nothing: {result:?}");
                return false;
            };
            let stands = match (expected, truth.get(at)) {
                (Expected::Message(number), _) => truth.message(*number) == Some(at),
                (Expected::Keys(keys), Some(What::Revalidate { keys: stand, .. })) => {
                    keys.iter().all(|key| stand.iter().any(|prefix| prefix.covers(key)))
                }
                (Expected::Keys(keys), _) => keys.is_empty(),
                (Expected::Regrant(name), Some(What::Regrant { identity })) => identity == name,
                (Expected::Regrant(_), _) => false,
            };
            assert!(
                stands,
                "a receipt says that {expected:?} stands at {at}, where {:?} does",
                truth.get(at)
            );
            let known = moment(log, nodes, began, receipt.node).known;
            let near = known.epoch != at.epoch || known.offset + 64 >= at.offset;
            assert!(near, "a receipt for {at} while its node is at {known}");
            false
        });
    }

    // Time and trouble.

    /// Lets tasks run, without time passing.
    async fn travel(&mut self) {
        for _ in 0..self.rng.u8(1..5) {
            tokio::task::yield_now().await;
        }
    }

    async fn pass(&mut self, time: Duration) {
        if self.began.elapsed() + time > LONGEST {
            return;
        }
        let slices = if time > Duration::from_secs(1) { 8 } else { 1 };
        for _ in 0..slices {
            tokio::time::sleep(time / slices).await;
            if self.reads_eagerly {
                self.read_all(usize::MAX);
            }
        }
    }

    fn restart(&mut self, node: usize) {
        self.had_faults = true;
        self.nodes[node].alive.store(false, Ordering::Relaxed);
        for client in &mut self.clients {
            let Client { stream, next, .. } = client;
            for stream in [stream, next] {
                stream.take_if(|stream| stream.node == node);
            }
        }
        self.subscribers.retain(|subscriber| subscriber.node != node);
        self.receipts.retain(|receipt| receipt.node != node);
        self.truth.lock().forget_said(node);
        if let Log::Memory(log) = &mut self.log {
            *log = Arc::new(MemoryLog::new(Epoch::from_random(self.rng.u64(..))));
        }
        self.serial += 1;
        self.nodes[node] = self.build(node);
    }

    /// Till nothing moves any more, without time passing: whoever sleeps then was not woken.
    async fn calm(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            let woken = self.clients.iter().any(|client| client.is_reading && client.is_woken())
                || self.subscribers.iter().any(|subscriber| subscriber.flag.is_woken())
                || self.receipts.iter().any(|receipt| receipt.flag.is_woken());
            quiet = if woken { 0 } else { quiet + 1 };
            self.read_all(usize::MAX);
        }
    }

    fn settle(&mut self, in_time: bool) {
        let truth = self.truth.lock();
        let (log, nodes, began) = (&self.log, &self.nodes, self.began);
        for (index, client) in self.clients.iter_mut().enumerate().filter(|(_, client)| client.is_reading) {
            if self.trace.is_on {
                self.trace.note(|| format!("       client {index} settles"));
            }
            for stream in client.streams() {
                let now = moment(log, nodes, began, stream.node);
                stream.session.settled(in_time, now, &truth);
            }
            if in_time && let Some(stream) = &client.stream {
                client.settled(moment(log, nodes, began, stream.node).known, &truth);
            }
        }
        for subscriber in &mut self.subscribers {
            let now = moment(log, nodes, began, subscriber.node);
            subscriber.session.settled(in_time, now, &truth);
        }
    }

    /// Everything works again, everybody comes back, and then everything due must have come or been told.
    pub(crate) async fn finish(&mut self) {
        self.trace.note(|| "       the end".to_owned());
        for node in 0..self.nodes.len() {
            if let Log::Broker(broker) = &self.log {
                broker.destine(node, Fate::Taken);
                broker.stall(node, false);
            }
        }
        for client in 0..self.clients.len() {
            self.clients[client].is_reading = true;
            let node = self.rng.usize(..self.nodes.len());
            if self.clients[client].stream.is_none() {
                self.connect(client, node, With::Own, false).await;
            }
        }
        self.calm().await;
        self.settle(false);
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.read_all(usize::MAX);
        }
        self.calm().await;
        self.settle(true);
        let unknown: Vec<_> = self.receipts.iter().map(|receipt| &receipt.expected).collect();
        assert!(unknown.is_empty(), "nobody said what became of {unknown:?}");
        self.truth.lock().object_to_unsaid();
        self.clients.clear();
        self.subscribers.clear();
        for node in &self.nodes {
            let stats = node.hub.stats();
            assert_eq!((stats.sessions, stats.subscriptions), (0, 0), "everybody left");
        }
    }
}

fn moment(log: &Log, nodes: &[Node], began: Instant, node: usize) -> Moment {
    let (known, missed) = match log {
        Log::Memory(log) => (EventLog::tip(&**log), 0),
        Log::Broker(broker) => (broker.known(node), broker.missed(node)),
    };
    Moment { at: began.elapsed().as_millis() as u64, known, shut: nodes[node].shut, idle: 0, missed }
}

async fn authorize(parts: Parts) -> Result<Grant, Refusal> {
    if let Some(Meanwhile(hub, name)) = parts.extensions.get() {
        drop(hub.regrant(name));
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    Ok(parts.extensions.get::<Grant>().cloned().expect("a grant"))
}

fn viewer(user: &User, channels: &[String], expires: Option<u64>) -> Viewer {
    let mut viewer = Viewer {
        identity: user.identity().map(str::to_owned),
        scopes: user.scopes().iter().map(|scope| (*scope).to_owned()).collect(),
        follows: Vec::new(),
        denied: Vec::new(),
        expires,
    };
    for channel in channels {
        match user.access(channel) {
            _ if channel == MALFORMED => viewer.denied.push((channel.clone(), "malformed")),
            Some(access) => viewer.follows.push((channel.clone(), access)),
            None => viewer.denied.push((channel.clone(), "accessdenied")),
        }
    }
    viewer
}

fn revalidate(stale: &Stale) -> Revalidate {
    let revalidate = Revalidate::keys(&stale.keys).delay(stale.delay);
    match stale.audience {
        None => revalidate,
        Some(scopes) => revalidate.to_any(scopes.iter().map(|name| scope(name))),
    }
}
