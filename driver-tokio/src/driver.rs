//! The task that owns the node.
//!
//! It takes the inputs that are ready, up to a budget, fires what is due, hands out what the node wants done, arms one
//! timer and waits in one place. Nothing else is awaited: a slow socket, disk or application is somebody else's wait.
//! Connections have tasks of their own ([`crate::connection`]), and their queues are bounded by the credit that the
//! node was granted.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant as TokioInstant, Sleep};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use unamed_protocol::{
    Address, BroadcastError, CloseReason, DialError, Disconnect, Event, FindReport, Input, Instant,
    JoinOutcome, LinkId, MemberDataError, MessageId, Node, Origin, Output, Recipients, RequestId, RoomError,
    RoomId, RoomKey, RoomLeftReason, SaveId, Signal, Snapshot, Target,
};

use crate::connection::{self, Connection, Order, Shared, Socket, WINDOW_BYTES};
use crate::dial::Dialler;
use crate::events::{NETWORK_EVENTS_MAX, NetworkEvent, ROOM_BYTES_MAX, ROOM_EVENTS_MAX, RoomEvent};
use crate::intake::ReadWindow;
use crate::mailbox::{MailReceiver, MailSender, mailbox};
use crate::network::JoinError;
use crate::server::{Accepted, Slot};
use crate::state::StateDir;

/// Inputs taken before the outputs are looked at.
const INPUTS_MAX: usize = 64;
/// Frames of one link handed to its connection at a time while outputs are drained.
const SEND_BATCH_BYTES: usize = 64 * 1024;
/// How often the core is told the wall clock.
const CLOCK_PERIOD: Duration = Duration::from_secs(10);
/// A wake-up so late, or a wall clock so far ahead of the monotonic one, means that the machine or process slept.
const SLEPT_AFTER: Duration = Duration::from_secs(3);
/// From the command to shut down to the end, come what may.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(4500);

/// What reaches the node's task.
#[derive(Debug)]
pub(crate) enum Inbox {
    /// Frames of one link, in order.
    Frames { link: LinkId, frames: Vec<Bytes>, weight: usize, window: Arc<ReadWindow> },
    /// Bytes of one link that reached the kernel.
    Written(LinkId, usize),
    /// A connection ended.
    Gone(LinkId, Disconnect),
    /// A dial ended.
    Dialled(LinkId, Result<Carrier, DialError>),
    /// The WebRTC stack of a link found something.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "only data channels have it"))]
    Signal(LinkId, Box<Signal>),
    /// A socket was accepted and upgraded.
    Accepted(Box<Accepted>),
    /// A connection's task ended, and its socket is closed.
    Ended,
    /// A snapshot was written, or not.
    Saved(bool),
    /// The application wants something.
    Command(Command),
}

/// What a dial gave.
#[derive(Debug)]
pub(crate) enum Carrier {
    Socket(Box<Socket>),
    /// A data channel, whose task has its orders already.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "only data channels have it"))]
    Channel,
}

/// What the application wants.
pub(crate) enum Command {
    Bootstrap(Address),
    Join { key: Box<RoomKey>, member_data: Bytes, reply: JoinReply },
    SetMemberData { ticket: Ticket, data: Bytes, reply: oneshot::Sender<Result<(), MemberDataError>> },
    MakePrimary { ticket: Ticket, reply: oneshot::Sender<Result<(), RoomError>> },
    Leave { ticket: Ticket, reply: Option<oneshot::Sender<()>> },
    Broadcast { ticket: Ticket, request: Broadcast, wait: bool },
    Find { room: RoomId, reply: oneshot::Sender<FindReport> },
    Inspect(Box<dyn FnOnce(&Node) + Send>),
    Subscribe(MailSender<NetworkEvent>),
    Shutdown,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command(..)")
    }
}

/// Where the answer to a join goes.
pub(crate) type JoinReply = oneshot::Sender<Result<Joined, JoinError>>;

/// One join of a room: handles of an earlier join of the same room have no say over a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) room: RoomId,
    pub(crate) join: u64,
}

/// A message to send.
pub(crate) struct Broadcast {
    pub(crate) payload: Bytes,
    pub(crate) recipients: Recipients,
    pub(crate) reply: oneshot::Sender<Result<MessageId, BroadcastError>>,
}

/// The answer to a join.
pub(crate) struct Joined {
    pub(crate) ticket: Ticket,
    pub(crate) outcome: JoinOutcome,
    pub(crate) events: MailReceiver<RoomEvent>,
}

