//! Checks the tree itself: sizes, words, dead files, docs, licences.
//!
//! Rust files are read as token trees, so a word in a string or a comment is not taken for code, and the body of a macro
//! call such as `proptest!` is seen like any other code.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use unamed_tests::root;

mod modules;
mod security;
mod tokens;

const FILE_LINES_MAX: usize = 1000;
const FUNCTION_LINES_MAX: usize = 80;

/// Words that date what they stand in, or promise instead of doing. Split, so that this file does not find itself.
const FORBIDDEN: [&str; 6] = [
    concat!("for ", "now"),
    concat!("no ", "longer"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("HA", "CK"),
];

/// Every file of the tree that is the project's own, in order, relative to the root.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).expect("the tree is readable").map(|entry| entry.expect("an entry"))
        {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().expect("a file type");
            let skipped = ["target", "node_modules", "dist", "wasm", "pkg", "corpus", "artifacts"]
                .contains(&name.as_str());
            let hidden =
                name.starts_with('.') && ![".ci", ".cargo", ".config", ".gitignore"].contains(&name.as_str());
            if skipped || hidden {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path.strip_prefix(root()).expect("inside the root").to_path_buf());
            }
        }
    }
    files.sort();
    files
}

fn with_extension(extensions: &[&str]) -> Vec<PathBuf> {
    let has =
        |path: &PathBuf| path.extension().is_some_and(|e| extensions.contains(&e.to_string_lossy().as_ref()));
    files().into_iter().filter(has).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn no_source_file_is_too_long() {
    let sources = with_extension(&["rs", "ts", "tsx", "js", "mjs", "html"]);
    assert!(sources.len() > 10, "the tree was searched");
    let long: Vec<String> = sources
        .iter()
        .map(|path| (path, read(path).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert_none(&format!("files over {FILE_LINES_MAX} lines"), &long);
}

#[test]
fn no_function_is_too_long_and_nothing_is_unfinished_or_ignored() {
    let mut found = Vec::new();
    let mut functions = 0_usize;
    for path in with_extension(&["rs"]) {
        let report = tokens::look(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        functions += report.functions.len();
        for function in report.functions.iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
            let (line, name, lines) = (function.line, &function.name, function.lines);
            found.push(format!("{}:{line}: {name} has {lines} lines", path.display()));
        }
        found.extend(report.bad.iter().map(|(line, what)| format!("{}:{line}: {what}", path.display())));
    }
    assert!(functions > 50, "functions were found");
    assert_none("functions over 80 lines, unfinished code, ignored tests", &found);
}

#[test]
fn no_forbidden_words_and_no_trailing_blanks() {
    let mut found = Vec::new();
    for path in with_extension(&["rs", "ts", "tsx", "js", "mjs", "html", "css", "toml", "md", "yml", "sh"]) {
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            let at = format!("{}:{}", path.display(), number + 1);
            if line.ends_with([' ', '\t']) {
                found.push(format!("{at}: trailing blank"));
            }
            let forbidden = FORBIDDEN.iter().filter(|word| contains_word(line, word));
            found.extend(forbidden.map(|word| format!("{at}: {word:?}")));
        }
        if !text.is_empty() && !text.ends_with('\n') {
            found.push(format!("{}: no newline at its end", path.display()));
        }
    }
    assert_none("words and blanks", &found);
}

/// Whether `line` has `word` with no letter or digit on either side.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

#[test]
fn no_rust_file_is_dead() {
    let all: BTreeSet<PathBuf> = with_extension(&["rs"]).into_iter().collect();
    let manifests =
        files().into_iter().filter(|path| path.file_name().is_some_and(|name| name == "Cargo.toml"));
    let mut roots = BTreeSet::new();
    for manifest in manifests {
        let folder = manifest.parent().unwrap_or(Path::new("")).to_path_buf();
        roots.extend(modules::crate_roots(&folder, &read(&manifest), &all));
    }
    let alive = modules::reached(&roots, &read);
    let dead: Vec<String> = all.difference(&alive).map(|path| path.display().to_string()).collect();
    assert!(alive.len() > 10, "modules were followed");
    assert_none("files that no crate contains", &dead);
}

#[test]
fn crates_and_modules_say_what_they_are() {
    let bare: Vec<String> = with_extension(&["rs"])
        .into_iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "src"))
        .filter(|path| {
            !path.components().any(|part| ["tests", "tests.rs"].map(OsStr::new).contains(&part.as_os_str()))
        })
        .filter(|path| !read(path).lines().any(|line| line.starts_with("//!")))
        .map(|path| path.display().to_string())
        .collect();
    assert_none("files without module docs", &bare);
}

#[test]
fn the_changelog_and_the_licences_are_there() {
    let changelog = read(Path::new("CHANGELOG.md"));
    assert!(
        changelog.lines().any(|line| line == "## [Unreleased]"),
        "CHANGELOG.md has an Unreleased section"
    );
    assert!(read(Path::new("SECURITY.md")).contains("# Security"), "SECURITY.md");
    // The crates that are published carry them too.
    for folder in ["", "protocol", "driver-tokio", "simulator"] {
        for (file, phrase) in [
            ("LICENSE-MIT", "Permission is hereby granted, free of charge"),
            ("LICENSE-APACHE", "Version 2.0, January 2004"),
        ] {
            assert!(read(&Path::new(folder).join(file)).contains(phrase), "{file} of {folder:?}");
        }
    }
}
