//! The network between nodes: latency, bandwidth, partitions.
//!
//! Latency is fixed per pair of nodes, symmetric, and a pure function of (seed, pair), so it needs no memory. There is no
//! loss: carriers are TCP connections, which turn loss into delay. Floating point goes through `libm`, so that debug and
//! release builds and all platforms agree.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use crate::rng::{mix, unit_above_zero};

/// What the network between nodes does.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// One-way delay between two nodes.
    pub latency: Latency,
    /// Mean of an exponential delay on top of it, drawn for each parcel; a carrier keeps the order of its parcels.
    pub jitter: Duration,
    /// How long a dial to a host that does not answer takes to fail.
    pub dial_timeout: Duration,
    /// Bytes of frames that a carrier takes in one direction before the other end has them: the credit granted at the
    /// start. At least four frames.
    pub socket_buffer_bytes: usize,
    /// Bytes per second of one direction of one carrier; no limit if `None`.
    pub bandwidth: Option<u64>,
    /// Bytes per second that a node sends on all its carriers together; no limit if `None`.
    pub uplink: Option<u64>,
    /// Wall clocks differ from the true time by up to this, evenly, either way.
    pub clock_skew: Duration,
    /// When the transport itself tells that a carrier is dead; never if `None`.
    pub detection: Option<TransportDetection>,
    /// Shares of clients behind a NAT of each class.
    pub nat: [(Nat, f64); 4],
    /// How WebRTC stacks give their signals.
    pub signals: SignalManners,
}

/// How WebRTC stacks give their signals, besides at once and each once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SignalManners {
    /// Mean of an exponential delay before each of them.
    pub delay: Duration,
    /// Share of them that is given twice.
    pub duplicates: f64,
}

/// The longest that a transport takes to tell that the other end of a carrier is silent. The time is drawn evenly from the
/// last 5 s up to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportDetection {
    /// Between service nodes.
    pub service: Duration,
    /// Otherwise.
    pub other: Duration,
}

impl TransportDetection {
    /// What the time is drawn from, below the longest.
    pub(crate) const SPREAD: Duration = Duration::from_secs(5);
}

/// What stands between a client and the others (RFC 4787). WebRTC links depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nat {
    /// Nothing.
    None,
    /// Endpoint-independent mapping and filtering.
    Open,
    /// Endpoint-independent mapping, address- or port-dependent filtering.
    Restricted,
    /// Address- and port-dependent mapping.
    Symmetric,
    /// No UDP passes.
    Blocked,
}

impl Nat {
    /// Whether hole punching opens a way between two clients (Ford, Srisuresh, Kegel, "Peer-to-peer communication across
    /// network address translators", 2005, section 5.1; RFC 5128, section 3.3). A mapping that depends on the destination
    /// cannot be foretold, so its far end must accept packets from where it expects none.
    #[must_use]
    pub const fn links_to(self, other: Self) -> bool {
        match (self, other) {
            (Self::Blocked, _) | (_, Self::Blocked) | (Self::Symmetric, Self::Symmetric) => false,
            (Self::Symmetric, Self::Restricted) | (Self::Restricted, Self::Symmetric) => false,
            (Self::None | Self::Open, _) | (_, Self::None | Self::Open) => true,
            (Self::Restricted, Self::Restricted) => true,
        }
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            latency: Latency::LogNormal { median: Duration::from_millis(40), sigma: 0.5 },
            jitter: Duration::ZERO,
            dial_timeout: Duration::from_secs(3),
            socket_buffer_bytes: 256 * 1024,
            bandwidth: None,
            uplink: None,
            clock_skew: Duration::ZERO,
            detection: None,
            nat: [(Nat::Open, 0.0), (Nat::Restricted, 0.0), (Nat::Symmetric, 0.0), (Nat::Blocked, 0.0)],
            signals: SignalManners::default(),
        }
    }
}

impl NetworkConfig {
    /// What a client is behind, by a uniform draw.
    pub(crate) fn nat_of(&self, draw: f64) -> Nat {
        let mut sum = 0.0;
        let found = self.nat.iter().find(|(_, share)| {
            sum += share;
            draw <= sum
        });
        found.map_or(Nat::None, |(nat, _)| *nat)
    }
}

