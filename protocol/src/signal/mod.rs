//! Signals: what two ends tell each other to open a WebRTC data channel, as typed fields.
//!
//! A peer's session description never reaches a WebRTC stack as text. What is needed of it travels in these types, whose
//! values can only be legal ones, and each driver writes the description itself ([`Description::to_sdp`]) and reads that
//! of its own stack ([`Description::from_sdp`]). So nothing that a peer sends can add a media line, a second fingerprint
//! or an attribute (RFC 8866 text injection).

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize};

mod sdp;
#[cfg(test)]
mod tests;

pub use sdp::SdpError;

use crate::wire::Bounded;

/// Most candidates of one end, those of its description included.
pub const CANDIDATES_MAX: usize = 16;

/// One step of signalling, from one end's WebRTC stack to the other's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// Opens; its `setup` is [`Setup::ActPass`].
    Offer(Description),
    /// Answers the offer; its `setup` is [`Setup::Active`] or [`Setup::Passive`].
    Answer(Description),
    /// A candidate found after the description.
    Candidate(Candidate),
    /// No candidate follows.
    EndOfCandidates,
}

/// One end's half of a session: what of its description the other end needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// ICE user name fragment (RFC 8839, section 5.4): 4 to 256 bytes.
    pub ufrag: IceText<4>,
    /// ICE password: 22 to 256 bytes.
    pub pwd: IceText<22>,
    /// SHA-256 of the DTLS certificate (RFC 8122): the only hash that is taken.
    pub fingerprint: Fingerprint,
    /// Who opens the DTLS association (RFC 8842).
    pub setup: Setup,
    /// Candidates known so far.
    pub candidates: Bounded<Candidate, CANDIDATES_MAX>,
}

/// SHA-256 of a DTLS certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(#[serde(with = "crate::id::fixed")] pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl fmt::Display for Fingerprint {
    /// As in SDP: upper-case hexadecimal, a colon between bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// The DTLS role of an end (RFC 8842, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Setup {
    /// Either: the answer decides.
    ActPass,
    /// The client.
    Active,
    /// The server.
    Passive,
}

/// At least `MIN` and at most 256 `ice-char`s: letters, digits, `+` and `/` (RFC 8839, section 5.1). Line ends and spaces
/// are none, so that such a text stays within its line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct IceText<const MIN: usize>(String);

impl<const MIN: usize> IceText<MIN> {
    /// Longest text, bytes.
    pub const MAX: usize = 256;

    /// `text`, if it is one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        ((MIN..=Self::MAX).contains(&text.len()) && text.bytes().all(legal)).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MIN: usize> fmt::Debug for IceText<MIN> {
    /// The length: a password shall not come into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceText({} bytes)", self.0.len())
    }
}

impl<'de, const MIN: usize> Deserialize<'de> for IceText<MIN> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(from)?;
        Self::new(text).ok_or_else(|| serde::de::Error::custom("no ICE text"))
    }
}

/// A way to reach an end: a UDP transport address of component 1 (RFC 8839, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawCandidate")]
pub struct Candidate {
    /// How it was found.
    pub kind: CandidateKind,
    /// Where: never an address that stands for no single host.
    pub host: CandidateHost,
    /// UDP port, not 0.
    pub port: u16,
    /// Larger is better (RFC 8445, section 5.1.2); not 0.
    pub priority: u32,
}

impl Candidate {
    /// A candidate.
    ///
    /// # Errors
    /// See [`CandidateError`].
    pub fn new(
        kind: CandidateKind,
        host: CandidateHost,
        port: u16,
        priority: u32,
    ) -> Result<Self, CandidateError> {
        if port == 0 {
            return Err(CandidateError::Port);
        }
        if !(1..=i32::MAX as u32).contains(&priority) {
            return Err(CandidateError::Priority);
        }
        let single = match host.ip() {
            Some(IpAddr::V4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
            Some(IpAddr::V6(ip)) => {
                !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none()
            }
            None => kind == CandidateKind::Host,
        };
        if single { Ok(Self { kind, host, port, priority }) } else { Err(CandidateError::Address) }
    }

    /// Whether it is an address of the sender's own machine, which means another machine to everybody else.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.ip().is_some_and(|ip| ip.is_loopback())
    }
}

/// Why there is no such candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateError {
    /// Port 0.
    Port,
    /// Priority 0, or beyond 31 bits.
    Priority,
    /// An unspecified, multicast, broadcast or IPv4-mapped address, or an mDNS name that is no host candidate.
    Address,
}

impl fmt::Display for CandidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "a candidate's port is not 0",
            Self::Priority => "a candidate's priority is from 1 to 2147483647",
            Self::Address => "a candidate's address stands for one host",
        })
    }
}

impl core::error::Error for CandidateError {}

#[derive(Deserialize)]
struct RawCandidate {
    kind: CandidateKind,
    host: CandidateHost,
    port: u16,
    priority: u32,
}

impl TryFrom<RawCandidate> for Candidate {
    type Error = CandidateError;

    fn try_from(raw: RawCandidate) -> Result<Self, CandidateError> {
        Self::new(raw.kind, raw.host, raw.port, raw.priority)
    }
}

/// How a candidate was found (RFC 8445, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CandidateKind {
    /// An address of the machine itself.
    Host,
    /// As a STUN server sees it.
    ServerReflexive,
    /// As the peer sees it.
    PeerReflexive,
    /// On a TURN server.
    Relayed,
}

