//! Deterministic randomness of a simulation: one generator per concern, all from one seed.
//!
//! The nodes' own randomness is not drawn here: each node's run gets a 32-byte seed by hashing.

use core::time::Duration;

use unamed_protocol::crypto::sha256;

/// The finaliser of `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
#[must_use]
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A uniform number in (0, 1] from 53 random bits: never 0, so that its logarithm exists.
#[must_use]
pub(crate) fn unit_above_zero(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// 32 bytes that depend on the simulation's seed, a concern and two numbers.
#[must_use]
pub fn seed_bytes(seed: u64, concern: &str, a: u64, b: u64) -> [u8; 32] {
    sha256(&[&seed.to_le_bytes(), concern.as_bytes(), &a.to_le_bytes(), &b.to_le_bytes()])
}

/// `SplitMix64`: small, quick, and good enough to draw workloads with.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The generator of one concern. Draws of one concern never shift those of another.
    #[must_use]
    pub fn new(seed: u64, concern: &str) -> Self {
        Self::at(seed, concern, 0)
    }

    /// The generator of one concern of one thing.
    #[must_use]
    pub fn at(seed: u64, concern: &str, index: u64) -> Self {
        let bytes = seed_bytes(seed, concern, index, 0);
        let mut state = [0; 8];
        state.copy_from_slice(&bytes[..8]);
        Self { state: u64::from_le_bytes(state) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `bound`; 0 if `bound` is 0. By multiplication, with a bias below 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// An index below `bound`; 0 if `bound` is 0.
    pub fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    /// A number in (0, 1].
    pub fn unit(&mut self) -> f64 {
        unit_above_zero(self.bits())
    }

    /// A draw from the standard normal distribution (Box, Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        radius * libm::cos(core::f64::consts::TAU * self.unit())
    }

    /// A draw from the exponential distribution with this mean; nothing is drawn for a mean of 0.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        if mean.is_zero() {
            return Duration::ZERO;
        }
        Duration::from_micros((-libm::log(self.unit()) * mean.as_micros() as f64) as u64)
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() <= probability
    }

    /// A random element.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let index = self.index(items.len());
        items.get(index)
    }

    /// An index, with the probability of its share in `cumulative` (running sums of weights).
    pub fn weighted(&mut self, cumulative: &[f64]) -> usize {
        let total = cumulative.last().copied().unwrap_or(0.0);
        let at = self.unit() * total;
        cumulative.partition_point(|&sum| sum < at).min(cumulative.len().saturating_sub(1))
    }
}

/// Running sums of 1 / 1, 1 / 2, … 1 / n: Zipf's law with exponent 1.
#[must_use]
pub fn zipf(n: usize) -> Vec<f64> {
    let mut sum = 0.0;
    (1..=n)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns_are_independent_and_repeatable() {
        let draw = |seed, concern| {
            let mut rng = Rng::new(seed, concern);
            [rng.bits(), rng.bits()]
        };
        assert_eq!(draw(7, "a"), draw(7, "a"));
        assert_ne!(draw(7, "a"), draw(7, "b"));
        assert_ne!(draw(7, "a"), draw(8, "a"));
    }

    #[test]
    fn zipf_draws_follow_the_weights() {
        let sums = zipf(4);
        let mut rng = Rng::new(1, "zipf");
        let mut counts = [0_u32; 4];
        for _ in 0..25_000 {
            counts[rng.weighted(&sums)] += 1;
        }
        // Shares 12 : 6 : 4 : 3 of 25.
        for (count, share) in counts.iter().zip([12, 6, 4, 3]) {
            assert!(count.abs_diff(share * 1000) < 400, "{counts:?}");
        }
    }

    #[test]
    fn bounds_hold() {
        let mut rng = Rng::new(2, "bounds");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.pick::<u8>(&[]), None);
        for _ in 0..1000 {
            assert!(rng.below(3) < 3);
            let unit = rng.unit();
            assert!(unit > 0.0 && unit <= 1.0);
        }
    }
}
