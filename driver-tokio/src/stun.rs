//! STUN for the clients of a service node: it tells them the address that their packets come from, so that they can link
//! to each other through address translation without a third party.
//!
//! Binding requests of RFC 8489 are answered, over UDP and without authentication, and nothing else: no TURN, no RFC 5780,
//! no errors. A request with an attribute that must be understood, or with a wrong FINGERPRINT, gets no answer.
//!
//! **As an amplifier it is of no use.** A bare request of 20 bytes, as browsers send it, gets 32 bytes over IPv4 and 44
//! over IPv6; counted with IP and UDP headers, 1.25 and 1.35 times what came. FINGERPRINT adds 8 bytes to both. Nothing
//! that a sender adds makes the answer larger. And each source gets 32 answers at once and 10 a second: a forged source
//! is sent 600 bytes a second at most. Sources, IPv6 by their /64, share 4,096 rates by a secret hash, which bounds memory
//! and all answers together.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};
use unamed_protocol::{Address, AddressClass, Host, IceServer};

use crate::metrics::Counters;

/// Where a service node answers STUN, which needs a UDP port that its clients reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stun {
    /// On the port number of each listener.
    #[default]
    On,
    /// Nowhere.
    Off,
    /// On this port of each listener's address.
    Port(u16),
}

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_A442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
/// Attributes from here on may be passed over.
const COMPREHENSION_OPTIONAL: u16 = 0x8000;
const FINGERPRINT_XOR: u32 = 0x5354_554E;
/// Longest request that is looked at; what fits every path (RFC 8489, section 6.1).
const REQUEST_BYTES_MAX: usize = 548;

/// Answers that one source gets at once, and the pause that earns another one.
const BURST: u32 = 32;
const PERIOD: Duration = Duration::from_millis(100);
/// Rates that are kept: 32 KiB.
const RATES: usize = 4096;
/// After an error of the socket.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers on one socket.
pub(crate) struct StunServer {
    socket: UdpSocket,
    rates: Rates,
    counters: Arc<Counters>,
}

impl StunServer {
    pub(crate) fn new(socket: UdpSocket, counters: Arc<Counters>) -> Self {
        Self { socket, rates: Rates::new(), counters }
    }

    pub(crate) async fn run(mut self) {
        // A byte more, so that what is too long is seen to be.
        let mut buffer = [0; REQUEST_BYTES_MAX + 1];
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer).await else {
                sleep(PAUSE).await;
                continue;
            };
            let Some(answer) = buffer.get(..length).and_then(|request| answer(request, from)) else {
                self.counters.stun_ignored.add();
                continue;
            };
            if self.rates.allow(from.ip(), Instant::now()) {
                self.counters.stun_answered.add();
                // A full send buffer loses the answer, as any router may.
                let _ = self.socket.try_send_to(&answer, from);
            } else {
                self.counters.stun_rate.add();
            }
        }
    }
}

/// Binds where `stun` says for a listener at `listening`; `None` if nowhere.
pub(crate) async fn bind(stun: Stun, listening: SocketAddr, any_port: bool) -> io::Result<Option<UdpSocket>> {
    let at = |port| UdpSocket::bind(SocketAddr::new(listening.ip(), port));
    let socket = match stun {
        Stun::Off => return Ok(None),
        Stun::Port(port) => at(port).await?,
        Stun::On => match at(listening.port()).await {
            // Somebody else may have the port number that the listener got by chance.
            Err(error) if any_port && error.kind() == io::ErrorKind::AddrInUse => at(0).await?,
            bound => bound?,
        },
    };
    Ok(Some(socket))
}

/// The servers that a node hands out: its announced hosts at which STUN on `local` can be reached, with its port. What is
/// announced beside the address of a listener belongs to another one; a listener on a loopback address is reached from
/// elsewhere through a proxy, which passes no UDP.
pub(crate) fn own_servers(announced: &[Address], local: SocketAddr) -> Vec<IceServer> {
    let ip = |address: &Address| match address.host {
        Host::Ip4(ip) => Some(IpAddr::V4(ip)),
        Host::Ip6(ip) => Some(IpAddr::V6(ip)),
        Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_) => None,
    };
    let listed = announced.iter().any(|address| ip(address) == Some(local.ip()));
    let reached = |address: &&Address| match ip(address) {
        Some(ip) if listed => ip == local.ip(),
        Some(_) | None if local.ip().is_loopback() => address.class() == AddressClass::Loopback,
        Some(ip) => local.is_ipv6() || ip.is_ipv4(),
        None => true,
    };
    let url = |address: &Address| match &address.host {
        Host::Ip4(ip) => format!("stun:{ip}:{}", local.port()),
        Host::Ip6(ip) => format!("stun:[{ip}]:{}", local.port()),
        Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name) => format!("stun:{name}:{}", local.port()),
    };
    announced.iter().filter(reached).filter_map(|address| IceServer::new(&url(address), None).ok()).collect()
}

