//! Who is behind a proxy: `X-Forwarded-For` and `Forwarded` (RFC 7239), judged without I/O.
//!
//! Each proxy appends the address that it saw, so a header is to be believed from its right end on, as far as the addresses
//! are those of trusted proxies; the first that is not is the client's, and what stands left of it is the client's word. A
//! proxy that sets one header lets the other pass as the client sent it: where both are there, they must agree.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Why the headers of a proxy do not tell who is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForwardedError {
    /// An entry of `X-Forwarded-For` that counts is no IP address.
    XForwardedFor,
    /// `Forwarded` is not as RFC 7239 has it, or an element that counts names no IP address.
    Forwarded,
    /// The headers name different clients.
    Disagree,
}

impl ForwardedError {
    /// In words, for an answer.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::XForwardedFor => "X-Forwarded-For: an IP address is expected",
            Self::Forwarded => "Forwarded: for= with an IP address is expected (RFC 7239)",
            Self::Disagree => "X-Forwarded-For and Forwarded name different clients",
        }
    }
}

impl fmt::Display for ForwardedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The client behind a trusted proxy, by the values of both headers in order of the request; `None` if there is no header.
pub(crate) fn client(
    x_forwarded_for: &[&str],
    forwarded: &[&str],
    trusts: impl Fn(IpAddr) -> bool,
) -> Result<Option<IpAddr>, ForwardedError> {
    let by_list = x_forwarded_for.iter().rev().flat_map(|value| value.rsplit(','));
    let by_list =
        farthest(by_list.map(|entry| address(entry.trim()).ok_or(ForwardedError::XForwardedFor)), &trusts)?;
    let mut elements = Vec::new();
    for value in forwarded {
        // Line by line: a quote that one hop left open must not swallow what the next one says.
        elements.extend(elements_of(value).ok_or(ForwardedError::Forwarded)?);
    }
    let by_elements = elements.into_iter().rev();
    let by_elements =
        by_elements.map(|node| node.and_then(|node| address(&node)).ok_or(ForwardedError::Forwarded));
    match (by_list, farthest(by_elements, &trusts)?) {
        (Some(one), Some(other)) if one != other => Err(ForwardedError::Disagree),
        (one, other) => Ok(one.or(other)),
    }
}

/// The first address that is not trusted, nearest first; if all are, the last.
fn farthest(
    addresses: impl Iterator<Item = Result<IpAddr, ForwardedError>>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Result<Option<IpAddr>, ForwardedError> {
    let mut last = None;
    for address in addresses {
        let address = address?;
        last = Some(address);
        if !trusts(address) {
            break;
        }
    }
    Ok(last)
}

/// An IP address, with or without port, IPv6 in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let ip = text.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    ip.or_else(bracketed).map(|ip: IpAddr| ip.to_canonical())
}

/// What `for` says in each element of a value of `Forwarded`; `None` if the value is malformed. Empty pairs and elements, which
/// the RFC lets pass and nobody sends, are refused.
fn elements_of(value: &str) -> Option<Vec<Option<String>>> {
    let mut rest = value.trim();
    let mut elements = Vec::new();
    let mut named = None;
    loop {
        let (name, after) = token(rest)?;
        let (text, after) = parameter(after.strip_prefix('=')?)?;
        if name.eq_ignore_ascii_case("for") && named.replace(text).is_some() {
            return None;
        }
        let after = after.trim_start();
        if let Some(after) = after.strip_prefix(';') {
            rest = after.trim_start();
            continue;
        }
        elements.push(named.take());
        match after.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None => return after.is_empty().then_some(elements),
        }
    }
}

/// A token (RFC 9110, section 5.6.2) and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    if end == 0 { None } else { text.split_at_checked(end) }
}

