//! The node: one state machine over all layers.
//!
//! `impl Node` is split by feature. Everything here runs inside one call of the driver: a command, an input or a due
//! timer changes state and queues messages on sessions; at its end [`flush`](Node::flush) turns queued messages into
//! frames as far as credit goes. Leaves ([`routing`](crate::routing), [`rooms`](crate::rooms), [`link`](crate::link))
//! are asked for values and never see the outbox.
//!
//! | part | owns |
//! |---|---|
//! | `links` | links from dial or accept to close, admission, duplicates, reasons |
//! | `circuits` | circuits relayed and ended here, credit per hop |
//! | `direct` | WebRTC links: signalling, upgrade from a circuit, ICE servers |
//! | `overlay`, `homes` | home claims, hellos, leaf set and buckets, a client's homes, healing |
//! | `fellows` | what clients do for each other without service nodes |
//! | `requests`, `forward`, `serve` | routed requests: attempts, hops, answers |
//! | `walk` | iterative look-ups, reading a publish back |
//! | `holder` | claims held for rooms |
//! | `standing` | what peers may ask for, scores, bans |
//! | `rooms`, `connect`, `messages` | joined rooms, members and links to them, messages |
//! | `member_data` | what members say of themselves |

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use rand_core::Rng as _;

use crate::crypto::Crypto;
use crate::lookup::KeyedHasher;
use crate::routing::book::Book;
use crate::routing::popularity::Popularity;
use crate::routing::store::Store;
use crate::routing::table::Table;
use crate::timer::Timers;
use crate::wire::{HomeClaim, Sequence};
use crate::{
    Address, Config, Deadline, Identity, Instance, Instant, LinkConfig, LinkId, MessageId, PeerId, RequestId,
    RoomId, RoomKey, SaveId,
};

mod admission;
pub(crate) mod api;
#[cfg(feature = "byzantine")]
pub(crate) mod byzantine;
mod circuits;
mod clock;
mod connect;
mod direct;
mod dispatch;
mod fellows;
mod forward;
mod held;
mod holder;
mod home_claims;
mod homes;
mod invariants;
mod life;
mod links;
mod member_data;
mod messages;
mod metrics;
mod overlay;
mod requests;
mod rooms;
mod serve;
mod snapshot;
mod standing;
#[cfg(test)]
mod testing;
mod views;
mod walk;
mod work;

pub use held::Held;
pub use snapshot::SnapshotError;

use api::{
    BroadcastError, Event, Input, JoinError, LinkLimit, MemberDataError, Origin, Output, Recipients,
    RoomError, Start,
};
use circuits::{CircuitEnd, CircuitKey, Tokens};
use clock::{Randomness, Timer, WallClock};
use direct::Directs;
use forward::{Hops, Seen};
use home_claims::HomeClaims;
use homes::HomeSearch;
use links::Link;
use metrics::Metrics;
use overlay::Hellos;
use requests::Request;
use rooms::Room;
use standing::Standings;
use walk::Walk;
use work::Work;

/// A node of the network: one deterministic state machine without I/O.
///
/// The [crate documentation](crate) states how to drive it.
#[derive(Debug)]
pub struct Node {
    config: Config,
    identity: Identity,
    me: PeerId,
    crypto: Arc<dyn Crypto>,
    instance: Instance,
    link_config: Arc<LinkConfig>,
    static_secret: [u8; 32],
    sealing_secret: [u8; 32],
    sealing_public: [u8; 32],
    home_room: RoomId,
    addresses: Vec<Address>,

    random: Randomness,
    wall: WallClock,
    /// Wall time of the present call, milliseconds since the Unix epoch.
    unix_ms: u64,
    work: Work,
    born: Instant,
    timers: Timers<Timer>,
    outbox: VecDeque<Output>,
    metrics: Metrics,

