//! What the application learns.

use bytes::Bytes;
use unamed_protocol::{
    Address, Carrier, CloseReason, Event, LinkReasons, MemberLeftReason, Message, MessageId, PeerId, RoomId,
};

use crate::mailbox::Letter;

/// Events of one room that may wait for the application.
pub(crate) const ROOM_EVENTS_MAX: usize = 16_384;
/// Bytes of messages of one room that may wait for the application.
pub(crate) const ROOM_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Events of the network that may wait for the application.
pub(crate) const NETWORK_EVENTS_MAX: usize = 1024;

/// What happens in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEvent {
    /// A member is linked. Those of [`Room::outcome`](crate::Room::outcome) are not repeated.
    MemberJoined {
        /// The member.
        peer: PeerId,
        /// What it says of itself, a nickname for instance; empty for nothing.
        data: Bytes,
    },
    /// A member says something else of itself. First of all it comes for each of those in
    /// [`Room::outcome`](crate::Room::outcome) that say something.
    MemberChanged {
        /// The member.
        peer: PeerId,
        /// What it says, 1 KiB at most; empty for nothing.
        data: Bytes,
    },
    /// A member is gone.
    MemberLeft {
        /// The member.
        peer: PeerId,
        /// Why.
        reason: MemberLeftReason,
    },
    /// A message, in the order of its author.
    Message(Message),
    /// Messages are missing for good.
    MessagesLost {
        /// Whose messages.
        from: PeerId,
        /// How many.
        count: u64,
    },
    /// Two parts of the room that did not know of each other have met. Each of these members joins by
    /// [`MemberJoined`](Self::MemberJoined), once it is linked.
    Merged {
        /// The members that came to be known.
        members: Vec<PeerId>,
    },
    /// A message that was refused as busy would be taken.
    Writable,
    /// The room turned out to be full and was left. The last event.
    Full,
    /// The application did not read, and events were dropped here: more than 16,384 were waiting, or messages of more
    /// than 64 MiB. [`Room::members`](crate::Room::members) tells who is there.
    Lagged {
        /// How many.
        missed: u64,
    },
}

impl Letter for RoomEvent {
    fn weight(&self) -> usize {
        match self {
            Self::Message(message) => message.payload.len(),
            Self::MemberJoined { data, .. } | Self::MemberChanged { data, .. } => data.len(),
            Self::MemberLeft { .. }
            | Self::MessagesLost { .. }
            | Self::Merged { .. }
            | Self::Writable
            | Self::Full
            | Self::Lagged { .. } => 0,
        }
    }

    fn lagged(missed: u64) -> Self {
        Self::Lagged { missed }
    }
}

/// What happens in the network at large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkEvent {
    /// Whether at least one service node is linked changed; for a service node, another one.
    Online(bool),
    /// A service node takes part in routing.
    Ready,
    /// A link is usable.
    LinkOpened {
        /// The peer.
        peer: PeerId,
        /// What carries it.
        carrier: Carrier,
        /// Why this end keeps it so far.
        reasons: LinkReasons,
    },
    /// A link that was usable is gone.
    LinkClosed {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
        /// Why this end had kept it.
        reasons: LinkReasons,
    },
    /// A dial or handshake failed.
    LinkFailed {
        /// The address dialled, if it was one.
        address: Option<Address>,
        /// Why.
        reason: CloseReason,
    },
    /// A service address became known.
    NewServiceAddress {
        /// The address, with its peer id.
        address: Address,
    },
    /// The primary room is another one.
    PrimaryChanged {
        /// The room; the own home room if none is joined.
        room: RoomId,
    },
    /// Part of a large message arrived.
    MessageProgress {
        /// From whom.
        from: PeerId,
        /// Bytes received.
        received: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Part of an own large message was handed to the link of one recipient.
    SendProgress {
        /// The message.
        id: MessageId,
        /// The recipient.
        to: PeerId,
        /// Bytes handed over.
        sent: u64,
        /// Bytes in all.
        total: u64,
    },
    /// State could not be saved; the node goes on.
    SaveFailed,
    /// Another live node uses this identity.
    IdentityInUse {
        /// The peer that says so, which any peer can, true or not; none if this node has met the other one itself.
        told_by: Option<PeerId>,
    },
    /// The node is shut down. The last event.
    ShutDown,
    /// The application did not read, and events were dropped here: more than 1,024 were waiting.
    Lagged {
        /// How many.
        missed: u64,
    },
}

impl NetworkEvent {
    /// The network's side of a core event; `None` for what concerns one room or request.
    pub(crate) fn of(event: Event) -> Option<Self> {
        Some(match event {
            Event::Online(online) => Self::Online(online),
            Event::Ready => Self::Ready,
            Event::LinkOpened { link: _, peer, carrier, reasons } => {
                Self::LinkOpened { peer, carrier, reasons }
            }
            Event::LinkClosed { link: _, peer, reason, reasons } => {
                Self::LinkClosed { peer, reason, reasons }
            }
            Event::LinkFailed { link: _, address, reason } => Self::LinkFailed { address, reason },
            Event::NewServiceAddress { address } => Self::NewServiceAddress { address },
            Event::PrimaryChanged { room } => Self::PrimaryChanged { room },
            Event::MessageProgress { from, received, total } => {
                Self::MessageProgress { from, received, total }
            }
            Event::SendProgress { id, to, sent, total } => Self::SendProgress { id, to, sent, total },
            Event::SaveFailed => Self::SaveFailed,
            Event::IdentityInUse { told_by } => Self::IdentityInUse { told_by },
            Event::RoomJoined { .. }
            | Event::RoomLeft { .. }
            | Event::MemberJoined { .. }
            | Event::MemberChanged { .. }
            | Event::MemberLeft { .. }
            | Event::Message(_)
            | Event::MessagesLost { .. }
            | Event::RoomMerged { .. }
            | Event::RoomWritable { .. }
            | Event::FindFinished(_)
            | Event::ShutDown => return None,
        })
    }
}

impl Letter for NetworkEvent {
    fn weight(&self) -> usize {
        0
    }

    fn lagged(missed: u64) -> Self {
        Self::Lagged { missed }
    }
}
