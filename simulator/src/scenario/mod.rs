//! Scenarios: what runs, as plain data that reads from a TOML file or is written in Rust.
//!
//! Every key has a default, so a file says only what is special about it; unknown keys are errors. Times are texts such as
//! `"90s"`, `"20m"` or `"250ms"`. [`Scenario::run`] carries it out.
//!
//! ```
//! use unamed_simulator::{RunOptions, Scenario};
//!
//! let scenario = Scenario::parse(
//!     r#"
//!     duration = "120s"
//!     nodes = { service = 5, clients = 10 }
//!     workload = { rooms = 4, finds_per_s = 5 }
//!     expect = { "finds.success_rate" = { min = 1 } }
//!     "#,
//! )?;
//! let outcome = scenario.run(RunOptions::default(), |_| {});
//! assert_eq!(outcome.report.failures, Vec::<String>::new());
//! # Ok::<(), unamed_simulator::ScenarioError>(())
//! ```

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::sync::Arc;

use serde::Deserialize;
use unamed_protocol::crypto::{Crypto, RealCrypto};

use crate::churn::ChurnModel;
use crate::crypto::BookkeepingCrypto;
use crate::network::Latency;

mod expect;
mod fault;
mod malicious;
mod text;

pub use expect::{Bound, Bounds, Expectations};
pub use fault::{Fault, FaultKind};
pub use malicious::{Malicious, MaliciousKind};
pub use text::{duration_text, parse_duration, parse_latency};

/// What runs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Decides everything that is random.
    pub seed: u64,
    /// Virtual time in all.
    #[serde(deserialize_with = "text::duration")]
    pub duration: Duration,
    /// The crypto provider. All take the same decisions.
    pub crypto: CryptoKind,
    /// Who takes part.
    pub nodes: Population,
    /// When what begins.
    pub start: Start,
    /// What lies between nodes.
    pub network: Network,
    /// Who comes and goes.
    pub churn: Churn,
    /// What people do.
    pub workload: Workload,
    /// What goes wrong.
    #[serde(rename = "fault")]
    pub faults: Vec<Fault>,
    /// Who misbehaves.
    pub malicious: Malicious,
    /// Settings of the nodes.
    pub protocol: Protocol,
    /// What must hold in the end. If empty: every eligible find succeeds, no room is split, each message arrives.
    pub expect: Expectations,
}

/// A crypto provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CryptoKind {
    /// Cheap, by bookkeeping; see [`BookkeepingCrypto`].
    #[default]
    Ideal,
    /// What a network uses.
    Real,
}

impl CryptoKind {
    /// A provider of this kind.
    #[must_use]
    pub fn provider(self) -> Arc<dyn Crypto> {
        match self {
            Self::Ideal => Arc::new(BookkeepingCrypto::new()),
            Self::Real => Arc::new(RealCrypto),
        }
    }
}

/// Who takes part.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Population {
    /// Service nodes.
    pub service: u32,
    /// Clients in total; 100 if this and `clients_per_service` are absent.
    pub clients: Option<u32>,
    /// Clients by the number of service nodes.
    pub clients_per_service: Option<f64>,
}

/// When what begins, by times from the start of the run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Start {
    /// Service nodes start in this window, evenly.
    #[serde(deserialize_with = "text::window")]
    pub service: (Duration, Duration),
    /// Clients start in this window, at random.
    #[serde(deserialize_with = "text::window")]
    pub clients: (Duration, Duration),
    /// Rooms are joined in this window; a client that starts later joins at its start.
    #[serde(deserialize_with = "text::window")]
    pub joins: (Duration, Duration),
    /// Finds, messages and changes begin, and what the report measures over time.
    #[serde(deserialize_with = "text::duration")]
    pub measured_from: Duration,
    /// Finds and messages that begin earlier are counted apart, and nothing is owed to them.
    #[serde(deserialize_with = "text::duration")]
    pub judged_from: Duration,
    /// At the end, nothing new happens for so long: everything must come to rest.
    #[serde(deserialize_with = "text::duration")]
    pub quiet: Duration,
    /// How many of the first service nodes the others start from.
    pub bootstraps: u32,
    /// Whether clients start from those, too, not from random service nodes.
    pub clients_use_bootstraps: bool,
    /// How many addresses a node knows when it starts for the first time, beside those of anchors.
    pub entries: u32,
    /// How many of the first service nodes have addresses that everybody knows for good. They depart like others, and
    /// return under their addresses even where others are replaced; a mass failure spares them.
    pub anchors: u32,
}

