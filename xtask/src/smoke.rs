//! A small run of the simulator: what it reports must be faultless, and the same in both profiles.

use std::path::Path;

use serde_json::Value;

use crate::run;

/// Runs two seeds in the dev profile and the first of them in the release profile.
///
/// # Errors
/// What does not hold, with the command that shows it.
pub(crate) fn smoke(root: &Path) -> Result<(), String> {
    let first = simulate(root, 1, &[])?;
    simulate(root, 2, &[])?;
    let again = simulate(root, 1, &["--release"])?;
    if first != again {
        return Err(format!("seed 1: trace hash {first} in the dev profile, {again} in release"));
    }
    println!("seed 1: the same trace hash in both profiles");
    Ok(())
}

/// One run; its trace hash.
fn simulate(root: &Path, seed: u64, profile: &[&str]) -> Result<Value, String> {
    let file = run::target_dir(root).join(format!("smoke-{seed}.json"));
    let (seed, path) = (seed.to_string(), file.to_string_lossy().into_owned());
    let mut args = vec!["run", "--quiet", "--locked", "-p", "unamed-simulator", "--bin", "unamed-sim"];
    args.extend(profile);
    args.extend([
        "--",
        "run",
        "--nodes",
        "30",
        "--clients",
        "60",
        "--rooms",
        "15",
        "--seed",
        &seed,
        "--json",
        &path,
    ]);
    let shown = format!("cargo {}", args.join(" "));
    println!("{shown}");
    run::run(&mut run::cargo(root, &args)).map_err(|why| format!("{why}: {shown}"))?;
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
