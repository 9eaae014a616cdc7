//! Timing and printing.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::Pattern;

/// What is measured.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) pattern: Pattern,
    /// Bytes of one message.
    pub(crate) payload: usize,
    /// Messages of one round.
    pub(crate) count: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Megabytes,
    Messages,
    RoundTrips,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Megabytes => "MB/s",
            Self::Messages => "messages/s",
            Self::RoundTrips => "round trips/s",
        }
    }
}

/// The rounds of one side.
#[derive(Default)]
pub(crate) struct Side {
    rounds: Vec<Duration>,
    cpu: Duration,
}

impl Side {
    pub(crate) async fn time(&mut self, round: impl Future<Output = ()>) {
        let (start, cpu) = (Instant::now(), cpu_time());
        round.await;
        self.rounds.push(start.elapsed());
        self.cpu += cpu_time().saturating_sub(cpu);
    }

    fn rates(&self, figure: &Figure) -> Vec<f64> {
        let amount = match figure.unit {
            Unit::Megabytes => (figure.count * figure.payload) as f64 / 1e6,
            Unit::Messages | Unit::RoundTrips => figure.count as f64,
        };
        self.rounds.iter().map(|round| amount / round.as_secs_f64()).collect()
    }

    /// Microseconds of CPU time for one message.
    fn cpu_us(&self, figure: &Figure) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (self.rounds.len() * figure.count) as f64
    }
}

pub(crate) fn head() {
    println!(
        "{:<18} {:>12} {:>12}  {:<14} {:>6} {:>17} {:>12} {:>12}",
        "", "unamed", "bare", "", "ratio", "rounds' ratios", "CPU µs each", "bare"
    );
}

pub(crate) fn row(figure: &Figure, ours: &Side, theirs: &Side) {
    let (our_rates, their_rates) = (ours.rates(figure), theirs.rates(figure));
    let mut ratios: Vec<f64> =
        our_rates.iter().zip(&their_rates).map(|(ours, theirs)| ours / theirs).collect();
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios.first().unwrap_or(&f64::NAN), ratios.last().unwrap_or(&f64::NAN));
    println!(
        "{:<18} {:>12.0} {:>12.0}  {:<14} {:>6.2} {:>17} {:>12.1} {:>12.1}",
        figure.name,
        median(our_rates),
        median(their_rates),
        figure.unit.name(),
        median(ratios.clone()),
        format!("{low:.2}–{high:.2}"),
        ours.cpu_us(figure),
        theirs.cpu_us(figure),
    );
}

pub(crate) fn foot() {
    println!(
        "\nEcho: every message comes back; its rate counts one direction. Goals: 0.5 for 64 KiB and for ping-pong."
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time of this process so far, by the kernel's clock ticks of ten milliseconds; zero where there is no `/proc`.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in brackets that may hold blanks; user and system time are fields 14 and 15.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
