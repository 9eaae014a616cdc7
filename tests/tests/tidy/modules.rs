//! Which files a crate consists of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// The files from which the crates of one package start: those at cargo's usual places, and those that its manifest
/// names by `path`.
pub(crate) fn crate_roots(folder: &Path, manifest: &str, all: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let usual = |file: &Path| {
        let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        matches!(
            parts.as_slice(),
            ["build.rs"]
                | ["src", "lib.rs" | "main.rs"]
                | ["src", "bin", _]
                | ["src", "bin", _, "main.rs"]
                | ["tests" | "benches" | "examples", _]
                | ["tests" | "benches" | "examples", _, "main.rs"]
        )
    };
    let mut roots: BTreeSet<PathBuf> =
        all.iter().filter(|path| path.strip_prefix(folder).is_ok_and(usual)).cloned().collect();
    let named =
        manifest.lines().filter_map(|line| line.trim().strip_prefix("path = \"")?.strip_suffix(".rs\""));
    roots.extend(named.map(|name| folder.join(format!("{name}.rs"))));
    roots
}

/// Every file reached from `roots` by `mod` declarations.
pub(crate) fn reached(roots: &BTreeSet<PathBuf>, read: &dyn Fn(&Path) -> String) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<(PathBuf, bool)> = roots.iter().map(|root| (root.clone(), true)).collect();
    while let Some((file, is_root)) = open.pop() {
        if !reached.insert(file.clone()) {
            continue;
        }
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let inside = if is_root || stem == "mod" { beside.clone() } else { beside.join(&stem) };
        let tokens: TokenStream =
            read(&file).parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for candidates in declared(tokens, &beside, &inside) {
            open.extend(candidates.into_iter().filter(|path| exists(path)).map(|path| (path, false)));
        }
    }
    reached
}

fn exists(path: &Path) -> bool {
    unamed_tests::root().join(path).is_file()
}

/// For each `mod name;` the files it may mean.
fn declared(stream: TokenStream, beside: &Path, inside: &Path) -> Vec<Vec<PathBuf>> {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut found = Vec::new();
    for (index, window) in tokens.windows(3).enumerate() {
        let [TokenTree::Ident(keyword), TokenTree::Ident(name), end] = window else { continue };
        if keyword != "mod" {
            continue;
        }
        match end {
            TokenTree::Punct(punct) if punct.as_char() == ';' => {
                found.push(match path_attribute(&tokens[..index]) {
                    Some(path) => vec![beside.join(path)],
                    None => {
                        vec![inside.join(format!("{name}.rs")), inside.join(name.to_string()).join("mod.rs")]
                    }
                })
            }
            TokenTree::Group(group) => {
                let deeper = inside.join(name.to_string());
                found.extend(declared(group.stream(), &deeper, &deeper));
            }
            TokenTree::Punct(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => {}
        }
    }
    found
}

/// The value of `#[path = "…"]` right before a declaration, a visibility and other attributes between them allowed.
fn path_attribute(before: &[TokenTree]) -> Option<String> {
    for token in before.iter().rev().take(8) {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {}
            TokenTree::Ident(word) if word == "pub" => {}
            TokenTree::Group(group) => {
                let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
                if let [TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Literal(value)] =
                    tokens.as_slice()
                    && name == "path"
                {
                    return Some(value.to_string().trim_matches('"').to_owned());
                }
            }
            TokenTree::Punct(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => return None,
        }
    }
    None
}

#[test]
fn declarations_lead_to_files() {
    let text = "mod a; pub(crate) mod b { mod c; } #[cfg(test)] #[path = \"x/y.rs\"] pub mod d; mod e {}";
    let found = declared(text.parse().expect("it lexes"), Path::new("s"), Path::new("s/i"));
    let expected: [&[&str]; 3] =
        [&["s/i/a.rs", "s/i/a/mod.rs"], &["s/i/b/c.rs", "s/i/b/c/mod.rs"], &["s/x/y.rs"]];
    assert_eq!(found, expected.map(|paths| paths.iter().map(PathBuf::from).collect::<Vec<_>>()));
}