/// Where a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CandidateHost {
    /// An IPv4 address.
    V4([u8; 4]),
    /// An IPv6 address.
    V6([u8; 16]),
    /// The mDNS name `<uuid>.local`, by which browsers hide local addresses (RFC 8828, section 5; the UUID's bytes).
    Mdns([u8; 16]),
}

impl CandidateHost {
    /// The address, unless it is a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::V4(bytes) => Some(IpAddr::from(*bytes)),
            Self::V6(bytes) => Some(IpAddr::from(*bytes)),
            Self::Mdns(_) => None,
        }
    }
}

impl From<IpAddr> for CandidateHost {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6(ip.octets()),
        }
    }
}

impl fmt::Display for CandidateHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = self.ip() {
            return write!(f, "{ip}");
        }
        let Self::Mdns(uuid) = self else { return Ok(()) };
        for (index, byte) in uuid.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        f.write_str(".local")
    }
}

/// A STUN or TURN server.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    url: String,
    /// User name and credential of a TURN server; never for STUN.
    credential: Option<(String, String)>,
}

impl IceServer {
    /// Most servers in use at a time.
    pub const MAX: usize = 8;
    /// Longest URL, user name and credential, bytes each.
    pub const TEXT_BYTES_MAX: usize = 256;

    /// A server.
    ///
    /// # Errors
    /// If the URL is none of `stun:`, `turn:` and `turns:` (RFC 7064, RFC 7065), if a TURN server has no credential or a
    /// STUN server has one, or if a text is longer than [`TEXT_BYTES_MAX`](Self::TEXT_BYTES_MAX) or has a control
    /// character.
    pub fn new(url: &str, credential: Option<(&str, &str)>) -> Result<Self, IceServerError> {
        let (scheme, rest) = url.split_once(':').ok_or(IceServerError::Scheme)?;
        let turn = match scheme {
            "stun" => false,
            "turn" | "turns" => true,
            _ => return Err(IceServerError::Scheme),
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]?=".contains(&byte);
        if Place::of(rest).is_none() || !rest.bytes().all(legal) {
            return Err(IceServerError::Url);
        }
        let texts = [Some(url), credential.map(|(user, _)| user), credential.map(|(_, secret)| secret)];
        for text in texts.into_iter().flatten() {
            if text.len() > Self::TEXT_BYTES_MAX || text.chars().any(char::is_control) {
                return Err(IceServerError::Text);
            }
        }
        if turn != credential.is_some() {
            return Err(IceServerError::Credential);
        }
        let credential = credential.map(|(user, secret)| (user.into(), secret.into()));
        Ok(Self { url: url.into(), credential })
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// User name and credential of a TURN server.
    #[must_use]
    pub fn credential(&self) -> Option<(&str, &str)> {
        self.credential.as_ref().map(|(user, secret)| (user.as_str(), secret.as_str()))
    }

    /// Whether it relays: traffic then passes a third party, which sees who talks to whom.
    #[must_use]
    pub fn is_turn(&self) -> bool {
        self.credential.is_some()
    }

    /// The host that the URL names: a name, an IPv4 address, or an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.place().map_or("", |place| place.host)
    }

    /// The port that the URL names, or else the one that its scheme stands for: 3478 for `stun` and `turn`, 5349 for
    /// `turns` (RFC 7064, section 3.2; RFC 7065, section 3.2).
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = if self.url.starts_with("turns:") { 5349 } else { 3478 };
        self.place().and_then(|place| place.port).unwrap_or(usual)
    }

    /// The same server by one of its addresses, for a stack that is not to resolve names itself.
    ///
    /// # Errors
    /// If the URL becomes longer than [`TEXT_BYTES_MAX`](Self::TEXT_BYTES_MAX).
    pub fn at(&self, address: SocketAddr) -> Result<Self, IceServerError> {
        let (scheme, rest) = self.url.split_once(':').unwrap_or_default();
        let query = rest.find('?').map_or("", |at| &rest[at..]);
        Self::new(&format!("{scheme}:{address}{query}"), self.credential())
    }

    fn place(&self) -> Option<Place<'_>> {
        self.url.split_once(':').and_then(|(_, rest)| Place::of(rest))
    }
}

/// Where a server is.
struct Place<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Place<'a> {
    /// Of what follows the scheme: a host, and a port if there is one, as in RFC 7064, section 3.1; and perhaps a query.
    fn of(rest: &'a str) -> Option<Self> {
        let place = rest.split('?').next().unwrap_or_default();
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => rest.split_once(']').filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok())?,
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
            None if port.is_empty() => None,
            None => return None,
        };
        (!host.is_empty() && !host.contains(['[', ']'])).then_some(Self { host, port })
    }
}

impl fmt::Debug for IceServer {
    /// Without the credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for IceServer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (url, credential) = <(&str, Option<(&str, &str)>)>::deserialize(from)?;
        Self::new(url, credential).map_err(serde::de::Error::custom)
    }
}

/// Why a text names no ICE server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IceServerError {
    /// The scheme is none of `stun`, `turn`, `turns`.
    Scheme,
    /// What follows the scheme is no host.
    Url,
    /// A text is too long, or has a control character.
    Text,
    /// A TURN server without a credential, or a STUN server with one.
    Credential,
}

impl fmt::Display for IceServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "an ICE server's URL starts with stun:, turn: or turns:",
            Self::Url => "an ICE server's URL names a host",
            Self::Text => "an ICE server's texts have at most 256 bytes and no control characters",
            Self::Credential => {
                "a TURN server needs a user name and a credential, and a STUN server has none"
            }
        })
    }
}

impl core::error::Error for IceServerError {}
