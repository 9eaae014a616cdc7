//! A short list of peer ids, kept as it stands on the wire.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::bounded::all_differ;
use super::error::DecodeError;
use super::reader::Reader;
use super::writer::put_length;
use crate::PeerId;

/// Bytes of one id on the wire: its length, 32, and itself.
const ENTRY_BYTES: usize = 33;
const ID_BYTES: u8 = 32;

/// At most `N` different peer ids in a given order, as a slice of the message they came in.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PeerIds<const N: usize>(Bytes);

impl<const N: usize> PeerIds<N> {
    /// Most ids.
    pub const MAX: usize = N;

    /// The list of `ids`.
    ///
    /// # Errors
    /// [`DecodeError::TooMany`] if they are more than `N`, [`DecodeError::Duplicate`] if one occurs twice.
    pub fn new(ids: &[PeerId]) -> Result<Self, DecodeError> {
        if ids.len() > N {
            return Err(DecodeError::TooMany);
        }
        if !all_differ(ids.iter()) {
            return Err(DecodeError::Duplicate);
        }
        let mut entries = Vec::with_capacity(ids.len().saturating_mul(ENTRY_BYTES));
        for id in ids {
            put_entry(&mut entries, *id);
        }
        Ok(Self(entries.into()))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len() / ENTRY_BYTES
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = PeerId> + Clone + '_ {
        self.0.chunks_exact(ENTRY_BYTES).filter_map(|entry| match entry {
            [_, id @ ..] => id.try_into().ok().map(PeerId),
            [] => None,
        })
    }

    /// The id at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<PeerId> {
        self.iter().nth(index)
    }

    /// Where `id` stands.
    #[must_use]
    pub fn position(&self, id: PeerId) -> Option<usize> {
        self.iter().position(|entry| entry == id)
    }

    /// Whether `id` is among them.
    #[must_use]
    pub fn contains(&self, id: PeerId) -> bool {
        self.position(id).is_some()
    }

    /// The ids in order, as a list of their own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<PeerId> {
        self.iter().collect()
    }

    /// Reads a list from `whole`, which must be what `reader` reads.
    pub(crate) fn read(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Self, DecodeError> {
        let count = reader.count(N)?;
        let start = reader.offset();
        for _ in 0..count {
            reader.peer()?;
        }
        let ids = Self(whole.slice(start..reader.offset()));
        if all_differ(ids.0.chunks_exact(ENTRY_BYTES)) { Ok(ids) } else { Err(DecodeError::Duplicate) }
    }

    /// Appends the list.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_length(out, self.len());
        out.extend_from_slice(&self.0);
    }

    /// Appends the list with one more id.
    pub(crate) fn write_with(&self, last: PeerId, out: &mut Vec<u8>) {
        put_length(out, self.len().saturating_add(1));
        out.extend_from_slice(&self.0);
        put_entry(out, last);
    }

    /// Bytes that [`write`](Self::write) appends; the count takes one.
    pub(crate) fn encoded_bytes(&self) -> usize {
        self.0.len().saturating_add(1)
    }
}

/// Appends one id.
pub(crate) fn put_entry(out: &mut Vec<u8>, id: PeerId) {
    out.push(ID_BYTES);
    out.extend_from_slice(&id.0);
}

impl<const N: usize> fmt::Debug for PeerIds<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
