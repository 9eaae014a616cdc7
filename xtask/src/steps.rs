//! `cargo xtask test`.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::report::{Outcome, Report};
use crate::tools::{self, Tool};
use crate::{browser, run, smoke, upgrade, web};

/// Tests counted from what the test runners say of themselves.
#[derive(Debug, Default)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Checks the tree; whether all of it holds. `build_std` has the package built as where rustup cannot download.
pub(crate) fn test(root: &Path, quick: bool, build_std: bool) -> bool {
    let mut report = Report::default();
    let count = Mutex::new(Count::default());
    report.step("format", || format(root));
    // Before whatever builds the program, which carries the page.
    report.step("web package", || {
        if quick && !build_std { built_or_skipped(root) } else { web::build(root, build_std).into() }
    });
    report.step("clippy", || clippy(root));
    // All in one go: alone, the programs would want dependencies with other features, all built twice.
    report.step("build programs, examples and tests", || {
        let args = ["build", "--workspace", "--bins", "--examples", "--tests", "--locked"];
        run::run(&mut run::cargo(root, &args)).into()
    });
    report.step("tests", || tests(root, &count));
    if !quick {
        report.step("browser tests", || browser_tests(root, build_std, &count));
        report.step("doc tests", || {
            counted(&mut run::cargo(root, &["test", "--doc", "--workspace", "--locked"]), &count)
        });
        report.step("docs", || docs(root));
        report.step("packages", || packages(root));
        report.step("dependencies", || dependencies(root));
        report.step("rolling upgrade", || rolling_upgrade(root));
        report.step("simulator smoke", || smoke::smoke(root).into());
    }
    let good = report.finish();
    match count.lock() {
        Ok(count) if count.passed > 0 || count.failed > 0 => {
            println!("tests: {} passed, {} failed", count.passed, count.failed);
        }
        Ok(_) | Err(_) => println!("tests: none ran"),
    }
    good
}

fn format(root: &Path) -> Outcome {
    if !tools::component(root, "fmt", "rustfmt") {
        return Outcome::Skipped("there is no rustfmt".to_owned());
    }
    let mut result = run::run(&mut run::cargo(root, &["fmt", "--all", "--check"]));
    for manifest in
        ["tests/nostd/Cargo.toml", "fuzz/Cargo.toml", "benches/routing/Cargo.toml", "xtask/web/Cargo.toml"]
    {
        if root.join(manifest).exists() {
            let args = ["fmt", "--manifest-path", manifest, "--check"];
            result = result.and(run::run(&mut run::cargo(root, &args)));
        }
    }
    result.into()
}

fn clippy(root: &Path) -> Outcome {
    if !tools::component(root, "clippy", "clippy") {
        return Outcome::Skipped("there is no clippy".to_owned());
    }
    let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    run::run(&mut run::cargo(root, &args)).into()
}

fn docs(root: &Path) -> Outcome {
    let mut command = run::cargo(root, &["doc", "--workspace", "--no-deps", "--locked"]);
    run::run(command.env("RUSTDOCFLAGS", "-D warnings")).into()
}

/// The crates that are published, packed as they would be; they are built from their packages with `cargo package` alone.
fn packages(root: &Path) -> Outcome {
    let args = ["package", "--no-verify", "--allow-dirty", "--locked", "--offline"];
    let mut command = run::cargo(root, &args);
    command.args(["-p", "unamed-protocol", "-p", "unamed-tokio", "-p", "unamed-simulator"]);
    run::run(&mut command).into()
}

/// All tests but the doc tests; the process tests find programs where the step before has put them.
fn tests(root: &Path, count: &Mutex<Count>) -> Outcome {
    if let Err(why) = tools::test_programs() {
        return Err(format!("programs that tests run cannot be had: {why}")).into();
    }
    let mut command = if let Some(nextest) = tools::find_or_install(root, "nextest", &[]) {
        nextest.command(root, &["run", "--workspace", "--locked", "--no-fail-fast"])
    } else {
        println!("doing without cargo-nextest: `cargo test`");
        run::cargo(root, &["test", "--workspace", "--all-targets", "--locked", "--no-fail-fast"])
    };
    let program = run::program(root, "unamed");
    if program.exists() {
        command.env("UNAMED_EXAMPLES", program.with_file_name("examples"));
        command.env("UNAMED_BIN", program);
    }
    counted(&mut command, count)
}

/// The package takes minutes where it was never built.
fn built_or_skipped(root: &Path) -> Outcome {
    if root.join("driver-web/dist/index.html").exists() {
        web::build(root, false).into()
    } else {
        Outcome::Skipped("it was never built here: see `cargo xtask web`".to_owned())
    }
}

/// From the program of the commit before.
fn rolling_upgrade(root: &Path) -> Outcome {
    const BEFORE: &str = "HEAD^";
    if upgrade::has_commit(root, BEFORE) {
        upgrade::upgrade(root, BEFORE).into()
    } else {
        Outcome::Skipped("there is no commit before this one here".to_owned())
    }
}

