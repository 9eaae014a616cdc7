//! `unamed-sim run`: one run, and its verdict.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use unamed_protocol::crypto::{Crypto, RealCrypto};
use unamed_simulator::{BookkeepingCrypto, Check, Outcome, Report, Workload};

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Service nodes.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    nodes: u32,
    /// Client nodes in total.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    clients: u32,
    /// Rooms, of 2 to 10 members each.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// Decides everything that is random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Virtual time in all, as 180s or 3m; at least 120s, at most 24h.
    #[arg(long, value_name = "TIME", default_value = "180s", value_parser = duration)]
    duration: Duration,
    /// Ideal crypto is quick; real crypto is what a network uses. Both take the same decisions.
    #[arg(long, value_enum, default_value_t = CryptoChoice::Ideal)]
    crypto: CryptoChoice,
    /// Writes the figures as one JSON object, `-` to standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    /// Writes all that happens as JSON lines. Large.
    #[arg(long, value_name = "FILE")]
    trace: Option<String>,
    /// Finds by strangers per second.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    finds: u32,
    /// Messages that each member of each room sends.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    messages: u32,
    /// Clients that leave or crash while finds are measured [default: 3 in 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    leaves: Option<u32>,
    /// Clients that switch their primary room meanwhile [default: 2 in 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    switches: Option<u32>,
    /// When the nodes' invariants are checked.
    #[arg(long, value_enum, default_value_t = CheckChoice::Sampled)]
    check: CheckChoice,
    /// Exits with 0 whatever the figures are.
    #[arg(long)]
    no_verdict: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CryptoChoice {
    Ideal,
    Real,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CheckChoice {
    /// After every event.
    Every,
    /// After every thousandth event and at the end.
    Sampled,
    /// At the end.
    End,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = digits.parse().map_err(|_| String::from("expected a time such as 180s, 3m or 1h"))?;
    let seconds = match unit {
        "" | "s" => number,
        "m" => number.saturating_mul(60),
        "h" => number.saturating_mul(3600),
        _ => return Err(String::from("the unit is none of s, m and h")),
    };
    let duration = Duration::from_secs(seconds);
    let range = Workload::DURATION_MIN..=Duration::from_secs(24 * 3600);
    if range.contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("{text} is not in {}s..=24h", Workload::DURATION_MIN.as_secs()))
    }
}

impl Run {
    fn workload(&self) -> Workload {
        let crypto: Arc<dyn Crypto> = match self.crypto {
            CryptoChoice::Ideal => Arc::new(BookkeepingCrypto::new()),
            CryptoChoice::Real => Arc::new(RealCrypto),
        };
        let mut workload =
            Workload::new(self.nodes as usize, self.clients as usize, self.rooms as usize, self.seed, crypto);
        workload.duration = self.duration;
        workload.finds_per_second = f64::from(self.finds);
        workload.messages = self.messages as usize;
        workload.leaves = self.leaves.map_or(workload.leaves, |leaves| leaves as usize);
        workload.switches = self.switches.map_or(workload.switches, |switches| switches as usize);
        workload.check = match self.check {
            CheckChoice::Every => Check::Every,
            CheckChoice::Sampled => workload.check,
            CheckChoice::End => Check::AtEnd,
        };
        workload
    }

    pub(crate) fn execute(&self) -> Result<ExitCode, String> {
        let trace = match &self.trace {
            Some(path) => {
                let file = File::create(path).map_err(|error| format!("--trace {path}: {error}"))?;
                Some(Box::new(BufWriter::with_capacity(1 << 20, file)))
            }
            None => None,
        };
        let (line, report_panic) = (self.line(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            report_panic(panic);
            eprintln!("unamed-sim: the same again with: {line}");
        }));
        let bar = progress_bar(self.duration);
        let run = self.workload();
        let prepare = |sim: &mut unamed_simulator::Simulation| {
            if let Some(trace) = trace {
                sim.write_trace(trace);
            }
        };
        let mut outcome = run.run(prepare, |progress| {
            if let Some(bar) = &bar {
                bar.set_position(progress.at.as_millis() / 1000);
                let per_second = progress.events as f64 / bar.elapsed().as_secs_f64().max(0.001);
                let (succeeded, eligible) = (progress.finds_succeeded, progress.finds_eligible);
                bar.set_message(format!("{per_second:.0} events/s, finds {succeeded}/{eligible}"));
            }
        });
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        self.conclude(&mut outcome)
    }

    fn conclude(&self, outcome: &mut Outcome) -> Result<ExitCode, String> {
        if let Some(path) = &self.trace {
            outcome.simulation.finish_trace().map_err(|error| format!("--trace {path}: {error}"))?;
        }
        let report = &outcome.report;
        if let Some(path) = &self.json {
            write_json(path, report).map_err(|error| format!("--json {path}: {error}"))?;
        }
        if self.json.as_deref() != Some("-") {
            print!("{report}");
        }
        if self.no_verdict || report.failures.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        for failure in &report.failures {
            eprintln!("unamed-sim: {failure}");
        }
        eprintln!("unamed-sim: the same again with: {}", self.line());
        Ok(ExitCode::FAILURE)
    }

    /// The command that reproduces the run.
    fn line(&self) -> String {
        let mut line = format!(
            "unamed-sim run --nodes {} --clients {} --rooms {} --seed {} --duration {}s --finds {} --messages {}",
            self.nodes,
            self.clients,
            self.rooms,
            self.seed,
            self.duration.as_secs(),
            self.finds,
            self.messages
        );
        for (flag, number) in [("--leaves", self.leaves), ("--switches", self.switches)] {
            if let Some(number) = number {
                line += &format!(" {flag} {number}");
            }
        }
        for (flag, choice) in
            [("--crypto", self.crypto.to_possible_value()), ("--check", self.check.to_possible_value())]
        {
            if let Some(choice) = choice {
                line += &format!(" {flag} {}", choice.get_name());
            }
        }
        line
    }
}

fn write_json(path: &str, report: &Report) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    if path == "-" { io::stdout().write_all(text.as_bytes()) } else { std::fs::write(path, text) }
}

/// A bar over virtual seconds, on a terminal only.
fn progress_bar(duration: Duration) -> Option<ProgressBar> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(duration.as_secs());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} s simulated, {msg}") {
        bar.set_style(style);
    }
    Some(bar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_a_range() {
        for (text, seconds) in [("180", 180), ("300s", 300), ("3m", 180), ("1h", 3600), ("120s", 120)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "s", "-3s", "119s", "25h", "3 m", "3d", "99999999999999999999s", "9999999999999999999h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
