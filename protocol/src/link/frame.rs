//! The outermost layer: frame headers, the preamble, refusals, and variable-length integers.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::CloseReason;
use crate::crypto::TAG_BYTES;

/// The wire version that this crate speaks: the first byte of each frame.
pub const WIRE_VERSION: u8 = 1;

/// Largest frame before the peer is authenticated, bytes. The largest honest one has about 250.
pub const PREAUTH_FRAME_BYTES_MAX: usize = 1024;

/// Bytes that a transport frame adds to its plaintext: version, kind and authentication tag.
pub const FRAME_OVERHEAD: usize = HEADER_BYTES + TAG_BYTES;

/// Version and kind.
pub(super) const HEADER_BYTES: usize = 2;

/// What the preamble starts with.
const MAGIC: &[u8; 6] = b"unamed";

/// Versions on offer, best first.
const VERSIONS: &[u8] = &[WIRE_VERSION];

/// The second byte of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// Preamble and noise message 1.
    Hello1 = 0,
    /// Noise message 2.
    Hello2 = 1,
    /// Noise message 3.
    Hello3 = 2,
    /// Ciphertext and tag.
    Transport = 3,
    /// A close reason in the clear.
    Refused = 4,
    /// Who the sender is, signed over the carrier's transcript.
    Proof = 5,
}

impl FrameKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Hello1),
            1 => Some(Self::Hello2),
            2 => Some(Self::Hello3),
            3 => Some(Self::Transport),
            4 => Some(Self::Refused),
            5 => Some(Self::Proof),
            _ => None,
        }
    }
}

/// Kind and body of a frame of our version.
pub(super) fn split(frame: &[u8]) -> Option<(FrameKind, &[u8])> {
    match frame {
        [WIRE_VERSION, kind, body @ ..] => Some((FrameKind::from_byte(*kind)?, body)),
        _ => None,
    }
}

/// The header of a frame.
pub(super) const fn header(kind: FrameKind) -> [u8; HEADER_BYTES] {
    [WIRE_VERSION, kind as u8]
}

/// A frame with the given body.
pub(super) fn join(kind: FrameKind, body: &[&[u8]]) -> Bytes {
    let bytes: usize = body.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(bytes.saturating_add(HEADER_BYTES));
    frame.extend_from_slice(&header(kind));
    for part in body {
        frame.extend_from_slice(part);
    }
    Bytes::from(frame)
}

/// The preamble of an initiator of the network with this tag; also the prologue of the Noise handshake.
pub(super) fn preamble(network_tag: [u8; 8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAGIC.len() + 1 + VERSIONS.len() + network_tag.len());
    out.extend_from_slice(MAGIC);
    push_versions(&mut out);
    out.extend_from_slice(&network_tag);
    out
}

