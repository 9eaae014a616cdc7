//! What goes to stdout: JSON lines, or text for people.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use unamed_tokio::{CloseReason, FindReport, Message, PeerId, RoomId};

use crate::nickname;

/// One JSON object a line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line<'a> {
    /// A service node listens.
    Listening {
        peer_id: String,
        addresses: Vec<String>,
        /// Where the demo page is, if it is served.
        #[serde(skip_serializing_if = "Option::is_none")]
        web: Option<String>,
        /// Where metrics are, if they are served.
        #[serde(skip_serializing_if = "Option::is_none")]
        metrics: Option<String>,
    },
    /// A room is joined.
    Joined { room: &'a str, room_id: String, alone: bool, members: Vec<String> },
    /// A member came: `name` if what it says of itself is UTF-8, else `base64`.
    MemberJoined {
        peer_id: String,
        #[serde(flatten)]
        said: Said,
    },
    /// A member says something else of itself.
    MemberChanged {
        peer_id: String,
        #[serde(flatten)]
        said: Said,
    },
    /// A member went.
    MemberLeft {
        peer_id: String,
        reason: &'static str,
        /// How it was shown.
        #[serde(skip)]
        shown: Option<String>,
    },
    /// A message came: `text` if it is UTF-8, else `base64`.
    Message {
        from: String,
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
        /// How its author is shown.
        #[serde(skip)]
        shown: Option<String>,
    },
    /// Messages of a member are missing for good.
    MessagesLost { from: String, count: u64 },
    /// Two parts of the room have met.
    RoomMerged { members: Vec<String> },
    /// Events were dropped because stdout was not read.
    Lagged { missed: u64 },
    /// How a service node is, asked for by SIGUSR1.
    Metrics {
        /// The boot counter of this run.
        boot: u64,
        /// Tasks of the runtime that have not ended.
        tasks: usize,
        /// Usable links.
        links: usize,
        /// All counters of core and driver.
        counters: BTreeMap<&'static str, u64>,
    },
}

/// What a member says of itself.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// The same for people.
    #[serde(skip)]
    shown: Option<String>,
}

impl Said {
    pub(crate) fn new(data: &[u8]) -> Self {
        let (name, base64) = nickname::for_scripts(data);
        Self { name, base64, shown: nickname::shown(data) }
    }
}

/// A member for people: its id, and after it what it calls itself.
fn called(peer_id: &str, shown: Option<&String>) -> String {
    shown.map_or_else(|| peer_id.to_owned(), |shown| format!("{peer_id} {shown}"))
}

/// An identity.
#[derive(Debug, Serialize)]
pub(crate) struct Id {
    pub(crate) peer_id: String,
}

/// How a find went.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    room_id: String,
    attempts: u8,
    route: Vec<FoundHop>,
    members: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FoundHop {
    peer_id: String,
    ms: f64,
}

impl<'a> Line<'a> {
    /// A joined room, with the members that are linked already.
    pub(crate) fn joined(room: &'a str, id: RoomId, alone: bool, members: &[PeerId]) -> Self {
        let members = members.iter().map(PeerId::to_string).collect();
        Self::Joined { room, room_id: id.to_string(), alone, members }
    }

    /// A message of a member that is shown like this.
    pub(crate) fn message(message: &'a Message, shown: Option<String>) -> Self {
        let text = str::from_utf8(&message.payload).ok();
        Self::Message {
            from: message.from.to_string(),
            id: message.id.to_string(),
            text,
            base64: text.is_none().then(|| STANDARD.encode(&message.payload)),
            shown,
        }
    }

    /// The same for people.
    fn text(&self) -> String {
        match self {
            Self::Listening { peer_id, addresses, web, metrics } => {
                let mut text = format!("peer id  {peer_id}");
                for address in addresses {
                    text.push_str(&format!("\naddress  {address}"));
                }
                if let Some(web) = web {
                    text.push_str(&format!("\nweb page {web}"));
                }
                if let Some(metrics) = metrics {
                    text.push_str(&format!("\nmetrics  {metrics}"));
                }
                text
            }
            Self::Joined { room, room_id: _, alone, members } => match members.as_slice() {
                [] if *alone => format!("joined {room:?}; nobody else is here"),
                [] => format!("joined {room:?}; others are known, none is reached yet"),
                members => format!("joined {room:?} with {}: {}", members.len(), members.join(", ")),
            },
            Self::MemberJoined { peer_id, said } => {
                format!("{} joined", called(peer_id, said.shown.as_ref()))
            }
            Self::MemberChanged { peer_id, said } => match &said.shown {
                Some(shown) => format!("{peer_id} is {shown}"),
                None => format!("{peer_id} has no name"),
            },
            Self::MemberLeft { peer_id, reason, shown } => {
                format!("{} left ({reason})", called(peer_id, shown.as_ref()))
            }
            Self::Message { from, id: _, text, base64, shown } => {
                let from = called(from, shown.as_ref());
                match (text, base64) {
                    (Some(text), _) => format!("{from}: {}", printable(text)),
                    (None, Some(base64)) => format!("{from}: (base64) {base64}"),
                    (None, None) => format!("{from}:"),
                }
            }
            Self::MessagesLost { from, count } => format!("{count} messages of {from} are lost"),
            Self::RoomMerged { members } => {
                format!("two parts of the room have met: {} more members", members.len())
            }
            Self::Metrics { boot, tasks, links, counters } => {
                let mut text = format!("boot {boot}\ntasks {tasks}\nlinks {links}");
                for (name, value) in counters {
                    text.push_str(&format!("\n{name} {value}"));
                }
                text
            }
            Self::Lagged { missed } => {
                format!("{missed} events were dropped: stdout is not read fast enough")
            }
        }
    }
}

