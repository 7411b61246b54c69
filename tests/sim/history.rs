//! Histories: what may happen ([`Op`]), under which bounds ([`Setting`]), and the driver ([`History`]).

mod op;
mod server;
mod setting;
mod trouble;
mod viewers;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use tokio::time::Instant;
use tower_revalidate::log::{EventLog as _, MemoryLog};
use tower_revalidate::{Cursor, Epoch, Hub, PublishError, QueryKey, Subscription};

use super::checker::{Moment, Session};
use super::client::{Client, Flag};
use super::ledger::Ledger;
use super::log::{Alive, Broker, Fate, Truth, Witness};
use super::world::{CHANNELS, USERS, User, declare};
use op::Op;
pub(crate) use setting::Setting;
use setting::{PAYLOAD, STALL_AFTER};
use viewers::authorize;

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

    fn moment(&self, node: usize) -> Moment {
        moment(&self.log, &self.nodes, self.began, node)
    }

    fn tip(&self) -> Cursor {
        match &self.log {
            Log::Memory(log) => log.tip(),
            Log::Broker(broker) => broker.tip(),
        }
    }
}

fn moment(log: &Log, nodes: &[Node], began: Instant, node: usize) -> Moment {
    let (known, missed) = match log {
        Log::Memory(log) => (log.tip(), 0),
        Log::Broker(broker) => (broker.known(node), broker.missed(node)),
    };
    Moment { at: began.elapsed().as_millis() as u64, known, shut: nodes[node].shut, idle: 0, missed }
}
