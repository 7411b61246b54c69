//! The truth: what was said, what was appended, in which order.
//!
//! The logs write here as they number records, the driver as it publishes. What is said and never appended,
//! or appended and never said, is an objection (PROTOCOL R6, R6a).

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tower_revalidate::log::Record;
use tower_revalidate::{Cursor, Epoch, QueryKey};

/// A record, read back from its JSON: the checker does not look into the crate.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    Revalidate { audience: Audience, keys: Vec<QueryKey>, origin: Option<String> },
    Message { channel: String, event: String, data: Value },
    Regrant { identity: String },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Audience {
    Everyone,
    Scopes(BTreeSet<String>),
}

impl Audience {
    /// None: everyone.
    pub(crate) fn scopes(&self) -> Option<&BTreeSet<String>> {
        match self {
            Audience::Everyone => None,
            Audience::Scopes(scopes) => Some(scopes),
        }
    }
}

/// One life of the order: its records are dense from `base + 1` on.
#[derive(Debug)]
struct Life {
    epoch: Epoch,
    base: u64,
    records: Vec<What>,
}

/// Keys that somebody said are stale, until records cover them.
#[derive(Debug)]
struct Said {
    node: usize,
    /// Records handed to the log before it was said: none of those may stand for it.
    after: u64,
    origin: Option<String>,
    /// Each scope (none: everyone) with each key, and whether a record covered it.
    pairs: Vec<(Option<String>, QueryKey, bool)>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    lives: Vec<Life>,
    said: Vec<Said>,
    /// Records handed to the log so far.
    handed: u64,
    /// Where each message stands, by its serial number.
    messages: HashMap<u64, Cursor>,
    /// The last message of a node on a channel.
    last_serial: HashMap<(usize, String), u64>,
}

/// The number that every message of a history carries.
pub(crate) fn serial(data: &Value) -> u64 {
    data["n"].as_u64().expect("messages of a history carry a number")
}

impl Ledger {
    pub(crate) fn begin(&mut self, at: Cursor) {
        self.lives.push(Life { epoch: at.epoch, base: at.offset, records: Vec::new() });
    }

    /// A node handed a record to the log. Returns its number in the order of handing.
    pub(crate) fn handed(&mut self) -> u64 {
        self.handed += 1;
        self.handed
    }

    pub(crate) fn appended(&mut self, node: usize, handed: u64, at: Cursor, record: &Record) {
        let json = serde_json::to_string(record).expect("records serialise");
        let what: What = serde_json::from_str(&json).expect("records read back");
        match &what {
            What::Revalidate { audience, keys, origin } => {
                self.settle(node, handed, audience.scopes(), keys, origin.as_ref());
            }
            What::Message { channel, data, .. } => {
                let number = serial(data);
                let last = self.last_serial.insert((node, channel.clone()), number);
                assert!(last < Some(number), "node {node} published {number} on {channel} after {last:?}");
                let before = self.messages.insert(number, at);
                assert!(before.is_none(), "message {number} was appended at {before:?} and at {at}");
            }
            What::Regrant { .. } => {}
        }
        let life = self.lives.iter_mut().rfind(|life| life.epoch == at.epoch).expect("a known epoch");
        life.records.push(what);
        assert_eq!(life.base + life.records.len() as u64, at.offset, "the log is dense");
    }

    /// Somebody said that these keys are stale.
    pub(crate) fn said(
        &mut self,
        node: usize,
        audience: Option<&[&str]>,
        keys: &[QueryKey],
        origin: Option<String>,
    ) {
        let scopes: Vec<_> = match audience {
            None => vec![None],
            Some(scopes) => scopes.iter().map(|scope| Some((*scope).to_owned())).collect(),
        };
        let pairs =
            scopes.iter().flat_map(|scope| keys.iter().map(|key| (scope.clone(), key.clone(), false)));
        self.said.push(Said { node, after: self.handed, origin, pairs: pairs.collect() });
    }

