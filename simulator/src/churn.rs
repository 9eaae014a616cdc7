//! Churn: how long nodes stay, and how long they stay away.
//!
//! All models are Weibull distributions, of which the exponential is the one with shape 1.
//!
//! | preset | session, minutes | absence, minutes | source |
//! |---|---|---|---|
//! | `exp:MEDIAN` | exponential | exponential of the same median | Rhea, Geels, Roscoe, Kubiatowicz: Handling Churn in a DHT, USENIX 2004, with medians of 1.4 to 174 min |
//! | `kad` | shape 0.615, scale 169.5 (median 93) | shape 0.476, scale 413.7 (median 192) | Steiner, En-Najjary, Biersack: Analyzing Peer Behavior in KAD, Eurecom RR-07-205 |
//! | `harsh` | shape 0.34, scale 21.3 (median 7.2) | as the session | Stutzbach, Rejaie: Understanding Churn in Peer-to-Peer Networks, IMC 2006 (`BitTorrent`); absence assumed |
//! | `browser` | shape 0.59, scale 41.9 (median 22.5) | as the session | assumed: tabs between those two |
//!
//! A population that is there when a run begins has been there for a while: what is left of its sessions follows the
//! length-biased residual distribution of a stationary renewal process, with density `S(x) / mean` (Cox: Renewal Theory,
//! 1962). With shapes below 1 that is much longer than a fresh session. For a Weibull distribution it is
//! `scale * G^(1/shape)` with `G` from a Gamma distribution of shape `1/shape`.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::rng::Rng;

/// A Weibull distribution of times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weibull {
    /// The shape, without unit: 1 is the exponential distribution, less has a longer tail.
    pub shape: f64,
    /// The scale, minutes.
    pub scale_min: f64,
}

impl Weibull {
    /// The exponential distribution with this median.
    #[must_use]
    pub fn exponential(median_min: f64) -> Self {
        Self { shape: 1.0, scale_min: median_min / core::f64::consts::LN_2 }
    }

    /// The median, minutes.
    #[must_use]
    pub fn median_min(&self) -> f64 {
        self.scale_min * libm::pow(core::f64::consts::LN_2, 1.0 / self.shape)
    }

    /// A fresh draw.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        minutes(self.scale_min * libm::pow(-libm::log(rng.unit()), 1.0 / self.shape))
    }

    /// What is left of a draw that was found under way.
    pub fn draw_residual(&self, rng: &mut Rng) -> Duration {
        minutes(self.scale_min * libm::pow(gamma(1.0 / self.shape, rng), 1.0 / self.shape))
    }
}

/// At most a century, so that sums of times cannot overflow.
fn minutes(minutes: f64) -> Duration {
    Duration::from_micros((minutes.min(5e7) * 60e6) as u64)
}

/// A draw from the Gamma distribution with this shape, at least 1, and scale 1 (Marsaglia, Tsang: A Simple Method for
/// Generating Gamma Variables, 2000).
fn gamma(shape: f64, rng: &mut Rng) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    loop {
        let normal = rng.normal();
        let root = 1.0 + c * normal;
        if root <= 0.0 {
            continue;
        }
        let cube = root * root * root;
        if libm::log(rng.unit()) < 0.5 * normal * normal + d - d * cube + d * libm::log(cube) {
            return d * cube;
        }
    }
}

/// A churn model by its name: `none`, `exp:MEDIAN_MINUTES`, `kad`, `harsh` or `browser`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ChurnModel {
    /// Nobody leaves.
    #[default]
    None,
    /// Exponential sessions and absences with this median, minutes.
    Exponential(f64),
    /// KAD users.
    Kad,
    /// `BitTorrent` users.
    Harsh,
    /// Browser tabs, an assumption.
    Browser,
}

impl ChurnModel {
    /// Shortest and longest median, minutes.
    pub const MEDIAN_MIN: core::ops::RangeInclusive<f64> = 0.1..=1e5;

    /// How long a node stays; `None` if for ever.
    #[must_use]
    pub fn session(&self) -> Option<Weibull> {
        match *self {
            Self::None => None,
            Self::Exponential(median) => Some(Weibull::exponential(median)),
            Self::Kad => Some(Weibull { shape: 0.615, scale_min: 169.5 }),
            Self::Harsh => Some(Weibull { shape: 0.34, scale_min: 21.3 }),
            Self::Browser => Some(Weibull { shape: 0.59, scale_min: 41.9 }),
        }
    }