impl Found {
    pub(crate) fn new(report: &FindReport) -> Self {
        // Tenths of a millisecond.
        let ms = |rtt: std::time::Duration| (rtt.as_secs_f64() * 10_000.0).round() / 10.0;
        let hop = |hop: &unamed_tokio::Hop| FoundHop { peer_id: hop.peer.to_string(), ms: ms(hop.rtt) };
        Self {
            room_id: report.room.to_string(),
            attempts: report.attempts,
            route: report.route.iter().map(hop).collect(),
            members: report.members.iter().map(PeerId::to_string).collect(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("room id  {}\nattempts {}\n", self.room_id, self.attempts);
        match self.route.split_first() {
            None => text.push_str("no answer\n"),
            Some((origin, hops)) => {
                text.push_str(&format!("route    {} (this node)\n", origin.peer_id));
                for hop in hops {
                    text.push_str(&format!("         {} ({} ms)\n", hop.peer_id, hop.ms));
                }
            }
        }
        if self.members.is_empty() {
            text.push_str("members  none found");
        }
        for (index, member) in self.members.iter().enumerate() {
            let label = if index == 0 { "members  " } else { "\n         " };
            text.push_str(&format!("{label}{member}"));
        }
        text
    }
}

/// Text of others must not steer the terminal, nor turn what stands beside it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if nickname::steers(c) && c != '\t' { '\u{FFFD}' } else { c }).collect()
}

/// Where the program's results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Writes an event.
    pub(crate) fn line(self, line: &Line<'_>) -> io::Result<()> {
        self.write(line, || line.text())
    }

    /// Writes an identity.
    pub(crate) fn id(self, id: &Id) -> io::Result<()> {
        self.write(id, || id.peer_id.clone())
    }

    /// Writes the result of a find.
    pub(crate) fn found(self, found: &Found) -> io::Result<()> {
        self.write(found, || found.text())
    }

    /// Writes whatever can be shown either way.
    pub(crate) fn show(self, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        self.write(value, text)
    }