/// One-way delay between two nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Latency {
    /// The same between all.
    Fixed(Duration),
    /// Lognormal over pairs: `median * exp(sigma * z)` with a standard normal `z` per pair, cut off at 1 ms and 2 s. Pairs
    /// are independent: knowing who is near to whom helps nobody.
    LogNormal {
        /// The median.
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Synthetic coordinates: a place in the plane and a height above it for each node, as Vivaldi fits them to measured
    /// networks (Dabek, Cox, Kaashoek, Morris, SIGCOMM 2004, section 5.4: two dimensions and a height fit best). The delay
    /// is the distance in the plane, the wide-area path, plus both heights, the access links. Places are normal around one
    /// centre, heights lognormal with sigma 1.4: a heavy tail, and two that are near to a third are near to each other. Cut
    /// off at 1 ms and 2 s.
    Coordinates {
        /// The median over pairs.
        median: Duration,
    },
    /// Measured: rows and columns of one-way delays; node `i` is at place `i` modulo their number.
    Matrix(LatencyMatrix),
}

/// One-way delays between places.
#[derive(Clone, PartialEq)]
pub struct LatencyMatrix {
    places: usize,
    micros: Arc<[u32]>,
}

impl fmt::Debug for LatencyMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyMatrix").field("places", &self.places).finish_non_exhaustive()
    }
}

/// Standard deviation of places, by the median delay: with it and [`HEIGHT`] the median over pairs is 1. Found by
/// simulation; a test holds it.
const PLACE: f64 = 0.405;
/// Median height, by the median delay.
const HEIGHT: f64 = 0.08;

impl Latency {
    /// Reads a matrix: a square of one-way delays in milliseconds, one row a line, separated by spaces, tabs or commas;
    /// lines that begin with `#` are passed over. Entries `(a, b)` and `(b, a)` are averaged.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse_matrix(text: &str) -> Result<Self, String> {
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields = line.split([' ', '\t', ',']).filter(|field| !field.is_empty());
            let row: Result<Vec<f64>, String> = fields
                .map(|field| match field.parse::<f64>() {
                    Ok(ms) if (0.0..=60_000.0).contains(&ms) => Ok(ms),
                    _ => Err(format!("line {}: `{field}` is no delay in 0..=60000 ms", index + 1)),
                })
                .collect();
            rows.push(row?);
        }
        let places = rows.len();
        if places == 0 || rows.iter().any(|row| row.len() != places) {
            return Err(format!("{places} rows do not make a square"));
        }
        let mean = |a: usize, b: usize| (rows[a][b] + rows[b][a]) / 2.0 * 1000.0;
        let micros = (0..places * places).map(|at| mean(at / places, at % places).max(1.0) as u32).collect();
        Ok(Self::Matrix(LatencyMatrix { places, micros }))
    }

    /// The one-way delay between `a` and `b`, the same in both directions.
    #[must_use]
    pub fn one_way(&self, seed: u64, a: u32, b: u32) -> Duration {
        let micros = match self {
            Self::Fixed(delay) => return *delay,
            Self::LogNormal { median, sigma } => {
                let pair = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
                let hash = mix(mix(seed ^ 0x6c61_7465_6e63_7921).wrapping_add(mix(pair)));
                median.as_micros() as f64 * libm::exp(sigma * normals(hash)[0])
            }
            Self::Coordinates { median } => {
                let [[ax, ay, ah], [bx, by, bh]] = [a, b].map(|node| place(seed, node));
                median.as_micros() as f64 * (libm::hypot(ax - bx, ay - by) + ah + bh)
            }
            Self::Matrix(matrix) => {
                let [a, b] = [a, b].map(|node| node as usize % matrix.places);
                return Duration::from_micros(u64::from(matrix.micros[a * matrix.places + b]));
            }
        };
        Duration::from_micros(micros.clamp(1e3, 2e6) as u64)
    }
}

/// Two standard normal numbers (Box, Muller 1958), by two independent uniforms from one hash.
fn normals(hash: u64) -> [f64; 2] {
    let radius = libm::sqrt(-2.0 * libm::log(unit_above_zero(hash)));
    let angle = core::f64::consts::TAU * unit_above_zero(mix(hash ^ 0x9e37_79b9_7f4a_7c15));
    [radius * libm::cos(angle), radius * libm::sin(angle)]
}

