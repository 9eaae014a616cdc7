//! The loop around the node: what happened goes in, what is to be done comes out, one timer is armed.
//!
//! Browsers call back one thing at a time. Each call leaves a [`Happening`] and pumps: the node takes what there is,
//! the outputs are carried out, and only then events reach scripts, which may call back in and are answered as usual.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use js_sys::Function;
use unamed_protocol::{
    CloseReason, DialError, Disconnect, Duration, Input, Instant, LinkId, Node, Output, SaveId, Signal,
    Snapshot, Target,
};
use wasm_bindgen::prelude::*;

use crate::credit::{Credit, WINDOW_BYTES};
use crate::events;
use crate::host::{self, Record, Timer};
use crate::peer::{Peer, Phases};
use crate::socket::Socket;

/// How often the core is told the wall clock.
const CLOCK_PERIOD: Duration = Duration::from_secs(10);
/// A deadline missed by so much, or a wall clock so far ahead of the monotonic one, means that the page slept.
const SLEPT_AFTER: Duration = Duration::from_secs(3);
/// How often the buffer of a WebSocket is looked at while it owes credit: no event tells.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What the browser did.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A carrier is open.
    Connected(LinkId),
    /// A carrier ended, or if it was never open, its dial failed.
    Gone(LinkId, Disconnect, DialError),
    /// A frame arrived.
    Frame(LinkId, Bytes),
    /// The WebRTC stack found something.
    Found(LinkId, Signal),
    /// Time passed, or a buffer ran low.
    Wake,
}

/// Where handlers leave what happened. It does not keep the node alive.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Weak<Pump>);

impl Handle {
    pub(crate) fn tell(&self, happening: Happening) {
        if let Some(pump) = self.0.upgrade() {
            pump.inbox.borrow_mut().push_back(happening);
            pump.run();
        }
    }
}

/// The node with its queues towards browser and scripts.
#[derive(Debug)]
pub(crate) struct Pump {
    inbox: RefCell<VecDeque<Happening>>,
    driver: RefCell<Option<Driver>>,
    events: RefCell<VecDeque<JsValue>>,
    sink: Function,
    running: Cell<bool>,
    again: Cell<bool>,
    timer: RefCell<Timer>,
}

impl Pump {
    /// A pump around `node`, whose events go to `sink`.
    pub(crate) fn new(node: Node, sink: Function) -> Rc<Self> {
        Rc::new_cyclic(|weak: &Weak<Self>| {
            let handle = Handle(weak.clone());
            let timer = {
                let handle = handle.clone();
                Timer::new(move || handle.tell(Happening::Wake))
            };
            Self {
                inbox: RefCell::default(),
                driver: RefCell::new(Some(Driver::new(node, handle))),
                events: RefCell::default(),
                sink,
                // Held until the start: nobody is told anything while commands still come before it.
                running: Cell::new(true),
                again: Cell::new(false),
                timer: RefCell::new(timer),
            }
        })
    }

    /// Begins to work.
    pub(crate) fn start(&self) {
        self.running.set(false);
        self.run();
    }

    /// Calls `act` with the node, and carries out what comes of it. `None` once the node is stopped.
    pub(crate) fn command<R>(&self, act: impl FnOnce(&mut Driver, Instant) -> R) -> Option<R> {
        let done = self.driver.try_borrow_mut().ok()?.as_mut().map(|driver| act(driver, host::now()));
        self.run();
        done
    }

    /// Looks at the node.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Node) -> R) -> Option<R> {
        self.driver.try_borrow().ok()?.as_ref().map(|driver| look(&driver.node))
    }

    /// Drops the node and all its carriers at once.
    pub(crate) fn stop(&self) {
        if let Ok(mut driver) = self.driver.try_borrow_mut() {
            *driver = None;
        }
        if let Ok(mut timer) = self.timer.try_borrow_mut() {
            timer.disarm();
        }
    }

    /// Works until nothing is left to do. Called from within, it leaves the work to the call that is at it.
    pub(crate) fn run(&self) {
        self.again.set(true);
        if self.running.replace(true) {
            return;
        }
        while self.again.take() {
            self.turn();
            // One at a time, with nothing borrowed: scripts call back in.
            loop {
                let event = self.events.borrow_mut().pop_front();
                let Some(event) = event else { break };
                let _ = self.sink.call1(&JsValue::NULL, &event);
            }
        }
        self.running.set(false);
    }

    fn turn(&self) {
        let Ok(mut slot) = self.driver.try_borrow_mut() else { return };
        let Some(driver) = slot.as_mut() else { return };
        let now = host::now();
        let happened = self.inbox.take();
        driver.turn(happened, &mut self.events.borrow_mut(), now);
        if let Ok(mut timer) = self.timer.try_borrow_mut() {
            timer.arm(driver.wake_at(now), now);
        }
    }
}

