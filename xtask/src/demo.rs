//! `cargo xtask demo`: two service nodes and two members of one room, as processes of their own, and the demo page.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use unamed_tests::{Process, Scratch};

use crate::{run, web};

/// By when each step must have happened.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often Ctrl-C is looked for.
const TICK: Duration = Duration::from_millis(200);
const ROOM: &str = "demo";
/// Where the page is. With `--once`, when nobody looks at it, any free port.
const WEB: &str = "127.0.0.1:8888";

/// Why the demo ends early.
enum Stop {
    Interrupted,
    Failed(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Runs the demo; whether it went well. Every process it starts has ended when it returns.
pub(crate) fn demo(root: &Path, once: bool) -> bool {
    println!("Building the page …");
    let page =
        web::build(root, false).map_err(|why| println!("There will be no page for browsers: {why}")).is_ok();
    println!("Building unamed …");
    if let Err(why) =
        run::run(&mut run::cargo(root, &["build", "--locked", "-p", "unamed-tokio", "--bin", "unamed"]))
    {
        eprintln!("demo: {why}");
        return false;
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    if let Err(error) = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)) {
        eprintln!("demo: Ctrl-C cannot be caught: {error}");
        return false;
    }
    let program = run::target_dir(root).join("debug/unamed");
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => {
            eprintln!("demo: no temporary folder: {error}");
            return false;
        }
    };
    let web = page.then_some(if once { "127.0.0.1:0" } else { WEB });
    let mut demo = Demo { program, scratch, interrupted, web, running: Vec::new() };
    let result = demo.talk().and_then(|()| if once { Ok(()) } else { demo.listen() });
    demo.end();
    match result {
        Ok(()) => {
            println!("\nThe exchange is complete.");
            true
        }
        // After the exchange, Ctrl-C is how the demo ends.
        Err(Stop::Interrupted) => !once,
        Err(Stop::Failed(why)) => {
            eprintln!("\ndemo: {why}");
            false
        }
    }
}

struct Demo {
    program: PathBuf,
    scratch: Scratch,
    interrupted: Arc<AtomicBool>,
    /// Where the first service node serves the page, if there is one.
    web: Option<&'static str>,
    /// In the order of their start.
    running: Vec<(String, Process)>,
}

impl Demo {
    /// Starts everything and has both members hear each other.
    fn talk(&mut self) -> Result<(), Stop> {
        println!("Starting two service nodes …");
        let (first, page) =
            self.serve("service node 1", &self.web.map(|web| ["--web", web]).unwrap_or_default())?;
        let (second, _) = self.serve("service node 2", &["--bootstrap", &first])?;
        println!("\nTwo people join the room \"{ROOM}\", each through another service node …");
        let anna = self.member("Anna", &first)?;
        let ben = self.member("Ben", &second)?;
        self.wait(anna, "somebody else in the room", sees_another)?;
        self.wait(ben, "somebody else in the room", sees_another)?;
        println!("  They see each other.\n");
        self.say(anna, ben, "Hello Ben, this is Anna.")?;
        self.say(ben, anna, "Hello Anna, I hear you.")?;
        println!("\nJoin them from another terminal, and type:\n");
        println!("  {} room {ROOM} --bootstrap {first} --stay\n", self.program.display());
        if let Some(page) = page {
            println!("or open this page in a browser, in several tabs, and join \"{ROOM}\":\n\n  {page}\n");
        }
        Ok(())
    }

    /// Shows what the members hear until Ctrl-C.
    fn listen(&mut self) -> Result<(), Stop> {
        println!("Ctrl-C ends the demo.\n");
        loop {
            let Some((name, member)) = self.running.last_mut() else { return Ok(()) };
            let heard = member.next(TICK).map_err(|why| format!("{name}: {why}"))?;
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Stop::Interrupted);
            }
            let Some(event) = heard else { continue };
            println!("  {name} sees: {}", shown(&event));
            if event["event"] == "member_joined" {
                member.say("Welcome!");
            }
        }
    }

    /// Starts a service node; its address, and that of its page.
    fn serve(&mut self, name: &str, more: &[&str]) -> Result<(String, Option<String>), Stop> {
        let state = self.scratch.file(&name.replace(' ', "-"));
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--json", "--state", &state];
        args.extend(more.iter().filter(|arg| !arg.is_empty()));
        let index = self.start(name, &args)?;
        let event = self.wait(index, "its address", |event| event["event"] == "listening")?;
        let address =
            event["addresses"][0].as_str().ok_or_else(|| format!("{name} has no address: {event}"))?;
        println!("  {name} listens on {address}");
        Ok((address.to_owned(), event["web"].as_str().map(str::to_owned)))
    }

    /// Starts a member; its index.
    fn member(&mut self, name: &str, bootstrap: &str) -> Result<usize, Stop> {
        let state = self.scratch.file(name);
        let index =
            self.start(name, &["room", ROOM, "--bootstrap", bootstrap, "--state", &state, "--json"])?;
        println!("  {name} joins through {bootstrap}");
        Ok(index)
    }

    fn start(&mut self, name: &str, args: &[&str]) -> Result<usize, Stop> {
        let mut command = Command::new(&self.program);
        // A group of its own: Ctrl-C reaches this program alone, which then ends the others in order.
        command.args(args).process_group(0);
        let process = Process::spawn(name, command).map_err(|error| format!("{name}: {error}"))?;
        self.running.push((name.to_owned(), process));
        Ok(self.running.len() - 1)
    }

    /// One says a line and the other hears it.
    fn say(&mut self, from: usize, to: usize, line: &str) -> Result<(), Stop> {
        let (speaker, process) = &mut self.running[from];
        let speaker = speaker.clone();
        process.say(line);
        println!("  {speaker} says:  {line}");
        self.wait(to, &format!("{line:?}"), |event| event["event"] == "message" && event["text"] == line)?;
        println!("  {} hears: {line}", self.running[to].0);
        Ok(())
    }

    fn wait(&mut self, index: usize, what: &str, matches: impl Fn(&Value) -> bool) -> Result<Value, Stop> {
        let until = Instant::now() + DEADLINE;
        let (name, process) = &mut self.running[index];
        loop {
            let event =
                process.next(TICK).map_err(|why| format!("{name}: {why}: {}", process.stderr().trim()))?;
            if let Some(event) = event.filter(&matches) {
                return Ok(event);
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Stop::Interrupted);
            }
            if Instant::now() > until {
                let after = DEADLINE.as_secs();
                return Err(Stop::Failed(format!(
                    "{name} waits for {what} in vain for {after} s: {}",
                    process.stderr()
                )));
            }
        }
    }

    /// Ends everything, the last started first: members leave in good order, then the service nodes.
    fn end(&mut self) {
        while let Some((name, mut process)) = self.running.pop() {
            process.close_stdin();
            process.terminate();
            if process.try_finish(Duration::from_secs(10)).is_err() {
                eprintln!("{name} does not end when asked: it is killed");
                process.kill();
            }
        }
    }
}

/// Whether an event says that another member is there.
fn sees_another(event: &Value) -> bool {
    let joined =
        event["event"] == "joined" && event["members"].as_array().is_some_and(|list| !list.is_empty());
    joined || event["event"] == "member_joined"
}

/// An event in words.
fn shown(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or("?").to_owned();
    match event["event"].as_str() {
        Some("message") => format!("{} says: {}", text("from"), event["text"].as_str().unwrap_or("(bytes)")),
        Some("member_joined") => format!("{} joins", text("peer_id")),
        Some("member_left") => format!("{} is gone ({})", text("peer_id"), text("reason")),
        _ => event.to_string(),
    }
}