/// What lies between nodes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// `coordinates:MEDIAN`, `lognormal:MEDIAN:SIGMA`, `fixed:DELAY` or `matrix:FILE`; see [`Latency`].
    #[serde(deserialize_with = "text::latency")]
    pub latency: Latency,
    /// Mean of an exponential delay on top, drawn for each frame. Frames keep their order.
    #[serde(deserialize_with = "text::duration")]
    pub jitter: Duration,
    /// Bytes per second that a link carries in one direction.
    pub link_bytes_per_s: Option<u64>,
    /// Bytes per second that a node sends over all of its links.
    pub uplink_bytes_per_s: Option<u64>,
    /// Wall clocks differ from the true time by up to this, evenly, either way.
    #[serde(deserialize_with = "text::duration")]
    pub clock_skew: Duration,
    /// How nodes learn that a link is dead.
    pub detection: Detection,
    /// The longest that the transport takes to learn that a host is silent, between service nodes; it is drawn evenly from
    /// the last 5 s up to that.
    #[serde(deserialize_with = "text::duration")]
    pub detect_service: Duration,
    /// The same, of other links.
    #[serde(deserialize_with = "text::duration")]
    pub detect_other: Duration,
    /// Whether clients link by WebRTC where their NATs let them; else all pairs are relayed.
    pub webrtc: bool,
    /// NAT classes of clients, as shares.
    pub nat: NatShares,
    /// Mean of an exponential delay before each signal of a WebRTC stack: candidates that come late.
    #[serde(deserialize_with = "text::duration")]
    pub signal_delay: Duration,
    /// Share of its signals that a WebRTC stack gives twice.
    pub signal_duplicates: f64,
}

/// How nodes learn that a link is dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detection {
    /// By their own pings, as a real node does.
    #[default]
    Ping,
    /// The transport tells them, so that an idle link costs nothing.
    Transport,
}

/// NAT classes of clients, as shares; what is left is behind no NAT. WebRTC links depend on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatShares {
    /// Endpoint-independent mapping and filtering (RFC 4787).
    pub open: f64,
    /// Endpoint-independent mapping, address- or port-dependent filtering.
    pub restricted: f64,
    /// Address- and port-dependent mapping.
    pub symmetric: f64,
    /// No UDP passes.
    pub blocked: f64,
}

/// Who comes and goes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Churn {
    /// Sessions of service nodes.
    pub service: ChurnModel,
    /// Sessions of clients.
    pub clients: ChurnModel,
    /// What comes after a departure.
    pub mode: ChurnMode,
    /// Share of departures that are crashes, half of the process and half of the host; the others say goodbye.
    pub crash: f64,
    /// Share of those that return, after a departure or an outage, that have lost what they saved: the same identity at the
    /// same address, without its memory.
    pub forget: f64,
    /// When it begins.
    #[serde(deserialize_with = "text::duration")]
    pub from: Duration,
    /// When it ends, if it does before the quiet time: those that are to return have returned then.
    #[serde(deserialize_with = "text::duration_option")]
    pub until: Option<Duration>,
}

/// What comes after a departure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChurnMode {
    /// A newcomer with an identity and address of its own starts at once and joins the rooms of the one that left: the
    /// population is constant, and nobody's address can be known beforehand. The harder of the two.
    #[default]
    Replace,
    /// The same node returns after an absence, at its address, with what it saved, and joins its rooms again. At the
    /// beginning all are there; in the long run the share `session / (session + absence)` of them.
    Return,
}

