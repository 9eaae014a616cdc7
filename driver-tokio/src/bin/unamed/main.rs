//! `unamed`: a service node, and rooms in a terminal.
//!
//! Exit codes: 0 ok, 1 anything not named here, 2 usage, 3 a bad file, 4 no bootstrap address reached.

mod args;
mod find;
mod id;
mod input;
mod log;
mod nickname;
mod node;
mod output;
mod room;
mod serve;
mod signals;
mod web;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};

/// Why the program ends otherwise than well.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The command line is wrong in a way that its parser does not see.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// A file is bad.
    pub(crate) fn file(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into() }
    }

    /// No bootstrap address was reached in time.
    pub(crate) fn no_bootstrap(message: impl Into<String>) -> Self {
        Self { code: 4, message: message.into() }
    }

    /// Anything else.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

/// Says something on stderr, which may be closed.
pub(crate) fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "unamed: {message}");
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(args: Args) -> Result<(), Failure> {
    log::start(&args.log)?;
    let Args { command, json, log: _ } = args;
    if let Command::Id(args) = &command {
        return id::run(args, json);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("the runtime did not start: {error}")))?;
    let outcome = runtime.block_on(async move {
        match command {
            Command::Serve(args) => serve::run(args, json).await,
            Command::Room(args) => room::run(args, json).await,
            Command::Find(args) => find::run(args, json).await,
            Command::Id(args) => id::run(&args, json),
        }
    });
    // What still blocks (a name being resolved, a disk) is not waited for.
    runtime.shutdown_background();
    outcome
}
