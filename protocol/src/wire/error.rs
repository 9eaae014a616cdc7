//! Why bytes were refused.

use alloc::string::ToString as _;
use core::fmt;

use super::bounded::{DUPLICATE, TOO_MANY};

/// Why a message, a payload or a signed object was refused. Nothing of it was used.
///
/// Offsets count from the first byte of what was decoded: of a message that is its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecodeError {
    /// There is no byte.
    Empty,
    /// The bytes end within an item.
    Truncated {
        /// Where the item begins that does not fit.
        offset: usize,
    },
    /// Bytes follow the end.
    Trailing {
        /// How many.
        extra: usize,
    },
    /// No message has this kind. Newer peers may send it: skip and count.
    UnknownKind(u8),
    /// A signed object of another version.
    UnknownVersion(u8),
    /// A length is announced that no message can have ([`LENGTH_MAX`](super::LENGTH_MAX)).
    LengthExceedsFrame,
    /// The whole is longer than its kind may be.
    TooLarge {
        /// The bound in bytes.
        max: usize,
    },
    /// A variable-length integer is too long for its type or not in its shortest form.
    BadVarint,
    /// A list has more items than its bound.
    TooMany,
    /// A text is not UTF-8.
    Utf8,
    /// A boolean is neither 0 nor 1.
    BadBool,
    /// A discriminant has no meaning.
    BadEnum,
    /// A list names an item twice, or is not in ascending order where it must be.
    Duplicate,
    /// A value breaks a rule of its type.
    Invalid,
}

impl DecodeError {
    /// A stable lower-case name, for counters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Truncated { .. } => "truncated",
            Self::Trailing { .. } => "trailing",
            Self::UnknownKind(_) => "unknown-kind",
            Self::UnknownVersion(_) => "unknown-version",
            Self::LengthExceedsFrame => "length-exceeds-frame",
            Self::TooLarge { .. } => "too-large",
            Self::BadVarint => "bad-varint",
            Self::TooMany => "too-many",
            Self::Utf8 => "utf8",
            Self::BadBool => "bad-bool",
            Self::BadEnum => "bad-enum",
            Self::Duplicate => "duplicate",
            Self::Invalid => "invalid",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no bytes"),
            Self::Truncated { offset } => write!(f, "the bytes end within the item at offset {offset}"),
            Self::Trailing { extra } => write!(f, "{extra} bytes follow the end"),
            Self::UnknownKind(kind) => write!(f, "unknown kind {kind}"),
            Self::UnknownVersion(version) => write!(f, "unknown version {version}"),
            Self::LengthExceedsFrame => f.write_str("a length exceeds what a message can hold"),
            Self::TooLarge { max } => write!(f, "longer than {max} bytes"),
            Self::BadVarint => f.write_str("an integer is too long or not in its shortest form"),
            Self::TooMany => f.write_str(TOO_MANY),
            Self::Utf8 => f.write_str("a text is not UTF-8"),
            Self::BadBool => f.write_str("a boolean is neither 0 nor 1"),
            Self::BadEnum => f.write_str("an unknown discriminant"),
            Self::Duplicate => f.write_str(DUPLICATE),
            Self::Invalid => f.write_str("a value breaks a rule of its type"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    /// Visitors can only speak in text, so the two texts of lists are recognised here.
    fn custom<T: fmt::Display>(message: T) -> Self {
        match message.to_string().as_str() {
            TOO_MANY => Self::TooMany,
            DUPLICATE => Self::Duplicate,
            _ => Self::Invalid,
        }
    }

    fn invalid_length(_: usize, _: &dyn serde::de::Expected) -> Self {
        Self::Invalid
    }
}
