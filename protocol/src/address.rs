//! Service addresses: the multiaddr subset.

use alloc::string::String;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::PeerId;

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

/// Why a string is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Placeholder.
    Malformed,
}

impl Address {
    /// Most addresses of one service node.
    pub const ADVERTISED_MAX: usize = 8;
}
