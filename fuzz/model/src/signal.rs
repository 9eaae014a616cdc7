//! What a WebRTC stack or a peer says of itself: session descriptions, candidates, signals, ICE servers.

use unamed_protocol::signal::{CANDIDATES_MAX, Candidate, Description, IceServer, Signal};
use unamed_protocol::wire::{decode_body, encode_body};

/// Reads the input as a session description, a candidate line, an encoded signal, or an ICE server's URL, as its first byte
/// says.
///
/// # Panics
/// If what is read is not written as something that reads back the same, or text that was written leaves its line.
pub(crate) fn signal(input: &[u8]) {
    let Some((selector, rest)) = input.split_first() else { return };
    match selector % 4 {
        0 => read_description(&String::from_utf8_lossy(rest)),
        1 => read_candidate(&String::from_utf8_lossy(rest)),
        2 => read_signal(rest),
        _ => read_server(&String::from_utf8_lossy(rest)),
    }
}

fn read_description(text: &str) {
    if let Ok(description) = Description::from_sdp(text) {
        written(&description);
        let signal = Signal::Offer(description);
        assert_eq!(decode_body(&encode_body(&signal)), Ok(signal));
    }
}

fn written(description: &Description) {
    let sdp = description.to_sdp();
    assert_eq!(Description::from_sdp(&sdp).as_ref(), Ok(description), "{sdp}");
    let count = |prefix: &str| sdp.split("\r\n").filter(|line| line.starts_with(prefix)).count();
    let expected =
        [("m=", 1), ("a=fingerprint:", 1), ("a=ice-ufrag:", 1), ("a=ice-pwd:", 1), ("a=setup:", 1)];
    for (prefix, lines) in expected {
        assert_eq!(count(prefix), lines, "{prefix} in {sdp}");
    }
    assert_eq!(count("a=candidate:"), description.candidates.len());
    assert!(description.candidates.len() <= CANDIDATES_MAX);
}

fn read_candidate(text: &str) {
    if let Ok(Some(candidate)) = Candidate::from_sdp(text) {
        let line = candidate.to_sdp();
        assert!(!line.contains(['\r', '\n']), "{line}");
        assert_eq!(Candidate::from_sdp(&line), Ok(Some(candidate)), "{line}");
    }
}

fn read_signal(bytes: &[u8]) {
    let Ok(signal) = decode_body::<Signal>(bytes) else { return };
    assert_eq!(encode_body(&signal), bytes, "one value, one encoding");
    match &signal {
        Signal::Offer(description) | Signal::Answer(description) => written(description),
        Signal::Candidate(candidate) => read_candidate(&candidate.to_sdp()),
        Signal::EndOfCandidates => {}
    }
}

fn read_server(url: &str) {
    for credential in [None, Some(("user", "secret"))] {
        if let Ok(server) = IceServer::new(url, credential) {
            assert!(!server.host().is_empty() && server.url() == url, "{url}");
            assert_eq!(decode_body(&encode_body(&server)), Ok(server));
        }
    }
}
