//! Service nodes and members of rooms as processes.

use std::path::Path;
use std::process::Command;

use crate::{Process, Scratch, Value, program, unamed};

/// A running `unamed serve` on a free port of the loopback interface.
#[derive(Debug)]
pub struct Service {
    /// The process.
    pub process: Process,
    /// Its address with its peer id.
    pub address: String,
    /// Its peer id.
    pub peer: String,
}

impl Service {
    /// Starts a service node with its state in `scratch/name`.
    ///
    /// # Panics
    /// If it does not say where it listens.
    #[must_use]
    #[track_caller]
    pub fn start(scratch: &Scratch, name: &str, bootstraps: &[&str]) -> Self {
        let bootstraps = bootstraps.iter().flat_map(|address| ["--bootstrap", address]);
        let args: Vec<&str> = ["--listen", "127.0.0.1:0"].into_iter().chain(bootstraps).collect();
        Self::start_with(scratch, name, &args)
    }

    /// Starts a service node with its state in `scratch/name` and these further arguments.
    ///
    /// # Panics
    /// If it does not say where it listens.
    #[must_use]
    #[track_caller]
    pub fn start_with(scratch: &Scratch, name: &str, args: &[&str]) -> Self {
        Self::start_of(program(), scratch, name, args)
    }

    /// The same of another program than that of the tree.
    ///
    /// # Panics
    /// If it does not say where it listens.
    #[must_use]
    #[track_caller]
    pub fn start_of(program: &Path, scratch: &Scratch, name: &str, args: &[&str]) -> Self {
        let state = scratch.file(name);
        let mut command = Command::new(program);
        command.args(["serve", "--json", "--state", &state]).args(args);
        let mut process = Process::spawn(name, command).unwrap_or_else(|error| panic!("{name}: {error}"));
        let event = process.wait("its address", |event| event["event"] == "listening");
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{name}: {event}")).to_owned();
        Self { address: text(&event["addresses"][0]), peer: text(&event["peer_id"]), process }
    }
}

/// A running `unamed room`.
#[derive(Debug)]
pub struct Member {
    /// The process.
    pub process: Process,
    /// Its peer id.
    pub peer: String,
}

impl Member {
    /// Starts a member with an identity of its own in `scratch`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start(scratch: &Scratch, name: &str, room: &str, bootstrap: &str, args: &[&str]) -> Self {
        Self::start_of(program(), scratch, name, room, bootstrap, args)
    }

    /// The same of another program than that of the tree.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start_of(
        program: &Path,
        scratch: &Scratch,
        name: &str,
        room: &str,
        bootstrap: &str,
        args: &[&str],
    ) -> Self {
        let (key, state) = (scratch.file(&format!("{name}.key")), scratch.file(name));
        let peer = identity(&key);
        let mut command = Command::new(program);
        command.args(["room", room, "--bootstrap", bootstrap, "--json", "--identity", &key]);
        command.args(["--state", &state]).args(args);
        let process = Process::spawn(name, command).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { process, peer }
    }

    /// Waits until this member sees `other`: listed on joining, or joining later.
    ///
    /// # Panics
    /// If it does not in time.
    #[track_caller]
    pub fn wait_sees(&mut self, other: &str) {
        // The event of joining lists several members, so that it may answer several waits: it is not taken.
        if self.process.history().iter().any(|event| is_sight(event, other)) {
            return;
        }
        self.process.wait(&format!("the sight of {other}"), |event| is_sight(event, other));
    }

    /// Waits for a message of `from` with this text; the message.
    ///
    /// # Panics
    /// If it does not come in time.
    #[track_caller]
    pub fn wait_hears(&mut self, from: &str, text: &str) -> Value {
        self.process.wait(&format!("{text:?} of {from}"), |event| is_message(event, from, text))
    }

    /// How often `other` was seen to come, in joining or later.
    #[must_use]
    pub fn sights(&self, other: &str) -> usize {
        self.process.history().iter().filter(|event| is_sight(event, other)).count()
    }

    /// How often this message was heard.
    #[must_use]
    pub fn heard(&self, from: &str, text: &str) -> usize {
        self.process.history().iter().filter(|event| is_message(event, from, text)).count()
    }
}

fn is_sight(event: &Value, other: &str) -> bool {
    match event["event"].as_str() {
        Some("joined") => {
            event["members"].as_array().is_some_and(|list| list.iter().any(|peer| peer == other))
        }
        Some("member_joined") => event["peer_id"] == other,
        _ => false,
    }
}

fn is_message(event: &Value, from: &str, text: &str) -> bool {
    event["event"] == "message" && event["from"] == from && event["text"] == text
}

/// Creates or reads an identity file; its peer id.
///
/// # Panics
/// If `unamed id` fails.
#[must_use]
#[track_caller]
pub fn identity(file: &str) -> String {
    let mut process = match Process::spawn("id", unamed(["id", "--json", "--identity", file])) {
        Ok(process) => process,
        Err(error) => panic!("id: {error}"),
    };
    let event = process.wait("a peer id", |event| event["peer_id"].is_string());
    assert_eq!(process.finish(), 0, "{}", process.stderr());
    event["peer_id"].as_str().unwrap_or_default().to_owned()
}

/// The TCP port in a multiaddr.
///
/// # Panics
/// If there is none.
#[must_use]
#[track_caller]
pub fn port(address: &str) -> u16 {
    let port = address.split('/').skip_while(|part| *part != "tcp").nth(1).and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("{address} names a port"))
}
