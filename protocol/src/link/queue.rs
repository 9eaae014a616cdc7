//! Messages that wait for credit, and which of them goes next.
//!
//! `Control` goes strictly first. The other classes share by start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM
//! 1996): each has a virtual time that advances by the bytes it sent, divided by its weight, and the one furthest behind
//! is served. Departures from the paper: three fixed flows, and a flow is charged after the fact, by what its chunk took.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::fragment::{ABORT, FIRST, MORE, WHOLE};
use super::frame::{push_varint, varint_len};

/// What a message is, for the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Overtakes everything: liveness, routing, goodbyes.
    Control = 0,
    /// Small data.
    Small = 1,
    /// Data of circuits between others.
    Relay = 2,
    /// Large data.
    Bulk = 3,
}

impl Class {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Control, Self::Small, Self::Relay, Self::Bulk];

    /// All but `Control`: what a peer that does not read loses first.
    pub const DATA: [Self; 3] = [Self::Small, Self::Relay, Self::Bulk];

    /// Virtual time per byte: the inverse of the weights 4 : 2 : 1.
    const fn time_per_byte(self) -> u64 {
        match self {
            Self::Control => 0,
            Self::Small => 1,
            Self::Relay => 2,
            Self::Bulk => 4,
        }
    }
}

/// A message to send: `head ‖ body`. The body may be shared with other links; it is copied only into a frame.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// The first bytes.
    pub head: Vec<u8>,
    /// The rest.
    pub body: Bytes,
    /// Comes back in [`Sent`] as parts of the message are handed over; `None` for no report.
    pub token: Option<u64>,
}

impl Outgoing {
    /// Bytes of the message.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len().saturating_add(self.body.len())
    }

    /// Whether it has no byte; such a message cannot be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn append(&self, from: usize, bytes: usize, out: &mut Vec<u8>) {
        let to = from.saturating_add(bytes);
        let split = self.head.len();
        let head = self.head.get(from.min(split)..to.min(split)).unwrap_or_default();
        let body = self.body.get(from.saturating_sub(split)..to.saturating_sub(split)).unwrap_or_default();
        out.extend_from_slice(head);
        out.extend_from_slice(body);
    }
}

/// How much of a message with a token has been handed over in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// As given in [`Outgoing::token`].
    pub token: u64,
    /// Bytes handed over so far.
    pub sent: usize,
    /// Bytes in all.
    pub total: usize,
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// The queue of the class is full.
    Full,
    /// The message exceeds [`LinkConfig::message_bytes_max`](crate::LinkConfig::message_bytes_max).
    TooLarge,
    /// The message has no byte.
    Empty,
    /// The session is closed (control messages are still taken if it was established).
    Closed,
}

impl core::fmt::Display for QueueError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "the queue is full",
            Self::TooLarge => "the message is too large",
            Self::Empty => "the message is empty",
            Self::Closed => "the session is closed",
        })
    }
}

impl core::error::Error for QueueError {}

/// What a purge took away.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Purged {
    pub(super) bytes: usize,
    pub(super) tokens: Vec<u64>,
}

/// What a queued message costs beyond its bytes when it is counted against a bound.
const MESSAGE_COST: usize = 64;

/// Fewest bytes of a fragment that does not end its message. Less is not worth a frame: better wait for credit.
const FRAGMENT_BYTES_MIN: usize = 224;

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    /// Bytes of the first message that are sent.
    sent: usize,
    /// Bytes of all messages that are not sent.
    bytes: usize,
    /// A partly sent message was purged, and the peer is to be told.
    abort: bool,
    /// Virtual time.
    time: u64,
}

/// The queues of one link.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: [Queue; Class::ALL.len()],
    /// Virtual time of the class served last, before it was charged.
    time: u64,
}