/// The answer to a Binding request; `None` to anything else.
fn answer(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let fingerprinted = check(request)?;
    let transaction = request.get(4..HEADER_BYTES)?;
    let mut answer = Vec::with_capacity(HEADER_BYTES + 32);
    answer.extend(BINDING_SUCCESS.to_be_bytes());
    answer.extend([0; 2]);
    answer.extend(transaction);
    let mapped = xor_mapped(from, transaction);
    answer.extend(XOR_MAPPED_ADDRESS.to_be_bytes());
    answer.extend(u16::try_from(mapped.len()).ok()?.to_be_bytes());
    answer.extend(mapped);
    set_length(&mut answer, if fingerprinted { 8 } else { 0 })?;
    if fingerprinted {
        let fingerprint = crc32(&answer) ^ FINGERPRINT_XOR;
        answer.extend(FINGERPRINT.to_be_bytes());
        answer.extend(4_u16.to_be_bytes());
        answer.extend(fingerprint.to_be_bytes());
    }
    Some(answer)
}

/// Whether a Binding request that is to be answered has a fingerprint; `None` if it is none.
fn check(request: &[u8]) -> Option<bool> {
    let length = usize::from(u16_at(request, 2)?);
    let whole = request.len() == HEADER_BYTES.saturating_add(length) && length % 4 == 0;
    let binding = u16_at(request, 0)? == BINDING_REQUEST && u32_at(request, 4)? == MAGIC_COOKIE;
    if !whole || !binding || request.len() > REQUEST_BYTES_MAX {
        return None;
    }
    let mut at = HEADER_BYTES;
    while at < request.len() {
        let (kind, length) = (u16_at(request, at)?, usize::from(u16_at(request, at.saturating_add(2))?));
        let end = at.saturating_add(4).saturating_add(length.next_multiple_of(4));
        if kind < COMPREHENSION_OPTIONAL || end > request.len() {
            return None;
        }
        if kind == FINGERPRINT {
            // It is the last one, and covers what is before it.
            let good = crc32(request.get(..at)?) ^ FINGERPRINT_XOR == u32_at(request, at.saturating_add(4))?;
            return (length == 4 && end == request.len() && good).then_some(true);
        }
        at = end;
    }
    Some(false)
}

