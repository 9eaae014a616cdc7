//! Many runs into a table: `unamed-sim sweep SWEEP.toml --out DIR`.
//!
//! ```toml
//! base = "churn-10m.toml"        # a scenario file beside this one, or a table [base] with its content
//! seeds = "1..21"                # the end is not included; or a list
//!
//! [grid]                         # every combination is run with every seed
//! "nodes.service" = [100, 1000]
//! "churn.service" = ["exp:10", "kad"]
//! ```
//!
//! The keys of the grid are those of a scenario, dotted where they lie in tables; quotes round them are optional.
//!
//! The folder gets `runs.csv` (with a shard `runs-1-of-4.csv`), one row a run: the grid's columns (`grid.…`), then the
//! figures of the report by dotted names, `failures` as one text. A row is written whole and at once when its run ends, so
//! an interrupted sweep is continued by the same command: runs with a row are skipped, half a row (a machine that lost
//! power) is cut off. When all is done the rows are put in the order of the sweep. More seeds and more values may be added
//! later; another base or other grid keys want another folder, which `sweep.toml` in it guards.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

mod carry_out;
mod rows;
#[cfg(test)]
mod tests;

pub use carry_out::{Progress, Runner, Scenarios, Summary, SweepOptions, carry_out};

/// Runs of a sweep at most.
pub const RUNS_MAX: usize = 1_000_000;

/// Why a sweep cannot be carried out. Rows written so far stay.
#[derive(Debug)]
pub enum SweepError {
    /// A file cannot be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no TOML.
    Syntax {
        /// Which.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A key of the sweep is missing, unknown, or has a value that cannot be used.
    Key {
        /// The key, dotted.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A point of the grid is no scenario.
    Scenario {
        /// The point, as `key=value`.
        point: String,
        /// What is wrong.
        reason: String,
    },
    /// The folder belongs to a sweep with another base or other grid keys.
    OtherSweep {
        /// The copy of that sweep.
        path: PathBuf,
    },
    /// A table in the folder has other columns or cannot be read.
    Rows {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for SweepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Syntax { path, reason } | Self::Rows { path, reason } => {
                write!(f, "{}: {reason}", path.display())
            }
            Self::Key { key, reason } => write!(f, "{key}: {reason}"),
            Self::Scenario { point, reason } => write!(f, "{point}: {reason}"),
            Self::OtherSweep { path } => {
                write!(f, "{}: the folder holds a sweep with another base or other grid keys", path.display())
            }
        }
    }
}

impl std::error::Error for SweepError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Syntax { .. }
            | Self::Key { .. }
            | Self::Scenario { .. }
            | Self::OtherSweep { .. }
            | Self::Rows { .. } => None,
        }
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> SweepError {
    let path = path.to_path_buf();
    move |source| SweepError::File { path, source }
}

fn key_error(key: &str, reason: impl Into<String>) -> SweepError {
    SweepError::Key { key: key.to_owned(), reason: reason.into() }
}

/// What a sweep file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    base: Table,
    /// Dotted keys in order, each with its values.
    grid: Vec<(String, Vec<Value>)>,
    seeds: Vec<u64>,
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Key and value of each dimension of the grid.
    pub grid: Vec<(String, String)>,
    /// The seed.
    pub seed: u64,
    /// The scenario, as TOML.
    pub scenario: String,
}

impl Point {
    /// Grid values and the seed, as `key=value` separated by blanks.
    #[must_use]
    pub fn name(&self) -> String {
        let grid = self.grid.iter().map(|(key, value)| format!("{key}={value} "));
        grid.collect::<String>() + &format!("seed={}", self.seed)
    }
}

impl Sweep {
    /// Reads a sweep file, and the scenario that its base names.
    ///
    /// # Errors
    /// [`SweepError::File`], [`SweepError::Syntax`] and [`SweepError::Key`].
    pub fn read(path: &Path) -> Result<Self, SweepError> {
        let text = fs::read_to_string(path).map_err(file_error(path))?;
        let table = parse(path, &text)?;
        let base = match table.get("base") {
            Some(Value::Table(base)) => base.clone(),
            Some(Value::String(name)) => {
                let file = path.parent().unwrap_or(Path::new("")).join(name);
                parse(&file, &fs::read_to_string(&file).map_err(file_error(&file))?)?
            }
            Some(_) => return Err(key_error("base", "it is neither a table nor the path of a scenario")),
            None => return Err(key_error("base", "it is missing")),
        };
        Self::from_tables(base, &table)
    }

    fn from_tables(base: Table, table: &Table) -> Result<Self, SweepError> {
        if let Some(key) = table.keys().find(|key| !["base", "grid", "seeds"].contains(&key.as_str())) {
            return Err(key_error(key, "a sweep has base, grid and seeds only"));
        }
        let mut grid = Vec::new();
        match table.get("grid") {
            Some(Value::Table(tree)) => flatten_grid("", tree, &mut grid)?,
            Some(_) => return Err(key_error("grid", "it is not a table")),
            None => {}
        }
        let seeds = match table.get("seeds") {
            Some(seeds) => parse_seeds(seeds)?,
            None => match base.get("seed").map_or(Some(1), Value::as_integer).map(u64::try_from) {
                Some(Ok(seed)) => vec![seed],
                _ => return Err(key_error("base.seed", "it is not a number from 0 on")),
            },
        };
        let sweep = Self { base, grid, seeds };
        let points = sweep.grid.iter().try_fold(1_usize, |all, (_, values)| all.checked_mul(values.len()));
        let runs = points.and_then(|points| points.checked_mul(sweep.seeds.len()));
        if runs.is_none_or(|runs| runs > RUNS_MAX) {
            return Err(key_error("grid", format!("these are more than {RUNS_MAX} runs")));
        }
        // Whether each key has a place in the base does not depend on the values.
        sweep.point(0)?;
        Ok(sweep)
    }

