//! `cargo xtask bench`.

use std::path::Path;

use crate::run;

/// What is benched: the workspace, and what compares with crates that the workspace is kept free of.
const BENCHES: [&[&str]; 2] = [
    &["--workspace", "--bench", "*"],
    &["--manifest-path", "benches/routing/Cargo.toml", "--bench", "routing"],
];

/// Runs the benchmarks of every crate that has some. They print their own ratios.
pub(crate) fn bench(root: &Path, filter: Option<&str>) -> bool {
    let mut good = true;
    for which in BENCHES {
        let mut command = run::cargo(root, &["bench", "--locked"]);
        command.args(which);
        if let Some(filter) = filter {
            command.args(["--", filter]);
        }
        if let Err(why) = run::run(&mut command) {
            eprintln!("bench: {why}");
            good = false;
        }
    }
    good
}
