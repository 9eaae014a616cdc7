//! The trace: everything that happened, hashed as it happens and written out on request.
//!
//! Two digests are kept. The *trace hash* covers every byte that was sent; equal seeds must give equal hashes, twice and
//! in every build. The *decision hash* covers lengths in place of bytes, so that runs with different crypto providers can
//! be compared.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use unamed_protocol::{Event, Instant, LinkId, hex};

use crate::rng::mix;

/// What is traced of the engine's own doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mark {
    Start = 1,
    Timeout = 2,
    Frame = 3,
    Writable = 4,
    Connected = 5,
    DialFailed = 6,
    Disconnected = 7,
    Accept = 8,
    Command = 9,
    Crash = 10,
    Stop = 11,
    Dial = 12,
    Close = 13,
    Signal = 14,
}

impl Mark {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Timeout => "timeout",
            Self::Frame => "frame",
            Self::Writable => "writable",
            Self::Connected => "connected",
            Self::DialFailed => "dial_failed",
            Self::Disconnected => "disconnected",
            Self::Accept => "accept",
            Self::Command => "command",
            Self::Crash => "crash",
            Self::Stop => "stop",
            Self::Dial => "dial",
            Self::Close => "close",
            Self::Signal => "signal",
        }
    }
}

/// Feeds formatted text to both digests without a buffer.
struct Both<'a>(&'a mut Sha256, &'a mut Sha256);

impl fmt::Write for Both<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        self.1.update(text.as_bytes());
        Ok(())
    }
}

/// Of which nodes a trace is written. The choice is a function of the node's number alone, so that traces of different
/// runs, and of different sizes, show the same nodes.
///
/// Digests cover everything that happens, whatever is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSample {
    take: u32,
    of: u32,
}

impl TraceSample {
    /// All nodes.
    pub const ALL: Self = Self { take: 1, of: 1 };

    /// About `take` in `of` nodes. `None` unless `1 <= take <= of`.
    #[must_use]
    pub const fn new(take: u32, of: u32) -> Option<Self> {
        if take >= 1 && take <= of { Some(Self { take, of }) } else { None }
    }

    /// Whether what happens at this node is written.
    #[must_use]
    pub const fn contains(self, node: u32) -> bool {
        mix(node as u64 + 1) % (self.of as u64) < self.take as u64
    }
}

impl Default for TraceSample {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for TraceSample {
    type Err = &'static str;

    /// Reads a share such as `1/100`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = "expected a share such as 1/100";
        let (take, of) = text.split_once('/').ok_or(error)?;
        let number = |text: &str| text.parse().map_err(|_| error);
        Self::new(number(take)?, number(of)?).ok_or("the share is not above 0 and at most 1")
    }
}

