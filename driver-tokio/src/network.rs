//! A running node, as the application holds it.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};
use unamed_protocol::crypto::RealCrypto;
use unamed_protocol::wire::MemberStatement;
use unamed_protocol::{
    Address, FindReport, LinkView, NetworkId, Node, PeerId, RoomId, RoomKey, RoomNameError, RoomView,
    RoutingView,
};

use crate::builder::NetworkBuilder;
use crate::driver::{Clock, Command, Inbox, Ticket, network_mailbox};
use crate::events::NetworkEvent;
use crate::mailbox::MailReceiver;
use crate::metrics::Counters;
use crate::room::Room;

/// A node of the network that runs in the background.
///
/// Clones are cheap and mean the same node. Dropping the last handle, rooms included, shuts the node down in good order
/// as long as the runtime lives; [`shutdown`](Network::shutdown) does so and waits for it.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) inbox: mpsc::UnboundedSender<Inbox>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) network: NetworkId,
    pub(crate) peer_id: PeerId,
    pub(crate) addresses: Vec<Address>,
    pub(crate) boot: u64,
    pub(crate) clock: Clock,
    /// The queue that was filled from the start, until somebody takes it.
    pub(crate) first_events: Mutex<Option<MailReceiver<NetworkEvent>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = self.inbox.send(Inbox::Command(Command::Shutdown));
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("peer_id", &self.shared.peer_id).finish_non_exhaustive()
    }
}

/// How to join a room.
#[derive(Clone, Debug, Default)]
pub struct JoinOptions {
    /// Keeps out who knows the name alone: the same name with another passphrase is another room.
    pub passphrase: Option<Vec<u8>>,
    /// What this node says of itself to the members, a nickname for instance: they know it when they see it join. At most
    /// 1 KiB; nothing if empty. [`Room::set_member_data`] changes it.
    pub member_data: Bytes,
}

/// Why a room could not be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The name is no room name.
    Name(RoomNameError),
    /// The room is joined already, or being joined.
    AlreadyJoined,
    /// Too many rooms are joined.
    TooManyRooms,
    /// [`JoinOptions::member_data`] has more than `max` bytes.
    MemberDataTooLarge {
        /// The bound.
        max: usize,
    },
    /// The room has as many members as it can.
    Full,
    /// The node is shut down, or shutting down.
    Stopped,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::AlreadyJoined => f.write_str("the room is joined already"),
            Self::TooManyRooms => f.write_str("too many rooms are joined"),
            Self::MemberDataTooLarge { max } => write!(f, "the member data have more than {max} bytes"),
            Self::Full => f.write_str("the room is full"),
            Self::Stopped => f.write_str("the node is shut down"),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<unamed_protocol::JoinError> for JoinError {
    fn from(error: unamed_protocol::JoinError) -> Self {
        match error {
            unamed_protocol::JoinError::AlreadyJoined => Self::AlreadyJoined,
            unamed_protocol::JoinError::TooManyRooms => Self::TooManyRooms,
            unamed_protocol::JoinError::ShuttingDown => Self::Stopped,
        }
    }
}

/// Why a room could not be sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindError {
    /// The name is no room name.
    Name(RoomNameError),
    /// The node is shut down, or shutting down.
    Stopped,
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Stopped => f.write_str("the node is shut down"),
        }
    }
}

impl std::error::Error for FindError {}

