//! The dialling side: resolves, connects, upgrades.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use unamed_protocol::{Address, AddressClass, DialError, Host, IceServer, Target};

use crate::connection::{Metered, Socket, websocket_config};
use crate::metrics::Counters;
use crate::stream::Stream;
use crate::tls::TlsRoots;

/// From the dial to the open WebSocket.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Resolved addresses of one name that are tried.
const RESOLVED_MAX: usize = 4;

/// What a dial needs to know of the node.
#[derive(Debug)]
pub(crate) struct Dialler {
    /// Addresses that the operator named: wherever they resolve to is meant.
    pub(crate) configured: BTreeSet<(Host, u16)>,
    /// ICE servers that the operator named.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "only data channels have ICE"))]
    pub(crate) ice_configured: Vec<IceServer>,
    /// See [`websocket_config`].
    pub(crate) frame_bytes_max: usize,
    pub(crate) counters: Arc<Counters>,
    pub(crate) roots: TlsRoots,
}

impl Dialler {
    /// Opens a carrier.
    pub(crate) async fn dial(&self, target: Target) -> Result<Socket, DialError> {
        let Target::WebSocket(address) = target else { return Err(DialError::Unsupported) };
        timeout(DIAL_TIMEOUT, self.open(&address)).await.unwrap_or(Err(DialError::Timeout))
    }

    /// Whether packets may go to an ICE server at this address: one that the operator named, or one that is no nearer than
    /// some address that the operator named.
    #[cfg(feature = "webrtc")]
    pub(crate) fn allows_ice(&self, server: &IceServer, ip: IpAddr) -> bool {
        let class = AddressClass::of_ip(ip);
        let named = |(host, port): &(Host, u16)| {
            Address { host: host.clone(), port: *port, secure: false, peer: None }.class()
        };
        class == AddressClass::Public
            || self.ice_configured.contains(server)
            || self.configured.iter().any(|configured| named(configured) <= class)
    }

    async fn open(&self, address: &Address) -> Result<Socket, DialError> {
        let stream = self.connect(address).await?;
        stream.set_nodelay(true).map_err(|error| of_io(&error))?;
        let stream = self.secured(address, stream).await?;
        let config = Some(websocket_config(self.frame_bytes_max));
        let upgraded = client_async_with_config(address.url(), Metered::new(stream), config).await;
        upgraded.map(|(socket, _)| socket).map_err(|error| of_handshake(&error))
    }

    /// The stream as the address wants it: with TLS around it, or without.
    async fn secured(&self, address: &Address, stream: TcpStream) -> Result<Stream, DialError> {
        if !address.secure {
            return Ok(Stream::Plain(stream));
        }
        self.roots.connect(&address.host, stream).await.map_err(|error| {
            tracing::debug!(%address, %error, "TLS");
            if error.kind() == io::ErrorKind::TimedOut { DialError::Timeout } else { DialError::Tls }
        })
    }

    async fn connect(&self, address: &Address) -> Result<TcpStream, DialError> {
        let mut last = DialError::Unresolved;
        for resolved in self.resolve(address).await? {
            match TcpStream::connect(resolved).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = of_io(&error),
            }
        }
        Err(last)
    }

    /// The socket addresses of an address: one for an IP address, a few for a name.
    ///
    /// The core decides by an address's text whether it may be dialled. A stranger's name that promises a public place
    /// and resolves to loopback or a private network is not dialled.
    async fn resolve(&self, address: &Address) -> Result<Vec<SocketAddr>, DialError> {
        let Some(name) = address.host.name() else {
            return Ok(address.host.ip().map(|ip| (ip, address.port).into()).into_iter().collect());
        };
        let resolved = lookup_host((name, address.port)).await.map_err(|_| DialError::Unresolved)?;
        let trusted = self.configured.contains(&(address.host.clone(), address.port));
        let (usable, forbidden): (Vec<_>, Vec<_>) = resolved
            .filter(|resolved| address.host.takes(resolved.ip()))
            .partition(|resolved| trusted || address.promises(resolved.ip()));
        if !forbidden.is_empty() {
            self.counters.dial_forbidden.add();
        }
        if usable.is_empty() {
            return Err(DialError::Unresolved);
        }
        Ok(usable.into_iter().take(RESOLVED_MAX).collect())
    }
}

fn of_io(error: &io::Error) -> DialError {
    if error.kind() == io::ErrorKind::TimedOut { DialError::Timeout } else { DialError::Refused }
}

/// What a failed opening handshake says of the other side.
fn of_handshake(error: &Error) -> DialError {
    match error {
        // Reset while waiting for an answer: a listener that takes our request for nonsense (TLS) does that too.
        Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => DialError::Timeout,
        Error::Io(_)
        | Error::Http(_)
        | Error::HttpFormat(_)
        | Error::Protocol(_)
        | Error::Capacity(_)
        | Error::Utf8(_)
        | Error::AttackAttempt
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::WriteBufferFull(_) => DialError::NotWebSocket,
        Error::Tls(_) => DialError::Tls,
        Error::Url(_) => DialError::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn dialler() -> Dialler {
        Dialler {
            configured: BTreeSet::new(),
            ice_configured: Vec::new(),
            frame_bytes_max: 16 * 1024,
            counters: Arc::default(),
            roots: TlsRoots::system(),
        }
    }

    fn target(text: &str) -> Target {
        Target::WebSocket(text.parse().unwrap())
    }

    /// What a dial says of a server that sends `answer` and closes.
    async fn answered(answer: &'static [u8]) -> Result<(), DialError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        });
        let outcome = dialler().dial(target(&format!("/ip4/127.0.0.1/tcp/{port}/ws"))).await;
        server.await.unwrap();
        outcome.map(drop)
    }

    #[tokio::test]
    async fn whatever_is_no_websocket_is_named_so() {
        let answers: [&[u8]; 6] = [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x15\x03\x01\0\x02\x02\x16",
        ];
        for answer in answers {
            let outcome = answered(answer).await;
            assert_eq!(outcome, Err(DialError::NotWebSocket), "{}", String::from_utf8_lossy(answer));
        }
    }

    #[tokio::test]
    async fn refused_and_unresolved_targets_are_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let cases = [
            (format!("/ip4/127.0.0.1/tcp/{closed}/ws"), DialError::Refused),
            ("/dns4/no-such-host.invalid/tcp/3001/ws".into(), DialError::Unresolved),
            (format!("/ip4/127.0.0.1/tcp/{closed}/wss"), DialError::Refused),
        ];
        for (address, expected) in cases {
            assert_eq!(dialler().dial(target(&address)).await.map(drop), Err(expected), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_resolves_where_it_promises_or_where_the_operator_means_it() {
        let address: Address = "/dns4/localhost/tcp/3001/ws".parse().unwrap();
        assert_eq!(dialler().resolve(&address).await, Ok(vec![([127, 0, 0, 1], 3001).into()]));
        // The same host under a class that it does not have.
        let allowed = |ip: &str, class: AddressClass| AddressClass::of_ip(ip.parse().unwrap()) >= class;
        assert!(!allowed("127.0.0.1", AddressClass::Public));
        assert!(!allowed("10.0.0.1", AddressClass::Public));
        assert!(!allowed("127.0.0.1", AddressClass::Private));
        assert!(allowed("93.184.216.34", AddressClass::Private));
    }
}
