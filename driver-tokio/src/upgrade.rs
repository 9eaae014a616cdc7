//! The server's half of the WebSocket opening handshake (RFC 6455, section 4.2), judged without I/O.
//!
//! tungstenite's own handshake has neither a deadline nor limits of our choice, so the head of the request is read and
//! judged here. What is refused gets a proper HTTP answer before anything is upgraded.
//!
//! A loopback or private listener is within reach of every web page that the user of that machine opens, so there the
//! `Origin` and `Host` headers decide: a page of a foreign origin must not reach it directly, and not by a name of its
//! own that resolves to it (DNS rebinding). Native programs send no `Origin`. On a public listener `Origin` is only
//! counted: rights come from the handshake inside the link alone. What a trusted proxy passes on from a public address is as
//! what comes to a public listener, wherever the proxy's own connection comes in.

use std::net::IpAddr;

use httparse::{EMPTY_HEADER, Header, Request, Status};
use ipnet::IpNet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use unamed_protocol::{Address, AddressClass, Host};

use crate::forwarded::{self, ForwardedError};

/// Longest head of a request, bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;

/// Who may open a WebSocket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// The listener's address is loopback or private.
    pub(crate) guarded: bool,
    /// Hosts, besides loopback and the local address, that a guarded listener answers to: lower case, without port.
    pub(crate) hosts: Vec<String>,
    /// Origins that may use a guarded listener; `*` means any.
    pub(crate) origins: Vec<String>,
    /// Networks of proxies that tell the truth about whom they speak for.
    pub(crate) proxies: Vec<IpNet>,
}

impl Policy {
    /// The policy of a listener on `ip` of a node with these addresses.
    pub(crate) fn new(ip: IpAddr, addresses: &[Address], origins: &[String], proxies: &[IpNet]) -> Self {
        let guarded = !ip.is_unspecified() && AddressClass::of_ip(ip) != AddressClass::Public;
        let host_text = |address: &Address| match &address.host {
            Host::Ip4(ip) => ip.to_string(),
            Host::Ip6(ip) => ip.to_string(),
            Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name) => name.to_ascii_lowercase(),
        };
        Self {
            guarded,
            hosts: addresses.iter().map(host_text).collect(),
            origins: origins.to_vec(),
            proxies: proxies.to_vec(),
        }
    }

    /// Whether a trusted proxy is at this address.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.proxies.iter().any(|network| network.contains(&ip))
    }

    fn allows_host(&self, host: &str, local: IpAddr) -> bool {
        let name = host_name(host).to_ascii_lowercase();
        is_loopback_name(&name)
            || name.parse().is_ok_and(|ip: IpAddr| ip.to_canonical() == local.to_canonical())
            || self.hosts.contains(&name)
    }

    fn allows_origin(&self, origin: &str) -> bool {
        self.is_listed(origin) || is_loopback_origin(origin)
    }

    fn is_listed(&self, origin: &str) -> bool {
        self.origins.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(origin))
    }
}

/// `host` without its port and brackets.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(ip, _)| ip);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_loopback_name(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

fn is_loopback_origin(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(scheme, host)| {
        matches!(scheme, "http" | "https") && is_loopback_name(&host_name(host).to_ascii_lowercase())
    })
}

/// A request that may be upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// The value of `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
    /// A page of another origin asks; allowed, and counted.
    pub(crate) foreign_origin: bool,
}

impl Upgrade {
    /// The answer that completes the handshake. No extension and no subprotocol is negotiated.
    pub(crate) fn response(&self) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            self.accept
        )
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not HTTP/1.1, or a header is missing, repeated or malformed.
    BadRequest(&'static str),
    /// The page's origin is not allowed.
    Origin,
    /// The host is not one of ours.
    Host,
    /// Not GET.
    Method,
    /// Plain HTTP.
    NoUpgrade,
    /// Another WebSocket version than 13.
    Version,
    /// The head is too long, or has too many headers.
    HeadTooLarge,
    /// A trusted proxy does not tell, or not clearly, whom it speaks for.
    Forwarded(ForwardedError),
    /// Too many connections from this address.
    PerIp,
    /// Too many connections in all.
    Total,
}

