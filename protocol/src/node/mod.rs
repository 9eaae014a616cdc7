//! The node: one state machine over all layers.

use bytes::Bytes;

use crate::{Address, Deadline, Instant, LinkId, MessageId, PeerId, RequestId, RoomId, RoomKey};

pub(crate) mod api;
pub(crate) mod snapshot;

use api::{
    BroadcastError, Input, JoinError, LinkLimit, LinkView, Origin, Output, Recipients, RoomError, RoomView,
    RoutingView, Start,
};

/// A node of the network: one deterministic state machine without I/O.
#[derive(Debug)]
pub struct Node {}

impl Node {
    /// Makes a node. It asks for a `Save` first and dials nothing before the answer.
    #[must_use]
    pub fn new(_start: Start, _now: Instant) -> Self {
        Self {}
    }

    /// This node's id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId::default()
    }

    /// Adds a service address to start from; it is dialled now and whenever the node is not linked to it.
    pub fn bootstrap(&mut self, _address: Address, _now: Instant) {}

    /// Joins a room. `Event::RoomJoined` answers by a deadline.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub fn join(&mut self, _key: &RoomKey, _now: Instant) -> Result<RoomId, JoinError> {
        Ok(RoomId::default())
    }

    /// Makes a joined room the primary one, which moves the node in the key space.
    ///
    /// # Errors
    /// See [`RoomError`].
    pub fn make_primary(&mut self, _room: RoomId, _now: Instant) -> Result<(), RoomError> {
        Ok(())
    }

    /// Leaves a room: says goodbye and withdraws the claim. Leaving twice is an error and changes nothing.
    ///
    /// # Errors
    /// See [`RoomError`].
    pub fn leave(&mut self, _room: RoomId, _now: Instant) -> Result<(), RoomError> {
        Ok(())
    }

    /// Sends a message to members of a joined room.
    ///
    /// # Errors
    /// See [`BroadcastError`]; nothing was sent then.
    pub fn broadcast(
        &mut self,
        _room: RoomId,
        _payload: Bytes,
        _recipients: Recipients,
        _now: Instant,
    ) -> Result<MessageId, BroadcastError> {
        Ok(MessageId::default())
    }

    /// Looks up the members of a room without joining it. `Event::FindFinished` answers.
    pub fn find(&mut self, _room: RoomId, _now: Instant) -> RequestId {
        RequestId::default()
    }

    /// Leaves all rooms, says goodbye to all and closes all links; `Event::ShutDown` comes when done.
    pub fn shutdown(&mut self, _now: Instant) {}

    /// Takes an inbound carrier; its frames come as `Input::Frame` with this id.
    ///
    /// # Errors
    /// See [`LinkLimit`]; the driver closes the carrier.
    pub fn accept(&mut self, _origin: Origin, _now: Instant) -> Result<LinkId, LinkLimit> {
        Ok(LinkId::default())
    }

    /// Takes what the world did. Inputs for unknown links are counted and ignored.
    pub fn handle_input(&mut self, _input: Input, _now: Instant) {}

    /// Fires what is due. Spurious calls do nothing.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing to do, first in, first out.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When `handle_timeout` is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        None
    }

    /// The joined rooms, in the order of joining.
    #[must_use]
    pub fn rooms(&self) -> alloc::vec::Vec<RoomView> {
        alloc::vec::Vec::new()
    }

    /// The linked members of a room in the order of their ids, without this node; `None` if it is not joined.
    #[must_use]
    pub fn members(&self, _room: RoomId) -> Option<alloc::vec::Vec<PeerId>> {
        None
    }

    /// The usable links.
    #[must_use]
    pub fn links(&self) -> alloc::vec::Vec<LinkView> {
        alloc::vec::Vec::new()
    }

    /// Where a dialled or accepted link leads, once authenticated.
    #[must_use]
    pub fn link_peer(&self, _link: LinkId) -> Option<PeerId> {
        None
    }

    /// The routing table.
    #[must_use]
    pub fn routing_table(&self) -> RoutingView {
        RoutingView {
            location: RoomId::default(),
            ready: false,
            leaf_set: alloc::vec::Vec::new(),
            buckets: alloc::vec::Vec::new(),
            homes: alloc::vec::Vec::new(),
            held: alloc::vec::Vec::new(),
        }
    }

    /// The counters, by stable name.
    #[must_use]
    pub fn metrics(&self) -> alloc::vec::Vec<(&'static str, u64)> {
        alloc::vec::Vec::new()
    }

    /// What is wrong with the node's state, one sentence each; empty when all invariants hold. For tests and simulations.
    #[must_use]
    pub fn check_invariants(&self) -> alloc::vec::Vec<alloc::string::String> {
        alloc::vec::Vec::new()
    }
}
