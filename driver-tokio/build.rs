//! Embeds the web page that `cargo xtask web` built, if it did, for `unamed serve --web`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| {
        env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("{name} is not set")))
    };
    let dist = variable("CARGO_MANIFEST_DIR")?.join("../driver-web/dist");
    let mut files = Vec::new();
    // Beside the tree, as a published crate, there is no page.
    if dist.is_dir() {
        println!("cargo::rerun-if-changed={}", dist.display());
        collect(&dist, "", &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[");
    for (name, path) in files {
        let path = fs::canonicalize(path)?;
        // Writing to a text cannot fail.
        let _ = write!(list, "({name:?}, include_bytes!({:?}).as_slice()),", path.display().to_string());
    }
    list.push(']');
    fs::write(variable("OUT_DIR")?.join("web_files.rs"), list)
}

/// All files below `dir` that are no dot files, with their names from there.
fn collect(dir: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else {
            files.push((name, path));
        }
    }
    Ok(())
}
