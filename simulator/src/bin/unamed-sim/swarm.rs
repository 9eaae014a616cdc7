//! `unamed-sim swarm`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use unamed_simulator::swarm::{self, Summary};

/// Something did not hold.
const FAILED: u8 = 1;
/// The flags do not go together.
const BAD_USAGE: u8 = 2;
/// The file cannot be written.
const BAD_FILE: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Swarm {
    /// Which seeds: from A on, up to and without B.
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Range<u64>,
    /// Where the result goes, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs at a time [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Where everything goes that happens in the run of a single seed, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match ends {
        Some((from, to)) if from < to => Ok(from..to),
        _ => Err(String::from("expected seeds such as 0..200, the second above the first")),
    }
}

impl Swarm {
    pub(crate) fn execute(&self) -> ExitCode {
        if let Some(path) = &self.trace {
            return self.execute_traced(path);
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or_else(cores, usize::from);
        let bar = progress_bar(self.seeds.end - self.seeds.start);
        let summary = swarm::carry_out(self.seeds.clone(), threads, &|progress| {
            if let Some(bar) = &bar {
                bar.set_position(progress.done);
                bar.set_message(format!("{} failed", progress.failed));
            }
        });
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        self.conclude(&summary)
    }

    /// Runs the one seed.
    fn execute_traced(&self, path: &Path) -> ExitCode {
        if self.seeds.end - self.seeds.start != 1 {
            eprintln!(
                "unamed-sim: --trace: takes a single seed, such as --seeds {0}..{1}",
                self.seeds.start,
                self.seeds.start + 1
            );
            return ExitCode::from(BAD_USAGE);
        }
        match File::create(path) {
            Ok(file) => {
                let sink = BufWriter::with_capacity(1 << 20, file);
                self.conclude(&swarm::trace(self.seeds.start, Box::new(sink)))
            }
            Err(error) => {
                eprintln!("unamed-sim: --trace {}: {error}", path.display());
                ExitCode::from(BAD_FILE)
            }
        }
    }

    fn conclude(&self, summary: &Summary) -> ExitCode {
        print(summary);
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(summary).map_err(|error| error.to_string());
            let written = text.and_then(|text| std::fs::write(path, text).map_err(|error| error.to_string()));
            if let Err(error) = written {
                eprintln!("unamed-sim: {}: {error}", path.display());
                return ExitCode::from(BAD_FILE);
            }
        }
        ExitCode::from(if summary.failed.is_empty() { 0 } else { FAILED })
    }
}

fn print(summary: &Summary) {
    let Summary { from, until, failed, events, finds, deliveries, departures, median_wall_s, .. } = summary;
    println!(
        "seeds {from}..{until}: {} failed; {events} events, {departures} departures, {finds} finds, {deliveries} deliveries; {median_wall_s:.2} s a seed, the longest {:.1} s (seed {})",
        failed.len(),
        summary.longest_wall_s.0,
        summary.longest_wall_s.1
    );
    for failure in failed {
        println!("{}  # {}", failure.command, failure.failures.join(" "));
        for detail in failure.details.iter().take(5) {
            println!("    {detail}");
        }
    }
}

/// A bar over runs, on a terminal only.
fn progress_bar(runs: u64) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(runs);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {elapsed}, {eta} to go, {msg}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    Some(bar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range() {
        assert_eq!(seeds("3..9"), Ok(3..9));
        for text in ["", "3", "3..", "..3", "3..3", "9..3", "a..b", "-1..2"] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }
}
