//! [`Outbox`]: revalidations that wait before they are appended.
//!
//! Plain data: time comes in. Most entries never wait; they pass through. One waits while the interval of its
//! audience runs, because it was delayed on purpose, or because the log refused it for the moment. Waiting
//! entries of one audience are one; an entry that was handed on is never joined again (PROTOCOL R6).

use std::collections::{BTreeMap, HashMap};

use tokio::sync::oneshot;

use crate::key::collapse;
use crate::proto::Millis;
use crate::revalidate::Audience;
use crate::{Cursor, Origin, PublishError, QueryKey};

pub(crate) type Told = oneshot::Sender<Result<Cursor, PublishError>>;

/// One revalidation on its way to the log.
pub(crate) struct Outgoing {
    pub(crate) audience: Audience,
    pub(crate) keys: Vec<QueryKey>,
    pub(crate) origin: Option<Origin>,
    /// Who wants to know.
    pub(crate) told: Vec<Told>,
    /// How often the log failed it.
    pub(crate) attempts: u32,
}

/// When something is due, and a number that keeps apart what is due at the same time.
type Due = (Millis, u64);

enum Waiting {
    /// What is pending for this audience.
    Pending(Audience),
    /// Delayed on purpose; nothing joins it.
    Delayed(Outgoing),
}

pub(crate) struct Outbox {
    min_interval: Millis,
    max_waiting: usize,
    max_bytes: usize,
    max_keys: usize,
    pending: HashMap<Audience, Outgoing>,
    waiting: BTreeMap<Due, Waiting>,
    waited: u64,
    /// What waits costs, by [`Outgoing::cost`].
    bytes: usize,
    /// Keys that merged with others since this was last asked for.
    merged: usize,
    /// When each audience was last handed on; swept when it has doubled.
    handed: HashMap<Audience, Millis>,
    sweep_at: usize,
}

impl Outbox {
    pub(crate) fn new(min_interval: Millis, max_waiting: usize, max_bytes: usize, max_keys: usize) -> Self {
        Outbox {
            min_interval,
            max_waiting,
            max_bytes,
            max_keys,
            pending: HashMap::new(),
            waiting: BTreeMap::new(),
            waited: 0,
            bytes: 0,
            merged: 0,
            handed: HashMap::new(),
            sweep_at: 64,
        }
    }

    /// Takes an entry. What comes back is handed on at once: the first of an interval, not the last.
    ///
    /// # Errors
    /// The entry, when too many wait.
    pub(crate) fn offer(&mut self, outgoing: Outgoing, now: Millis) -> Result<Option<Outgoing>, Outgoing> {
        if self.pending.contains_key(&outgoing.audience) {
            self.join(outgoing);
            return Ok(None);
        }
        let handed = self.handed.get(&outgoing.audience).copied();
        match handed.map(|handed| handed.saturating_add(self.min_interval)) {
            Some(due) if due > now => self.wait(outgoing, due).map(|()| None),
            _ => {
                self.note_handed(&outgoing.audience, now);
                Ok(Some(outgoing))
            }
        }
    }

    /// Takes an entry that is not to be handed on before `due`.
    ///
    /// # Errors
    /// The entry, when too many wait.
    pub(crate) fn delay(&mut self, mut outgoing: Outgoing, due: Millis) -> Result<(), Outgoing> {
        if !self.makes_room(&mut outgoing) {
            return Err(outgoing);
        }
        let due = self.place(due);
        self.waiting.insert(due, Waiting::Delayed(outgoing));
        Ok(())
    }

    /// Takes back an entry that the log failed. It waits twice as long each time, up to 5 s.
    ///
    /// # Errors
    /// The entry, when too many wait.
    pub(crate) fn retry(&mut self, mut outgoing: Outgoing, now: Millis) -> Result<(), Outgoing> {
        outgoing.attempts = outgoing.attempts.saturating_add(1);
        let wait = 50_u64.saturating_mul(1 << outgoing.attempts.min(10)).min(5000);
        if self.pending.contains_key(&outgoing.audience) {
            self.join(outgoing);
            return Ok(());
        }
        self.wait(outgoing, now.saturating_add(wait))
    }

