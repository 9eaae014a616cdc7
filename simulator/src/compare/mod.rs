//! What changed between two sets of runs beyond noise: `unamed-sim compare A B`.
//!
//! A side is a report as JSON, a table that a sweep wrote, a report's folder, or a folder of such files. Runs with the same
//! grid values (columns that start with `grid.`) form a group, and groups are compared one by one.
//!
//! | figure | test |
//! |---|---|
//! | rates (counts of counts) | Newcombe's interval for the difference of two proportions, made of their Wilson intervals, after the design effect of Rao and Scott where a side has several runs |
//! | others, with two runs or more on both sides | Welch's t-test |
//! | others | a relative change above [`Options::threshold`] |
//!
//! The level of each test is [`Options::alpha`] by the number of tests (Bonferroni): the chance that a comparison of equals
//! shows any change is at most that. Within one run the trials of a rate are taken for independent; failures that come
//! together make a change look surer than it is, so repeat seeds before you believe it.
//!
//! Not compared are what the machine decides (`wall_s`, `events_per_s`, `memory_bytes_per_node`) and what tells the run
//! apart (`seed`, hashes, texts).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde_json::Value;

mod read;
mod stats;
#[cfg(test)]
mod tests;

pub use read::CompareError;
use read::Row;
use stats::Proportion;

/// Rates: name, successes, trials.
const RATES: [(&str, &str, &str); 7] = [
    ("finds.success_rate", "finds.succeeded", "finds.eligible"),
    ("finds.first_attempt_rate", "finds.succeeded_at_once", "finds.eligible"),
    ("finds_in_faults.success_rate", "finds_in_faults.succeeded", "finds_in_faults.eligible"),
    ("messages.delivery_rate", "messages.delivered", "messages.expected"),
    ("messages.duplicate_rate", "messages.duplicates", "messages.expected"),
    ("pairs.met_rate", "pairs.met", "pairs.started"),
    ("rooms_split_rate", "rooms_split", "rooms"),
];

/// What the scenario or the machine decides, and what the rates are made of.
const LEFT_OUT: [&str; 20] = [
    "seed",
    "wall_s",
    "events_per_s",
    "memory_bytes_per_node",
    "service_nodes",
    "client_nodes",
    "rooms",
    "simulated_s",
    "finds.attempted",
    "finds.eligible",
    "finds.succeeded",
    "finds.succeeded_at_once",
    "finds_in_faults.eligible",
    "finds_in_faults.succeeded",
    "pairs.met",
    "pairs.started",
    "messages.expected",
    "messages.delivered",
    "messages.duplicates",
    "rooms_split",
];

/// Figures that say that two sides are of one scenario.
const SCENARIO: [&str; 4] = ["service_nodes", "client_nodes", "rooms", "simulated_s"];

/// How sure a comparison must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The chance of seeing a change between equals, over all tests together; in (0, 1).
    pub alpha: f64,
    /// The relative change from which single values count as changed.
    pub threshold: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { alpha: 0.05, threshold: 0.05 }
    }
}

/// How a figure was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// By intervals of two proportions.
    Proportions,
    /// By Welch's t-test.
    Welch,
    /// By the threshold.
    Threshold,
    /// It is there on one side only.
    Presence,
}

/// One figure on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its dotted name in the report, or one of the rates'.
    pub name: String,
    /// Its value or mean on the first side.
    pub a: Option<f64>,
    /// The same on the second side.
    pub b: Option<f64>,
    /// How it was judged.
    pub test: Test,
    /// Whether it changed beyond noise.
    pub changed: bool,
}

/// The runs of one point of the grid on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Grid values, as `key=value` separated by blanks; empty for plain reports.
    pub name: String,
    /// How many runs each side has.
    pub runs: (usize, usize),
    /// Whether the runs of both sides, by seed, left equal traces.
    pub identical: bool,
    /// Figures that say that the sides are not of one scenario: name and both values.
    pub scenario: Vec<(String, Option<f64>, Option<f64>)>,
    /// The figures compared.
    pub lines: Vec<Line>,
}

