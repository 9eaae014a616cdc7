//! Chunks of an established session, against a reassembly of a few lines.

use bytes::Bytes;
use unamed_protocol::crypto::Role;
use unamed_protocol::link::SessionEvent;

use crate::session::Established;
use crate::source::Source;

/// Bytes of messages: no message begins with this, so a session does not look into it.
const FILL: u8 = 0xA0;

/// What is expected of one link.
#[derive(Debug, Default)]
struct Reference {
    /// The message being received of each class, and its whole length.
    slots: [Option<(Vec<u8>, usize)>; 4],
    messages: Vec<Vec<u8>>,
    closed: bool,
}

impl Reference {
    /// Takes a chunk; `last` if none follows in its frame. `None` if it breaks the rules.
    fn take(&mut self, chunk: &Chunk, last: bool, bounds: (usize, usize)) -> Option<()> {
        let (message_max, announced_max) = bounds;
        match chunk {
            Chunk::Whole(bytes) => {
                self.messages.push((!bytes.is_empty()).then(|| bytes.clone())?);
            }
            Chunk::First(class, total, bytes) => {
                let announced: usize = self.slots.iter().flatten().map(|(_, total)| total).sum();
                let fits = *total <= message_max && announced + total <= announced_max;
                let slot = self.slots.get_mut(*class)?;
                let partial = !bytes.is_empty() && bytes.len() < *total;
                (slot.is_none() && last && fits && partial).then_some(())?;
                *slot = Some((bytes.clone(), *total));
            }
            Chunk::More(class, bytes) => {
                let slot = self.slots.get_mut(*class)?;
                let (held, total) = slot.as_mut()?;
                let fits = !bytes.is_empty() && held.len() + bytes.len() <= *total;
                (fits && (last || held.len() + bytes.len() == *total)).then_some(())?;
                held.extend_from_slice(bytes);
                if held.len() == *total {
                    self.messages.extend(slot.take().map(|(bytes, _)| bytes));
                }
            }
            Chunk::Abort(class) => drop(self.slots.get_mut(*class)?.take()?),
            Chunk::Unknown => return None,
        }
        Some(())
    }
}

/// One chunk.
#[derive(Debug)]
enum Chunk {
    Whole(Vec<u8>),
    First(usize, usize, Vec<u8>),
    More(usize, Vec<u8>),
    Abort(usize),
    Unknown,
}

fn content(from: &mut Source<'_>, count: &mut u8) -> Vec<u8> {
    *count = count.wrapping_add(1);
    let bytes = match from.byte() {
        short @ 0..0xC0 => usize::from(short),
        long => usize::from(long - 0xBF) * 16,
    };
    (0..bytes).map(|at| FILL | ((at as u8 ^ *count) & 0x0F)).collect()
}

impl Chunk {
    fn made(from: &mut Source<'_>, count: &mut u8) -> Self {
        match from.below(16) {
            0..4 => Self::Whole(content(from, count)),
            4..8 => Self::First(from.below(5), from.number().min(1 << 20) as usize, content(from, count)),
            8..14 => Self::More(from.below(5), content(from, count)),
            14 => Self::Abort(from.below(5)),
            _ => Self::Unknown,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let length = |out: &mut Vec<u8>, value: usize| crate::session::push_varint(out, value as u32);
        match self {
            Self::Whole(bytes) => {
                out.push(1);
                length(out, bytes.len());
                out.extend_from_slice(bytes);
            }
            Self::First(class, total, bytes) => {
                out.extend([2, *class as u8]);
                length(out, *total);
                length(out, bytes.len());
                out.extend_from_slice(bytes);
            }
            Self::More(class, bytes) => {
                out.extend([3, *class as u8]);
                length(out, bytes.len());
                out.extend_from_slice(bytes);
            }
            Self::Abort(class) => out.extend([4, *class as u8]),
            Self::Unknown => out.push(0x7F),
        }
    }
}

/// Fuzz target: frames of chunks: how many more chunks the frame has, then the chunk.
pub(crate) fn fragment(input: &[u8]) {
    let mut from = Source::new(input);
    let mut link = Established::new(Role::Responder);
    let (mut expected, mut count) = (Reference::default(), 0);
    while !from.is_over() && !expected.closed {
        let chunks: Vec<Chunk> = (0..=from.below(3)).map(|_| Chunk::made(&mut from, &mut count)).collect();
        let mut plaintext = Vec::new();
        chunks.iter().for_each(|chunk| chunk.write(&mut plaintext));
        if plaintext.len() > Established::PLAINTEXT_MAX {
            continue;
        }
        let before = expected.messages.len();
        for (index, chunk) in chunks.iter().enumerate() {
            if expected.take(chunk, index + 1 == chunks.len(), Established::BOUNDS).is_none() {
                expected.closed = true;
                break;
            }
        }
        let (mut heard, mut closed): (Vec<Bytes>, bool) = (Vec::new(), false);
        for event in link.hear(&plaintext) {
            match event {
                SessionEvent::Message(message) => heard.push(message),
                SessionEvent::Closed(_) => closed = true,
                SessionEvent::Established(_)
                | SessionEvent::Progress { .. }
                | SessionEvent::RoundTrip(_)
                | SessionEvent::DataDropped { .. } => {}
            }
        }
        assert_eq!(heard, &expected.messages[before..], "{chunks:?}");
        assert_eq!(closed, expected.closed, "{chunks:?}");
        let held: usize = expected.slots.iter().flatten().map(|(bytes, _)| bytes.len()).sum();
        assert!(closed || link.reassembly_bytes() >= held, "what was received is accounted for");
        assert!(link.reassembly_bytes() <= Established::BOUNDS.1, "and bounded");
    }
}
