//! Service addresses: the part of multiaddr that names a WebSocket.
//!
//! An address is `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT/(ws | wss | tls/ws)[/p2p/PEERID]`, at most
//! [`Address::BYTES_MAX`] bytes of text. `tls/ws` and `wss` are the same; `wss` is written. Names are kept in lower case.
//!
//! Departures from multiaddr (<https://multiformats.io/multiaddr/>): no zones in IPv6 addresses, no `sni`, no path, and
//! no name that a URL parser takes for an IPv4 address (`127.1`, `0x7f000001`), which would be dialled as something else
//! than it looks like.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::{FromStr, Split};

use crate::{PeerId, PeerIdError};

/// A dialable service address: `/ip4|ip6|dns|dns4|dns6/…/tcp/PORT/(ws | wss | tls/ws)[/p2p/PEERID]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The TCP port, never 0.
    pub port: u16,
    /// Whether TLS is outside (`wss`).
    pub secure: bool,
    /// The peer expected there.
    pub peer: Option<PeerId>,
}

/// The host of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// `/ip4/…`
    Ip4(Ipv4Addr),
    /// `/ip6/…`
    Ip6(Ipv6Addr),
    /// `/dns/…`: either family.
    Dns(String),
    /// `/dns4/…`
    Dns4(String),
    /// `/dns6/…`
    Dns6(String),
}

/// From where an address can be dialled: strangers' words must not make a node dial into the network it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// The same machine only.
    Loopback,
    /// A local network, or nowhere: everything that the IANA special-purpose registries keep from the public Internet.
    Private,
    /// Anywhere.
    Public,
}

/// Why a string is no address. Each variant names the part at fault and carries its text, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It is longer than [`Address::BYTES_MAX`].
    TooLong,
    /// It does not begin with a slash, or is empty.
    NoLeadingSlash,
    /// The first part is no supported host protocol (`onion3`, `unix`, …).
    HostProtocol(String),
    /// The text after `/ip4` is no IPv4 address.
    Ip4(String),
    /// The text after `/ip6` is no IPv6 address without a zone.
    Ip6(String),
    /// The text after `/dns`, `/dns4` or `/dns6` is no host name: at most 253 bytes in labels of 1 to 63 letters,
    /// digits, `-` and `_`, not all digits in the last label; international names in their `xn--` form.
    Name(String),
    /// Something else stands where `/tcp` belongs (`udp`, …).
    NotTcp(String),
    /// `/tcp/PORT` is missing.
    MissingTcp,
    /// The port is not 1 to 65535 in plain decimal.
    Port(String),
    /// The end was reached where `/ws`, `/wss` or `/tls/ws` belongs.
    MissingTransport,
    /// Something else stands where `/ws`, `/wss` or `/tls/ws` belongs.
    Transport(String),
    /// `/p2p` is not followed by a peer id, or by a bad one.
    Peer(PeerIdError),
    /// Something follows a complete address.
    Trailing(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the address has more than {} bytes", Address::BYTES_MAX),
            Self::NoLeadingSlash => {
                f.write_str("an address begins with a slash, as in /ip4/127.0.0.1/tcp/3001/ws")
            }
            Self::HostProtocol(text) => {
                write!(f, "host: {text:?} is not supported; ip4, ip6, dns, dns4 and dns6 are")
            }
            Self::Ip4(text) => write!(f, "host: {text:?} is no IPv4 address"),
            Self::Ip6(text) => write!(f, "host: {text:?} is no IPv6 address"),
            Self::Name(text) => write!(f, "host: {text:?} is no DNS name"),
            Self::NotTcp(text) => write!(f, "{text:?} stands where /tcp/PORT belongs"),
            Self::MissingTcp => f.write_str("/tcp/PORT is missing"),
            Self::Port(text) => write!(f, "port: {text:?} is not a number from 1 to 65535"),
            Self::MissingTransport => f.write_str("transport: /ws, /wss or /tls/ws is missing"),
            Self::Transport(text) => {
                write!(f, "transport: {text:?} stands where /ws, /wss or /tls/ws belongs")
            }
            Self::Peer(error) => write!(f, "/p2p: {error}"),
            Self::Trailing(text) => write!(f, "{text:?} follows a complete address"),
        }
    }
}

