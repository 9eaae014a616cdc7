//! Whether a series of samples grows.
//!
//! Samples of one process follow each other closely, so a test that takes them for independent sees trends everywhere. So
//! the series is cut into [`BLOCKS`] of equal length, and each is represented by its median. A series *grows* if both hold:
//!
//! - the Mann–Kendall test (Mann, Econometrica 13, 1945) rejects "no trend" against "upward": its statistic S, the number of
//!   rising pairs of blocks less that of falling ones, is at least [`S_MIN`], which twelve independent blocks without a trend
//!   reach with a probability of less than 0.1 %;
//! - the growth over the whole series by the slope of Theil and Sen (Sen, JASA 63, 1968), the median of the slopes between
//!   all pairs of blocks, is more than the tolerance. An allocator that settles grows by a little, and ever less.

/// Parts that a series is cut into.
pub(crate) const BLOCKS: usize = 12;
/// Critical value of S for twelve blocks, one-sided, at 0.1 %.
const S_MIN: i64 = 44;

/// What became of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// Median of the first block.
    pub(crate) first: f64,
    /// Median of the last block.
    pub(crate) last: f64,
    /// Mann–Kendall's S.
    pub(crate) s: i64,
    /// Growth over the series by the slope of Theil and Sen.
    pub(crate) growth: f64,
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

impl Trend {
    /// Of samples taken at equal distances.
    ///
    /// # Panics
    /// If there are fewer samples than blocks.
    pub(crate) fn of(samples: &[f64]) -> Self {
        assert!(samples.len() >= BLOCKS, "{} samples for {BLOCKS} blocks", samples.len());
        let edge = |block: usize| block * samples.len() / BLOCKS;
        let blocks: Vec<f64> =
            (0..BLOCKS).map(|block| median(&mut samples[edge(block)..edge(block + 1)].to_vec())).collect();
        let pairs = (0..BLOCKS).flat_map(|late| (0..late).map(move |early| (early, late)));
        let (mut s, mut slopes) = (0, Vec::new());
        for (early, late) in pairs {
            let rise = blocks[late] - blocks[early];
            s += i64::from(rise > 0.0) - i64::from(rise < 0.0);
            slopes.push(rise / (late - early) as f64);
        }
        let growth = median(&mut slopes) * (BLOCKS - 1) as f64;
        Self { first: blocks[0], last: blocks[BLOCKS - 1], s, growth }
    }

    /// Whether it grows by more than `tolerance`.
    pub(crate) fn grows(&self, tolerance: f64) -> bool {
        self.s >= S_MIN && self.growth > tolerance
    }
}

/// A series of 240 samples with some noise.
fn series(value: impl Fn(f64) -> f64) -> Vec<f64> {
    let noise = |at: u32| f64::from(at.wrapping_mul(2_654_435_761) >> 24) / 256.0 - 0.5;
    (0..240_u32).map(|at| value(f64::from(at)) + 4.0 * noise(at)).collect()
}

#[test]
fn a_leak_is_seen_through_noise_and_churn() {
    let leak = Trend::of(&series(|at| 1000.0 + at / 4.0 + 5.0 * (at / 7.0).sin()));
    assert!(leak.grows(20.0), "{leak:?}");
    assert!((50.0..70.0).contains(&leak.growth), "{leak:?}");
    assert!(!leak.grows(80.0), "what is tolerated is no failure: {leak:?}");
}

#[test]
fn noise_waves_peaks_and_a_fall_are_no_growth() {
    let flat = series(|_| 1000.0);
    let wave = series(|at| 1000.0 + 50.0 * (at / 9.0).sin());
    let peak = series(|at| if (100.0..110.0).contains(&at) { 5000.0 } else { 1000.0 });
    let fall = series(|at| 1000.0 - at);
    for samples in [flat, wave, peak, fall] {
        let trend = Trend::of(&samples);
        assert!(!trend.grows(0.0) || trend.growth < 4.0, "{trend:?}");
        assert!(!trend.grows(4.0), "{trend:?}");
    }
}

#[test]
fn a_process_that_has_settled_early_is_no_leak() {
    let settled = Trend::of(&series(|at| 1000.0 + at.min(40.0)));
    assert!(!settled.grows(20.0), "{settled:?}");
}

#[test]
fn twelve_blocks_without_a_trend_seldom_reach_the_critical_value() {
    // Permutations of twelve by their inversions: S is 66 less twice their number.
    let mut permutations = vec![1_u64];
    for size in 2..=BLOCKS {
        let mut longer = vec![0; permutations.len() + size - 1];
        for (inversions, count) in permutations.iter().enumerate() {
            (0..size).for_each(|more| longer[inversions + more] += count);
        }
        permutations = longer;
    }
    let all: u64 = permutations.iter().sum();
    let reaching = |critical: i64| -> u64 {
        let s = |inversions: usize| 66 - 2 * i64::try_from(inversions).expect("a small number");
        permutations.iter().enumerate().filter(|(at, _)| s(*at) >= critical).map(|(_, count)| count).sum()
    };
    assert!(reaching(S_MIN) * 1000 < all, "{} of {all}", reaching(S_MIN));
    assert!(reaching(S_MIN - 2) * 1000 >= all, "no more than needed");
}
