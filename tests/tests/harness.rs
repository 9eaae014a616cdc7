//! The harness itself, on processes whose every word is known.

use std::process::Command;
use std::time::Duration;

use unamed_tests::{Process, Scratch, json};

fn shell(script: &str) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::spawn("sh", command).expect("a shell")
}

#[test]
fn events_are_taken_in_any_order_and_once() {
    let mut process =
        shell(r#"echo '{"n":1}'; read line; echo "{\"n\":2,\"line\":\"$line\"}"; echo why >&2; exit 3"#);
    process.say("hello");
    assert_eq!(process.wait("2", |event| event["n"] == 2), json!({"n": 2, "line": "hello"}));
    assert_eq!(process.wait("1", |event| event["n"] == 1), json!({"n": 1}));
    assert_eq!(process.finish(), 3);
    assert_eq!(process.history(), [json!({"n": 1}), json!({"n": 2, "line": "hello"})]);
    let again = process.try_wait("1", Duration::ZERO, |event| event["n"] == 1);
    assert!(again.is_err_and(|complaint| complaint.contains("its output ended")));
}

#[test]
fn what_does_not_come_is_named_with_all_that_came() {
    let mut process = shell(r#"echo '{"n":1}'; read line"#);
    let complaint = process.try_wait("a second one", Duration::from_millis(300), |event| event["n"] == 2);
    assert!(complaint.is_err_and(|text| text.contains("a second one") && text.contains(r#"{"n":1}"#)));
    assert!(process.try_finish(Duration::ZERO).is_err_and(|text| text.contains("it goes on")));
    process.close_stdin();
    assert_eq!(process.finish(), 1, "`read` met the end of input");
}

#[test]
fn what_is_no_event_fails_the_wait() {
    let mut process = shell("echo hello; read line");
    let complaint = process.try_wait("an event", Duration::from_secs(10), |_| true);
    assert!(complaint.is_err_and(|text| text.contains("\"hello\"")));
}

#[test]
fn signals_reach_the_process() {
    let mut process =
        shell(r#"trap 'echo "{\"end\":1}"; exit 0' TERM; echo '{"ready":1}'; while :; do read line; done"#);
    process.wait("its start", |event| event["ready"] == 1);
    process.terminate();
    process.close_stdin();
    process.wait("its end", |event| event["end"] == 1);
    assert_eq!(process.finish(), 0);

    let mut process = shell("echo '{}'; read line");
    process.wait("its start", |_| true);
    process.kill();
    assert!(process.try_finish(Duration::from_secs(10)).is_ok_and(|status| status.code().is_none()));
}

#[test]
fn a_scratch_folder_is_gone_after_use() {
    let scratch = Scratch::new().expect("a folder");
    let path = scratch.path().to_path_buf();
    std::fs::write(scratch.file("x"), "y").expect("a file");
    assert!(path.join("x").is_file());
    drop(scratch);
    assert!(!path.exists());
}
