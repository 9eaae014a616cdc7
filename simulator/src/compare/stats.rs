//! The tests behind a comparison.

/// The quantile of the standard normal distribution, by Acklam's rational approximation (relative error below 1.2e-9).
/// Infinite outside of (0, 1).
pub(crate) fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    const LOW: f64 = 0.02425;
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    if p > 1.0 - LOW {
        return -normal_quantile(1.0 - p);
    }
    let horner = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, &c| sum * x + c);
    if p < LOW {
        let q = libm::sqrt(-2.0 * libm::log(p));
        return horner(&C, q) / horner(&D, q);
    }
    let q = p - 0.5;
    let r = q * q;
    q * horner(&A, r) / horner(&B, r)
}

/// Successes of trials, over one or more runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Proportion {
    /// Successes and trials of each run.
    pub(crate) runs: Vec<(f64, f64)>,
}

impl Proportion {
    /// The rate over all runs; `None` without a trial.
    pub(crate) fn rate(&self) -> Option<f64> {
        let (successes, trials) = self.sums();
        (trials > 0.0).then(|| successes / trials)
    }

    fn sums(&self) -> (f64, f64) {
        self.runs.iter().fold((0.0, 0.0), |sum, run| (sum.0 + run.0, sum.1 + run.1))
    }

    /// Trials, reduced by how much more the runs' rates differ than independent trials would let them: the design effect
    /// of Rao and Scott (A Simple Method for the Analysis of Clustered Binary Data, Biometrics 48, 1992). One run says
    /// nothing of it.
    pub(crate) fn effective_trials(&self) -> f64 {
        let (successes, trials) = self.sums();
        let (runs, rate) = (self.runs.len() as f64, successes / trials);
        let binomial = rate * (1.0 - rate) / trials;
        if self.runs.len() < 2 || binomial <= 0.0 {
            return trials;
        }
        let squares: f64 = self.runs.iter().map(|run| libm::pow(run.0 - run.1 * rate, 2.0)).sum();
        let between = runs / (runs - 1.0) * squares / (trials * trials);
        trials / (between / binomial).max(1.0)
    }

    /// Wilson's interval (Probable Inference, the Law of Succession, and Statistical Inference, JASA 22, 1927) at this
    /// quantile of the normal distribution; unlike the usual one it is sound at rates near 0 and 1.
    pub(crate) fn wilson(&self, z: f64) -> Option<(f64, f64)> {
        let rate = self.rate()?;
        let trials = self.effective_trials();
        let z2 = z * z;
        let middle = (rate + z2 / (2.0 * trials)) / (1.0 + z2 / trials);
        let half =
            z / (1.0 + z2 / trials) * libm::sqrt(rate * (1.0 - rate) / trials + z2 / (4.0 * trials * trials));
        // At the ends rounding may miss the rate itself by the last bit.
        Some(((middle - half).clamp(0.0, rate), (middle + half).clamp(rate, 1.0)))
    }
}

