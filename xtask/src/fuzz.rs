//! `cargo xtask fuzz`.

use std::path::Path;

use crate::{run, tools};

/// Runs each fuzz target for `seconds`; goes on after a finding, and fails at the end.
pub(crate) fn fuzz(root: &Path, seconds: u64) -> bool {
    let Some(tool) = tools::find_or_install(root, "fuzz", &[]) else {
        eprintln!("fuzz: there is no cargo-fuzz");
        return false;
    };
    let fuzz = |args: &[&str]| {
        let mut command = tool.command(root, args);
        // cargo-fuzz calls plain `cargo` and `rustc`; this is how rustup's own `+nightly` reaches them.
        command
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .env_remove("CARGO")
            .env_remove("RUSTC")
            .env_remove("RUSTDOC");
        command
    };
    let Some(list) = run::output(&mut fuzz(&["list"])) else {
        eprintln!("fuzz: `cargo fuzz list` fails; is there a fuzz/ folder, and a nightly toolchain?");
        return false;
    };
    let time = format!("-max_total_time={seconds}");
    let mut failed = Vec::new();
    for target in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        println!("\n==> {target}, {seconds} s");
        let seeds = format!("fuzz/corpus/{target}");
        let found = run::target_dir(root).join("fuzz-corpus").join(target);
        if let Err(error) = std::fs::create_dir_all(&found) {
            failed.push(format!("{target}: {}: {error}", found.display()));
            continue;
        }
        // libFuzzer writes what it finds into the first folder; the committed one is only read.
        let found = found.to_string_lossy();
        // All code of the project is safe: assertions and overflow checks find what there is, ten times as quickly.
        let mut args = vec!["run", "--sanitizer", "none", target, &found];
        if root.join(&seeds).is_dir() {
            args.push(&seeds);
        }
        args.extend(["--", time.as_str(), "-rss_limit_mb=2048", "-timeout=10"]);
        if let Err(why) = run::run(&mut fuzz(&args)) {
            failed.push(format!("{target}: {why}"));
        }
    }
    for failure in &failed {
        eprintln!("fuzz: {failure}");
    }
    failed.is_empty()
}