    /// How many runs it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.grid.iter().map(|(_, values)| values.len()).product::<usize>() * self.seeds.len()
    }

    /// Whether it has no run, which [`read`](Self::read) refuses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A run by its place in the order of the sweep: seeds vary first, then the last key of the grid.
    ///
    /// # Errors
    /// [`SweepError::Key`] for a key that leads through something other than a table.
    pub fn point(&self, index: usize) -> Result<Point, SweepError> {
        let seed = self.seeds.get(index % self.seeds.len().max(1)).copied().unwrap_or_default();
        let mut rest = index / self.seeds.len().max(1);
        let mut scenario = self.base.clone();
        let mut grid = Vec::with_capacity(self.grid.len());
        for (key, values) in self.grid.iter().rev() {
            let value = &values[rest % values.len()];
            rest /= values.len();
            set(&mut scenario, key, value.clone())?;
            grid.push((key.clone(), shown(value)));
        }
        grid.reverse();
        let number = i64::try_from(seed).map_err(|_| key_error("seeds", "a seed is above 2^63 - 1"))?;
        scenario.insert(String::from("seed"), Value::Integer(number));
        let scenario = toml::to_string(&scenario).map_err(|error| key_error("base", error.to_string()))?;
        Ok(Point { grid, seed, scenario })
    }

    /// What must not change from one call to the next on the same folder, and for readers the rest.
    fn to_toml(&self) -> Result<String, SweepError> {
        let mut table = Table::new();
        table.insert(String::from("base"), Value::Table(self.base.clone()));
        let seeds = self.seeds.iter().map(|&seed| i64::try_from(seed).map(Value::Integer));
        let seeds = seeds.collect::<Result<Vec<Value>, _>>().unwrap_or_default();
        table.insert(String::from("seeds"), Value::Array(seeds));
        let grid = self.grid.iter().map(|(key, values)| (key.clone(), Value::Array(values.clone())));
        table.insert(String::from("grid"), Value::Table(grid.collect()));
        toml::to_string(&table).map_err(|error| key_error("base", error.to_string()))
    }

    /// Whether runs of the other sweep may stand in one table with those of this one.
    fn is_akin(&self, other: &Self) -> bool {
        let keys = |sweep: &Self| sweep.grid.iter().map(|(key, _)| key.clone()).collect::<Vec<String>>();
        self.base == other.base && keys(self) == keys(other)
    }
}

fn parse(path: &Path, text: &str) -> Result<Table, SweepError> {
    let parsed = text.parse::<Table>();
    parsed.map_err(|error| SweepError::Syntax { path: path.to_path_buf(), reason: error.to_string() })
}

fn flatten_grid(prefix: &str, tree: &Table, grid: &mut Vec<(String, Vec<Value>)>) -> Result<(), SweepError> {
    for (name, value) in tree {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => flatten_grid(&key, inner, grid)?,
            Value::Array(values) if values.is_empty() => {
                return Err(key_error(&format!("grid.{key}"), "its list is empty"));
            }
            Value::Array(_) if key == "seed" => {
                return Err(key_error("grid.seed", "seeds have a key of their own: seeds"));
            }
            Value::Array(values) => {
                let repeated = values.iter().enumerate().find(|(at, value)| values[..*at].contains(value));
                if let Some((_, value)) = repeated {
                    let reason = format!("{} is there twice", shown(value));
                    return Err(key_error(&format!("grid.{key}"), reason));
                }
                grid.push((key, values.clone()));
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => {
                return Err(key_error(&format!("grid.{key}"), "it is not a list of values"));
            }
        }
    }
    Ok(())
}

fn parse_seeds(seeds: &Value) -> Result<Vec<u64>, SweepError> {
    let wrong = |reason: &str| key_error("seeds", reason);
    let form = "it is neither a range such as \"1..21\" nor a list of numbers from 0 on";
    let seeds = match seeds {
        Value::String(range) => {
            let (from, to) = range.split_once("..").ok_or_else(|| wrong(form))?;
            let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong(form));
            let (from, to) = (number(from)?, number(to)?);
            if to.saturating_sub(from) > RUNS_MAX as u64 {
                return Err(wrong("these are too many"));
            }
            (from..to).collect::<Vec<u64>>()
        }
        Value::Array(list) => list
            .iter()
            .map(|seed| {
                seed.as_integer().and_then(|seed| u64::try_from(seed).ok()).ok_or_else(|| wrong(form))
            })
            .collect::<Result<Vec<u64>, _>>()?,
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {
            return Err(wrong(form));
        }
    };
    let mut sorted = seeds.clone();
    sorted.sort_unstable();
    sorted.dedup();
    match (seeds.is_empty(), sorted.len() < seeds.len()) {
        (true, _) => Err(wrong("there is none; the end of a range is not included")),
        (_, true) => Err(wrong("a seed is there twice")),
        (false, false) => Ok(seeds),
    }
}

/// Sets a dotted key, creating tables on the way.
fn set(table: &mut Table, key: &str, value: Value) -> Result<(), SweepError> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((head, rest)) => {
            let inner = table.entry(head.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else {
                return Err(key_error(&format!("grid.{key}"), format!("{head} of the base is no table")));
            };
            set(inner, rest, value)
        }
    }
}

/// A value as it stands in the table of runs.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace(['\n', '\r'], " "),
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => value.to_string().replace(['\n', '\r'], " "),
    }
}