fn push_versions(out: &mut Vec<u8>) {
    out.push(u8::try_from(VERSIONS.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(VERSIONS);
}

/// Checks a responder's first frame, and splits its body into preamble and noise message 1.
///
/// Magic and version list stand at the same place in all versions, so they are read whatever the version byte says.
pub(super) fn split_hello1(frame: &[u8], network_tag: [u8; 8]) -> Result<(&[u8], &[u8]), CloseReason> {
    if let Some((
        FrameKind::Hello2 | FrameKind::Hello3 | FrameKind::Transport | FrameKind::Refused | FrameKind::Proof,
        _,
    )) = split(frame)
    {
        return Err(CloseReason::Handshake);
    }
    let body = match frame {
        [_, 0, body @ ..] if body.starts_with(MAGIC) => body,
        _ => return Err(CloseReason::NotOurProtocol),
    };
    if frame.len() > PREAUTH_FRAME_BYTES_MAX {
        return Err(CloseReason::TooLarge);
    }
    let rest = body.get(MAGIC.len()..).unwrap_or_default();
    let (count, rest) = rest.split_first().ok_or(CloseReason::Handshake)?;
    let (versions, rest) = rest.split_at_checked(usize::from(*count)).ok_or(CloseReason::Handshake)?;
    if frame.first() != Some(&WIRE_VERSION) || !versions.contains(&WIRE_VERSION) {
        return Err(CloseReason::VersionMismatch);
    }
    let (tag, noise) = rest.split_at_checked(network_tag.len()).ok_or(CloseReason::Handshake)?;
    if tag != network_tag {
        return Err(CloseReason::WrongNetwork);
    }
    let preamble = body.get(..body.len().saturating_sub(noise.len())).unwrap_or_default();
    Ok((preamble, noise))
}

/// A refusal that says why, and lists our versions.
pub(super) fn refused(reason: CloseReason) -> Bytes {
    let mut versions = Vec::new();
    push_versions(&mut versions);
    join(FrameKind::Refused, &[&[reason as u8], &versions])
}

/// The reason of a refusal, if the frame is one, of whatever version.
///
/// A refusal is not authenticated: anyone on the path can make one. Reasons that would cost the peer more than this
/// link, and unknown ones, count as [`CloseReason::Closed`]. What a later version appends is ignored.
pub(super) fn parse_refused(frame: &[u8]) -> Option<CloseReason> {
    const BELIEVED: [CloseReason; 6] = [
        CloseReason::Shutdown,
        CloseReason::Busy,
        CloseReason::VersionMismatch,
        CloseReason::WrongNetwork,
        CloseReason::Handshake,
        CloseReason::HandshakeTimeout,
    ];
    const KIND: u8 = FrameKind::Refused as u8;
    match frame {
        [_, KIND, reason, count, versions @ ..] if versions.len() >= usize::from(*count) => {
            Some(BELIEVED.into_iter().find(|known| *known as u8 == *reason).unwrap_or(CloseReason::Closed))
        }
        _ => None,
    }
}

/// Appends `value` as unsigned LEB128.
pub(super) fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        // Truncation takes the low seven bits, which is the format.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`push_varint`] writes.
pub(super) const fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

/// Takes a number of at most 32 bits in its shortest form from the front of `input`.
pub(super) fn take_varint(input: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in [0u32, 7, 14, 21, 28] {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u32::from(byte & 0x7f);
        // The fifth byte has room for four bits; a last byte of zero would not be the shortest form.
        if (shift == 28 && bits > 0x0f) || (shift > 0 && *byte == 0) {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_varint_comes_back_and_its_length_is_known(value: u32, tail: u8) {
            let mut out = Vec::new();
            push_varint(&mut out, value as usize);
            prop_assert_eq!(out.len(), varint_len(value as usize));
            out.push(tail);
            let mut input = out.as_slice();
            prop_assert_eq!(take_varint(&mut input), Some(value));
            prop_assert_eq!(input, &[tail]);
        }
    }

    #[test]
    fn only_the_shortest_form_of_a_varint_is_taken() {
        for bad in [&[][..], &[0x80], &[0x80, 0], &[0xff, 0xff, 0xff, 0xff, 0x10], &[0xff; 11]] {
            assert_eq!(take_varint(&mut &bad[..]), None, "{bad:x?}");
        }
    }

    #[test]
    fn reasons_in_a_refusal_are_believed_only_if_harmless() {
        for (reason, believed) in [
            (CloseReason::Busy, CloseReason::Busy),
            (CloseReason::VersionMismatch, CloseReason::VersionMismatch),
            (CloseReason::IdentityInUse, CloseReason::Closed),
            (CloseReason::SelfDial, CloseReason::Closed),
        ] {
            assert_eq!(parse_refused(&refused(reason)), Some(believed));
        }
        assert_eq!(parse_refused(&[9, 4, 200, 2, 8, 9, 77]), Some(CloseReason::Closed));
        assert_eq!(parse_refused(&[1, 4, 2, 2, 1]), None);
        assert_eq!(parse_refused(&[1, 4, 2]), None);
    }
}
