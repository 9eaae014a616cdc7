//! Tools beside the toolchain: used where present, else installed (into `target/tools`, or from Debian's packages), else done
//! without.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// A cargo subcommand that can be run.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    program: PathBuf,
    subcommand: &'static str,
}

impl Tool {
    /// A command of this tool in the tree.
    pub(crate) fn command(&self, root: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        run::in_tree(&mut command, root);
        command.arg(self.subcommand).args(args);
        command
    }
}

/// Finds `cargo-NAME` on the path or in `target/tools`, or installs it there.
pub(crate) fn find_or_install(root: &Path, subcommand: &'static str, extra: &[&str]) -> Option<Tool> {
    find_or_install_in(root, "tools", subcommand, extra)
}

/// The same in another folder of `target`, for a tool that is needed in two builds.
pub(crate) fn find_or_install_in(
    root: &Path,
    folder: &str,
    subcommand: &'static str,
    extra: &[&str],
) -> Option<Tool> {
    let binary = format!("cargo-{subcommand}");
    let tools = run::target_dir(root).join(folder);
    let local = tools.join("bin").join(&binary);
    for program in [PathBuf::from(&binary), local.clone()] {
        if run::output(Command::new(&program).arg(subcommand).arg("--version")).is_some() {
            return Some(Tool { program, subcommand });
        }
    }
    println!("{binary} is missing: installing it into {}", tools.display());
    let mut install = run::cargo(root, &["install", &binary, "--locked", "--debug", "--root"]);
    install.arg(&tools).arg("--target-dir").arg(tools.join("build")).args(extra);
    match run::run(&mut install) {
        Ok(()) => Some(Tool { program: local, subcommand }),
        Err(why) => {
            println!("{binary} cannot be installed ({why})");
            None
        }
    }
}

/// Programs that tests run, and the packages of Debian that have them.
const TEST_PROGRAMS: [(&str, &str); 4] =
    [("nginx", "nginx"), ("caddy", "caddy"), ("systemd-analyze", "systemd"), ("openssl", "openssl")];

/// Installs what tests run, as far as it is missing, from Debian's packages.
///
/// # Errors
/// What went wrong, as one line.
pub(crate) fn test_programs() -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]).collect();
    let present = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> = TEST_PROGRAMS
        .into_iter()
        .filter(|(program, _)| !present(program))
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {} with apt-get", missing.join(", "));
    run::apt_install(&missing)
}

/// Whether a component of the toolchain answers; if not, rustup is asked for it once.
pub(crate) fn component(root: &Path, subcommand: &str, component: &str) -> bool {
    let present = || run::output(&mut run::cargo(root, &[subcommand, "--version"])).is_some();
    if present() {
        return true;
    }
    println!("the component {component} is missing: asking rustup for it");
    let added = run::run(Command::new("rustup").args(["component", "add", component]));
    added.is_ok() && present()
}