impl Queues {
    /// Queues a message unless its class would exceed `bytes_max`.
    pub(super) fn push(
        &mut self,
        class: Class,
        message: Outgoing,
        bytes_max: usize,
    ) -> Result<(), QueueError> {
        if message.is_empty() {
            return Err(QueueError::Empty);
        }
        if !self.fits(class, message.len(), bytes_max) {
            return Err(QueueError::Full);
        }
        let time = self.time;
        let queue = self.queues.get_mut(class as usize).ok_or(QueueError::Full)?;
        if queue.messages.is_empty() {
            // A class that was idle has no claim on what it did not use.
            queue.time = queue.time.max(time);
        }
        queue.bytes = queue.bytes.saturating_add(message.len());
        queue.messages.push_back(message);
        Ok(())
    }

    /// Whether a message of `bytes` leaves its class within `bytes_max`.
    pub(super) fn fits(&self, class: Class, bytes: usize, bytes_max: usize) -> bool {
        self.queues.get(class as usize).is_some_and(|queue| {
            let messages = queue.messages.len().saturating_add(1);
            let bytes = queue.bytes.saturating_add(bytes);
            bytes.saturating_add(messages.saturating_mul(MESSAGE_COST)) <= bytes_max
        })
    }

    /// Bytes that wait in a class.
    pub(super) fn bytes(&self, class: Class) -> usize {
        self.queues.get(class as usize).map_or(0, |queue| queue.bytes)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.messages.is_empty() && !queue.abort)
    }

    /// Bytes of chunks for all that waits, as far as they fit `room`; more is not counted.
    pub(super) fn chunk_bytes(&self, room: usize) -> usize {
        let mut sum = 0usize;
        for queue in &self.queues {
            sum = sum.saturating_add(if queue.abort { 2 } else { 0 });
            let mut sent = queue.sent;
            for message in &queue.messages {
                if sum >= room {
                    return room;
                }
                sum = sum.saturating_add(last_chunk_len(sent, message.len()));
                sent = 0;
            }
        }
        sum.min(room)
    }

    /// Appends chunks of at most `room` bytes in all.
    pub(super) fn fill(&mut self, room: usize, out: &mut Vec<u8>, sent: &mut Vec<Sent>) {
        let end = out.len().saturating_add(room);
        for (queue, class) in self.queues.iter_mut().zip(Class::ALL) {
            if queue.abort && out.len().saturating_add(2) <= end {
                out.extend_from_slice(&[ABORT, class as u8]);
                queue.abort = false;
            }
        }
        while let Some(class) = self.next_class() {
            let Some(queue) = self.queues.get_mut(class as usize) else { return };
            let before = out.len();
            let more = queue.chunk(class, end.saturating_sub(before), out, sent);
            let took = u64::try_from(out.len().saturating_sub(before)).unwrap_or(u64::MAX);
            if class != Class::Control && took > 0 {
                self.time = self.time.max(queue.time);
                queue.time = queue.time.saturating_add(took.saturating_mul(class.time_per_byte()));
            }
            if !more {
                return;
            }
        }
    }

    /// Drops the messages of `classes`. The peer is told of a partly sent one.
    pub(super) fn purge(&mut self, classes: &[Class]) -> Purged {
        let mut purged = Purged::default();
        for class in classes {
            let Some(queue) = self.queues.get_mut(*class as usize) else { continue };
            queue.abort |= queue.sent > 0;
            queue.sent = 0;
            purged.bytes = purged.bytes.saturating_add(core::mem::take(&mut queue.bytes));
            let messages = core::mem::take(&mut queue.messages);
            purged.tokens.extend(messages.into_iter().filter_map(|message| message.token));
        }
        purged
    }

    fn next_class(&self) -> Option<Class> {
        let waits =
            |class: &Class| self.queues.get(*class as usize).filter(|queue| !queue.messages.is_empty());
        if waits(&Class::Control).is_some() {
            return Some(Class::Control);
        }
        Class::DATA
            .into_iter()
            .filter_map(|class| Some((waits(&class)?.time, class)))
            .min()
            .map(|(_, class)| class)
    }
}