#[derive(Debug)]
struct Link {
    carrier: Carrier,
    open: bool,
    credit: Credit,
}

#[derive(Debug)]
enum Carrier {
    Socket(Socket),
    Peer(Peer),
}

impl Carrier {
    fn send(&self, frame: &[u8]) -> bool {
        match self {
            Self::Socket(socket) => socket.send(frame),
            Self::Peer(peer) => peer.send(frame),
        }
    }

    fn buffered(&self) -> usize {
        match self {
            Self::Socket(socket) => socket.buffered(),
            Self::Peer(peer) => peer.buffered(),
        }
    }

    fn close(self) {
        match self {
            Self::Socket(socket) => socket.close(),
            Self::Peer(peer) => peer.close(),
        }
    }
}

/// The node and its carriers.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) node: Node,
    handle: Handle,
    links: BTreeMap<LinkId, Link>,
    next_clock: Instant,
    /// The last telling of the wall clock: wall and monotonic.
    told: (u64, Instant),
}

impl Driver {
    fn new(node: Node, handle: Handle) -> Self {
        let now = host::now();
        Self {
            node,
            handle,
            links: BTreeMap::new(),
            next_clock: now + CLOCK_PERIOD,
            told: (host::unix_ms(), now),
        }
    }

    /// When the next turn is wanted in any case.
    fn wake_at(&self, now: Instant) -> Instant {
        let wanted = self.node.poll_timeout().map_or(self.next_clock, |deadline| deadline.at);
        let wanted = wanted.min(self.next_clock);
        // A data channel says when its buffer ran low, a WebSocket does not.
        let owed = |link: &Link| matches!(link.carrier, Carrier::Socket(_)) && link.credit.is_owed();
        if self.links.values().any(owed) { wanted.min(now + LOOK_AGAIN) } else { wanted }
    }

    fn turn(&mut self, happened: VecDeque<Happening>, events: &mut VecDeque<JsValue>, now: Instant) {
        let overdue = self.node.poll_timeout().is_some_and(|deadline| now.since(deadline.at) > SLEPT_AFTER);
        if overdue {
            // Before anything else, so that the silence of the sleep is held against nobody.
            self.tell_clock(true, now);
        }
        for happening in happened {
            self.take(happening, events, now);
        }
        if now >= self.next_clock {
            self.tell_clock(false, now);
        }
        self.node.handle_timeout(now);
        self.drain(events, now);
        while self.grant(now) {
            self.drain(events, now);
        }
    }

    /// Tells the core the wall clock; `resumed` if the page knows that it slept.
    pub(crate) fn tell_clock(&mut self, resumed: bool, now: Instant) {
        let unix_ms = host::unix_ms();
        let (wall_before, mono_before) = self.told;
        let passed = u64::try_from(now.since(mono_before).as_millis()).unwrap_or(u64::MAX);
        let ahead = unix_ms.saturating_sub(wall_before).saturating_sub(passed);
        // The monotonic clock may stand still while the machine sleeps.
        let resumed = resumed || Duration::from_millis(ahead) > SLEPT_AFTER;
        self.told = (unix_ms, now);
        self.next_clock = now + CLOCK_PERIOD;
        self.node.handle_input(Input::Clock { unix_ms, resumed }, now);
    }

