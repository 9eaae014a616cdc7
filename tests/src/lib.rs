//! Running the program `unamed`, and the examples, as real processes, and waiting for what they say.
//!
//! A [`Process`] reads the program's stdout, one JSON object a line, as events; of an example, each line is one. [`Process::wait`] takes the first event
//! that matches, among those that came before and those still to come, and gives up at a deadline: nothing here sleeps.
//! What a process said is kept, so that a test can also say what must not have been said. A dropped process is killed.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
pub use serde_json::{Value, json};

mod certificates;
mod examples;
mod http;
mod nodes;
mod proxies;
mod scratch;
mod usage;

pub use certificates::certificate;
pub use examples::example;
pub use http::http_get;
pub use nodes::{Member, Service, identity, port};
pub use proxies::{Proxy, needed, own_address};
pub use scratch::Scratch;
pub use usage::{Usage, limit_descriptors, may_open};

/// By when an event must have come, unless a test says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_path_buf()
}

/// The program `unamed`: `UNAMED_BIN`, or else what `cargo build` makes of the tree, once per test process.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        std::env::var_os("UNAMED_BIN").map_or_else(|| built_by_cargo("unamed"), PathBuf::from)
    })
}

/// Another program of the workspace: that beside `UNAMED_BIN`, or else what `cargo build` makes of the tree.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let beside = std::env::var_os("UNAMED_BIN").map(|path| Path::new(&path).with_file_name(name));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| built_by_cargo(name))
}

fn built_by_cargo(name: &str) -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--locked", "--workspace", "--bin", name]);
    cargo.args(["--message-format", "json-render-diagnostics"]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "`{name}` cannot be built");
    let built = output.stdout.split(|byte| *byte == b'\n').find_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        let ours = message["target"]["name"] == name;
        ours.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    built.expect("cargo names the program it built")
}

/// `unamed` with these arguments.
pub fn unamed<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program());
    command.args(args);
    command
}

/// A running program that writes JSON events to stdout.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Whether each line is text, and no JSON.
    text: bool,
    /// Events that came and were not taken.
    waiting: VecDeque<Value>,
    /// Every event that came, in order.
    history: Vec<Value>,
    stderr: Arc<(Mutex<String>, Condvar)>,
}