impl Network {
    /// Starts to describe a node.
    pub fn builder() -> NetworkBuilder {
        NetworkBuilder::default()
    }

    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Joins a named room, without a passphrase.
    ///
    /// The answer says how it went ([`Room::outcome`]) and comes within
    /// [`join_timeout`](unamed_protocol::RoomConfig::join_timeout), after some tens of milliseconds of deriving the room's
    /// key. Dropping the future gives up the join.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(&self, name: &str) -> Result<Room, JoinError> {
        self.join_with(name, JoinOptions::default()).await
    }

    /// Joins a named room.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join_with(&self, name: &str, options: JoinOptions) -> Result<Room, JoinError> {
        let member_data = options.member_data.clone();
        let max = MemberStatement::DATA_BYTES_MAX;
        if member_data.len() > max {
            return Err(JoinError::MemberDataTooLarge { max });
        }
        let key = self.derive(name, options).await.map_err(JoinError::Name)?;
        self.enter(key, member_data).await
    }

    /// Joins the room of a key.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join_key(&self, key: RoomKey) -> Result<Room, JoinError> {
        self.enter(key, Bytes::new()).await
    }

    async fn enter(&self, key: RoomKey, member_data: Bytes) -> Result<Room, JoinError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Join { key: Box::new(key), member_data, reply });
        let joined = answer.await.map_err(|_| JoinError::Stopped)??;
        Ok(Room::new(self.clone(), joined))
    }

    /// Looks for the members of a named room without joining it.
    ///
    /// # Errors
    /// See [`FindError`].
    pub async fn find(&self, name: &str) -> Result<FindReport, FindError> {
        self.find_with(name, JoinOptions::default()).await
    }

    /// Looks for the members of a named room without joining it: of the options the passphrase counts.
    ///
    /// # Errors
    /// See [`FindError`].
    pub async fn find_with(&self, name: &str, options: JoinOptions) -> Result<FindReport, FindError> {
        let key = self.derive(name, options).await.map_err(FindError::Name)?;
        self.find_room(key.id(&RealCrypto)).await
    }

    /// Looks for the members of the room with this id.
    ///
    /// # Errors
    /// [`FindError::Stopped`].
    pub async fn find_room(&self, room: RoomId) -> Result<FindReport, FindError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Find { room, reply });
        answer.await.map_err(|_| FindError::Stopped)
    }

    async fn derive(&self, name: &str, options: JoinOptions) -> Result<RoomKey, RoomNameError> {
        let (name, network) = (name.to_owned(), self.shared.network.clone());
        let derive = move || {
            let passphrase = options.passphrase.unwrap_or_default();
            RoomKey::derive(&name, &passphrase, &network)
        };
        match tokio::task::spawn_blocking(derive).await {
            Ok(key) => key,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is going down, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Adds a service address to start from.
    pub fn bootstrap(&self, address: Address) {
        self.command(Command::Bootstrap(address));
    }

    /// This node's id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.shared.peer_id
    }

    /// The boot counter of this run, by which others tell runs of a node apart; larger than that of any earlier run whose
    /// state was saved.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.shared.boot
    }

    /// How long this node runs, on the clock of [`LinkView::since`].
    #[must_use]
    pub fn uptime(&self) -> Duration {
        Duration::from_micros(self.shared.clock.now().as_micros())
    }

    /// The network this node belongs to.
    #[must_use]
    pub fn network_id(&self) -> &NetworkId {
        &self.shared.network
    }

    /// Where others can dial this node, with its peer id; empty for a client.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.shared.addresses
    }

    /// What happens in the network at large. The first call gets everything since the start, a further one what happens
    /// from then on. A queue that is not read lags; see [`NetworkEvent::Lagged`].
    #[must_use]
    pub fn events(&self) -> NetworkEvents {
        let first = self.shared.first_events.lock().unwrap_or_else(PoisonError::into_inner).take();
        NetworkEvents(first.unwrap_or_else(|| {
            let (sender, receiver) = network_mailbox();
            self.command(Command::Subscribe(sender));
            receiver
        }))
    }

    /// The usable links; empty after a shutdown.
    pub async fn links(&self) -> Vec<LinkView> {
        self.inspect(Node::links).await.unwrap_or_default()
    }

    /// The joined rooms, in the order of joining; empty after a shutdown.
    pub async fn rooms(&self) -> Vec<RoomView> {
        self.inspect(Node::rooms).await.unwrap_or_default()
    }

    /// The routing table; `None` after a shutdown.
    pub async fn routing_table(&self) -> Option<RoutingView> {
        self.inspect(Node::routing_table).await
    }

    /// All counters of core and driver, by stable name.
    pub async fn metrics(&self) -> Vec<(&'static str, u64)> {
        let mut metrics = self.inspect(Node::metrics).await.unwrap_or_default();
        metrics.extend(self.shared.counters.list());
        metrics
    }

    pub(crate) async fn member_data(&self, room: RoomId, peer: PeerId) -> Option<Bytes> {
        self.inspect(move |node| node.member_data(room, peer)).await.flatten()
    }

    pub(crate) async fn members(&self, room: RoomId) -> Vec<PeerId> {
        self.inspect(move |node| node.members(room)).await.flatten().unwrap_or_default()
    }

    /// Leaves all rooms, says goodbye to all, and waits until all that was queued is sent and the state is saved: five
    /// seconds at most.
    pub async fn shutdown(&self) {
        self.command(Command::Shutdown);
        self.shared.inbox.closed().await;
    }

    async fn inspect<R: Send + 'static>(&self, look: impl FnOnce(&Node) -> R + Send + 'static) -> Option<R> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Inspect(Box::new(move |node| {
            let _ = reply.send(look(node));
        })));
        answer.await.ok()
    }

    pub(crate) fn command(&self, command: Command) {
        // After a shutdown nobody takes it; whoever waits for a reply learns of it by the reply's end.
        let _ = self.shared.inbox.send(Inbox::Command(command));
    }

    /// Leaves without waiting, when the last handle of a room goes.
    pub(crate) fn leave(&self, ticket: Ticket) {
        self.command(Command::Leave { ticket, reply: None });
    }
}

/// A stream of [`NetworkEvent`]s. It ends when the node is shut down.
pub struct NetworkEvents(MailReceiver<NetworkEvent>);

impl NetworkEvents {
    /// The next event; `None` once the node is shut down.
    pub async fn next(&mut self) -> Option<NetworkEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut self.0).poll_next(cx)).await
    }
}

impl Stream for NetworkEvents {
    type Item = NetworkEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NetworkEvent>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}

impl fmt::Debug for NetworkEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkEvents").finish_non_exhaustive()
    }
}
