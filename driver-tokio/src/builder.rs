//! How a node is described and started.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use unamed_protocol::crypto::RealCrypto;
use unamed_protocol::{
    Address, Config, Host, IceServer, Identity, NetworkId, Node, NodeKind, PeerId, Snapshot, Start,
};

use crate::connection;
use crate::dial::Dialler;
use crate::driver::{Clock, Driver, Parts, network_mailbox, unix_ms};
use crate::key_file::{IdentityFileError, new_identity, read_or_create_identity};
use crate::metrics::Counters;
use crate::network::{Network, Shared};
use crate::route;
use crate::server::{Server, ServerLimits, Slots};
use crate::state::StateDir;
use crate::stun::{self, Stun, StunServer};
use crate::tls::{TlsCertificate, TlsError, TlsRoots};
use crate::upgrade::Policy;

/// The identity file in a state directory.
const IDENTITY_FILE: &str = "identity.key";

/// Describes a node. A node that listens is a service node, any other a client.
#[derive(Default)]
#[must_use]
pub struct NetworkBuilder {
    network: NetworkId,
    identity: Option<Identity>,
    state_dir: Option<PathBuf>,
    listen: Vec<SocketAddr>,
    addresses: Vec<Address>,
    bootstrap: Vec<Address>,
    allow_origins: Vec<String>,
    proxies: Vec<IpNet>,
    tls: Option<TlsCertificate>,
    tls_roots: Option<PathBuf>,
    limits: ServerLimits,
    webrtc: Option<bool>,
    ice_servers: Vec<IceServer>,
    ice_third_parties: bool,
    stun: Stun,
    configure: Option<Configure>,
}

type Configure = Box<dyn FnOnce(&mut Config) + Send>;

impl fmt::Debug for NetworkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkBuilder")
            .field("network", &self.network)
            .field("listen", &self.listen)
            .field("addresses", &self.addresses)
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

/// Why a node did not start.
#[derive(Debug)]
pub enum StartError {
    /// The state directory cannot be used.
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The identity file in the state directory is bad.
    Identity(IdentityFileError),
    /// An address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// STUN cannot be served beside a listener.
    Stun {
        /// The listener's address.
        listener: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The file of root certificates cannot be used.
    TlsRoots(TlsError),
    /// The certificate cannot be used.
    Tls(TlsError),
    /// The listening address would be announced, and the certificate does not name it: nobody could dial it.
    NotCertified(Address),
    /// More ICE servers than [`IceServer::MAX`].
    TooManyIceServers,
    /// More addresses than [`Address::ADVERTISED_MAX`].
    TooManyAddresses,
    /// A client has addresses: it does not listen, so nobody could dial it.
    AddressWithoutListener(Address),
    /// An address names another peer.
    ForeignAddress(Address),
    /// The operating system gives no randomness.
    Randomness(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateDir { path, source } => write!(f, "state directory {}: {source}", path.display()),
            Self::Identity(error) => error.fmt(f),
            Self::Listen { address, source } => write!(f, "listening on {address}: {source}"),
            Self::Stun { listener, source } => write!(f, "STUN beside {listener}: {source}"),
            Self::TooManyIceServers => write!(f, "a node has at most {} ICE servers", IceServer::MAX),
            Self::TlsRoots(error) | Self::Tls(error) => error.fmt(f),
            Self::NotCertified(address) => write!(
                f,
                "the certificate does not name the host of {address}, so nobody could dial it; give the address with the \
                 name that the certificate has"
            ),
            Self::TooManyAddresses => {
                write!(f, "a node has at most {} addresses", Address::ADVERTISED_MAX)
            }
            Self::AddressWithoutListener(address) => {
                write!(f, "address {address}: this node does not listen")
            }
            Self::ForeignAddress(address) => {
                write!(f, "address {address}: names another peer than this node")
            }
            Self::Randomness(source) => write!(f, "no randomness from the operating system: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::StateDir { source, .. }
            | Self::Listen { source, .. }
            | Self::Stun { source, .. }
            | Self::Randomness(source) => Some(source),
            Self::Identity(error) => Some(error),
            Self::TlsRoots(error) | Self::Tls(error) => Some(error),
            Self::NotCertified(_) => None,
            Self::TooManyIceServers
            | Self::TooManyAddresses
            | Self::AddressWithoutListener(_)
            | Self::ForeignAddress(_) => None,
        }
    }
}

impl NetworkBuilder {
    /// The network to belong to; `unamed` by default.
    pub fn network(mut self, network: NetworkId) -> Self {
        self.network = network;
        self
    }

    /// The node's key. By default it is `identity.key` in the state directory, made where it is missing, and without a
    /// state directory a fresh one. See [`read_or_create_identity`](crate::read_or_create_identity).
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Where known addresses and counters survive a restart; nowhere by default. One process at a time may use it.
    pub fn state_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.state_dir = Some(path.as_ref().to_owned());
        self
    }

