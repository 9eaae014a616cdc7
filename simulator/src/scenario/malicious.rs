//! Service nodes that misbehave, as a part of scenarios.

use core::time::Duration;

use serde::Deserialize;
use unamed_protocol::Misbehaviour;

use super::{ScenarioError, invalid, text, within};

/// Service nodes that misbehave. There are none by default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Malicious {
    /// What they do.
    pub kind: MaliciousKind,
    /// Share of the service nodes, drawn at random. Who replaces one of them under churn is one of them.
    pub share: f64,
    /// Service nodes besides those of `nodes`, with ids that are nearest to the keys of one room: `SHA-256` makes it cheap
    /// to search for such ids. They are dealt out to the keys in turn.
    pub sybils: u32,
    /// How many of the room's replica keys the Sybils surround.
    pub keys: u8,
    /// Which room, by its place in Zipf's law.
    pub room: u32,
    /// Until when they behave as any other.
    #[serde(deserialize_with = "text::duration")]
    pub from: Duration,
}

/// What misbehaving service nodes do; see [`Misbehaviour`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaliciousKind {
    /// They drop what they are to pass on, and answer nothing.
    #[default]
    Silent,
    /// They also confirm what they do not keep, and answer with each other.
    Lying,
}

impl From<MaliciousKind> for Misbehaviour {
    fn from(kind: MaliciousKind) -> Self {
        match kind {
            MaliciousKind::Silent => Self::Silent,
            MaliciousKind::Lying => Self::Lying,
        }
    }
}

impl Malicious {
    /// Whether there are any.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.share > 0.0 || self.sybils > 0
    }

    pub(super) fn check(&self, rooms: u32) -> Result<(), ScenarioError> {
        within("malicious.share", self.share, 0.0..=0.9)?;
        within("malicious.sybils", self.sybils, 0..=10_000)?;
        if self.sybils > 0 {
            within("malicious.keys", self.keys, 1..=8)?;
        } else if self.keys > 0 {
            return Err(invalid("malicious.keys", "says which keys the Sybils surround, and there are none"));
        }
        within("malicious.room", self.room, 0..=rooms.saturating_sub(1))
    }
}