    /// A record stands for what was said before it was handed on, that it covers, and whose origin it does not
    /// misstate: a client skips what it changed itself.
    fn settle(
        &mut self,
        node: usize,
        handed: u64,
        audience: Option<&BTreeSet<String>>,
        keys: &[QueryKey],
        origin: Option<&String>,
    ) {
        let heard = |scope: &Option<String>| match (audience, scope) {
            (None, None) => true,
            (Some(audience), Some(scope)) => audience.contains(scope),
            _ => false,
        };
        let mut unsaid: Vec<_> = keys.iter().collect();
        for said in self.said.iter_mut().filter(|said| said.node == node && said.after < handed) {
            if origin.is_some() && origin != said.origin.as_ref() {
                continue;
            }
            for (_, key, done) in said.pairs.iter_mut().filter(|(scope, ..)| heard(scope)) {
                *done |= keys.iter().any(|prefix| prefix.covers(key));
                unsaid.retain(|prefix| !prefix.covers(key));
            }
        }
        assert!(
            unsaid.is_empty(),
            "{unsaid:?} was appended for {audience:?} by {origin:?}, and nobody said so"
        );
    }

    /// The process of a node died with what waited in it.
    pub(crate) fn forget_said(&mut self, node: usize) {
        self.said.retain(|said| said.node != node);
    }

    pub(crate) fn object_to_unsaid(&self) {
        for said in &self.said {
            for (scope, key, done) in &said.pairs {
                assert!(done, "{key} for {scope:?} was said on node {} and never appended", said.node);
            }
        }
    }

    pub(crate) fn get(&self, at: Cursor) -> Option<&What> {
        let life = self.life(at.epoch)?;
        life.records.get(at.offset.checked_sub(life.base + 1)? as usize)
    }

    /// The records of an epoch after `from`, up to `to`.
    pub(crate) fn range(
        &self,
        epoch: Epoch,
        from: u64,
        to: u64,
    ) -> impl DoubleEndedIterator<Item = (u64, &What)> {
        let life = self.life(epoch).expect("a known epoch");
        let first = life.base + 1;
        let numbered = life.records.iter().enumerate().map(move |(index, what)| (first + index as u64, what));
        let skipped = (from + 1).saturating_sub(first) as usize;
        let until = ((to + 1).saturating_sub(first) as usize).min(life.records.len());
        numbered.take(until).skip(skipped)
    }

    pub(crate) fn base(&self, epoch: Epoch) -> u64 {
        self.life(epoch).expect("a known epoch").base
    }

    pub(crate) fn message(&self, number: u64) -> Option<Cursor> {
        self.messages.get(&number).copied()
    }

    /// The newest message of a channel after `from`, up to `to`.
    pub(crate) fn newest(&self, epoch: Epoch, channel: &str, from: u64, to: u64) -> Option<u64> {
        let on = |what: &What| matches!(what, What::Message { channel: its, .. } if its == channel);
        self.range(epoch, from, to).rev().find(|(_, what)| on(what)).map(|(offset, _)| offset)
    }

    /// The last change of a user's grant after `from`, up to `to`.
    pub(crate) fn regranted(&self, epoch: Epoch, identity: &str, from: u64, to: u64) -> Option<u64> {
        let ends = |what: &What| matches!(what, What::Regrant { identity: its } if its == identity);
        self.range(epoch, from, to).rev().find(|(_, what)| ends(what)).map(|(offset, _)| offset)
    }

    pub(crate) fn anyone_regranted(&self, epoch: Epoch, from: u64, to: u64) -> bool {
        self.range(epoch, from, to).any(|(_, what)| matches!(what, What::Regrant { .. }))
    }

    fn life(&self, epoch: Epoch) -> Option<&Life> {
        self.lives.iter().find(|life| life.epoch == epoch)
    }
}

/// A payload of a message: its number and some weight.
pub(crate) fn payload(number: u64, pad: usize) -> Box<RawValue> {
    RawValue::from_string(format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(pad))).expect("JSON")
}
