//! Timers: one per key, cancellable, in total order.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::Instant;

/// Deadlines by key. A key has at most one deadline; ties fire in the order of keys.
#[derive(Clone, Debug)]
pub(crate) struct Timers<K> {
    order: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) const fn new() -> Self {
        Self { order: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// What is timed.
    pub(crate) fn keys(&self) -> impl Iterator<Item = K> {
        self.by_key.keys().copied()
    }

    /// Sets or moves the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        match self.by_key.insert(key, at) {
            Some(old) if old == at => return,
            Some(old) => {
                self.order.remove(&(old, key));
            }
            None => {}
        }
        self.order.insert((at, key));
    }

    /// Sets the deadline of `key` unless an earlier one stands.
    pub(crate) fn set_earlier(&mut self, key: K, at: Instant) {
        if self.by_key.get(&key).is_none_or(|old| at < *old) {
            self.set(key, at);
        }
    }

    /// Clears the deadline of `key`.
    pub(crate) fn clear(&mut self, key: K) {
        if let Some(old) = self.by_key.remove(&key) {
            self.order.remove(&(old, key));
        }
    }

    /// The deadline of `key`.
    pub(crate) fn at(&self, key: K) -> Option<Instant> {
        self.by_key.get(&key).copied()
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<(Instant, K)> {
        self.order.first().copied()
    }

    /// Takes the next deadline that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.next()?;
        if at > now {
            return None;
        }
        self.clear(key);
        Some(key)
    }

    /// Number of deadlines.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_ties_fire_in_key_order() {
        let mut timers = Timers::new();
        timers.set(2, Instant::from_secs(1));
        timers.set(1, Instant::from_secs(1));
        timers.set(3, Instant::from_secs(9));
        timers.set(3, Instant::from_secs(2));
        timers.set_earlier(3, Instant::from_secs(5));
        assert_eq!(timers.len(), 3);
        assert_eq!(timers.pop_due(Instant::ZERO), None);
        assert_eq!(timers.pop_due(Instant::from_secs(3)), Some(1));
        timers.clear(2);
        assert_eq!(timers.pop_due(Instant::from_secs(3)), Some(3));
        assert_eq!(timers.next(), None);
    }
}
