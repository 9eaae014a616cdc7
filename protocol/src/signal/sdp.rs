//! Session descriptions of a WebRTC stack (RFC 8866, RFC 8839, RFC 8841): written from typed fields, and read into them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::net::IpAddr;

use super::{Candidate, CandidateHost, CandidateKind, Description, Fingerprint, IceText, Setup};
use crate::wire::Bounded;

/// Longest description or candidate line of the own stack that is read, bytes.
const SDP_BYTES_MAX: usize = 64 * 1024;

/// What stands in each description before the fields that differ: one data channel, no media.
const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic: WMS\r\n\
                    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n";

/// Why the own stack's text is no description or candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SdpError {
    /// It is longer than 64 KiB.
    TooLong,
    /// It has not one data channel and nothing else.
    Media,
    /// `ice-ufrag` or `ice-pwd` is missing or malformed.
    Ice,
    /// There is no SHA-256 fingerprint, or there are two that differ.
    Fingerprint,
    /// `setup` is missing or unknown.
    Setup,
    /// A candidate line is malformed.
    Candidate,
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the description is longer than 64 KiB",
            Self::Media => "the description has not one data channel and nothing else",
            Self::Ice => "the description's ICE user name fragment or password is missing or malformed",
            Self::Fingerprint => "the description has not one SHA-256 fingerprint",
            Self::Setup => "the description says nothing of who opens DTLS",
            Self::Candidate => "a candidate line is malformed",
        })
    }
}

impl core::error::Error for SdpError {}