impl Refusal {
    /// The whole answer.
    pub(crate) fn response(self) -> String {
        let (status, header, text) = match self {
            Self::BadRequest(what) => ("400 Bad Request", "", what),
            Self::Forwarded(error) => ("400 Bad Request", "", error.text()),
            Self::Origin => {
                ("403 Forbidden", "", "pages of this origin may not use this node; see --allow-origin")
            }
            Self::Host => ("403 Forbidden", "", "this node has no such host name; see --address"),
            Self::Method => ("405 Method Not Allowed", "Allow: GET\r\n", "only GET is served"),
            Self::NoUpgrade => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\n",
                "this is a service node of unamed; it speaks WebSocket",
            ),
            Self::Version => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "only WebSocket version 13 is served",
            ),
            Self::HeadTooLarge => ("431 Request Header Fields Too Large", "", "the request is too long"),
            Self::PerIp => {
                ("429 Too Many Requests", "Retry-After: 30\r\n", "too many connections from your address")
            }
            Self::Total => (
                "503 Service Unavailable",
                "Retry-After: 30\r\n",
                "this node has no room for more connections",
            ),
        };
        let connection =
            if matches!(self, Self::NoUpgrade | Self::Version) { "close, Upgrade" } else { "close" };
        format!(
            "HTTP/1.1 {status}\r\nConnection: {connection}\r\n{header}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{text}\n",
            text.len().saturating_add(1)
        )
    }
}

/// Where the head of a request ends in `bytes`, its blank line included; nothing before `from` is looked at.
pub(crate) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    let tail = bytes.get(start..)?;
    let at = tail.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(start.saturating_add(at).saturating_add(4))
}

/// Parses the head of a request.
fn parse<'a, 'b>(head: &'b [u8], headers: &'a mut [Header<'b>]) -> Result<Request<'a, 'b>, Refusal> {
    let mut request = Request::new(headers);
    match request.parse(head) {
        Ok(Status::Complete(_)) => Ok(request),
        Ok(Status::Partial) => Err(Refusal::BadRequest("the request is cut short")),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::HeadTooLarge),
        Err(_) => Err(Refusal::BadRequest("this is no HTTP/1.1 request")),
    }
}

/// For whom a trusted proxy speaks, by the head of its request; `None` if it does not say.
pub(crate) fn forwarded_for(head: &[u8], policy: &Policy) -> Result<Option<IpAddr>, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let request = parse(head, &mut headers)?;
    let headers = Headers(request.headers);
    let values = |name| headers.all(name).collect::<Result<Vec<&str>, Refusal>>();
    let (x_forwarded_for, forwarded) = (values("x-forwarded-for")?, values("forwarded")?);
    forwarded::client(&x_forwarded_for, &forwarded, |ip| policy.trusts(ip)).map_err(Refusal::Forwarded)
}

/// Judges the head of a request that came in on the local address `local`, passed on by a trusted proxy for the client
/// `forwarded`, if there is one.
pub(crate) fn judge(
    head: &[u8],
    policy: &Policy,
    local: IpAddr,
    forwarded: Option<IpAddr>,
) -> Result<Upgrade, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let request = parse(head, &mut headers)?;
    if request.version != Some(1) {
        return Err(Refusal::BadRequest("only HTTP/1.1 is served"));
    }
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let headers = Headers(request.headers);
    let public = forwarded.is_some_and(|ip| AddressClass::of_ip(ip) == AddressClass::Public);
    let foreign_origin = check_origin_and_host(&headers, policy, local, public)?;
    if !headers.has_token("upgrade", "websocket") {
        return Err(Refusal::NoUpgrade);
    }
    if !headers.has_token("connection", "upgrade") {
        return Err(Refusal::BadRequest("the header Connection: Upgrade is missing"));
    }
    if headers.one("sec-websocket-version")? != Some("13") {
        return Err(Refusal::Version);
    }
    let key = headers.one("sec-websocket-key")?;
    let key =
        key.filter(|key| is_key(key)).ok_or(Refusal::BadRequest("Sec-WebSocket-Key: 16 bytes in base64"))?;
    Ok(Upgrade { accept: derive_accept_key(key.as_bytes()), foreign_origin })
}

