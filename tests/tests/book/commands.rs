//! Whether a command exists: the programs are asked by their own parsers, and do nothing but say how they are used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use unamed_tests::{built, program, root};

use crate::shell;

/// Programs of the tree, by what the book calls them.
const PROGRAMS: [&str; 3] = ["unamed", "unamed-sim", "cargo xtask"];
/// What the book uses besides.
const OTHERS: [&str; 17] = [
    "apt-get",
    "cat",
    "cd",
    "certbot",
    "cp",
    "curl",
    "docker",
    "export",
    "git",
    "install",
    "mkdir",
    "nginx",
    "npm",
    "openssl",
    "sed",
    "systemctl",
    "tee",
];

/// What the programs say of themselves.
#[derive(Debug)]
pub(crate) struct Programs {
    /// Packages of the workspace, with their folders.
    packages: BTreeMap<String, PathBuf>,
    /// Every flag of the programs.
    flags: BTreeSet<String>,
}

impl Programs {
    /// Asks them.
    ///
    /// # Panics
    /// If they cannot be built, or do not say.
    #[must_use]
    pub(crate) fn new() -> Self {
        let mut flags = BTreeSet::new();
        for name in PROGRAMS {
            let mut waiting = vec![Vec::<String>::new()];
            while let Some(command) = waiting.pop() {
                let help = help(name, &command).unwrap_or_else(|error| panic!("{error}"));
                flags.extend(flags_of(&help).map(str::to_owned));
                let deeper = |word: &str| [&command[..], &[word.to_owned()]].concat();
                waiting.extend(subcommands(&help).map(deeper));
            }
        }
        Self { packages: packages(), flags }
    }

    /// Whether the words are a command that is there.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, words: &[String]) -> Result<(), String> {
        let (name, args) = words.split_first().ok_or("no command")?;
        match name.as_str() {
            "unamed" | "unamed-sim" => help(name, args).map(drop),
            "cargo" if args.first().is_some_and(|word| word == "xtask") => {
                help("cargo xtask", args.get(1..).unwrap_or_default()).map(drop)
            }
            "cargo" => self.check_cargo(args),
            other if OTHERS.contains(&other) => Ok(()),
            other => Err(format!("nothing here knows `{other}`")),
        }
    }

    /// Whether a command in running text is there: its subcommand, and its flags by name. Values may be words that stand for
    /// something. What is no command of a program is fine.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_mention(&self, code: &str) -> Result<(), String> {
        let of = |name: &&str| code.strip_prefix(*name).is_some_and(|rest| rest.starts_with(' '));
        let Some(name) = PROGRAMS.into_iter().find(of) else {
            let flag = code.split([' ', '=']).next().filter(|word| word.len() > 2 && word.starts_with("--"));
            return match flag {
                Some(flag) if !self.flags.contains(flag) => Err(format!("no program has {flag}")),
                Some(_) | None => Ok(()),
            };
        };
        let words = shell::commands(code).ok_or("a quote is not closed")?;
        let words = words.into_iter().next().unwrap_or_default();
        let args = words.get(name.split(' ').count()..).unwrap_or_default();
        // `config` is the one that has subcommands of its own.
        let depth = if args.first().is_some_and(|word| word == "config") { 2 } else { 1 };
        let is_word = |word: &&String| !word.starts_with('-');
        let command: Vec<String> = args.iter().take(depth).take_while(is_word).cloned().collect();
        let help = help(name, &command)?;
        let known: BTreeSet<&str> = flags_of(&help).collect();
        let flags = args.iter().filter(|word| word.starts_with("--"));
        let mut unknown = flags.map(|word| word.split('=').next().unwrap_or_default());
        match unknown.find(|flag| !known.contains(flag)) {
            Some(flag) => Err(format!("`{name} {}` has no {flag}", command.join(" "))),
            None => Ok(()),
        }
    }

    /// Whether what a command of cargo names is there.
    fn check_cargo(&self, args: &[String]) -> Result<(), String> {
        let (command, args) = args.split_first().ok_or("no command of cargo")?;
        if !["bench", "build", "doc", "run"].contains(&command.as_str()) {
            return Err(format!("nothing here knows `cargo {command}`"));
        }
        let mut package = None;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} has no value"));
            match arg.as_str() {
                "-p" | "--package" => {
                    let name = value()?;
                    package = Some(self.packages.get(name).ok_or_else(|| format!("no package is {name}"))?);
                }
                "--example" => {
                    let name = value()?;
                    let package = package.ok_or("an example without a package")?;
                    exists(&package.join("examples"), name)?;
                }
                "--bin" => {
                    let name = value()?;
                    let folders =
                        self.packages.values().filter(|folder| package.is_none_or(|one| one == *folder));
                    let mut bins = folders.map(|folder| exists(&folder.join("src/bin"), name));
                    bins.find(Result::is_ok).ok_or_else(|| format!("no program is {name}"))??;
                }
                "--manifest-path" => {
                    let path = value()?;
                    if !root().join(path).is_file() {
                        return Err(format!("there is no {path}"));
                    }
                }
                "--locked" | "--no-deps" | "--open" | "--release" | "--workspace" => {}
                "--" => break,
                other => return Err(format!("nothing here knows `cargo {command} {other}`")),
            }
        }
        Ok(())
    }
}

