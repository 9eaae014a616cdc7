use clap::CommandFactory as _;
use proptest::prelude::*;

use super::*;
use crate::args::{RoomArgs, ServeArgs};

/// The arguments of `line` over a file, without what is in the environment of this test.
fn over(text: &str, line: &str) -> Result<Args, Failure> {
    let command = without_variables(with_text(Args::command(), text)?);
    let matches = command.try_get_matches_from(std::iter::once("unamed").chain(line.split_whitespace()));
    Ok(matches.and_then(|matches| Args::from_arg_matches(&matches)).unwrap())
}

fn serve(text: &str, line: &str) -> ServeArgs {
    let args = over(text, &format!("serve {line}")).unwrap();
    let args::Command::Serve(serve) = args.command else { panic!("another command") };
    *serve
}

fn room(text: &str, line: &str) -> RoomArgs {
    let args = over(text, &format!("room abc {line}")).unwrap();
    let args::Command::Room(room) = args.command else { panic!("another command") };
    room
}

#[test]
fn the_example_parses_and_changes_nothing() {
    let example = example();
    assert_eq!(serve(&example, ""), serve("", ""));
    assert_eq!(room(&example, ""), room("", ""));
    let (with, without) = (over(&example, "serve").unwrap(), over("", "serve").unwrap());
    assert_eq!((with.json, with.log), (without.json, without.log));
}

#[test]
fn the_example_has_every_key_once_and_what_it_proposes_is_taken() {
    let example = example();
    let keys: Vec<&str> = example
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.is_empty())
        .map(|line| line.trim_start_matches('#').split_once(" = ").unwrap().0)
        .collect();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, settings(&Args::command()).into_keys().collect::<Vec<_>>());
    let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let filled: String = example
        .lines()
        .map(|line| if is_key(line) { &line[1..] } else { line })
        .collect::<Vec<_>>()
        .join("\n");
    let serve = serve(&filled, "");
    assert_eq!(serve.node.bootstrap.len(), 1);
    assert_eq!(serve.web_root.as_deref(), Some(Path::new("/srv/unamed")));
    assert!(example.lines().all(|line| line.chars().count() <= 120), "{example}");
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let file = "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nnetwork = \"filed\"\njson = true\nstun = 3478\nban-time = \"2h\"";
    let args = serve(file, "");
    assert_eq!(args.listen.len(), 2);
    assert_eq!((args.node.network.as_str(), args.bounds.ban_time.as_secs()), ("filed", 7200));
    assert!(over(file, "serve").unwrap().json);
    let args = serve(file, "--listen 127.0.0.1:3 --network flagged");
    assert_eq!((args.listen, args.node.network.as_str()), (vec!["127.0.0.1:3".parse().unwrap()], "flagged"));
    // Variables are looked up as the argument is made.
    let listed = with_text(Args::command(), file)
        .unwrap()
        .mut_subcommand("serve", |serve| serve.mut_arg("network", |arg| arg.env("CARGO_PKG_NAME")));
    let matches = listed.clone().try_get_matches_from(["unamed", "serve"]).unwrap();
    let args::Command::Serve(args) = Args::from_arg_matches(&matches).unwrap().command else { panic!() };
    assert_eq!(args.node.network.as_str(), env!("CARGO_PKG_NAME"));
    let matches = listed.try_get_matches_from(["unamed", "serve", "--network", "flagged"]).unwrap();
    let args::Command::Serve(args) = Args::from_arg_matches(&matches).unwrap().command else { panic!() };
    assert_eq!(args.node.network.as_str(), "flagged");
}

#[test]
fn keys_of_other_commands_are_skipped_and_one_value_stands_for_a_list() {
    let file = "bootstrap = \"/ip4/127.0.0.1/tcp/1/ws\"\nlisten = [\"127.0.0.1:1\"]\nstay = true\n";
    let args = room(file, "");
    assert!(args.stay && args.node.bootstrap.len() == 1);
    assert!(!room("stay = false\nlisten = \"127.0.0.1:1\"", "").stay);
}

