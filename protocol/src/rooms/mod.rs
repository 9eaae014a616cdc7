//! Rooms: the order of messages, their repair, and who forwards them. Pure leaves, one set per joined room; membership,
//! links, proofs and signatures belong to the node that drives them.
//!
//! # Order
//! A message has a [`Position`]: author, instance of the author, stream, sequence number. A *stream* is the room
//! ([`ALL`]) or one set of recipients, and order holds within it and nowhere else: messages of two authors, or of one
//! author to two recipient sets, may arrive in any order. That is what a member can promise without waiting for
//! anybody: a total order would cost agreement, and causal order a vector that grows with the room.
//!
//! - [`outbox`] numbers own messages and keeps them for repair.
//! - [`inbox`] puts the messages of others in order, each once, and says which are missing. [`stream`] is one stream of
//!   it, [`seen`] its memory of what came.
//! - [`retention`] keeps copies of messages for repair and forwarding.
//! - [`repair`] says when to ask for what is missing, and when to answer.
//! - [`forward`] says who forwards a message to members that its author did not reach, and pulls what was announced.
//!
//! # Generations
//! The upper 32 bits of a sequence number are its *generation*, the lower 32 count within it from 0. A number of streams
//! is remembered, so an author must forget some, and may leave a room and join it again; numbers must not come twice
//! even so. A stream that starts anew starts with a generation that it never had. A receiver that meets a newer
//! generation therefore knows where it starts, waits for nothing before it, and reports nothing lost; with a mere floor
//! it could not tell skipped numbers from lost messages. The price: what is lost at the end of a generation and was not
//! repaired by the time the next one arrives is not counted.
//!
//! # Where a stream starts
//! A member's proof says where its streams towards the receiver stand. The first proof of an instance is the
//! *baseline*: earlier messages were not for this receiver, and any stream that it does not list starts after it, at
//! the start of a generation. Before it no message of that instance counts, whoever brings it: an earlier run of the
//! receiver may have delivered it, and what is at or after the baseline the author sends again. In later proofs the
//! same numbers say what must have arrived by then, which shows losses at a stream's end, too. Both ends' marks (how
//! far each has received) then let the author send again exactly what is missing.
//!
//! # Forwarding
//! The author's own links are the tree of depth one: in a full mesh each message crosses one link per recipient. What
//! they do not reach is reached by one deterministic forwarder each, and by announcements with a delayed pull: the lazy
//! push of Plumtree (J. Leitão, J. Pereira, L. Rodrigues: *Epidemic Broadcast Trees*, SRDS 2007). Departures: there is no
//! tree that is built and repaired by `GRAFT` and `PRUNE`, since a hash of the message's id picks the forwarder, which
//! spreads load and leaves no state to disagree on; and a missing message is asked from one announcer after the other.

use crate::wire::message::Header;
use crate::{Instance, PeerId};

pub mod forward;
pub mod inbox;
pub mod outbox;
mod positions;
pub mod repair;
pub mod retention;
pub mod seen;
pub mod stream;

#[cfg(test)]
mod laws;

/// The stream of messages to all members.
pub const ALL: u64 = 0;

/// Bytes charged for a kept message beyond its own: what its entry in the tables costs, and what bounds the number of
/// empty messages.
pub const ENTRY_BYTES: usize = 256;

/// Most streams or marks in one message on the wire.
pub const STREAMS_ON_WIRE: usize = 64;

/// Bits of a sequence number below its generation.
const GENERATION_SHIFT: u32 = 32;

/// Where a message stands: the key of order, and of the duplicate filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Who wrote it.
    pub author: PeerId,
    /// The author's instance.
    pub instance: Instance,
    /// The stream.
    pub stream: u64,
    /// Generation and count.
    pub sequence: u64,
}

impl From<&Header> for Position {
    fn from(header: &Header) -> Self {
        Self {
            author: header.author,
            instance: header.instance,
            stream: header.stream,
            sequence: header.sequence,
        }
    }
}

/// The generation of a sequence number.
#[must_use]
pub const fn generation(sequence: u64) -> u32 {
    (sequence >> GENERATION_SHIFT) as u32
}

/// The first sequence number of a generation.
#[must_use]
pub const fn first_of(generation: u32) -> u64 {
    (generation as u64) << GENERATION_SHIFT
}

/// The first sequence number of the generation of `sequence`.
#[must_use]
pub const fn generation_start(sequence: u64) -> u64 {
    first_of(generation(sequence))
}

/// What a kept message is charged: its bytes and its entry.
const fn charge(bytes: usize) -> usize {
    bytes.saturating_add(ENTRY_BYTES)
}

#[cfg(test)]
pub(crate) mod testing {
    //! Ids for tests.

    use super::Position;
    use crate::{Instance, MessageId, PeerId};

    pub(crate) fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    pub(crate) fn boot(boot: u64) -> Instance {
        Instance { boot, session: 7 }
    }

    pub(crate) fn at(author: u8, stream: u64, sequence: u64) -> Position {
        Position { author: peer(author), instance: boot(1), stream, sequence }
    }

    /// The id that an honest author's message at `position` has in tests.
    pub(crate) fn id(position: Position) -> MessageId {
        MessageId(crate::crypto::sha256(&[
            position.author.as_bytes(),
            &position.instance.boot.to_le_bytes(),
            &position.stream.to_le_bytes(),
            &position.sequence.to_le_bytes(),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_spans_32_bits() {
        for (sequence, number, start) in [
            (0, 0, 0),
            (u64::from(u32::MAX), 0, 0),
            (1 << 32, 1, 1 << 32),
            ((3 << 32) + 9, 3, 3 << 32),
            (u64::MAX, u32::MAX, u64::MAX << 32),
        ] {
            assert_eq!((generation(sequence), generation_start(sequence)), (number, start), "{sequence}");
            assert_eq!(first_of(number), start);
        }
    }
}
