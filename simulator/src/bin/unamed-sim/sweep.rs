//! `unamed-sim sweep`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use unamed_simulator::sweep::{self, Progress, Scenarios, Summary, SweepError, SweepOptions};

/// A run did not hold, or could not be carried out.
const FAILED: u8 = 1;
/// A file cannot be used.
const BAD_FILE: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Sweep {
    /// What to run, TOML: base, grid and seeds.
    #[arg(value_name = "SWEEP.toml")]
    file: PathBuf,
    /// Where the table goes; the same folder again continues.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Runs at a time [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Which part of how many, such as 1/4: each run belongs to exactly one.
    #[arg(long, value_name = "I/N", default_value = "1/1", value_parser = shard)]
    shard: (usize, usize),
    /// Exits with 0 whatever the figures are.
    #[arg(long)]
    no_verdict: bool,
}

fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((part, of)) if (1..=of).contains(&part) => Ok((part, of)),
        _ => Err(String::from("expected a part such as 1/4, from 1/N to N/N")),
    }
}

impl Sweep {
    pub(crate) fn execute(&self) -> ExitCode {
        match self.carry_out() {
            Ok(summary) => self.conclude(&summary),
            Err(error) => {
                eprintln!("unamed-sim: {error}");
                ExitCode::from(BAD_FILE)
            }
        }
    }

    fn carry_out(&self) -> Result<Summary, SweepError> {
        let sweep = sweep::Sweep::read(&self.file)?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or_else(cores, usize::from);
        let bar = progress_bar();
        let watch = |progress: &Progress| match &bar {
            Some(bar) => {
                bar.set_length(progress.total as u64);
                bar.set_position(progress.done as u64);
                bar.set_message(format!("{} failed; {}", progress.failing, progress.last));
            }
            None => eprintln!("{} of {} runs {}", progress.done, progress.total, progress.last),
        };
        let options = SweepOptions { threads, shard: self.shard };
        let summary = sweep::carry_out(&sweep, &self.out, options, &Scenarios, &watch);
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        summary
    }

    fn conclude(&self, summary: &Summary) -> ExitCode {
        let Summary { total, skipped, failing, broken } = summary;
        println!(
            "{total} runs, {skipped} of them there before; {} failed, {} broke off",
            failing.len(),
            broken.len()
        );
        for name in failing {
            eprintln!("unamed-sim: {name}: something did not hold; see failures in the table");
        }
        for (name, reason) in broken {
            eprintln!("unamed-sim: {name}: {reason}");
        }
        let bad = !broken.is_empty() || (!failing.is_empty() && !self.no_verdict);
        ExitCode::from(if bad { FAILED } else { 0 })
    }
}

/// A bar over runs, on a terminal only.
fn progress_bar() -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {elapsed}, {eta} to go, {msg}")
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
    fn shards_are_parts_of_a_whole() {
        assert_eq!([shard("1/1"), shard("3/4")], [Ok((1, 1)), Ok((3, 4))]);
        for text in ["", "0/2", "3/2", "1", "a/b", "1/0"] {
            assert!(shard(text).is_err(), "{text}");
        }
    }
}