/// A token or a quoted string, and what follows it. Colons and brackets, which want quotes, are let pass without.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t', '"']).unwrap_or(text.len());
        return if end == 0 {
            None
        } else {
            text.split_at_checked(end).map(|(text, rest)| (text.to_owned(), rest))
        };
    };
    let mut content = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((content, quoted.get(at.checked_add(1)?..)?)),
            '\\' => content.push(chars.next()?.1),
            c => content.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(ip: IpAddr) -> bool {
        ip.is_loopback() || ip.to_string().starts_with("10.")
    }

    fn of(x_forwarded_for: &[&str], forwarded: &[&str]) -> Result<Option<String>, ForwardedError> {
        client(x_forwarded_for, forwarded, trusts).map(|ip| ip.map(|ip| ip.to_string()))
    }

    #[track_caller]
    fn assert_client(x_forwarded_for: &[&str], forwarded: &[&str], expected: &str) {
        assert_eq!(of(x_forwarded_for, forwarded), Ok(Some(expected.to_owned())));
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_client() {
        assert_eq!(of(&[], &[]), Ok(None));
        for (value, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
            ("6.6.6.6, 203.0.113.7, 10.1.2.3,127.0.0.1", "203.0.113.7"),
            ("nonsense, 203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ] {
            assert_client(&[value], &[], expected);
        }
        assert_client(&["6.6.6.6", "203.0.113.7, 10.0.0.1"], &[], "203.0.113.7");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (value, expected) in [
            // Its examples.
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
            ("for=192.0.2.43, for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
            // Spaces and case.
            ("proto=https; FOR=203.0.113.7 , for=10.0.0.1", "203.0.113.7"),
            ("for=unknown, for=203.0.113.7", "203.0.113.7"),
            ("for=_hidden, for=203.0.113.7", "203.0.113.7"),
            ("for=\"a\\\"b\", for=203.0.113.7", "203.0.113.7"),
        ] {
            assert_client(&[], &[value], expected);
        }
        assert_client(&[], &["for=6.6.6.6", "for=203.0.113.7, for=10.0.0.1"], "203.0.113.7");
    }

    #[test]
    fn what_does_not_tell_the_client_is_an_error() {
        for value in [
            "",
            "nonsense",
            "203.0.113.7, unknown",
            "203.0.113.7,",
            "1.2.3",
            "1.2.3.4 5",
            "10.0.0.1,x,10.0.0.1",
        ] {
            assert_eq!(of(&[value], &[]), Err(ForwardedError::XForwardedFor), "{value:?}");
        }
        let malformed = [
            "",
            "for",
            "for=",
            "for=203.0.113.7,",
            "for=203.0.113.7;",
            "for=203.0.113.7;for=203.0.113.8",
            "for=\"203.0.113.7",
            "for=203.0.113.7 junk",
            "for=\"203.0.113.7\"junk",
            "=203.0.113.7",
            "by=203.0.113.43",
            "for=203.0.113.7, by=203.0.113.43",
            "for=unknown",
            "for=_hidden",
        ];
        for value in malformed {
            assert_eq!(of(&[], &[value]), Err(ForwardedError::Forwarded), "{value:?}");
        }
    }

    proptest::proptest! {
        /// Whatever a client sends, what its proxy appends counts, or the request is refused.
        #[test]
        fn what_the_proxy_appends_is_the_client_or_nothing(said in "[ -~]{0,60}", quoted in proptest::bool::ANY) {
            let appended = format!("{said}, 203.0.113.7");
            proptest::prop_assert_eq!(of(&[&appended], &[]), Ok(Some("203.0.113.7".into())));
            let (node, ip) = if quoted { ("\"[2001:db8::1]:80\"", "2001:db8::1") } else { ("203.0.113.7", "203.0.113.7") };
            let appended = format!("{said}, for={node}");
            let lines = [said.as_str(), &format!("for={node}")].map(str::to_owned);
            let outcomes = [of(&[], &[&appended]), of(&[], &[&lines[0], &lines[1]])];
            for outcome in outcomes {
                let fine = outcome == Ok(Some(ip.to_owned())) || outcome == Err(ForwardedError::Forwarded);
                proptest::prop_assert!(fine, "{:?}", outcome);
            }
        }

        #[test]
        fn any_headers_are_judged(one in ".{0,40}", other in "(for|by|=|;|,|\"|\\\\|\\[|:|1\\.2\\.3\\.4| ){0,12}") {
            let _ = of(&[&one, &other], &[&other, &one]);
        }
    }

    #[test]
    fn a_client_cannot_speak_for_the_proxy() {
        // The proxy sets one header, the client made up the other.
        assert_eq!(of(&["203.0.113.7"], &["for=6.6.6.6"]), Err(ForwardedError::Disagree));
        assert_client(&["203.0.113.7"], &["for=203.0.113.7"], "203.0.113.7");
        // A quote left open, which the proxy's own quotes would close.
        let appended = "for=6.6.6.6;x=\", for=\"[2001:db8::1]\"";
        assert_eq!(of(&[], &[appended]), Err(ForwardedError::Forwarded));
        // As lines of their own.
        assert_eq!(of(&[], &["for=\"6.6.6.6", "for=203.0.113.7"]), Err(ForwardedError::Forwarded));
    }
}