    /// Listens on an address, which makes this a service node. Port 0 takes a free one. May be called repeatedly.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.push(address);
        self
    }

    /// Announces an address at which others can dial this node, where it differs from what it listens on (behind a proxy
    /// or address translation). May be called repeatedly. Without it the listening addresses are announced.
    pub fn address(mut self, address: Address) -> Self {
        self.addresses.push(address);
        self
    }

    /// Adds a service node to start from. May be called repeatedly.
    pub fn bootstrap(mut self, address: Address) -> Self {
        self.bootstrap.push(address);
        self
    }

    /// Lets pages of an origin (`https://example.org`) use a listener on a loopback or private address; `*` lets all.
    /// Pages of a loopback origin always may. A public listener takes every origin.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.allow_origins.push(origin.into());
        self
    }

    /// Trusts proxies at these addresses to say, by `X-Forwarded-For` or `Forwarded` (RFC 7239), whom they speak for: bounds
    /// and rates by address then see the client. What they pass on from a public address is taken as on a public listener.
    /// May be called repeatedly.
    pub fn trusted_proxy(mut self, network: IpNet) -> Self {
        self.proxies.push(network);
        self
    }

    /// Speaks TLS on all listeners, which are then dialled as `wss`. The certificate is read again when its files change.
    /// Without [`address`](Self::address), it must name the listening addresses.
    pub fn tls(mut self, certificate: TlsCertificate) -> Self {
        self.tls = Some(certificate);
        self
    }

    /// The root certificates, in a PEM file, by which `wss` addresses are checked; those that the system trusts by default.
    pub fn tls_roots(mut self, path: impl AsRef<Path>) -> Self {
        self.tls_roots = Some(path.as_ref().to_owned());
        self
    }

    /// Bounds of the listening side.
    pub fn server_limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether a client links directly to other clients, by WebRTC; it does where the crate's feature `webrtc` is on.
    /// Without, pairs of clients are relayed.
    pub fn webrtc(mut self, enabled: bool) -> Self {
        self.webrtc = Some(enabled);
        self
    }

    /// Adds a STUN or TURN server: a service node hands it to its clients, a client uses it beside those of its homes. May
    /// be called repeatedly, up to [`IceServer::MAX`]. This driver uses TURN over UDP only; browsers use all there is.
    pub fn ice_server(mut self, server: IceServer) -> Self {
        self.ice_servers.push(server);
        self
    }

    /// Lets a client use ICE servers of third parties, and TURN, that its homes hand out; by default it uses their own STUN
    /// only. A third party then learns the client's address, or carries its traffic.
    pub fn ice_third_parties(mut self, allowed: bool) -> Self {
        self.ice_third_parties = allowed;
        self
    }

    /// Where a service node answers STUN; on the port number of each listener by default. It hands itself out as ICE
    /// server, after those of [`ice_server`](Self::ice_server), as far as there is room.
    pub fn stun(mut self, stun: Stun) -> Self {
        self.stun = stun;
        self
    }

    /// Changes the core's configuration. Network and kind are set already.
    pub fn configure(mut self, change: impl FnOnce(&mut Config) + Send + 'static) -> Self {
        self.configure = Some(Box::new(change));
        self
    }

    /// Starts the node. It runs as a task of the tokio runtime that this is called in, which must have time and I/O
    /// enabled.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(mut self) -> Result<Network, StartError> {
        let mut config = self.config();
        let Loaded { identity, state_dir, saved } = load(self.identity, self.state_dir).await?;
        let peer_id = identity.peer_id(&RealCrypto);
        let roots = open_roots(self.tls_roots).await?;
        let tls =
            self.tls.as_ref().map(TlsCertificate::server_config).transpose().map_err(StartError::Tls)?;
        let (bound, stun_sockets) = bind_all(self.listen, self.stun).await?;
        let listening: Vec<SocketAddr> = bound.iter().map(|(_, local)| *local).collect();
        let addresses = announced(self.addresses, &listening, self.tls.as_ref(), peer_id)?;
        hand_out(&mut config.webrtc.ice_servers, &stun_sockets, &addresses)?;
        let frame_bytes_max = config.link.frame_bytes_max;
        let ice_configured = config.webrtc.ice_servers.clone();
        let network = config.network.clone();
        debug_assert_eq!(config.kind == NodeKind::Service, !listening.is_empty());

        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| StartError::Randomness(io::Error::other(error)))?;
        let clock = Clock::start();
        let start = Start {
            config,
            identity,
            crypto: Arc::new(RealCrypto),
            seed,
            unix_ms: unix_ms(),
            addresses: addresses.clone(),
            saved,
        };
        let mut node = Node::new(start, clock.now());
        let boot = node.boot();
        for address in &self.bootstrap {
            node.bootstrap(address.clone(), clock.now());
        }

        let counters = Arc::new(Counters::default());
        let (inbox, receiver) = mpsc::unbounded_channel();
        let shared = connection::Shared {
            inbox: inbox.clone(),
            counters: Arc::clone(&counters),
            unread_bytes: Arc::default(),
        };
        let slots = Slots::new(self.limits);
        let mut listeners = Vec::new();
        for (listener, local) in bound {
            let server = Server {
                slots: Arc::clone(&slots),
                policy: Arc::new(Policy::new(local.ip(), &addresses, &self.allow_origins, &self.proxies)),
                shared: shared.clone(),
                frame_bytes_max,
                tls: tls.clone(),
            };
            listeners.push(tokio::spawn(server.run(listener)).abort_handle());
        }
        listeners.extend(self.tls.map(|certificate| tokio::spawn(certificate.watch()).abort_handle()));
        let stun = |socket| tokio::spawn(StunServer::new(socket, Arc::clone(&counters)).run()).abort_handle();
        listeners.extend(stun_sockets.into_iter().map(stun));
        let configured = self.bootstrap.into_iter().map(|address| (address.host, address.port)).collect();
        let dialler =
            Dialler { configured, ice_configured, frame_bytes_max, counters: Arc::clone(&counters), roots };
        let (subscriber, events) = network_mailbox();
        let driver = Driver::new(Parts {
            node,
            clock,
            inbox: receiver,
            shared,
            dialler,
            listeners,
            state_dir,
            subscriber,
        });
        tokio::spawn(driver.run());
        let first_events = Mutex::new(Some(events));
        Ok(Network::new(Shared { inbox, counters, network, peer_id, addresses, boot, clock, first_events }))
    }

    /// The core's configuration.
    fn config(&mut self) -> Config {
        let mut config = match self.listen.as_slice() {
            [] => Config::client(self.network.clone()),
            _ => Config::service(self.network.clone()),
        };
        config.webrtc.enabled = self.webrtc.unwrap_or(cfg!(feature = "webrtc"));
        config.webrtc.ice_servers = std::mem::take(&mut self.ice_servers);
        config.webrtc.third_parties = self.ice_third_parties;
        if let Some(configure) = self.configure.take() {
            configure(&mut config);
        }
        config
    }
}

