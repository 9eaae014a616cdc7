//! `cargo xtask bench`.

use std::path::Path;

use crate::run;

/// Runs the benchmarks of every crate that has some. They print their own ratios.
pub(crate) fn bench(root: &Path, filter: Option<&str>) -> bool {
    let mut command = run::cargo(root, &["bench", "--workspace", "--bench", "*", "--locked"]);
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    match run::run(&mut command) {
        Ok(()) => true,
        Err(why) => {
            eprintln!("bench: {why}");
            false
        }
    }
}
