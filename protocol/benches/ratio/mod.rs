//! Figures side by side: alternatives are timed in turn, round by round, so that what else the machine does meanwhile
//! meets all of them alike. Of each the median round counts.

use std::time::{Duration, Instant};

/// Rounds of each alternative.
const ROUNDS: usize = 15;
/// Time of one round of one alternative.
const ROUND: Duration = Duration::from_millis(8);

/// One alternative: its name, and what is timed.
pub(crate) type Alternative<'a> = (&'static str, &'a mut dyn FnMut());

/// Whether this is a run of benchmarks, and not `cargo test` or a listing of their names.
pub(crate) fn is_wanted() -> bool {
    let args: Vec<String> = std::env::args().collect();
    args.iter().any(|arg| arg == "--bench") && !args.iter().any(|arg| arg == "--test" || arg == "--list")
}

/// Prints what one call of each alternative costs, and the ratio to the first.
pub(crate) fn print(title: &str, alternatives: &mut [Alternative<'_>]) {
    let mut calls = Vec::new();
    for (_, call) in alternatives.iter_mut() {
        calls.push(calls_per_round(call));
    }
    let mut rounds = vec![Vec::with_capacity(ROUNDS); alternatives.len()];
    for _ in 0..ROUNDS {
        for (((_, call), calls), rounds) in alternatives.iter_mut().zip(&calls).zip(&mut rounds) {
            rounds.push(time(call, *calls).as_nanos() as f64 / f64::from(*calls));
        }
    }
    let medians: Vec<f64> = rounds.into_iter().map(median).collect();
    println!("{title}");
    for ((name, _), nanos) in alternatives.iter().zip(&medians) {
        let ratio = nanos / medians.first().copied().unwrap_or(*nanos);
        println!("  {name:<46} {nanos:>12.1} ns {ratio:>9.2}");
    }
    println!();
}

fn calls_per_round(call: &mut dyn FnMut()) -> u32 {
    let mut calls = 1;
    while time(call, calls) < ROUND / 4 {
        calls *= 2;
    }
    calls * 4
}

fn time(call: &mut dyn FnMut(), calls: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    start.elapsed()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
