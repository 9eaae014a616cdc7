//! Running commands in the tree.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{io, thread};

/// The workspace's root: where this crate was built, one level up.
pub(crate) fn root() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_path_buf()
}

/// The workspace's target directory.
pub(crate) fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// A program of the workspace, as it is built for tests.
pub(crate) fn program(root: &Path, name: &str) -> PathBuf {
    target_dir(root).join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// A `cargo` command in the tree, without stdin.
pub(crate) fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    in_tree(&mut command, root);
    command.args(args);
    command
}

/// Makes a command run in the tree, without stdin and without what the `cargo run` around this program says of this
/// crate: it would make build scripts of other crates run anew.
pub(crate) fn in_tree<'a>(command: &'a mut Command, root: &Path) -> &'a mut Command {
    command.current_dir(root).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command
}

/// What a failure calls a command: the program's name and its first argument.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let first = command.get_args().next().unwrap_or_default();
    format!("{} {}", program.to_string_lossy(), first.to_string_lossy())
}

/// Runs a command with its output passed through.
///
/// # Errors
/// What went wrong, as one line.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let program = name(command);
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Runs a command, passes its output through and hands each of its lines to `look`. What the command writes to stderr
/// is printed to stdout with the rest, in order of arrival by stream.
///
/// # Errors
/// What went wrong, as one line.
pub(crate) fn run_and_look(command: &mut Command, look: impl Fn(&str) + Sync) -> Result<(), String> {
    let program = name(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| err.map(|err| pass_through(err, &look)));
        out.map(|out| pass_through(out, &look))
    });
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

fn pass_through(stream: impl io::Read, look: &impl Fn(&str)) {
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        look(&line);
    }
}

/// Runs a command quietly and returns its stdout if it succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Installs packages of Debian.
///
/// # Errors
/// What went wrong, as one line.
pub(crate) fn apt_install(packages: &[&str]) -> Result<(), String> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run(apt().args(["update", "-qq"]))?;
    run(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
}

/// Installs what the lock file in `dir` names, with npm.
///
/// # Errors
/// What went wrong, as one line.
pub(crate) fn npm_install(dir: &Path) -> Result<(), String> {
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(dir))
}