/// What people do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Rooms; 25 if this and `rooms_per_client` are absent.
    pub rooms: Option<u32>,
    /// Rooms by the number of clients.
    pub rooms_per_client: Option<f64>,
    /// Fewest and most members of a room; sizes k are drawn with P(k) proportional to 1/k.
    pub members: (u32, u32),
    /// Every client is in exactly so many rooms (of the largest size), in place of drawn memberships.
    pub rooms_each: Option<u32>,
    /// Share of memberships that service nodes take.
    pub service_members: f64,
    /// Share of memberships that are joined in the measured phase only.
    pub late_joins: f64,
    /// Finds by strangers per second: Poisson, over rooms by Zipf's law.
    pub finds_per_s: f64,
    /// All of them seek this room, by its place in Zipf's law.
    pub find_room: Option<u32>,
    /// Messages that a member of a room sends in the measured phase, in the mean.
    pub messages: f64,
    /// Clients that leave for good meanwhile: in turn by saying goodbye, by the end of the process, by the end of the
    /// host, or only a room; 3 in 100 by default.
    pub leaves: Option<u32>,
    /// Clients that switch their primary room meanwhile; 2 in 100 by default.
    pub switches: Option<u32>,
    /// Pairs of clients that enter the same empty room within a second of each other, and leave it 20 s later.
    pub pairs: u32,
}

/// Settings of the nodes that differ from their defaults; see [`unamed_protocol::Config`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Protocol {
    /// Leaf set size.
    pub leaf_set: Option<usize>,
    /// Links wanted per k-bucket.
    pub bucket_links: Option<usize>,
    /// Holders of a claim.
    pub replicas: Option<usize>,
    /// Keys per room.
    pub replica_keys: Option<u8>,
    /// Homes of a client.
    pub homes: Option<usize>,
    /// Whether origins ask service nodes themselves when requests are over.
    pub iterative: Option<bool>,
    /// Whether publishes are read back and repaired.
    pub read_back: Option<bool>,
    /// Service nodes nearest to a key that must have answered a walk.
    pub walk_width: Option<usize>,
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 1,
            duration: secs(180),
            crypto: CryptoKind::default(),
            nodes: Population::default(),
            start: Start::default(),
            network: Network::default(),
            churn: Churn::default(),
            workload: Workload::default(),
            faults: Vec::new(),
            malicious: Malicious::default(),
            protocol: Protocol::default(),
            expect: Expectations::default(),
        }
    }
}

impl Default for Population {
    fn default() -> Self {
        Self { service: 50, clients: None, clients_per_service: None }
    }
}

impl Default for Start {
    fn default() -> Self {
        Self {
            service: (secs(0), secs(10)),
            clients: (secs(10), secs(30)),
            joins: (secs(30), secs(60)),
            measured_from: secs(75),
            judged_from: secs(0),
            quiet: secs(30),
            bootstraps: 3,
            clients_use_bootstraps: false,
            entries: 1,
            anchors: 0,
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            latency: Latency::LogNormal { median: Duration::from_millis(40), sigma: 0.5 },
            jitter: Duration::ZERO,
            link_bytes_per_s: None,
            uplink_bytes_per_s: None,
            clock_skew: Duration::ZERO,
            detection: Detection::default(),
            detect_service: secs(10),
            detect_other: secs(30),
            webrtc: false,
            nat: NatShares::default(),
            signal_delay: Duration::ZERO,
            signal_duplicates: 0.0,
        }
    }
}

impl Default for Churn {
    fn default() -> Self {
        Self {
            service: ChurnModel::None,
            clients: ChurnModel::None,
            mode: ChurnMode::default(),
            crash: 0.8,
            forget: 0.0,
            from: secs(60),
            until: None,
        }
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            rooms: None,
            rooms_per_client: None,
            members: (2, 10),
            rooms_each: None,
            service_members: 0.1,
            late_joins: 0.05,
            finds_per_s: 50.0,
            find_room: None,
            messages: 3.0,
            leaves: None,
            switches: None,
            pairs: 0,
        }
    }
}