impl core::error::Error for AddressError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        if let Self::Peer(error) = self { Some(error) } else { None }
    }
}

impl Address {
    /// Most addresses of one service node.
    pub const ADVERTISED_MAX: usize = 8;

    /// Longest text read, bytes. The longest written, with a name of 253 bytes and a peer id, has 330.
    pub const BYTES_MAX: usize = 512;

    /// The same address, where `peer` is expected.
    #[must_use]
    pub fn with_peer(self, peer: PeerId) -> Self {
        Self { peer: Some(peer), ..self }
    }

    /// From where the address can be dialled, as far as its text tells.
    ///
    /// A name can resolve to anything: whoever resolves it asks [`promises`](Self::promises).
    #[must_use]
    pub fn class(&self) -> AddressClass {
        match &self.host {
            Host::Ip4(ip) => AddressClass::of_ip(IpAddr::V4(*ip)),
            Host::Ip6(ip) => AddressClass::of_ip(IpAddr::V6(*ip)),
            Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name) => AddressClass::of_name(name),
        }
    }

    /// Whether the text may lead to `ip`, which its name resolved to: a stranger's name that promises a public place must not
    /// lead to this machine or its network.
    #[must_use]
    pub fn promises(&self, ip: IpAddr) -> bool {
        AddressClass::of_ip(ip) >= self.class()
    }

    /// The network that a public address is in, as a number that is equal for equal networks: the /24 of an IPv4 address, the
    /// /48 of an IPv6 address, of a name its last two labels. `None` for loopback and private addresses.
    ///
    /// Whoever has one address of a network can often have many.
    #[must_use]
    pub fn network_group(&self) -> Option<u64> {
        match &self.host {
            _ if self.class() != AddressClass::Public => None,
            Host::Ip4(ip) => Some(Self::group_of_ip(IpAddr::V4(*ip))),
            Host::Ip6(ip) => Some(Self::group_of_ip(IpAddr::V6(*ip))),
            Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name) => {
                let from = name.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at.saturating_add(1));
                let hash = crate::crypto::sha256(&[name.get(from..).unwrap_or_default().as_bytes()]);
                hash.first_chunk().map(|first| u64::from_be_bytes(*first))
            }
        }
    }

    /// Whether both lead to one socket, whoever is expected there.
    pub(crate) fn is_same_endpoint(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

    /// As [`network_group`](Self::network_group), of any IP address.
    pub(crate) fn group_of_ip(ip: IpAddr) -> u64 {
        match ip.to_canonical() {
            IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
            IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 80).unwrap_or(u64::MAX) | 1 << 48,
        }
    }

    /// The URL to dial: `ws://host:port/`, or `wss`; IPv6 addresses in brackets.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        let port = self.port;
        match &self.host {
            Host::Ip4(ip) => format!("{scheme}://{ip}:{port}/"),
            Host::Ip6(ip) => format!("{scheme}://[{ip}]:{port}/"),
            Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name) => format!("{scheme}://{name}:{port}/"),
        }
    }
}