    fn take(&mut self, happening: Happening, events: &mut VecDeque<JsValue>, now: Instant) {
        match happening {
            Happening::Connected(id) => self.connected(id, events, now),
            Happening::Gone(id, why, dial) => self.gone(id, why, dial, now),
            Happening::Frame(id, frame) => {
                // What is on its way from a carrier that the node closed is of no interest.
                if self.links.contains_key(&id) {
                    self.node.handle_input(Input::Frame(id, frame), now);
                }
            }
            Happening::Found(id, signal) => {
                if self.links.contains_key(&id) {
                    self.node.handle_input(Input::LocalSignal(id, signal), now);
                }
            }
            Happening::Wake => {}
        }
    }

    fn connected(&mut self, id: LinkId, events: &mut VecDeque<JsValue>, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.open = true;
        if let Carrier::Peer(peer) = &link.carrier {
            events.push_back(phases(peer.phases(), now));
        }
        self.node.handle_input(Input::Connected(id), now);
        self.node.handle_input(Input::Writable(id, WINDOW_BYTES), now);
    }

    fn gone(&mut self, id: LinkId, why: Disconnect, dial: DialError, now: Instant) {
        let Some(link) = self.links.remove(&id) else { return };
        let open = link.open;
        link.carrier.close();
        let input = if open { Input::Disconnected(id, why) } else { Input::DialFailed(id, dial) };
        self.node.handle_input(input, now);
    }

    /// Carries out what the node wants done.
    fn drain(&mut self, events: &mut VecDeque<JsValue>, now: Instant) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Dial(link, target) => self.dial(link, &target, now),
                Output::RemoteSignal(link, signal) => self.signal(link, signal),
                Output::Send(link, frame) => self.send(link, &frame, now),
                Output::Close(link, reason) => self.close(link, reason),
                Output::Save(id, snapshot) => events.push_back(save(id, &snapshot)),
                Output::Event(event) => events.push_back(events::of(event)),
            }
        }
    }

    fn dial(&mut self, id: LinkId, target: &Target, now: Instant) {
        let carrier = match target {
            Target::WebSocket(address) => Socket::dial(address, id, &self.handle).map(Carrier::Socket),
            Target::WebRtc { offer, ice_servers } => {
                Peer::dial(id, *offer, ice_servers, &self.handle).map(Carrier::Peer)
            }
        };
        match carrier {
            Ok(carrier) => {
                self.links.insert(id, Link { carrier, open: false, credit: Credit::default() });
            }
            Err(error) => self.node.handle_input(Input::DialFailed(id, error), now),
        }
    }

    fn signal(&self, id: LinkId, signal: Signal) {
        if let Some(Carrier::Peer(peer)) = self.links.get(&id).map(|link| &link.carrier) {
            peer.signal(signal);
        }
    }

    fn send(&mut self, id: LinkId, frame: &[u8], now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.carrier.send(frame) {
            link.credit.spend(frame.len());
        } else {
            self.gone(id, Disconnect::Reset, DialError::Refused, now);
        }
    }

    fn close(&mut self, id: LinkId, _reason: CloseReason) {
        // The peer learns the reason inside the encrypted link.
        if let Some(link) = self.links.remove(&id) {
            link.carrier.close();
        }
    }

    /// Grants what left the buffers; whether there was something.
    fn grant(&mut self, now: Instant) -> bool {
        let mut granted = false;
        for (id, link) in &mut self.links {
            if link.credit.is_owed() {
                let earned = link.credit.earn(link.carrier.buffered());
                if earned > 0 {
                    granted = true;
                    self.node.handle_input(Input::Writable(*id, earned), now);
                }
            }
        }
        granted
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for (_, link) in core::mem::take(&mut self.links) {
            link.carrier.close();
        }
    }
}

fn save(id: SaveId, snapshot: &Snapshot) -> JsValue {
    Record::of("save").with("id", id.0 as f64).bytes("snapshot", &snapshot.encode()).done()
}

/// How long the steps of a WebRTC dial took, each from the dial on.
fn phases(phases: Phases, now: Instant) -> JsValue {
    let since = |at: Option<Instant>| {
        at.map_or(JsValue::NULL, |at| JsValue::from_f64(host::ms(at.since(phases.dialled))))
    };
    Record::of("webrtc")
        .with("describedMs", since(phases.described))
        .with("answeredMs", since(phases.answered))
        .with("connectedMs", since(phases.connected))
        .with("openMs", since(Some(now)))
        .done()
}
