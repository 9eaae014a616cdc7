//! A strict reader of postcard's format.
//!
//! postcard's own deserialiser accepts integers in more than one form, drops the text of errors and knows no offsets.
//! This one accepts exactly the bytes that postcard's serialiser writes (so that whatever is accepted re-encodes to
//! itself), says where it stopped and why, and never allocates by an announced length. The format is that of the postcard
//! specification, version 1.0, without signed integers, floats and maps, which no message has.

use core::ops::Range;

use bytes::Bytes;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::DecodeError;
use crate::PeerId;

/// Longest byte string that can be announced, bytes: the largest payload that can be configured and room for the rest.
pub const LENGTH_MAX: u64 = 65 << 20;

/// Reads items from the front of a slice.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self { input, offset: 0 }
    }

    /// Bytes read so far.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = self.input.get(self.offset).ok_or(DecodeError::Truncated { offset: self.offset })?;
        self.offset = self.offset.saturating_add(1);
        Ok(*byte)
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::BadBool),
        }
    }

    /// Whether an optional value follows.
    pub(crate) fn some(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::BadEnum),
        }
    }

    /// An unsigned LEB128 integer of at most `bits` bits in its shortest form.
    fn varint(&mut self, bits: u32) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        let mut shift = 0_u32;
        while shift < bits {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            let room = bits.saturating_sub(shift);
            if room < 7 && low >> room != 0 {
                return Err(DecodeError::BadVarint);
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift != 0 { Err(DecodeError::BadVarint) } else { Ok(value) };
            }
            shift = shift.saturating_add(7);
        }
        Err(DecodeError::BadVarint)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.varint(16).and_then(|value| u16::try_from(value).map_err(|_| DecodeError::BadVarint))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.varint(32).and_then(|value| u32::try_from(value).map_err(|_| DecodeError::BadVarint))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.varint(64)
    }

    /// The number of items of a list that holds at most `max`.
    pub(crate) fn count(&mut self, max: usize) -> Result<usize, DecodeError> {
        let count = self.count_unchecked()?;
        if count > max { Err(DecodeError::TooMany) } else { Ok(count) }
    }

    fn count_unchecked(&mut self) -> Result<usize, DecodeError> {
        Ok(usize::try_from(self.varint(64)?).unwrap_or(usize::MAX))
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.offset.saturating_add(bytes);
        let taken = self.input.get(self.offset..end).ok_or(DecodeError::Truncated { offset: self.offset })?;
        self.offset = end;
        Ok(taken)
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.varint(64)?;
        if length > LENGTH_MAX {
            return Err(DecodeError::LengthExceedsFrame);
        }
        usize::try_from(length).map_err(|_| DecodeError::LengthExceedsFrame)
    }

    /// A byte string.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// Where a byte string's content lies.
    pub(crate) fn bytes_range(&mut self) -> Result<Range<usize>, DecodeError> {
        let length = self.bytes()?.len();
        Ok(self.offset.saturating_sub(length)..self.offset)
    }

    /// A byte string as a slice of `whole`, which must be what this reader reads.
    pub(crate) fn shared(&mut self, whole: &Bytes) -> Result<Bytes, DecodeError> {
        self.bytes_range().map(|range| whole.slice(range))
    }

    /// A byte string of 32 bytes.
    pub(crate) fn hash(&mut self) -> Result<[u8; 32], DecodeError> {
        if self.length()? != 32 {
            return Err(DecodeError::Invalid);
        }
        self.take(32)?.try_into().map_err(|_| DecodeError::Invalid)
    }

    pub(crate) fn peer(&mut self) -> Result<PeerId, DecodeError> {
        self.hash().map(PeerId)
    }

    /// Refuses what is left.
    pub(crate) const fn finish(self) -> Result<(), DecodeError> {
        match self.input.len().saturating_sub(self.offset) {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}

struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left = self.left.saturating_sub(1);
        seed.deserialize(&mut *self.reader).map(Some)
    }

    /// The announced count, true or not: a visitor checks it against its bound before it allocates.
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// What follows the number of an enum's variant.
struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
    number: u32,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a, 'de> {
    type Error = DecodeError;
    type Variant = &'a mut Reader<'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), DecodeError> {
        let number: U32Deserializer<DecodeError> = self.number.into_deserializer();
        Ok((seed.deserialize(number)?, self.reader))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(left, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

macro_rules! by_value {
    ($($method:ident, $read:ident, $visit:ident;)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.$read()?)
        }
    )+};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = DecodeError;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::Invalid)
    }

    by_value! {
        deserialize_bool, boolean, visit_bool;
        deserialize_u8, byte, visit_u8;
        deserialize_u16, u16, visit_u16;
        deserialize_u32, u32, visit_u32;
        deserialize_u64, u64, visit_u64;
        deserialize_bytes, bytes, visit_borrowed_bytes;
        deserialize_byte_buf, bytes, visit_borrowed_bytes;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let text = core::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Utf8)?;
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.some()? { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let left = self.count_unchecked()?;
        visitor.visit_seq(Items { reader: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Items { reader: self, left })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(left, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let number = self.u32()?;
        if usize::try_from(number).is_ok_and(|number| number < variants.len()) {
            visitor.visit_enum(Variant { reader: self, number })
        } else {
            Err(DecodeError::BadEnum)
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char unit unit_struct map identifier ignored_any
    }
}
