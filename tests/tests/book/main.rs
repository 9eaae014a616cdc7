//! The book holds: each command in it exists, each link leads somewhere, each picture is there, and the way to a node behind
//! nginx is walked as it is written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use unamed_tests::{Scratch, root, unamed};

mod commands;
mod markdown;
mod shell;
mod walk;

use commands::Programs;
use markdown::Chapter;

/// What is read beside `docs/`.
const BESIDE: [&str; 4] = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "driver-web/npm/README.md"];
/// Languages of blocks. One without would be Rust to rustdoc, and nothing to anybody else.
const LANGUAGES: [&str; 9] = ["ini", "js", "json", "rust", "rust,no_run", "sh", "text", "toml", "yaml"];
/// The order of the chapters, in the form of mdBook.
const SUMMARY: &str = "docs/SUMMARY.md";

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn chapter(path: &Path) -> Chapter {
    Chapter::parse(&read(path))
        .unwrap_or_else(|line| panic!("{}:{line}: a fence is not closed", path.display()))
}

/// The Markdown files of a folder and those below, in order, relative to the root.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is readable");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| folder.join(entry.expect("an entry").file_name())).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if root().join(&path).is_dir() {
            found.extend(below(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found
}

/// All that is read, by path.
fn chapters() -> Vec<(PathBuf, Chapter)> {
    let paths = below(Path::new("docs")).into_iter().chain(BESIDE.map(PathBuf::from));
    let chapters: Vec<_> = paths.map(|path| (path.clone(), chapter(&path))).collect();
    assert!(chapters.len() > 12, "the book was found");
    chapters
}

#[track_caller]
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_command_exists() {
    let programs = Programs::new();
    let (mut wrong, mut looked_at) = (Vec::new(), 0_usize);
    for (path, chapter) in chapters() {
        let mut note = |line: usize, why: String| wrong.push(format!("{}:{line}: {why}", path.display()));
        for block in chapter.blocks.iter().filter(|block| block.language == "sh") {
            let entries = shell::entries(&block.text).unwrap_or_else(|why| {
                note(block.line, why);
                Vec::new()
            });
            for entry in entries {
                for words in &entry.commands {
                    looked_at += 1;
                    if let Err(why) = programs.check(words) {
                        note(block.line + 1 + entry.line, why);
                    }
                }
            }
        }
        for (line, code) in &chapter.code {
            if let Err(why) = programs.check_mention(code) {
                note(*line, why);
            }
        }
    }
    assert!(looked_at > 60, "commands were found: {looked_at}");
    assert_none("commands that do not exist", &wrong);
}

/// Where a link of a file leads, relative to the root, and the heading there; `None` if it leads out of the tree.
fn target(from: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let mut at = if path.is_empty() {
        from.to_path_buf()
    } else {
        from.parent().unwrap_or(Path::new("")).to_path_buf()
    };
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => assert!(at.pop(), "{}: {link} leaves the tree", from.display()),
            Component::Normal(name) => at.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some((at, anchor.map(str::to_owned)))
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut looked_at = 0_usize;
    for (path, chapter) in chapters() {
        for (line, link) in &chapter.links {
            let Some((at, anchor)) = target(&path, link) else { continue };
            looked_at += 1;
            let anchors = |at: &Path| chapter_or_none(at).map(|chapter| chapter.anchors);
            let there = root().join(&at).exists();
            let found = anchor.is_none_or(|wanted| anchors(&at).is_some_and(|all| all.contains(&wanted)));
            if !there || !found {
                wrong.push(format!("{}:{line}: {link}", path.display()));
            }
        }
    }
    assert!(looked_at > 100, "links were found: {looked_at}");
    assert_none("links that lead nowhere", &wrong);
}

/// A file, if it is one that has headings.
fn chapter_or_none(path: &Path) -> Option<Chapter> {
    let markdown = path.extension().is_some_and(|extension| extension == "md");
    (markdown && root().join(path).is_file()).then(|| chapter(path))
}

#[test]
fn links_are_followed_from_where_they_stand() {
    let from = Path::new("docs/a.md");
    let cases = [
        ("b.md#c", "docs/b.md", Some("c")),
        ("#c", "docs/a.md", Some("c")),
        ("../README.md", "README.md", None),
        ("./x/y.svg", "docs/x/y.svg", None),
    ];
    for (link, path, anchor) in cases {
        assert_eq!(target(from, link), Some((PathBuf::from(path), anchor.map(str::to_owned))), "{link}");
    }
    assert_eq!(target(from, "https://rustup.rs"), None);
}

/// A line of the summary: a title and its file.
type Listed = (String, String);

/// The chapters, in order, and what stands beside them.
fn summary() -> (Vec<Listed>, Vec<Listed>) {
    let text = read(Path::new(SUMMARY));
    let entry = |line: &str| {
        let (title, file) = line.trim_start_matches("- ").strip_prefix('[')?.split_once("](")?;
        Some((title.to_owned(), file.strip_suffix(')')?.to_owned()))
    };
    let (inside, beside): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("- "));
    (inside.into_iter().filter_map(entry).collect(), beside.into_iter().filter_map(entry).collect())
}