struct Link {
    state: LinkState,
    batch: Vec<Bytes>,
    batch_bytes: usize,
}

enum LinkState {
    Dialling(AbortHandle),
    /// A data channel that is not open yet.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "only data channels have it"))]
    Signalling(mpsc::UnboundedSender<Order>),
    Open(mpsc::UnboundedSender<Order>),
}

struct Room {
    join: u64,
    events: MailSender<RoomEvent>,
    /// The join that is not answered yet.
    joining: Option<(JoinReply, MailReceiver<RoomEvent>)>,
    /// Messages that wait for `RoomWritable`, first come, first served.
    waiting: VecDeque<Broadcast>,
}

/// The node's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: TokioInstant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { epoch: TokioInstant::now() }
    }

    pub(crate) fn now(self) -> Instant {
        let micros = self.epoch.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn at(self, instant: Instant) -> TokioInstant {
        // A deadline beyond what the system's clock can name is as good as a day.
        let after = Duration::from_micros(instant.as_micros());
        self.epoch.checked_add(after).unwrap_or_else(|| TokioInstant::now() + Duration::from_secs(86_400))
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Everything the task owns besides the node.
pub(crate) struct Driver {
    node: Node,
    clock: Clock,
    inbox: mpsc::UnboundedReceiver<Inbox>,
    shared: Shared,
    dialler: Arc<Dialler>,
    listeners: Vec<AbortHandle>,
    links: BTreeMap<LinkId, Link>,
    /// Links with a batch to hand over.
    batched: Vec<LinkId>,
    /// Connection tasks that have not ended.
    connections: usize,
    rooms: BTreeMap<RoomId, Room>,
    joins: u64,
    finds: BTreeMap<RequestId, oneshot::Sender<FindReport>>,
    subscribers: Vec<MailSender<NetworkEvent>>,
    saver: Saver,
    next_clock: Instant,
    /// The last telling of the wall clock: wall and monotonic.
    told: (u64, Instant),
    /// The deadline of a shutdown in progress.
    stop_at: Option<Instant>,
    shut_down: bool,
}

/// Writes snapshots one at a time; of those that come meanwhile only the last is written.
struct Saver {
    dir: Option<StateDir>,
    writing: Vec<SaveId>,
    next: Option<(Vec<SaveId>, Box<Snapshot>)>,
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) inbox: mpsc::UnboundedReceiver<Inbox>,
    pub(crate) shared: Shared,
    pub(crate) dialler: Dialler,
    pub(crate) listeners: Vec<AbortHandle>,
    pub(crate) state_dir: Option<StateDir>,
    pub(crate) subscriber: MailSender<NetworkEvent>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let now = parts.clock.now();
        Self {
            node: parts.node,
            clock: parts.clock,
            inbox: parts.inbox,
            shared: parts.shared,
            dialler: Arc::new(parts.dialler),
            listeners: parts.listeners,
            links: BTreeMap::new(),
            batched: Vec::new(),
            connections: 0,
            rooms: BTreeMap::new(),
            joins: 0,
            finds: BTreeMap::new(),
            subscribers: vec![parts.subscriber],
            saver: Saver { dir: parts.state_dir, writing: Vec::new(), next: None },
            next_clock: now + CLOCK_PERIOD,
            told: (unix_ms(), now),
            stop_at: None,
            shut_down: false,
        }
    }

    /// Runs the node until it is shut down.
    pub(crate) async fn run(mut self) {
        let mut inputs = Vec::with_capacity(INPUTS_MAX);
        let mut timer = Box::pin(tokio::time::sleep_until(TokioInstant::now()));
        loop {
            let late = TokioInstant::now().saturating_duration_since(timer.deadline());
            self.turn(&mut inputs, late);
            if self.is_finished() {
                break;
            }
            self.arm(timer.as_mut());
            tokio::select! {
                biased;
                _ = self.inbox.recv_many(&mut inputs, INPUTS_MAX) => {}
                () = &mut timer => {}
            }
        }
        self.finish();
    }

    /// One turn: the inputs, then what is due, then what is to be done.
    fn turn(&mut self, inputs: &mut Vec<Inbox>, late: Duration) {
        let now = self.clock.now();
        if late > SLEPT_AFTER {
            // Before anything else, so that the silence of the sleep is held against nobody.
            self.tell_clock(true, now);
        }
        for input in inputs.drain(..) {
            self.take(input, now);
        }
        if now >= self.next_clock {
            self.tell_clock(false, now);
        }
        if self.node.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
            self.node.handle_timeout(now);
        }
        self.drain(now);
    }

    fn arm(&self, mut timer: Pin<&mut Sleep>) {
        let wanted = self.node.poll_timeout().map_or(self.next_clock, |deadline| deadline.at);
        let wanted = wanted.min(self.next_clock).min(self.stop_at.unwrap_or(wanted));
        let wanted = self.clock.at(wanted);
        // An armed timer that is too early costs one turn of nothing; moving it with every frame would cost more.
        let armed = timer.deadline();
        if timer.is_elapsed() || armed <= TokioInstant::now() || wanted < armed {
            timer.as_mut().reset(wanted);
        }
    }

    fn tell_clock(&mut self, slept: bool, now: Instant) {
        let unix_ms = unix_ms();
        let (wall_before, mono_before) = self.told;
        let ahead = unix_ms
            .saturating_sub(wall_before)
            .saturating_sub(u64::try_from(now.since(mono_before).as_millis()).unwrap_or(u64::MAX));
        // The monotonic clock stands still while the machine sleeps.
        let resumed = slept || Duration::from_millis(ahead) > SLEPT_AFTER;
        if resumed {
            tracing::info!(ahead_ms = ahead, "time passed unobserved");
        }
        self.told = (unix_ms, now);
        self.next_clock = now + CLOCK_PERIOD;
        self.node.handle_input(Input::Clock { unix_ms, resumed }, now);
    }

    fn take(&mut self, input: Inbox, now: Instant) {
        match input {
            Inbox::Frames { link, frames, weight, window } => {
                for frame in frames {
                    self.node.handle_input(Input::Frame(link, frame), now);
                }
                window.release(weight);
            }
            Inbox::Written(link, bytes) => self.node.handle_input(Input::Writable(link, bytes), now),
            Inbox::Gone(link, disconnect) => {
                // Of a link that the node closed itself nothing is said any more.
                if self.links.remove(&link).is_some() {
                    self.node.handle_input(Input::Disconnected(link, disconnect), now);
                }
            }
            Inbox::Dialled(link, outcome) => self.dialled(link, outcome, now),
            Inbox::Signal(link, signal) => {
                self.node.handle_input(Input::LocalSignal(link, *signal), now);
            }
            Inbox::Accepted(accepted) => self.accepted(*accepted, now),
            Inbox::Ended => self.connections = self.connections.saturating_sub(1),
            Inbox::Saved(ok) => self.saved(ok, now),
            Inbox::Command(command) => self.command(command, now),
        }
    }

    fn dialled(&mut self, link: LinkId, outcome: Result<Carrier, DialError>, now: Instant) {
        // Closed by the node meanwhile: the socket just goes.
        let Some(dialled) = self.links.remove(&link) else { return };
        match outcome {
            Ok(Carrier::Socket(socket)) => self.open(link, *socket, None),
            Ok(Carrier::Channel) => {
                if let LinkState::Signalling(orders) = dialled.state {
                    self.links.insert(link, Link::new(LinkState::Open(orders)));
                }
            }
            Err(error) => return self.node.handle_input(Input::DialFailed(link, error), now),
        }
        self.node.handle_input(Input::Connected(link), now);
        self.node.handle_input(Input::Writable(link, WINDOW_BYTES), now);
    }

    fn accepted(&mut self, accepted: Accepted, now: Instant) {
        let Accepted { socket, ip, slot } = accepted;
        match self.node.accept(Origin { ip: Some(ip) }, now) {
            Ok(link) => {
                self.open(link, socket, Some(slot));
                self.node.handle_input(Input::Writable(link, WINDOW_BYTES), now);
            }
            Err(error) => {
                tracing::debug!(%ip, %error, "refused");
                self.connections = self.connections.saturating_add(1);
                let inbox = self.shared.inbox.clone();
                tokio::spawn(async move {
                    connection::close(socket, CloseCode::Again).await;
                    drop(slot);
                    let _ = inbox.send(Inbox::Ended);
                });
            }
        }
    }

    fn open(&mut self, link: LinkId, socket: Socket, slot: Option<Slot>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let connection = Connection::new(link, socket, receiver, self.shared.clone(), slot);
        let inbox = self.shared.inbox.clone();
        tokio::spawn(async move {
            connection.run().await;
            let _ = inbox.send(Inbox::Ended);
        });
        self.connections = self.connections.saturating_add(1);
        self.links.insert(link, Link::new(LinkState::Open(orders)));
    }

    fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Bootstrap(address) => self.node.bootstrap(address, now),
            Command::Join { key, member_data, reply } => self.join(&key, member_data, reply, now),
            Command::SetMemberData { ticket, data, reply } => {
                let outcome = if self.room(ticket).is_some() {
                    self.node.set_member_data(ticket.room, data, now)
                } else {
                    Err(MemberDataError::NotJoined)
                };
                let _ = reply.send(outcome);
            }
            Command::MakePrimary { ticket, reply } => {
                let outcome = if self.room(ticket).is_some() {
                    self.node.make_primary(ticket.room, now)
                } else {
                    Err(RoomError::NotJoined)
                };
                let _ = reply.send(outcome);
            }
            Command::Leave { ticket, reply } => {
                if self.room(ticket).is_some() {
                    self.leave(ticket.room, now);
                }
                if let Some(reply) = reply {
                    let _ = reply.send(());
                }
            }
            Command::Broadcast { ticket, request, wait } => self.broadcast(ticket, request, wait, now),
            Command::Find { room, reply } => {
                let request = self.node.find(room, now);
                self.finds.insert(request, reply);
            }
            Command::Inspect(look) => look(&self.node),
            Command::Subscribe(subscriber) => self.subscribers.push(subscriber),
            Command::Shutdown => self.shutdown(now),
        }
    }

    fn room(&mut self, ticket: Ticket) -> Option<&mut Room> {
        self.rooms.get_mut(&ticket.room).filter(|room| room.join == ticket.join)
    }

    fn join(&mut self, key: &RoomKey, member_data: Bytes, reply: JoinReply, now: Instant) {
        // A join that nobody waits for any more must not stand in the way of this one, and what is still to be said of an
        // earlier one is not for its handle.
        let lost = |room: &Room| room.joining.as_ref().is_some_and(|(reply, _)| reply.is_closed());
        let lost: Vec<RoomId> = self.rooms.iter().filter(|(_, room)| lost(room)).map(|(id, _)| *id).collect();
        for room in lost {
            self.leave(room, now);
        }
        self.drain(now);
        match self.node.join(key, now) {
            Ok(room) => {
                self.joins = self.joins.saturating_add(1);
                let (events, receiver) = mailbox(ROOM_EVENTS_MAX, ROOM_BYTES_MAX);
                let joining = Some((reply, receiver));
                self.rooms.insert(room, Room { join: self.joins, events, joining, waiting: VecDeque::new() });
                if let Err(error) = self.node.set_member_data(room, member_data, now) {
                    // Its length was looked at by whoever asked.
                    tracing::warn!(%room, %error, "member data");
                }
            }
            Err(error) => {
                let _ = reply.send(Err(error.into()));
            }
        }
    }

    fn leave(&mut self, room: RoomId, now: Instant) {
        // Before the command, so that what the node says of it does not reach a handle of a later join.
        self.rooms.remove(&room);
        if let Err(error) = self.node.leave(room, now) {
            tracing::debug!(%room, %error, "leaving");
        }
    }

    fn broadcast(&mut self, ticket: Ticket, request: Broadcast, wait: bool, now: Instant) {
        let Some(room) = self.room(ticket) else {
            let _ = request.reply.send(Err(BroadcastError::NotJoined));
            return;
        };
        if !room.waiting.is_empty() {
            // Who waits keeps its place.
            if wait {
                room.waiting.push_back(request);
            } else {
                let _ = request.reply.send(Err(BroadcastError::Busy));
            }
            return;
        }
        if let Some(request) = send(&mut self.node, ticket.room, request, wait, now)
            && let Some(room) = self.room(ticket)
        {
            room.waiting.push_back(request);
        }
    }

    fn writable(&mut self, id: RoomId, now: Instant) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        while let Some(request) = room.waiting.pop_front() {
            if let Some(refused) = send(&mut self.node, id, request, true, now) {
                room.waiting.push_front(refused);
                return;
            }
        }
        room.events.send(RoomEvent::Writable);
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Dial(link, target) => self.dial(link, target),
                Output::RemoteSignal(link, signal) => self.signal(link, signal),
                Output::Send(link, frame) => self.send(link, frame),
                Output::Close(link, reason) => self.close(link, reason),
                Output::Save(id, snapshot) => self.save(id, snapshot, now),
                Output::Event(event) => self.event(event, now),
            }
        }
        for link in std::mem::take(&mut self.batched) {
            if let Some(link) = self.links.get_mut(&link) {
                link.hand_over();
            }
        }
    }

    fn dial(&mut self, link: LinkId, target: Target) {
        #[cfg(feature = "webrtc")]
        if let Target::WebRtc { offer, ice_servers } = target {
            return self.dial_channel(link, offer, ice_servers);
        }
        let dialler = Arc::clone(&self.dialler);
        let inbox = self.shared.inbox.clone();
        let task = tokio::spawn(async move {
            let outcome = dialler.dial(target).await;
            let _ = inbox.send(Inbox::Dialled(link, outcome.map(|socket| Carrier::Socket(Box::new(socket)))));
        });
        self.links.insert(link, Link::new(LinkState::Dialling(task.abort_handle())));
    }

    #[cfg(feature = "webrtc")]
    fn dial_channel(&mut self, link: LinkId, offer: bool, ice_servers: Vec<unamed_protocol::IceServer>) {
        let (sender, orders) = mpsc::unbounded_channel();
        let (shared, dialler) = (self.shared.clone(), Arc::clone(&self.dialler));
        let dial = crate::rtc::Dial { link, offer, ice_servers, orders, shared, dialler };
        let inbox = self.shared.inbox.clone();
        tokio::spawn(async move {
            dial.run().await;
            let _ = inbox.send(Inbox::Ended);
        });
        self.connections = self.connections.saturating_add(1);
        self.links.insert(link, Link::new(LinkState::Signalling(sender)));
    }

    fn signal(&self, link: LinkId, signal: Signal) {
        if let Some(Link { state: LinkState::Signalling(orders), .. }) = self.links.get(&link) {
            let _ = orders.send(Order::Signal(Box::new(signal)));
        }
    }

    fn send(&mut self, id: LinkId, frame: Bytes) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.batch.is_empty() {
            self.batched.push(id);
        }
        link.batch_bytes = link.batch_bytes.saturating_add(frame.len());
        link.batch.push(frame);
        if link.batch_bytes >= SEND_BATCH_BYTES {
            link.hand_over();
        }
    }

    fn close(&mut self, id: LinkId, reason: CloseReason) {
        let Some(mut link) = self.links.remove(&id) else { return };
        link.hand_over();
        match link.state {
            LinkState::Dialling(task) => task.abort(),
            LinkState::Signalling(orders) | LinkState::Open(orders) => {
                let _ = orders.send(Order::Close(connection::close_code(reason)));
            }
        }
    }

    fn save(&mut self, id: SaveId, snapshot: Box<Snapshot>, now: Instant) {
        if self.saver.dir.is_none() {
            self.node.handle_input(Input::Saved(id, true), now);
        } else if self.saver.writing.is_empty() {
            self.write(vec![id], snapshot);
        } else {
            let mut ids = self.saver.next.take().map(|(ids, _)| ids).unwrap_or_default();
            ids.push(id);
            self.saver.next = Some((ids, snapshot));
        }
    }

    fn write(&mut self, ids: Vec<SaveId>, snapshot: Box<Snapshot>) {
        let Some(dir) = self.saver.dir.clone() else { return };
        self.saver.writing = ids;
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || {
            let outcome = dir.save(&snapshot);
            // Free before anybody hears that it was written: the last one to hold it may be this.
            drop(dir);
            if let Err(error) = &outcome {
                shared.counters.save_failed.add();
                tracing::warn!(%error, "the state could not be saved");
            }
            let _ = shared.inbox.send(Inbox::Saved(outcome.is_ok()));
        });
    }

    fn saved(&mut self, ok: bool, now: Instant) {
        for id in std::mem::take(&mut self.saver.writing) {
            self.node.handle_input(Input::Saved(id, ok), now);
        }
        if let Some((ids, snapshot)) = self.saver.next.take() {
            self.write(ids, snapshot);
        }
    }

    fn event(&mut self, event: Event, now: Instant) {
        tracing::trace!(?event);
        match event {
            Event::RoomJoined { room, outcome } => self.joined(room, outcome, now),
            Event::RoomLeft { room, reason } => self.room_left(room, reason),
            Event::RoomWritable { room } => self.writable(room, now),
            Event::MemberJoined { room, peer, data } => {
                self.room_event(room, RoomEvent::MemberJoined { peer, data });
            }
            Event::MemberChanged { room, peer, data } => {
                self.room_event(room, RoomEvent::MemberChanged { peer, data });
            }
            Event::MemberLeft { room, peer, reason } => {
                self.room_event(room, RoomEvent::MemberLeft { peer, reason });
            }
            Event::Message(message) => self.room_event(message.room, RoomEvent::Message(message)),
            Event::MessagesLost { room, from, count } => {
                self.room_event(room, RoomEvent::MessagesLost { from, count });
            }
            Event::RoomMerged { room, members } => self.room_event(room, RoomEvent::Merged { members }),
            Event::FindFinished(report) => {
                if let Some(reply) = self.finds.remove(&report.request) {
                    let _ = reply.send(report);
                }
            }
            Event::ShutDown => self.shut_down = true,
            Event::MessageProgress { .. }
            | Event::SendProgress { .. }
            | Event::PrimaryChanged { .. }
            | Event::LinkOpened { .. }
            | Event::LinkClosed { .. }
            | Event::LinkFailed { .. }
            | Event::NewServiceAddress { .. }
            | Event::Online(_)
            | Event::Ready
            | Event::SaveFailed
            | Event::IdentityInUse { .. } => {
                if let Some(event) = NetworkEvent::of(event) {
                    self.subscribers.retain(|subscriber| subscriber.send(event.clone()));
                }
            }
        }
    }

    fn room_event(&mut self, room: RoomId, event: RoomEvent) {
        if let Some(room) = self.rooms.get(&room) {
            // Nobody may be listening: a room can be used for sending alone.
            room.events.send(event);
        }
    }

    fn joined(&mut self, id: RoomId, outcome: JoinOutcome, now: Instant) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some((reply, events)) = room.joining.take() else { return };
        let ticket = Ticket { room: id, join: room.join };
        if reply.send(Ok(Joined { ticket, outcome, events })).is_err() {
            // Whoever joined has lost interest.
            self.leave(id, now);
        }
    }

    fn room_left(&mut self, id: RoomId, reason: RoomLeftReason) {
        match reason {
            // Done with when the command was given.
            RoomLeftReason::Requested => {}
            RoomLeftReason::Full => {
                let Some(mut room) = self.rooms.remove(&id) else { return };
                match room.joining.take() {
                    Some((reply, _)) => {
                        let _ = reply.send(Err(JoinError::Full));
                    }
                    None => {
                        room.events.send(RoomEvent::Full);
                    }
                }
                for request in room.waiting {
                    let _ = request.reply.send(Err(BroadcastError::NotJoined));
                }
            }
        }
    }

    fn shutdown(&mut self, now: Instant) {
        if self.stop_at.is_some() {
            return;
        }
        self.stop_at = Some(now + SHUTDOWN_TIMEOUT);
        for listener in self.listeners.drain(..) {
            listener.abort();
        }
        self.node.shutdown(now);
    }

    /// Whether all is said and written, or the time for it is over.
    fn is_finished(&self) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        let done = self.shut_down && self.connections == 0 && self.saver.writing.is_empty();
        done || self.clock.now() >= stop_at
    }

    fn finish(self) {
        // Whoever waits for the end learns it as the inbox is dropped: the directory is free by then.
        drop(self.saver);
        for subscriber in &self.subscribers {
            subscriber.send(NetworkEvent::ShutDown);
        }
        for link in self.links.into_values() {
            if let LinkState::Dialling(task) = link.state {
                task.abort();
            }
        }
        tracing::debug!(in_order = self.shut_down, "shut down");
    }
}

impl Link {
    const fn new(state: LinkState) -> Self {
        Self { state, batch: Vec::new(), batch_bytes: 0 }
    }

    fn hand_over(&mut self) {
        if !self.batch.is_empty()
            && let LinkState::Open(orders) = &self.state
        {
            self.batch_bytes = 0;
            let _ = orders.send(Order::Send(std::mem::take(&mut self.batch)));
        }
    }
}

/// Gives a message to the node. Returns it if the node is busy and the sender waits.
fn send(node: &mut Node, room: RoomId, request: Broadcast, wait: bool, now: Instant) -> Option<Broadcast> {
    if request.reply.is_closed() {
        return None;
    }
    match node.broadcast(room, request.payload.clone(), request.recipients.clone(), now) {
        Err(BroadcastError::Busy) if wait => Some(request),
        outcome => {
            let _ = request.reply.send(outcome);
            None
        }
    }
}

/// The queue of a network's first subscriber, filled from the start.
pub(crate) fn network_mailbox() -> (MailSender<NetworkEvent>, MailReceiver<NetworkEvent>) {
    mailbox(NETWORK_EVENTS_MAX, usize::MAX)
}
