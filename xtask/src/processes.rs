//! `cargo xtask kill` and `cargo xtask soak`: long runs of tests that are short otherwise.

use std::path::Path;

use crate::run;

/// Kills a service node `times` times.
pub(crate) fn kill(root: &Path, times: u64, seed: u64) -> bool {
    long(root, "kill", &[("UNAMED_KILL_TIMES", times), ("UNAMED_KILL_SEED", seed)])
}

/// Holds `connections` for so many minutes.
pub(crate) fn soak(root: &Path, minutes: u64, connections: u64) -> bool {
    let seconds = minutes.saturating_mul(60);
    long(root, "soak", &[("UNAMED_SOAK_SECONDS", seconds), ("UNAMED_SOAK_CONNECTIONS", connections)])
}

/// Runs the tests of one target with their output, as long as `settings` say.
fn long(root: &Path, target: &str, settings: &[(&str, u64)]) -> bool {
    let args = ["test", "--locked", "-p", "unamed-tests", "--test", target, "--", "--nocapture"];
    let mut command = run::cargo(root, &args);
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
