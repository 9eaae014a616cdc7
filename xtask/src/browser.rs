//! The tests in a real browser: headless Chromium, driven by `node --test` in `tests/browser`.
//!
//! They run in a network namespace of their own, so that nothing leaves the machine and no other traffic comes in.

use std::path::Path;
use std::process::Command;

use crate::run;

/// The command for all browser tests, with what it needs installed; why not, where that is missing. `digest` is the folder
/// of the module that [`web::digest`](crate::web::digest) made.
pub(crate) fn command(root: &Path, digest: &Path) -> Result<Command, String> {
    let tests = root.join("tests/browser");
    install_browser()?;
    if !tests.join("node_modules/playwright-core").exists() {
        println!(
            "installing playwright-core and typescript with npm, as tests/browser/package-lock.json names them"
        );
        run::npm_install(&tests)?;
    }
    let mut command = Command::new("unshare");
    run::in_tree(&mut command, &tests);
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "./netns.sh", "npm", "test", "--silent"]);
    command
        .env("UNAMED_BIN", run::program(root, "unamed"))
        .env("UNAMED_HOSTILE", run::program(root, "unamed-hostile"))
        .env("UNAMED_DIGEST", run::program(root, "unamed-digest"))
        .env("UNAMED_DIGEST_MODULE", digest);
    Ok(command)
}

/// Chromium, and `ip` for the namespace, from Debian's packages.
fn install_browser() -> Result<(), String> {
    let present = |program: &str, flag: &str| run::output(Command::new(program).arg(flag)).is_some();
    let mut missing = Vec::new();
    if std::env::var_os("CHROMIUM").is_none() && !Path::new("/usr/bin/chromium").exists() {
        missing.push("chromium");
    }
    if !present("ip", "-V") {
        missing.push("iproute2");
    }
    if !present("npm", "--version") {
        missing.push("npm");
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {} with apt-get", missing.join(", "));
    run::apt_install(&missing)
}

fn is_root() -> bool {
    run::output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}
