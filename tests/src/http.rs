//! Plain HTTP requests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::DEADLINE;

/// What `http://AT/PATH` answers to a request with this `Host`: status and body.
///
/// # Panics
/// If it is not reached, or does not answer in time.
#[must_use]
#[track_caller]
pub fn http_get(at: SocketAddr, path: &str, host: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        .expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}