/// Why a scenario cannot run.
#[derive(Clone, Debug, PartialEq)]
pub enum ScenarioError {
    /// The text is not TOML, has unknown keys or values of the wrong type: a message with the line.
    Syntax(String),
    /// The value of a key is out of range or does not go with another one.
    Invalid {
        /// The key, as a path with dots.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => f.write_str(text.trim_end()),
            Self::Invalid { key, why } => write!(f, "{key}: {why}"),
        }
    }
}

impl std::error::Error for ScenarioError {}

fn invalid(key: &str, why: impl Into<String>) -> ScenarioError {
    ScenarioError::Invalid { key: key.to_owned(), why: why.into() }
}

fn within<T: PartialOrd + fmt::Debug>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ScenarioError> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(invalid(key, format!("{value:?} is not in {:?}..={:?}", range.start(), range.end())))
    }
}

impl Scenario {
    /// Longest run.
    pub const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
    /// Most nodes of a kind.
    pub const NODES_MAX: u32 = 1_000_000;

    /// The standard scenario with this many service nodes, clients and rooms.
    #[must_use]
    pub fn new(service_nodes: u32, clients: u32, rooms: u32, seed: u64) -> Self {
        let mut scenario = Self { seed, ..Self::default() };
        scenario.nodes.service = service_nodes;
        scenario.nodes.clients = Some(clients);
        scenario.workload.rooms = Some(rooms);
        scenario
    }