impl Host {
    /// The IP address, if the host is one; else there is a [`name`](Self::name) to resolve.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip4(ip) => Some(IpAddr::V4(*ip)),
            Self::Ip6(ip) => Some(IpAddr::V6(*ip)),
            Self::Dns(_) | Self::Dns4(_) | Self::Dns6(_) => None,
        }
    }

    /// The name to resolve, if the host is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Ip4(_) | Self::Ip6(_) => None,
            Self::Dns(name) | Self::Dns4(name) | Self::Dns6(name) => Some(name),
        }
    }

    /// Whether an IP address is of the family that the host is of, or asks for.
    #[must_use]
    pub const fn takes(&self, ip: IpAddr) -> bool {
        match self {
            Self::Ip4(_) | Self::Dns4(_) => ip.is_ipv4(),
            Self::Ip6(_) | Self::Dns6(_) => ip.is_ipv6(),
            Self::Dns(_) => true,
        }
    }

    /// Whether `text` is this host's address or name.
    #[must_use]
    pub fn is_named(&self, text: &str) -> bool {
        match self {
            Self::Ip4(ip) => text.parse() == Ok(*ip),
            Self::Ip6(ip) => text.parse() == Ok(*ip),
            Self::Dns(name) | Self::Dns4(name) | Self::Dns6(name) => name.eq_ignore_ascii_case(text),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip4(ip) => write!(f, "/ip4/{ip}"),
            Self::Ip6(ip) => write!(f, "/ip6/{ip}"),
            Self::Dns(name) => write!(f, "/dns/{name}"),
            Self::Dns4(name) => write!(f, "/dns4/{name}"),
            Self::Dns6(name) => write!(f, "/dns6/{name}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.secure { "wss" } else { "ws" };
        write!(f, "{}/tcp/{}/{transport}", self.host, self.port)?;
        match &self.peer {
            Some(peer) => write!(f, "/p2p/{peer}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > Self::BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let mut parts = text.strip_prefix('/').ok_or(AddressError::NoLeadingSlash)?.split('/');
        let host = parse_host(&mut parts)?;
        match parts.next() {
            Some("tcp") => {}
            Some(other) => return Err(AddressError::NotTcp(other.to_owned())),
            None => return Err(AddressError::MissingTcp),
        }
        let port = parse_port(parts.next().ok_or(AddressError::MissingTcp)?)?;
        let secure = parse_transport(&mut parts)?;
        let peer = match parts.next() {
            None => None,
            Some("p2p") => {
                Some(parts.next().unwrap_or_default().parse::<PeerId>().map_err(AddressError::Peer)?)
            }
            Some(other) => return Err(AddressError::Trailing(other.to_owned())),
        };
        match parts.next() {
            None => Ok(Self { host, port, secure, peer }),
            Some(other) => Err(AddressError::Trailing(other.to_owned())),
        }
    }
}

fn parse_host(parts: &mut Split<'_, char>) -> Result<Host, AddressError> {
    let protocol = parts.next().unwrap_or_default();
    let mut value = || parts.next().unwrap_or_default();
    match protocol {
        "ip4" => {
            let text = value();
            text.parse().map(Host::Ip4).map_err(|_| AddressError::Ip4(text.to_owned()))
        }
        "ip6" => {
            let text = value();
            text.parse().map(Host::Ip6).map_err(|_| AddressError::Ip6(text.to_owned()))
        }
        "dns" => parse_name(value()).map(Host::Dns),
        "dns4" => parse_name(value()).map(Host::Dns4),
        "dns6" => parse_name(value()).map(Host::Dns6),
        other => Err(AddressError::HostProtocol(other.to_owned())),
    }
}

/// A host name in lower case (RFC 1123, section 2.1, and the underscore that is met in practice).
fn parse_name(text: &str) -> Result<String, AddressError> {
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The URL standard takes a host whose last label is a number, also a hexadecimal one, for an IPv4 address.
    let last = text.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .or_else(|| last.strip_prefix("0X"))
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if text.len() <= 253 && text.split('.').all(label_ok) && !number {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(AddressError::Name(text.to_owned()))
    }
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain).ok_or_else(|| AddressError::Port(text.to_owned()))
}

fn parse_transport(parts: &mut Split<'_, char>) -> Result<bool, AddressError> {
    match parts.next() {
        Some("ws") => Ok(false),
        Some("wss") => Ok(true),
        Some("tls") => match parts.next() {
            Some("ws") => Ok(true),
            Some(other) => Err(AddressError::Transport(format!("tls/{other}"))),
            None => Err(AddressError::MissingTransport),
        },
        Some(other) => Err(AddressError::Transport(other.to_owned())),
        None => Err(AddressError::MissingTransport),
    }
}

impl AddressClass {
    /// The class of an IP address, by the IANA special-purpose registries (RFC 6890 and its successors).
    ///
    /// The unspecified address counts as loopback, since connecting to it reaches the own machine. Multicast, broadcast,
    /// documentation and reserved addresses count as private: no stranger's word may lead there. An IPv6 address that
    /// stands for an IPv4 one (v4-mapped, v4-compatible, 6to4, NAT64) has that one's class.
    #[must_use]
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_ip4(ip),
            IpAddr::V6(ip) => Self::of_ip6(ip),
        }
    }

    fn of_ip4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [127, ..] | [0, 0, 0, 0] => Self::Loopback,
            [0 | 10 | 224..=255, ..] // this network; RFC 1918; multicast, reserved, broadcast
            | [100, 64..=127, ..] // carrier-grade NAT, RFC 6598
            | [169, 254, ..] // link-local
            | [172, 16..=31, ..] // RFC 1918
            | [192, 0, 0 | 2, _] // protocol assignments; documentation
            | [192, 168, ..] // RFC 1918
            | [198, 18 | 19, ..] // benchmarking
            | [198, 51, 100, _] // documentation
            | [203, 0, 113, _] => Self::Private, // documentation
            _ => Self::Public,
        }
    }

    fn of_ip6(ip: Ipv6Addr) -> Self {
        let embedded = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_ip4(Ipv4Addr::new(a, b, c, d))
        };
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Self::Loopback,
            // v4-mapped, v4-compatible, NAT64 (RFC 6052), 6to4 (RFC 3056)
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => embedded(high, low),
            // protocol assignments (Teredo among them) and documentation
            [0x2001, 0x0000..=0x01ff | 0x0db8, ..] | [0x3fff, 0x0000..=0x0fff, ..] => Self::Private,
            // global unicast
            [0x2000..=0x3fff, ..] => Self::Public,
            // unique local, link-local, multicast, and all that is not assigned
            _ => Self::Private,
        }
    }

    /// The class of a name by what it promises: the special-use names (RFC 6761, 6762, 8375) and names without a dot.
    fn of_name(name: &str) -> Self {
        let under = |domain: &str| {
            name.strip_suffix(domain).is_some_and(|host| host.is_empty() || host.ends_with('.'))
        };
        if under("localhost") {
            Self::Loopback
        } else if !name.contains('.') || ["local", "internal", "home.arpa"].into_iter().any(under) {
            Self::Private
        } else {
            Self::Public
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

    fn parse(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn each_form_is_read_written_and_turned_into_a_url() {
        let cases = [
            ("/ip4/127.0.0.1/tcp/3001/ws", "", "ws://127.0.0.1:3001/"),
            ("/ip6/::1/tcp/1/wss", "", "wss://[::1]:1/"),
            ("/ip6/0:0::1/tcp/1/ws", "/ip6/::1/tcp/1/ws", "ws://[::1]:1/"),
            (
                "/dns/Example.ORG/tcp/65535/tls/ws",
                "/dns/example.org/tcp/65535/wss",
                "wss://example.org:65535/",
            ),
            ("/dns4/a_b.xn--p1ai/tcp/80/ws", "", "ws://a_b.xn--p1ai:80/"),
            ("/dns6/localhost/tcp/443/wss", "", "wss://localhost:443/"),
        ];
        for (text, written, url) in cases {
            let written = if written.is_empty() { text } else { written };
            let address = parse(text);
            assert_eq!((address.to_string().as_str(), address.url().as_str()), (written, url), "{text}");
            let with_peer = parse(&format!("{text}/p2p/{PEER}"));
            assert_eq!(with_peer, address.with_peer(PEER.parse().unwrap()), "{text}");
            assert_eq!(with_peer.to_string(), format!("{written}/p2p/{PEER}"));
            assert_eq!(with_peer.url(), url);
        }
        assert_eq!(
            parse("/dns6/x.example/tcp/9/tls/ws"),
            Address { host: Host::Dns6("x.example".to_owned()), port: 9, secure: true, peer: None }
        );
    }

    #[test]
    fn b92_the_part_at_fault_is_named() {
        use AddressError as E;
        let s = str::to_owned;
        let long_label = format!("{}.org", "a".repeat(64));
        let long_name = "a.".repeat(126) + "org"; // 255 bytes
        let fits = "a.".repeat(125) + "org"; // 253 bytes
        assert!(format!("/dns/{fits}/tcp/1/wss/p2p/{PEER}").parse::<Address>().is_ok());
        let cases = [
            (s(""), E::NoLeadingSlash),
            (s("ws://127.0.0.1:3001"), E::NoLeadingSlash),
            (s("127.0.0.1:3001"), E::NoLeadingSlash),
            (s("/"), E::HostProtocol(s(""))),
            (s("//ip4/1.2.3.4/tcp/1/ws"), E::HostProtocol(s(""))),
            (s("/onion3/abc:80/tcp/1/ws"), E::HostProtocol(s("onion3"))),
            (s("/unix/var/run/x.sock"), E::HostProtocol(s("unix"))),
            (s("/dnsaddr/example.org"), E::HostProtocol(s("dnsaddr"))),
            (s("/IP4/1.2.3.4/tcp/1/ws"), E::HostProtocol(s("IP4"))),
            (s("/ip4"), E::Ip4(s(""))),
            (s("/ip4/1.2.3.256/tcp/1/ws"), E::Ip4(s("1.2.3.256"))),
            (s("/ip4/01.2.3.4/tcp/1/ws"), E::Ip4(s("01.2.3.4"))),
            (s("/ip4/127.1/tcp/1/ws"), E::Ip4(s("127.1"))),
            (s("/ip6/127.0.0.1/tcp/1/ws"), E::Ip6(s("127.0.0.1"))),
            (s("/ip6/fe80::1%eth0/tcp/1/ws"), E::Ip6(s("fe80::1%eth0"))),
            (s("/dns/"), E::Name(s(""))),
            (s("/dns/a..b/tcp/1/ws"), E::Name(s("a..b"))),
            (s("/dns/a.org./tcp/1/ws"), E::Name(s("a.org."))),
            (s("/dns/-a.org/tcp/1/ws"), E::Name(s("-a.org"))),
            (s("/dns/a-.org/tcp/1/ws"), E::Name(s("a-.org"))),
            (s("/dns/user@host/tcp/1/ws"), E::Name(s("user@host"))),
            (s("/dns/a b/tcp/1/ws"), E::Name(s("a b"))),
            (s("/dns/a\0b/tcp/1/ws"), E::Name(s("a\0b"))),
            (s("/dns/münchen.de/tcp/1/ws"), E::Name(s("münchen.de"))),
            (s("/dns/127.0.0.1/tcp/1/ws"), E::Name(s("127.0.0.1"))),
            (s("/dns4/127.1/tcp/1/ws"), E::Name(s("127.1"))),
            (s("/dns4/0x7f000001/tcp/1/ws"), E::Name(s("0x7f000001"))),
            (s("/dns4/a.0X/tcp/1/ws"), E::Name(s("a.0X"))),
            (format!("/dns/{long_label}/tcp/1/ws"), E::Name(long_label.clone())),
            (format!("/dns/{long_name}/tcp/1/ws"), E::Name(long_name.clone())),
            (s("/ip4/1.2.3.4"), E::MissingTcp),
            (s("/ip4/1.2.3.4/tcp"), E::MissingTcp),
            (s("/ip4/1.2.3.4/udp/1/ws"), E::NotTcp(s("udp"))),
            (s("/ip4/1.2.3.4/tcp/0/ws"), E::Port(s("0"))),
            (s("/ip4/1.2.3.4/tcp//ws"), E::Port(s(""))),
            (s("/ip4/1.2.3.4/tcp/080/ws"), E::Port(s("080"))),
            (s("/ip4/1.2.3.4/tcp/+80/ws"), E::Port(s("+80"))),
            (s("/ip4/1.2.3.4/tcp/-1/ws"), E::Port(s("-1"))),
            (s("/ip4/1.2.3.4/tcp/65536/ws"), E::Port(s("65536"))),
            (s("/ip4/1.2.3.4/tcp/1"), E::MissingTransport),
            (s("/ip4/1.2.3.4/tcp/1/tls"), E::MissingTransport),
            (s("/ip4/1.2.3.4/tcp/1/p2p/x"), E::Transport(s("p2p"))),
            (s("/ip4/1.2.3.4/tcp/1/http"), E::Transport(s("http"))),
            (s("/ip4/1.2.3.4/tcp/1/tls/sni"), E::Transport(s("tls/sni"))),
            (s("/ip4/1.2.3.4/tcp/1/ws/"), E::Trailing(s(""))),
            (s("/ip4/1.2.3.4/tcp/1/ws/p2p"), E::Peer(PeerIdError::Empty)),
            (s("/ip4/1.2.3.4/tcp/1/ws/p2p/"), E::Peer(PeerIdError::Empty)),
            (s("/ip4/1.2.3.4/tcp/1/ws/p2p/12D3KooW"), E::Peer(PeerIdError::Malformed)),
            (s("/ip4/1.2.3.4/tcp/1/ws/p2p/12D3KooW0"), E::Peer(PeerIdError::Encoding)),
            (format!("/ip4/1.2.3.4/tcp/1/ws/p2p/{PEER}/p2p-circuit"), E::Trailing(s("p2p-circuit"))),
            (format!("/ip4/1.2.3.4/tcp/1/ws/p2p/{PEER}/"), E::Trailing(s(""))),
            (format!("/dns/{}", "a".repeat(508)), E::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Address>(), Err(error.clone()), "{text}");
            assert!(!error.to_string().is_empty());
        }
        let shown = E::HostProtocol(s("oni\u{1b}on")).to_string();
        assert!(shown.contains("oni\\u{1b}on"), "{shown}");
    }

    #[test]
    fn public_addresses_are_grouped_by_their_networks() {
        let group = |host: &str| format!("/{host}/tcp/1/ws").parse::<Address>().unwrap().network_group();
        for [a, b] in [
            ["ip4/8.8.8.1", "ip4/8.8.8.255"],
            ["ip6/2600:1:2:3::1", "ip6/2600:1:2:ffff::9"],
            ["dns4/a.example.org", "dns/b.c.example.org"],
        ] {
            assert!(group(a).is_some() && group(a) == group(b), "{a} {b}");
        }
        for [a, b] in [
            ["ip4/8.8.8.1", "ip4/8.8.9.1"],
            ["ip6/2600:1:2::1", "ip6/2600:1:3::1"],
            ["dns/a.example.org", "dns/a.example.com"],
        ] {
            assert_ne!(group(a), group(b), "{a} {b}");
        }
        for none in ["ip4/127.0.0.1", "ip4/10.0.0.1", "ip6/::1", "dns/localhost", "dns/printer"] {
            assert_eq!(group(none), None, "{none}");
        }
    }

    #[test]
    fn a_name_leads_to_its_family_and_to_no_nearer_place_than_it_promises() {
        let [four, six]: [IpAddr; 2] = ["9.9.9.9", "2620:fe::fe"].map(|ip| ip.parse().unwrap());
        let [own, near]: [IpAddr; 2] = ["127.0.0.1", "192.168.0.1"].map(|ip| ip.parse().unwrap());
        for (text, takes) in [("dns", [true, true]), ("dns4", [true, false]), ("dns6", [false, true])] {
            let address = parse(&format!("/{text}/example.org/tcp/1/ws"));
            assert_eq!((address.host.name(), address.host.ip()), (Some("example.org"), None));
            assert_eq!([four, six].map(|ip| address.host.takes(ip)), takes, "{text}");
            assert_eq!([four, six, own, near].map(|ip| address.promises(ip)), [true, true, false, false]);
        }
        let address = parse("/ip4/192.168.0.1/tcp/1/ws");
        assert_eq!((address.host.name(), address.host.ip()), (None, Some(near)));
        assert_eq!([near, own, six].map(|ip| address.promises(ip)), [true, false, true]);
        assert_eq!([near, six].map(|ip| address.host.takes(ip)), [true, false]);
        // A name for this machine promises nothing else.
        assert!(parse("/dns/localhost/tcp/1/ws").promises(own));
    }

    #[test]
    fn classes() {
        use AddressClass::{Loopback, Private, Public};
        let ips = [
            (
                Loopback,
                "127.0.0.1 127.255.255.255 0.0.0.0 ::1 :: ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1",
            ),
            (
                Private,
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.0.1 100.64.0.1 100.127.255.255",
            ),
            (
                Private,
                "0.1.2.3 224.0.0.1 240.0.0.1 255.255.255.255 192.0.2.1 198.51.100.1 203.0.113.9 198.18.0.1",
            ),
            (
                Private,
                "fe80::1 fc00::1 fdff::1 ff02::1 2001:db8::1 fec0::1 100::1 ::ffff:10.0.0.1 2002:a00:1::",
            ),
            (Private, "2001::1 3fff::1 4000::1 64:ff9b:1::1"),
            (
                Public,
                "1.1.1.1 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.0.1.1 198.17.0.1 223.255.255.255",
            ),
            (
                Public,
                "2606:4700::1111 2a00::1 2001:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::",
            ),
        ];
        for (class, list) in ips {
            for ip in list.split(' ') {
                let ip: IpAddr = ip.parse().unwrap();
                assert_eq!(AddressClass::of_ip(ip), class, "{ip}");
                let family = if ip.is_ipv4() { "ip4" } else { "ip6" };
                assert_eq!(parse(&format!("/{family}/{ip}/tcp/1/ws")).class(), class, "{ip}");
            }
        }
        let names = [
            (Loopback, "localhost LOCALHOST a.localhost"),
            (Private, "router nas.local x.home.arpa db.internal"),
            (Public, "example.org notlocalhost.org local.example.org mylocal.de a.xlocal"),
        ];
        for (class, list) in names {
            for name in list.split(' ') {
                for protocol in ["dns", "dns4", "dns6"] {
                    assert_eq!(parse(&format!("/{protocol}/{name}/tcp/1/wss")).class(), class, "{name}");
                }
            }
        }
    }

    fn hosts() -> impl Strategy<Value = Host> {
        let name = "[a-z0-9_]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{1,10}){0,3}\\.[a-z]{2,6}";
        prop_oneof![
            any::<u32>().prop_map(|bits| Host::Ip4(Ipv4Addr::from(bits))),
            any::<u128>().prop_map(|bits| Host::Ip6(Ipv6Addr::from(bits))),
            name.prop_map(Host::Dns),
            name.prop_map(Host::Dns4),
            name.prop_map(Host::Dns6),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            host in hosts(),
            port in 1_u16..,
            secure: bool,
            peer in proptest::option::of(any::<[u8; 32]>()),
        ) {
            let address = Address { host, port, secure, peer: peer.map(PeerId) };
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn any_text_is_refused_or_has_one_canonical_form(
            parts in proptest::collection::vec(
                prop_oneof!["[a-z0-9.:]{0,6}", "(ip4|ip6|dns|tcp|ws|wss|tls|p2p|1\\.2\\.3\\.4|::1|80)"], 0..8
            ),
        ) {
            let text = parts.iter().map(|part| format!("/{part}")).collect::<Vec<_>>().concat();
            if let Ok(address) = text.parse::<Address>() {
                let written = address.to_string();
                prop_assert_eq!(written.parse::<Address>(), Ok(address));
            }
        }
    }
}