/// A node's place in the plane and its height, by the median delay.
fn place(seed: u64, node: u32) -> [f64; 3] {
    let hash = mix(mix(seed ^ 0x706c_6163_6573_2121).wrapping_add(mix(u64::from(node))));
    let [x, y] = normals(hash);
    let [height, _] = normals(mix(hash ^ 0x6865_6967_6874_2121));
    [PLACE * x, PLACE * y, HEIGHT * libm::exp(1.4 * height)]
}

/// A partition in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut(u32);

/// All partitions in force, at most [`Cuts::MAX`], as one bit each in two masks per node: a check costs two loads.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    /// Per node: the cuts on whose first and second side it is.
    sides: Vec<[u64; 2]>,
    used: u64,
    /// Cuts that block the way back, too.
    symmetric: u64,
    /// Clogs in force: which, and the hashes of pairs below which one is clogged.
    clogs: Vec<(Clog, u64)>,
    clogs_made: u64,
}

/// Clogged pairs of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clog(u64);

impl Cuts {
    /// Most partitions at a time.
    pub const MAX: u32 = u64::BITS;

    /// Blocks everything from a node of `first` to one of `second`, and the way back too if `symmetric`. `None` if
    /// [`MAX`](Self::MAX) cuts are in force.
    pub fn add(&mut self, first: &[u32], second: &[u32], symmetric: bool) -> Option<Cut> {
        let cut = self.used.trailing_ones();
        if cut == Self::MAX {
            return None;
        }
        let bit = 1 << cut;
        self.used |= bit;
        if symmetric {
            self.symmetric |= bit;
        }
        for (side, nodes) in [first, second].into_iter().enumerate() {
            for &node in nodes {
                let node = node as usize;
                if self.sides.len() <= node {
                    self.sides.resize(node + 1, [0; 2]);
                }
                self.sides[node][side] |= bit;
            }
        }
        Some(Cut(cut))
    }

    /// Ends a partition.
    pub fn remove(&mut self, cut: Cut) {
        let keep = !(1_u64 << cut.0);
        self.used &= keep;
        self.symmetric &= keep;
        for sides in &mut self.sides {
            sides[0] &= keep;
            sides[1] &= keep;
        }
    }