struct Loaded {
    identity: Identity,
    state_dir: Option<StateDir>,
    saved: Option<Snapshot>,
}

async fn load(identity: Option<Identity>, path: Option<PathBuf>) -> Result<Loaded, StartError> {
    let Some(path) = path else {
        let identity = identity.map_or_else(new_identity, Ok).map_err(StartError::Randomness)?;
        return Ok(Loaded { identity, state_dir: None, saved: None });
    };
    let reported = path.clone();
    let load = move || {
        let dir =
            StateDir::open(&path).map_err(|source| StartError::StateDir { path: path.clone(), source })?;
        let identity = match identity {
            Some(identity) => identity,
            None => read_or_create_identity(&path.join(IDENTITY_FILE)).map_err(StartError::Identity)?.0,
        };
        Ok(Loaded { identity, saved: dir.load(), state_dir: Some(dir) })
    };
    match tokio::task::spawn_blocking(load).await {
        Ok(loaded) => loaded,
        Err(error) => Err(StartError::StateDir { path: reported, source: io::Error::other(error) }),
    }
}

/// The roots in a file, or those of the system.
async fn open_roots(path: Option<PathBuf>) -> Result<TlsRoots, StartError> {
    let Some(path) = path else { return Ok(TlsRoots::system()) };
    let opened = tokio::task::spawn_blocking(move || TlsRoots::open(&path)).await;
    match opened {
        Ok(opened) => opened.map_err(StartError::TlsRoots),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A listener with its address.
type Bound = (TcpListener, SocketAddr);

async fn bind_all(listen: Vec<SocketAddr>, stun: Stun) -> Result<(Vec<Bound>, Vec<UdpSocket>), StartError> {
    let (mut bound, mut stun_sockets) = (Vec::new(), Vec::new());
    for address in listen {
        let (listener, socket) = bind(address, stun).await?;
        bound.push(listener);
        stun_sockets.extend(socket);
    }
    Ok((bound, stun_sockets))
}

async fn bind(address: SocketAddr, stun: Stun) -> Result<(Bound, Option<UdpSocket>), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let socket = stun::bind(stun, local, address.port() == 0).await;
    Ok(((listener, local), socket.map_err(|source| StartError::Stun { listener: local, source })?))
}

/// Adds the node's own STUN to the servers that it hands out, as far as there is room.
fn hand_out(
    servers: &mut Vec<IceServer>,
    stun: &[UdpSocket],
    announced: &[Address],
) -> Result<(), StartError> {
    if servers.len() > IceServer::MAX {
        return Err(StartError::TooManyIceServers);
    }
    for local in stun.iter().filter_map(|socket| socket.local_addr().ok()) {
        for server in stun::own_servers(announced, local) {
            if servers.len() < IceServer::MAX && !servers.contains(&server) {
                servers.push(server);
            }
        }
    }
    Ok(())
}

/// The addresses to announce, with this node's peer id: those given, else those listened on.
fn announced(
    given: Vec<Address>,
    listening: &[SocketAddr],
    tls: Option<&TlsCertificate>,
    peer_id: PeerId,
) -> Result<Vec<Address>, StartError> {
    if let Some(foreign) = given.iter().find(|address| address.peer.is_some_and(|peer| peer != peer_id)) {
        return Err(StartError::ForeignAddress(foreign.clone()));
    }
    if listening.is_empty() {
        return given
            .into_iter()
            .next()
            .map_or(Ok(Vec::new()), |first| Err(StartError::AddressWithoutListener(first)));
    }
    let uncertified = |address: &&Address| {
        address.secure && tls.is_some_and(|certificate| !certificate.names(&address.host))
    };
    let addresses = if given.is_empty() {
        let listened = |local| Address { secure: tls.is_some(), ..listened(local) };
        let addresses: Vec<Address> = listening.iter().copied().map(listened).collect();
        if let Some(address) = addresses.iter().find(uncertified) {
            return Err(StartError::NotCertified(address.clone()));
        }
        addresses
    } else {
        // Behind a proxy that speaks TLS on both sides, the name that counts is in the proxy's certificate.
        for address in given.iter().filter(uncertified) {
            tracing::warn!(%address, "the certificate does not name this host");
        }
        given
    };
    if addresses.len() > Address::ADVERTISED_MAX {
        return Err(StartError::TooManyAddresses);
    }
    Ok(addresses.into_iter().map(|address| address.with_peer(peer_id)).collect())
}

/// The dialable form of a listening address. Listening on all addresses says nothing of where others reach this node:
/// then it is the one that packets to the Internet would leave from, or loopback on a machine without a way out.
fn listened(local: SocketAddr) -> Address {
    let host = match local.ip().to_canonical() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => route::outbound_v4().unwrap_or(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => {
            route::outbound_v6().or_else(route::outbound_v4).unwrap_or(Ipv6Addr::LOCALHOST.into())
        }
    };
    let host = match host {
        IpAddr::V4(ip) => Host::Ip4(ip),
        IpAddr::V6(ip) => Host::Ip6(ip),
    };
    Address { host, port: local.port(), secure: false, peer: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn announced_addresses_carry_the_peer_id() {
        let peer = PeerId([7; 32]);
        let listening = ["127.0.0.1:3001".parse().unwrap(), "[::1]:3002".parse().unwrap()];
        let texts = |addresses: Vec<Address>| addresses.iter().map(Address::to_string).collect::<Vec<_>>();
        assert_eq!(
            texts(announced(vec![], &listening, None, peer).unwrap()),
            [format!("/ip4/127.0.0.1/tcp/3001/ws/p2p/{peer}"), format!("/ip6/::1/tcp/3002/ws/p2p/{peer}")]
        );
        let given = addresses(&["/dns4/node.example/tcp/443/wss"]);
        assert_eq!(
            texts(announced(given, &listening, None, peer).unwrap()),
            [format!("/dns4/node.example/tcp/443/wss/p2p/{peer}")]
        );
        assert!(announced(vec![], &[], None, peer).unwrap().is_empty());
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        let peer = PeerId([7; 32]);
        let listening = ["127.0.0.1:3001".parse().unwrap()];
        let foreign = addresses(&[&format!("/ip4/1.2.3.4/tcp/1/ws/p2p/{}", PeerId([8; 32]))]);
        assert!(matches!(announced(foreign, &listening, None, peer), Err(StartError::ForeignAddress(_))));
        let plain = addresses(&["/ip4/1.2.3.4/tcp/1/ws"]);
        assert!(matches!(announced(plain, &[], None, peer), Err(StartError::AddressWithoutListener(_))));
        let many = addresses(&["/ip4/1.2.3.4/tcp/1/ws"; 9]);
        assert!(matches!(announced(many, &listening, None, peer), Err(StartError::TooManyAddresses)));
    }

    #[test]
    fn listening_on_all_addresses_announces_a_dialable_one() {
        for local in ["0.0.0.0:3001", "[::]:3001"] {
            let address = listened(local.parse().unwrap());
            let unspecified = match address.host {
                Host::Ip4(ip) => ip.is_unspecified(),
                Host::Ip6(ip) => ip.is_unspecified(),
                Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_) => true,
            };
            assert!(!unspecified && address.port == 3001, "{address}");
        }
    }
}
