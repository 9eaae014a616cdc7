//! Replays the committed corpus, and some thousands of pseudo-random inputs from a fixed seed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use unamed_fuzz_model::TARGETS;

/// Runs one input; a panic is preceded by the input itself, in hex.
fn run(target: &str, file: &str, input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| unamed_fuzz_model::run(target, input)));
    if let Err(panic) = outcome {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{target}, {file}: {hex}");
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

fn replay(target: &str) {
    let files = corpus(target);
    assert!(files.len() >= 3, "{target} has a corpus");
    for file in files {
        let input = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        run(target, &file.display().to_string(), &input);
    }
}

#[test]
fn the_corpora_of_quick_targets_hold() {
    for (target, _) in TARGETS.iter().filter(|(target, _)| !["node", "network"].contains(target)) {
        replay(target);
    }
}

#[test]
fn the_corpus_of_node_holds() {
    replay("node");
}

#[test]
fn the_corpus_of_network_holds() {
    replay("network");
}

#[test]
fn each_target_has_its_program_and_its_corpus_and_no_other_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = |folder: &str| -> Vec<String> {
        let entries =
            fs::read_dir(root.join(folder)).expect("a folder").map(|entry| entry.expect("an entry"));
        let name =
            |entry: fs::DirEntry| entry.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    };
    let mut targets: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
    for target in &targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target} is built");
        let program = fs::read_to_string(root.join(format!("fuzz_targets/{target}.rs"))).expect("a program");
        assert!(program.contains(&format!("run(\"{target}\", data)")), "{target} runs itself");
    }
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

/// Pseudo-random choices, and inputs of the corpus with a few bytes changed, cut, or doubled.
fn random(target: &str, rounds: usize, most: usize, seed: u64) {
    let mut random = Random(seed);
    for _ in 0..rounds {
        let input = random.bytes(most);
        run(target, "random bytes", &input);
    }
    let inputs: Vec<Vec<u8>> = corpus(target).iter().map(|file| fs::read(file).expect("a file")).collect();
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
        run(target, "a corpus input with errors", &input);
    }
}

#[test]
fn random_inputs_for_quick_targets() {
    let quick = TARGETS.iter().filter(|(target, _)| !["node", "network"].contains(target));
    for (number, (target, _)) in quick.enumerate() {
        random(target, 1_500, 250, number as u64 + 1);
    }
}

#[test]
fn random_scripts_for_a_node() {
    random("node", 600, 400, 101);
}

#[test]
fn random_scripts_for_a_network() {
    random("network", 150, 300, 102);
}
