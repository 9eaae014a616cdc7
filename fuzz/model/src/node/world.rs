//! One node, its driver, and the carriers to its peers; the driver's contract is checked at every output.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::crypto::{IdealCrypto, Role};
use unamed_protocol::{
    Address, AddressClass, Config, DialError, Disconnect, Duration, Event, IceServer, Identity, Input,
    Instant, LinkId, NetworkId, Node, Output, SaveId, Signal, Snapshot, Start, Target,
};

use super::cast::{Cast, Memory};
use super::ledger::Ledger;
use super::peers::{End, NODE_SEED, node_id};
use super::replies::Asked;
use super::script::setup;

/// Rounds of frames back and forth after one step; honest ones take a few.
const ROUNDS_MAX: usize = 2_000;
/// Deadlines in one pass of time; an hour of an idle node takes some thousands.
const DEADLINES_MAX: usize = 100_000;
/// Credit that a carrier starts with where credit is granted as it should.
const CREDIT: usize = 256 * 1024;

/// Where a carrier is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CarrierState {
    /// The dial is to be answered.
    Dialing(Address),
    /// A WebRTC stack is to be played; whether it offers.
    Stack(bool),
    Open,
}

/// One carrier, from the driver's side.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) state: CarrierState,
    /// Credit left.
    credit: usize,
    /// The person at the other end; none for a raw carrier, whose frames go nowhere.
    pub(super) end: Option<End>,
    /// Whether the other end takes no frames.
    pub(super) held: bool,
    /// Frames that the other end has not taken.
    inbox: VecDeque<Bytes>,
}

/// The world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) node: Node,
    pub(super) setup: u8,
    pub(super) now: Instant,
    pub(super) cast: Cast,
    pub(super) ledger: Ledger,
    pub(super) carriers: BTreeMap<LinkId, Carrier>,
    pub(super) gone: BTreeSet<LinkId>,
    pub(super) saving: Option<SaveId>,
    /// Requests that persons got.
    pub(super) asked: Memory<Asked>,
    saved: Option<Snapshot>,
    /// Addresses that the node may dial: those the operator named. Persons' own are in the cast.
    named: BTreeSet<Address>,
    local: BTreeSet<AddressClass>,
    frame_bytes_max: usize,
    runs: u8,
}

fn config(setup: u8) -> Config {
    let network = NetworkId::default();
    let service = setup & setup::SERVICE != 0;
    let mut config = if service { Config::service(network) } else { Config::client(network) };
    config.webrtc.enabled = !service && setup & setup::LISTENS != 0;
    if setup & setup::TIGHT != 0 {
        let link = &mut config.link;
        (link.pending_max, link.links_max, link.clients_max) = (4, 12, 3);
        (link.overlay_soft, link.overlay_hard) = if service { (3, 18) } else { (3, 4) };
        (link.circuits_relayed_max, link.circuit_window_bytes) = (2, 8 * 1024);
        (link.queue_bytes_max, link.message_bytes_max) = (32 * 1024, 192 * 1024);
        link.reassembly_bytes_max = 256 * 1024;
        let routing = &mut config.routing;
        (routing.requests_max, routing.seen_max, routing.claims_max) = (16, 16, 16);
        routing.addresses_max = 8;
        let rooms = &mut config.rooms;
        (rooms.joined_max, rooms.mesh_max, rooms.dedup_max) = (3, 4, 16);
        (rooms.reorder_max, rooms.streams_max) = (8, 4);
        (rooms.queued_bytes_max, rooms.retain_bytes_max) = (96 * 1024, 64 * 1024);
    }
    config
}

/// Addresses of the node itself, if it listens.
fn own_addresses(setup: u8) -> Vec<Address> {
    let texts = ["/ip4/9.9.9.9/tcp/4001/ws", "/ip4/127.0.0.1/tcp/4001/ws"];
    let listens = setup & setup::SERVICE != 0 && setup & setup::LISTENS != 0;
    texts.iter().filter(|_| listens).map(|text| text.parse().expect("an address")).collect()
}

