//! The logs under the histories: a broker that misbehaves on purpose, and a witness of the real [`MemoryLog`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tower_revalidate::log::{Ack, AppendError, EventLog, Follower, MemoryLog, Record};
use tower_revalidate::{Cursor, Epoch};

use super::ledger::Ledger;

pub(crate) type Truth = Arc<Mutex<Ledger>>;

/// What becomes of the appends of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    #[default]
    Taken,
    /// The broker cannot be reached: nothing is appended, and the node is told.
    Refused,
    /// It is appended, and the acknowledgement is lost.
    Unacknowledged,
    /// Neither the record nor the answer arrives.
    Lost,
    /// In flight until it lands.
    Held,
}

/// A broker that several nodes share. Nothing happens inside of a node's call: records and acknowledgements
/// travel when [`run`](Broker::run) is scheduled.
pub(crate) struct Broker {
    state: Mutex<State>,
    moved: Notify,
    truth: Truth,
    /// Nodes hear records that went through JSON.
    by_wire: bool,
}

struct State {
    tip: Cursor,
    /// Where the epoch began.
    base: Cursor,
    /// The last records; what came before was trimmed.
    kept: VecDeque<(u64, Record)>,
    links: Vec<Link>,
}

struct Link {
    follower: Option<Follower>,
    /// What the node has heard up to.
    known: Cursor,
    /// The last offset of the epoch that was trimmed before the node heard it.
    missed: u64,
    stalled: bool,
    fate: Fate,
    in_flight: VecDeque<(u64, Record, Ack)>,
    answers: Vec<(Ack, Result<Cursor, AppendError>)>,
}

/// The broker as one node sees it.
pub(crate) struct Connection {
    broker: Arc<Broker>,
    node: usize,
    alive: Alive,
}

/// Whether a process lives: tasks of a dead one may linger on the runtime, and reach nobody.
pub(crate) type Alive = Arc<AtomicBool>;

impl Broker {
    pub(crate) fn new(epoch: Epoch, nodes: usize, by_wire: bool, truth: Truth) -> Arc<Self> {
        let tip = Cursor { epoch, offset: 0 };
        truth.lock().begin(tip);
        let link = || Link {
            follower: None,
            known: tip,
            missed: 0,
            stalled: false,
            fate: Fate::Taken,
            in_flight: VecDeque::new(),
            answers: Vec::new(),
        };
        let state =
            State { tip, base: tip, kept: VecDeque::new(), links: (0..nodes).map(|_| link()).collect() };
        Arc::new(Broker { state: Mutex::new(state), moved: Notify::new(), truth, by_wire })
    }

    /// A process starts on a node; what an earlier one had in flight died with it.
    pub(crate) fn connect(self: &Arc<Self>, node: usize, alive: Alive) -> Connection {
        let died = std::mem::take(&mut self.state.lock().links[node].in_flight);
        drop(died);
        Connection { broker: self.clone(), node, alive }
    }

    pub(crate) fn tip(&self) -> Cursor {
        self.state.lock().tip
    }

    pub(crate) fn known(&self, node: usize) -> Cursor {
        self.state.lock().links[node].known
    }

    pub(crate) fn missed(&self, node: usize) -> u64 {
        self.state.lock().links[node].missed
    }

    pub(crate) fn stall(&self, node: usize, stalled: bool) {
        self.state.lock().links[node].stalled = stalled;
        self.moved.notify_one();
    }

    /// What becomes of a node's appends from now on. What was held lands.
    pub(crate) fn destine(&self, node: usize, fate: Fate) {
        let mut state = self.state.lock();
        state.links[node].fate = fate;
        if fate != Fate::Held {
            while let Some((handed, record, ack)) = state.links[node].in_flight.pop_front() {
                self.land(&mut state, node, handed, record, ack);
            }
        }
        drop(state);
        self.moved.notify_one();
    }

    /// Forgets the older records, also for those who have not heard them.
    pub(crate) fn trim(&self, keep: usize) {
        let mut state = self.state.lock();
        let surplus = state.kept.len().saturating_sub(keep);
        state.kept.drain(..surplus);
        drop(state);
        self.moved.notify_one();
    }

    /// Comes back with an older dump: the last records are gone, and a new epoch begins.
    pub(crate) fn lose_tail(&self, lost: u64, epoch: Epoch) {
        let mut state = self.state.lock();
        state.tip = Cursor { epoch, offset: state.tip.offset.saturating_sub(lost) };
        state.base = state.tip;
        state.kept.clear();
        self.truth.lock().begin(state.tip);
        drop(state);
        self.moved.notify_one();
    }