/// Whether the origin is foreign, if that is allowed here. `public` says that a trusted proxy passes it on from the Internet.
fn check_origin_and_host(
    headers: &Headers<'_>,
    policy: &Policy,
    local: IpAddr,
    public: bool,
) -> Result<bool, Refusal> {
    let host = headers.one("host")?.ok_or(Refusal::BadRequest("the header Host is missing"))?;
    let origin = headers.one("origin")?;
    // A listener on all addresses is public, but what reaches it over loopback comes from this machine.
    if !public && (policy.guarded || local.to_canonical().is_loopback()) {
        if !policy.allows_host(host, local) {
            return Err(Refusal::Host);
        }
        if origin.is_some_and(|origin| !policy.allows_origin(origin)) {
            return Err(Refusal::Origin);
        }
    }
    Ok(origin
        .is_some_and(|origin| !policy.allows_origin(origin) || policy.origins.iter().any(|one| one == "*")))
}

/// 16 bytes in base64: 22 characters, of which the last carries 4 bits, and two of padding.
fn is_key(key: &str) -> bool {
    let Some(digits) = key.strip_suffix("==") else { return false };
    digits.len() == 22
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        && digits.ends_with(['A', 'Q', 'g', 'w'])
}

struct Headers<'a>(&'a [Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = Result<&'a str, Refusal>> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| {
            str::from_utf8(header.value)
                .map(str::trim)
                .map_err(|_| Refusal::BadRequest("a header is not UTF-8"))
        })
    }

    /// The value of a header that must not be repeated.
    fn one(&self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.all(name);
        let first = values.next().transpose()?;
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Refusal::BadRequest("a header is repeated")),
        }
    }

    /// Whether a comma-separated header has `token`.
    fn has_token(&self, name: &'static str, token: &str) -> bool {
        self.all(name)
            .filter_map(Result::ok)
            .any(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    /// RFC 6455, section 1.3.
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn request(lines: &[&str]) -> Vec<u8> {
        let mut text = String::from("GET / HTTP/1.1\r\n");
        for line in lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// A complete request to `host`, with `extra` headers.
    fn upgrade(host: &str, extra: &[&str]) -> Vec<u8> {
        let host = format!("Host: {host}");
        let key = format!("Sec-WebSocket-Key: {KEY}");
        let mut lines = vec![
            host.as_str(),
            "Upgrade: WebSocket",
            "Connection: keep-alive, Upgrade",
            key.as_str(),
            "Sec-WebSocket-Version: 13",
        ];
        lines.extend(extra);
        request(&lines)
    }

    fn loopback() -> IpAddr {
        "127.0.0.1".parse().unwrap()
    }

    fn outcome(head: &[u8], policy: &Policy, local: &str) -> Result<bool, Refusal> {
        let upgrade = judge(head, policy, local.parse().unwrap(), None)?;
        assert_eq!(upgrade.accept, ACCEPT);
        Ok(upgrade.foreign_origin)
    }

    #[test]
    fn origins_on_a_loopback_listener() {
        let policy = Policy::new(loopback(), &[], &["https://demo.example".into()], &[]);
        let cases = [
            (None, Ok(false)),
            (Some("http://localhost:8080"), Ok(false)),
            (Some("http://127.0.0.1:3000"), Ok(false)),
            (Some("http://[::1]:3000"), Ok(false)),
            (Some("https://app.localhost"), Ok(false)),
            (Some("https://demo.example"), Ok(false)),
            (Some("https://DEMO.example"), Ok(false)),
            (Some("https://evil.example"), Err(Refusal::Origin)),
            (Some("https://demo.example.evil.example"), Err(Refusal::Origin)),
            (Some("http://localhost.evil.example"), Err(Refusal::Origin)),
            (Some("http://127.0.0.1.evil.example"), Err(Refusal::Origin)),
            (Some("null"), Err(Refusal::Origin)),
            (Some(""), Err(Refusal::Origin)),
            (Some("file://"), Err(Refusal::Origin)),
        ];
        for (origin, expected) in cases {
            let line = origin.map(|origin| format!("Origin: {origin}"));
            let extra: Vec<&str> = line.iter().map(String::as_str).collect();
            let head = upgrade("127.0.0.1:3001", &extra);
            assert_eq!(outcome(&head, &policy, "127.0.0.1"), expected, "{origin:?}");
        }
    }

    #[test]
    fn any_origin_passes_where_the_operator_says_so() {
        let policy = Policy::new(loopback(), &[], &["*".into()], &[]);
        let head = upgrade("localhost", &["Origin: null"]);
        assert_eq!(outcome(&head, &policy, "127.0.0.1"), Ok(true));
    }

    #[test]
    fn hosts_on_guarded_listeners() {
        let listed: Address = "/dns4/node.example/tcp/3001/ws".parse().unwrap();
        let private: IpAddr = "192.168.1.5".parse().unwrap();
        let cases = [
            (loopback(), "127.0.0.1:3001", Ok(false)),
            (loopback(), "localhost", Ok(false)),
            (loopback(), "[::1]:3001", Ok(false)),
            (loopback(), "Node.example:3001", Ok(false)),
            (loopback(), "rebound.example:3001", Err(Refusal::Host)),
            (loopback(), "localhost.evil.example", Err(Refusal::Host)),
            (loopback(), "192.168.1.5", Err(Refusal::Host)),
            (loopback(), "", Err(Refusal::Host)),
            (private, "192.168.1.5:3001", Ok(false)),
            (private, "node.example", Ok(false)),
            (private, "rebound.example", Err(Refusal::Host)),
        ];
        for (local, host, expected) in cases {
            let policy = Policy::new(local, std::slice::from_ref(&listed), &[], &[]);
            assert_eq!(outcome(&upgrade(host, &[]), &policy, &local.to_string()), expected, "{local} {host}");
        }
    }

    #[test]
    fn a_public_listener_counts_origins_and_takes_any_host() {
        for listen in ["0.0.0.0", "::", "93.184.216.34"] {
            let policy = Policy::new(listen.parse().unwrap(), &[], &[], &[]);
            assert!(!policy.guarded, "{listen}");
            let head = upgrade("whatever.example", &["Origin: https://page.example"]);
            assert_eq!(outcome(&head, &policy, "93.184.216.34"), Ok(true));
            assert_eq!(outcome(&upgrade("whatever.example", &[]), &policy, "93.184.216.34"), Ok(false));
        }
        // The same listener, reached over loopback.
        let policy = Policy::new("0.0.0.0".parse().unwrap(), &[], &[], &[]);
        assert_eq!(outcome(&upgrade("rebound.example", &[]), &policy, "127.0.0.1"), Err(Refusal::Host));
    }

    #[test]
    fn what_a_trusted_proxy_passes_on_from_the_internet_is_not_guarded() {
        let proxies = ["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let policy = Policy::new(loopback(), &[], &[], &proxies);
        assert!(policy.trusts(loopback()) && policy.trusts("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!policy.trusts("11.0.0.1".parse().unwrap()));
        let judged = |client: &str| {
            let told = format!("X-Forwarded-For: {client}, 10.1.2.3");
            let head = upgrade("node.example", &["Origin: https://page.example", &told]);
            let forwarded = forwarded_for(&head, &policy)?;
            judge(&head, &policy, loopback(), forwarded).map(|upgrade| upgrade.foreign_origin)
        };
        assert_eq!(judged("93.184.216.34"), Ok(true));
        // A page that somebody opened near the proxy.
        assert_eq!(judged("192.168.1.9"), Err(Refusal::Host));
        assert_eq!(judged("127.0.0.1"), Err(Refusal::Host));
        assert_eq!(judged("unknown"), Err(Refusal::Forwarded(ForwardedError::XForwardedFor)));
        assert_eq!(forwarded_for(&upgrade("localhost", &[]), &policy), Ok(None));
    }

    #[test]
    fn malformed_requests_get_their_status() {
        let bad = |what| Refusal::BadRequest(what);
        let key = format!("Sec-WebSocket-Key: {KEY}");
        let base =
            ["Host: localhost", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
        let with = |line: &str| request(&[&base[..], &[line]].concat());
        let without = |at: usize| {
            let mut lines = base.to_vec();
            lines.remove(at);
            lines.push(&key);
            request(&lines)
        };
        let many: Vec<String> = (0..125).map(|n| format!("X-{n}: y")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let bad_key = bad("Sec-WebSocket-Key: 16 bytes in base64");
        let cases: Vec<(Vec<u8>, Refusal)> = vec![
            (request(&["Host: localhost"]), Refusal::NoUpgrade),
            (without(0), bad("the header Host is missing")),
            (without(1), Refusal::NoUpgrade),
            (without(2), bad("the header Connection: Upgrade is missing")),
            (without(3), Refusal::Version),
            (
                request(&[
                    "Host: localhost",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    &key,
                    "Sec-WebSocket-Version: 12",
                ]),
                Refusal::Version,
            ),
            (request(&base), bad_key),
            (with("Sec-WebSocket-Key: c2hvcnQ="), bad_key),
            (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="), bad_key),
            (upgrade("localhost", &[&key]), bad("a header is repeated")),
            (upgrade("localhost", &["Host: other"]), bad("a header is repeated")),
            (upgrade("localhost", &["Origin: a", "Origin: b"]), bad("a header is repeated")),
            (upgrade("localhost", &many), Refusal::HeadTooLarge),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refusal::Method),
            (b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n".to_vec(), bad("only HTTP/1.1 is served")),
            (b"\x16\x03\x01\x02\0\x01\0\r\n\r\n".to_vec(), bad("this is no HTTP/1.1 request")),
            (b"{\"type\":\"hello\"}\r\n\r\n".to_vec(), bad("this is no HTTP/1.1 request")),
            (b"GET / HTTP/1.1\r\nHost".to_vec(), bad("the request is cut short")),
        ];
        for (head, expected) in cases {
            let outcome = judge(&head, &Policy::new(loopback(), &[], &[], &[]), loopback(), None);
            assert_eq!(outcome, Err(expected), "{}", String::from_utf8_lossy(&head));
        }
    }

    #[test]
    fn compression_is_not_negotiated() {
        let head =
            upgrade("localhost", &["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]);
        let response = judge(&head, &Policy::default(), loopback(), None).unwrap().response();
        assert_eq!(
            response,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    #[test]
    fn refusals_are_whole_http_answers() {
        let cases = [
            (Refusal::BadRequest("what"), "HTTP/1.1 400 "),
            (Refusal::Forwarded(ForwardedError::Disagree), "HTTP/1.1 400 "),
            (Refusal::Origin, "HTTP/1.1 403 "),
            (Refusal::Host, "HTTP/1.1 403 "),
            (Refusal::Method, "HTTP/1.1 405 "),
            (Refusal::NoUpgrade, "HTTP/1.1 426 "),
            (Refusal::Version, "HTTP/1.1 426 "),
            (Refusal::HeadTooLarge, "HTTP/1.1 431 "),
            (Refusal::PerIp, "HTTP/1.1 429 "),
            (Refusal::Total, "HTTP/1.1 503 "),
        ];
        for (refusal, start) in cases {
            let response = refusal.response();
            assert!(response.starts_with(start), "{response}");
            let (head, body) = response.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{response}");
            assert!(head.contains("Connection: close"), "{response}");
        }
    }

    #[test]
    fn the_end_of_the_head_is_found_however_it_arrives() {
        let bytes = b"GET / HTTP/1.1\r\n\r\nrest";
        for arrived in 0..=bytes.len() {
            let expected = (arrived >= 18).then_some(18);
            assert_eq!(head_end(&bytes[..arrived], 0), expected);
            // Looked at byte by byte.
            let found = (0..=arrived).find_map(|end| head_end(&bytes[..end], end.saturating_sub(1)));
            assert_eq!(found, expected);
        }
    }
}