/// The result.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Groups in the order of their names. One that a side lacks has no lines.
    pub groups: Vec<Group>,
    /// The level of a single test.
    pub level: f64,
    /// How it was made.
    pub options: Options,
}

impl Comparison {
    /// Whether anything changed beyond noise, or is on one side only.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.groups.iter().any(|group| {
            group.runs.0 == 0 || group.runs.1 == 0 || group.lines.iter().any(|line| line.changed)
        })
    }

    /// The comparison as text: what changed, or with `all` every figure.
    #[must_use]
    pub fn text(&self, all: bool) -> String {
        let mut out = String::new();
        for group in &self.groups {
            group_text(&mut out, group, all);
        }
        let (alpha, threshold) = (100.0 * self.options.alpha, 100.0 * self.options.threshold);
        out += &format!(
            "a comparison of equals shows a change with a chance of at most {alpha} % (level {:.2e} a test); \
             single values count from {threshold} % on\n",
            self.level
        );
        out
    }
}

fn group_text(out: &mut String, group: &Group, all: bool) {
    let (a, b) = group.runs;
    let name = if group.name.is_empty() { String::new() } else { format!("{}: ", group.name) };
    *out += &format!("{name}{a} against {b} runs\n");
    if a == 0 || b == 0 {
        *out += &format!("  only in {}\n", if a == 0 { "B" } else { "A" });
        return;
    }
    if group.identical {
        *out += "  the runs are identical, by their traces\n";
    }
    for (name, a, b) in &group.scenario {
        *out += &format!("  not of one scenario: {name} is {} and {}\n", Shown(*a), Shown(*b));
    }
    for line in group.lines.iter().filter(|line| all || line.changed) {
        let change = match (line.a, line.b) {
            (Some(a), Some(b)) if a != 0.0 => format!("{:+.1} %", 100.0 * (b - a) / libm::fabs(a)),
            _ => String::new(),
        };
        let test = match line.test {
            Test::Proportions => "proportions",
            Test::Welch => "Welch",
            Test::Threshold => "threshold",
            Test::Presence => "on one side only",
        };
        let mark = if line.changed { "*" } else { " " };
        let (a, b) = (Shown(line.a).to_string(), Shown(line.b).to_string());
        *out += &format!("{mark} {:<38} {a:>13} -> {b:>13} {change:>11}  {test}\n", line.name);
    }
    let changed = group.lines.iter().filter(|line| line.changed).count();
    *out += &format!("  {changed} of {} figures changed\n", group.lines.len());
}

/// A value, or a dash.
struct Shown(Option<f64>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("-"),
            Some(value) if libm::floor(value) - value == 0.0 && libm::fabs(value) < 1e15 => {
                write!(f, "{value:.0}")
            }
            Some(value) => write!(f, "{value:.5}"),
        }
    }
}

/// Compares two sides, each a JSON report, a sweep's table or a folder.
///
/// # Errors
/// What is wrong with which file.
pub fn compare(a: &Path, b: &Path, options: Options) -> Result<Comparison, CompareError> {
    Ok(compare_rows(read::side(a)?, read::side(b)?, options))
}

fn compare_rows(a: Vec<Row>, b: Vec<Row>, options: Options) -> Comparison {
    let mut groups: BTreeMap<String, [Vec<Row>; 2]> = BTreeMap::new();
    for row in a {
        groups.entry(row.group.clone()).or_default()[0].push(row);
    }
    for row in b {
        groups.entry(row.group.clone()).or_default()[1].push(row);
    }
    let planned: Vec<(String, [Vec<Row>; 2], Vec<Planned>)> = groups
        .into_iter()
        .map(|(name, sides)| {
            let plan = plan(&sides);
            (name, sides, plan)
        })
        .collect();
    let tests: usize =
        planned.iter().map(|(_, _, plan)| plan.iter().filter(|one| one.is_statistical()).count()).sum();
    let level = options.alpha / tests.max(1) as f64;
    let groups = planned
        .into_iter()
        .map(|(name, [a, b], plan)| {
            let lines = plan.into_iter().map(|one| one.judge(level, options.threshold)).collect();
            Group {
                name,
                runs: (a.len(), b.len()),
                identical: identical(&a, &b),
                scenario: scenario(&a, &b),
                lines,
            }
        })
        .collect();
    Comparison { groups, level, options }
}