    /// What is due.
    pub(crate) fn take_due(&mut self, now: Millis) -> Vec<Outgoing> {
        let mut due = Vec::new();
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Waiting::Pending(audience) => {
                    if let Some(pending) = self.pending.remove(&audience) {
                        self.bytes -= pending.cost();
                        self.note_handed(&audience, now);
                        due.push(pending);
                    }
                }
                // Its own interval may run; if nothing more can wait, it goes.
                Waiting::Delayed(outgoing) => {
                    self.bytes -= outgoing.cost();
                    match self.offer(outgoing, now) {
                        Ok(outgoing) => due.extend(outgoing),
                        Err(outgoing) => due.push(outgoing),
                    }
                }
            }
        }
        due
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.waiting.keys().next().map(|(due, _)| *due)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many entries wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many keys merged with others while they waited, since this was last asked.
    pub(crate) fn take_merged(&mut self) -> usize {
        std::mem::take(&mut self.merged)
    }

    /// Joins what is pending for the same audience.
    fn join(&mut self, outgoing: Outgoing) {
        let Some(pending) = self.pending.get_mut(&outgoing.audience) else { return };
        self.bytes -= pending.cost();
        let keys = pending.keys.len() + outgoing.keys.len();
        pending.join(outgoing, self.max_keys);
        if self.bytes + pending.cost() > self.max_bytes {
            pending.collapse();
        }
        self.merged += keys - pending.keys.len();
        self.bytes += pending.cost();
    }

    /// Counts what is to wait, collapsed if it does not fit as it is. False if it does not fit at all.
    fn makes_room(&mut self, outgoing: &mut Outgoing) -> bool {
        let keys = outgoing.keys.len();
        if self.bytes + outgoing.cost() > self.max_bytes {
            outgoing.collapse();
        }
        let fits = self.waiting.len() < self.max_waiting && self.bytes + outgoing.cost() <= self.max_bytes;
        if fits {
            self.merged += keys.saturating_sub(outgoing.keys.len());
            self.bytes += outgoing.cost();
        }
        fits
    }

    fn wait(&mut self, mut outgoing: Outgoing, due: Millis) -> Result<(), Outgoing> {
        if !self.makes_room(&mut outgoing) {
            return Err(outgoing);
        }
        let due = self.place(due);
        self.waiting.insert(due, Waiting::Pending(outgoing.audience.clone()));
        self.pending.insert(outgoing.audience.clone(), outgoing);
        Ok(())
    }

    fn place(&mut self, due: Millis) -> Due {
        self.waited += 1;
        (due, self.waited)
    }

    fn note_handed(&mut self, audience: &Audience, now: Millis) {
        if self.min_interval == 0 {
            return;
        }
        if let Some(handed) = self.handed.get_mut(audience) {
            *handed = now;
            return;
        }
        if self.handed.len() >= self.sweep_at {
            self.handed.retain(|_, handed| handed.saturating_add(self.min_interval) > now);
            self.sweep_at = (self.handed.len() * 2).clamp(64, self.max_waiting.max(64));
        }
        // Over the bound an audience goes without its interval rather than without its news.
        if self.handed.len() < self.max_waiting.max(64) {
            self.handed.insert(audience.clone(), now);
        }
    }
}

impl Outgoing {
    pub(crate) fn new(audience: Audience, keys: Vec<QueryKey>, origin: Option<Origin>) -> Self {
        Outgoing { audience, keys, origin, told: Vec::new(), attempts: 0 }
    }

    /// Tells everybody who wants to know what became of it.
    pub(crate) fn tell(self, result: &Result<Cursor, PublishError>) {
        for told in self.told {
            // Whoever dropped its receipt did not want to know.
            let _ = told.send(result.clone());
        }
    }

    /// What it costs in memory, about.
    fn cost(&self) -> usize {
        let scopes = match &self.audience {
            Audience::Everyone => 0,
            Audience::Scopes(scopes) => scopes.iter().map(|scope| scope.as_str().len() + 48).sum(),
        };
        let keys: usize = self.keys.iter().map(|key| key.as_json().len() + 32).sum();
        // The audience stands in three places.
        256 + 3 * scopes + keys
    }

    /// To the key of everything: it covers them all.
    fn collapse(&mut self) {
        self.keys = vec![QueryKey::everything()];
        self.origin = None;
    }

