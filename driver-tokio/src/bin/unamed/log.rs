//! Logging on stderr, for people or as JSON, at no more than ten lines a second: whoever can make a node log could else fill its disk, or hide what
//! matters among what does not. `debug` and `trace` are not bounded: who asks for them wants everything.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use crate::Failure;
use crate::args::LogFormat;

/// Lines in one second.
const LINES_MAX: u32 = 10;

/// Whether what is said on stderr is said as JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Says something on stderr, which may be closed, in the form of the log.
pub(crate) fn say(message: &str) {
    write_note("INFO", message);
}

/// Says why the program ends.
pub(crate) fn complain(message: &str) {
    write_note("ERROR", message);
}

fn write_note(level: &str, message: &str) {
    let _ = if JSON.load(Ordering::Relaxed) {
        let mut timestamp = String::new();
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        let fields = serde_json::json!({ "message": message });
        let line = serde_json::json!({ "timestamp": timestamp, "level": level, "fields": fields, "target": "unamed" });
        writeln!(io::stderr(), "{line}")
    } else {
        writeln!(io::stderr(), "unamed: {message}")
    };
}

/// Starts logging by this filter.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| Failure::usage(format!("--log {filter:?}: {error}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Stderr::default())
        .with_ansi(io::stderr().is_terminal())
        // Its complaint about a closed stderr would go to stderr, and panic.
        .log_internal_errors(false);
    match format {
        LogFormat::Human => log.init(),
        LogFormat::Json => {
            JSON.store(true, Ordering::Relaxed);
            log.json().with_ansi(false).init();
        }
    }
    Ok(())
}

/// Counts lines, a second at a time.
#[derive(Debug, Default)]
struct Limit {
    /// The second since the first line.
    second: u64,
    lines: u32,
    left_out: u64,
}

impl Limit {
    /// Whether a line may be written in this second; with it, how many were left out before it.
    fn admit(&mut self, second: u64) -> Option<u64> {
        if second != self.second {
            (self.second, self.lines) = (second, 0);
        }
        if self.lines >= LINES_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.lines = self.lines.saturating_add(1);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Stderr, within the limit.
#[derive(Debug)]
struct Stderr {
    since: Instant,
    limit: Mutex<Limit>,
}

impl Default for Stderr {
    fn default() -> Self {
        Self { since: Instant::now(), limit: Mutex::default() }
    }
}

/// Where one line goes.
#[derive(Debug)]
enum Line {
    Written,
    LeftOut,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Written => io::stderr().write(bytes),
            Self::LeftOut => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        let admitted = {
            let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
            limit.admit(self.since.elapsed().as_secs())
        };
        match admitted {
            None => Line::LeftOut,
            Some(0) => Line::Written,
            Some(left_out) => {
                say(&format!("{left_out} lines were left out"));
                Line::Written
            }
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        if *meta.level() > Level::INFO { Line::Written } else { self.make_writer() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a56_ten_lines_a_second_and_a_count_of_the_rest() {
        let mut limit = Limit::default();
        let admitted: Vec<Option<u64>> = (0..25).map(|_| limit.admit(0)).collect();
        assert_eq!(admitted.iter().flatten().count(), 10);
        assert_eq!(limit.admit(1), Some(15));
        assert_eq!(limit.admit(1), Some(0));
        assert_eq!((0..100).filter(|_| limit.admit(2).is_some()).count(), 10);
    }
}
