//! Hash tables for look-up only.
//!
//! Hash order never decides behaviour, so these tables offer no iteration. The hasher is SipHash-1-3 (Aumasson and
//! Bernstein, "SipHash: a fast short-input PRF", 2012) under a key drawn from the node's seed: peers choose what is looked
//! up, and must not be able to choose collisions; and equal seeds give equal runs.
#![expect(clippy::disallowed_types, reason = "the one place that wraps them")]

use core::fmt;
use core::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

/// Builds SipHash-1-3 hashers under one key.
#[derive(Clone, Copy)]
pub(crate) struct KeyedHasher {
    key: (u64, u64),
}

impl KeyedHasher {
    pub(crate) const fn new(key: (u64, u64)) -> Self {
        Self { key }
    }
}

impl fmt::Debug for KeyedHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHasher(..)")
    }
}

impl BuildHasher for KeyedHasher {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key.0, self.key.1)
    }
}

/// A set that is asked, never listed.
#[derive(Clone, Debug)]
pub(crate) struct LookupSet<K>(hashbrown::HashSet<K, KeyedHasher>);

impl<K: Eq + Hash> LookupSet<K> {
    pub(crate) const fn new(hasher: KeyedHasher) -> Self {
        Self(hashbrown::HashSet::with_hasher(hasher))
    }

    /// Adds a key; `false` if it was there.
    pub(crate) fn insert(&mut self, key: K) -> bool {
        self.0.insert(key)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.0.contains(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a55_a_set_answers_and_another_key_hashes_otherwise() {
        let mut set = LookupSet::new(KeyedHasher::new((1, 2)));
        assert!(set.insert(7) && !set.insert(7));
        assert_eq!(set.len(), 1);
        assert!(set.contains(&7) && !set.contains(&8));
        let hash = |key: u64| KeyedHasher::new((key, 0)).hash_one(7_u64);
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
