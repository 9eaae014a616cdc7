//! Carrying a sweep out over several threads.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use super::rows::{Key, Rows};
use super::{Point, Sweep, SweepError, file_error, parse};
use crate::flat::{cell, flatten};
use crate::{RunOptions, Scenario};

/// What runs a scenario; [`carry_out`] calls it from several threads.
pub trait Runner: Sync {
    /// Whether this is a scenario, as TOML, that can be run.
    ///
    /// # Errors
    /// What is wrong with it, with the key's name.
    fn check(&self, scenario: &str) -> Result<(), String>;

    /// Runs it. The result is the report as a JSON object; the same scenario gives the same report but for what the
    /// machine decides.
    ///
    /// # Errors
    /// Why it could not be run.
    fn run(&self, scenario: &str) -> Result<Value, String>;
}

/// Runs scenarios as `unamed-sim run` does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scenarios;

impl Runner for Scenarios {
    fn check(&self, scenario: &str) -> Result<(), String> {
        Scenario::parse(scenario).map(drop).map_err(|error| error.to_string())
    }

    fn run(&self, scenario: &str) -> Result<Value, String> {
        let scenario = Scenario::parse(scenario).map_err(|error| error.to_string())?;
        let report = scenario.run(RunOptions::default(), |_| {}).report;
        serde_json::to_value(report).map_err(|error| error.to_string())
    }
}

/// How a sweep is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepOptions {
    /// Runs at a time, each on a thread of its own; at least one.
    pub threads: usize,
    /// Which part, from 1 on, of how many: every run belongs to exactly one.
    pub shard: (usize, usize),
}

/// How far a sweep is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Runs of this shard.
    pub total: usize,
    /// Those that have a row.
    pub done: usize,
    /// Those of them in which something did not hold.
    pub failing: usize,
    /// The run that just ended; empty before the first.
    pub last: String,
}

/// What came of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs of this shard.
    pub total: usize,
    /// Those that had their rows before.
    pub skipped: usize,
    /// Runs in which something did not hold, by name.
    pub failing: Vec<String>,
    /// Runs that could not be carried out, and why. They have no row, and are tried again by the next call.
    pub broken: Vec<(String, String)>,
}

/// What the threads share.
struct Shared {
    rows: Rows,
    summary: Summary,
    done: usize,
    error: Option<SweepError>,
}

/// Carries out what has no row so far. `watch` hears of the beginning and of each run that ends.
///
/// # Errors
/// See [`SweepError`]. Every point of the grid is checked before the first run.
pub fn carry_out(
    sweep: &Sweep,
    folder: &Path,
    options: SweepOptions,
    runner: &dyn Runner,
    watch: &(dyn Fn(&Progress) + Sync),
) -> Result<Summary, SweepError> {
    let (shard, shards) = (options.shard.0.max(1), options.shard.1.max(1));
    check(sweep, runner)?;
    claim(sweep, folder)?;
    let name = if shards > 1 { format!("runs-{shard}-of-{shards}.csv") } else { String::from("runs.csv") };
    let rows = Rows::open(&folder.join(name), key_columns(sweep))?;

    let mine: Vec<usize> = (0..sweep.len()).filter(|index| index % shards == shard - 1).collect();
    let mut summary = Summary { total: mine.len(), ..Summary::default() };
    let mut open = Vec::new();
    for &index in &mine {
        let point = sweep.point(index)?;
        let key = key(&point);
        if !rows.contains(&key) {
            open.push(index);
        } else if rows.cell(&key, "failures").is_some_and(|text| !text.is_empty()) {
            summary.failing.push(point.name());
        }
    }
    summary.skipped = mine.len() - open.len();
    let done = summary.skipped;
    watch(&Progress { total: mine.len(), done, failing: summary.failing.len(), last: String::new() });
    let shared = Mutex::new(Shared { rows, summary, done, error: None });
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, open.len().max(1)) {
            scope.spawn(|| {
                while let Some(&index) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !one(sweep, index, runner, &shared, watch) {
                        break;
                    }
                }
            });
        }
    });
    let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = shared.error {
        return Err(error);
    }
    let mut summary = shared.summary;
    summary.failing.sort();
    summary.broken.sort();
    let keys = mine.iter().filter_map(|&index| sweep.point(index).ok()).map(|point| key(&point));
    shared.rows.sort(keys)?;
    Ok(summary)
}