/// Where a run is recorded.
pub(crate) struct Trace {
    bytes: Sha256,
    decisions: Sha256,
    sink: Option<Box<dyn Write + Send>>,
    sample: TraceSample,
    /// The first failure to write; nothing is written after it.
    failure: Option<io::Error>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("sink", &self.sink.is_some()).finish_non_exhaustive()
    }
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Sha256::new(),
            decisions: Sha256::new(),
            sink: None,
            sample: TraceSample::ALL,
            failure: None,
        }
    }

    /// Writes one JSON object a line from here on, of the nodes in the sample.
    pub(crate) fn write_to(&mut self, sink: Box<dyn Write + Send>, sample: TraceSample) {
        self.sink = Some(sink);
        self.sample = sample;
    }

    /// Flushes what was written, and tells the first failure.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        self.sink.as_mut().map_or(Ok(()), |sink| sink.flush())
    }

    pub(crate) fn hash(&self) -> String {
        hex(&self.bytes.clone().finalize())
    }

    pub(crate) fn decision_hash(&self) -> String {
        hex(&self.decisions.clone().finalize())
    }

    fn both(&mut self, data: &[u8]) {
        self.bytes.update(data);
        self.decisions.update(data);
    }

    fn head(&mut self, at: Instant, node: u32, kind: u8) {
        let mut head = [0; 13];
        head[..8].copy_from_slice(&at.as_micros().to_le_bytes());
        head[8..12].copy_from_slice(&node.to_le_bytes());
        head[12] = kind;
        self.both(&head);
    }

    /// What a node has counted, those of the counters that are not 0. Digests do not cover it.
    pub(crate) fn counters<C>(&mut self, at: Instant, node: u32, counters: impl FnOnce() -> C)
    where
        C: IntoIterator<Item = (&'static str, u64)>,
    {
        self.line(node, |sink| {
            let counted: BTreeMap<&str, u64> =
                counters().into_iter().filter(|(_, count)| *count > 0).collect();
            let counted = serde_json::to_string(&counted)?;
            let at = at.as_micros();
            writeln!(sink, r#"{{"us":{at},"node":{node},"kind":"counters","counters":{counted}}}"#)
        });
    }

    fn line(&mut self, node: u32, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.failure.is_none()
            && self.sample.contains(node)
            && let Some(sink) = &mut self.sink
            && let Err(error) = write(sink)
        {
            self.failure = Some(error);
        }
    }

    /// Something happened at a node; `link` is 0 where none is concerned.
    pub(crate) fn mark(&mut self, at: Instant, node: u32, mark: Mark, link: LinkId) {
        self.head(at, node, mark as u8);
        self.both(&link.0.to_le_bytes());
        self.line(node, |sink| {
            let (at, kind, link) = (at.as_micros(), mark.as_str(), link.0);
            writeln!(sink, r#"{{"us":{at},"node":{node},"kind":"{kind}","link":{link}}}"#)
        });
    }

    /// A node sent a frame.
    pub(crate) fn sent(&mut self, at: Instant, node: u32, link: LinkId, frame: &[u8]) {
        self.head(at, node, 0xf0);
        self.both(&link.0.to_le_bytes());
        self.both(&(frame.len() as u64).to_le_bytes());
        self.bytes.update(frame);
        self.line(node, |sink| {
            let (at, link, bytes) = (at.as_micros(), link.0, frame.len());
            writeln!(sink, r#"{{"us":{at},"node":{node},"kind":"send","link":{link},"bytes":{bytes}}}"#)
        });
    }

    /// A node told its application something.
    pub(crate) fn event(&mut self, at: Instant, node: u32, event: &Event) {
        self.head(at, node, 0xf1);
        if let Event::Message(message) = event {
            // Not by its debug form, which escapes a payload byte by byte.
            self.both(&message.room.0);
            self.both(&message.from.0);
            self.both(&message.id.0);
            self.both(&[u8::from(message.directed)]);
            self.both(&message.payload);
        } else {
            let _ = write!(Both(&mut self.bytes, &mut self.decisions), "{event:?}");
        }
        self.line(node, |sink| {
            let text = if let Event::Message(message) = event {
                format!(
                    "Message({:?}, {:?}, {:?}, {} bytes)",
                    message.room,
                    message.from,
                    message.id,
                    message.payload.len()
                )
            } else {
                format!("{event:?}")
            };
            let text = serde_json::Value::from(text);
            writeln!(sink, r#"{{"us":{},"node":{node},"kind":"event","event":{text}}}"#, at.as_micros())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_near_its_share_and_grows_with_it() {
        let count = |take| {
            let sample = TraceSample::new(take, 100).expect("a share");
            (0..100_000).filter(|&node| sample.contains(node)).collect::<std::collections::BTreeSet<u32>>()
        };
        let (one, ten) = (count(1), count(10));
        assert!(
            one.len().abs_diff(1000) < 100 && ten.len().abs_diff(10_000) < 300,
            "{} {}",
            one.len(),
            ten.len()
        );
        assert!(one.is_subset(&ten));
        assert_eq!(count(100).len(), 100_000);
    }

    #[test]
    fn shares_are_read() {
        assert_eq!("1/100".parse(), Ok(TraceSample { take: 1, of: 100 }));
        for text in ["", "1", "0/5", "2/1", "1/x", "-1/5", "1/0"] {
            assert!(text.parse::<TraceSample>().is_err(), "{text}");
        }
    }
}
