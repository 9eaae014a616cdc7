//! `unamed-digest SEED…` prints what the drawn networks of these seeds come to, one line each.

use std::process::ExitCode;

use unamed_digest::digest;

fn main() -> ExitCode {
    let seeds: Result<Vec<u64>, _> = std::env::args().skip(1).map(|seed| seed.parse()).collect();
    match seeds {
        Ok(seeds) if !seeds.is_empty() => {
            seeds.into_iter().for_each(|seed| println!("{}", digest(seed)));
            ExitCode::SUCCESS
        }
        Ok(_) | Err(_) => {
            eprintln!("usage: unamed-digest SEED…");
            ExitCode::FAILURE
        }
    }
}