    /// Lets records and answers travel, for as long as the history runs.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            while self.step() {}
            self.moved.notified().await;
        }
    }

    /// One thing travels; false if nothing did. Nothing of ours is locked where a node's code runs.
    fn step(&self) -> bool {
        let mut state = self.state.lock();
        let State { tip, base, kept, links } = &mut *state;
        for link in links {
            if !link.answers.is_empty() {
                let answers = std::mem::take(&mut link.answers);
                drop(state);
                for (ack, result) in answers {
                    match result {
                        Ok(at) => ack.appended(at),
                        Err(error) => ack.failed(error),
                    }
                }
                return true;
            }
            let Some(follower) = link.follower.as_ref().filter(|_| !link.stalled && link.known != *tip)
            else {
                continue;
            };
            let next =
                kept.iter().find(|(offset, _)| link.known.epoch == tip.epoch && *offset > link.known.offset);
            let delivered = if link.known.epoch != tip.epoch {
                // It looked up what it had followed, and that was gone (C2).
                (link.known, link.missed) = (*base, 0);
                follower.reset(*base)
            } else if let Some((offset, record)) = next {
                // After a trim this is a jump.
                if *offset > link.known.offset + 1 {
                    link.missed = offset - 1;
                }
                link.known.offset = *offset;
                follower.event(link.known, record)
            } else {
                (link.known, link.missed) = (*tip, tip.offset);
                follower.trimmed(tip.offset)
            };
            drop(state);
            drop(delivered);
            return true;
        }
        false
    }

    fn land(&self, state: &mut State, node: usize, handed: u64, record: Record, ack: Ack) {
        let link = &mut state.links[node];
        match link.fate {
            Fate::Refused => {
                link.answers.push((ack, Err(AppendError::Unavailable("the broker is away".into()))));
                return;
            }
            Fate::Lost => {
                link.answers.push((ack, Err(AppendError::Unknown)));
                return;
            }
            Fate::Held => return link.in_flight.push_back((handed, record, ack)),
            Fate::Taken | Fate::Unacknowledged => {}
        }
        state.tip.offset += 1;
        let at = state.tip;
        self.truth.lock().appended(node, handed, at, &record);
        let answer = if link.fate == Fate::Taken { Ok(at) } else { Err(AppendError::Unknown) };
        link.answers.push((ack, answer));
        let record = if self.by_wire {
            let json = serde_json::to_vec(&record).expect("records serialise");
            serde_json::from_slice(&json).expect("records read back")
        } else {
            record
        };
        state.kept.push_back((at.offset, record));
    }
}

impl EventLog for Connection {
    fn tip(&self) -> Cursor {
        self.broker.tip()
    }

    fn follow(&self, after: Cursor, follower: Follower) {
        let link = &mut self.broker.state.lock().links[self.node];
        link.follower = Some(follower);
        (link.known, link.missed) = (after, 0);
    }

    fn append(&self, record: Record, ack: Ack) {
        if !self.alive.load(Ordering::Relaxed) {
            return;
        }
        let handed = self.broker.truth.lock().handed();
        let mut state = self.broker.state.lock();
        self.broker.land(&mut state, self.node, handed, record, ack);
        drop(state);
        self.broker.moved.notify_one();
    }
}

/// The real log of one process, and the ledger as its witness.
pub(crate) struct Witness {
    inner: Arc<MemoryLog>,
    alive: Alive,
    truth: Truth,
}

impl Witness {
    pub(crate) fn new(inner: Arc<MemoryLog>, alive: Alive, truth: Truth) -> Self {
        truth.lock().begin(inner.tip());
        Witness { inner, alive, truth }
    }
}

impl EventLog for Witness {
    fn tip(&self) -> Cursor {
        self.inner.tip()
    }

    fn follow(&self, after: Cursor, follower: Follower) {
        self.inner.follow(after, follower);
    }

    fn append(&self, record: Record, ack: Ack) {
        if !self.alive.load(Ordering::Relaxed) {
            return;
        }
        let Cursor { epoch, offset } = self.inner.tip();
        {
            let mut truth = self.truth.lock();
            let handed = truth.handed();
            truth.appended(0, handed, Cursor { epoch, offset: offset + 1 }, &record);
        }
        self.inner.append(record, ack);
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }
}
