//! `cargo xtask web`: builds what browsers load, in `driver-web/npm/wasm`, and the demo page around it, in
//! `driver-web/dist`, which the program `unamed` carries when it is built after that.
//!
//! The standard library for WebAssembly comes from rustup, or where that cannot download, from source packages of
//! Debian, built once. `wasm-bindgen` runs as a library, in the tiny program of `xtask/web`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
/// A file name in the package that stands for all of it.
const MODULE: &str = "unamed_web_bg.wasm";
/// What rustc uses of WebAssembly beyond its first version, and every browser has.
const FEATURES: [&str; 7] = [
    "bulk-memory",
    "call-indirect-overlong",
    "multivalue",
    "mutable-globals",
    "nontrapping-float-to-int",
    "reference-types",
    "sign-ext",
];

/// Builds package and page; whether it went well. `build_std` builds the standard library even where rustup has it.
pub(crate) fn web(root: &Path, build_std: bool) -> bool {
    match build(root, build_std) {
        Ok(()) => true,
        Err(why) => {
            eprintln!("web: {why}");
            false
        }
    }
}

/// Builds package and page.
///
/// # Errors
/// What went wrong, as one line.
pub(crate) fn build(root: &Path, build_std: bool) -> Result<(), String> {
    let module = compile(root, build_std, "unamed-web")?;
    let tool = tool(root)?;
    let package = root.join("driver-web/npm/wasm");
    fs::create_dir_all(&package).map_err(|error| format!("{}: {error}", package.display()))?;
    run::run(Command::new(&tool).arg("bind").arg(&module).arg(&package))?;
    optimise(root, &package.join(MODULE))?;
    assemble(root)?;
    println!("\nWhat a page loads, bytes:");
    let scripts = scripts(root)?;
    run::run(Command::new(&tool).arg("sizes").arg(package.join(MODULE)).args(scripts))?;
    println!("\nthe package is in driver-web/npm, the page in driver-web/dist");
    Ok(())
}

/// Where the standard library for browsers comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Std {
    /// From rustup, compiled.
    Rustup,
    /// From Debian, as sources.
    Debian,
}

/// Takes rustup's if it is there (`has`) or can be had (`add`), unless Debian's is wanted.
fn choose(build_std: bool, has: impl FnOnce() -> bool, add: impl FnOnce() -> bool) -> Std {
    if !build_std && (has() || add()) { Std::Rustup } else { Std::Debian }
}

/// Builds the module by which tests compare WebAssembly with programs, and the scripts around it; the folder.
///
/// # Errors
/// What went wrong, as one line.
pub(crate) fn digest(root: &Path, build_std: bool) -> Result<PathBuf, String> {
    let module = compile(root, build_std, "unamed-digest")?;
    let folder = run::target_dir(root).join("digest");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    run::run(Command::new(tool(root)?).arg("bind").arg(&module).arg(&folder))?;
    Ok(folder)
}

/// The module of a crate as rustc makes it.
fn compile(root: &Path, build_std: bool, package: &str) -> Result<PathBuf, String> {
    let args = ["build", "-p", package, "--lib", "--locked", "--profile", "web", "--target", TARGET];
    let module = format!("web/{}.wasm", package.replace('-', "_"));
    if choose(build_std, || has_std(root), || add_std(root)) == Std::Rustup {
        run::run(&mut run::cargo(root, &args))?;
        return Ok(run::target_dir(root).join(TARGET).join(module));
    }
    let rustc = debian_rustc()?;
    // A target directory of its own: another compiler, and a standard library that is built once.
    let target = run::target_dir(root).join("web-std");
    let mut command = run::cargo(root, &args);
    command.args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]);
    command.arg("--target-dir").arg(&target);
    command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker(root)?);
    println!("building the standard library from Debian's sources: some minutes, once");
    run::run(&mut command)?;
    Ok(target.join(TARGET).join(module))
}

/// Whether rustup's compiler has the standard library for browsers.
fn has_std(root: &Path) -> bool {
    let mut command = Command::new("rustc");
    command.current_dir(root).args(["--print", "target-libdir", "--target", TARGET]);
    run::output(&mut command).is_some_and(|dir| holds_std(Path::new(dir.trim())))
}

/// Whether a folder of libraries, which need not exist, has the standard library among them.
fn holds_std(libraries: &Path) -> bool {
    let entries = fs::read_dir(libraries).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// Asks rustup for it; whether it is there then.
fn add_std(root: &Path) -> bool {
    println!("the standard library for {TARGET} is missing: asking rustup for it");
    let added = run::run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(root));
    added.is_ok() && has_std(root)
}

/// Debian's newer compiler, whose sources of the standard library are a package too.
fn debian_rustc() -> Result<PathBuf, String> {
    let rustc = PathBuf::from("/usr/bin/rustc");
    let has_sources = || {
        let mut command = Command::new(&rustc);
        run::output(command.args(["--print", "sysroot"])).is_some_and(|sysroot| {
            Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml").exists()
        })
    };
    if !has_sources() {
        println!("installing {} with apt-get", DEBIAN_PACKAGES.join(" and "));
        run::apt_install(&DEBIAN_PACKAGES)?;
    }
    if has_sources() { Ok(rustc) } else { Err(format!("there is no standard library for {TARGET}")) }
}

