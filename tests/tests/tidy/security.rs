//! `docs/security.md` names a test for each attack and each bad input: they exist, and none is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{assert_none, read};

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The tests that a text names, as `path::name`.
fn tests_named(text: &str) -> Vec<(&str, &str)> {
    let named = quoted(text).filter_map(|quoted| quoted.rsplit_once("::"));
    named.filter(|(path, _)| path.ends_with(".rs")).collect()
}

/// The first cells of the rows of tables.
fn rows(text: &str) -> BTreeMap<&str, &str> {
    let row = |line: &'_ str| line.starts_with("| ").then_some(());
    let lines = text.lines().filter(|line| row(line).is_some());
    lines.filter_map(|line| Some((line.split('|').nth(1)?.trim(), line))).collect()
}

/// The functions that a file has right after `#[test]` or another attribute of tests.
fn tests_in(source: &str) -> BTreeSet<&str> {
    let name = |line: &'_ str| -> Option<usize> { line.find("fn ").map(|at| at + 3) };
    let mut found = BTreeSet::new();
    let mut attribute = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            attribute = true;
        } else if let Some(at) = name(line).filter(|_| attribute || !line.ends_with(';')) {
            let rest = &line[at..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            // Inside a macro that makes tests of functions there is no attribute.
            let by_macro = source.contains("$(#[test] fn $name()") || source.contains("proptest!");
            if attribute || by_macro {
                found.insert(&rest[..end]);
            }
            attribute = false;
        }
    }
    found
}

#[test]
fn every_test_that_the_security_document_names_exists() {
    let text = read(Path::new("docs/security.md"));
    let named = tests_named(&text);
    assert!(named.len() > 150, "tests are named: {}", named.len());
    let missing = named.iter().filter(|(path, name)| {
        let file = unamed_tests::root().join(path);
        !file.is_file() || !tests_in(&read(Path::new(path))).contains(name)
    });
    let missing: BTreeSet<String> = missing.map(|(path, name)| format!("{path}::{name}")).collect();
    assert_none("tests that are named and do not exist", &missing.into_iter().collect::<Vec<_>>());
}

#[test]
fn no_attack_no_bad_input_and_no_invariant_is_left_out() {
    let text = read(Path::new("docs/security.md"));
    let rows = rows(&text);
    let attacks = (1..=60).map(|number| format!("A{number:02}"));
    let numbered = |name: &'static str, last: u32| (1..=last).map(move |number| format!("{name}{number}"));
    let wanted = attacks.chain(numbered("b", 94)).chain(numbered("I", 28)).chain(numbered("L", 5));
    let said = ["does not apply", "scenario", "to be added", "browser tests", "not on the wire"];
    let silent = wanted.filter(|id| {
        let row = rows.get(id.as_str()).copied().unwrap_or_default();
        tests_named(row).is_empty() && !said.iter().any(|reason| row.contains(reason))
    });
    assert_none("rows without a test or a reason", &silent.collect::<Vec<_>>());
}

#[test]
fn named_tests_are_found_and_other_functions_are_not() {
    let text = "| A01 | x | `a/b.rs::c`, `d.rs::e` and `Struct::f` |\n| b2 | does not apply |";
    assert_eq!(tests_named(text), [("a/b.rs", "c"), ("d.rs", "e")]);
    assert_eq!(rows(text).keys().copied().collect::<Vec<_>>(), ["A01", "b2"]);
    let source =
        "#[test]\nfn one() {}\nfn helper() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn two() {}";
    assert_eq!(tests_in(source), BTreeSet::from(["one", "two"]));
}
