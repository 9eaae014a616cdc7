//! The listening side: accepts sockets under bounds, reads the request, answers or refuses.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use unamed_protocol::{Gcra, Instant, Rate};

use crate::connection::{Metered, Shared, Socket, websocket_config};
use crate::driver::{Clock, Inbox};
use crate::stream::Stream;
use crate::upgrade::{HEAD_BYTES_MAX, Policy, Refusal, forwarded_for, head_end, judge};

/// From accepting a socket to the answer to its request.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause of accepting when file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a refused peer may take to read its answer, and how many such peers there are at a time.
const LINGER: Duration = Duration::from_secs(1);
const LINGERING_MAX: usize = 64;
/// Sources whose rates are remembered; each is forgotten when its burst has come back. One more is refused.
const RATES_MAX: usize = 16_384;

/// Bounds of the listening side. Behind a trusted proxy, the address is that of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections in all. A further one is answered with 503.
    pub connections: usize,
    /// Connections per IPv4 address or IPv6 /64. A further one is answered with 429.
    pub connections_per_ip: usize,
    /// Sockets that have not completed their request; a further one is closed without an answer.
    pub upgrades: usize,
    /// Connections begun per IPv4 address or IPv6 /64: 10 a second, 20 at once. A further one is answered with 429.
    pub handshakes_per_ip: Rate,
    /// Whether the bounds per IP address hold for loopback too, which they do not by default.
    pub count_loopback: bool,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_ip: 32,
            upgrades: 1024,
            handshakes_per_ip: Rate::per_second(10, 20),
            count_loopback: false,
        }
    }
}

#[derive(Debug, Default)]
struct Taken {
    connections: usize,
    upgrades: usize,
    lingering: usize,
    per_ip: BTreeMap<IpAddr, usize>,
    rates: BTreeMap<IpAddr, Gcra>,
}

impl Taken {
    /// Whether a source may begin one more connection now, which counts it.
    fn within_rate(&mut self, source: IpAddr, rate: Rate, now: Instant) -> bool {
        if self.rates.len() >= RATES_MAX && !self.rates.contains_key(&source) {
            self.rates.retain(|_, used| !used.is_idle(now));
            if self.rates.len() >= RATES_MAX {
                return false;
            }
        }
        self.rates.entry(source).or_default().take(rate, 1, now)
    }
}

/// The places at the server.
#[derive(Debug)]
pub(crate) struct Slots {
    limits: ServerLimits,
    clock: Clock,
    taken: Mutex<Taken>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    Rate,
    PerIp,
    Total,
    Upgrades,
}

impl Slots {
    pub(crate) fn new(limits: ServerLimits) -> Arc<Self> {
        Arc::new(Self { limits, clock: Clock::start(), taken: Mutex::default() })
    }

