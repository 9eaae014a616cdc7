//! From a tree to a node that another one joined over `wss` through nginx, by the commands of the book.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use unamed_tests::{DEADLINE, Process, Scratch, Value, http_get, needed, own_address, program, root};

use crate::{chapter, shell};

const HEADING: &str = "On one machine";

/// A reader, with what runs in their terminals.
struct Reader {
    /// Service nodes, each with where it listens.
    running: Vec<(Process, Value)>,
    nginx: Option<Process>,
    /// What `/healthz` said in the end.
    health: Option<Value>,
    /// What `unamed status` said.
    status: String,
    /// Where programs are.
    path: String,
    /// The address that takes the place of this machine's, so that nobody else is in the way.
    ip: String,
    /// The last to go, after what runs in it.
    scratch: Scratch,
}

/// The folder that a program is in.
fn folder(program: &Path) -> String {
    program.parent().map_or_else(String::new, |folder| folder.display().to_string())
}

impl Reader {
    fn new() -> Self {
        let scratch = Scratch::new().expect("a folder");
        let ip = own_address().ip().to_string();
        let tools =
            [program().to_path_buf(), needed("nginx"), needed("openssl")].map(|tool| folder(&tool)).join(":");
        let path = format!("{tools}:{}", std::env::var("PATH").unwrap_or_default());
        let (running, nginx, health, status) = (Vec::new(), None, None, String::new());
        let reader = Self { running, nginx, health, status, path, ip, scratch };
        // The reader is in the root of the tree, and uses this of it.
        fs::create_dir(reader.scratch.path().join("deploy")).expect("a folder");
        let site = fs::read_to_string(root().join("deploy/nginx.conf")).expect("the example is there");
        fs::write(reader.scratch.path().join("deploy/nginx.conf"), reader.placed(&site))
            .expect("it is written");
        reader
    }

    /// A text with an address of this process alone for that of the machine.
    fn placed(&self, text: &str) -> String {
        let ip = &self.ip;
        text.replace("/dns/localhost", &format!("/ip4/{ip}"))
            .replace("DNS:localhost", &format!("IP:{ip}"))
            .replace("localhost", ip)
            .replace("127.0.0.1:", &format!("{ip}:"))
    }

    fn shell(&self, text: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", text])
            .current_dir(self.scratch.path())
            .env("PATH", &self.path)
            .stdin(Stdio::null());
        command
    }

    /// Types what the book says.
    fn enter(&mut self, entry: &shell::Entry) {
        let text = self.placed(&entry.text);
        let words: Vec<&str> = entry.commands[0].iter().map(String::as_str).collect();
        match words.as_slice() {
            // The tree is here, what is built of it is on the path.
            ["git" | "cd" | "cargo" | "export", ..] => {}
            ["nginx", ..] => self.start_nginx(&text),
            ["unamed", "serve", ..] => self.serve(&text),
            ["curl", address] => self.wait_healthy(&self.placed(address)),
            _ => {
                let output = self.shell(&text).output().expect("a shell");
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{text}: {said}");
                if words.starts_with(&["unamed", "status"]) {
                    self.status = String::from_utf8_lossy(&output.stdout).into_owned();
                }
            }
        }
    }

    fn start_nginx(&mut self, text: &str) {
        let at: SocketAddr = format!("{}:8443", self.ip).parse().expect("an address");
        let mut process = Process::spawn("nginx", self.shell(&format!("exec {text}"))).expect("a shell");
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(at).is_err() {
            let ended = process.has_ended();
            assert!(!ended && Instant::now() < until, "nginx does not listen on {at}: {}", process.stderr());
            std::thread::yield_now();
        }
        self.nginx = Some(process);
    }

    /// A service node, until it says where it listens.
    fn serve(&mut self, text: &str) {
        let mut process = Process::spawn(text, self.shell(&format!("exec {text} --json"))).expect("a shell");
        let listening = process.wait("its address", |event| event["event"] == "listening");
        self.running.push((process, listening));
    }

    /// Asks until the node is ready.
    fn wait_healthy(&mut self, address: &str) {
        let at = address.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/healthz"));
        let at: SocketAddr = at.and_then(|at| at.parse().ok()).expect("the address of /healthz");
        let until = Instant::now() + DEADLINE;
        loop {
            let (code, body) = http_get(at, "/healthz", "localhost");
            if code == 200 {
                self.health = Some(body.parse().expect("it is JSON"));
                return;
            }
            assert!(Instant::now() < until, "not ready: {body}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_node_is_joined_through_nginx_by_the_words_of_the_book() {
    let operating = chapter(Path::new("docs/operating.md"));
    let mut reader = Reader::new();
    for block in operating.blocks.iter().filter(|block| block.heading == HEADING && block.language == "sh") {
        for entry in shell::entries(&block.text).expect("it is understood") {
            reader.enter(&entry);
        }
    }
    let Reader { running, nginx, health, status, .. } = &mut reader;
    assert!(nginx.as_mut().is_some_and(|nginx| !nginx.has_ended()), "nginx runs");
    let [(first, listening), _] = &mut running[..] else { panic!("two service nodes run") };
    let peer = listening["peer_id"].as_str().expect("its peer id");
    let health = health.as_ref().expect("its health was asked for");
    assert_eq!((&health["status"], &health["leaf_set"]), (&Value::from("ready"), &Value::from(1)));
    assert!(status.contains(peer) && status.contains("leaf"), "the second is linked to {peer}: {status}");
    assert!(first.counter("driver_forwarded") >= 1, "and that through nginx");
}
