//! Lines from stdin, read by a thread of its own: a terminal or pipe may block for ever.

use std::io::{self, BufRead, Read as _};

use tokio::sync::mpsc;

/// Longest line, bytes without its newline: the default bound of a message.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Lines read ahead.
const LINES_AHEAD: usize = 16;

/// What came from stdin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line without its newline.
    Line(Vec<u8>),
    /// A line above the bound; it is left out.
    TooLong,
    /// Reading failed; nothing more comes.
    Failed(String),
}

/// Reads stdin to its end, or until nobody listens.
pub(crate) fn lines() -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    let failed = sender.clone();
    let read = move || {
        let mut stdin = io::stdin().lock();
        while let Some(input) = next(&mut stdin, LINE_BYTES_MAX) {
            let last = matches!(input, Input::Failed(_));
            if sender.blocking_send(input).is_err() || last {
                return;
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("stdin".into()).spawn(read) {
        let _ = failed.try_send(Input::Failed(error.to_string()));
    }
    receiver
}

fn next(reader: &mut impl BufRead, bytes_max: usize) -> Option<Input> {
    let mut line = Vec::new();
    let bound = (bytes_max as u64).saturating_add(1);
    let outcome = reader.by_ref().take(bound).read_until(b'\n', &mut line);
    match outcome {
        Err(error) => Some(Input::Failed(error.to_string())),
        Ok(0) => None,
        Ok(_) if line.last() == Some(&b'\n') => {
            line.pop();
            Some(Input::Line(line))
        }
        Ok(_) if line.len() <= bytes_max => Some(Input::Line(line)),
        Ok(_) => Some(match skip_line(reader) {
            Ok(()) => Input::TooLong,
            Err(error) => Input::Failed(error.to_string()),
        }),
    }
}

/// Reads on to the next newline or the end.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let newline = buffer.iter().position(|byte| *byte == b'\n');
        let used = newline.map_or(buffer.len(), |at| at.saturating_add(1));
        reader.consume(used);
        if newline.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Input> {
        let mut reader = io::BufReader::with_capacity(3, bytes);
        std::iter::from_fn(|| next(&mut reader, 5)).collect()
    }

    #[test]
    fn lines_lose_their_newline_and_nothing_else() {
        let line = |bytes: &[u8]| Input::Line(bytes.to_vec());
        assert_eq!(read(b""), []);
        assert_eq!(read(b"a"), [line(b"a")]);
        assert_eq!(read(b"a\n\nb\r\n\xFF"), [line(b"a"), line(b""), line(b"b\r"), line(b"\xFF")]);
        assert_eq!(read(b"12345\n1234567890\nend"), [line(b"12345"), Input::TooLong, line(b"end")]);
        assert_eq!(read(b"123456"), [Input::TooLong]);
    }
}