#[test]
fn what_is_wrong_is_named_with_line_key_and_range() {
    let cases = [
        ("speed = 9", "line 1: speed: there is no such key"),
        ("\n\ntls_cert = \"x\"", "line 3: tls_cert: there is no such key; \"tls-cert\" is one"),
        ("connections = 9", "line 1: connections: there is no such key; \"connections-max\" is one"),
        ("config = \"x\"", "line 1: config: this is a flag only"),
        ("[limits]\nfinds = 1", "line 1: limits: there is no such key"),
        ("[bounds]", "line 1: bounds: there is no such key"),
        ("clients-max = -1", "line 1: clients-max: \"-1\": "),
        ("connections-max = 0", "line 1: connections-max: \"0\": 0 is not in 1..=1000000"),
        ("connections-max = 2000000", "line 1: connections-max: \"2000000\": 2000000 is not in 1..=1000000"),
        ("connections-max = 1.5", "line 1: connections-max: a whole number is expected"),
        (
            "connections-max = 99999999999999999999999999999999999999999",
            "line 1: connections-max: the number is too large",
        ),
        ("connections-max = [1]", "line 1: connections-max: one value is expected, not a list"),
        ("connections-max = true", "line 1: connections-max: a text in quotes or a whole number is expected"),
        ("ban-time = 3600", "line 1: ban-time: \"3600\": the unit is missing: one of ms, s, min, h, d"),
        ("ban-time = \"3600B\"", "line 1: ban-time: \"3600B\": \"B\" is no unit of time"),
        ("ban-time = \"31d\"", "line 1: ban-time: \"31d\": 31d is not in 1s to 30d"),
        ("relay-memory = \"64MB\"", "line 1: relay-memory: \"64MB\": \"MB\" is no unit of size"),
        ("find-rate = 10", "line 1: find-rate: \"10\": a rate is expected"),
        ("find-rate = \"0/s burst 9\"", "line 1: find-rate: \"0/s burst 9\": 0 is not in 1 to 1000000"),
        ("json = \"yes\"", "line 1: json: true or false is expected"),
        ("json = 1", "line 1: json: true or false is expected"),
        ("listen = []", "line 1: listen: at least one value is expected"),
        ("listen = [\"127.0.0.1\"]", "line 1: listen: \"127.0.0.1\": "),
        ("listen = [1979-05-27]", "line 1: listen: a text in quotes or a whole number is expected"),
        ("state = \"\"", "line 1: state: a value is expected"),
        ("trusted-proxy = \"10.0.0.0/33\"", "line 1: trusted-proxy: \"10.0.0.0/33\": "),
        ("json = true\njson = true", "line 2: duplicate key"),
        ("json = ", "line 1: "),
        ("a = 1\n\u{7}", "line 2: "),
    ];
    for (text, expected) in cases {
        let failure = over(text, "serve").err().unwrap_or_else(|| panic!("{text:?} is taken"));
        assert!(failure.message.starts_with(expected), "{text:?}: {}", failure.message);
    }
}

#[test]
fn values_that_do_not_go_together_are_found_by_check() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("unamed.toml");
    let checked = |text: &str| {
        fs::write(&file, text).unwrap();
        check(&file)
    };
    checked(&example()).unwrap();
    checked("web = \"127.0.0.1:1\"\nweb-root = \"/x\"\ntls-cert = \"c\"\ntls-key = \"k\"").unwrap();
    for (text, named) in [
        ("web-root = \"/x\"", "--web"),
        ("tls-cert = \"/x\"", "--tls-key"),
        ("overlay-soft = 120", "--overlay-hard"),
        ("allow-origin = \"*\"\nlisten = \"0.0.0.0:1\"", "--i-know"),
        ("speed = 1", "speed"),
    ] {
        let failure = checked(text).unwrap_err();
        let path = file.display().to_string();
        assert!(
            failure.code == 2 && failure.message.contains(named) && failure.message.contains(&path),
            "{}",
            failure.message
        );
    }
    for bad in ["json = ", "\u{0}"] {
        assert_eq!(checked(bad).unwrap_err().code, 3);
    }
    fs::write(&file, b"\xFF").unwrap();
    assert_eq!(check(&file).unwrap_err().code, 3);
    fs::write(&file, "#".repeat(BYTES_MAX as usize + 1)).unwrap();
    assert!(check(&file).unwrap_err().message.contains("more than"));
    for missing in [dir.path(), &dir.path().join("none")] {
        assert_eq!(check(missing).unwrap_err().code, 3);
    }
}

/// A line that sets some key to some value, often a wrong one.
fn a_line() -> impl Strategy<Value = String> {
    let keys: Vec<String> =
        settings(&Args::command()).into_keys().chain(["config".into(), "x".into()]).collect();
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|on| on.to_string()),
        "[ -~]{0,20}".prop_map(|text| toml::Value::String(text).to_string()),
        "[0-9]{1,6}(s|ms|min|MiB|/s burst [0-9]{1,3})?".prop_map(|text| format!("\"{text}\"")),
        Just("[]".to_owned()),
        Just("[\"a\", 1]".to_owned()),
        Just("{ a = 1 }".to_owned()),
        "[ -~]{0,12}",
    ];
    (proptest::sample::select(keys), value).prop_map(|(key, value)| format!("{key} = {value}"))
}

proptest! {
    /// Whatever a file holds, it is taken, and then for the values that it has, or refused in one line.
    #[test]
    fn any_file_is_taken_or_refused_in_one_line(lines in proptest::collection::vec(a_line(), 0..4)) {
        let text = lines.join("\n");
        if let Err(failure) = with_text(Args::command(), &text) {
            prop_assert!(failure.message.starts_with("line ") && [2, 3].contains(&failure.code), "{}", failure.message);
        } else {
            let matches = without_variables(with_text(Args::command(), &text).map_err(|_| ()).unwrap()).try_get_matches_from(["unamed", "serve"]);
            prop_assert!(matches.is_ok(), "{text}");
        }
    }

    #[test]
    fn any_text_is_taken_or_refused(text in ".{0,200}") {
        let _ = with_text(Args::command(), &text);
    }
}