    fn with<R>(&self, change: impl FnOnce(&mut Taken) -> R) -> R {
        change(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place for a socket, whose request is still to come. `ip` is that of the client, where it is known by the socket.
    fn take(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<Slot, Full> {
        self.take_at(ip, self.clock.now())
    }

    fn take_at(self: &Arc<Self>, ip: Option<IpAddr>, now: Instant) -> Result<Slot, Full> {
        let group = ip.and_then(|ip| self.group(ip));
        self.with(|taken| {
            if taken.connections >= self.limits.connections {
                return Err(Full::Total);
            }
            if taken.upgrades >= self.limits.upgrades {
                return Err(Full::Upgrades);
            }
            self.count(taken, group, now)?;
            taken.connections = taken.connections.saturating_add(1);
            taken.upgrades = taken.upgrades.saturating_add(1);
            Ok(Slot { slots: Arc::clone(self), group, upgrading: true })
        })
    }

    /// The source that counts; `None` where none does.
    fn group(&self, ip: IpAddr) -> Option<IpAddr> {
        let ip = ip.to_canonical();
        let counted = self.limits.count_loopback || !ip.is_loopback();
        counted.then(|| ip_group(ip))
    }

    /// Counts one more connection of a source, if that is within its bounds.
    fn count(&self, taken: &mut Taken, group: Option<IpAddr>, now: Instant) -> Result<(), Full> {
        let Some(group) = group else { return Ok(()) };
        if !taken.within_rate(group, self.limits.handshakes_per_ip, now) {
            return Err(Full::Rate);
        }
        let of_ip = taken.per_ip.entry(group).or_default();
        if *of_ip >= self.limits.connections_per_ip {
            return Err(Full::PerIp);
        }
        *of_ip = of_ip.saturating_add(1);
        Ok(())
    }

    fn take_lingering(&self) -> bool {
        self.with(|taken| {
            let free = taken.lingering < LINGERING_MAX;
            taken.lingering = taken.lingering.saturating_add(usize::from(free));
            free
        })
    }
}

/// One place at the server; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    group: Option<IpAddr>,
    upgrading: bool,
}

impl Slot {
    /// The place is that of a client at `ip`, as its proxy says.
    fn assign(&mut self, ip: IpAddr) -> Result<(), Full> {
        let now = self.slots.clock.now();
        let group = self.slots.group(ip);
        self.slots.with(|taken| self.slots.count(taken, group, now))?;
        self.group = group;
        Ok(())
    }

    fn upgraded(&mut self) {
        if std::mem::take(&mut self.upgrading) {
            self.slots.with(|taken| taken.upgrades = taken.upgrades.saturating_sub(1));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.upgraded();
        self.slots.with(|taken| {
            taken.connections = taken.connections.saturating_sub(1);
            if let Some(group) = self.group
                && let Some(of_ip) = taken.per_ip.get_mut(&group)
            {
                *of_ip = of_ip.saturating_sub(1);
                if *of_ip == 0 {
                    taken.per_ip.remove(&group);
                }
            }
        });
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 /64.
fn ip_group(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// A socket that was upgraded.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: Socket,
    pub(crate) ip: IpAddr,
    pub(crate) slot: Slot,
}

/// One listener.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) slots: Arc<Slots>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) shared: Shared,
    /// See [`websocket_config`].
    pub(crate) frame_bytes_max: usize,
    /// What makes TLS streams of sockets, if this listener speaks TLS.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

impl Server {
    /// Accepts until it is aborted.
    pub(crate) async fn run(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    self.shared.counters.accepted.add();
                    self.admit(stream, remote);
                }
                Err(error) if is_about_one_peer(&error) => {}
                Err(error) => {
                    self.shared.counters.accept_paused.add();
                    tracing::debug!(%error, "accepting pauses");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, remote: SocketAddr) {
        let client = (!self.policy.trusts(remote.ip())).then(|| remote.ip());
        let full = match self.slots.take(client) {
            Ok(slot) => {
                let server = self.clone();
                tokio::spawn(async move { server.upgrade(stream, remote, slot).await });
                return;
            }
            Err(full) => full,
        };
        // Within TLS an answer would cost a handshake, which is what is to be saved.
        let answered = full != Full::Upgrades && !self.is_secure();
        let refusal = self.full(full);
        if answered && self.slots.take_lingering() {
            let slots = Arc::clone(&self.slots);
            tokio::spawn(async move {
                refuse(Stream::Plain(stream), refusal).await;
                slots.with(|taken| taken.lingering = taken.lingering.saturating_sub(1));
            });
        }
    }

    /// Counts a refusal for want of room, and says what it is answered with.
    fn full(&self, full: Full) -> Refusal {
        let counters = &self.shared.counters;
        match full {
            Full::Rate => {
                counters.rate_refused.add();
                Refusal::PerIp
            }
            Full::PerIp => {
                counters.per_ip_refused.add();
                Refusal::PerIp
            }
            Full::Upgrades | Full::Total => {
                counters.total_refused.add();
                Refusal::Total
            }
        }
    }

    const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The stream, with TLS around it if this listener speaks TLS.
    async fn secured(&self, stream: TcpStream) -> io::Result<Stream> {
        let Some(config) = &self.tls else { return Ok(Stream::Plain(stream)) };
        crate::tls::accept(config, stream).await.inspect_err(|_| self.shared.counters.tls_failed.add())
    }

    async fn upgrade(self, stream: TcpStream, remote: SocketAddr, mut slot: Slot) {
        let counters = &self.shared.counters;
        let negotiated = self.negotiate(stream, remote.ip(), &mut slot);
        let Ok(outcome) = timeout(UPGRADE_TIMEOUT, negotiated).await else {
            counters.upgrade_timeout.add();
            return;
        };
        match outcome {
            Ok(Some((socket, ip))) => {
                slot.upgraded();
                counters.upgraded.add();
                let accepted = Accepted { socket, ip: ip.to_canonical(), slot };
                let _ = self.shared.inbox.send(Inbox::Accepted(Box::new(accepted)));
            }
            Ok(None) => {}
            Err(error) => tracing::trace!(%remote, %error, "the socket failed before its upgrade"),
        }
    }

    /// The upgraded socket and the address of its client, or `None` if the request was refused.
    async fn negotiate(
        &self,
        stream: TcpStream,
        remote: IpAddr,
        slot: &mut Slot,
    ) -> io::Result<Option<(Socket, IpAddr)>> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?.ip();
        let mut stream = self.secured(stream).await?;
        let mut bytes = Vec::with_capacity(1024);
        let head = match read_head(&mut stream, &mut bytes).await? {
            Ok(end) => end,
            Err(refusal) => {
                self.refused(stream, refusal).await;
                return Ok(None);
            }
        };
        let rest = bytes.split_off(head);
        let judged = self.client(&bytes, remote, slot);
        let judged = judged.and_then(|client| {
            let upgrade = judge(&bytes, &self.policy, local, client)?;
            Ok((upgrade, client.unwrap_or(remote)))
        });
        match judged {
            Ok((upgrade, client)) => {
                if upgrade.foreign_origin {
                    self.shared.counters.origin_foreign.add();
                }
                stream.write_all(upgrade.response().as_bytes()).await?;
                let config = Some(websocket_config(self.frame_bytes_max));
                let stream = Metered::new(stream);
                let socket = WebSocketStream::from_partially_read(stream, rest, Role::Server, config).await;
                Ok(Some((socket, client)))
            }
            Err(refusal) => {
                self.refused(stream, refusal).await;
                Ok(None)
            }
        }
    }

    /// The client behind a trusted proxy, whose place this is from here on; `None` if there is no proxy.
    fn client(&self, head: &[u8], remote: IpAddr, slot: &mut Slot) -> Result<Option<IpAddr>, Refusal> {
        if !self.policy.trusts(remote) {
            return Ok(None);
        }
        // A proxy that says nothing of a client asks for itself.
        let told = forwarded_for(head, &self.policy)?;
        if told.is_some() {
            self.shared.counters.forwarded.add();
        }
        slot.assign(told.unwrap_or(remote)).map_err(|full| self.full(full))?;
        Ok(told)
    }

    async fn refused(&self, stream: Stream, refusal: Refusal) {
        let counters = &self.shared.counters;
        match refusal {
            Refusal::Origin => counters.origin_refused.add(),
            Refusal::Host => counters.host_refused.add(),
            Refusal::Forwarded(_) => counters.forwarded_refused.add(),
            // Counted where it was found.
            Refusal::PerIp | Refusal::Total => {}
            Refusal::BadRequest(_)
            | Refusal::Method
            | Refusal::NoUpgrade
            | Refusal::Version
            | Refusal::HeadTooLarge => counters.bad_request.add(),
        }
        refuse(stream, refusal).await;
    }
}

/// Reads the head of a request into `bytes`, possibly with bytes that follow it, and returns where it ends.
async fn read_head(stream: &mut Stream, bytes: &mut Vec<u8>) -> io::Result<Result<usize, Refusal>> {
    loop {
        let looked_at = bytes.len();
        let left = HEAD_BYTES_MAX.saturating_sub(looked_at);
        if left == 0 {
            return Ok(Err(Refusal::HeadTooLarge));
        }
        let count = (&mut *stream).take(left as u64).read_buf(bytes).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Whatever does not begin as a method (TLS, JSON, noise) need not be waited for.
        if bytes.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
            return Ok(Err(Refusal::BadRequest("this is no HTTP/1.1 request")));
        }
        if let Some(end) = head_end(bytes, looked_at) {
            return Ok(Ok(end));
        }
    }
}

/// Answers and closes. What the peer still sends is read for a moment, as closing over unread bytes would reset the
/// connection and could take the answer with it.
async fn refuse(mut stream: Stream, refusal: Refusal) {
    let answer = async {
        if stream.write_all(refusal.response().as_bytes()).await.is_err() || stream.shutdown().await.is_err()
        {
            return;
        }
        let mut scratch = [0; 1024];
        let mut left = 64_usize;
        while left > 0 && matches!(stream.read(&mut scratch).await, Ok(1..)) {
            left = left.saturating_sub(1);
        }
    };
    let _ = timeout(LINGER, answer).await;
}

/// Whether an error of `accept` is about the socket that was to be accepted, not about this process.
fn is_about_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> ServerLimits {
        let handshakes_per_ip = Rate::per_second(10, 20);
        ServerLimits {
            connections: 5,
            connections_per_ip: 2,
            upgrades: 4,
            handshakes_per_ip,
            count_loopback: false,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_bounded_per_address_and_given_back() {
        let slots = Slots::new(limits());
        let first = slots.take(Some(ip("203.0.113.1"))).unwrap();
        let _second = slots.take(Some(ip("203.0.113.1"))).unwrap();
        assert_eq!(slots.take(Some(ip("203.0.113.1"))).unwrap_err(), Full::PerIp);
        assert_eq!(slots.take(Some(ip("::ffff:203.0.113.1"))).unwrap_err(), Full::PerIp);
        let other = slots.take(Some(ip("203.0.113.2"))).unwrap();
        drop(first);
        let _third = slots.take(Some(ip("203.0.113.1"))).unwrap();
        drop(other);
        let groups = slots.with(|taken| taken.per_ip.clone());
        assert_eq!(groups, BTreeMap::from([(ip("203.0.113.1"), 2)]));
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let slots = Slots::new(limits());
        let _one = slots.take(Some(ip("2001:db8:1:2::1"))).unwrap();
        let _two = slots.take(Some(ip("2001:db8:1:2:ffff::9"))).unwrap();
        assert_eq!(slots.take(Some(ip("2001:db8:1:2::3"))).unwrap_err(), Full::PerIp);
        assert!(slots.take(Some(ip("2001:db8:1:3::1"))).is_ok());
    }

    #[test]
    fn places_are_bounded_in_all_and_before_the_upgrade() {
        let slots = Slots::new(limits());
        let mut held: Vec<Slot> = (0..4).map(|_| slots.take(Some(ip("127.0.0.1"))).unwrap()).collect();
        assert_eq!(slots.take(Some(ip("127.0.0.1"))).unwrap_err(), Full::Upgrades);
        for slot in &mut held {
            slot.upgraded();
            slot.upgraded();
        }
        held.push(slots.take(Some(ip("127.0.0.1"))).unwrap());
        assert_eq!(slots.take(Some(ip("127.0.0.1"))).unwrap_err(), Full::Total);
        held.clear();
        let taken = slots.with(std::mem::take);
        assert_eq!((taken.connections, taken.upgrades, taken.per_ip.len()), (0, 0, 0));
    }

    #[test]
    fn connections_of_one_source_come_at_a_rate_and_others_are_not_touched() {
        let slots = Slots::new(limits());
        let (start, burst) = (Instant::from_secs(1), 20);
        let begin = |from: &str, at: Instant| slots.take_at(Some(ip(from)), at).map(drop);
        assert!((0..burst).all(|_| begin("203.0.113.1", start).is_ok()));
        assert_eq!(begin("203.0.113.1", start), Err(Full::Rate));
        assert_eq!(begin("203.0.113.2", start), Ok(()));
        assert_eq!(begin("127.0.0.1", start), Ok(()));
        let later = start + Duration::from_millis(100);
        assert_eq!(begin("203.0.113.1", later), Ok(()));
        assert_eq!(begin("203.0.113.1", later), Err(Full::Rate));
        let groups = slots.with(|taken| taken.rates.len());
        assert_eq!(groups, 2, "loopback has no rate");
    }

    #[test]
    fn sources_beyond_count_are_refused_until_others_have_rested() {
        let mut taken = Taken::default();
        let (rate, start) = (Rate::per_second(10, 20), Instant::from_secs(1));
        let source = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        assert!((0..RATES_MAX).all(|number| taken.within_rate(source(number), rate, start)));
        assert!(!taken.within_rate(source(RATES_MAX), rate, start));
        assert!(taken.within_rate(source(0), rate, start));
        assert!(taken.within_rate(source(RATES_MAX), rate, start + Duration::from_millis(100)));
        assert_eq!(taken.rates.len(), 2);
    }

    #[test]
    fn behind_a_proxy_the_client_counts() {
        let slots = Slots::new(limits());
        let proxied = |client: &str| {
            let mut slot = slots.take(None).unwrap();
            slot.upgraded();
            slot.assign(ip(client)).map(|()| slot)
        };
        let first = proxied("203.0.113.1").unwrap();
        let _second = slots.take(Some(ip("203.0.113.1"))).unwrap();
        assert_eq!(proxied("203.0.113.1").unwrap_err(), Full::PerIp);
        let other = proxied("203.0.113.2").unwrap();
        drop((first, other));
        assert_eq!(slots.with(|taken| taken.per_ip.clone()), BTreeMap::from([(ip("203.0.113.1"), 1)]));
        assert_eq!(slots.with(|taken| taken.connections), 1);
    }

    #[test]
    fn loopback_counts_where_it_is_asked_for() {
        let slots = Slots::new(ServerLimits { count_loopback: true, ..limits() });
        let _held = [slots.take(Some(ip("::1"))).unwrap(), slots.take(Some(ip("::1"))).unwrap()];
        assert_eq!(slots.take(Some(ip("::1"))).unwrap_err(), Full::PerIp);
    }
}