impl World {
    pub(super) fn new(setup: u8) -> Self {
        let now = Instant::from_secs(1000);
        let unix_ms = if setup & setup::EPOCH != 0 { 0 } else { 1_700_000_000_000 };
        let node = start(setup, unix_ms, 0, None, now);
        let mut world = Self {
            node,
            setup,
            now,
            cast: Cast::new(node_id(), unix_ms),
            ledger: Ledger::new(node_id()),
            carriers: BTreeMap::new(),
            gone: BTreeSet::new(),
            saving: None,
            asked: Memory::new(),
            saved: None,
            named: BTreeSet::new(),
            local: own_addresses(setup).iter().map(Address::class).collect(),
            frame_bytes_max: config(setup).link.frame_bytes_max,
            runs: 0,
        };
        world.settle();
        world
    }

    pub(super) const fn has(&self, bit: u8) -> bool {
        self.setup & bit != 0
    }

    /// The process ends without a word, and starts again from what was saved last.
    pub(super) fn restart(&mut self) {
        self.runs = self.runs.wrapping_add(1);
        let saved = self.saved.clone();
        for address in saved.iter().flat_map(|saved| &saved.addresses) {
            self.named.insert(address.address.clone());
        }
        self.node = start(self.setup, self.cast.unix_ms, self.runs, saved, self.now);
        self.ledger = Ledger::new(node_id());
        self.carriers.clear();
        self.gone.clear();
        self.saving = None;
        // What the operator named is named again by whoever wants it; listening is the same as before.
        self.local = own_addresses(self.setup).iter().map(Address::class).collect();
    }

    /// Someone connects. A bound may refuse it.
    pub(super) fn accept(&mut self, end: Option<End>) {
        let Ok(link) = self.node.accept(Default::default(), self.now) else { return };
        self.add_carrier(link, CarrierState::Open, end);
        self.first_credit(link);
    }

    fn add_carrier(&mut self, link: LinkId, state: CarrierState, end: Option<End>) {
        assert!(!self.gone.contains(&link), "{link:?} is used again");
        let carrier = Carrier { state, credit: 0, end, held: false, inbox: VecDeque::new() };
        assert!(self.carriers.insert(link, carrier).is_none(), "{link:?} is used twice");
    }

    fn first_credit(&mut self, link: LinkId) {
        if self.has(setup::CREDIT) {
            self.grant(link, CREDIT);
        }
    }

    pub(super) fn grant(&mut self, link: LinkId, bytes: usize) {
        if let Some(carrier) = self.carriers.get_mut(&link) {
            carrier.credit = carrier.credit.saturating_add(bytes);
            self.node.handle_input(Input::Writable(link, bytes), self.now);
        }
    }

    /// The operator names an address.
    pub(super) fn bootstrap(&mut self, address: Address) {
        self.local.insert(address.class());
        self.named.insert(address.clone());
        self.node.bootstrap(address, self.now);
    }

    /// A dial succeeds.
    pub(super) fn connect(&mut self, link: LinkId, end: Option<End>) {
        let Some(carrier) = self.carriers.get_mut(&link) else { return };
        carrier.state = CarrierState::Open;
        carrier.end = end;
        self.node.handle_input(Input::Connected(link), self.now);
        self.first_credit(link);
    }

    pub(super) fn fail_dial(&mut self, link: LinkId, error: DialError) {
        self.forget(link);
        self.node.handle_input(Input::DialFailed(link, error), self.now);
    }

    pub(super) fn disconnect(&mut self, link: LinkId, how: Disconnect) {
        self.forget(link);
        self.node.handle_input(Input::Disconnected(link, how), self.now);
    }

    fn forget(&mut self, link: LinkId) {
        self.carriers.remove(&link);
        self.gone.insert(link);
    }

    pub(super) fn answer_save(&mut self, ok: bool) {
        if let Some(id) = self.saving.take() {
            self.node.handle_input(Input::Saved(id, ok), self.now);
        }
    }

