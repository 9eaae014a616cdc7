//! `unamed-sim run`: one run of a scenario, and its verdict.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use unamed_simulator::plots::{self, About};
use unamed_simulator::scenario::{CryptoKind, duration_text, parse_duration};
use unamed_simulator::{Check, ChurnModel, Outcome, Progress, Report, RunOptions, Scenario, TraceSample};

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Scenario file, TOML; without one, the standard scenario runs. Flags override what it says.
    #[arg(value_name = "SCENARIO.toml")]
    scenario: Option<String>,
    /// Service nodes [default: 50].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    nodes: Option<u32>,
    /// Client nodes in total [default: 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    clients: Option<u32>,
    /// Rooms, of 2 to 10 members each [default: 25].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: Option<u32>,
    /// Decides everything that is random [default: 1].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Virtual time in all, as 180s or 20m; at least 110s unless the file has shorter phases [default: 180s].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Sessions of service nodes: none, exp:MEDIAN_MINUTES, kad, harsh or browser [default: none].
    #[arg(long, value_name = "MODEL")]
    churn: Option<ChurnModel>,
    /// Sessions of clients, likewise [default: none].
    #[arg(long, value_name = "MODEL")]
    client_churn: Option<ChurnModel>,
    /// Ideal crypto is quick; real crypto is what a network uses. Both take the same decisions [default: ideal].
    #[arg(long, value_enum)]
    crypto: Option<CryptoChoice>,
    /// Writes the figures as one JSON object, `-` to standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    /// Writes a report folder: figures as SVG and PNG, the data, and one page that holds all.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Writes all that happens as JSON lines. Large.
    #[arg(long, value_name = "FILE")]
    trace: Option<String>,
    /// Share of nodes whose events the trace has.
    #[arg(long, value_name = "1/N", default_value = "1/1", requires = "trace")]
    trace_sample: TraceSample,
    /// Finds by strangers per second [default: 50].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    finds: Option<u32>,
    /// Messages that each member of each room sends, in the mean [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    messages: Option<u32>,
    /// Clients that leave or crash while finds are measured [default: 3 in 100, none with churn].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    leaves: Option<u32>,
    /// Clients that switch their primary room meanwhile [default: 2 in 100, none with churn].
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
    let duration = parse_duration(text)?;
    let range = Duration::from_secs(5)..=Scenario::DURATION_MAX;
    if range.contains(&duration) { Ok(duration) } else { Err(format!("{text} is not in 5s..=168h")) }
}

