//! Chunks, and the reassembly of messages from them.
//!
//! The plaintext of a transport frame is a sequence of chunks. A fragment that does not end its message is the last
//! chunk of its frame: an honest sender has no reason to do otherwise, and it makes a flood of tiny fragments cost its
//! sender a frame each. Buffers grow with what arrives, at most doubling, never by what was announced.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::frame::take_varint;
use super::queue::Class;
use crate::CloseReason;

/// A whole message: length, bytes.
pub(super) const WHOLE: u8 = 1;
/// The first part of a message: class, total, length, bytes.
pub(super) const FIRST: u8 = 2;
/// A further part of a message: class, length, bytes.
pub(super) const MORE: u8 = 3;
/// The rest of a message will not come: class.
pub(super) const ABORT: u8 = 4;

/// Messages above this give progress, bytes.
const PROGRESS_ABOVE: usize = 64 * 1024;
/// Bytes between two reports of progress.
const PROGRESS_EVERY: usize = 256 * 1024;

/// What a frame brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A complete message.
    Message(Bytes),
    /// Part of a message above 64 KiB.
    Progress {
        /// Bytes received.
        received: usize,
        /// Bytes in all.
        total: usize,
    },
}

#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    total: usize,
    /// Bytes received at the last report of progress.
    reported: usize,
}

/// The partly received messages of one link: one slot per class.
#[derive(Debug)]
pub(super) struct Reassembly {
    /// Boxed: most links have none.
    slots: [Option<Box<Partial>>; Class::ALL.len()],
    message_bytes_max: usize,
    reassembly_bytes_max: usize,
}

impl Reassembly {
    pub(super) const fn new(message_bytes_max: usize, reassembly_bytes_max: usize) -> Self {
        Self { slots: [const { None }; Class::ALL.len()], message_bytes_max, reassembly_bytes_max }
    }

    /// Takes the plaintext of one frame. What came before a violation in the same frame is in `out`.
    pub(super) fn handle_frame(&mut self, frame: &Bytes, out: &mut Vec<Arrival>) -> Result<(), CloseReason> {
        if frame.is_empty() {
            return Err(CloseReason::Violation);
        }
        let mut rest = frame.as_ref();
        while let Some((tag, after)) = rest.split_first() {
            rest = after;
            match *tag {
                WHOLE => {
                    let bytes = take_bytes(&mut rest)?;
                    if bytes.len() > self.message_bytes_max {
                        return Err(CloseReason::TooLarge);
                    }
                    out.push(Arrival::Message(share(frame, bytes)));
                }
                FIRST => {
                    let class = take_class(&mut rest)?;
                    let total = take_length(&mut rest)?;
                    let bytes = take_bytes(&mut rest)?;
                    self.start(class, total, rest.is_empty())?;
                    self.add(class, bytes, out)?;
                }
                MORE => {
                    let class = take_class(&mut rest)?;
                    let bytes = take_bytes(&mut rest)?;
                    let ended = self.add(class, bytes, out)?;
                    if !ended && !rest.is_empty() {
                        return Err(CloseReason::Violation);
                    }
                }
                ABORT => {
                    let class = take_class(&mut rest)?;
                    let slot = self.slots.get_mut(class as usize);
                    slot.and_then(Option::take).ok_or(CloseReason::Violation)?;
                }
                _ => return Err(CloseReason::Violation),
            }
        }
        Ok(())
    }

    /// Bytes that the partly received messages have announced in all; bounds what they can come to hold.
    pub(super) fn announced_bytes(&self) -> usize {
        self.slots.iter().flatten().fold(0, |sum, partial| sum.saturating_add(partial.total))
    }

    fn start(&mut self, class: Class, total: usize, last: bool) -> Result<(), CloseReason> {
        if total > self.message_bytes_max {
            return Err(CloseReason::TooLarge);
        }
        if self.announced_bytes().saturating_add(total) > self.reassembly_bytes_max {
            return Err(CloseReason::TooLarge);
        }
        match self.slots.get_mut(class as usize) {
            Some(slot @ None) if last => {
                *slot = Some(Box::new(Partial { bytes: Vec::new(), total, reported: 0 }));
            }
            _ => return Err(CloseReason::Violation),
        }
        Ok(())
    }

