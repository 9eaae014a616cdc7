//! The simulator's command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod compare;
mod run;
mod swarm;
mod sweep;

/// Simulates networks of rooms: many nodes in one process, in virtual time, the same for the same seed.
#[derive(Debug, Parser)]
#[command(name = "unamed-sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a scenario and judges it: exit code 1 if something that must hold does not.
    Run(Box<run::Run>),
    /// Runs a grid of scenarios with several seeds into a table: exit code 1 if something did not hold in a run.
    Sweep(sweep::Sweep),
    /// Runs many small scenarios, each drawn from its seed, with faults and then without: exit code 1 if something did
    /// not hold.
    Swarm(swarm::Swarm),
    /// Tells what changed between two sets of runs beyond noise: exit code 1 if anything did, 3 for a bad file.
    Compare(compare::Compare),
}

impl Command {
    fn execute(&self) -> Result<ExitCode, String> {
        match self {
            Self::Run(run) => run.execute(),
            Self::Sweep(sweep) => Ok(sweep.execute()),
            Self::Swarm(swarm) => Ok(swarm.execute()),
            Self::Compare(compare) => Ok(compare.execute()),
        }
    }
}

fn main() -> ExitCode {
    match Arguments::parse().command.execute() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("unamed-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (flag, value) in [("--nodes", "0"), ("--rooms", "x"), ("--duration", "1s"), ("--seed", "-1")] {
            let error = Arguments::try_parse_from(["unamed-sim", "run", &format!("{flag}={value}")]);
            let error = error.expect_err("it is out of range");
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains(flag) && text.contains(value), "{text}");
        }
    }
}