impl Description {
    /// Reads the description that the own WebRTC stack made. Candidates that no peer could use (TCP, second components)
    /// are left out, and those beyond [`CANDIDATES_MAX`](super::CANDIDATES_MAX) too.
    ///
    /// # Errors
    /// See [`SdpError`].
    pub fn from_sdp(sdp: &str) -> Result<Self, SdpError> {
        if sdp.len() > SDP_BYTES_MAX {
            return Err(SdpError::TooLong);
        }
        let media: Vec<&str> = sdp.lines().filter(|line| line.starts_with("m=")).collect();
        if !matches!(media.as_slice(), [line] if line.starts_with("m=application ")) {
            return Err(SdpError::Media);
        }
        let attribute = |name: &str| {
            sdp.lines()
                .filter_map(|line| line.trim_end().strip_prefix("a="))
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        let ufrag = attribute("ice-ufrag").and_then(IceText::new).ok_or(SdpError::Ice)?;
        let pwd = attribute("ice-pwd").and_then(IceText::new).ok_or(SdpError::Ice)?;
        let setup = match attribute("setup") {
            Some("actpass") => Setup::ActPass,
            Some("active") => Setup::Active,
            Some("passive") => Setup::Passive,
            _ => return Err(SdpError::Setup),
        };
        let mut candidates = Vec::new();
        for line in sdp.lines().filter(|line| line.starts_with("a=candidate:")) {
            candidates.extend(Candidate::from_sdp(line)?);
        }
        let candidates = Bounded::truncated(candidates);
        Ok(Self { ufrag, pwd, fingerprint: only_fingerprint(sdp)?, setup, candidates })
    }

    /// The description as text for a WebRTC stack: one data channel over one transport.
    #[must_use]
    pub fn to_sdp(&self) -> String {
        let setup = match self.setup {
            Setup::ActPass => "actpass",
            Setup::Active => "active",
            Setup::Passive => "passive",
        };
        let mut out = String::from(HEAD);
        // Writing to a text cannot fail.
        let _ = write!(out, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", self.ufrag.as_str(), self.pwd.as_str());
        let _ = write!(out, "a=ice-options:trickle\r\na=fingerprint:sha-256 {}\r\n", self.fingerprint);
        let _ =
            write!(out, "a=setup:{setup}\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n");
        for candidate in self.candidates.iter() {
            let _ = write!(out, "a={}\r\n", candidate.to_sdp());
        }
        out
    }
}

/// The SHA-256 fingerprint that all fingerprint lines agree on; other hashes beside it are passed over.
fn only_fingerprint(sdp: &str) -> Result<Fingerprint, SdpError> {
    let mut found = None;
    for line in sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a=fingerprint:")) {
        let (hash, digits) = line.split_once(' ').ok_or(SdpError::Fingerprint)?;
        if !hash.eq_ignore_ascii_case("sha-256") {
            continue;
        }
        let fingerprint = fingerprint(digits).ok_or(SdpError::Fingerprint)?;
        if found.is_some_and(|other| other != fingerprint) {
            return Err(SdpError::Fingerprint);
        }
        found = Some(fingerprint);
    }
    found.ok_or(SdpError::Fingerprint)
}

fn fingerprint(digits: &str) -> Option<Fingerprint> {
    let mut bytes = [0; 32];
    let mut parts = digits.split(':');
    for byte in &mut bytes {
        *byte = hex_byte(parts.next()?)?;
    }
    parts.next().is_none().then_some(Fingerprint(bytes))
}

fn hex_byte(digits: &str) -> Option<u8> {
    let two = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    two.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

impl Candidate {
    /// Reads a candidate line of the own stack, with or without `a=`; `None` for one that no peer could use: TCP, another
    /// component than 1, an address that stands for no single host, a name that is not mDNS's.
    ///
    /// # Errors
    /// If it is no candidate line.
    pub fn from_sdp(line: &str) -> Result<Option<Self>, SdpError> {
        let line = line.trim();
        let line = line.strip_prefix("a=").unwrap_or(line);
        let fields = line.strip_prefix("candidate:").ok_or(SdpError::Candidate)?;
        if fields.len() > SDP_BYTES_MAX {
            return Err(SdpError::TooLong);
        }
        let mut fields = fields.split_ascii_whitespace();
        let mut next = || fields.next().ok_or(SdpError::Candidate);
        let (_foundation, component, transport) = (next()?, next()?, next()?);
        let priority = next()?.parse().map_err(|_| SdpError::Candidate)?;
        let host = next()?;
        let port = next()?.parse().map_err(|_| SdpError::Candidate)?;
        if next()? != "typ" {
            return Err(SdpError::Candidate);
        }
        let kind = match next()? {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::ServerReflexive,
            "prflx" => CandidateKind::PeerReflexive,
            "relay" => CandidateKind::Relayed,
            _ => return Err(SdpError::Candidate),
        };
        if component != "1" || !transport.eq_ignore_ascii_case("udp") {
            return Ok(None);
        }
        Ok(read_host(host).and_then(|host| Self::new(kind, host, port, priority).ok()))
    }

    /// The candidate line for a WebRTC stack, from `candidate:` on. Its base is not told (RFC 8828): where the grammar
    /// wants a related address, it is the unspecified one.
    #[must_use]
    pub fn to_sdp(&self) -> String {
        let kind = match self.kind {
            CandidateKind::Host => "host",
            CandidateKind::ServerReflexive => "srflx",
            CandidateKind::PeerReflexive => "prflx",
            CandidateKind::Relayed => "relay",
        };
        // Candidates of one kind and family share a foundation, which orders checks and does no more.
        let v6 = matches!(self.host, CandidateHost::V6(_));
        let foundation = 2 * (self.kind as u32) + u32::from(v6) + 1;
        let Self { priority, host, port, .. } = self;
        let mut out = String::new();
        let _ = write!(out, "candidate:{foundation} 1 udp {priority} {host} {port} typ {kind}");
        if self.kind != CandidateKind::Host {
            let _ = write!(out, " raddr {} rport 0", if v6 { "::" } else { "0.0.0.0" });
        }
        out
    }
}

/// An IP address, or the UUID of an mDNS name.
fn read_host(text: &str) -> Option<CandidateHost> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.into());
    }
    let digits = text.strip_suffix(".local")?;
    let mut groups = digits.split('-');
    let mut uuid = Vec::with_capacity(16);
    for length in [8, 4, 4, 4, 12] {
        let group = groups.next().filter(|group| group.len() == length && group.is_ascii())?;
        for at in (0..length).step_by(2) {
            uuid.push(hex_byte(group.get(at..at.saturating_add(2))?)?);
        }
    }
    let uuid = <[u8; 16]>::try_from(uuid).ok()?;
    groups.next().is_none().then_some(CandidateHost::Mdns(uuid))
}
