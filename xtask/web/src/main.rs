//! `xtask-web bind WASM DIR` writes the scripts around a WebAssembly module and the module itself into a folder.
//! `xtask-web sizes FILE…` prints what files weigh, raw and compressed.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let done = match args.as_slice() {
        [verb, wasm, dir] if verb.as_os_str() == "bind" => bind(wasm, dir),
        [verb, files @ ..] if verb.as_os_str() == "sizes" => sizes(files),
        _ => Err("usage: xtask-web bind WASM DIR | sizes FILE…".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask-web: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Scripts for the web, as ES modules; the types are written by hand.
fn bind(wasm: &Path, dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(wasm).web(true)?.typescript(false).omit_default_module_path(true);
    bindgen.remove_name_section(false).remove_producers_section(true);
    bindgen.generate(dir).map_err(|error| format!("{error:#}"))?;
    Ok(())
}

fn sizes(files: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    println!("{:<28}{:>12}{:>12}{:>12}", "file", "raw", "gzip", "brotli");
    let mut total = [0; 3];
    for file in files {
        let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let row = [bytes.len(), gzip(&bytes)?, brotli(&bytes)?];
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        print_row(&name, row);
        for (sum, size) in total.iter_mut().zip(row) {
            *sum += size;
        }
    }
    print_row("all", total);
    Ok(())
}

fn print_row(name: &str, [raw, gzip, brotli]: [usize; 3]) {
    println!("{name:<28}{raw:>12}{gzip:>12}{brotli:>12}");
}

fn gzip(bytes: &[u8]) -> std::io::Result<usize> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

fn brotli(bytes: &[u8]) -> std::io::Result<usize> {
    let mut out = Vec::new();
    let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
    brotli::BrotliCompress(&mut &*bytes, &mut out, &params)?;
    Ok(out.len())
}
