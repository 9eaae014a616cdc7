//! `cargo xtask upgrade`: a rolling upgrade from the program of an earlier commit to that of the tree.
//!
//! The earlier commit is checked out as a git worktree under `target/`, and its program built there. Dependencies that both have
//! in common are not built twice where cargo can keep intermediate files apart from programs (`build.build-dir`, 1.91 on).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// Builds the program of `from` and runs the test with it.
///
/// # Errors
/// What went wrong, as one line.
pub(crate) fn upgrade(root: &Path, from: &str) -> Result<(), String> {
    let old = old_program(root, from)?;
    // Program and test in one go, as in `cargo xtask test`: alone they would want dependencies with other features.
    run::run(&mut run::cargo(
        root,
        &["build", "--locked", "--workspace", "--bin", "unamed", "--test", "upgrade"],
    ))?;
    let new = run::program(root, "unamed");
    println!("from {} to {}", old.display(), new.display());
    let mut test = run::cargo(root, &["test", "--locked", "--workspace", "--test", "upgrade"]);
    run::run(test.env("UNAMED_OLD_BIN", &old).env("UNAMED_BIN", &new))
}

/// Whether there is such a commit here: not in a clone without history.
pub(crate) fn has_commit(root: &Path, from: &str) -> bool {
    run::output(Command::new("git").current_dir(root).args(["cat-file", "-e", &format!("{from}^{{commit}}")]))
        .is_some()
}

/// The program of a commit, built if it is not there.
fn old_program(root: &Path, from: &str) -> Result<PathBuf, String> {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(root).args(args);
        command
    };
    let commit = run::output(&mut git(&["rev-parse", "--verify", &format!("{from}^{{commit}}")]));
    let commit = commit.ok_or_else(|| format!("there is no commit {from}"))?.trim().to_owned();
    let target = run::target_dir(root);
    let built = target.join("upgrade").join(&commit);
    let program = built.join("debug").join(format!("unamed{}", std::env::consts::EXE_SUFFIX));
    if program.exists() {
        return Ok(program);
    }
    let tree = target.join("upgrade").join("tree");
    let path = tree.to_string_lossy().into_owned();
    // One of an earlier run, whose folder may be gone.
    run::output(&mut git(&["worktree", "remove", "--force", &path]));
    run::output(&mut git(&["worktree", "prune"]));
    run::run(&mut git(&["worktree", "add", "--detach", "--force", &path, &commit]))?;
    // A test beside the program: with it, dependencies have the features that they have in the tree's own tests.
    let args = ["build", "--locked", "--workspace", "--bin", "unamed", "--test", "tidy"];
    let mut build = run::cargo(&tree, &args);
    build.env("CARGO_TARGET_DIR", &built).env("CARGO_BUILD_BUILD_DIR", &target);
    let outcome = run::run(&mut build);
    run::run(&mut git(&["worktree", "remove", "--force", &path]))?;
    outcome.map(|()| program)
}
