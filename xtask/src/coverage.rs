//! `cargo xtask coverage`: which lines of the parsers, the handshake and the cryptography no test reaches.
//!
//! The tests of the core, those that replay the fuzz corpora and the scenarios of the simulator run with the compiler's own
//! instrumentation; LLVM's tools of the compiler's version read it. Lines of test modules do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::run;

/// What must be covered, below `protocol/src`, and the least share of its lines in percent.
const FOLDERS: [&str; 3] = ["wire", "link", "crypto"];
const LEAST_PERCENT: f64 = 95.0;
/// The tests.
const TESTS: [&[&str]; 2] = [
    &["-p", "unamed-protocol", "-p", "unamed-fuzz-model", "--lib", "--tests"],
    &["-p", "unamed-simulator", "--test", "scenarios"],
];

/// Lines of code of a file, and whether each was run.
type Lines = BTreeMap<u32, bool>;

pub(crate) fn coverage(root: &Path) -> bool {
    match measure(root) {
        Ok(files) => print(&files),
        Err(why) => {
            eprintln!("coverage: {why}");
            false
        }
    }
}

fn measure(root: &Path) -> Result<BTreeMap<String, Lines>, String> {
    let tools = llvm_tools(root)?;
    let target = run::target_dir(root).join("coverage");
    let profiles = target.join("profiles");
    // What an earlier run left would be counted.
    if profiles.exists() {
        fs::remove_dir_all(&profiles).map_err(|error| format!("{}: {error}", profiles.display()))?;
    }
    let mut binaries = Vec::new();
    for tests in TESTS {
        let instrumented = |last: &[&str]| {
            let mut command = run::cargo(root, &["test", "--locked"]);
            command.args(tests).args(last).env("RUSTFLAGS", "-C instrument-coverage");
            command.env("CARGO_TARGET_DIR", &target).env("LLVM_PROFILE_FILE", profiles.join("%m-%p.profraw"));
            command
        };
        run::run(&mut instrumented(&[]))?;
        let list = run::output(&mut instrumented(&["--no-run", "--message-format=json"]));
        binaries.extend(list.ok_or("the tests cannot be listed")?.lines().filter_map(executable));
    }
    let merged = target.join("merged.profdata");
    let mut merge = Command::new(&tools.0);
    merge.args(["merge", "-sparse", "-o"]).arg(&merged).arg(&profiles);
    run::run(&mut merge)?;
    let mut export = Command::new(&tools.1);
    export.args(["export", "-format=lcov", "-instr-profile"]).arg(&merged);
    let mut binaries = binaries.into_iter();
    export.arg(binaries.next().ok_or("there are no tests")?);
    binaries.for_each(|binary| {
        export.arg("-object").arg(binary);
    });
    let text = run::output(&mut export).ok_or("llvm-cov cannot read what the tests wrote")?;
    let mut files = BTreeMap::new();
    for (path, mut lines) in parse(&text) {
        let Ok(path) = path.strip_prefix(root.join("protocol/src")) else { continue };
        let name = path.to_string_lossy().into_owned();
        let counts = FOLDERS.iter().any(|folder| path.starts_with(folder));
        if !counts || name.contains("/tests") {
            continue;
        }
        let source = fs::read_to_string(root.join("protocol/src").join(path)).unwrap_or_default();
        if let Some(tests) = source.lines().position(|line| line == "mod tests {") {
            lines.retain(|line, _| *line as usize <= tests);
        }
        files.insert(name, lines);
    }
    Ok(files)
}

