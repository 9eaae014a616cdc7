//! Reading what is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::flat::flatten;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompareError {
    /// The file or folder.
    pub path: PathBuf,
    /// The field, where one is to blame.
    pub field: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for CompareError {}

/// Fields that every report has: a file without them is none.
const REQUIRED: [&str; 4] = ["seed", "service_nodes", "finds.eligible", "finds.succeeded"];

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Grid values, as `key=value` separated by blanks.
    pub(crate) group: String,
    /// All others by name.
    pub(crate) figures: BTreeMap<String, Value>,
}

impl Row {
    /// A figure that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.figures.get(name).and_then(Value::as_f64)
    }
}

fn bad(path: &Path, field: Option<&str>, reason: impl fmt::Display) -> CompareError {
    CompareError { path: path.to_path_buf(), field: field.map(str::to_owned), reason: reason.to_string() }
}

/// All runs of a side.
pub(crate) fn side(path: &Path) -> Result<Vec<Row>, CompareError> {
    let folder = fs::metadata(path).map_err(|error| bad(path, None, error))?.is_dir();
    let rows = if !folder {
        file(path)?
    } else if path.join("report.json").is_file() {
        file(&path.join("report.json"))?
    } else {
        let entries = fs::read_dir(path).map_err(|error| bad(path, None, error))?;
        let mut files = Vec::new();
        for entry in entries {
            let inside = entry.map_err(|error| bad(path, None, error))?.path();
            if inside.extension().is_some_and(|end| end == "json" || end == "csv") {
                files.push(inside);
            }
        }
        files.sort();
        let mut rows = Vec::new();
        for inside in files {
            rows.extend(file(&inside)?);
        }
        rows
    };
    if rows.is_empty() {
        return Err(bad(path, None, "there is no run in it"));
    }
    Ok(distinct(rows))
}

/// A run counts once, though two tables of a folder (one of them a shard's) may both have it.
fn distinct(rows: Vec<Row>) -> Vec<Row> {
    let mut seen = BTreeSet::new();
    let mut is_new = |row: &Row| {
        let of = |name: &str| row.figures.get(name).map(Value::to_string);
        let trace = of("trace_hash");
        trace.is_none() || seen.insert((row.group.clone(), of("seed"), trace))
    };
    rows.into_iter().filter(|row| is_new(row)).collect()
}

fn file(path: &Path) -> Result<Vec<Row>, CompareError> {
    let text = fs::read_to_string(path).map_err(|error| bad(path, None, error))?;
    let rows = if path.extension().is_some_and(|end| end == "csv") {
        table(path, &text)?
    } else {
        let value: Value = serde_json::from_str(&text).map_err(|error| bad(path, None, error))?;
        vec![Row { group: String::new(), figures: flatten(&value).into_iter().collect() }]
    };
    for row in &rows {
        for name in REQUIRED {
            match row.figures.get(name) {
                Some(Value::Number(_)) => {}
                Some(_) => return Err(bad(path, Some(name), "it is not a number")),
                None => return Err(bad(path, Some(name), "it is missing: this is no report")),
            }
        }
    }
    Ok(rows)
}

fn table(path: &Path, text: &str) -> Result<Vec<Row>, CompareError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().map_err(|error| bad(path, None, error))?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| bad(path, None, error))?;
        let mut row = Row::default();
        for (name, cell) in head.iter().zip(&record) {
            if let Some(key) = name.strip_prefix("grid.") {
                if !row.group.is_empty() {
                    row.group.push(' ');
                }
                row.group += &format!("{key}={cell}");
            } else {
                row.figures.insert(name.to_owned(), scalar(cell));
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// What a cell stands for: nothing, a number, or a text.
fn scalar(cell: &str) -> Value {
    if cell.is_empty() {
        return Value::Null;
    }
    match serde_json::from_str::<Value>(cell) {
        Ok(number @ Value::Number(_)) => number,
        _ => Value::from(cell),
    }
}