    /// Appends to the partial message of `class`; whether that ended it.
    fn add(&mut self, class: Class, bytes: &[u8], out: &mut Vec<Arrival>) -> Result<bool, CloseReason> {
        let slot = self.slots.get_mut(class as usize).ok_or(CloseReason::Violation)?;
        let partial = slot.as_mut().ok_or(CloseReason::Violation)?;
        let first = partial.bytes.is_empty();
        let received = partial.bytes.len().saturating_add(bytes.len());
        // A message that fits one chunk comes whole.
        if received > partial.total || (first && received == partial.total) {
            return Err(CloseReason::Violation);
        }
        if received > partial.bytes.capacity() {
            let capacity = partial.bytes.capacity().saturating_mul(2).clamp(received, partial.total);
            partial.bytes.reserve_exact(capacity.saturating_sub(partial.bytes.len()));
        }
        partial.bytes.extend_from_slice(bytes);
        if received == partial.total {
            if let Some(partial) = slot.take() {
                out.push(Arrival::Message(Bytes::from(partial.bytes)));
            }
            return Ok(true);
        }
        let due = first || received.saturating_sub(partial.reported) >= PROGRESS_EVERY;
        if partial.total > PROGRESS_ABOVE && due {
            partial.reported = received;
            out.push(Arrival::Progress { received, total: partial.total });
        }
        Ok(false)
    }
}

/// A message as part of the frame's buffer, or copied if it would keep alive a buffer more than twice its size.
fn share(frame: &Bytes, bytes: &[u8]) -> Bytes {
    if bytes.len().saturating_mul(2) >= frame.len() {
        frame.slice_ref(bytes)
    } else {
        Bytes::copy_from_slice(bytes)
    }
}

fn take_class(input: &mut &[u8]) -> Result<Class, CloseReason> {
    let (byte, rest) = input.split_first().ok_or(CloseReason::Violation)?;
    *input = rest;
    Class::ALL.get(usize::from(*byte)).copied().ok_or(CloseReason::Violation)
}

fn take_length(input: &mut &[u8]) -> Result<usize, CloseReason> {
    let length = take_varint(input).ok_or(CloseReason::Violation)?;
    usize::try_from(length).map_err(|_| CloseReason::TooLarge)
}