    /// Whether the first save was answered: nothing is dialled or published before.
    started: bool,
    farewell: Option<life::Farewell>,
    ready_since: Option<Instant>,
    saving: Option<SaveId>,
    /// What the last run saved; restored once the operator's addresses are known.
    saved_addresses: Vec<api::SavedAddress>,
    #[cfg(feature = "byzantine")]
    misbehaviour: Option<Box<byzantine::Deviation>>,
    next_save: u64,
    /// Counts signed objects of this run.
    counter: u64,
    sequence_floor: Sequence,

    /// Boxed, as are other large values: a tree of few entries keeps places for eleven.
    links: BTreeMap<LinkId, Box<Link>>,
    /// The link in use to each peer.
    peers: BTreeMap<PeerId, LinkId>,
    /// Links on their way to a known peer.
    dialing: BTreeMap<PeerId, LinkId>,
    dirty: BTreeSet<LinkId>,
    overflowed: BTreeSet<LinkId>,
    next_link: u64,
    circuits: BTreeMap<CircuitKey, CircuitEnd>,
    directs: Directs,
    tokens: Tokens,

    table: Table,
    book: Book,
    homes_known: HomeClaims,
    own_home: Option<HomeClaim>,
    /// Where clients of this service node are, by their hellos.
    locations: BTreeMap<PeerId, RoomId>,
    /// How often service nodes failed or refused since they were linked last; only of known ones.
    failures: BTreeMap<PeerId, u32>,
    hellos: Hellos,
    looked_up: bool,
    healed_at: Instant,
    homes: Vec<PeerId>,
    home_search: HomeSearch,

    requests: BTreeMap<RequestId, Box<Request>>,
    /// The requests of later attempts, by the ids of these.
    attempts: BTreeMap<RequestId, RequestId>,
    walks: BTreeMap<RequestId, Box<Walk>>,
    hops: Hops,
    seen: Seen,
    standings: Standings,

    store: Store,
    popularity: Popularity,
    /// The nearest contacts to each held key, as of the last hand-over.
    holders: BTreeMap<(RoomId, u8), Vec<PeerId>>,
    /// The state of the table at the last hand-over.
    handed_over: u64,
    /// Claimants of which others shall hear.
    notify: BTreeMap<(RoomId, u8), BTreeMap<PeerId, serve::News>>,

    primary: Option<RoomId>,
    rooms: BTreeMap<RoomId, Box<Room>>,
    room_order: Vec<RoomId>,
    /// Generations of streams of rooms that were left, so that numbers never come again.
    generations: BTreeMap<RoomId, u32>,
    /// Members for which a connect request is open.
    connecting: BTreeSet<PeerId>,
    /// Bodies in queues: bytes, and the links they wait on.
    sending: BTreeMap<MessageId, (usize, usize)>,
    queued_bytes: usize,
}