/// Whether two rates differ at this quantile of the normal distribution: whether Newcombe's interval for their difference
/// leaves out 0 (Interval Estimation for the Difference Between Independent Proportions, Statistics in Medicine 17, 1998,
/// method 10), which is made of the two Wilson intervals.
pub(crate) fn rates_differ(a: &Proportion, b: &Proportion, z: f64) -> Option<bool> {
    let (rate_a, rate_b) = (a.rate()?, b.rate()?);
    let ((low_a, high_a), (low_b, high_b)) = (a.wilson(z)?, b.wilson(z)?);
    let difference = rate_b - rate_a;
    let below = libm::hypot(rate_b - low_b, high_a - rate_a);
    let above = libm::hypot(high_b - rate_b, rate_a - low_a);
    Some(difference - below > 0.0 || difference + above < 0.0)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The variance of the mean, from the sample's.
fn variance_of_mean(values: &[f64]) -> f64 {
    let (mean, n) = (mean(values), values.len() as f64);
    values.iter().map(|value| libm::pow(value - mean, 2.0)).sum::<f64>() / (n - 1.0) / n
}

/// The two-sided p-value of Welch's t-test, which does not take the two variances for equal (The Generalization of
/// "Student's" Problem, Biometrika 34, 1947). `None` with fewer than two values on a side; without any variance 1 or 0.
pub(crate) fn welch(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let (variance_a, variance_b) = (variance_of_mean(a), variance_of_mean(b));
    let (difference, variance) = (mean(b) - mean(a), variance_a + variance_b);
    if variance <= 0.0 {
        return Some(if difference == 0.0 { 1.0 } else { 0.0 });
    }
    let t2 = difference * difference / variance;
    let share = |part: f64, n: usize| part * part / (n as f64 - 1.0);
    let freedom = variance * variance / (share(variance_a, a.len()) + share(variance_b, b.len()));
    // P(|T| > t) is the regularised incomplete beta function at ν / (ν + t²), with ν / 2 and 1 / 2.
    Some(incomplete_beta(freedom / (freedom + t2), freedom / 2.0, 0.5))
}

/// The regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes, third edition, 6.4).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = libm::exp(
        libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x),
    );
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let guard = |value: f64| if libm::fabs(value) < 1e-300 { 1e-300 } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut sum = d;
    for step in 1..500 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        sum *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let change = d * c;
        sum *= change;
        if libm::fabs(change - 1.0) < 1e-14 {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, within: f64) -> bool {
        (a - b).abs() < within
    }

    fn of(successes: f64, trials: f64) -> Proportion {
        Proportion { runs: vec![(successes, trials)] }
    }

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (p, z) in [
            (0.5, 0.0),
            (0.975, 1.959_963_985),
            (0.025, -1.959_963_985),
            (0.9995, 3.290_526_731),
            (1e-6, -4.753_424_309),
        ] {
            assert!(near(normal_quantile(p), z, 1e-7), "{p}: {}", normal_quantile(p));
        }
        assert_eq!((normal_quantile(0.0), normal_quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
    }

    #[test]
    fn the_published_examples_of_wilson_and_newcombe() {
        // Newcombe 1998: the Wilson intervals of 81 of 263, 15 of 148, 0 of 20 and 1 of 29; then (a) 56 of 70 against 48
        // of 80, whose difference is 0.0524 to 0.3339.
        for (successes, trials, low, high) in [
            (81.0, 263.0, 0.2553, 0.3662),
            (15.0, 148.0, 0.0624, 0.1605),
            (0.0, 20.0, 0.0, 0.1611),
            (1.0, 29.0, 0.0061, 0.1718),
        ] {
            let (from, to) = of(successes, trials).wilson(1.959_964).expect("there are trials");
            assert!(near(from, low, 6e-5) && near(to, high, 6e-5), "{successes}/{trials}: {from} {to}");
        }
        assert_eq!(rates_differ(&of(48.0, 80.0), &of(56.0, 70.0), 1.959_964), Some(true));
        // (c) 9 of 10 against 3 of 10 differs, (e) 5 of 56 against 0 of 29 does not.
        assert_eq!(rates_differ(&of(3.0, 10.0), &of(9.0, 10.0), 1.959_964), Some(true));
        assert_eq!(rates_differ(&of(0.0, 29.0), &of(5.0, 56.0), 1.959_964), Some(false));
        assert_eq!(rates_differ(&of(0.0, 0.0), &of(5.0, 56.0), 1.959_964), None);
        assert_eq!(rates_differ(&of(7.0, 7.0), &of(9.0, 9.0), 1.959_964), Some(false));
    }

    #[test]
    fn runs_that_differ_among_themselves_count_for_less() {
        let even = Proportion { runs: vec![(90.0, 100.0); 4] };
        assert!(near(even.effective_trials(), 400.0, 1e-9));
        let uneven = Proportion { runs: vec![(100.0, 100.0), (60.0, 100.0), (100.0, 100.0), (100.0, 100.0)] };
        // Between-run variance 4/3 · 1200 / 400² over 0.9 · 0.1 / 400.
        assert!(near(uneven.effective_trials(), 400.0 / (0.01 / 0.000_225), 1e-9));
        assert_eq!(uneven.rate(), even.rate());
    }

    #[test]
    fn welch_as_in_the_tables() {
        // t quantiles: with 10 degrees of freedom P(|T| > 2.228139) is 0.05; equal variances of six values each give them.
        let spread = [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0];
        let shift = 2.228_138_852 * libm::sqrt(2.0 * variance_of_mean(&spread));
        let moved: Vec<f64> = spread.iter().map(|value| value + shift).collect();
        let p = welch(&spread, &moved).expect("there are enough");
        assert!(near(p, 0.05, 1e-8), "{p}");
        assert_eq!(welch(&spread, &spread), Some(1.0));
        assert_eq!(welch(&[1.0], &spread), None);
        assert_eq!(
            (welch(&[2.0, 2.0], &[2.0, 2.0]), welch(&[2.0, 2.0], &[3.0, 3.0])),
            (Some(1.0), Some(0.0))
        );
        assert!(welch(&[1.0, 1.1, 0.9], &[5.0, 5.2, 4.8]).expect("enough") < 0.001);
    }
}
