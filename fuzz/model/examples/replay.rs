//! Runs one input of a fuzz target: `cargo run -p unamed-fuzz-model --example replay -- network FILE`.

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(target), Some(file)) = (args.next(), args.next()) else {
        eprintln!("usage: replay TARGET FILE");
        std::process::exit(2);
    };
    let input = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    unamed_fuzz_model::run(&target, &input);
}
