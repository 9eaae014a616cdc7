//! The table that a sweep fills: rows are appended whole, and what is left of a broken one is cut off.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::{SweepError, file_error};

/// The cells that tell a run from others.
pub(crate) type Key = Vec<String>;

/// A table under way.
#[derive(Debug)]
pub(crate) struct Rows {
    path: PathBuf,
    file: File,
    /// Columns that make a [`Key`].
    keys: Vec<String>,
    /// All columns, once there is a row.
    head: Option<Vec<String>>,
    /// Rows by their keys.
    rows: BTreeMap<Key, Vec<String>>,
    /// Bytes of whole rows.
    length: u64,
}

impl Rows {
    /// Opens the table, or starts one.
    pub(crate) fn open(path: &Path, keys: Vec<String>) -> Result<Self, SweepError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(file_error(path))?;
        let bytes = fs::read(path).map_err(file_error(path))?;
        // No cell has a line end, so what comes after the last one is half a row.
        let length = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let whole = bytes.get(..length).unwrap_or_default();
        let mut rows = Self {
            path: path.to_path_buf(),
            file,
            keys,
            head: None,
            rows: BTreeMap::new(),
            length: length as u64,
        };
        let mut reader = csv::Reader::from_reader(whole);
        if length > 0 {
            let head = reader.headers().map_err(|error| rows.wrong(error.to_string()))?;
            let head: Vec<String> = head.iter().map(str::to_owned).collect();
            rows.key_places(&head)?;
            rows.head = Some(head);
        } else if !bytes.is_empty() && rows.keys.first().is_none_or(|key| !bytes.starts_with(key.as_bytes()))
        {
            return Err(rows.wrong("it is not a table of this sweep"));
        }
        for record in reader.records() {
            let record = record.map_err(|error| rows.wrong(error.to_string()))?;
            let cells: Vec<String> = record.iter().map(str::to_owned).collect();
            let key = rows.key(&cells)?;
            rows.rows.insert(key, cells);
        }
        // Only a table that was understood is cut.
        rows.file.set_len(rows.length).map_err(file_error(path))?;
        rows.file.seek(SeekFrom::End(0)).map_err(file_error(path))?;
        Ok(rows)
    }

    fn wrong(&self, reason: impl Into<String>) -> SweepError {
        SweepError::Rows { path: self.path.clone(), reason: reason.into() }
    }

    fn key_places(&self, head: &[String]) -> Result<Vec<usize>, SweepError> {
        let place = |key: &String| {
            let found = head.iter().position(|name| name == key);
            found.ok_or_else(|| self.wrong(format!("the column {key} is missing")))
        };
        self.keys.iter().map(place).collect()
    }

    fn key(&self, cells: &[String]) -> Result<Key, SweepError> {
        let places = self.key_places(self.head.as_deref().unwrap_or_default())?;
        Ok(places.into_iter().map(|place| cells.get(place).cloned().unwrap_or_default()).collect())
    }

    /// Whether a run has its row.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
    }

    /// A cell of a run's row.
    pub(crate) fn cell(&self, key: &Key, column: &str) -> Option<&str> {
        let place = self.head.as_ref()?.iter().position(|name| name == column)?;
        self.rows.get(key)?.get(place).map(String::as_str)
    }

    /// Appends a run's row in one write, and waits until it is on the disk.
    pub(crate) fn append(&mut self, row: &[(String, String)]) -> Result<(), SweepError> {
        let names: Vec<String> = row.iter().map(|(name, _)| name.clone()).collect();
        let cells: Vec<String> = row.iter().map(|(_, cell)| cell.clone()).collect();
        let mut text = Vec::new();
        match &self.head {
            Some(head) if *head != names => {
                let other =
                    head.iter().zip(&names).find(|(had, has)| had != has).map(|(had, _)| had.as_str());
                let other = other.unwrap_or("the last one");
                return Err(self.wrong(format!(
                    "its columns are those of another version, from {other} on: use another folder"
                )));
            }
            Some(_) => {}
            None => {
                text = encode(&names);
                self.head = Some(names);
            }
        }
        text.extend(encode(&cells));
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // A full disk: what was written of the row goes. If even that fails, the next start cuts it off.
            let _ = self.file.set_len(self.length);
            return Err(SweepError::File { path: self.path.clone(), source });
        }
        self.length += text.len() as u64;
        let key = self.key(&cells)?;
        self.rows.insert(key, cells);
        Ok(())
    }

    /// Puts the rows in the order of `keys`, rows that are not among them last, and replaces the file by that.
    pub(crate) fn sort(self, keys: impl Iterator<Item = Key>) -> Result<(), SweepError> {
        let Some(head) = &self.head else { return Ok(()) };
        let mut rest = self.rows.clone();
        let mut text = encode(head);
        let ordered: Vec<Vec<String>> = keys.filter_map(|key| rest.remove(&key)).collect();
        for cells in ordered.iter().chain(rest.values()) {
            text.extend(encode(cells));
        }
        let partial = self.path.with_extension("csv.partial");
        fs::write(&partial, text).map_err(file_error(&partial))?;
        fs::rename(&partial, &self.path).map_err(file_error(&self.path))
    }
}

/// One line of a table.
fn encode(cells: &[String]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    // Neither fails: the line is written to memory.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default()
}
