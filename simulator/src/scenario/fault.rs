//! What goes wrong, as a part of scenarios.

use core::time::Duration;

use serde::Deserialize;

use super::{ScenarioError, invalid, text, within};

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// When.
    #[serde(deserialize_with = "text::duration")]
    pub at: Duration,
    /// For how long; 0 for what happens at once.
    #[serde(default, deserialize_with = "text::duration")]
    pub lasts: Duration,
    /// Share of those concerned, of all nodes, service nodes or pairs.
    #[serde(default = "half")]
    pub share: f64,
    /// Those that come, by the number of those that are there: clients of a flash crowd by clients, intruders by service
    /// nodes.
    #[serde(default)]
    pub times: f64,
    /// Bytes that each slow reader takes per second from all of its links together; 0 for none at all.
    #[serde(default)]
    pub bytes_per_s: u64,
    /// Time after its end that the network has to recover: finds that begin from the fault on until then are counted
    /// apart, and rooms that are still split then are told.
    #[serde(default, deserialize_with = "text::duration_option")]
    pub recover: Option<Duration>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// A random `share` of all nodes is parted from the others.
    Partition,
    /// What that share sends does not reach the others; the way back works.
    PartitionOneWay,
    /// A random `share` of pairs of nodes carries nothing; what was sent arrives afterwards.
    Clog,
    /// A random `share` of service nodes ends for good: hosts, in silence.
    MassFailure,
    /// All service nodes end and return at their addresses, with what they saved, after `lasts`.
    ServiceOutage,
    /// `times` as many clients as there are come within `lasts` and join rooms.
    FlashCrowd,
    /// A random `share` of all nodes reads no more than `bytes_per_s` of what arrives. What it does not read waits in its
    /// operating system, and its peers have no credit to send more.
    SlowReaders,
    /// `times` as many strangers as there are service nodes link to them with identities made for the purpose, and say what
    /// they heard from others, altered or not, and noise. Who is thrown out comes again as another.
    Intruders,
}

const fn half() -> f64 {
    0.5
}

impl FaultKind {
    /// A stable lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::PartitionOneWay => "partition-one-way",
            Self::Clog => "clog",
            Self::MassFailure => "mass-failure",
            Self::ServiceOutage => "service-outage",
            Self::FlashCrowd => "flash-crowd",
            Self::SlowReaders => "slow-readers",
            Self::Intruders => "intruders",
        }
    }

    /// What the file's `times` counts, where it counts something.
    const fn counts(self) -> Option<&'static str> {
        match self {
            Self::FlashCrowd => Some("clients"),
            Self::Intruders => Some("intruders"),
            Self::Partition | Self::PartitionOneWay | Self::Clog => None,
            Self::MassFailure | Self::ServiceOutage | Self::SlowReaders => None,
        }
    }

    const fn happens_at_once(self) -> bool {
        matches!(self, Self::MassFailure | Self::FlashCrowd)
    }
}

impl Fault {
    /// A fault of half of those whom its kind concerns.
    #[must_use]
    pub const fn new(kind: FaultKind, at: Duration, lasts: Duration) -> Self {
        Self { kind, at, lasts, share: half(), times: 0.0, bytes_per_s: 0, recover: None }
    }

    /// Whether its values are in range and go together, as the fault of this number in a run of this length.
    pub(super) fn check(&self, index: usize, duration: Duration) -> Result<(), ScenarioError> {
        let key = |field: &str| format!("fault.{index}.{field}");
        let name = self.kind.as_str();
        within(&key("share"), self.share, 0.0..=1.0)?;
        within(&key("times"), self.times, 0.0..=100.0)?;
        let recovered = self.at + self.lasts + self.recover.unwrap_or_default();
        if recovered > duration {
            return Err(invalid(&key("at"), "the fault and its recovery end after the run"));
        }
        if !self.kind.happens_at_once() && self.lasts.is_zero() {
            return Err(invalid(&key("lasts"), format!("a fault of kind {name} lasts for some time")));
        }
        if let Some(counted) = self.kind.counts()
            && self.times <= 0.0
        {
            return Err(invalid(&key("times"), format!("says how many {counted} come, which is none")));
        }
        if self.bytes_per_s > 0 && self.kind != FaultKind::SlowReaders {
            return Err(invalid(&key("bytes_per_s"), format!("says how slow slow-readers are, not {name}")));
        }
        Ok(())
    }
}