    /// Blocks a random share of all pairs of nodes, in both directions.
    pub fn add_clog(&mut self, seed: u64, share: f64) -> Clog {
        self.clogs_made += 1;
        let clog = Clog(mix(seed ^ mix(self.clogs_made)));
        self.clogs.push((clog, (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64));
        clog
    }

    /// Ends a clog.
    pub fn remove_clog(&mut self, clog: Clog) {
        self.clogs.retain(|(other, _)| *other != clog);
    }

    /// Whether what `from` sends cannot reach `to`.
    #[must_use]
    pub fn blocked(&self, from: u32, to: u32) -> bool {
        let pair = u64::from(from.min(to)) << 32 | u64::from(from.max(to));
        if self.clogs.iter().any(|(clog, below)| mix(clog.0.wrapping_add(mix(pair))) < *below) {
            return true;
        }
        if self.used == 0 {
            return false;
        }
        let of = |node: u32| self.sides.get(node as usize).copied().unwrap_or_default();
        let (from, to) = (of(from), of(to));
        (from[0] & to[1]) | (from[1] & to[0] & self.symmetric) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lognormal() -> Latency {
        NetworkConfig::default().latency
    }

    #[test]
    fn latency_is_symmetric_and_depends_on_seed_and_pair() {
        let latency = lognormal();
        assert_eq!(latency.one_way(7, 1, 2), latency.one_way(7, 2, 1));
        assert_ne!(latency.one_way(7, 1, 2), latency.one_way(7, 1, 3));
        assert_ne!(latency.one_way(7, 1, 2), latency.one_way(8, 1, 2));
        // A golden value: it must be the same on every platform and in every build.
        assert_eq!(latency.one_way(7, 1, 2), Duration::from_micros(GOLDEN_MICROS));
    }

    const GOLDEN_MICROS: u64 = 44_748;

    /// Delays of 20,000 random pairs, ms, sorted.
    fn sorted_ms(latency: &Latency) -> Vec<u128> {
        let pair = |index: u32| latency.one_way(3, 2 * index, 2 * index + 1).as_millis();
        let mut delays: Vec<u128> = (0..20_000).map(pair).collect();
        delays.sort_unstable();
        delays
    }

    #[test]
    fn coordinates_have_their_median_and_a_heavy_tail() {
        let sorted = sorted_ms(&Latency::Coordinates { median: Duration::from_millis(40) });
        let ms = |quantile: usize| sorted[sorted.len() * quantile / 1000];
        assert!((39..=41).contains(&ms(500)), "{}", ms(500));
        assert!((17..=20).contains(&ms(100)), "{}", ms(100));
        assert!((71..=77).contains(&ms(900)), "{}", ms(900));
        assert!(ms(999) > 250, "{}", ms(999));
    }

    #[test]
    fn a_matrix_is_a_square_of_milliseconds() {
        let latency = Latency::parse_matrix("# two places\n1 20\n30,2.5\n").expect("well formed");
        let table = [(0, 0, 1000), (0, 1, 25_000), (1, 0, 25_000), (3, 1, 2500), (2, 5, 25_000)];
        for (a, b, micros) in table {
            assert_eq!(latency.one_way(1, a, b), Duration::from_micros(micros), "{a} {b}");
        }
        for (text, why) in [("", "0 rows"), ("1 2", "1 rows"), ("1 x\n2 3", "line 1: `x`"), ("-1", "`-1`")] {
            let error = Latency::parse_matrix(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_clog_blocks_its_share_of_pairs() {
        let mut cuts = Cuts::default();
        let clog = cuts.add_clog(1, 0.25);
        let blocked = (0..4000).filter(|&node| cuts.blocked(node, node + 1)).count();
        assert!((900..1100).contains(&blocked), "{blocked}");
        assert!((0..4000).all(|node| cuts.blocked(node, 7) == cuts.blocked(7, node)));
        cuts.remove_clog(clog);
        assert!((0..4000).all(|node| !cuts.blocked(node, node + 1)));
    }

    #[test]
    fn latency_has_the_quantiles_of_its_distribution() {
        let sorted = sorted_ms(&lognormal());
        let ms = |quantile: usize| sorted[sorted.len() * quantile / 100];
        // 40 ms * exp(0.5 z) with z = -1.2816, 0, 1.2816: 21.1, 40, 75.9 ms.
        assert!((20..=22).contains(&ms(10)), "{}", ms(10));
        assert!((39..=41).contains(&ms(50)), "{}", ms(50));
        assert!((73..=79).contains(&ms(90)), "{}", ms(90));
    }

    #[test]
    fn cuts_block_what_crosses_them_and_nothing_else() {
        let mut cuts = Cuts::default();
        assert!(!cuts.blocked(0, 1));
        let both = cuts.add(&[0, 1], &[2, 3], true).expect("room for a cut");
        let one_way = cuts.add(&[0], &[1], false).expect("room for a cut");
        let table = [
            (0, 2, true),
            (2, 0, true),
            (3, 1, true),
            (2, 3, false),
            (0, 1, true),
            (1, 0, false),
            (0, 9, false),
        ];
        for (from, to, blocked) in table {
            assert_eq!(cuts.blocked(from, to), blocked, "{from} to {to}");
        }
        cuts.remove(both);
        assert!(!cuts.blocked(0, 2) && cuts.blocked(0, 1));
        cuts.remove(one_way);
        assert!(!cuts.blocked(0, 1));
    }

    #[test]
    fn there_are_no_more_cuts_than_bits() {
        let mut cuts = Cuts::default();
        let all: Vec<Cut> = (0..Cuts::MAX).filter_map(|_| cuts.add(&[0], &[1], true)).collect();
        assert_eq!(all.len(), 64);
        assert_eq!(cuts.add(&[0], &[1], true), None);
        cuts.remove(all[5]);
        assert_eq!(cuts.add(&[0], &[1], true), Some(all[5]));
    }
}