/// `llvm-profdata` and `llvm-cov` of the compiler's LLVM: of the toolchain, else of Debian, which is asked for them once.
fn llvm_tools(root: &Path) -> Result<(PathBuf, PathBuf), String> {
    let rustc = |args: &[&str]| run::output(run::in_tree(&mut Command::new("rustc"), root).args(args));
    let version = rustc(&["-vV"]).ok_or("rustc does not answer")?;
    let major = version.lines().find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next());
    let major = major.ok_or("rustc does not tell its LLVM version")?;
    let sysroot = rustc(&["--print", "target-libdir"]).unwrap_or_default();
    let of_toolchain = Path::new(sysroot.trim()).with_file_name("bin");
    let pair = |profdata: PathBuf, cov: PathBuf| {
        let answers = |tool: &Path| run::output(Command::new(tool).arg("--version")).is_some();
        (answers(&profdata) && answers(&cov)).then_some((profdata, cov))
    };
    let of_debian = || pair(format!("llvm-profdata-{major}").into(), format!("llvm-cov-{major}").into());
    if let Some(tools) =
        pair(of_toolchain.join("llvm-profdata"), of_toolchain.join("llvm-cov")).or_else(of_debian)
    {
        return Ok(tools);
    }
    let package = format!("llvm-{major}");
    println!("LLVM's tools are missing: installing {package} with apt-get");
    run::apt_install(&[&package])?;
    of_debian().ok_or_else(|| format!("{package} has no llvm-profdata-{major} and llvm-cov-{major}"))
}

/// The test program that a line of cargo's JSON tells of.
fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some(PathBuf::from(message.get("executable")?.as_str()?))
}

/// The files and lines of an lcov trace.
fn parse(text: &str) -> BTreeMap<PathBuf, Lines> {
    let mut files: BTreeMap<PathBuf, Lines> = BTreeMap::new();
    let mut at = PathBuf::new();
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            at = PathBuf::from(path);
        } else if let Some((number, count)) = line.strip_prefix("DA:").and_then(|it| it.split_once(',')) {
            let (Ok(number), run) = (number.parse(), count.trim() != "0") else { continue };
            *files.entry(at.clone()).or_default().entry(number).or_default() |= run;
        }
    }
    files
}

/// Line numbers as ranges: `3, 7–9`.
fn ranges(lines: &BTreeSet<u32>) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for line in lines {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => parts.push((*line, *line)),
        }
    }
    let text = |(from, to): (u32, u32)| if from == to { from.to_string() } else { format!("{from}–{to}") };
    parts.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

fn percent(lines: &Lines) -> f64 {
    let run = lines.values().filter(|run| **run).count();
    if lines.is_empty() { 100.0 } else { 100.0 * run as f64 / lines.len() as f64 }
}

fn print(files: &BTreeMap<String, Lines>) -> bool {
    let mut good = !files.is_empty();
    for folder in FOLDERS {
        let prefix = format!("{folder}/");
        let inside = || files.iter().filter(|(name, _)| name.starts_with(&prefix));
        println!("\n{:>6} {:>6}  {folder}: lines not run", "lines", "%");
        for (name, lines) in inside() {
            let missed: BTreeSet<u32> =
                lines.iter().filter(|(_, run)| !**run).map(|(line, _)| *line).collect();
            println!("{:>6} {:>6.1}  {name}: {}", lines.len(), percent(lines), ranges(&missed));
        }
        let all: Lines =
            inside().flat_map(|(_, lines)| lines.values()).zip(0..).map(|(run, n)| (n, *run)).collect();
        let share = percent(&all);
        println!("{:>6} {share:>6.1}  {folder} (at least {LEAST_PERCENT})", all.len());
        good &= share >= LEAST_PERCENT;
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_run_if_any_instance_of_it_is() {
        let files =
            parse("SF:/a.rs\nDA:1,0\nDA:2,7\nend_of_record\nSF:/b.rs\nDA:5,0\nSF:/a.rs\nDA:1,1\nDA:3,0\n");
        let a = &files[Path::new("/a.rs")];
        assert_eq!(a, &Lines::from([(1, true), (2, true), (3, false)]));
        assert_eq!(percent(&files[Path::new("/b.rs")]), 0.0);
        assert_eq!(format!("{:.1}", percent(a)), "66.7");
    }

    #[test]
    fn missed_lines_are_told_as_ranges() {
        assert_eq!(ranges(&BTreeSet::from([3, 7, 8, 9, 11])), "3, 7–9, 11");
        assert_eq!(ranges(&BTreeSet::new()), "");
    }

    #[test]
    fn test_programs_are_those_that_cargo_names() {
        let line = r#"{"reason":"compiler-artifact","executable":"/t/deps/a-1"}"#;
        assert_eq!(executable(line), Some(PathBuf::from("/t/deps/a-1")));
        for line in [r#"{"reason":"compiler-artifact","executable":null}"#, "warning: x", "{}"] {
            assert_eq!(executable(line), None, "{line}");
        }
    }
}
