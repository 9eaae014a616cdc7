//! The account of a run: each step with its time and outcome.

use std::time::{Duration, Instant};

/// How a step went.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It holds.
    Passed,
    /// It could not be run, and why.
    Skipped(String),
    /// It does not hold, and why.
    Failed(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(why) => Self::Failed(why),
        }
    }
}

/// All steps so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<(String, Duration, Outcome)>,
}

impl Report {
    /// Runs one step and notes its outcome.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce() -> Outcome) {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = run();
        let took = start.elapsed();
        println!("<== {name}: {} in {:.1} s", words(&outcome), took.as_secs_f64());
        self.steps.push((name.to_owned(), took, outcome));
    }

    /// Prints the table of steps; whether none failed.
    pub(crate) fn finish(&self) -> bool {
        println!();
        for (name, took, outcome) in &self.steps {
            println!("{:>8.1} s  {name}: {}", took.as_secs_f64(), words(outcome));
        }
        let failed =
            self.steps.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Failed(_))).count();
        let skipped =
            self.steps.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Skipped(_))).count();
        let held = self.steps.len().saturating_sub(failed).saturating_sub(skipped);
        let took: Duration = self.steps.iter().map(|(_, took, _)| *took).sum();
        println!(
            "{:>8.1} s  in all: {held} steps hold, {skipped} skipped, {failed} do not",
            took.as_secs_f64()
        );
        failed == 0
    }
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed => "ok".to_owned(),
        Outcome::Skipped(why) => format!("skipped: {why}"),
        Outcome::Failed(why) => format!("FAILED: {why}"),
    }
}
