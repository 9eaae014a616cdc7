use alloc::string::ToString as _;
use alloc::vec::Vec;
use alloc::{format, vec};

use super::*;
use crate::wire::{DecodeError, decode_body, encode_body};

/// As Chromium writes it.
const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
    c=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2113937151 0a1b2c3d-0e4f-4a5b-8c6d-7e8f9a0b1c2d.local 51234 typ host generation 0\r\n\
    a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n\
    a=candidate:3 1 udp 1677729535 198.51.100.7 40000 typ srflx raddr 192.0.2.1 rport 51234\r\n\
    a=ice-ufrag:F7gI\r\na=ice-pwd:x9cml/YzichV2+XlhiMu8gHu\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";

fn offer() -> Description {
    Description::from_sdp(OFFER).unwrap()
}

#[test]
fn a_stack_s_description_gives_its_fields() {
    let offer = offer();
    assert_eq!(offer.ufrag.as_str(), "F7gI");
    assert_eq!(offer.pwd.as_str(), "x9cml/YzichV2+XlhiMu8gHu");
    assert_eq!(offer.setup, Setup::ActPass);
    assert_eq!(offer.fingerprint.0.to_vec(), (0..32).collect::<Vec<u8>>());
    let hosts: Vec<_> = offer.candidates.iter().map(|candidate| candidate.host.to_string()).collect();
    assert_eq!(hosts, ["0a1b2c3d-0e4f-4a5b-8c6d-7e8f9a0b1c2d.local", "198.51.100.7"], "TCP is left out");
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let offer = offer();
    assert_eq!(Description::from_sdp(&offer.to_sdp()), Ok(offer.clone()));
    assert_eq!(decode_body(&encode_body(&Signal::Offer(offer.clone()))), Ok(Signal::Offer(offer.clone())));
    for candidate in offer.candidates.iter() {
        assert_eq!(Candidate::from_sdp(&candidate.to_sdp()), Ok(Some(candidate.clone())));
        assert_eq!(Candidate::from_sdp(&format!("a={}", candidate.to_sdp())), Ok(Some(candidate.clone())));
    }
}

#[test]
fn a10_b75_b76_descriptions_of_anything_else_are_refused() {
    let cases = [
        (OFFER.replace("a=ice-ufrag:F7gI", "a=ice-ufrag:F7g"), SdpError::Ice),
        (OFFER.replace("a=ice-ufrag:F7gI\r\n", ""), SdpError::Ice),
        (OFFER.replace("x9cml/", "x9 ml/"), SdpError::Ice),
        (OFFER.replace("a=setup:actpass", "a=setup:holdconn"), SdpError::Setup),
        (OFFER.replace("sha-256", "sha-1"), SdpError::Fingerprint),
        (OFFER.replace(":1E:1F", ":1E"), SdpError::Fingerprint),
        (OFFER.replace(":1E:1F", ":1E:1F:20"), SdpError::Fingerprint),
        (OFFER.replace(":1E:1F", ":1E:+F"), SdpError::Fingerprint),
        (format!("{OFFER}{}", other_fingerprint()), SdpError::Fingerprint),
        (OFFER.replace("m=application", "m=audio"), SdpError::Media),
        (format!("{OFFER}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"), SdpError::Media),
        (OFFER.replace("typ srflx", "type srflx"), SdpError::Candidate),
        (OFFER.replace("40000 typ", "70000 typ"), SdpError::Candidate),
        (format!("{OFFER}{}", " ".repeat(65_536)), SdpError::TooLong),
    ];
    for (sdp, error) in cases {
        assert_eq!(Description::from_sdp(&sdp), Err(error), "{sdp}");
    }
}

fn other_fingerprint() -> String {
    format!("a=fingerprint:sha-256 {}\r\n", Fingerprint([7; 32]))
}

#[test]
fn b77_text_that_would_leave_its_line_is_none() {
    for text in ["abc", "abc\r\n", "ab cd", "ab\0cd", "äbcd", "abcd\u{2028}", &"a".repeat(257)] {
        assert_eq!(IceText::<4>::new(text), None, "{text:?}");
    }
    assert!(IceText::<4>::new(&"a".repeat(256)).is_some());
    assert_eq!(IceText::<22>::new("abcdefghijklmnopqrstu"), None);
}