/// The value of XOR-MAPPED-ADDRESS (RFC 8489, section 14.2). `mask` is the cookie and the transaction id.
fn xor_mapped(from: SocketAddr, mask: &[u8]) -> Vec<u8> {
    let (family, ip) = match from.ip().to_canonical() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend(from.port().to_be_bytes().iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    value.extend(ip.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    value
}

/// Writes the length of what follows the header, with `more` bytes to come.
fn set_length(message: &mut [u8], more: usize) -> Option<()> {
    let length = message.len().checked_sub(HEADER_BYTES)?.checked_add(more)?;
    message.get_mut(2..4)?.copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    Some(())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

/// The CRC of ISO 3309, bit by bit: requests are short.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A rate for each of many sources, by the generic cell rate algorithm: for each the time at which it has used up nothing.
struct Rates {
    epoch: Instant,
    free_at: Vec<Duration>,
    hasher: RandomState,
}

impl Rates {
    fn new() -> Self {
        Self { epoch: Instant::now(), free_at: vec![Duration::ZERO; RATES], hasher: RandomState::new() }
    }

    fn allow(&mut self, source: IpAddr, now: Instant) -> bool {
        let slot = self.slot(source);
        let now = now.saturating_duration_since(self.epoch);
        let Some(free_at) = self.free_at.get_mut(slot) else { return false };
        let next = (*free_at).max(now).saturating_add(PERIOD);
        let allowed = next.saturating_sub(now) <= PERIOD.saturating_mul(BURST);
        if allowed {
            *free_at = next;
        }
        allowed
    }

    fn slot(&self, source: IpAddr) -> usize {
        let hash = match source.to_canonical() {
            IpAddr::V4(ip) => self.hasher.hash_one(ip.octets()),
            // Whoever has one address of a /64 has all of them.
            IpAddr::V6(ip) => self.hasher.hash_one(ip.to_bits() >> 64),
        };
        usize::try_from(hash % RATES as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: [u8; 12] = *b"transaction!";

    /// A message of type `kind`, with attributes.
    fn message(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let mut message = kind.to_be_bytes().to_vec();
        message.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
        message.extend(MAGIC_COOKIE.to_be_bytes());
        message.extend(TRANSACTION);
        message.extend(attributes);
        message
    }

    fn with_fingerprint(mut message: Vec<u8>, wrong: u32) -> Vec<u8> {
        set_length(&mut message, 8).unwrap();
        let fingerprint = crc32(&message) ^ FINGERPRINT_XOR ^ wrong;
        message.extend([0x80, 0x28, 0, 4]);
        message.extend(fingerprint.to_be_bytes());
        message
    }

    fn from(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_mapped_addresses_of_rfc_5769() {
        let mut mask = MAGIC_COOKIE.to_be_bytes().to_vec();
        mask.extend([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);
        let v4 = [0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        assert_eq!(xor_mapped(from("192.0.2.1:32853"), &mask), v4);
        assert_eq!(xor_mapped(from("[::ffff:192.0.2.1]:32853"), &mask), v4);
        let v6 = [
            0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5,
            0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(xor_mapped(from("[2001:db8:1234:5678:11:2233:4455:6677]:32853"), &mask), v6);
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_request_gets_its_source_and_little_more_than_it_brought() {
        let request = message(BINDING_REQUEST, &[]);
        let answer_v4 = answer(&request, from("192.0.2.1:32853")).unwrap();
        let attribute = [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        assert_eq!(answer_v4, message(BINDING_SUCCESS, &attribute));
        assert_eq!(answer(&request, from("[2001:db8::1]:9")).unwrap().len(), 44);
        // Attributes that may be passed over add nothing.
        let mut software = vec![0x80, 0x22, 0, 255];
        software.extend([b'x'; 256]);
        assert_eq!(answer(&message(BINDING_REQUEST, &software), from("192.0.2.1:32853")), Some(answer_v4));
    }

    #[test]
    fn a_fingerprint_is_checked_and_given_back() {
        let request = with_fingerprint(message(BINDING_REQUEST, &[]), 0);
        let answered = answer(&request, from("192.0.2.1:32853")).unwrap();
        assert_eq!(answered.len(), 40);
        let (covered, fingerprint) = answered.split_at(32);
        assert_eq!(fingerprint[4..], (crc32(covered) ^ FINGERPRINT_XOR).to_be_bytes());
        let wrong = with_fingerprint(message(BINDING_REQUEST, &[]), 1);
        assert_eq!(answer(&wrong, from("192.0.2.1:32853")), None);
        let mut not_last = with_fingerprint(message(BINDING_REQUEST, &[]), 0);
        not_last.extend([0x80, 0x22, 0, 0]);
        not_last[3] = 12;
        assert_eq!(answer(&not_last, from("192.0.2.1:32853")), None);
    }

    #[test]
    fn anything_else_is_not_answered() {
        let request = message(BINDING_REQUEST, &[]);
        for length in 0..request.len() {
            assert_eq!(answer(&request[..length], from("192.0.2.1:1")), None, "{length} bytes");
        }
        let mut longer = request.clone();
        longer.push(0);
        let mut other_cookie = request.clone();
        other_cookie[4] = 0;
        let mut beyond = message(BINDING_REQUEST, &[0x80, 0x22, 0, 0]);
        beyond[23] = 1;
        let mut large = vec![0x80, 0x22, 2, 0x10];
        large.resize(4 + 0x210, 0);
        let cases = [
            longer,
            other_cookie,
            beyond,
            message(BINDING_REQUEST, &large),
            // Indication, success, error, and TURN's Allocate.
            message(0x0011, &[]),
            message(BINDING_SUCCESS, &[]),
            message(0x0111, &[]),
            message(0x0003, &[]),
            // CHANGE-REQUEST and USERNAME must be understood.
            message(BINDING_REQUEST, &[0, 3, 0, 4, 0, 0, 0, 6]),
            message(BINDING_REQUEST, &[0, 6, 0, 0]),
        ];
        for case in cases {
            assert_eq!(answer(&case, from("192.0.2.1:1")), None, "{case:02x?}");
        }
    }

    #[test]
    fn a_source_gets_a_burst_and_then_a_rate() {
        let mut rates = Rates::new();
        let source = "192.0.2.1".parse().unwrap();
        let start = rates.epoch + Duration::from_secs(100);
        let allowed = |rates: &mut Rates, at| (0..1000).filter(|_| rates.allow(source, at)).count();
        assert_eq!(allowed(&mut rates, start), 32);
        assert_eq!(allowed(&mut rates, start + PERIOD * 3), 3);
        assert_eq!(allowed(&mut rates, start + Duration::from_secs(60)), 32);
        let of = |text: &str| rates.slot(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
    }

    #[test]
    fn a_node_hands_out_the_hosts_at_which_it_is_reached() {
        let addresses: Vec<Address> =
            ["/ip4/198.51.100.1/tcp/443/wss", "/ip6/2001:db8::1/tcp/1/ws", "/dns4/node.example/tcp/443/wss"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        let urls = |local: &str, addresses: &[Address]| -> Vec<String> {
            own_servers(addresses, from(local)).iter().map(|server| server.url().to_owned()).collect()
        };
        assert_eq!(
            urls("[::]:3001", &addresses),
            ["stun:198.51.100.1:3001", "stun:[2001:db8::1]:3001", "stun:node.example:3001"]
        );
        assert_eq!(urls("0.0.0.0:3001", &addresses), ["stun:198.51.100.1:3001", "stun:node.example:3001"]);
        assert_eq!(urls("[2001:db8::1]:5", &addresses), ["stun:[2001:db8::1]:5", "stun:node.example:5"]);
        assert!(urls("127.0.0.1:3001", &addresses).is_empty());
        let local = ["/ip4/127.0.0.1/tcp/3001/ws".parse().unwrap()];
        assert_eq!(urls("127.0.0.1:3001", &local), ["stun:127.0.0.1:3001"]);
    }
}