impl Node {
    /// Makes a node. It asks for a `Save` first and dials nothing before the answer.
    #[must_use]
    pub fn new(start: Start, now: Instant) -> Self {
        let Start { config, identity, crypto, seed, unix_ms, addresses, saved } = start;
        let (mut random, saved) = (Randomness::new(&seed), saved.unwrap_or_default());
        let (me, home_room) = life::id_and_home(&identity, crypto.as_ref());
        let instance = life::next_instance(saved.boot, unix_ms, random.requests.next_u64());
        let (static_secret, sealing_secret) = (random.key(), random.key());
        let addresses = life::own_addresses(&config, addresses);
        let [salt, one, other] = core::array::from_fn(|_| random.choices.next_u64());
        let mut node = Self {
            me,
            instance,
            link_config: Arc::new(config.link.clone()),
            static_secret,
            sealing_secret,
            sealing_public: crypto.sealing_public_key(&sealing_secret),
            home_room,
            book: life::empty_book(me, &config, &addresses),
            addresses,
            wall: WallClock::new(unix_ms, now),
            unix_ms,
            work: Work::default(),
            born: now,
            timers: Timers::new(),
            outbox: VecDeque::new(),
            metrics: Metrics::new(),
            started: false,
            farewell: None,
            ready_since: None,
            saving: None,
            next_save: 0,
            counter: 0,
            sequence_floor: Sequence::default(),
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            dialing: BTreeMap::new(),
            dirty: BTreeSet::new(),
            overflowed: BTreeSet::new(),
            next_link: 0,
            circuits: BTreeMap::new(),
            directs: Directs::default(),
            tokens: Tokens::default(),
            table: Table::new(home_room, life::table_limits(&config, salt)),
            homes_known: HomeClaims::default(),
            own_home: None,
            locations: BTreeMap::new(),
            failures: BTreeMap::new(),
            hellos: Hellos::default(),
            looked_up: false,
            healed_at: now,
            homes: Vec::new(),
            home_search: HomeSearch::default(),
            requests: BTreeMap::new(),
            attempts: BTreeMap::new(),
            walks: BTreeMap::new(),
            hops: Hops::default(),
            seen: Seen::new(config.routing.seen_max, KeyedHasher::new((one, other)), now),
            standings: Standings::default(),
            store: Store::new(life::store_limits(&config, salt)),
            popularity: Popularity::new(life::popularity_limits(&config)),
            holders: BTreeMap::new(),
            handed_over: 0,
            notify: BTreeMap::new(),
            primary: None,
            rooms: BTreeMap::new(),
            room_order: Vec::new(),
            generations: BTreeMap::new(),
            connecting: BTreeSet::new(),
            sending: BTreeMap::new(),
            queued_bytes: 0,
            saved_addresses: saved.addresses,
            #[cfg(feature = "byzantine")]
            misbehaviour: None,
            random,
            config,
            identity,
            crypto,
        };
        node.save(now);
        node
    }