/// A figure with what is known of it.
enum Planned {
    Rate(&'static str, Proportion, Proportion),
    Values(String, Vec<f64>, Vec<f64>),
}

impl Planned {
    fn is_statistical(&self) -> bool {
        match self {
            Self::Rate(..) => true,
            Self::Values(_, a, b) => a.len() > 1 && b.len() > 1,
        }
    }

    fn judge(self, level: f64, threshold: f64) -> Line {
        match self {
            Self::Rate(name, a, b) => {
                let z = stats::normal_quantile(1.0 - level / 2.0);
                let (rate_a, rate_b) = (a.rate(), b.rate());
                let (test, changed) = match stats::rates_differ(&a, &b, z) {
                    Some(differ) => (Test::Proportions, differ),
                    None => (Test::Presence, rate_a.is_some() != rate_b.is_some()),
                };
                Line { name: name.to_owned(), a: rate_a, b: rate_b, test, changed }
            }
            Self::Values(name, a, b) => {
                let mean = |values: &[f64]| {
                    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
                };
                let (mean_a, mean_b) = (mean(&a), mean(&b));
                let (test, changed) = match (mean_a, mean_b, stats::welch(&a, &b)) {
                    (Some(_), Some(_), Some(p)) => (Test::Welch, p < level),
                    (Some(one), Some(other), None) => {
                        let larger = libm::fabs(one).max(libm::fabs(other));
                        (Test::Threshold, libm::fabs(other - one) > threshold * larger)
                    }
                    _ => (Test::Presence, mean_a.is_some() != mean_b.is_some()),
                };
                Line { name, a: mean_a, b: mean_b, test, changed }
            }
        }
    }
}

/// The figures that both sides can be compared by.
fn plan([a, b]: &[Vec<Row>; 2]) -> Vec<Planned> {
    if a.is_empty() || b.is_empty() {
        return Vec::new();
    }
    let proportion = |rows: &[Row], successes, trials| Proportion {
        runs: rows.iter().filter_map(|row| Some((row.number(successes)?, row.number(trials)?))).collect(),
    };
    let rates = RATES.into_iter().filter_map(|(name, successes, trials)| {
        let (a, b) = (proportion(a, successes, trials), proportion(b, successes, trials));
        let any = a.rate().is_some() || b.rate().is_some();
        any.then_some(Planned::Rate(name, a, b))
    });
    let rows = || a.iter().chain(b);
    let names: BTreeSet<&String> = rows().flat_map(|row| row.figures.keys()).collect();
    let is_rate = |name: &str| RATES.iter().any(|(rate, ..)| *rate == name);
    let values = names.into_iter().filter(|name| !LEFT_OUT.contains(&name.as_str()) && !is_rate(name));
    let values = values.filter_map(|name| {
        let of = |rows: &[Row]| rows.iter().filter_map(|row| row.number(name)).collect::<Vec<f64>>();
        let (a, b) = (of(a), of(b));
        (!a.is_empty() || !b.is_empty()).then(|| Planned::Values(name.clone(), a, b))
    });
    rates.chain(values).collect()
}

fn identical(a: &[Row], b: &[Row]) -> bool {
    let traces = |rows: &[Row]| {
        rows.iter().map(|row| row.figures.get("trace_hash").map(Value::to_string)).collect::<BTreeSet<_>>()
    };
    let (a, b) = (traces(a), traces(b));
    a == b && !a.contains(&None)
}

fn scenario(a: &[Row], b: &[Row]) -> Vec<(String, Option<f64>, Option<f64>)> {
    let (Some(a), Some(b)) = (a.first(), b.first()) else { return Vec::new() };
    let both = SCENARIO.into_iter().map(|name| (name.to_owned(), a.number(name), b.number(name)));
    both.filter(|(_, a, b)| a != b).collect()
}