    /// Lets frames go back and forth until nobody has more, and checks everything.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let moved = self.drain() | self.serve() | self.pump();
            if !moved {
                let broken = self.node.check_invariants();
                assert!(broken.is_empty(), "{broken:#?}");
                self.ledger.compare(&self.node);
                return;
            }
        }
        panic!("frames go back and forth without end");
    }

    /// Takes all outputs; whether there was one.
    fn drain(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.node.poll_output() {
            moved = true;
            self.output(output);
        }
        moved
    }

    fn output(&mut self, output: Output) {
        assert!(!self.ledger.shut_down, "{output:?} after the end");
        match output {
            Output::Dial(link, Target::WebSocket(address)) => {
                self.assert_dialable(&address);
                self.add_carrier(link, CarrierState::Dialing(address), None);
            }
            Output::Dial(link, Target::WebRtc { offer, ice_servers }) => {
                assert!(config(self.setup).webrtc.enabled && ice_servers.len() <= IceServer::MAX);
                self.add_carrier(link, CarrierState::Stack(offer), None);
            }
            Output::RemoteSignal(link, signal) => {
                let state = self.carriers.get(&link).map(|carrier| &carrier.state);
                let Some(CarrierState::Stack(offers)) = state else {
                    panic!("{signal:?} for {link:?}, which has no stack");
                };
                let wrong = if *offers {
                    matches!(signal, Signal::Offer(_))
                } else {
                    matches!(signal, Signal::Answer(_))
                };
                assert!(!wrong, "{signal:?} for the end that makes one");
            }
            Output::Send(link, frame) => {
                let Some(carrier) = self.carriers.get_mut(&link) else {
                    panic!("a frame for {link:?}, which is gone");
                };
                assert_eq!(carrier.state, CarrierState::Open, "a frame before the carrier is open");
                assert!(!frame.is_empty() && frame.len() <= self.frame_bytes_max, "{} bytes", frame.len());
                let left = carrier.credit.checked_sub(frame.len());
                carrier.credit = left.unwrap_or_else(|| {
                    panic!("a frame of {} bytes, {} granted", frame.len(), carrier.credit)
                });
                carrier.inbox.push_back(frame);
            }
            Output::Close(link, reason) => {
                let Some(mut carrier) = self.carriers.remove(&link) else {
                    panic!("{link:?} is closed ({reason:?}) and gone");
                };
                // What was handed over still arrives.
                self.gone.insert(link);
                if let Some(end) = &mut carrier.end {
                    for frame in carrier.inbox.iter().filter(|_| !carrier.held) {
                        end.hear(frame, self.now);
                    }
                }
            }
            Output::Save(id, snapshot) => {
                assert_eq!(self.saving, None, "two saves at a time");
                let read = Snapshot::decode(&snapshot.encode());
                assert_eq!(read.as_ref(), Ok(&*snapshot), "a snapshot reads back as it was");
                if let Some(saved) = &self.saved {
                    assert!(snapshot.boot >= saved.boot, "the boot counter goes back");
                }
                self.saving = Some(id);
                self.saved = Some(*snapshot);
            }
            Output::Event(event) => {
                if let Event::ShutDown = event {
                    assert!(self.carriers.is_empty(), "shut down with carriers: {:?}", self.carriers.keys());
                }
                self.ledger.event(&event);
            }
        }
    }

    /// Only what the operator named, the last run saved or the node dialled itself signed is dialled, and nothing near
    /// this machine unless the node is of that class.
    fn assert_dialable(&self, address: &Address) {
        let signed =
            |peer| self.cast.persons.iter().any(|it| it.peer == peer && it.addresses.contains(address));
        let known = self.named.contains(address) || address.peer.is_some_and(signed);
        assert!(known, "a dial to {address}, which nobody named");
        let class = address.class();
        assert!(
            class == AddressClass::Public || self.local.contains(&class),
            "a dial to {address}, which strangers named"
        );
    }

    /// Answers dials and saves where that goes by itself; whether there was one.
    fn serve(&mut self) -> bool {
        if !self.has(setup::SMOOTH) {
            return false;
        }
        let saved = self.saving.is_some();
        self.answer_save(true);
        let dials: Vec<(LinkId, Address)> = self
            .carriers
            .iter()
            .filter_map(|(link, carrier)| match &carrier.state {
                CarrierState::Dialing(address) => Some((*link, address.clone())),
                CarrierState::Stack(_) | CarrierState::Open => None,
            })
            .collect();
        for (link, address) in &dials {
            match self.resident(address) {
                Some(person) => {
                    let end = self.make_end(person, true, 0);
                    self.connect(*link, Some(end));
                }
                None => self.fail_dial(*link, DialError::Refused),
            }
        }
        saved || !dials.is_empty()
    }

    /// Which person is at an address.
    pub(super) fn resident(&self, address: &Address) -> Option<usize> {
        let there = |candidate: &Address| candidate.host == address.host && candidate.port == address.port;
        self.cast.persons.iter().position(|person| person.service && person.addresses.iter().any(there))
    }

    /// A person's end of a new link.
    pub(super) fn make_end(&mut self, person: usize, dialled: bool, run: u8) -> End {
        let role = if dialled { Role::Responder } else { Role::Initiator };
        let end = End::new(person, &self.cast.persons[person], role, run, false, self.now);
        self.cast.instances.note(end.instance);
        end
    }

    /// Hands frames to the peers, and theirs to the node; whether there was one.
    fn pump(&mut self) -> bool {
        let mut moved = false;
        let links: Vec<LinkId> = self.carriers.keys().copied().collect();
        for link in links {
            moved |= self.pump_link(link);
        }
        moved
    }

    fn pump_link(&mut self, link: LinkId) -> bool {
        let Some(carrier) = self.carriers.get_mut(&link).filter(|carrier| !carrier.held) else {
            return false;
        };
        let taken: Vec<Bytes> = carrier.inbox.drain(..).collect();
        let credit: usize = taken.iter().map(Bytes::len).sum();
        let mut heard = Vec::new();
        let mut frames = Vec::new();
        let mut over = false;
        if let Some(end) = &mut carrier.end {
            for frame in &taken {
                heard.extend(end.hear(frame, self.now));
            }
            over = end.over;
        }
        for message in heard {
            self.heard(link, None, message);
        }
        if let Some(end) = self.carriers.get_mut(&link).and_then(|carrier| carrier.end.as_mut()) {
            frames = end.frames(self.now);
        }
        let moved = credit > 0 || !frames.is_empty() || over;
        for frame in frames {
            self.frame(link, frame);
        }
        if self.has(setup::CREDIT) && credit > 0 {
            self.grant(link, credit);
        }
        if over && self.carriers.contains_key(&link) {
            self.drain();
            if self.carriers.contains_key(&link) {
                self.disconnect(link, Disconnect::Closed);
            }
        }
        moved
    }

    /// A frame arrives at the node, unless it has closed the carrier.
    pub(super) fn frame(&mut self, link: LinkId, frame: Bytes) {
        self.drain();
        if self.carriers.contains_key(&link) {
            self.node.handle_input(Input::Frame(link, frame), self.now);
        }
    }

    /// Time passes; the cast's clocks go with it.
    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.cast.unix_ms = self.cast.unix_ms.saturating_add(ms);
    }

    /// The driver's timeout: what is due is handled, and what is left lies ahead.
    pub(super) fn timeout(&mut self) {
        self.node.handle_timeout(self.now);
        let next = self.node.poll_timeout();
        assert!(next.is_none_or(|next| next.at > self.now), "{next:?} is left over at {:?}", self.now);
        self.settle();
    }

    /// Time passes, and every deadline is handled when it is due.
    pub(super) fn live(&mut self, by: Duration) {
        let end = self.now + by;
        for _ in 0..DEADLINES_MAX {
            match self.node.poll_timeout().filter(|next| next.at <= end) {
                Some(next) => {
                    self.advance(next.at.since(self.now));
                    self.timeout();
                }
                None => return self.advance(end.since(self.now)),
            }
        }
        panic!("deadlines without end until {end:?}: {:?}", self.node.poll_timeout());
    }
}

fn start(setup: u8, unix_ms: u64, run: u8, saved: Option<Snapshot>, now: Instant) -> Node {
    let start = Start {
        config: config(setup),
        identity: Identity::from_seed(NODE_SEED),
        crypto: Arc::new(IdealCrypto),
        seed: [run; 32],
        unix_ms,
        addresses: own_addresses(setup),
        saved,
    };
    Node::new(start, now)
}
