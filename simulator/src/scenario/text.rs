//! Times, latency models and ranges as they stand in scenario files and flags.

use core::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::network::Latency;

/// Reads a time such as `250ms`, `90s`, `3m` or `1h`; a bare number is seconds.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 =
        digits.parse().map_err(|_| format!("expected a time such as 250ms, 90s, 3m or 1h, not `{text}`"))?;
    let ms_per_unit = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("the unit of `{text}` is none of ms, s, m and h")),
    };
    number
        .checked_mul(ms_per_unit)
        .filter(|ms| *ms <= 366 * 24 * 3_600_000)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is more than a year"))
}

/// A time as [`parse_duration`] reads it, in the largest unit that gives a whole number.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms > 0 && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    if ms == 0 { "0s".to_owned() } else { format!("{ms}ms") }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

pub(super) fn duration_option<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// A span of time as two times.
pub(super) fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(Duration, Duration), D::Error> {
    let (from, until): (String, String) = Deserialize::deserialize(deserializer)?;
    let read = |text: &str| parse_duration(text).map_err(D::Error::custom);
    let (from, until) = (read(&from)?, read(&until)?);
    if from > until {
        return Err(D::Error::custom("the first time is later than the second"));
    }
    Ok((from, until))
}

/// Reads `coordinates:MEDIAN`, `lognormal:MEDIAN:SIGMA`, `fixed:DELAY` or `matrix:FILE`.
///
/// # Errors
/// A sentence that says what is wrong with it, or why the file cannot be used.
pub fn parse_latency(text: &str) -> Result<Latency, String> {
    let (model, rest) = text.split_once(':').unwrap_or((text, ""));
    let delay = |text: &str| {
        let delay = parse_duration(text)?;
        let range = Duration::from_millis(1)..=Duration::from_secs(10);
        range.contains(&delay).then_some(delay).ok_or_else(|| format!("`{text}` is not in 1ms..=10s"))
    };
    match model {
        "coordinates" => Ok(Latency::Coordinates { median: delay(rest)? }),
        "fixed" => Ok(Latency::Fixed(delay(rest)?)),
        "lognormal" => {
            let (median, sigma) = rest
                .split_once(':')
                .ok_or_else(|| format!("expected lognormal:MEDIAN:SIGMA, not `{text}`"))?;
            let sigma: f64 = sigma.parse().map_err(|_| format!("`{sigma}` is no number"))?;
            if !(0.0..=3.0).contains(&sigma) {
                return Err(format!("sigma {sigma} is not in 0..=3"));
            }
            Ok(Latency::LogNormal { median: delay(median)?, sigma })
        }
        "matrix" => {
            let content = std::fs::read_to_string(rest).map_err(|error| format!("{rest}: {error}"))?;
            Latency::parse_matrix(&content).map_err(|error| format!("{rest}: {error}"))
        }
        _ => Err(format!(
            "`{text}` is none of coordinates:MEDIAN, lognormal:MEDIAN:SIGMA, fixed:DELAY and matrix:FILE"
        )),
    }
}

pub(super) fn latency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Latency, D::Error> {
    parse_latency(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let table = [("180", 180_000), ("250ms", 250), ("3m", 180_000), ("1h", 3_600_000), ("0s", 0)];
        for (text, ms) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-3s", "3 m", "3d", "1.5s", "99999999999999999999s", "9999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["90s", "3m", "1h", "250ms", "0s", "1500ms"] {
            assert_eq!(parse_duration(text).map(duration_text), Ok(text.to_owned()));
        }
    }

    #[test]
    fn latency_models_are_read() {
        let ms = Duration::from_millis;
        assert_eq!(parse_latency("fixed:20ms"), Ok(Latency::Fixed(ms(20))));
        assert_eq!(parse_latency("coordinates:40ms"), Ok(Latency::Coordinates { median: ms(40) }));
        let lognormal = Latency::LogNormal { median: ms(40), sigma: 0.5 };
        assert_eq!(parse_latency("lognormal:40ms:0.5"), Ok(lognormal));
        for text in ["", "fixed", "fixed:0ms", "lognormal:40ms", "lognormal:40ms:x", "lognormal:40ms:9"] {
            assert!(parse_latency(text).is_err(), "{text}");
        }
        let error = parse_latency("matrix:/nowhere/at/all").expect_err("there is no such file");
        assert!(error.starts_with("/nowhere/at/all: "), "{error}");
    }
}
