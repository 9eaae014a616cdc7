//! Which local address packets to the Internet leave from.

use std::net::{IpAddr, UdpSocket};

/// That of the IPv4 route, if there is one.
pub(crate) fn outbound_v4() -> Option<IpAddr> {
    outbound("0.0.0.0:0", "192.0.2.1:9")
}

/// That of the IPv6 route, if there is one.
pub(crate) fn outbound_v6() -> Option<IpAddr> {
    outbound("[::]:0", "[2001:db8::1]:9")
}

/// The local address of the route to `remote`. Connecting a UDP socket sends nothing.
fn outbound(local: &str, remote: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(local).ok()?;
    socket.connect(remote).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}