/// A length and that many bytes, at least one.
fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], CloseReason> {
    let length = take_length(input)?;
    let (bytes, rest) = input.split_at_checked(length).ok_or(CloseReason::Violation)?;
    if bytes.is_empty() {
        return Err(CloseReason::Violation);
    }
    *input = rest;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::link::frame::push_varint;

    const BULK: u8 = Class::Bulk as u8;
    const SMALL: u8 = Class::Small as u8;

    fn whole(bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![WHOLE];
        push_varint(&mut out, bytes.len());
        out.extend_from_slice(bytes);
        out
    }

    fn first(class: u8, total: usize, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![FIRST, class];
        push_varint(&mut out, total);
        push_varint(&mut out, bytes.len());
        out.extend_from_slice(bytes);
        out
    }

    fn more(class: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![MORE, class];
        push_varint(&mut out, bytes.len());
        out.extend_from_slice(bytes);
        out
    }

    fn run(frames: &[Vec<u8>]) -> (Vec<Arrival>, Result<(), CloseReason>) {
        let mut reassembly = Reassembly::new(1000, 1500);
        let mut out = Vec::new();
        for frame in frames {
            if let Err(reason) = reassembly.handle_frame(&Bytes::from(frame.clone()), &mut out) {
                return (out, Err(reason));
            }
        }
        (out, Ok(()))
    }

    fn message(bytes: &'static [u8]) -> Arrival {
        Arrival::Message(Bytes::from_static(bytes))
    }

    #[test]
    fn classes_are_reassembled_apart_and_whole_messages_pass_between() {
        let frames = [
            first(BULK, 4, b"ab"),
            [whole(b"x"), first(SMALL, 3, b"1")].concat(),
            [more(BULK, b"cd"), whole(b"y"), more(SMALL, b"23")].concat(),
            [first(BULK, 9, b"gone")].concat(),
            [vec![ABORT, BULK], first(BULK, 2, b"o")].concat(),
            more(BULK, b"k"),
        ];
        let arrivals = ["x", "abcd", "y", "123", "ok"].map(|text| message(text.as_bytes()));
        assert_eq!(run(&frames), (arrivals.to_vec(), Ok(())));
    }

    #[test]
    fn what_breaks_the_rules_closes() {
        use CloseReason::{TooLarge, Violation};
        let big = vec![7; 1001];
        let cases = [
            ("empty frame", vec![vec![]], Violation),
            ("unknown chunk", vec![vec![0]], Violation),
            ("unknown chunk above", vec![vec![5, 1, 1]], Violation),
            ("trailing garbage", vec![[whole(b"x"), vec![9]].concat()], Violation),
            ("no length", vec![vec![WHOLE]], Violation),
            ("length beyond the frame", vec![vec![WHOLE, 2, 1]], Violation),
            ("length of 2^32 - 1", vec![vec![WHOLE, 0xff, 0xff, 0xff, 0xff, 0x0f]], Violation),
            ("length not in shortest form", vec![vec![WHOLE, 0x81, 0, 1]], Violation),
            ("empty message", vec![vec![WHOLE, 0]], Violation),
            ("whole above the bound", vec![whole(&big)], TooLarge),
            ("total above the bound", vec![first(BULK, 1001, b"x")], TooLarge),
            ("64 MiB announced", vec![first(BULK, 64 << 20, b"x")], TooLarge),
            ("total 2^32 - 1", vec![first(BULK, u32::MAX as usize, b"x")], TooLarge),
            ("sum above the bound", vec![first(BULK, 800, b"x"), first(SMALL, 800, b"x")], TooLarge),
            ("total of zero", vec![first(BULK, 0, b"x")], Violation),
            ("first without bytes", vec![first(BULK, 4, b"")], Violation),
            ("first that is whole", vec![first(BULK, 1, b"x")], Violation),
            ("first beyond its total", vec![first(BULK, 1, b"xy")], Violation),
            ("first twice", vec![first(BULK, 4, b"x"), first(BULK, 4, b"x")], Violation),
            ("unknown class", vec![first(4, 4, b"x")], Violation),
            ("more without first", vec![more(BULK, b"x")], Violation),
            ("more of another class", vec![first(BULK, 4, b"x"), more(SMALL, b"x")], Violation),
            ("more after the end", vec![first(BULK, 2, b"x"), more(BULK, b"x"), more(BULK, b"x")], Violation),
            ("more without bytes", vec![first(BULK, 2, b"x"), more(BULK, b"")], Violation),
            ("overflow past the total", vec![first(BULK, 2, b"x"), more(BULK, b"xy")], Violation),
            ("first not last", vec![[first(BULK, 4, b"x"), whole(b"x")].concat()], Violation),
            ("tiny fragments", vec![first(BULK, 9, b"x"), more(BULK, b"x").repeat(2)], Violation),
            ("abort of nothing", vec![vec![ABORT, BULK]], Violation),
            ("abort without class", vec![vec![ABORT]], Violation),
        ];
        for (name, frames, reason) in cases {
            assert_eq!(run(&frames).1, Err(reason), "{name}");
        }
    }

    #[test]
    fn every_prefix_of_a_frame_is_refused_or_shorter() {
        let mut frame = whole(b"first");
        let boundary = frame.len();
        frame.extend(first(BULK, 9, b"second"));
        for end in 0..frame.len() {
            let expected = if end == boundary { Ok(()) } else { Err(CloseReason::Violation) };
            assert_eq!(run(&[frame[..end].to_vec()]).1, expected, "{end}");
        }
    }

    #[test]
    fn memory_grows_with_what_arrives() {
        const TOTAL: usize = 16 << 20;
        let mut reassembly = Reassembly::new(TOTAL, TOTAL);
        let mut out = Vec::new();
        let capacity = |of: &Reassembly| of.slots[BULK as usize].as_ref().map_or(0, |p| p.bytes.capacity());
        reassembly.handle_frame(&Bytes::from(first(BULK, TOTAL, &[0; 10])), &mut out).unwrap();
        assert_eq!(capacity(&reassembly), 10);
        let mut received = 10;
        for _ in 0..64 {
            reassembly.handle_frame(&Bytes::from(more(BULK, &[0; 16_000])), &mut out).unwrap();
            received += 16_000;
            assert!(capacity(&reassembly) <= 2 * received);
        }
        assert_eq!(reassembly.announced_bytes(), TOTAL);
    }

    #[test]
    fn large_messages_report_progress_every_quarter_mebibyte() {
        let mut reassembly = Reassembly::new(1 << 20, 1 << 20);
        let mut out = Vec::new();
        let total = 700 * 1024;
        reassembly.handle_frame(&Bytes::from(first(BULK, total, &[1; 10 * 1024])), &mut out).unwrap();
        for _ in 0..69 {
            reassembly.handle_frame(&Bytes::from(more(BULK, &[1; 10 * 1024])), &mut out).unwrap();
        }
        let progress = |received: usize| Arrival::Progress { received: received * 1024, total };
        let end = Arrival::Message(Bytes::from(vec![1; total]));
        assert_eq!(out, [progress(10), progress(270), progress(530), end]);
        out.clear();
        reassembly.handle_frame(&Bytes::from(first(SMALL, 64 * 1024, &[1; 10])), &mut out).unwrap();
        assert_eq!(out, []);
    }

    #[test]
    fn a_small_message_does_not_keep_its_frame_alive() {
        let frame = Bytes::from([whole(b"tiny"), whole(&[5; 900])].concat());
        let mut out = Vec::new();
        Reassembly::new(1000, 1500).handle_frame(&frame, &mut out).unwrap();
        let inside = out
            .iter()
            .map(|arrival| match arrival {
                Arrival::Message(bytes) => frame.as_ptr_range().contains(&bytes.as_ptr()),
                Arrival::Progress { .. } => false,
            })
            .collect::<Vec<_>>();
        assert_eq!(inside, [false, true]);
    }
}