/// One run; whether to go on.
fn one(
    sweep: &Sweep,
    index: usize,
    runner: &dyn Runner,
    shared: &Mutex<Shared>,
    watch: &(dyn Fn(&Progress) + Sync),
) -> bool {
    let lock = || -> MutexGuard<'_, Shared> { shared.lock().unwrap_or_else(PoisonError::into_inner) };
    if lock().error.is_some() {
        return false;
    }
    let point = match sweep.point(index) {
        Ok(point) => point,
        Err(error) => {
            lock().error = Some(error);
            return false;
        }
    };
    let result = catch_unwind(AssertUnwindSafe(|| runner.run(&point.scenario)))
        .unwrap_or_else(|_| Err(String::from("it panicked")));
    let mut shared = lock();
    match result {
        Ok(report) => {
            let row = row(&point, &report);
            if let Err(error) = shared.rows.append(&row) {
                shared.error.get_or_insert(error);
                return false;
            }
            if row.iter().any(|(name, cell)| name == "failures" && !cell.is_empty()) {
                shared.summary.failing.push(point.name());
            }
            shared.done += 1;
        }
        Err(reason) => shared.summary.broken.push((point.name(), reason)),
    }
    let progress = Progress {
        total: shared.summary.total,
        done: shared.done,
        failing: shared.summary.failing.len(),
        last: point.name(),
    };
    drop(shared);
    watch(&progress);
    true
}

/// Checks each point of the grid, with the first seed.
fn check(sweep: &Sweep, runner: &dyn Runner) -> Result<(), SweepError> {
    for index in (0..sweep.len()).step_by(sweep.seeds.len().max(1)) {
        let point = sweep.point(index)?;
        runner
            .check(&point.scenario)
            .map_err(|reason| SweepError::Scenario { point: point.name(), reason })?;
    }
    Ok(())
}

/// Makes the folder this sweep's, or sees that it is.
fn claim(sweep: &Sweep, folder: &Path) -> Result<(), SweepError> {
    fs::create_dir_all(folder).map_err(file_error(folder))?;
    let copy = folder.join("sweep.toml");
    match fs::read_to_string(&copy) {
        Ok(text) => {
            let table = parse(&copy, &text)?;
            let base = table.get("base").and_then(toml::Value::as_table).cloned().unwrap_or_default();
            if !sweep.is_akin(&Sweep::from_tables(base, &table)?) {
                return Err(SweepError::OtherSweep { path: copy });
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error(&copy)(error)),
    }
    // Shards on several machines may do this at the same time: each puts a whole file in its place.
    let partial = folder.join(format!("sweep.toml.{}.partial", std::process::id()));
    fs::write(&partial, sweep.to_toml()?).map_err(file_error(&partial))?;
    fs::rename(&partial, &copy).map_err(file_error(&copy))
}

fn key_columns(sweep: &Sweep) -> Vec<String> {
    let grid = sweep.grid.iter().map(|(key, _)| format!("grid.{key}"));
    grid.chain([String::from("seed")]).collect()
}

fn key(point: &Point) -> Key {
    let grid = point.grid.iter().map(|(_, value)| value.clone());
    grid.chain([point.seed.to_string()]).collect()
}

fn row(point: &Point, report: &Value) -> Vec<(String, String)> {
    let grid = point.grid.iter().map(|(key, value)| (format!("grid.{key}"), value.clone()));
    let seed = (String::from("seed"), point.seed.to_string());
    let figures = flatten(report).into_iter().filter(|(name, _)| name != "seed" && name != "details");
    grid.chain([seed]).chain(figures.map(|(name, value)| (name, cell(&value)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_starts_with_what_tells_it_apart() {
        let point =
            Point { grid: vec![(String::from("a.b"), String::from("x"))], seed: 3, scenario: String::new() };
        let report = serde_json::json!({"seed": 3, "finds": {"eligible": 2}, "failures": ["p", "q"], "details": ["d"]});
        let row = row(&point, &report);
        let row: Vec<(&str, &str)> = row.iter().map(|(name, cell)| (name.as_str(), cell.as_str())).collect();
        // serde_json's objects are in the order of the alphabet here; a report's own order is that of its type.
        assert_eq!(row, [("grid.a.b", "x"), ("seed", "3"), ("failures", "p | q"), ("finds.eligible", "2")]);
        assert_eq!(key(&point), ["x", "3"]);
    }
}
