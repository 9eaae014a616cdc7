//! A small run of the simulator: what it reports must be faultless, and the same in both profiles.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::run;

/// Seeds of the swarm.
const SWARM: &str = "0..200";

/// Runs two seeds in the dev profile and the first of them in the release profile; and a swarm.
///
/// # Errors
/// What does not hold, with the command that shows it.
pub(crate) fn smoke(root: &Path) -> Result<(), String> {
    // The program that the tests were built beside: by `cargo run` its dependencies would be built anew.
    let dev = run::program(root, "unamed-sim");
    let first = simulate(root, 1, Command::new(&dev))?;
    simulate(root, 2, Command::new(&dev))?;
    let release =
        ["run", "--quiet", "--locked", "--release", "-p", "unamed-simulator", "--bin", "unamed-sim", "--"];
    let again = simulate(root, 1, run::cargo(root, &release))?;
    if first != again {
        return Err(format!("seed 1: trace hash {first} in the dev profile, {again} in release"));
    }
    println!("seed 1: the same trace hash in both profiles");
    run::run(run::cargo(root, &release).args(["swarm", "--seeds", SWARM]))
}

/// One run of a program; its trace hash.
fn simulate(root: &Path, seed: u64, mut command: Command) -> Result<Value, String> {
    let file = run::target_dir(root).join(format!("smoke-{seed}.json"));
    let (seed, path) = (seed.to_string(), file.to_string_lossy().into_owned());
    command.args(["run", "--nodes", "30", "--clients", "60", "--rooms", "15"]);
    command.args(["--seed", &seed, "--json", &path]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    println!("{shown}");
    run::run(&mut command).map_err(|why| format!("{why}: {shown}"))?;
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{path}: {error}"))?;
    let report: Value = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    let faults = faults(&report);
    if !faults.is_empty() {
        return Err(format!("{}: {shown}", faults.join("; ")));
    }
    Ok(report["trace_hash"].clone())
}

/// What is wrong with a report, one sentence each.
fn faults(report: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut equal = |left: &str, right: &str| {
        let (a, b) = (report.pointer(left), report.pointer(right));
        if a.is_none() || a != b {
            faults.push(format!("{left} is {a:?}, {right} is {b:?}"));
        }
    };
    equal("/finds/eligible", "/finds/succeeded");
    equal("/messages/expected", "/messages/delivered");
    for pointer in ["/rooms_split", "/messages/duplicates", "/invariant_violations"] {
        let value = report.pointer(pointer);
        if value.and_then(Value::as_u64) != Some(0)
            && value.and_then(Value::as_array).is_none_or(|list| !list.is_empty())
        {
            faults.push(format!("{pointer} is {value:?}"));
        }
    }
    for pointer in ["/finds/attempted", "/messages/expected"] {
        if report.pointer(pointer).and_then(Value::as_u64).is_none_or(|count| count == 0) {
            faults.push(format!("{pointer} is {:?}", report.pointer(pointer)));
        }
    }
    if report["trace_hash"].is_null() {
        faults.push("there is no trace_hash".to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::faults;

    #[test]
    fn a_faultless_report_passes_and_each_fault_is_named() {
        let good = json!({
            "trace_hash": "00", "rooms_split": 0, "invariant_violations": 0,
            "finds": {"attempted": 2, "eligible": 2, "succeeded": 2},
            "messages": {"expected": 3, "delivered": 3, "duplicates": 0},
        });
        assert_eq!(faults(&good), Vec::<String>::new());
        for (pointer, value) in [
            ("/trace_hash", json!(null)),
            ("/rooms_split", json!(1)),
            ("/invariant_violations", json!(2)),
            ("/finds/attempted", json!(0)),
            ("/finds/succeeded", json!(1)),
            ("/messages/delivered", json!(2)),
            ("/messages/duplicates", json!(1)),
        ] {
            let mut bad = good.clone();
            if let Some(slot) = bad.pointer_mut(pointer) {
                *slot = value;
            }
            assert_eq!(faults(&bad).len(), 1, "{pointer}");
        }
    }
}
