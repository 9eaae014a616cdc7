//! Choices, drawn from an input's bytes.

use arbitrary::{Arbitrary, Unstructured};

/// An input that is read from front to back. At its end it gives zeros.
#[derive(Debug)]
pub(crate) struct Source<'a>(Unstructured<'a>);

impl<'a> Source<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(Unstructured::new(input))
    }

    /// Whether all bytes are used up.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn value<T: Arbitrary<'a> + Default>(&mut self) -> T {
        self.0.arbitrary().unwrap_or_default()
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.value()
    }

    /// Yes or no, by the lowest bit of one byte.
    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `bound`, which is at least 1 and at most 256: one byte.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// One of `items`, which are not empty: one byte.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// A number of up to eight bytes. Short and extreme ones are as likely as any.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..0xC0 => u64::from(small),
            0xC0..0xD0 => u64::from(self.value::<u16>()),
            0xD0..0xE0 => u64::from(self.value::<u32>()),
            0xE0..0xF0 => self.value(),
            extreme => u64::MAX - u64::from(extreme & 0x0F),
        }
    }

    /// A number of up to four bytes.
    pub(crate) fn small(&mut self) -> u32 {
        self.number() as u32
    }

    /// 32 bytes: one byte repeated, or all of them drawn.
    pub(crate) fn hash(&mut self) -> [u8; 32] {
        match self.byte() {
            0xFF => self.value(),
            byte => [byte; 32],
        }
    }

    /// 64 bytes, likewise.
    pub(crate) fn signature(&mut self) -> [u8; 64] {
        match self.byte() {
            0xFF => core::array::from_fn(|_| self.byte()),
            byte => [byte; 64],
        }
    }

    /// Up to `most` bytes: their number in one byte (below 0xF0 as it is, else in steps), then as many as are there.
    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let wanted = match self.byte() {
            short @ 0..0xF0 => usize::from(short),
            long => 128 << (long & 0x0F).min(7),
        };
        let count = wanted.min(most).min(self.0.len());
        self.0.bytes(count).unwrap_or_default().to_vec()
    }

    /// A list of up to `most` items: their number in one byte, then the items. It ends with the input.
    pub(crate) fn list<T>(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(most.min(255) + 1);
        let mut items = Vec::new();
        while items.len() < count && !self.is_over() {
            items.push(item(self));
        }
        items
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}
