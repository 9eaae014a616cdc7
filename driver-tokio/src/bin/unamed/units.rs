//! Values with units, as flags, variables and the configuration file have them: `64MiB`, `90s`, `10/s burst 20`.

use std::ops::RangeInclusive;
use std::time::Duration;

use unamed_tokio::Rate;

const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
pub(crate) const GIB: u64 = 1024 * MIB;

/// Units of sizes, smallest first.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", KIB), ("MiB", MIB), ("GiB", GIB)];
/// Units of time in milliseconds, smallest first.
const TIMES: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// What makes a value of a text, or says why it is none.
pub(crate) trait Parse<T>: Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {}

impl<T, F: Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static> Parse<T> for F {}

/// Bytes within a range: `64MiB`.
pub(crate) fn size(range: RangeInclusive<u64>) -> impl Parse<usize> {
    move |text| {
        let bytes = quantity(text, "size", &SIZES)?;
        let bytes = within(bytes, &range, |bytes| written(*bytes, &SIZES))?;
        usize::try_from(bytes).map_err(|_| "more than this machine can address".to_owned())
    }
}

/// A time within a range: `90s`.
pub(crate) fn time(range: RangeInclusive<Duration>) -> impl Parse<Duration> {
    move |text| {
        let time = Duration::from_millis(quantity(text, "time", &TIMES)?);
        within(time, &range, |time| written(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), &TIMES))
    }
}

/// Events a second, and how many at once, each within a range: `10/s burst 20`.
pub(crate) fn rate(range: RangeInclusive<u32>) -> impl Parse<Rate> {
    move |text| {
        let (events, burst) = halves(text, "10/s burst 20")?;
        let number = |text: &str| {
            let number = text.parse().map_err(|_| format!("{text:?} is no whole number"))?;
            within(number, &range, u32::to_string)
        };
        Ok(Rate::per_second(number(events)?, number(burst)?))
    }
}

/// Bytes a second, and how many at once, each up to a bound: `8MiB/s burst 8MiB`.
pub(crate) fn size_rate(max: u32) -> impl Parse<Rate> {
    move |text| {
        let (bytes, burst) = halves(text, "8MiB/s burst 8MiB")?;
        let size = |text: &str| {
            let bytes = quantity(text, "size", &SIZES)?;
            let bytes = within(bytes, &(0..=u64::from(max)), |bytes| written(*bytes, &SIZES))?;
            u32::try_from(bytes).map_err(|error| error.to_string())
        };
        Ok(Rate::per_second(size(bytes)?, size(burst)?))
    }
}

/// What stands before `/s burst` and after it.
fn halves<'a>(text: &'a str, like: &str) -> Result<(&'a str, &'a str), String> {
    let halves = text
        .split_once("/s")
        .and_then(|(events, rest)| Some((events, rest.trim_start().strip_prefix("burst")?)));
    let (events, burst) = halves.ok_or_else(|| format!("a rate is expected, like {like:?}"))?;
    Ok((events.trim(), burst.trim()))
}

/// A whole number with one of these units, in the smallest of them.
fn quantity(text: &str, what: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let all = || units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (number, unit) = (number.parse::<u64>(), unit.trim_start());
    let number = number.map_err(|_| format!("a {what} is expected: a whole number with one of {}", all()))?;
    if unit.is_empty() {
        return Err(format!("the unit is missing: one of {}", all()));
    }
    let (_, factor) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("{unit:?} is no unit of {what}: one of {}", all()))?;
    number.checked_mul(*factor).ok_or_else(|| format!("the {what} is too large"))
}

fn within<T: PartialOrd>(
    value: T,
    range: &RangeInclusive<T>,
    written: impl Fn(&T) -> String,
) -> Result<T, String> {
    if range.contains(&value) {
        Ok(value)
    } else {
        let (first, last) = (written(range.start()), written(range.end()));
        Err(format!("{} is not in {first} to {last}", written(&value)))
    }
}

/// A quantity in the largest unit that leaves it whole.
fn written(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| value.is_multiple_of(*factor) && (value > 0 || *factor == 1);
    match units.iter().rev().find(fits) {
        Some((name, factor)) => format!("{}{name}", value.checked_div(*factor).unwrap_or_default()),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units_and_ranges() {
        let parse = size(KIB..=GIB);
        assert_eq!(parse("64MiB"), Ok(64 << 20));
        assert_eq!(parse(" 64 MiB "), Ok(64 << 20));
        assert_eq!(parse("1024B"), Ok(1024));
        for (text, expected) in [
            ("64", "the unit is missing: one of B, KiB, MiB, GiB"),
            ("64MB", "\"MB\" is no unit of size: one of B, KiB, MiB, GiB"),
            ("64s", "\"s\" is no unit of size: one of B, KiB, MiB, GiB"),
            ("-1MiB", "a size is expected: a whole number with one of B, KiB, MiB, GiB"),
            ("1.5MiB", "\".5MiB\" is no unit of size: one of B, KiB, MiB, GiB"),
            ("", "a size is expected: a whole number with one of B, KiB, MiB, GiB"),
            ("0B", "0B is not in 1KiB to 1GiB"),
            ("2GiB", "2GiB is not in 1KiB to 1GiB"),
            ("1025MiB", "1025MiB is not in 1KiB to 1GiB"),
            ("99999999999999999999B", "a size is expected: a whole number with one of B, KiB, MiB, GiB"),
            ("18446744073709551615GiB", "the size is too large"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text:?}");
        }
        let parse = time(Duration::from_secs(1)..=Duration::from_secs(86_400));
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(parse("3600"), Err("the unit is missing: one of ms, s, min, h, d".into()));
        assert_eq!(parse("25h"), Err("25h is not in 1s to 1d".into()));
    }

    #[test]
    fn rates_have_a_burst() {
        let parse = rate(1..=1000);
        assert_eq!(parse("10/s burst 20"), Ok(Rate::per_second(10, 20)));
        assert_eq!(parse("10 /s  burst 20"), Ok(Rate::per_second(10, 20)));
        for (text, expected) in [
            ("10", "a rate is expected, like \"10/s burst 20\""),
            ("10/min burst 20", "a rate is expected, like \"10/s burst 20\""),
            ("10/s", "a rate is expected, like \"10/s burst 20\""),
            ("x/s burst 20", "\"x\" is no whole number"),
            ("0/s burst 20", "0 is not in 1 to 1000"),
            ("10/s burst 1001", "1001 is not in 1 to 1000"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text:?}");
        }
        let parse = size_rate(1 << 30);
        assert_eq!(parse("8MiB/s burst 1MiB"), Ok(Rate::per_second(8 << 20, 1 << 20)));
        assert_eq!(parse("2GiB/s burst 1MiB"), Err("2GiB is not in 0B to 1GiB".into()));
        assert_eq!(parse("8/s burst 8"), Err("the unit is missing: one of B, KiB, MiB, GiB".into()));
    }
}
