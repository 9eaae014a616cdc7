//! `unamed`: a service node, and rooms in a terminal.
//!
//! Exit codes: 0 ok, 1 anything not named here, 2 usage, 3 a bad file, 4 no bootstrap address reached.

mod args;
#[cfg(unix)]
mod ask;
mod bounds;
mod config;
#[cfg(unix)]
mod control;
mod find;
mod http;
mod id;
mod input;
mod log;
mod metrics;
mod nickname;
mod node;
mod output;
mod process;
mod room;
mod serve;
mod signals;
#[cfg(unix)]
mod status;
mod units;
mod web;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::args::{Args, Command, ConfigCommand};
pub(crate) use crate::log::say;

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

    /// The same of a file in which it was found.
    pub(crate) fn within(self, file: &Path) -> Self {
        Self { message: format!("--config {}: {}", file.display(), self.message), ..self }
    }

    /// Anything else.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

fn main() -> ExitCode {
    match config::command_line().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::complain(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(args: Args) -> Result<(), Failure> {
    log::start(&args.log, args.log_format)?;
    let Args { command, json, log: _, log_format: _, config: _ } = args;
    match &command {
        Command::Id(args) => return id::run(args, json),
        Command::Config(command) => return settings(command),
        Command::Serve(_) | Command::Room(_) | Command::Find(_) | Command::Status(_) | Command::Trace(_) => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("the runtime did not start: {error}")))?;
    let outcome = runtime.block_on(async move {
        match command {
            Command::Serve(args) => serve::run(*args, json).await,
            Command::Room(args) => room::run(args, json).await,
            Command::Find(args) => find::run(args, json).await,
            #[cfg(unix)]
            Command::Status(args) => ask::status(args, json).await,
            #[cfg(unix)]
            Command::Trace(args) => ask::trace(args, json).await,
            #[cfg(not(unix))]
            Command::Status(_) | Command::Trace(_) => {
                Err(Failure::other("there are no Unix sockets on this system"))
            }
            Command::Id(args) => id::run(&args, json),
            Command::Config(command) => settings(&command),
        }
    });
    // What still blocks (a name being resolved, a disk) is not waited for.
    runtime.shutdown_background();
    outcome
}

/// `unamed config`
fn settings(command: &ConfigCommand) -> Result<(), Failure> {
    let text = match command {
        ConfigCommand::Check { file } => {
            config::check(file)?;
            format!("{}: ok\n", file.display())
        }
        ConfigCommand::Example => config::example(),
    };
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::other(format!("stdout: {error}")))
}
