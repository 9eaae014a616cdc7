//! Developer commands: `cargo xtask test | demo | web | bench | fuzz | coverage | kill | soak | bounds | upgrade |
//! advisories`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod browser;
mod coverage;
mod demo;
mod fuzz;
mod processes;
mod report;
mod run;
mod smoke;
mod steps;
mod tools;
mod upgrade;
mod web;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Developer commands of unamed")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check everything: format, lints, docs, all tests, dependencies, a simulator smoke.
    Test {
        /// Only format, lints and tests.
        #[arg(long)]
        quick: bool,
        /// Test the package with a standard library built from Debian's sources, as `web --build-std` makes it.
        #[arg(long)]
        build_std: bool,
    },
    /// Start two service nodes and two members of a room, and have them talk.
    Demo {
        /// End after the exchange.
        #[arg(long)]
        once: bool,
    },
    /// Build the npm package and the demo page.
    Web {
        /// Build the standard library for browsers from Debian's sources, even where rustup has it.
        #[arg(long)]
        build_std: bool,
    },
    /// Run all benchmarks.
    Bench {
        /// Only benchmarks whose name contains this.
        filter: Option<String>,
    },
    /// Run all fuzz targets in turn under the nightly toolchain.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only this target.
        target: Option<String>,
    },
    /// Tell which lines of wire, link and crypto the tests and fuzz corpora do not run; fails below 95 %.
    Coverage,
    /// Kill a service node again and again while it starts, writes its state, runs and ends; its state must stay whole.
    Kill {
        /// How often.
        #[arg(long, default_value_t = 200)]
        times: u64,
        /// What the moments are drawn from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Hold connections to a service node under traffic and churn; what it takes of the machine must not grow.
    Soak {
        /// For how long, from when all are connected.
        #[arg(long, default_value_t = 15)]
        minutes: u64,
        /// WebSocket connections.
        #[arg(long, default_value_t = 2000)]
        connections: u64,
    },
    /// Show each collection of a node very many hostile keys; what it holds must not grow.
    Bounds {
        /// How many; a twentieth of them as identities.
        #[arg(long, default_value_t = 1_000_000)]
        keys: u64,
    },
    /// Replace service nodes of an earlier commit's program by the tree's, one after another, while members talk.
    Upgrade {
        /// The earlier commit.
        #[arg(long, default_value = "HEAD^")]
        from: String,
    },
    /// Check the dependencies against the database of security advisories, which is fetched.
    Advisories,
}

fn main() -> ExitCode {
    let root = run::root();
    let good = match Args::parse().command {
        Command::Test { quick, build_std } => steps::test(&root, quick, build_std),
        Command::Demo { once } => demo::demo(&root, once),
        Command::Web { build_std } => web::web(&root, build_std),
        Command::Bench { filter } => bench::bench(&root, filter.as_deref()),
        Command::Fuzz { seconds, target } => fuzz::fuzz(&root, seconds, target.as_deref()),
        Command::Coverage => coverage::coverage(&root),
        Command::Kill { times, seed } => processes::kill(&root, times, seed),
        Command::Soak { minutes, connections } => processes::soak(&root, minutes, connections),
        Command::Bounds { keys } => processes::bounds(&root, keys),
        Command::Upgrade { from } => said(upgrade::upgrade(&root, &from)),
        Command::Advisories => steps::advisories(&root),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what went wrong, if something did; whether nothing did.
fn said(outcome: Result<(), String>) -> bool {
    if let Err(why) = &outcome {
        eprintln!("{why}");
    }
    outcome.is_ok()
}