    /// How long it stays away.
    #[must_use]
    pub fn absence(&self) -> Option<Weibull> {
        match self {
            Self::Kad => Some(Weibull { shape: 0.476, scale_min: 413.7 }),
            Self::None | Self::Exponential(_) | Self::Harsh | Self::Browser => self.session(),
        }
    }
}

/// A text that names no churn model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChurnModelError(String);

impl fmt::Display for ChurnModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (ChurnModel::MEDIAN_MIN.start(), ChurnModel::MEDIAN_MIN.end());
        write!(
            f,
            "`{}` is none of none, exp:MEDIAN_MINUTES (of {from} to {to}), kad, harsh and browser",
            self.0
        )
    }
}

impl std::error::Error for ChurnModelError {}

impl FromStr for ChurnModel {
    type Err = ChurnModelError;

    fn from_str(text: &str) -> Result<Self, ChurnModelError> {
        let error = || ChurnModelError(text.to_owned());
        match text {
            "none" => Ok(Self::None),
            "kad" => Ok(Self::Kad),
            "harsh" => Ok(Self::Harsh),
            "browser" => Ok(Self::Browser),
            _ => {
                let median: f64 =
                    text.strip_prefix("exp:").and_then(|median| median.parse().ok()).ok_or_else(error)?;
                Self::MEDIAN_MIN.contains(&median).then_some(Self::Exponential(median)).ok_or_else(error)
            }
        }
    }
}

impl fmt::Display for ChurnModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Exponential(median) => write!(f, "exp:{median}"),
            Self::Kad => f.write_str("kad"),
            Self::Harsh => f.write_str("harsh"),
            Self::Browser => f.write_str("browser"),
        }
    }
}

impl<'de> Deserialize<'de> for ChurnModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantile of 20,000 draws, minutes.
    fn quantile(of: f64, mut draw: impl FnMut(&mut Rng) -> Duration) -> f64 {
        let mut rng = Rng::new(11, "churn");
        let mut draws: Vec<f64> = (0..20_000).map(|_| draw(&mut rng).as_secs_f64() / 60.0).collect();
        draws.sort_unstable_by(f64::total_cmp);
        draws[(draws.len() as f64 * of) as usize]
    }

    #[test]
    fn medians_are_those_of_the_sources() {
        let table = [
            (ChurnModel::Kad.session(), 93.0),
            (ChurnModel::Kad.absence(), 192.0),
            (ChurnModel::Harsh.session(), 7.2),
            (ChurnModel::Browser.session(), 22.5),
            (ChurnModel::Exponential(10.0).session(), 10.0),
        ];
        for (distribution, median) in table {
            let distribution = distribution.expect("it churns");
            assert!((distribution.median_min() / median - 1.0).abs() < 0.02, "{distribution:?}");
            let drawn = quantile(0.5, |rng| distribution.draw(rng));
            assert!((drawn / median - 1.0).abs() < 0.06, "{distribution:?}: {drawn}");
        }
    }

    #[test]
    fn residuals_follow_the_stationary_law() {
        // Exponential: memoryless.
        let exponential = Weibull::exponential(10.0);
        let drawn = quantile(0.5, |rng| exponential.draw_residual(rng));
        assert!((drawn / 10.0 - 1.0).abs() < 0.05, "{drawn}");
        // Shape 1/2: the residual's survival is (1 + r) exp(-r) with r = sqrt(x / scale); its median is at r = 1.6783.
        let half = Weibull { shape: 0.5, scale_min: 7.0 };
        let drawn = quantile(0.5, |rng| half.draw_residual(rng));
        assert!((drawn / (7.0 * 1.6783 * 1.6783) - 1.0).abs() < 0.05, "{drawn}");
    }

    #[test]
    fn names_read_and_print() {
        for text in ["none", "kad", "harsh", "browser", "exp:10", "exp:1.4"] {
            assert_eq!(text.parse::<ChurnModel>().map(|model| model.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "exp", "exp:", "exp:0", "exp:-1", "exp:nan", "exp:1e9", "KAD"] {
            let error = text.parse::<ChurnModel>().expect_err("it names no model");
            assert!(error.to_string().starts_with(&format!("`{text}`")), "{error}");
        }
    }
}