/// The linker that comes with rustup's toolchain.
fn linker(root: &Path) -> Result<PathBuf, String> {
    let none = || "rustup's rust-lld is missing".to_owned();
    let mut command = Command::new("rustc");
    let sysroot = run::output(command.current_dir(root).args(["--print", "sysroot"])).ok_or_else(none)?;
    let mut command = Command::new("rustc");
    let verbose = run::output(command.current_dir(root).arg("-vV")).ok_or_else(none)?;
    let host = verbose.lines().find_map(|line| line.strip_prefix("host: ")).ok_or_else(none)?;
    let linker = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/rust-lld");
    if linker.exists() { Ok(linker) } else { Err(none()) }
}

/// The program with the last steps.
fn tool(root: &Path) -> Result<PathBuf, String> {
    let target = run::target_dir(root).join("xtask-web");
    let mut command = run::cargo(root, &["build", "--locked", "--manifest-path", "xtask/web/Cargo.toml"]);
    run::run(command.arg("--target-dir").arg(&target))?;
    Ok(target.join("debug/xtask-web"))
}

/// Makes a module smaller, if it can be done here.
fn optimise(root: &Path, module: &Path) -> Result<(), String> {
    let tools = root.join("xtask/web");
    // Debian's is too old for what rustc writes, so the one of npm it is.
    let wasm_opt = tools.join("node_modules/.bin/wasm-opt");
    if !wasm_opt.exists() {
        println!("installing wasm-opt (binaryen) with npm");
        if let Err(why) = run::npm_install(&tools) {
            println!("the module stays as large as it is: there is no wasm-opt ({why})");
            return Ok(());
        }
    }
    let small = module.with_extension("small");
    let mut command = Command::new(wasm_opt);
    command.args(["-Oz", "--strip-debug", "--strip-producers"]);
    // A function that is put into its only caller spoils the likeness that compression lives on: a tenth of what is sent.
    command.arg("--one-caller-inline-max-function-size=0");
    command.args(FEATURES.map(|feature| format!("--enable-{feature}"))).arg("-o");
    run::run(command.arg(&small).arg(module))?;
    fs::rename(&small, module).map_err(|error| format!("{}: {error}", small.display()))
}

/// The scripts of the package, as paths from the root.
fn scripts(root: &Path) -> Result<Vec<PathBuf>, String> {
    let npm = root.join("driver-web/npm");
    let mut scripts = Vec::new();
    for dir in [npm.clone(), npm.join("src"), npm.join("wasm")] {
        let mut found = files(&dir)?;
        found.retain(|path| path.extension().is_some_and(|ending| ending == "js"));
        found.sort();
        scripts.extend(found);
    }
    Ok(scripts)
}

/// Puts the page and the package that it uses into one folder.
fn assemble(root: &Path) -> Result<(), String> {
    let (demo, npm) = (root.join("driver-web/demo"), root.join("driver-web/npm"));
    let dist = root.join("driver-web/dist");
    // The folder itself stays, for its list of what git ignores.
    for old in files(&dist).unwrap_or_default() {
        let kept = old.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !kept {
            let _ = fs::remove_file(old);
        }
    }
    let _ = fs::remove_dir_all(dist.join("unamed"));
    for (from, to) in [
        (demo, dist.clone()),
        (npm.clone(), dist.join("unamed")),
        (npm.join("src"), dist.join("unamed/src")),
        (npm.join("wasm"), dist.join("unamed/wasm")),
    ] {
        fs::create_dir_all(&to).map_err(|error| format!("{}: {error}", to.display()))?;
        for file in files(&from)? {
            let kept = file.extension().is_some_and(|ending| {
                ["html", "css", "js", "svg", "wasm", "webmanifest"].iter().any(|known| ending == *known)
            });
            if let (true, Some(name)) = (kept, file.file_name()) {
                fs::copy(&file, to.join(name)).map_err(|error| format!("{}: {error}", file.display()))?;
            }
        }
    }
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::{Std, choose, holds_std};
    use unamed_tests::Scratch;

    #[test]
    fn debian_s_sources_are_taken_where_rustup_s_library_is_not_to_be_had() {
        // Whether it is wanted from sources, is there, can be had: what is taken, and whether rustup is asked.
        for (build_std, has, adds, taken, asked) in [
            (false, true, false, Std::Rustup, false),
            (false, false, true, Std::Rustup, true),
            (false, false, false, Std::Debian, true),
            (true, true, true, Std::Debian, false),
            (true, false, true, Std::Debian, false),
        ] {
            let asks = Cell::new(false);
            let add = || {
                asks.set(true);
                adds
            };
            assert_eq!(
                (choose(build_std, || has, add), asks.get()),
                (taken, asked),
                "{build_std} {has} {adds}"
            );
        }
    }

    #[test]
    fn a_folder_without_the_library_has_none() {
        let scratch = Scratch::new().expect("a folder");
        let dir = scratch.path().join("lib");
        assert!(!holds_std(&dir), "no folder");
        fs::create_dir(&dir).expect("a folder");
        fs::write(dir.join("libcore-0.rlib"), "").expect("a file");
        assert!(!holds_std(&dir), "another library");
        fs::write(dir.join("libstd-0.rlib"), "").expect("a file");
        assert!(holds_std(&dir));
    }
}
