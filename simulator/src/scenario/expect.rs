//! What a run is expected to show: bounds on figures of its report, by name.
//!
//! A name is the path of a number in the report's JSON, with dots: `finds.success_rate`. A bound is a number, or a list of
//! pairs (service nodes, bound) between which it is interpolated in the logarithm of the number of service nodes, and
//! beyond which the last one holds:
//!
//! ```toml
//! [expect]
//! "finds.success_rate" = { min = 0.9999 }
//! "finds.hops_root_mean" = { max = [[100, 2.2], [1000, 3.4], [10000, 4.5]] }
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::report::Report;

/// Bounds on figures of a report, by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Expectations(BTreeMap<String, Bounds>);

/// Bounds on one figure.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// It is at least this.
    pub min: Option<Bound>,
    /// It is at most this.
    pub max: Option<Bound>,
}

/// A bound.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// The same at all sizes.
    Flat(f64),
    /// By the number of service nodes, in ascending order.
    BySize(Vec<(f64, f64)>),
}

impl Bound {
    /// The bound in a network with so many service nodes; `None` if there is none.
    #[must_use]
    pub fn at(&self, service_nodes: usize) -> Option<f64> {
        let points = match self {
            Self::Flat(bound) => return Some(*bound),
            Self::BySize(points) => points,
        };
        let size = service_nodes as f64;
        let after = points.partition_point(|(at, _)| *at < size);
        let Some(&(above, high)) = points.get(after) else { return points.last().map(|(_, bound)| *bound) };
        let Some(&(below, low)) = after.checked_sub(1).and_then(|before| points.get(before)) else {
            return Some(high);
        };
        let share = libm::log(size / below) / libm::log(above / below);
        Some(low + (high - low) * share)
    }

    fn is_well_formed(&self) -> bool {
        match self {
            Self::Flat(bound) => bound.is_finite(),
            Self::BySize(points) => {
                !points.is_empty()
                    && points.iter().all(|(size, bound)| *size >= 1.0 && bound.is_finite())
                    && points.windows(2).all(|pair| pair[0].0 < pair[1].0)
            }
        }
    }
}

impl Expectations {
    /// Adds bounds on a figure, in place of those that it has.
    pub fn set(&mut self, name: impl Into<String>, bounds: Bounds) {
        self.0.insert(name.into(), bounds);
    }

    /// Whether nothing is expected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first key that names no figure or has no usable bound, with what is wrong with it.
    pub(super) fn fault(&self) -> Option<(String, String)> {
        let sample = serde_json::to_value(Report::default()).unwrap_or_default();
        self.0.iter().find_map(|(name, bounds)| {
            let known = lookup(&sample, name).is_some_and(|value| value.is_number() || value.is_null());
            let given: Vec<&Bound> = bounds.min.iter().chain(&bounds.max).collect();
            let fault = if !known {
                "names no figure of a report"
            } else if given.is_empty() {
                "has neither `min` nor `max`"
            } else if !given.into_iter().all(Bound::is_well_formed) {
                "has a bound that is no finite number or list of [service nodes, bound] in ascending order"
            } else {
                return None;
            };
            Some((name.clone(), fault.to_owned()))
        })
    }

    /// What of it a report does not show, one sentence each.
    #[must_use]
    pub fn judge(&self, report: &Report) -> Vec<String> {
        let values = serde_json::to_value(report).unwrap_or_default();
        let mut failures = Vec::new();
        for (name, bounds) in &self.0 {
            let value = lookup(&values, name).and_then(Value::as_f64);
            let (min, max) = [&bounds.min, &bounds.max]
                .map(|bound| bound.as_ref().and_then(|bound| bound.at(report.service_nodes)))
                .into();
            match value {
                None => failures.push(format!("{name} has no value, though one was expected.")),
                Some(value) => {
                    if let Some(min) = min.filter(|min| value < *min) {
                        failures.push(format!("{name} is {value}, expected at least {min}."));
                    }
                    if let Some(max) = max.filter(|max| value > *max) {
                        failures.push(format!("{name} is {value}, expected at most {max}."));
                    }
                }
            }
        }
        failures
    }
}

/// The value at a path with dots.
fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_by_size_are_interpolated_in_the_logarithm() {
        let bound = Bound::BySize(vec![(100.0, 2.2), (1000.0, 3.4), (10_000.0, 4.5)]);
        let table = [(3, 2.2), (100, 2.2), (316, 2.8), (1000, 3.4), (10_000, 4.5), (1_000_000, 4.5)];
        for (size, expected) in table {
            let at = bound.at(size).expect("it has points");
            assert!((at - expected).abs() < 0.001, "{size}: {at}");
        }
        assert_eq!(Bound::Flat(7.0).at(3), Some(7.0));
    }

    #[test]
    fn a_report_is_judged_in_sentences() {
        let text = r#"
            "finds.success_rate" = { min = 0.9 }
            "finds.hops_mean" = { max = 3 }
            seed = { min = 2, max = 1 }
        "#;
        let expectations: Expectations = toml::from_str(text).expect("well formed");
        assert_eq!(expectations.fault(), None);
        let mut report = Report { seed: 3, ..Report::default() };
        report.finds.success_rate = Some(0.5);
        let failures = expectations.judge(&report);
        assert_eq!(
            failures,
            [
                "finds.hops_mean has no value, though one was expected.",
                "finds.success_rate is 0.5, expected at least 0.9.",
                "seed is 3, expected at most 1."
            ]
        );
    }

    #[test]
    fn a_key_that_cannot_be_judged_is_named() {
        for (text, named) in [
            ("nothing = { min = 1 }", "names no figure"),
            ("trace_hash = { min = 1 }", "names no figure"),
            ("seed = {}", "neither"),
            ("seed = { min = [] }", "no finite number"),
            ("seed = { min = [[100, 1], [10, 2]] }", "no finite number"),
        ] {
            let expectations: Expectations = toml::from_str(text).expect("it parses");
            let (_, why) = expectations.fault().expect("it has a fault");
            assert!(why.contains(named), "{text}: {why}");
        }
    }
}
