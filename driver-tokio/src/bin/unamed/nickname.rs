//! Nicknames: what members say of themselves, as text. They come from strangers, and go to a terminal.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest nickname, bytes: what a member may say of itself.
const BYTES_MAX: usize = unamed_protocol::wire::MemberStatement::DATA_BYTES_MAX;
/// Characters of a nickname that are shown.
const SHOWN_MAX: usize = 32;

/// Why a text is no nickname.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NicknameError {
    /// It has more than `max` bytes.
    TooLong {
        /// The bound.
        max: usize,
    },
    /// It has a character that steers a terminal, or turns the direction of writing.
    Unprintable(char),
}

impl fmt::Display for NicknameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { max } => write!(f, "a name has at most {max} bytes"),
            Self::Unprintable(c) => {
                write!(
                    f,
                    "a name has no control characters or marks of direction, as U+{:04X}",
                    u32::from(*c)
                )
            }
        }
    }
}

impl std::error::Error for NicknameError {}

/// Whether a character breaks lines, steers a terminal or changes the direction of writing.
pub(crate) fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A nickname as it is typed; empty for none.
pub(crate) fn parse(text: &str) -> Result<String, NicknameError> {
    let name = text.trim();
    if name.len() > BYTES_MAX {
        return Err(NicknameError::TooLong { max: BYTES_MAX });
    }
    let mark = |c: char| matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}');
    match name.chars().find(|c| steers(*c) || mark(*c)) {
        Some(c) => Err(NicknameError::Unprintable(c)),
        None => Ok(name.to_owned()),
    }
}

/// What a line of input means where nicknames are in use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A message.
    Message(Vec<u8>),
    /// Another nickname.
    Name(Result<String, NicknameError>),
}

/// Reads a line: `/name NEW` is a command, and a line that begins with `//name` a message without its first slash.
pub(crate) fn read(mut line: Vec<u8>) -> Typed {
    if line.starts_with(b"//name") {
        return Typed::Message(line.split_off(1));
    }
    match line.strip_prefix(b"/name") {
        Some(rest) if rest.first().is_none_or(u8::is_ascii_whitespace) => {
            Typed::Name(parse(&String::from_utf8_lossy(rest)))
        }
        Some(_) | None => Typed::Message(line),
    }
}

/// What a member says of itself, for a terminal: quoted, short, and with everything escaped that is no printable
/// character, so that it can look like nothing but a name. `None` if it says nothing.
pub(crate) fn shown(data: &[u8]) -> Option<String> {
    if data.is_empty() {
        return None;
    }
    let Ok(text) = str::from_utf8(data) else { return Some(format!("({} bytes)", data.len())) };
    let mut short: String = text.chars().take(SHOWN_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    Some(format!("{short:?}"))
}

/// The same for scripts: the text, or the bytes in base64.
pub(crate) fn for_scripts(data: &[u8]) -> (Option<String>, Option<String>) {
    match str::from_utf8(data) {
        Ok("") => (None, None),
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(data))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_in_one_line_and_one_direction() {
        assert_eq!(parse("  Änne 🦀 O'Neill\t"), Ok("Änne 🦀 O'Neill".to_owned()));
        assert_eq!(parse(""), Ok(String::new()));
        assert_eq!(parse(&"n".repeat(1024)).map(|name| name.len()), Ok(1024));
        assert_eq!(parse(&"n".repeat(1025)), Err(NicknameError::TooLong { max: 1024 }));
        for c in
            ['\u{1B}', '\u{7F}', '\n', '\u{9B}', '\u{200F}', '\u{202E}', '\u{2067}', '\u{2028}', '\u{61C}']
        {
            assert_eq!(parse(&format!("a{c}b")), Err(NicknameError::Unprintable(c)));
        }
        let error = parse("a\u{202E}b").unwrap_err().to_string();
        assert!(error.contains("U+202E"), "{error}");
    }

    #[test]
    fn a_line_renames_or_is_a_message() {
        let message = |text: &str| Typed::Message(text.into());
        let name = |text: &str| Typed::Name(Ok(text.to_owned()));
        let typed = |text: &str| read(text.into());
        assert_eq!(typed("/name Anna B."), name("Anna B."));
        assert_eq!(typed("/name"), name(""));
        assert_eq!(typed("/name\t"), name(""));
        assert_eq!(typed("/name \u{1B}[2J"), Typed::Name(Err(NicknameError::Unprintable('\u{1B}'))));
        for text in ["", "hello", " /name x", "/names", "/Name x", "/"] {
            assert_eq!(typed(text), message(text));
        }
        assert_eq!(typed("//name x"), message("/name x"));
        assert_eq!(typed("///name"), message("///name"));
        assert_eq!(read(b"\xFF".to_vec()), Typed::Message(b"\xFF".to_vec()));
    }

    #[test]
    fn a_name_of_a_stranger_looks_like_nothing_but_a_name() {
        let shown = |text: &str| shown(text.as_bytes());
        assert_eq!(shown(""), None);
        assert_eq!(shown("Änne 🦀").as_deref(), Some("\"Änne 🦀\""));
        assert_eq!(shown("a\" joined\n12D3Koo").as_deref(), Some(r#""a\" joined\n12D3Koo""#));
        for c in [
            '\u{1B}', '\u{9B}', '\u{61C}', '\u{200E}', '\u{200F}', '\u{202E}', '\u{2066}', '\u{2028}',
            '\u{200B}',
        ] {
            let text = shown(&format!("a{c}b")).unwrap();
            assert!(!text.contains(c), "U+{:04X} is escaped: {}", u32::from(c), text.escape_unicode());
        }
        let long = shown(&"x".repeat(1024)).unwrap();
        assert_eq!(long, format!("\"{}…\"", "x".repeat(32)));
        assert_eq!(super::shown(b"\xFF\x00").as_deref(), Some("(2 bytes)"));
    }
}
