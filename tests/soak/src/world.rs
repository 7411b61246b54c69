//! Who there is and what they may hear, and the truth: what was appended, in which order.

use std::collections::HashMap;

use parking_lot::RwLock;
use tokio::sync::watch;
use tower_revalidate::{Cursor, Epoch};

pub(crate) const USERS: u32 = 100;
pub(crate) const ROOMS: u32 = 200;
const ROOMS_OF_A_USER: u64 = 4;
pub(crate) const TEAMS: u32 = 8;

/// The rooms that a user may follow after so many changes of the grant.
pub(crate) fn rooms(user: u32, version: usize) -> Vec<String> {
    let mut drawn = fastrand::Rng::with_seed(u64::from(user) << 32 | version as u64);
    (0..ROOMS_OF_A_USER).map(|_| format!("room:{}", drawn.u32(0..ROOMS))).collect()
}

pub(crate) fn may_follow(user: Option<u32>, version: usize, channel: &str) -> bool {
    ["news", "board"].contains(&channel)
        || user.is_some_and(|user| rooms(user, version).iter().any(|room| room == channel))
}

/// For whom keys may be that this user hears.
pub(crate) fn audiences(user: Option<u32>) -> Vec<String> {
    let own = user.map(|user| [format!("user:{user}"), format!("team:{}", user % TEAMS)]);
    [vec!["everyone".to_owned()], own.map(Vec::from).unwrap_or_default()].concat()
}

/// One event of the order. Its number is its offset: whoever publishes knows it beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Message { channel: String, number: u64 },
    Key { audience: String, number: u64 },
    Regrant { user: u32 },
}

/// What was appended. Whoever asks about an id waits until it is here.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) epoch: Epoch,
    ledger: RwLock<Ledger>,
    tip: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    events: Vec<What>,
    channels: HashMap<String, Vec<u64>>,
    keys: HashMap<String, Vec<u64>>,
    regrants: HashMap<u32, Vec<u64>>,
    /// The user whose grant is being changed.
    changing: Option<u32>,
}

impl Truth {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Truth { epoch, ledger: RwLock::default(), tip: watch::Sender::new(0) }
    }

    pub(crate) fn ledger(&self) -> parking_lot::RwLockReadGuard<'_, Ledger> {
        self.ledger.read()
    }

    pub(crate) fn changing(&self, user: u32) {
        self.ledger.write().changing = Some(user);
    }

    /// The log is dense and has one publisher, so that it is known what stands where.
    pub(crate) fn appended(&self, at: Cursor, what: What) {
        let mut ledger = self.ledger.write();
        let offset = ledger.events.len() as u64 + 1;
        assert_eq!(at, Cursor { epoch: self.epoch, offset }, "the log is dense");
        match &what {
            What::Message { channel, .. } => ledger.channels.entry(channel.clone()).or_default().push(offset),
            What::Key { audience, .. } => ledger.keys.entry(audience.clone()).or_default().push(offset),
            What::Regrant { user } => {
                ledger.regrants.entry(*user).or_default().push(offset);
                ledger.changing = None;
            }
        }
        ledger.events.push(what);
        drop(ledger);
        self.tip.send_replace(offset);
    }

    /// Waits until it is known what stands here.
    pub(crate) async fn knows(&self, offset: u64) {
        let known = async { self.tip.subscribe().wait_for(|tip| *tip >= offset).await.map(drop) };
        let known = tokio::time::timeout(std::time::Duration::from_secs(30), known).await;
        assert!(known.is_ok(), "nothing was ever appended at {offset:x}");
    }
}

impl Ledger {
    pub(crate) fn tip(&self) -> u64 {
        self.events.len() as u64
    }

    pub(crate) fn at(&self, offset: u64) -> Option<&What> {
        self.events.get(usize::try_from(offset.checked_sub(1)?).ok()?)
    }

    /// The messages of a channel after `from`, up to `to`.
    pub(crate) fn messages(&self, channel: &str, from: u64, to: u64) -> &[u64] {
        between(self.channels.get(channel), from, to)
    }

    /// The revalidations of an audience after `from`, up to `to`.
    pub(crate) fn keys(&self, audience: &str, from: u64, to: u64) -> &[u64] {
        between(self.keys.get(audience), from, to)
    }

    /// The changes of a user's grant after `from`, up to `to`.
    pub(crate) fn regrants(&self, user: u32, from: u64, to: u64) -> &[u64] {
        between(self.regrants.get(&user), from, to)
    }

    /// How often the grant of a user changed, as far as it is known, and as it may be.
    pub(crate) fn versions(&self, user: Option<u32>) -> (usize, usize) {
        let known = user.map_or(0, |user| self.regrants(user, 0, u64::MAX).len());
        (known, known + usize::from(user.is_some() && self.changing == user))
    }
}

fn between(offsets: Option<&Vec<u64>>, from: u64, to: u64) -> &[u64] {
    let offsets = offsets.map_or(&[][..], Vec::as_slice);
    let first = offsets.partition_point(|offset| *offset <= from);
    let last = offsets.partition_point(|offset| *offset <= to);
    offsets.get(first..last).unwrap_or_default()
}