#[test]
fn b76_b77_b79_a_decoder_takes_legal_values_only() {
    let good = encode_body(&offer());
    let at = good.windows(4).position(|window| window == b"F7gI").unwrap();
    let mut injected = good.clone();
    injected[at..at + 4].copy_from_slice(b"a\r\na");
    assert_eq!(decode_body::<Description>(&injected), Err(DecodeError::Invalid));
    let host = CandidateHost::V4([192, 0, 2, 1]);
    for (host, port, priority) in [
        (host, 0, 1),
        (host, 1, 0),
        (host, 1, 1 << 31),
        (CandidateHost::V4([0; 4]), 1, 1),
        (CandidateHost::V4([224, 0, 0, 251]), 1, 1),
        (CandidateHost::V4([255; 4]), 1, 1),
        (CandidateHost::V6([0; 16]), 1, 1),
        (CandidateHost::V6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]), 1, 1),
    ] {
        let bytes = encode_body(&(CandidateKind::Host, host, port as u16, priority as u32));
        assert_eq!(decode_body::<Candidate>(&bytes), Err(DecodeError::Invalid), "{host} {port} {priority}");
    }
    let name = encode_body(&(CandidateKind::Relayed, CandidateHost::Mdns([1; 16]), 1_u16, 1_u32));
    assert_eq!(decode_body::<Candidate>(&name), Err(DecodeError::Invalid), "names are of host candidates");
    let many = encode_body(&vec![offer().candidates[0].clone(); CANDIDATES_MAX + 1]);
    assert_eq!(decode_body::<Bounded<Candidate, CANDIDATES_MAX>>(&many), Err(DecodeError::TooMany));
}

#[test]
fn candidates_that_no_peer_could_use_are_left_out() {
    for line in [
        "candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
        "candidate:1 2 udp 1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 host.example 9 typ host",
        "candidate:1 1 udp 1 0.0.0.0 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 0 typ host",
    ] {
        assert_eq!(Candidate::from_sdp(line), Ok(None), "{line}");
    }
    for line in
        ["", "candidate:", "candidate:1 1 udp x 192.0.2.1 9 typ host", "1 1 udp 1 192.0.2.1 9 typ host"]
    {
        assert_eq!(Candidate::from_sdp(line), Err(SdpError::Candidate), "{line}");
    }
}

#[test]
fn ice_servers_are_stun_or_turn() {
    let credential = Some(("me", "secret"));
    for (url, turn, host, port, by_address) in [
        ("stun:stun.example", false, "stun.example", 3478, "stun:192.0.2.1:9"),
        ("stun:192.0.2.7:5", false, "192.0.2.7", 5, "stun:192.0.2.1:9"),
        ("turn:[2001:db8::1]?transport=udp", true, "2001:db8::1", 3478, "turn:192.0.2.1:9?transport=udp"),
        ("turns:a.example?transport=tcp", true, "a.example", 5349, "turns:192.0.2.1:9?transport=tcp"),
        ("turns:[2001:db8::1]:443", true, "2001:db8::1", 443, "turns:192.0.2.1:9"),
    ] {
        let server = IceServer::new(url, credential.filter(|_| turn)).unwrap();
        assert_eq!((server.is_turn(), server.host(), server.port()), (turn, host, port), "{url}");
        let resolved = server.at("192.0.2.1:9".parse().unwrap()).unwrap();
        assert_eq!((resolved.url(), resolved.credential()), (by_address, server.credential()));
    }
    let longest = IceServer::new(&format!("stun:a?{}", "x".repeat(249)), None).unwrap();
    assert_eq!(longest.at("192.0.2.1:9".parse().unwrap()), Err(IceServerError::Text));
    let turn = IceServer::new("turn:example", credential).unwrap();
    assert!(!format!("{turn:?}").contains("secret"));
    assert_eq!(decode_body(&encode_body(&turn)), Ok(turn));
    for (url, credential, error) in [
        ("http://example", None, IceServerError::Scheme),
        ("stun.example", None, IceServerError::Scheme),
        ("stun:", None, IceServerError::Url),
        ("stun::3478", None, IceServerError::Url),
        ("stun:[]", None, IceServerError::Url),
        ("stun:[]:3478", None, IceServerError::Url),
        ("stun:[example]:3478", None, IceServerError::Url),
        ("stun:[2001:db8::1", None, IceServerError::Url),
        ("stun:[2001:db8::1]3478", None, IceServerError::Url),
        ("stun:2001:db8::1", None, IceServerError::Url),
        ("stun:ex[ample", None, IceServerError::Url),
        ("stun:example:", None, IceServerError::Url),
        ("stun:example:0", None, IceServerError::Url),
        ("stun:example:65536", None, IceServerError::Url),
        ("turns:[]4rns:[2011:db8::", Some(("a", "b")), IceServerError::Url),
        ("stun:a b", None, IceServerError::Url),
        ("stun:example", Some(("a", "b")), IceServerError::Credential),
        ("turn:example", None, IceServerError::Credential),
        ("turn:example", Some(("a\n", "b")), IceServerError::Text),
    ] {
        assert_eq!(IceServer::new(url, credential), Err(error), "{url}");
    }
    let long = format!("stun:{}", "a".repeat(300));
    assert_eq!(IceServer::new(&long, None), Err(IceServerError::Text));
}