#[test]
fn the_chapters_are_read_in_order() {
    let (inside, beside) = summary();
    assert!(inside.len() > 10, "chapters are listed: {inside:?}");
    let listed: BTreeSet<PathBuf> =
        inside.iter().chain(&beside).map(|(_, file)| Path::new("docs").join(file)).collect();
    let mut there: BTreeSet<PathBuf> = below(Path::new("docs")).into_iter().collect();
    assert!(there.remove(Path::new(SUMMARY)));
    assert_eq!(listed, there, "{SUMMARY} lists what is there");

    let mut files = vec!["README.md"];
    files.extend(inside.iter().map(|(_, file)| file.as_str()));
    for (file, (title, next)) in files.iter().zip(&inside) {
        let text = read(&Path::new("docs").join(file));
        let last = text.lines().last().unwrap_or_default();
        assert_eq!(last, format!("Next: [{title}]({next})"), "the end of docs/{file}");
    }
    let start = read(Path::new("docs/README.md"));
    let rows: Vec<&str> = start.lines().filter(|line| line.starts_with("| [")).collect();
    assert_eq!(rows.len(), inside.len(), "docs/README.md has a row for each chapter");
    for (row, (title, file)) in rows.iter().zip(&inside) {
        assert!(row.starts_with(&format!("| [{title}]({file}) |")), "{row}: {title} is next");
    }
}

#[test]
fn every_picture_is_there_and_shown_and_has_its_command() {
    let folder = Path::new("docs/pictures");
    let commands = chapter(&folder.join("README.md"));
    let mut made = String::new();
    for block in commands.blocks.iter().filter(|block| block.language == "sh") {
        made.push_str(&block.text);
    }
    let shown: BTreeSet<PathBuf> = chapters()
        .iter()
        .flat_map(|(path, chapter)| chapter.links.iter().filter_map(move |(_, link)| target(path, link)))
        .map(|(path, _)| path)
        .collect();
    let mut pictures = 0_usize;
    for entry in fs::read_dir(root().join(folder)).expect("the folder is readable") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".svg") else {
            assert_eq!(name, "README.md", "docs/pictures has pictures alone");
            continue;
        };
        pictures += 1;
        let path = folder.join(&name);
        assert!(read(&path).trim_end().ends_with("</svg>"), "{name} is whole");
        assert!(shown.contains(&path), "a chapter shows {name}");
        assert!(made.contains(&format!("{stem}.svg")), "docs/pictures/README.md has the command of {name}");
    }
    assert!(pictures >= 4, "there are pictures: {pictures}");
}

#[test]
fn every_block_has_a_language_and_what_is_rust_is_compiled() {
    let mut wrong = Vec::new();
    let drivers =
        ["driver-tokio/src/lib.rs", "simulator/src/lib.rs"].map(|path| read(Path::new(path))).concat();
    for (path, chapter) in chapters() {
        for block in &chapter.blocks {
            let at = format!("{}:{}", path.display(), block.line);
            if !LANGUAGES.contains(&block.language.as_str()) {
                wrong.push(format!("{at}: {:?}", block.language));
            }
            let included = format!("#[doc = include_str!(\"../../{}\")]", path.display());
            if block.language.starts_with("rust") && !drivers.contains(&included) {
                wrong.push(format!("{at}: no doc test includes it"));
            }
        }
    }
    assert_none("blocks", &wrong);
}

#[test]
fn every_configuration_is_one() {
    let scratch = Scratch::new().expect("a folder");
    let operating = chapter(Path::new("docs/operating.md"));
    let settings: Vec<_> = operating.blocks.iter().filter(|block| block.language == "toml").collect();
    assert!(settings.len() >= 2, "there are configurations");
    for block in settings {
        let file = scratch.file("unamed.toml");
        fs::write(&file, &block.text).expect("it is written");
        let output = unamed(["config", "check", &file]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docs/operating.md:{}: {said}", block.line);
    }
}
