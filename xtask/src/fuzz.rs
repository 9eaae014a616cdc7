//! `cargo xtask fuzz`.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::tools::Tool;
use crate::{run, tools};

/// What libFuzzer says of a target at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    per_second: u64,
    /// Edges of the program that inputs have reached.
    edges: u64,
    /// Edges with how often they were taken, which libFuzzer calls features.
    features: u64,
    /// Inputs that reach what others do not.
    inputs: u64,
}

impl Figures {
    /// Takes what a line like `#4096 DONE cov: 812 ft: 2301 corp: 120/9Kb lim: 176 exec/s: 2048 rss: 45Mb` says.
    fn take(&mut self, line: &str) {
        let Some(executions) = line.strip_prefix('#').and_then(|rest| rest.split_whitespace().next()) else {
            return;
        };
        let Ok(executions) = executions.parse() else { return };
        self.executions = executions;
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            let figure = match word {
                "cov:" => &mut self.edges,
                "ft:" => &mut self.features,
                "corp:" => &mut self.inputs,
                "exec/s:" => &mut self.per_second,
                _ => continue,
            };
            let number = words.next().and_then(|number| number.split('/').next());
            *figure = number.and_then(|number| number.parse().ok()).unwrap_or(*figure);
        }
    }
}

/// Runs each fuzz target for `seconds`; goes on after a finding, and fails at the end.
pub(crate) fn fuzz(root: &Path, seconds: u64, only: Option<&str>) -> bool {
    let Some(tool) = tools::find_or_install(root, "fuzz", &[]) else {
        eprintln!("fuzz: there is no cargo-fuzz");
        return false;
    };
    let Some(list) = run::output(&mut nightly(&tool, root, &["list"])) else {
        eprintln!("fuzz: `cargo fuzz list` fails; is there a fuzz/ folder, and a nightly toolchain?");
        return false;
    };
    let targets = list.lines().map(str::trim).filter(|line| only.is_none_or(|only| *line == only));
    let (mut failed, mut rows) = (Vec::new(), Vec::new());
    for target in targets.filter(|line| !line.is_empty()) {
        println!("\n==> {target}, {seconds} s");
        match one(&tool, root, target, seconds) {
            Ok(figures) => rows.push((target.to_owned(), figures)),
            Err(why) => failed.push(format!("{target}: {why}")),
        }
    }
    table(&rows);
    for failure in &failed {
        eprintln!("fuzz: {failure}");
    }
    failed.is_empty() && !rows.is_empty()
}

/// A command of cargo-fuzz under the nightly toolchain.
fn nightly(tool: &Tool, root: &Path, args: &[&str]) -> Command {
    let mut command = tool.command(root, args);
    // cargo-fuzz calls plain `cargo` and `rustc`; this is how rustup's own `+nightly` reaches them.
    command.env("RUSTUP_TOOLCHAIN", "nightly").env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTDOC");
    command
}

/// Runs one target.
///
/// # Errors
/// What was found, or went wrong, as one line.
fn one(tool: &Tool, root: &Path, target: &str, seconds: u64) -> Result<Figures, String> {
    let seeds = format!("fuzz/corpus/{target}");
    let found = run::target_dir(root).join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    // libFuzzer writes what it finds into the first folder; the committed one is only read.
    let (found, time) = (found.to_string_lossy(), format!("-max_total_time={seconds}"));
    // All code of the project is safe: assertions and overflow checks find what there is, ten times as quickly.
    let mut args = vec!["run", "--sanitizer", "none", target, &found];
    if root.join(&seeds).is_dir() {
        args.push(&seeds);
    }
    args.extend(["--", time.as_str(), "-rss_limit_mb=2048", "-timeout=20"]);
    let figures = Mutex::new(Figures::default());
    let look = |line: &str| {
        if let Ok(mut figures) = figures.lock() {
            figures.take(line);
        }
    };
    run::run_and_look(&mut nightly(tool, root, &args), look)?;
    figures.into_inner().map_err(|_| "its output could not be read".to_owned())
}

fn table(rows: &[(String, Figures)]) {
    println!(
        "\n{:<12} {:>12} {:>10} {:>8} {:>9} {:>7}",
        "target", "executions", "per second", "edges", "features", "corpus"
    );
    for (target, figures) in rows {
        let Figures { executions, per_second, edges, features, inputs } = figures;
        println!("{target:<12} {executions:>12} {per_second:>10} {edges:>8} {features:>9} {inputs:>7}");
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn the_last_line_of_libfuzzer_counts() {
        let mut figures = Figures::default();
        for line in [
            "INFO: Seed: 123",
            "#2 INITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 40Mb",
            "#4096 DONE   cov: 812 ft: 2301 corp: 120/9Kb lim: 176 exec/s: 2048 rss: 45Mb",
            "Done 4096 runs in 2 second(s)",
        ] {
            figures.take(line);
        }
        let expected =
            Figures { executions: 4096, per_second: 2048, edges: 812, features: 2301, inputs: 120 };
        assert_eq!(figures, expected);
    }
}