/// Whether a folder has a Rust program of this name.
fn exists(folder: &Path, name: &str) -> Result<(), String> {
    let (file, main) = (folder.join(format!("{name}.rs")), folder.join(name).join("main.rs"));
    if file.is_file() || main.is_file() { Ok(()) } else { Err(format!("{} has no {name}", folder.display())) }
}

/// The packages of the workspace, with their folders.
fn packages() -> BTreeMap<String, PathBuf> {
    let read = |folder: &Path| {
        std::fs::read_to_string(folder.join("Cargo.toml"))
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    };
    let manifest = read(&root());
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = "));
    let folders = members.expect("the workspace has members").split('"').skip(1).step_by(2);
    let named = folders.map(|folder| {
        let folder = root().join(folder);
        let manifest = read(&folder);
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = "));
        (name.expect("a package has a name").trim_matches('"').to_owned(), folder)
    });
    named.collect()
}

/// How a command is used, by its program; it does not come to more than that.
///
/// # Errors
/// What its parser says of the arguments.
fn help(name: &str, args: &[String]) -> Result<String, String> {
    let program = match name {
        "unamed" => program().to_path_buf(),
        "cargo xtask" => built("xtask"),
        other => built(other),
    };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    // The parser reads from left to right: what is wrong before this is said, and nothing is done after it.
    if !args.iter().any(|arg| arg == "--help") {
        command.arg("--help");
    }
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Flags in what a program says of itself.
fn flags_of(help: &str) -> impl Iterator<Item = &str> {
    let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| word.len() > 2 && word.starts_with("--"))
}

/// Subcommands in what a program says of itself.
fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What they do goes on in lines that are indented further.
    let own = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    own.filter_map(|line| line.split(' ').next()).filter(|word| *word != "help")
}

#[test]
fn what_does_not_exist_is_found() {
    let programs = Programs::new();
    let good = [
        "unamed serve --listen 127.0.0.1:3001",
        "unamed-sim run --nodes 3",
        "cargo xtask demo --once",
        "cargo run -p unamed-protocol --example threads",
        "cargo build --release --bin unamed-sim",
        "cargo bench --manifest-path benches/routing/Cargo.toml",
        "sudo install x y",
    ];
    let bad = [
        "unamed sing",
        "unamed serve --speed 9",
        "unamed serve --listen nowhere",
        "unamed room ab",
        "unamed config chek x",
        "unamed-sim run --nodes 0",
        "cargo xtask demo --twice",
        "cargo frobnicate",
        "cargo run -p unamed-protocol --example none",
        "cargo run -p none",
        "cargo build --bin none",
        "cargo bench --manifest-path none/Cargo.toml",
        "frobnicate",
    ];
    let check = |line: &str| {
        let commands = shell::commands(line).expect("quotes are closed");
        commands.iter().try_for_each(|words| programs.check(words))
    };
    for line in good {
        assert_eq!(check(line), Ok(()), "{line}");
    }
    for line in bad {
        assert!(check(line).is_err(), "{line}");
    }
    for code in
        ["unamed room NAME --wait N", "unamed config check FILE", "--bootstrap MULTIADDR", "unamed", "a::b"]
    {
        assert_eq!(programs.check_mention(code), Ok(()), "{code}");
    }
    for code in ["unamed sing NAME", "unamed room NAME --speed", "cargo xtask soak --hours 3", "--speed N"] {
        assert!(programs.check_mention(code).is_err(), "{code}");
    }
}
