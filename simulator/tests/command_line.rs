//! What the program says and how it ends.

use std::path::Path;
use std::process::{Command, Output};

fn unamed_sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unamed-sim")).args(args).output().expect("it starts")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn compare_ends_with_0_1_2_or_3() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, succeeded: u32| {
        let path = dir.path().join(name);
        let report = format!(
            r#"{{"seed": 1, "service_nodes": 3, "rooms": 1, "finds": {{"eligible": 1000, "succeeded": {succeeded}}}}}"#
        );
        std::fs::write(&path, report).expect("it writes");
        path
    };
    let (good, worse) = (write("good.json", 1000), write("worse.json", 900));
    let same = unamed_sim(&["compare", text(&good), text(&good)]);
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    let changed = unamed_sim(&["compare", text(&good), text(&worse)]);
    assert_eq!(changed.status.code(), Some(1), "{changed:?}");
    assert!(String::from_utf8_lossy(&changed.stdout).contains("finds.success_rate"), "{changed:?}");
    assert_eq!(unamed_sim(&["compare", text(&good)]).status.code(), Some(2));
    let bad = dir.path().join("bad.json");
    std::fs::write(&bad, r#"{"seed": 1, "service_nodes": "three"}"#).expect("it writes");
    let refused = unamed_sim(&["compare", text(&good), text(&bad)]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("bad.json") && said.contains("service_nodes"), "{said}");
}
