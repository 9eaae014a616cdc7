//! The examples as programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::{Value, root};

/// Those that tests run. The names are those of the files, in `driver-tokio/examples` and `protocol/examples`.
const NAMES: [&str; 7] =
    ["bridge", "chat", "echo_bot", "game_tick", "presence_counter", "smol_tasks", "threads"];

/// An example: in the folder `UNAMED_EXAMPLES`, or else what `cargo build` makes of the tree, once per test process.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn example(name: &str) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| match std::env::var_os("UNAMED_EXAMPLES") {
        Some(folder) => folder.into(),
        None => build(),
    });
    Command::new(folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// Builds them all; the folder in which they are.
fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--locked", "--workspace"]);
    cargo.args(NAMES.iter().flat_map(|name| ["--example", name]));
    cargo.args(["--message-format", "json-render-diagnostics"]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "the examples cannot be built");
    let folder = output.stdout.split(|byte| *byte == b'\n').find_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        let ours = message["target"]["kind"] == crate::json!(["example"]);
        let program = ours.then(|| message["executable"].as_str()).flatten()?;
        Path::new(program).parent().map(Path::to_path_buf)
    });
    folder.expect("cargo names the programs it built")
}
