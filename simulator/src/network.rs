//! The network between nodes: latency, bandwidth, partitions.
//!
//! Latency is fixed per pair of nodes, symmetric, and a pure function of (seed, pair), so it needs no memory. There is no
//! loss: carriers are TCP connections, which turn loss into delay. Floating point goes through `libm`, so that debug and
//! release builds and all platforms agree.

use core::time::Duration;

use crate::rng::{mix, unit_above_zero};

/// What the network between nodes does.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// One-way delay between two nodes.
    pub latency: Latency,
    /// How long a dial to a host that does not answer takes to fail.
    pub dial_timeout: Duration,
    /// Bytes of frames that a carrier takes in one direction before the other end has them: the credit granted at the
    /// start. At least four frames.
    pub socket_buffer_bytes: usize,
    /// Bytes per second of one direction of one carrier; no limit if `None`.
    pub bandwidth: Option<u64>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            latency: Latency::LogNormal { median: Duration::from_millis(40), sigma: 0.5 },
            dial_timeout: Duration::from_secs(3),
            socket_buffer_bytes: 256 * 1024,
            bandwidth: None,
        }
    }
}

/// One-way delay between two nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// The same between all.
    Fixed(Duration),
    /// Lognormal over pairs: `median * exp(sigma * z)` with a standard normal `z` per pair, cut off at 1 ms and 2 s.
    LogNormal {
        /// The median.
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

impl Latency {
    /// The one-way delay between `a` and `b`, the same in both directions.
    #[must_use]
    pub fn one_way(&self, seed: u64, a: u32, b: u32) -> Duration {
        match *self {
            Self::Fixed(delay) => delay,
            Self::LogNormal { median, sigma } => {
                let pair = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
                let hash = mix(mix(seed ^ 0x6c61_7465_6e63_7921).wrapping_add(mix(pair)));
                // Box and Muller (1958), by two independent uniforms.
                let radius = libm::sqrt(-2.0 * libm::log(unit_above_zero(hash)));
                let angle = core::f64::consts::TAU * unit_above_zero(mix(hash ^ 0x9e37_79b9_7f4a_7c15));
                let normal = radius * libm::cos(angle);
                let micros = median.as_micros() as f64 * libm::exp(sigma * normal);
                Duration::from_micros(micros.clamp(1e3, 2e6) as u64)
            }
        }
    }
}

/// A partition in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut(u32);

/// All partitions in force, at most [`Cuts::MAX`], as one bit each in two masks per node: a check costs two loads.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    /// Per node: the cuts on whose first and second side it is.
    sides: Vec<[u64; 2]>,
    used: u64,
    /// Cuts that block the way back, too.
    symmetric: u64,
}

impl Cuts {
    /// Most partitions at a time.
    pub const MAX: u32 = u64::BITS;

    /// Blocks everything from a node of `first` to one of `second`, and the way back too if `symmetric`. `None` if
    /// [`MAX`](Self::MAX) cuts are in force.
    pub fn add(&mut self, first: &[u32], second: &[u32], symmetric: bool) -> Option<Cut> {
        let cut = self.used.trailing_ones();
        if cut == Self::MAX {
            return None;
        }
        let bit = 1 << cut;
        self.used |= bit;
        if symmetric {
            self.symmetric |= bit;
        }
        for (side, nodes) in [first, second].into_iter().enumerate() {
            for &node in nodes {
                let node = node as usize;
                if self.sides.len() <= node {
                    self.sides.resize(node + 1, [0; 2]);
                }
                self.sides[node][side] |= bit;
            }
        }
        Some(Cut(cut))
    }

    /// Ends a partition.
    pub fn remove(&mut self, cut: Cut) {
        let keep = !(1_u64 << cut.0);
        self.used &= keep;
        self.symmetric &= keep;
        for sides in &mut self.sides {
            sides[0] &= keep;
            sides[1] &= keep;
        }
    }

    /// Whether what `from` sends cannot reach `to`.
    #[must_use]
    pub fn blocked(&self, from: u32, to: u32) -> bool {
        if self.used == 0 {
            return false;
        }
        let of = |node: u32| self.sides.get(node as usize).copied().unwrap_or_default();
        let (from, to) = (of(from), of(to));
        (from[0] & to[1]) | (from[1] & to[0] & self.symmetric) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lognormal() -> Latency {
        NetworkConfig::default().latency
    }

    #[test]
    fn latency_is_symmetric_and_depends_on_seed_and_pair() {
        let latency = lognormal();
        assert_eq!(latency.one_way(7, 1, 2), latency.one_way(7, 2, 1));
        assert_ne!(latency.one_way(7, 1, 2), latency.one_way(7, 1, 3));
        assert_ne!(latency.one_way(7, 1, 2), latency.one_way(8, 1, 2));
        // A golden value: it must be the same on every platform and in every build.
        assert_eq!(latency.one_way(7, 1, 2), Duration::from_micros(GOLDEN_MICROS));
    }

    const GOLDEN_MICROS: u64 = 44_748;

    #[test]
    fn latency_has_the_quantiles_of_its_distribution() {
        let mut micros: Vec<u128> =
            (0..20_000).map(|other| lognormal().one_way(3, u32::MAX, other).as_micros()).collect();
        micros.sort_unstable();
        let ms = |quantile: usize| micros[micros.len() * quantile / 100] / 1000;
        // 40 ms * exp(0.5 z) with z = -1.2816, 0, 1.2816: 21.1, 40, 75.9 ms.
        assert!((20..=22).contains(&ms(10)), "{}", ms(10));
        assert!((39..=41).contains(&ms(50)), "{}", ms(50));
        assert!((73..=79).contains(&ms(90)), "{}", ms(90));
    }

    #[test]
    fn cuts_block_what_crosses_them_and_nothing_else() {
        let mut cuts = Cuts::default();
        assert!(!cuts.blocked(0, 1));
        let both = cuts.add(&[0, 1], &[2, 3], true).expect("room for a cut");
        let one_way = cuts.add(&[0], &[1], false).expect("room for a cut");
        let table = [
            (0, 2, true),
            (2, 0, true),
            (3, 1, true),
            (2, 3, false),
            (0, 1, true),
            (1, 0, false),
            (0, 9, false),
        ];
        for (from, to, blocked) in table {
            assert_eq!(cuts.blocked(from, to), blocked, "{from} to {to}");
        }
        cuts.remove(both);
        assert!(!cuts.blocked(0, 2) && cuts.blocked(0, 1));
        cuts.remove(one_way);
        assert!(!cuts.blocked(0, 1));
    }

    #[test]
    fn there_are_no_more_cuts_than_bits() {
        let mut cuts = Cuts::default();
        let all: Vec<Cut> = (0..Cuts::MAX).filter_map(|_| cuts.add(&[0], &[1], true)).collect();
        assert_eq!(all.len(), 64);
        assert_eq!(cuts.add(&[0], &[1], true), None);
        cuts.remove(all[5]);
        assert_eq!(cuts.add(&[0], &[1], true), Some(all[5]));
    }
}