impl Run {
    /// The scenario of the file, or the standard one, with what the flags say.
    fn scenario(&self) -> Result<Scenario, String> {
        let mut scenario = match &self.scenario {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
                Scenario::parse(&text).map_err(|error| format!("{path}: {error}"))?
            }
            None => Scenario::default(),
        };
        let set = &mut scenario;
        set.seed = self.seed.unwrap_or(set.seed);
        set.duration = self.duration.unwrap_or(set.duration);
        set.nodes.service = self.nodes.unwrap_or(set.nodes.service);
        if self.clients.is_some() {
            (set.nodes.clients, set.nodes.clients_per_service) = (self.clients, None);
        }
        if self.rooms.is_some() {
            let workload = &mut set.workload;
            (workload.rooms, workload.rooms_per_client, workload.rooms_each) = (self.rooms, None, None);
        }
        set.churn.service = self.churn.unwrap_or(set.churn.service);
        set.churn.clients = self.client_churn.unwrap_or(set.churn.clients);
        set.crypto = match self.crypto {
            Some(CryptoChoice::Ideal) => CryptoKind::Ideal,
            Some(CryptoChoice::Real) => CryptoKind::Real,
            None => set.crypto,
        };
        let workload = &mut set.workload;
        workload.finds_per_s = self.finds.map_or(workload.finds_per_s, f64::from);
        workload.messages = self.messages.map_or(workload.messages, f64::from);
        workload.leaves = self.leaves.or(workload.leaves);
        workload.switches = self.switches.or(workload.switches);
        scenario.check().map_err(|error| error.to_string())?;
        Ok(scenario)
    }

    fn options(&self) -> Result<RunOptions, String> {
        let mut options = RunOptions { trace_sample: self.trace_sample, ..RunOptions::default() };
        if let Some(path) = &self.trace {
            let file = File::create(path).map_err(|error| format!("--trace {path}: {error}"))?;
            options.trace = Some(Box::new(BufWriter::with_capacity(1 << 20, file)));
        }
        options.check = match self.check {
            CheckChoice::Every => Check::Every,
            CheckChoice::Sampled => options.check,
            CheckChoice::End => Check::AtEnd,
        };
        Ok(options)
    }

    pub(crate) fn execute(&self) -> Result<ExitCode, String> {
        let (scenario, options) = (self.scenario()?, self.options()?);
        let (line, report_panic) = (self.line(&scenario), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            report_panic(panic);
            eprintln!("unamed-sim: the same again with: {line}");
        }));
        let mut watch = Watch::new(scenario.duration);
        let mut outcome = scenario.run(options, |progress| watch.tell(progress));
        watch.bar.finish_and_clear();
        self.conclude(&scenario, &mut outcome)
    }

    fn conclude(&self, scenario: &Scenario, outcome: &mut Outcome) -> Result<ExitCode, String> {
        if let Some(path) = &self.trace {
            outcome.simulation.finish_trace().map_err(|error| format!("--trace {path}: {error}"))?;
        }
        let report = &outcome.report;
        if let Some(path) = &self.json {
            write_json(path, report).map_err(|error| format!("--json {path}: {error}"))?;
        }
        if let Some(dir) = &self.report {
            plots::write(dir, report, &outcome.recording, &self.about(scenario))
                .map_err(|error| format!("--report {error}"))?;
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
        eprintln!("unamed-sim: the same again with: {}", self.line(scenario));
        Ok(ExitCode::FAILURE)
    }

    /// What the report says of where it comes from.
    fn about(&self, scenario: &Scenario) -> About {
        let name = self.scenario.as_deref().map(Path::new).and_then(Path::file_stem);
        let name = name.map_or_else(|| "standard scenario".into(), |name| name.to_string_lossy());
        let (nodes, clients) = (scenario.nodes.service, scenario.client_nodes());
        About {
            title: format!("{name}: {nodes} service nodes, {clients} clients, seed {}", scenario.seed),
            command: self.line(scenario),
            // A file that went away during the run is no reason to lose the report.
            scenario: self.scenario.as_ref().and_then(|path| std::fs::read_to_string(path).ok()),
        }
    }

    /// The command that reproduces the run.
    fn line(&self, scenario: &Scenario) -> String {
        let mut line = String::from("unamed-sim run");
        if let Some(path) = &self.scenario {
            line += &format!(" {path}");
        }
        line += &format!(
            " --nodes {} --clients {} --seed {} --duration {}",
            scenario.nodes.service,
            scenario.client_nodes(),
            scenario.seed,
            duration_text(scenario.duration)
        );
        if scenario.workload.rooms_each.is_none() {
            line += &format!(" --rooms {}", scenario.room_count());
        }
        let models = [("--churn", self.churn), ("--client-churn", self.client_churn)];
        for (flag, model) in models {
            line += &model.map_or_else(String::new, |model| format!(" {flag} {model}"));
        }
        let numbers = [
            ("--finds", self.finds),
            ("--messages", self.messages),
            ("--leaves", self.leaves),
            ("--switches", self.switches),
        ];
        for (flag, number) in numbers {
            line += &number.map_or_else(String::new, |number| format!(" {flag} {number}"));
        }
        let choices = [
            ("--crypto", self.crypto.and_then(|choice| choice.to_possible_value())),
            ("--check", self.check.to_possible_value()),
        ];
        for (flag, choice) in choices {
            line += &choice.map_or_else(String::new, |choice| format!(" {flag} {}", choice.get_name()));
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
/// How far a run is: a bar on a terminal, else a line now and then, which is what a log of a long run wants.
struct Watch {
    bar: ProgressBar,
    /// Real time at which the next line is due; never on a terminal.
    line_at: Option<Duration>,
}

impl Watch {
    /// Real time between two lines.
    const PAUSE: Duration = Duration::from_secs(60);

    fn new(duration: Duration) -> Self {
        let bar = ProgressBar::new(duration.as_secs());
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} s simulated, {msg}") {
            bar.set_style(style);
        }
        Self { bar, line_at: (!io::stderr().is_terminal()).then_some(Self::PAUSE) }
    }

    fn tell(&mut self, progress: Progress) {
        let Watch { bar, line_at } = self;
        let (simulated, passed) = (progress.at.as_millis() / 1000, bar.elapsed());
        let per_second = progress.events as f64 / passed.as_secs_f64().max(0.001);
        let (succeeded, eligible) = (progress.finds_succeeded, progress.finds_eligible);
        let text = format!("{per_second:.0} events/s, finds {succeeded}/{eligible}");
        match line_at {
            None => {
                bar.set_position(simulated);
                bar.set_message(text);
            }
            Some(at) if passed >= *at => {
                *at = passed + Self::PAUSE;
                let length = bar.length().unwrap_or_default();
                eprintln!("{simulated}/{length} s simulated in {:.0} s, {text}", passed.as_secs_f64());
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: Run,
    }

    fn scenario(arguments: &[&str]) -> Result<Scenario, String> {
        let line = Line::try_parse_from([&["run"], arguments].concat()).map_err(|error| error.to_string())?;
        line.run.scenario()
    }

    #[test]
    fn flags_alone_make_a_scenario() {
        let arguments =
            ["--nodes", "7", "--clients", "20", "--rooms", "5", "--churn", "exp:10", "--seed", "3"];
        let mut expected = Scenario::new(7, 20, 5, 3);
        expected.churn.service = ChurnModel::Exponential(10.0);
        assert_eq!(scenario(&arguments), Ok(expected));
        let standard = scenario(&[]).expect("the standard scenario");
        assert_eq!((standard.nodes.service, standard.client_nodes(), standard.room_count()), (50, 100, 25));
    }

    #[test]
    fn durations_have_a_unit_and_a_range() {
        for (text, seconds) in [("180", 180), ("300s", 300), ("3m", 180), ("1h", 3600), ("120s", 120)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "s", "-3s", "4s", "169h", "3 m", "3d", "99999999999999999999s", "9999999999999999999h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(
            scenario(&["--duration", "100s"]),
            Err("duration: 100s is not in 110s..=604800s".to_owned())
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name() {
        let error = scenario(&["/nowhere/at/all.toml"]).expect_err("there is no such file");
        assert!(error.starts_with("/nowhere/at/all.toml: "), "{error}");
    }
}