impl Queue {
    /// Appends the next chunk of the first message, of at most `room` bytes; whether another chunk may follow it.
    fn chunk(&mut self, class: Class, room: usize, out: &mut Vec<u8>, sent: &mut Vec<Sent>) -> bool {
        // The peer's slot is taken until it hears of the abort.
        let Some(message) = self.messages.front().filter(|_| !self.abort) else { return false };
        let total = message.len();
        let left = total.saturating_sub(self.sent);
        let ends = last_chunk_len(self.sent, total) <= room;
        let bytes = if ends { left } else { fragment_len(self.sent, total, room) };
        if !ends && bytes < FRAGMENT_BYTES_MIN {
            return false;
        }
        match (self.sent, ends) {
            (0, true) => out.push(WHOLE),
            (0, false) => {
                out.extend_from_slice(&[FIRST, class as u8]);
                push_varint(out, total);
            }
            _ => out.extend_from_slice(&[MORE, class as u8]),
        }
        push_varint(out, bytes);
        message.append(self.sent, bytes, out);
        self.sent = self.sent.saturating_add(bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(token) = message.token {
            report(sent, Sent { token, sent: self.sent, total });
        }
        if ends {
            self.messages.pop_front();
            self.sent = 0;
            if self.messages.is_empty() {
                // Most links are idle most of the time: an empty queue keeps no places.
                self.messages = VecDeque::new();
            }
        }
        ends
    }
}

/// Bytes of the chunk that would end a message of which `sent` of `total` bytes are sent.
fn last_chunk_len(sent: usize, total: usize) -> usize {
    let bytes = total.saturating_sub(sent);
    let header = if sent == 0 { 1 } else { 2 };
    varint_len(bytes).saturating_add(header).saturating_add(bytes)
}

/// Bytes of the message in the largest fragment that fits `room` without ending the message.
fn fragment_len(sent: usize, total: usize, room: usize) -> usize {
    let header = if sent == 0 { varint_len(total).saturating_add(2) } else { 2 };
    let room = room.saturating_sub(header);
    let bytes = room.saturating_sub(varint_len(room));
    // A chunk that would end the message did not fit, so at least a byte is left; that holds for the length too where
    // its own varint is shorter than that of `room`.
    bytes.min(total.saturating_sub(sent).saturating_sub(1))
}

fn report(reports: &mut Vec<Sent>, sent: Sent) {
    match reports.iter_mut().find(|known| known.token == sent.token) {
        Some(known) => *known = sent,
        None => reports.push(sent),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn message(len: usize, token: u64) -> Outgoing {
        Outgoing {
            head: vec![1; len.min(3)],
            body: Bytes::from(vec![2; len.saturating_sub(3)]),
            token: Some(token),
        }
    }

    /// The tokens reported for each frame of `room` bytes until nothing goes any more.
    fn frames(queues: &mut Queues, room: usize) -> Vec<Vec<(u64, usize)>> {
        let mut frames = Vec::new();
        loop {
            let (mut out, mut sent) = (Vec::new(), Vec::new());
            queues.fill(room, &mut out, &mut sent);
            assert!(out.len() <= room);
            if out.is_empty() {
                return frames;
            }
            frames.push(sent.iter().map(|sent| (sent.token, sent.sent)).collect());
        }
    }

    #[test]
    fn small_messages_share_a_frame_and_control_leaves_first() {
        let mut queues = Queues::default();
        for (class, token) in [(Class::Bulk, 1), (Class::Small, 2), (Class::Small, 3), (Class::Control, 4)] {
            queues.push(class, message(10, token), usize::MAX).unwrap();
        }
        assert_eq!(queues.chunk_bytes(1000), 4 * 12);
        assert_eq!(frames(&mut queues, 1000), [[(4, 10), (2, 10), (1, 10), (3, 10)]]);
        assert!(queues.is_empty());
    }

    #[test]
    fn control_interrupts_a_bulk_message() {
        let mut queues = Queues::default();
        queues.push(Class::Bulk, message(2000, 1), usize::MAX).unwrap();
        let (mut out, mut sent) = (Vec::new(), Vec::new());
        queues.fill(500, &mut out, &mut sent);
        assert_eq!(sent, [Sent { token: 1, sent: 494, total: 2000 }]);
        queues.push(Class::Control, message(100, 2), usize::MAX).unwrap();
        assert_eq!(
            frames(&mut queues, 500),
            [vec![(2, 100), (1, 888)], vec![(1, 1384)], vec![(1, 1880)], vec![(1, 2000)]]
        );
    }

    #[test]
    fn backlogged_classes_share_four_to_two_to_one() {
        let mut queues = Queues::default();
        for class in Class::DATA {
            for _ in 0..400 {
                queues.push(class, message(997, class as u64), usize::MAX).unwrap();
            }
        }
        let mut share = [0; 4];
        for _ in 0..350 {
            let (mut out, mut sent) = (Vec::new(), Vec::new());
            queues.fill(1000, &mut out, &mut sent);
            share[usize::try_from(sent[0].token).unwrap()] += 1;
        }
        assert_eq!(share, [0, 200, 100, 50]);
    }

    #[test]
    fn an_idle_class_does_not_save_up() {
        let mut queues = Queues::default();
        for _ in 0..100 {
            queues.push(Class::Bulk, message(997, 3), usize::MAX).unwrap();
        }
        for _ in 0..50 {
            queues.fill(1000, &mut Vec::new(), &mut Vec::new());
        }
        for _ in 0..100 {
            queues.push(Class::Small, message(997, 1), usize::MAX).unwrap();
        }
        let order: Vec<u64> = frames(&mut queues, 1000).iter().take(11).map(|frame| frame[0].0).collect();
        assert_eq!(order.iter().filter(|token| **token == 3).count(), 2, "{order:?}");
    }

    #[test]
    fn little_room_holds_whole_messages_only() {
        let mut queues = Queues::default();
        queues.push(Class::Small, message(100, 1), usize::MAX).unwrap();
        queues.push(Class::Small, message(300, 2), usize::MAX).unwrap();
        assert_eq!(frames(&mut queues, 200), [[(1, 100)]]);
        queues.push(Class::Control, message(190, 3), usize::MAX).unwrap();
        assert_eq!(frames(&mut queues, 150), Vec::<Vec<_>>::new(), "data must not overtake control");
        assert_eq!(frames(&mut queues, 200), [[(3, 190)]]);
        assert_eq!(frames(&mut queues, 240), [vec![(2, 234)], vec![(2, 300)]]);
    }

    #[test]
    fn bounds_count_bytes_and_messages() {
        let mut queues = Queues::default();
        assert_eq!(queues.push(Class::Small, Outgoing::default(), 1000), Err(QueueError::Empty));
        assert_eq!(queues.push(Class::Small, message(937, 1), 1000), Err(QueueError::Full));
        assert_eq!(queues.push(Class::Small, message(936, 1), 1000), Ok(()));
        assert_eq!(queues.push(Class::Small, message(1, 2), 1000), Err(QueueError::Full));
        let mut queues = Queues::default();
        let taken = (0..1000).filter(|_| queues.push(Class::Control, message(1, 1), 6500).is_ok()).count();
        assert_eq!((taken, queues.bytes(Class::Control)), (100, 100));
    }

    #[test]
    fn a_purge_tells_of_partly_sent_messages_before_the_next_of_the_class() {
        let mut queues = Queues::default();
        queues.push(Class::Bulk, message(1000, 1), usize::MAX).unwrap();
        queues.push(Class::Bulk, message(5, 2), usize::MAX).unwrap();
        queues.push(Class::Control, message(5, 3), usize::MAX).unwrap();
        queues.fill(500, &mut Vec::new(), &mut Vec::new());
        let purged = queues.purge(&Class::DATA);
        assert_eq!(purged, Purged { bytes: 1005 - 487, tokens: vec![1, 2] });
        queues.push(Class::Bulk, message(3, 4), usize::MAX).unwrap();
        let mut out = Vec::new();
        queues.fill(1, &mut out, &mut Vec::new());
        assert_eq!(out, []);
        queues.fill(500, &mut out, &mut Vec::new());
        assert_eq!(out, [ABORT, 3, WHOLE, 3, 1, 1, 1]);
        assert!(queues.is_empty());
    }
}
