//! A WebSocket client of a few lines that can break every rule.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// By when a server must have ended a connection: above every deadline of its own.
const PATIENCE: Duration = Duration::from_secs(25);

/// How a connection went, as seen by who misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The HTTP status, if the answer began with one.
    pub(crate) status: Option<u16>,
    /// The reason in a refusal sent in the clear, see `docs/protocol.md`.
    pub(crate) refused: Option<u8>,
    /// Whether the server ended the connection in time.
    pub(crate) ended: bool,
}

/// A good request for an upgrade, with these further header lines.
pub(crate) fn upgrade(port: u16, more: &str) -> Vec<u8> {
    request(
        "GET",
        &format!("127.0.0.1:{port}"),
        &format!("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}"),
        13,
    )
}

/// A request as given.
pub(crate) fn request(method: &str, host: &str, more: &str, version: u8) -> Vec<u8> {
    format!(
        "{method} / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: {version}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// A client's frame: the first byte as given, the payload under a mask of zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_claiming(first, payload.len() as u64, payload)
}

/// As [`frame`], with a length that need not be true.
pub(crate) fn frame_claiming(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(0x80 | short),
        (_, Ok(middle)) => {
            out.push(0x80 | 126);
            out.extend(middle.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(0x80 | 127);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

/// Sends `parts`, each once the server has answered the one before, and watches what comes until the end.
pub(crate) fn play(port: u16, parts: &[Vec<u8>]) -> Outcome {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let until = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    let mut parts = parts.iter();
    send(&mut stream, parts.next());
    loop {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return judge(&answer, true),
            Ok(count) => {
                answer.extend(&buffer[..count]);
                // The answer to an upgrade ends with an empty line; all else is answered by one frame.
                if !answer.starts_with(b"HTTP") || answer.windows(4).any(|window| window == b"\r\n\r\n") {
                    send(&mut stream, parts.next());
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return judge(&answer, true),
        }
        if Instant::now() > until {
            return judge(&answer, false);
        }
    }
}

fn send(stream: &mut TcpStream, part: Option<&Vec<u8>>) {
    if let Some(part) = part {
        // The server may have ended the connection already: reading shows it.
        let _ = stream.write_all(part);
    }
}

fn judge(answer: &[u8], ended: bool) -> Outcome {
    let text = String::from_utf8_lossy(answer.get(..12).unwrap_or_default()).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|status| status.parse().ok());
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    Outcome { status, refused: refusal(answer.get(body..).unwrap_or_default()), ended }
}

/// The reason in the first refusal among a server's frames. None of its frames before the link is up has 126 bytes or
/// more, but for the handshake's second message.
fn refusal(mut frames: &[u8]) -> Option<u8> {
    loop {
        let (length, payload) = match frames {
            [_, length @ 0..=125, payload @ ..] => (usize::from(*length), payload),
            [_, 126, high, low, payload @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), payload),
            _ => return None,
        };
        if frames[0] == 0x82
            && let [1, 4, reason, ..] = payload
        {
            return Some(*reason);
        }
        frames = payload.get(length..)?;
    }
}