    fn write(self, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let mut line = if self.json { serde_json::to_string(value)? } else { text() };
        line.push('\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.flush()
    }
}

/// A close reason in words.
pub(crate) const fn describe(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Unwanted => "the link is not needed",
        CloseReason::Shutdown => "the node there shuts down",
        CloseReason::Busy => "the node there is full",
        CloseReason::Duplicate => "there is another link to the same node",
        CloseReason::Replaced => "the node there restarted",
        CloseReason::IdentityInUse => "the identity is in use elsewhere",
        CloseReason::NotOurProtocol => "it speaks another protocol",
        CloseReason::VersionMismatch => "it speaks another version of the protocol",
        CloseReason::WrongNetwork => "it belongs to another network",
        CloseReason::Handshake => "the cryptographic handshake failed",
        CloseReason::BadKey => "its identity key is bad",
        CloseReason::HandshakeTimeout => "the handshake timed out",
        CloseReason::IdMismatch => "another peer than the address names answers there",
        CloseReason::SelfDial => "this is the node itself",
        CloseReason::Decrypt => "a frame did not authenticate",
        CloseReason::TooLarge => "a message was too large",
        CloseReason::Violation => "the protocol was violated",
        CloseReason::SlowReader => "it does not read",
        CloseReason::Silent => "it fell silent",
        CloseReason::Closed => "it closed the connection",
        CloseReason::Reset => "connection reset",
        CloseReason::Refused => "connection refused",
        CloseReason::DialTimeout => "the dial timed out",
        CloseReason::Unresolved => "the name does not resolve",
        CloseReason::NotWebSocket => "no WebSocket answers there",
        CloseReason::Tls => "TLS failed",
        CloseReason::Unsupported => "such addresses are not supported",
        CloseReason::RelayLost => "the relay went away",
        CloseReason::RelayRefused => "the relay refused",
        CloseReason::Ice => "WebRTC found no way there",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use unamed_protocol::RequestId;
    use unamed_tokio::{Hop, MemberLeftReason, MessageId};

    use super::*;

    const PEER: PeerId = PeerId([7; 32]);

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    fn message(payload: &'static [u8]) -> Message {
        Message {
            room: RoomId([1; 32]),
            from: PEER,
            id: MessageId([2; 32]),
            directed: false,
            payload: bytes::Bytes::from_static(payload),
        }
    }

    #[test]
    fn json_lines_are_what_scripts_rely_on() {
        let room = "01".repeat(32);
        let id = "02".repeat(32);
        let listening = |web: Option<&str>| Line::Listening {
            peer_id: "P".into(),
            addresses: vec!["A".into()],
            web: web.map(Into::into),
            metrics: None,
        };
        let left = Line::MemberLeft {
            peer_id: "P".into(),
            reason: MemberLeftReason::Lost.as_str(),
            shown: Some("Anna".into()),
        };
        let came = |data: &[u8]| json(&Line::MemberJoined { peer_id: "P".into(), said: Said::new(data) });
        let changed = |data: &[u8]| json(&Line::MemberChanged { peer_id: "P".into(), said: Said::new(data) });
        let cases = [
            (json(&listening(None)), r#"{"event":"listening","peer_id":"P","addresses":["A"]}"#.into()),
            (
                json(&listening(Some("W"))),
                r#"{"event":"listening","peer_id":"P","addresses":["A"],"web":"W"}"#.into(),
            ),
            (
                json(&Line::joined("kitchen", RoomId([1; 32]), false, &[PEER])),
                format!(
                    r#"{{"event":"joined","room":"kitchen","room_id":"{room}","alone":false,"members":["{PEER}"]}}"#
                ),
            ),
            (
                json(&Line::joined("kitchen", RoomId([1; 32]), true, &[])),
                format!(
                    r#"{{"event":"joined","room":"kitchen","room_id":"{room}","alone":true,"members":[]}}"#
                ),
            ),
            (came(b""), r#"{"event":"member_joined","peer_id":"P"}"#.into()),
            (came("Änne".as_bytes()), r#"{"event":"member_joined","peer_id":"P","name":"Änne"}"#.into()),
            (came(b"\xFF\x00"), r#"{"event":"member_joined","peer_id":"P","base64":"/wA="}"#.into()),
            (changed(b"A"), r#"{"event":"member_changed","peer_id":"P","name":"A"}"#.into()),
            (changed(b""), r#"{"event":"member_changed","peer_id":"P"}"#.into()),
            (json(&left), r#"{"event":"member_left","peer_id":"P","reason":"lost"}"#.into()),
            (
                json(&Line::message(&message("hi \"you\" ü".as_bytes()), None)),
                format!(r#"{{"event":"message","from":"{PEER}","id":"{id}","text":"hi \"you\" ü"}}"#),
            ),
            (
                json(&Line::message(&message(b""), None)),
                format!(r#"{{"event":"message","from":"{PEER}","id":"{id}","text":""}}"#),
            ),
            (
                json(&Line::message(&message(b"\xFF\x00"), None)),
                format!(r#"{{"event":"message","from":"{PEER}","id":"{id}","base64":"/wA="}}"#),
            ),
            (json(&Id { peer_id: "P".into() }), r#"{"peer_id":"P"}"#.into()),
        ];
        for (line, expected) in cases {
            let expected: String = expected;
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn a_find_is_shown_hop_by_hop() {
        let hop = |rtt| Hop { peer: PEER, rtt: Duration::from_micros(rtt), service: true };
        let report = FindReport {
            request: RequestId(1),
            room: RoomId([1; 32]),
            attempts: 2,
            route: vec![hop(0), hop(12_340)],
            members: vec![PEER],
            elapsed: Duration::from_millis(20),
        };
        let found = Found::new(&report);
        let room = "01".repeat(32);
        assert_eq!(
            json(&found),
            format!(
                r#"{{"room_id":"{room}","attempts":2,"route":[{{"peer_id":"{PEER}","ms":0.0}},{{"peer_id":"{PEER}","ms":12.3}}],"members":["{PEER}"]}}"#
            )
        );
        assert_eq!(
            found.text(),
            format!(
                "room id  {room}\nattempts 2\nroute    {PEER} (this node)\n         {PEER} (12.3 ms)\nmembers  {PEER}"
            )
        );
    }

    #[test]
    fn text_of_others_does_not_steer_the_terminal() {
        let message = message(b"a\x1b[2Jb\r\nc\td");
        let line = Line::message(&message, None);
        assert_eq!(line.text(), format!("{PEER}: a\u{FFFD}[2Jb\u{FFFD}\u{FFFD}c\td"));
        let named = Line::message(&message, nickname::shown(b"An\x1b[2Jna"));
        assert!(named.text().starts_with(&format!(r#"{PEER} "An\u{{1b}}[2Jna": a"#)), "{}", named.text());
        let said = |data: &[u8]| Said::new(data);
        let came = Line::MemberJoined { peer_id: "P".into(), said: said("x\u{202E}y".as_bytes()) };
        assert_eq!(came.text(), r#"P "x\u{202e}y" joined"#);
        let changed = |data: &[u8]| Line::MemberChanged { peer_id: "P".into(), said: said(data) }.text();
        assert_eq!(changed(b"Anna"), r#"P is "Anna""#);
        assert_eq!(changed(b""), "P has no name");
    }
}
