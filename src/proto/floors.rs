//! [`Floors`]: what was forgotten of topics that are gone.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A topic dropped whole leaves its floor in a bucket, so that its absence does not read as "nothing happened"
/// (PROTOCOL R3). Topics that share a bucket may be told of a gap that was another's, never of none that was
/// their own. The floors of identities whose grants changed stand in the same buckets (R10).
pub(crate) struct Floors {
    buckets: Box<[u64]>,
    seed: u64,
}

impl Floors {
    pub(crate) fn new(buckets: usize, seed: u64) -> Self {
        Floors { buckets: vec![0; buckets.max(1)].into(), seed }
    }

    fn bucket(&self, name: &impl Hash) -> usize {
        // Seeded, so that a client cannot choose names that share a bucket with another's.
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        name.hash(&mut hasher);
        (hasher.finish() % self.buckets.len() as u64) as usize
    }

    pub(crate) fn of(&self, name: &impl Hash) -> u64 {
        self.buckets[self.bucket(name)]
    }

    pub(crate) fn raise(&mut self, name: &impl Hash, to: u64) {
        let floor = &mut self.buckets[self.bucket(name)];
        *floor = (*floor).max(to);
    }

    pub(crate) fn clear(&mut self) {
        self.buckets.fill(0);
    }
}