    /// The union of both; an origin only if it is that of both.
    fn join(&mut self, other: Outgoing, max_keys: usize) {
        self.keys.extend(other.keys);
        let origin = self.origin.filter(|_| self.origin == other.origin);
        let before = self.keys.len();
        collapse(&mut self.keys, max_keys);
        self.origin = origin.filter(|_| before <= max_keys);
        self.told.extend(other.told);
        // Receipts that were dropped want to know nothing; looked for when the list has doubled.
        if self.told.len().is_power_of_two() {
            self.told.retain(|told| !told.is_closed());
        }
        self.attempts = self.attempts.max(other.attempts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(key: &'static str) -> Outgoing {
        Outgoing::new(Audience::Everyone, vec![QueryKey::new(key).unwrap()], None)
    }

    #[test]
    fn the_first_of_an_interval_goes_at_once_and_the_rest_as_one() {
        let mut outbox = Outbox::new(100, 10, 1 << 20, 1024);
        assert!(outbox.offer(outgoing("a"), 1000).is_ok_and(|now| now.is_some()));
        for (key, now) in [("a", 1010), ("b", 1040), ("a", 1080)] {
            assert!(outbox.offer(outgoing(key), now).is_ok_and(|now| now.is_none()));
        }
        assert_eq!(outbox.next_due(), Some(1100));
        assert!(outbox.take_due(1099).is_empty());
        let due = outbox.take_due(1100);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].keys.len(), 2);
        assert!(outbox.is_empty());
        assert!(outbox.offer(outgoing("c"), 1150).is_ok_and(|now| now.is_none()), "the interval runs again");
    }

    #[test]
    fn a_failed_entry_comes_back_later_and_later() {
        let mut outbox = Outbox::new(0, 10, 1 << 20, 1024);
        let mut entry = outgoing("a");
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert!(outbox.retry(entry, now).is_ok());
            let due = outbox.next_due().unwrap();
            waits.push(due - now);
            now = due;
            entry = outbox.take_due(now).pop().unwrap();
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    }

    #[test]
    fn waiting_entries_are_bounded() {
        let mut outbox = Outbox::new(0, 2, 1 << 20, 1024);
        assert!(outbox.retry(outgoing("a"), 0).is_ok());
        assert!(outbox.retry(outgoing("b"), 0).is_ok(), "it joins");
        assert!(outbox.delay(outgoing("a"), 5).is_ok());
        let mut other = outgoing("a");
        other.audience = Audience::Scopes(Vec::new());
        assert!(outbox.retry(other, 0).is_err());
        assert!(outbox.delay(outgoing("a"), 5).is_err());
    }

    #[test]
    fn waiting_bytes_are_bounded_and_no_key_is_lost() {
        let mut outbox = Outbox::new(0, 100, 2000, 1024);
        for index in 0..100 {
            let key = QueryKey::new(("a", index, "x".repeat(100))).unwrap();
            let joined = Outgoing::new(Audience::Everyone, vec![key], None);
            assert!(outbox.retry(joined, 0).is_ok());
            assert!(outbox.bytes <= 2000);
        }
        assert!(outbox.take_due(1000)[0].keys.contains(&QueryKey::everything()));
        assert_eq!(outbox.bytes, 0);
        let large = Audience::scopes((0..100).map(|id| crate::Scope::new(("user", id)).unwrap()).collect());
        assert!(outbox.retry(Outgoing::new(large, vec![QueryKey::everything()], None), 0).is_err());
    }

    #[test]
    fn an_interval_holds_however_many_audiences_there_are() {
        let mut outbox = Outbox::new(100, 10, 1 << 20, 1024);
        let offer = |outbox: &mut Outbox, id: u64, now| {
            let audience = Audience::scopes(vec![crate::Scope::new(("user", id)).unwrap()]);
            let offered = outbox.offer(Outgoing::new(audience, vec![QueryKey::everything()], None), now);
            offered.is_ok_and(|now| now.is_some())
        };
        for id in 0..1000 {
            assert!(offer(&mut outbox, id, id * 200), "its first goes at once");
            assert!(!offer(&mut outbox, id, id * 200 + 1), "its second waits");
            assert_eq!(outbox.take_due(id * 200 + 100).len(), 1);
        }
        assert!(outbox.handed.len() <= 64);
    }

    #[test]
    fn dropped_receipts_are_not_kept() {
        let mut outbox = Outbox::new(0, 10, 1 << 20, 1024);
        for _ in 0..1000 {
            let mut joined = outgoing("a");
            joined.told.push(oneshot::channel().0);
            assert!(outbox.retry(joined, 0).is_ok());
        }
        assert!(outbox.take_due(1000)[0].told.len() <= 4);
    }
}