    /// Reads a scenario file and checks it.
    ///
    /// # Errors
    /// See [`ScenarioError`].
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            toml::from_str(text).map_err(|error| ScenarioError::Syntax(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Clients in total.
    #[must_use]
    pub fn client_nodes(&self) -> u32 {
        let by_service = self.nodes.clients_per_service.map(|each| f64::from(self.nodes.service) * each);
        self.nodes.clients.or(by_service.map(|clients| libm::round(clients) as u32)).unwrap_or(100)
    }

    /// Rooms.
    #[must_use]
    pub fn room_count(&self) -> u32 {
        let clients = f64::from(self.client_nodes());
        let by_client = match (self.workload.rooms_each, self.workload.rooms_per_client) {
            (Some(each), _) => Some(clients * f64::from(each) / f64::from(self.workload.members.1.max(1))),
            (None, per_client) => per_client.map(|rooms| clients * rooms),
        };
        self.workload
            .rooms
            .filter(|_| self.workload.rooms_each.is_none())
            .or(by_client.map(|rooms| libm::round(rooms).max(1.0) as u32))
            .unwrap_or(25)
    }

    /// Whether all values are in range and go together.
    ///
    /// # Errors
    /// The first key that is not or does not.
    pub fn check(&self) -> Result<(), ScenarioError> {
        within("nodes.service", self.nodes.service, 1..=Self::NODES_MAX)?;
        if self.nodes.clients.is_some() && self.nodes.clients_per_service.is_some() {
            return Err(invalid("nodes.clients", "stands beside nodes.clients_per_service"));
        }
        within("nodes.clients", self.client_nodes(), 0..=Self::NODES_MAX)?;
        self.check_times()?;
        self.check_network()?;
        within("churn.crash", self.churn.crash, 0.0..=1.0)?;
        within("churn.forget", self.churn.forget, 0.0..=1.0)?;
        self.check_workload()?;
        for (index, fault) in self.faults.iter().enumerate() {
            fault.check(index, self.duration)?;
        }
        self.malicious.check(self.room_count())?;
        self.check_protocol()?;
        match self.expect.fault() {
            Some((name, why)) => Err(invalid(&format!("expect.{name}"), why)),
            None => Ok(()),
        }
    }

    fn check_times(&self) -> Result<(), ScenarioError> {
        let Start { service, clients, joins, measured_from, quiet, bootstraps, entries, anchors, .. } =
            self.start;
        within("start.bootstraps", bootstraps, 1..=100)?;
        within("start.entries", entries, 1..=100)?;
        within("start.anchors", anchors, 0..=self.nodes.service.min(100))?;
        for (key, (_, until)) in
            [("start.service", service), ("start.clients", clients), ("start.joins", joins)]
        {
            if until > measured_from {
                return Err(invalid(key, "ends after start.measured_from"));
            }
        }
        let shortest = measured_from + quiet + secs(5);
        within("duration", self.duration, shortest..=Self::DURATION_MAX)
    }

    fn check_network(&self) -> Result<(), ScenarioError> {
        let network = &self.network;
        within("network.jitter", network.jitter, Duration::ZERO..=secs(5))?;
        let rates = [
            ("network.link_bytes_per_s", network.link_bytes_per_s),
            ("network.uplink_bytes_per_s", network.uplink_bytes_per_s),
        ];
        for (key, rate) in rates {
            within(key, rate.unwrap_or(u64::MAX), 1000..=u64::MAX)?;
        }
        within("network.clock_skew", network.clock_skew, Duration::ZERO..=secs(3600))?;
        within("network.detect_service", network.detect_service, secs(5)..=secs(3600))?;
        within("network.detect_other", network.detect_other, secs(5)..=secs(3600))?;
        within("network.signal_delay", network.signal_delay, Duration::ZERO..=secs(60))?;
        within("network.signal_duplicates", network.signal_duplicates, 0.0..=1.0)?;
        let nat = network.nat;
        let shares = [
            ("open", nat.open),
            ("restricted", nat.restricted),
            ("symmetric", nat.symmetric),
            ("blocked", nat.blocked),
        ];
        for (key, share) in shares {
            within(&format!("network.nat.{key}"), share, 0.0..=1.0)?;
        }
        within("network.nat", shares.iter().map(|(_, share)| share).sum(), 0.0..=1.0)
    }

    fn check_workload(&self) -> Result<(), ScenarioError> {
        let workload = &self.workload;
        if workload.rooms.is_some() && workload.rooms_per_client.is_some() {
            return Err(invalid("workload.rooms", "stands beside workload.rooms_per_client"));
        }
        within("workload.rooms", self.room_count(), 1..=Self::NODES_MAX)?;
        within("workload.members", workload.members.0, 1..=16)?;
        within("workload.members", workload.members.1, workload.members.0..=16)?;
        if let Some(each) = workload.rooms_each {
            within("workload.rooms_each", each, 1..=32)?;
            let (clients, size) = (self.client_nodes(), workload.members.1);
            if clients < size {
                return Err(invalid(
                    "workload.rooms_each",
                    format!("{clients} clients fill no room of {size}"),
                ));
            }
        }
        let shares = [("service_members", workload.service_members), ("late_joins", workload.late_joins)];
        for (key, share) in shares {
            within(&format!("workload.{key}"), share, 0.0..=1.0)?;
        }
        within("workload.finds_per_s", workload.finds_per_s, 0.0..=1e6)?;
        within("workload.find_room", workload.find_room.unwrap_or(0), 0..=self.room_count() - 1)?;
        within("workload.messages", workload.messages, 0.0..=1e6)?;
        within("workload.pairs", workload.pairs, 0..=Self::NODES_MAX)?;
        if workload.pairs > 0 && self.client_nodes() < 4 {
            return Err(invalid("workload.pairs", "needs at least 4 clients"));
        }
        Ok(())
    }

    fn check_protocol(&self) -> Result<(), ScenarioError> {
        let protocol = &self.protocol;
        let counts = [
            ("leaf_set", protocol.leaf_set),
            ("bucket_links", protocol.bucket_links),
            ("replicas", protocol.replicas),
            ("homes", protocol.homes),
            ("walk_width", protocol.walk_width),
        ];
        for (key, count) in counts {
            within(&format!("protocol.{key}"), count.unwrap_or(1), 1..=32)?;
        }
        within("protocol.replica_keys", protocol.replica_keys.unwrap_or(1), 1..=8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_only_what_is_special() {
        let text = r#"
            seed = 9
            duration = "20m"
            nodes = { service = 100, clients_per_service = 10 }
            workload = { rooms_per_client = 0.25 }
            churn = { service = "kad", clients = "exp:10", mode = "return", crash = 0.5 }
            [network]
            latency = "coordinates:40ms"
            [[fault]]
            kind = "partition"
            at = "5m"
            lasts = "5m"
            recover = "60s"
        "#;
        let scenario = Scenario::parse(text).expect("well formed");
        assert_eq!((scenario.client_nodes(), scenario.room_count()), (1000, 250));
        assert_eq!(scenario.churn.clients, ChurnModel::Exponential(10.0));
        assert_eq!(scenario.faults[0].recover, Some(secs(60)));
        assert_eq!(Scenario::parse(""), Ok(Scenario::default()));
        let default = Scenario::default();
        assert_eq!((default.client_nodes(), default.room_count()), (100, 25));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let table = [
            ("nodes = { service = 0 }", "nodes.service: 0 is not in 1..=1000000"),
            ("nodes = { clients = 1, clients_per_service = 1 }", "nodes.clients: stands beside"),
            ("duration = \"10s\"", "duration: 10s is not in 110s..="),
            ("workload = { members = [2, 99] }", "workload.members: 99 is not in 2..=16"),
            ("workload = { late_joins = 2 }", "workload.late_joins: 2.0 is not in 0.0..=1.0"),
            ("network = { nat = { open = 0.9, symmetric = 0.9 } }", "network.nat: 1.8"),
            ("churn = { crash = -0.5 }", "churn.crash: -0.5"),
            ("churn = { forget = 1.5 }", "churn.forget: 1.5"),
            ("network = { signal_duplicates = 2 }", "network.signal_duplicates: 2.0"),
            ("network = { signal_delay = \"2m\" }", "network.signal_delay: 120s"),
            ("protocol = { homes = 99 }", "protocol.homes: 99"),
            ("expect = { foo = { min = 1 } }", "expect.foo: names no figure"),
            ("[[fault]]\nkind = \"clog\"\nat = \"80s\"", "fault.0.lasts: a fault of kind clog lasts"),
            ("[[fault]]\nkind = \"mass-failure\"\nat = \"1h\"", "fault.0.at: the fault"),
            (
                "[[fault]]\nkind = \"slow-readers\"\nat = \"80s\"",
                "fault.0.lasts: a fault of kind slow-readers lasts",
            ),
            (
                "[[fault]]\nkind = \"intruders\"\nat = \"80s\"\nlasts = \"5s\"",
                "fault.0.times: says how many intruders",
            ),
            (
                "[[fault]]\nkind = \"clog\"\nat = \"80s\"\nlasts = \"5s\"\nbytes_per_s = 9",
                "fault.0.bytes_per_s: says how slow slow-readers are, not clog",
            ),
        ];
        for (text, start) in table {
            let error = Scenario::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(start), "{text}: {error}");
        }
        let syntax = [
            ("foo = 1", "foo"),
            ("duration = \"10x\"", "ms, s, m and h"),
            ("churn = { service = \"mad\" }", "`mad` is none of"),
            ("[[fault]]\nkind = \"flood\"\nat = \"1s\"", "flood"),
            ("start = { joins = [\"20s\", \"10s\"] }", "later than the second"),
        ];
        for (text, named) in syntax {
            let error = Scenario::parse(text).expect_err(text);
            assert!(matches!(&error, ScenarioError::Syntax(why) if why.contains(named)), "{text}: {error}");
        }
    }
}