impl Process {
    /// Starts `command`; `name` stands in what failures say.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn(name: &str, command: Command) -> io::Result<Self> {
        Self::start(name, command, false)
    }

    /// Starts `command`, whose stdout is text: each line is an event, a JSON string.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn_text(name: &str, command: Command) -> io::Result<Self> {
        Self::start(name, command, true)
    }

    fn start(name: &str, mut command: Command, text: bool) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let stderr = Arc::new((Mutex::new(String::new()), Condvar::new()));
        if let Some(pipe) = child.stderr.take() {
            let stderr = Arc::clone(&stderr);
            thread::spawn(move || collect(pipe, &stderr));
        }
        let stdin = child.stdin.take();
        let (waiting, history) = (VecDeque::new(), Vec::new());
        Ok(Self { name: name.to_owned(), child, stdin, lines, text, waiting, history, stderr })
    }

    /// The first event that matches and was not taken before, by `deadline`.
    ///
    /// # Errors
    /// What was waited for, and what came instead.
    pub fn try_wait(
        &mut self,
        what: &str,
        deadline: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<Value, String> {
        if let Some(index) = self.waiting.iter().position(&matches)
            && let Some(event) = self.waiting.remove(index)
        {
            return Ok(event);
        }
        let until = Instant::now() + deadline;
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Ok(Some(event)) if matches(&event) => return Ok(event),
                Ok(Some(event)) => self.waiting.push_back(event),
                Ok(None) => {
                    return Err(self.complaint(what, &format!("no such event in {} s", deadline.as_secs())));
                }
                Err(problem) => return Err(self.complaint(what, &problem)),
            }
        }
    }

    /// The next event of the process, without a look at earlier ones; `None` if it says nothing for `timeout`.
    ///
    /// # Errors
    /// If its output has ended, or is not an event.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Value>, String> {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => self.take_line(&line).map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("its output ended".to_owned()),
        }
    }

    /// As [`try_wait`](Self::try_wait) by [`DEADLINE`].
    ///
    /// # Panics
    /// If nothing matching comes in time.
    #[track_caller]
    pub fn wait(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(what, DEADLINE, matches)
    }

    /// As [`try_wait`](Self::try_wait).
    ///
    /// # Panics
    /// If nothing matching comes in time.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, deadline: Duration, matches: impl Fn(&Value) -> bool) -> Value {
        match self.try_wait(what, deadline, matches) {
            Ok(event) => event,
            Err(complaint) => panic!("{complaint}"),
        }
    }

    fn take_line(&mut self, line: &str) -> Result<Value, String> {
        let event = if self.text {
            Value::from(line)
        } else {
            serde_json::from_str(line).map_err(|error| format!("it said {line:?}: {error}"))?
        };
        self.history.push(event.clone());
        Ok(event)
    }

    fn complaint(&self, what: &str, problem: &str) -> String {
        let said: Vec<String> = self.history.iter().map(Value::to_string).collect();
        let stderr = self.stderr();
        format!(
            "{}: waiting for {what}: {problem}\nit said:\n{}\nstderr:\n{stderr}",
            self.name,
            said.join("\n")
        )
    }

    /// Every event so far, taken or not. Only what was read by a `wait` is here: to see all, [`finish`](Self::finish).
    #[must_use]
    pub fn history(&self) -> &[Value] {
        &self.history
    }

    /// What the process wrote to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the process has written `text` to stderr, by [`DEADLINE`].
    ///
    /// # Panics
    /// If it does not in time.
    #[track_caller]
    pub fn wait_says(&self, text: &str) {
        let (said, news) = &*self.stderr;
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |said: &mut String| !said.contains(text);
        let (said, timed_out) =
            news.wait_timeout_while(said, DEADLINE, missing).unwrap_or_else(PoisonError::into_inner);
        assert!(!timed_out.timed_out(), "{}: waiting for {text:?} on stderr, which has:\n{said}", self.name);
    }

    /// Writes one line to stdin.
    ///
    /// # Panics
    /// If stdin is closed.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the process reads its stdin");
    }

    /// Ends the process's input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Asks the process to read its files again (SIGHUP).
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Asks the process to end as Ctrl-C does (SIGINT).
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Asks the process to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the process at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops the process (SIGSTOP): its sockets stay open and nobody reads them.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a stopped process go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks a service node how it is (SIGUSR1); what it says, with `counters`, `tasks`, `links` and `boot`.
    ///
    /// # Panics
    /// If it does not say.
    #[track_caller]
    pub fn metrics(&mut self) -> Value {
        self.signal(Signal::USR1);
        self.wait("its metrics", |event| event["event"] == "metrics")
    }

    /// One counter of a service node.
    ///
    /// # Panics
    /// If it does not say.
    #[track_caller]
    pub fn counter(&mut self, name: &str) -> u64 {
        let metrics = self.metrics();
        metrics["counters"][name].as_u64().unwrap_or_else(|| panic!("{name} is a counter: {metrics}"))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Reads the rest of the output and waits for the end of the process by `deadline`.
    ///
    /// # Errors
    /// If it goes on.
    pub fn try_finish(&mut self, deadline: Duration) -> Result<ExitStatus, String> {
        let until = Instant::now() + deadline;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let event =
                        self.take_line(&line).map_err(|problem| self.complaint("its end", &problem))?;
                    self.waiting.push_back(event);
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.complaint("its end", "it goes on")),
                // Its stdout is closed: it is about to end.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.child.wait().map_err(|error| format!("{}: {error}", self.name))
    }

    /// As [`try_finish`](Self::try_finish); the exit code.
    ///
    /// # Panics
    /// If the process goes on, or was ended by a signal.
    #[track_caller]
    pub fn finish(&mut self) -> i32 {
        self.finish_by(DEADLINE)
    }

    /// As [`finish`](Self::finish) by `deadline`.
    ///
    /// # Panics
    /// If the process goes on, or was ended by a signal.
    #[track_caller]
    pub fn finish_by(&mut self, deadline: Duration) -> i32 {
        match self.try_finish(deadline).map(|status| (status, status.code())) {
            Ok((_, Some(code))) => code,
            Ok((status, None)) => {
                panic!("{}: {status}", self.complaint("its end", "it was ended by a signal"))
            }
            Err(complaint) => panic!("{complaint}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(pipe: impl Read, into: &(Mutex<String>, Condvar)) {
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let mut text = into.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&String::from_utf8_lossy(&line));
        text.push('\n');
        into.1.notify_all();
    }
}
