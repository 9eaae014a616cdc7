//! `cargo xtask kill`, `soak` and `bounds`: long runs of tests that are short otherwise.

use std::path::Path;

use crate::run;

/// Kills a service node `times` times.
pub(crate) fn kill(root: &Path, times: u64, seed: u64) -> bool {
    long(root, ["unamed-tests", "kill"], &[], &[("UNAMED_KILL_TIMES", times), ("UNAMED_KILL_SEED", seed)])
}

/// Holds `connections` for so many minutes.
pub(crate) fn soak(root: &Path, minutes: u64, connections: u64) -> bool {
    let seconds = minutes.saturating_mul(60);
    let settings = [("UNAMED_SOAK_SECONDS", seconds), ("UNAMED_SOAK_CONNECTIONS", connections)];
    long(root, ["unamed-tests", "soak"], &[], &settings)
}

/// Shows each collection of a node `keys` hostile keys.
pub(crate) fn bounds(root: &Path, keys: u64) -> bool {
    // One after the other, since each tells what the process holds.
    let only = ["attacks::bounds", "--test-threads", "1"];
    long(root, ["unamed-simulator", "scenarios"], &only, &[("UNAMED_HOSTILE_KEYS", keys)])
}

/// Runs the tests of one target of a package with their output, as long as `settings` say.
fn long(root: &Path, [package, target]: [&str; 2], only: &[&str], settings: &[(&str, u64)]) -> bool {
    let args = ["test", "--locked", "-p", package, "--test", target, "--", "--nocapture"];
    let mut command = run::cargo(root, &args);
    command.args(only);
    for (name, value) in settings {
        command.env(name, value.to_string());
    }
    match run::run(&mut command) {
        Ok(()) => true,
        Err(why) => {
            eprintln!("{target}: {why}");
            false
        }
    }
}
