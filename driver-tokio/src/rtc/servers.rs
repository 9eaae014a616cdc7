//! ICE servers as the stack shall use them: resolved, and none that this node should not send packets to.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::lookup_host;
use tokio::time::timeout;
use unamed_protocol::IceServer;

use crate::dial::Dialler;

/// How long names may take to resolve. The stack would not even tell its own addresses before.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The servers that resolve in time, by their addresses. Of those that were handed out, none in a network that nobody
/// meant: a service node shall not make its clients probe their own.
pub(super) async fn usable(servers: &[IceServer], dialler: &Dialler) -> Vec<IceServer> {
    let resolved =
        join_all(servers.iter().map(|server| timeout(RESOLVE_TIMEOUT, resolve(server, dialler)))).await;
    resolved.into_iter().flat_map(|servers| servers.unwrap_or_default()).take(IceServer::MAX).collect()
}

/// One server for each family of addresses.
async fn resolve(server: &IceServer, dialler: &Dialler) -> Vec<IceServer> {
    let Ok(found) = lookup_host((server.host(), server.port())).await else { return Vec::new() };
    let found: Vec<SocketAddr> = found.filter(|found| dialler.allows_ice(server, found.ip())).collect();
    let families = [found.iter().find(|found| found.is_ipv4()), found.iter().find(|found| found.is_ipv6())];
    families.into_iter().flatten().filter_map(|found| server.at(*found).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;

    fn dialler(bootstrap: &[&str], own: &[&str]) -> Dialler {
        let addresses = bootstrap.iter().map(|text| text.parse::<unamed_protocol::Address>().unwrap());
        let configured: BTreeSet<_> = addresses.map(|address| (address.host, address.port)).collect();
        let ice_configured = own.iter().map(|url| IceServer::new(url, None).unwrap()).collect();
        Dialler {
            configured,
            ice_configured,
            frame_bytes_max: 16 * 1024,
            counters: Arc::default(),
            roots: crate::tls::TlsRoots::system(),
        }
    }

    async fn urls(server: &str, dialler: &Dialler) -> Vec<String> {
        let server = IceServer::new(server, None).unwrap();
        usable(&[server], dialler).await.iter().map(|server| server.url().to_owned()).collect()
    }

    #[tokio::test]
    async fn a_server_in_another_class_of_network_is_not_used() {
        let public = dialler(&["/ip4/93.184.216.34/tcp/443/wss"], &[]);
        assert!(urls("stun:127.0.0.1:3001", &public).await.is_empty());
        assert!(urls("stun:10.0.0.1", &public).await.is_empty());
        assert_eq!(urls("stun:93.184.216.34", &public).await, ["stun:93.184.216.34:3478"]);
        assert_eq!(urls("stun:[2606:4700::1]:5", &public).await, ["stun:[2606:4700::1]:5"]);
        let local = dialler(&["/ip4/127.0.0.1/tcp/3001/ws"], &[]);
        assert_eq!(urls("stun:127.0.0.1:3001", &local).await, ["stun:127.0.0.1:3001"]);
        let named = dialler(&[], &["stun:127.0.0.1:3001"]);
        assert_eq!(urls("stun:127.0.0.1:3001", &named).await, ["stun:127.0.0.1:3001"]);
        assert!(urls("stun:127.0.0.1:3002", &named).await.is_empty());
        assert!(urls("stun:no-such-host.invalid", &local).await.is_empty());
    }
}
