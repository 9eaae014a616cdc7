//! Replays the committed corpus, and some thousands of pseudo-random inputs from a fixed seed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use unamed_fuzz_model::{Decoder, node, round_trip, signal, wire};

type Target = fn(&[u8]);

/// Runs one input; a panic is preceded by the input itself, in hex.
fn run(name: &str, target: Target, input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    if let Err(panic) = outcome {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{name}: {hex}");
        resume_unwind(panic);
    }
}

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn replay(name: &str, target: Target) {
    let files = corpus(name);
    assert!(files.len() >= 10, "{name} has a corpus");
    for file in files {
        let input = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        run(&file.display().to_string(), target, &input);
    }
}

#[test]
fn the_corpus_of_wire_holds() {
    replay("wire", wire);
}

#[test]
fn the_corpus_of_round_trip_holds() {
    replay("round_trip", round_trip);
}

#[test]
fn the_corpus_of_signal_holds() {
    replay("signal", signal);
}

#[test]
fn the_corpus_of_node_holds() {
    replay("node", node);
}

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Mostly small bytes, as most choices are.
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        let byte = |random: &mut Self| {
            let drawn = random.next();
            if drawn & 0x300 == 0 { drawn as u8 } else { (drawn as u8) & 0x1F }
        };
        (0..count).map(|_| byte(self)).collect()
    }
}

#[test]
fn random_bytes_for_every_decoder() {
    let mut random = Random(1);
    for round in 0..8_000 {
        let mut input = vec![(round % Decoder::ALL.len()) as u8];
        input.extend(random.bytes(200));
        run("wire", wire, &input);
    }
}

/// Inputs of the corpus with a few bytes changed, cut, or doubled.
fn mutated(name: &str, target: Target, rounds: usize, seed: u64) {
    let mut random = Random(seed);
    let inputs: Vec<Vec<u8>> = corpus(name).iter().map(|file| fs::read(file).expect("a file")).collect();
    for round in 0..rounds {
        let mut input = inputs[round % inputs.len()].clone();
        for _ in 0..=random.below(4) {
            if input.is_empty() {
                continue;
            }
            let at = random.below(input.len());
            match random.below(4) {
                0 => input[at] = random.next() as u8,
                1 => input[at] ^= 1 << random.below(8),
                2 => drop(input.remove(at)),
                _ => input.insert(at, random.next() as u8),
            }
        }
        run(name, target, &input);
    }
}

#[test]
fn the_corpus_of_wire_with_errors() {
    mutated("wire", wire, 8_000, 2);
}

#[test]
fn random_choices_for_round_trips() {
    let mut random = Random(3);
    for _ in 0..6_000 {
        let input = random.bytes(300);
        run("round_trip", round_trip, &input);
    }
    mutated("round_trip", round_trip, 4_000, 4);
}

#[test]
fn random_scripts_for_a_node() {
    let mut random = Random(5);
    for _ in 0..600 {
        let input = random.bytes(400);
        run("node", node, &input);
    }
}

#[test]
fn the_scripts_of_the_corpus_with_errors() {
    mutated("node", node, 600, 6);
}
