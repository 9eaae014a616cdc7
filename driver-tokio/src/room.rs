//! A joined room, as the application holds it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::oneshot;
use unamed_protocol::{BroadcastError, JoinOutcome, MessageId, PeerId, Recipients, RoomError, RoomId};

use crate::driver::{Broadcast, Command, Joined, Ticket};
use crate::events::RoomEvent;
use crate::mailbox::MailReceiver;
use crate::network::Network;

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The room is not joined any more.
    NotJoined,
    /// The list of recipients is empty.
    NoRecipients,
    /// A recipient is not a member.
    UnknownRecipient(PeerId),
    /// More recipients than a room can have.
    TooManyRecipients,
    /// The payload exceeds `max` bytes.
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// The queues are full; [`RoomEvent::Writable`] follows.
    Busy,
    /// The node is shut down.
    Stopped,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJoined => f.write_str("the room is not joined"),
            Self::NoRecipients => f.write_str("the list of recipients is empty"),
            Self::UnknownRecipient(peer) => write!(f, "{peer} is not a member of the room"),
            Self::TooManyRecipients => f.write_str("too many recipients"),
            Self::TooLarge { max } => write!(f, "the message has more than {max} bytes"),
            Self::Busy => f.write_str("the queues are full"),
            Self::Stopped => f.write_str("the node is shut down"),
        }
    }
}

impl std::error::Error for SendError {}

impl From<BroadcastError> for SendError {
    fn from(error: BroadcastError) -> Self {
        match error {
            BroadcastError::NotJoined => Self::NotJoined,
            BroadcastError::NoRecipients => Self::NoRecipients,
            BroadcastError::UnknownRecipient(peer) => Self::UnknownRecipient(peer),
            BroadcastError::TooManyRecipients => Self::TooManyRecipients,
            BroadcastError::TooLarge { max } => Self::TooLarge { max },
            BroadcastError::Busy => Self::Busy,
        }
    }
}

/// Why member data were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberDataError {
    /// The room is not joined any more.
    NotJoined,
    /// The data have more than `max` bytes.
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// The node is shut down.
    Stopped,
}

impl fmt::Display for MemberDataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJoined => f.write_str("the room is not joined"),
            Self::TooLarge { max } => write!(f, "the member data have more than {max} bytes"),
            Self::Stopped => f.write_str("the node is shut down"),
        }
    }
}

impl std::error::Error for MemberDataError {}

impl From<unamed_protocol::MemberDataError> for MemberDataError {
    fn from(error: unamed_protocol::MemberDataError) -> Self {
        match error {
            unamed_protocol::MemberDataError::NotJoined => Self::NotJoined,
            unamed_protocol::MemberDataError::TooLarge { max } => Self::TooLarge { max },
        }
    }
}

/// What all handles of one join share; with the last one the room is left.
struct Membership {
    network: Network,
    ticket: Ticket,
    outcome: JoinOutcome,
    left: AtomicBool,
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !self.left.load(Ordering::Relaxed) {
            self.network.leave(self.ticket);
        }
    }
}

/// A joined room. It sends and receives; [`split`](Room::split) makes two of it.
///
/// Dropping the last handle of a room (this one, every [`RoomSender`], and [`RoomEvents`]) leaves it. A handle of a room
/// keeps the node running.
#[derive(Debug)]
pub struct Room {
    sender: RoomSender,
    events: RoomEvents,
}

impl Room {
    pub(crate) fn new(network: Network, joined: Joined) -> Self {
        let Joined { ticket, outcome, events } = joined;
        let membership = Arc::new(Membership { network, ticket, outcome, left: AtomicBool::new(false) });
        let events = RoomEvents { events, _membership: Arc::clone(&membership) };
        Self { sender: RoomSender { membership }, events }
    }

    /// The room's id.
    #[must_use]
    pub fn id(&self) -> RoomId {
        self.sender.id()
    }

    /// How the join went, with the members that were linked by then. Later ones come as [`RoomEvent::MemberJoined`].
    #[must_use]
    pub fn outcome(&self) -> &JoinOutcome {
        self.sender.outcome()
    }

    /// The linked members, in the order of their ids, without this node.
    pub async fn members(&self) -> Vec<PeerId> {
        self.sender.members().await
    }

    /// What a member says of itself; see [`RoomSender::member_data`].
    pub async fn member_data(&self, peer: PeerId) -> Option<Bytes> {
        self.sender.member_data(peer).await
    }

    /// Says something of this node to the members; see [`RoomSender::set_member_data`].
    ///
    /// # Errors
    /// See [`MemberDataError`].
    pub async fn set_member_data(&self, data: impl Into<Bytes>) -> Result<(), MemberDataError> {
        self.sender.set_member_data(data).await
    }

    /// Sends a message to all members; see [`RoomSender::broadcast`].
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn broadcast(&self, payload: impl Into<Bytes>) -> Result<MessageId, SendError> {
        self.sender.broadcast(payload).await
    }

    /// Sends a message to some members; see [`RoomSender::send_to`].
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_to(&self, peers: &[PeerId], payload: impl Into<Bytes>) -> Result<MessageId, SendError> {
        self.sender.send_to(peers, payload).await
    }

