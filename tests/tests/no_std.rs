//! The core needs no standard library, and nothing of a system: shown by a program that is linked without either, by its
//! undefined symbols, by the dependency tree, and by the words of the source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use proc_macro2::{TokenStream, TokenTree};
use unamed_tests::root;

/// What a program may ask of the C library: memory functions that the compiler itself calls, and what starts and ends
/// a program. `getauxval` tells processor features on ARM.
const ALLOWED: [&str; 13] = [
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "bcmp",
    "strlen",
    "getauxval",
    "__libc_start_main",
    "__cxa_finalize",
    "__gmon_start__",
    "_ITM_deregisterTMCloneTable",
    "_ITM_registerTMCloneTable",
    "__stack_chk_fail",
];

/// Crates that read the system's clock, sockets or randomness.
const FORBIDDEN_CRATES: [&str; 12] = [
    "async-std",
    "chrono",
    "getrandom",
    "instant",
    "libc",
    "mio",
    "rand",
    "rustix",
    "socket2",
    "time",
    "tokio",
    "web-time",
];

/// Names of such things in the source.
const FORBIDDEN_NAMES: [&str; 14] = [
    "SystemTime",
    "UNIX_EPOCH",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "JoinHandle",
    "OsRng",
    "SysRng",
    "ThreadRng",
    "getrandom",
    "thread_rng",
    "from_os_rng",
];

/// Modules of `std` whose very name shows a use of the system.
const FORBIDDEN_MODULES: [&str; 7] = ["env", "fs", "io", "net", "process", "thread", "time"];

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args).stdin(Stdio::null());
    command
}

#[track_caller]
fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output
}

/// Builds the static library with the versions of the workspace, and links a program that has nothing else in it.
fn linked() -> PathBuf {
    let target = root().join("target/nostd");
    let lock = root().join("tests/nostd/Cargo.lock");
    fs::copy(root().join("Cargo.lock"), lock).expect("the lock file is copied");
    let mut build = cargo(&[
        "build",
        "--quiet",
        "--offline",
        "--manifest-path",
        "tests/nostd/Cargo.toml",
        "--target-dir",
    ]);
    build.arg(&target);
    succeed(build);
    let program = target.join("nostd");
    let mut link = Command::new("cc");
    link.arg("-o").arg(&program).arg("-Wl,--gc-sections").arg(target.join("debug/libunamed_nostd.a"));
    succeed(link);
    program
}

#[test]
fn two_nodes_talk_in_a_program_without_a_standard_library() {
    let program = linked();
    let status = Command::new(&program).status().expect("it runs");
    assert_eq!(status.code(), Some(0), "see `Failure` in tests/nostd/src/world.rs");

    let mut symbols = Command::new("nm");
    symbols.args(["--undefined-only", "--format=just-symbols"]).arg(&program);
    let symbols = String::from_utf8(succeed(symbols).stdout).expect("symbols are UTF-8");
    let base = |symbol: &str| symbol.split('@').next().unwrap_or(symbol).to_owned();
    let asked: Vec<String> = symbols.lines().map(base).collect();
    assert!(asked.contains(&"memcpy".to_owned()), "symbols were read: {asked:?}");
    let more: Vec<_> = asked.iter().filter(|symbol| !ALLOWED.contains(&symbol.as_str())).collect();
    assert!(more.is_empty(), "the program asks the system for {more:?}");
}

#[test]
fn no_dependency_of_the_core_reads_clock_sockets_or_randomness() {
    let tree = cargo(&[
        "tree",
        "--offline",
        "--package",
        "unamed-protocol",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let tree = String::from_utf8(succeed(tree).stdout).expect("UTF-8");
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains(&"ed25519-dalek"), "the tree was read: {crates:?}");
    let found: Vec<_> = crates.iter().filter(|name| FORBIDDEN_CRATES.contains(name)).collect();
    assert!(found.is_empty(), "the core depends on {found:?}");
}

#[test]
fn the_source_of_the_core_names_no_clock_socket_or_randomness() {
    let mut found = Vec::new();
    let mut files = 0;
    let mut open = vec![root().join("protocol/src")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files += 1;
                let tokens = fs::read_to_string(&path).expect("UTF-8").parse().expect("it lexes");
                search(tokens, &path, &mut found);
            }
        }
    }
    assert!(files > 10, "the source was read");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn search(stream: TokenStream, file: &Path, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let word = |index: usize| match tokens.get(index) {
        Some(TokenTree::Ident(ident)) => ident.to_string(),
        Some(TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_)) | None => String::new(),
    };
    for (index, token) in tokens.iter().enumerate() {
        let name = word(index);
        // `std :: name`: the two colons are tokens of their own.
        let of_std = name == "std" && FORBIDDEN_MODULES.contains(&word(index + 3).as_str());
        if of_std || FORBIDDEN_NAMES.contains(&name.as_str()) {
            let line = token.span().start().line;
            let name = if of_std { format!("std::{}", word(index + 3)) } else { name };
            found.push(format!("{}:{line}: {name}", file.display()));
        }
        if let TokenTree::Group(group) = token {
            search(group.stream(), file, found);
        }
    }
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let text = "fn f() { std::time::x(); g(std::thread::spawn); OsRng; } // std::net\nuse std::vec::Vec; core::net::A;";
    let mut found = Vec::new();
    search(text.parse().expect("it lexes"), Path::new("f"), &mut found);
    assert_eq!(found, ["f:1: std::time", "f:1: std::thread", "f:1: OsRng"]);
}
