//! Web servers in front of a service node, as the examples in `deploy/` set them up.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use crate::{DEADLINE, Process, Scratch, root};

/// A loopback address and port that nobody else listens on: the address is this process's own, made of its number, and
/// ports on which something listens at all addresses are left out.
#[must_use]
pub fn own_address() -> SocketAddr {
    static COUNT: AtomicU16 = AtomicU16::new(3000);
    // A process number has 22 bits.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 128 | high, middle, low);
    loop {
        let at = (own, COUNT.fetch_add(1, Ordering::Relaxed)).into();
        if TcpListener::bind(at).is_ok() {
            return at;
        }
    }
}

/// A program that a test needs, in one of the usual folders.
///
/// # Panics
/// If it is not there.
#[must_use]
#[track_caller]
pub fn needed(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("this test needs {program}: `cargo xtask test` installs it on Debian, by apt-get")
    })
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub at: SocketAddr,
}

impl Proxy {
    /// nginx at `at`, with `deploy/nginx.conf` before the node at `behind`, and this certificate.
    ///
    /// # Panics
    /// If nginx is missing or does not start.
    #[must_use]
    #[track_caller]
    pub fn nginx(scratch: &Scratch, at: SocketAddr, behind: SocketAddr, cert: &Path, key: &Path) -> Self {
        let site = example(
            "nginx.conf",
            &[
                ("listen 443 ssl;", &format!("listen {at} ssl;")),
                ("    listen [::]:443 ssl;\n", ""),
                ("server_name node.example;", &format!("server_name {};", at.ip())),
                ("/etc/letsencrypt/live/node.example/fullchain.pem", &cert.to_string_lossy()),
                ("/etc/letsencrypt/live/node.example/privkey.pem", &key.to_string_lossy()),
                ("http://127.0.0.1:3001", &format!("http://{behind}")),
            ],
        );
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|of| format!("{of}_temp_path {};\n", scratch.file(of))).concat();
        // One process, which leaves none behind when it is killed.
        let whole = format!(
            "daemon off;\nmaster_process off;\npid {};\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{site}}}\n",
            scratch.file("nginx.pid")
        );
        let file = scratch.file("nginx.conf");
        fs::write(&file, whole).expect("a file");
        let mut command = Command::new(needed("nginx"));
        command.args(["-e", "stderr", "-p"]).arg(scratch.path()).args(["-c", &file]);
        Self::start("nginx", command, at)
    }

    /// Caddy at `at`, with `deploy/Caddyfile` before the node at `behind`, and this certificate instead of one that it gets
    /// itself.
    ///
    /// # Panics
    /// If Caddy is missing or does not start.
    #[must_use]
    #[track_caller]
    pub fn caddy(scratch: &Scratch, at: SocketAddr, behind: SocketAddr, cert: &Path, key: &Path) -> Self {
        let certified = format!("https://{at} {{\n\ttls {} {}\n", cert.display(), key.display());
        let site = example(
            "Caddyfile",
            &[
                ("node.example {\n", &certified),
                ("reverse_proxy 127.0.0.1:3001", &format!("reverse_proxy {behind}")),
            ],
        );
        let file = scratch.file("Caddyfile");
        fs::write(&file, format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}"))
            .expect("a file");
        let mut command = Command::new(needed("caddy"));
        command.args(["run", "--adapter", "caddyfile", "--config", &file]);
        for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(variable, scratch.path());
        }
        Self::start("caddy", command, at)
    }

    fn start(name: &str, command: Command, at: SocketAddr) -> Self {
        let mut process = Process::spawn(name, command).unwrap_or_else(|error| panic!("{name}: {error}"));
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(at).is_err() {
            let ended = process.has_ended();
            assert!(!ended && Instant::now() < until, "{name} does not listen on {at}: {}", process.stderr());
            std::thread::yield_now();
        }
        Self { process, at }
    }
}

/// An example of `deploy/`, with what is its reader's to fill in replaced.
fn example(name: &str, filled: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(root().join("deploy").join(name)).expect("the example is there");
    let commands = |line: &&str| !line.trim_start().starts_with('#');
    let mut text: String = text.lines().filter(commands).map(|line| format!("{line}\n")).collect();
    for (there, here) in filled {
        assert_eq!(text.matches(there).count(), 1, "{name} has {there:?} once");
        text = text.replace(there, here);
    }
    text
}