    /// The next event; see [`RoomEvents::next`].
    pub async fn next(&mut self) -> Option<RoomEvent> {
        self.events.next().await
    }

    /// A sender, which can be cloned, and the stream of events.
    #[must_use]
    pub fn split(self) -> (RoomSender, RoomEvents) {
        (self.sender, self.events)
    }

    /// Leaves the room: says goodbye to its members. All handles of it are dead then.
    pub async fn leave(self) {
        self.sender.leave().await;
    }
}

/// The sending half of a [`Room`]. Clones are cheap.
#[derive(Clone)]
pub struct RoomSender {
    membership: Arc<Membership>,
}

impl fmt::Debug for RoomSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomSender").field("room", &self.id()).finish_non_exhaustive()
    }
}

impl RoomSender {
    /// The room's id.
    #[must_use]
    pub fn id(&self) -> RoomId {
        self.membership.ticket.room
    }

    /// How the join went.
    #[must_use]
    pub fn outcome(&self) -> &JoinOutcome {
        &self.membership.outcome
    }

    /// The linked members, in the order of their ids, without this node; empty once the room is left.
    pub async fn members(&self) -> Vec<PeerId> {
        self.membership.network.members(self.id()).await
    }

    /// What a member says of itself, this node included; empty for nothing, `None` if it is no member or the room is left.
    pub async fn member_data(&self, peer: PeerId) -> Option<Bytes> {
        self.membership.network.member_data(self.id(), peer).await
    }

    /// Says something of this node to the members, a nickname for instance: at most 1 KiB, which replaces what was said
    /// before; nothing if empty. Members are told by [`RoomEvent::MemberChanged`], later ones by
    /// [`RoomEvent::MemberJoined`]. Changes go out once a second at most, the last of several alone.
    ///
    /// # Errors
    /// See [`MemberDataError`]; what was said before stays then.
    pub async fn set_member_data(&self, data: impl Into<Bytes>) -> Result<(), MemberDataError> {
        let (reply, answer) = oneshot::channel();
        let (ticket, data) = (self.membership.ticket, data.into());
        self.command(Command::SetMemberData { ticket, data, reply });
        answer.await.map_err(|_| MemberDataError::Stopped)?.map_err(MemberDataError::from)
    }

    /// Sends a message to all members. While the queues are full this waits, and those who wait are served in their
    /// order. A message to nobody (nobody else is there) is sent at once.
    ///
    /// # Errors
    /// See [`SendError`]; never [`SendError::Busy`].
    pub async fn broadcast(&self, payload: impl Into<Bytes>) -> Result<MessageId, SendError> {
        self.send(payload.into(), Recipients::All, true).await
    }

    /// Sends a message to all members, or says that the queues are full.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn try_broadcast(&self, payload: impl Into<Bytes>) -> Result<MessageId, SendError> {
        self.send(payload.into(), Recipients::All, false).await
    }

    /// Sends a message to some members. While the queues are full this waits.
    ///
    /// # Errors
    /// See [`SendError`]; never [`SendError::Busy`].
    pub async fn send_to(&self, peers: &[PeerId], payload: impl Into<Bytes>) -> Result<MessageId, SendError> {
        self.send(payload.into(), Recipients::Only(peers.to_vec()), true).await
    }

    /// Sends a message to some members, or says that the queues are full.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn try_send_to(
        &self,
        peers: &[PeerId],
        payload: impl Into<Bytes>,
    ) -> Result<MessageId, SendError> {
        self.send(payload.into(), Recipients::Only(peers.to_vec()), false).await
    }

    async fn send(&self, payload: Bytes, recipients: Recipients, wait: bool) -> Result<MessageId, SendError> {
        let (reply, answer) = oneshot::channel();
        let request = Broadcast { payload, recipients, reply };
        self.command(Command::Broadcast { ticket: self.membership.ticket, request, wait });
        answer.await.map_err(|_| SendError::Stopped)?.map_err(SendError::from)
    }

    /// Makes this room the primary one, which decides the node's place in the network.
    ///
    /// # Errors
    /// If the room is left, or the node is a service node, whose primary room is fixed.
    pub async fn make_primary(&self) -> Result<(), RoomError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::MakePrimary { ticket: self.membership.ticket, reply });
        answer.await.unwrap_or(Err(RoomError::NotJoined))
    }

    /// Leaves the room: says goodbye to its members. All handles of it are dead then.
    pub async fn leave(&self) {
        self.membership.left.store(true, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.command(Command::Leave { ticket: self.membership.ticket, reply: Some(reply) });
        let _ = answer.await;
    }

    fn command(&self, command: Command) {
        self.membership.network.command(command);
    }
}

/// The receiving half of a [`Room`]: a stream of [`RoomEvent`]s that ends when the room is left.
pub struct RoomEvents {
    events: MailReceiver<RoomEvent>,
    _membership: Arc<Membership>,
}

impl fmt::Debug for RoomEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomEvents").finish_non_exhaustive()
    }
}

impl RoomEvents {
    /// The next event; `None` once the room is left.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut self.events).poll_next(cx)).await
    }
}

impl Stream for RoomEvents {
    type Item = RoomEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RoomEvent>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}
