//! [`KeyLog`]: the revalidations of one topic.

use std::collections::{BTreeMap, HashMap};

use crate::{Origin, QueryKey};

/// What one key costs beside its text: two map entries and two handles.
const OVERHEAD: usize = 160;

/// The last offset of each key. Revalidations are idempotent, so only the last matters; ordered by offset, so
/// that a read costs what it returns. Bounded: past the cap the older half of the keys collapse to their
/// prefixes, which covers them with an offset no smaller, so nothing is lost (PROTOCOL R3).
#[derive(Default)]
pub(crate) struct KeyLog {
    keys: HashMap<QueryKey, Change>,
    /// By offset, and by a number that keeps apart the keys of one event.
    order: BTreeMap<(u64, u64), QueryKey>,
    written: u64,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Change {
    last: u64,
    /// The number of its place in the order.
    number: u64,
    origin: Option<Origin>,
    /// The last offset of any other origin. The origin is told only to a reader past it (R11): a frame's
    /// `origin` speaks for every change that the frame stands for.
    other: u64,
}

impl KeyLog {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn insert(&mut self, key: &QueryKey, offset: u64, origin: Option<Origin>) {
        let change = match self.remove(key) {
            Some(known) if origin.is_some() && known.origin == origin => Change { last: offset, ..known },
            Some(known) => Change { last: offset, origin, other: known.last, number: 0 },
            None => Change { last: offset, origin, other: 0, number: 0 },
        };
        self.put(key.clone(), change);
    }

    /// The keys that changed after `position`, each with the request that alone changed it since.
    pub(crate) fn since(&self, position: u64) -> impl Iterator<Item = (&QueryKey, Option<Origin>)> {
        let keys = self.order.range((position.saturating_add(1), 0)..);
        keys.filter_map(move |(_, key)| {
            let change = self.keys.get(key)?;
            Some((key, change.origin.filter(|_| change.other <= position)))
        })
    }

    /// Brings the log back under `cap` keys.
    pub(crate) fn compact(&mut self, cap: usize) {
        let cap = cap.max(1);
        while self.keys.len() > cap {
            let half = (self.keys.len() / 2).max(1);
            // The key of everything has no prefix; of two keys or more one always has.
            let parents = |key: &QueryKey| Some((key.clone(), key.parent()?));
            let oldest: Vec<_> = self.order.values().filter_map(parents).take(half).collect();
            for (key, parent) in oldest {
                if let Some(change) = self.remove(&key) {
                    self.cover(parent, change.last);
                }
            }
        }
    }

    /// Merges a collapsed change into its prefix: no origin speaks for both.
    fn cover(&mut self, prefix: QueryKey, offset: u64) {
        let change = match self.remove(&prefix) {
            Some(known) if known.last >= offset => Change { other: known.other.max(offset), ..known },
            _ => Change { last: offset, origin: None, other: offset, number: 0 },
        };
        self.put(prefix, change);
    }

    fn put(&mut self, key: QueryKey, change: Change) {
        self.bytes += key.as_json().len() + OVERHEAD;
        self.written += 1;
        self.order.insert((change.last, self.written), key.clone());
        self.keys.insert(key, Change { number: self.written, ..change });
    }

    fn remove(&mut self, key: &QueryKey) -> Option<Change> {
        let change = self.keys.remove(key)?;
        self.bytes -= key.as_json().len() + OVERHEAD;
        self.order.remove(&(change.last, change.number));
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &'static str) -> QueryKey {
        QueryKey::new(text).unwrap()
    }

    fn origin(digit: u8) -> Option<Origin> {
        Origin::parse(&[digit; 32])
    }

    fn since(log: &KeyLog, position: u64) -> Vec<(String, Option<Origin>)> {
        log.since(position).map(|(key, origin)| (key.to_string(), origin)).collect()
    }

    #[test]
    fn only_the_last_change_of_a_key_is_kept() {
        let mut log = KeyLog::default();
        log.insert(&key("a"), 1, None);
        log.insert(&key("b"), 2, None);
        log.insert(&key("a"), 3, None);
        assert_eq!(since(&log, 0), [(r#"["b"]"#.into(), None), (r#"["a"]"#.into(), None)]);
        assert_eq!(since(&log, 2), [(r#"["a"]"#.into(), None)]);
        assert_eq!(since(&log, 3), []);
    }

    #[test]
    fn an_origin_is_told_only_past_every_other() {
        let mut log = KeyLog::default();
        log.insert(&key("a"), 1, origin(b'b'));
        log.insert(&key("a"), 2, origin(b'a'));
        log.insert(&key("a"), 3, origin(b'a'));
        assert_eq!(since(&log, 0)[0].1, None, "Bob's change is in it");
        assert_eq!(since(&log, 1)[0].1, origin(b'a'));
        assert_eq!(since(&log, 2)[0].1, origin(b'a'));
        log.insert(&key("a"), 4, None);
        assert_eq!(since(&log, 3)[0].1, None);
    }

    #[test]
    fn collapsing_loses_no_change_and_no_origin_survives_it() {
        let mut log = KeyLog::default();
        for offset in 1..=100 {
            let key = QueryKey::new(("a", offset % 10, offset)).unwrap();
            log.insert(&key, offset, origin(b'a'));
            log.compact(16);
            assert!(log.keys.len() <= 16);
            for position in 0..offset {
                let (told, own): (Vec<_>, Vec<_>) = log.since(position).unzip();
                for change in position + 1..=offset {
                    let key = QueryKey::new(("a", change % 10, change)).unwrap();
                    assert!(told.iter().any(|told| told.covers(&key)), "{change} from {position}");
                }
                let own = told.iter().zip(own).filter(|(_, own)| own.is_some());
                assert!(own.into_iter().all(|(key, _)| key.as_json().matches(',').count() == 2));
            }
        }
        assert!(log.bytes() > 0);
        log.compact(1);
        assert_eq!(since(&log, 0).len(), 1);
    }
}
