//! [`Op`]: what may happen, how it is drawn, and the one history that is not.

use std::time::Duration;

use tower_revalidate::QueryKey;

use super::super::log::Fate;
use super::super::world::{AUDIENCES, CHANNELS, USERS, key};
use super::setting::pick;
use super::{History, Log};

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

impl History {
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

    pub(super) fn stale(&mut self) -> Stale {
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
}