    /// This node's id.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.me
    }

    /// The boot counter of this run: larger than that of any earlier run whose state was saved. Peers tell runs apart by it.
    #[must_use]
    pub const fn boot(&self) -> u64 {
        self.instance.boot
    }

    /// Adds a service address to start from; it is dialled now and whenever the node is not linked to it.
    pub fn bootstrap(&mut self, address: Address, now: Instant) {
        self.enter(now);
        self.book.configure(address.clone(), now);
        self.dial(&address, links::DialFor::Bootstrap, now);
        self.flush(now);
    }

    /// Joins a room. `Event::RoomJoined` answers by a deadline.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub fn join(&mut self, key: &RoomKey, now: Instant) -> Result<RoomId, JoinError> {
        self.enter(now);
        let joined = self.join_room(key, now);
        self.flush(now);
        joined
    }

    /// Makes a joined room the primary one, which moves the node in the key space.
    ///
    /// # Errors
    /// See [`RoomError`].
    pub fn make_primary(&mut self, room: RoomId, now: Instant) -> Result<(), RoomError> {
        self.enter(now);
        let done = self.primary_room(room, now);
        self.flush(now);
        done
    }

    /// Leaves a room: says goodbye and withdraws the claim. Leaving twice is an error and changes nothing.
    ///
    /// # Errors
    /// See [`RoomError`].
    pub fn leave(&mut self, room: RoomId, now: Instant) -> Result<(), RoomError> {
        self.enter(now);
        let left = self.leave_room(room, now);
        self.flush(now);
        left
    }

    /// Sends a message to members of a joined room. Members that are not linked yet get it once they are, for as long as
    /// it is retained.
    ///
    /// # Errors
    /// See [`BroadcastError`]; nothing was sent then.
    pub fn broadcast(
        &mut self,
        room: RoomId,
        payload: Bytes,
        recipients: Recipients,
        now: Instant,
    ) -> Result<MessageId, BroadcastError> {
        self.enter(now);
        let sent = self.send_broadcast(room, payload, recipients, now);
        self.flush(now);
        sent
    }

    /// Says something of this node to the members of a room, a nickname for instance: up to
    /// [`MemberStatement::DATA_BYTES_MAX`](crate::wire::MemberStatement::DATA_BYTES_MAX) bytes, which replace what was said
    /// before; nothing if they are empty. Said directly after [`join`](Self::join), members know it when they see this node
    /// join. It is forgotten when the room is left.
    ///
    /// Changes go out at most every [`RoomConfig::member_data_pause`](crate::RoomConfig::member_data_pause), the last of
    /// several alone.
    ///
    /// # Errors
    /// See [`MemberDataError`]; what was said before stays then.
    pub fn set_member_data(
        &mut self,
        room: RoomId,
        data: Bytes,
        now: Instant,
    ) -> Result<(), MemberDataError> {
        self.enter(now);
        let set = self.change_member_data(room, data, now);
        self.flush(now);
        set
    }

    /// Looks up the members of a room without joining it. `Event::FindFinished` answers.
    pub fn find(&mut self, room: RoomId, now: Instant) -> RequestId {
        self.enter(now);
        let request = self.start_find(room, now);
        self.flush(now);
        request
    }

    /// Leaves all rooms, says goodbye to all and closes all links; `Event::ShutDown` comes when done.
    pub fn shutdown(&mut self, now: Instant) {
        self.enter(now);
        self.start_shutdown(now);
        self.flush(now);
    }

    /// Takes an inbound carrier; its frames come as `Input::Frame` with this id.
    ///
    /// # Errors
    /// See [`LinkLimit`]; the driver closes the carrier.
    pub fn accept(&mut self, origin: Origin, now: Instant) -> Result<LinkId, LinkLimit> {
        self.enter(now);
        let accepted = self.accept_link(origin, now);
        self.flush(now);
        accepted
    }

    /// Takes what the world did. Inputs for unknown links are counted and ignored.
    pub fn handle_input(&mut self, input: Input, now: Instant) {
        self.enter(now);
        match input {
            Input::Connected(id) => self.link_connected(id, now),
            Input::DialFailed(id, error) => self.link_dial_failed(id, error, now),
            Input::Frame(id, frame) => self.link_frame(id, frame, now),
            Input::LocalSignal(id, signal) => self.local_signal(id, signal, now),
            Input::Writable(id, bytes) => self.link_writable(id, bytes),
            Input::Disconnected(id, how) => self.link_disconnected(id, how, now),
            Input::Saved(id, ok) => self.saved(id, ok, now),
            Input::Clock { unix_ms, resumed } => self.set_clock(unix_ms, resumed, now),
        }
        self.flush(now);
    }

    /// Fires what is due. Spurious calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.enter(now);
        while let Some(timer) = self.timers.pop_due(now) {
            self.fire(timer, now);
        }
        self.flush(now);
    }

    /// The next thing to do, first in, first out.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outbox.pop_front();
        if output.is_none() {
            // Most nodes are idle most of the time: an empty list keeps no places.
            self.outbox = VecDeque::new();
        }
        output
    }

    /// When `handle_timeout` is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.timers.next().map(|(at, timer)| Deadline { at, reason: timer.name() })
    }

    /// What is wrong with the node's state, one sentence each; empty when all invariants hold. For tests and simulations.
    #[must_use]
    pub fn check_invariants(&self) -> Vec<String> {
        self.broken_invariants()
    }

    /// Begins a call.
    fn enter(&mut self, now: Instant) {
        self.unix_ms = self.wall.unix_ms(now);
        self.work.begin(self.timers.len());
    }

    fn emit(&mut self, event: Event) {
        self.work.step();
        self.outbox.push_back(Output::Event(event));
    }

    fn emit_save(&mut self, id: SaveId, snapshot: Box<api::Snapshot>) {
        self.outbox.push_back(Output::Save(id, snapshot));
    }
}