fn browser_tests(root: &Path, build_std: bool, count: &Mutex<Count>) -> Outcome {
    match web::digest(root, build_std).and_then(|digest| browser::command(root, &digest)) {
        Ok(mut command) => counted(&mut command, count),
        Err(why) => Err(why).into(),
    }
}

fn dependencies(root: &Path) -> Outcome {
    // Without default features it does without git and the network: advisories are not checked here.
    let Some(deny) = tools::find_or_install(root, "deny", &["--no-default-features"]) else {
        return Outcome::Skipped("there is no cargo-deny".to_owned());
    };
    // cargo-deny looks at the dependencies of all platforms, and hence needs sources that a build here does not.
    if let Err(why) = run::run(&mut run::cargo(root, &["fetch", "--locked"])) {
        return Outcome::Skipped(format!("sources of other platforms cannot be had ({why})"));
    }
    let all = run::run(&mut deny_check(&deny, root, &[], &["bans", "licenses", "sources"]));
    let core = ["--manifest-path", "protocol/Cargo.toml", "--config", "protocol/deny.toml"];
    all.and(run::run(&mut deny_check(&deny, root, &core, &["bans"]))).into()
}

/// Checks all dependencies, and those of the workspaces beside this one, against RustSec's database, which is fetched.
pub(crate) fn advisories(root: &Path) -> bool {
    // A build of its own: the database is a git repository, and what `test` uses does without git.
    let Some(deny) = tools::find_or_install_in(root, "tools-online", "deny", &[]) else {
        eprintln!("advisories: there is no cargo-deny");
        return false;
    };
    let mut failed = Vec::new();
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml", "benches/routing/Cargo.toml", "xtask/web/Cargo.toml"] {
        let args = ["--manifest-path", manifest, "--locked", "check", "advisories"];
        if let Err(why) = run::run(&mut deny.command(root, &args)) {
            failed.push(format!("{manifest}: {why}"));
        }
    }
    for failure in &failed {
        eprintln!("advisories: {failure}");
    }
    failed.is_empty()
}

fn deny_check(deny: &Tool, root: &Path, before: &[&str], after: &[&str]) -> Command {
    let mut command = deny.command(root, &["--offline", "--locked"]);
    command.args(before).arg("check").args(after);
    command
}

/// Runs tests and adds what the runner says of them to `count`.
fn counted(command: &mut Command, count: &Mutex<Count>) -> Outcome {
    let look = |line: &str| {
        if let (Some((passed, failed)), Ok(mut count)) = (summary(line), count.lock()) {
            count.passed = count.passed.saturating_add(passed);
            count.failed = count.failed.saturating_add(failed);
        }
    };
    run::run_and_look(command, look).into()
}

/// Tests passed and failed, from the last line of nextest (`Summary [1.2s] 3 tests run: 2 passed, 1 failed, …`), of a
/// test binary (`test result: ok. 2 passed; 0 failed; …`), or one of node's last lines (`ℹ pass 2`, `ℹ fail 0`).
fn summary(line: &str) -> Option<(u64, u64)> {
    if let Some(node) = line.strip_prefix("ℹ ") {
        let (what, number) = node.split_once(' ')?;
        let number = number.parse().ok()?;
        return match what {
            "pass" => Some((number, 0)),
            "fail" | "cancelled" => Some((0, number)),
            _ => None,
        };
    }
    // Not indented: nextest shows the output of failed tests so, their own results among it.
    let counts = line.strip_prefix("test result:").or_else(|| {
        line.trim_start()
            .strip_prefix("Summary [")
            .and_then(|rest| rest.split_once(" run: "))
            .map(|(_, counts)| counts)
    })?;
    let before = |word: &str| {
        let words: Vec<&str> = counts.split([' ', ',', ';', '.']).filter(|word| !word.is_empty()).collect();
        words.windows(2).filter(|pair| pair.get(1) == Some(&word)).find_map(|pair| pair.first()?.parse().ok())
    };
    let failed = [before("failed"), before("timed")].into_iter().flatten().fold(0, u64::saturating_add);
    Some((before("passed").unwrap_or(0), failed))
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn summaries_of_both_runners_are_read() {
        let table = [
            ("     Summary [   1.2s] 3 tests run: 3 passed (1 slow), 0 skipped", Some((3, 0))),
            ("     Summary [   1.2s] 3 tests run: 1 passed, 1 failed, 1 timed out, 2 skipped", Some((1, 2))),
            ("     Summary [   1.2s] 3/7 tests run: 2 passed, 1 failed, 0 skipped", Some((2, 1))),
            ("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured", Some((12, 0))),
            ("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured", Some((1, 2))),
            ("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured", None),
            ("running 3 tests", None),
            ("ℹ pass 12", Some((12, 0))),
            ("ℹ fail 1", Some((0, 1))),
            ("ℹ cancelled 2", Some((0, 2))),
            ("ℹ tests 15", None),
            ("ℹ duration_ms 7731.4", None),
            ("    ℹ pass 12", None),
        ];
        for (line, expected) in table {
            assert_eq!(summary(line), expected, "{line}");
        }
    }
}
