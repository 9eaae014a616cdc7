//! An `RTCPeerConnection` with one data channel as a carrier.
//!
//! Both ends make the channel under id 0, so none is announced. Signals of the peer are worked off one at a time, and
//! candidates wait for the description that they belong to, whatever order they come in. The peer's description is
//! written here from typed fields ([`Description::to_sdp`]): no text of a peer reaches the browser.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::Array;
use unamed_protocol::signal::{CANDIDATES_MAX, Candidate, Description, SdpError};
use unamed_protocol::{DialError, Disconnect, IceServer, Instant, LinkId, Signal};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    Event, MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelState,
    RtcDataChannelType, RtcIceCandidateInit, RtcIceServer, RtcPeerConnection, RtcPeerConnectionIceEvent,
    RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

use crate::credit::LOW_WATER_BYTES;
use crate::driver::{Handle, Happening};
use crate::host;
use crate::socket::{function, received};

/// The channel's label and id, the same at both ends.
const LABEL: &str = "unamed";
const CHANNEL_ID: u16 = 0;
/// The media section that candidates belong to.
const MID: &str = "0";
/// Signals of the peer that wait: its description, its candidates and their end.
const SIGNALS_MAX: usize = CANDIDATES_MAX + 2;
/// How long a closed channel may take to send what was handed over.
const DRAIN_MS: f64 = 2000.0;

/// When the steps of a dial were done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phases {
    pub(crate) dialled: Instant,
    /// The own description went out.
    pub(crate) described: Option<Instant>,
    /// The peer's description was taken.
    pub(crate) answered: Option<Instant>,
    /// ICE and DTLS were done.
    pub(crate) connected: Option<Instant>,
}

/// One peer connection, its channel, and their handlers.
#[derive(Debug)]
pub(crate) struct Peer {
    work: Rc<Work>,
    _handlers: Handlers,
}

#[derive(Debug)]
struct Handlers {
    _event: Vec<Closure<dyn FnMut(Event)>>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _candidate: Closure<dyn FnMut(RtcPeerConnectionIceEvent)>,
}

/// What handlers and tasks share.
#[derive(Debug)]
struct Work {
    link: LinkId,
    handle: Handle,
    connection: RtcPeerConnection,
    channel: RtcDataChannel,
    phases: Cell<Phases>,
    /// Whether the peer's description is set; candidates wait for it.
    described: Cell<bool>,
    /// Candidates of the peer without a description.
    early: RefCell<Vec<Signal>>,
    /// Candidates of this end that came before its description was told.
    held: RefCell<Option<Vec<Signal>>>,
    signals: RefCell<VecDeque<Signal>>,
    working: Cell<bool>,
    ended: Cell<bool>,
}

impl Peer {
    /// Makes the connection, and the offer if this end makes it.
    pub(crate) fn dial(
        link: LinkId,
        offer: bool,
        ice_servers: &[IceServer],
        handle: &Handle,
    ) -> Result<Self, DialError> {
        let connection = RtcPeerConnection::new_with_configuration(&configuration(ice_servers))
            .map_err(|_| DialError::Ice)?;
        let init = RtcDataChannelInit::new();
        init.set_negotiated(true);
        init.set_id(CHANNEL_ID);
        init.set_ordered(true);
        let channel = connection.create_data_channel_with_data_channel_dict(LABEL, &init);
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        channel.set_buffered_amount_low_threshold(LOW_WATER_BYTES);
        let work = Rc::new(Work {
            link,
            handle: handle.clone(),
            connection,
            channel,
            phases: Cell::new(Phases { dialled: host::now(), ..Phases::default() }),
            described: Cell::new(false),
            early: RefCell::default(),
            held: RefCell::new(Some(Vec::new())),
            signals: RefCell::default(),
            working: Cell::new(false),
            ended: Cell::new(false),
        });
        let handlers = Handlers::attach(&work);
        if offer {
            let work = Rc::clone(&work);
            spawn_local(async move {
                if let Err(fault) = work.offer().await {
                    work.failed(&fault);
                }
            });
        }
        Ok(Self { work, _handlers: handlers })
    }

    /// Takes a signal of the peer.
    pub(crate) fn signal(&self, signal: Signal) {
        let mut signals = self.work.signals.borrow_mut();
        if signals.len() >= SIGNALS_MAX {
            return;
        }
        signals.push_back(signal);
        drop(signals);
        if !self.work.working.replace(true) {
            let work = Rc::clone(&self.work);
            spawn_local(async move { work.work_off().await });
        }
    }

    /// When the steps were done.
    pub(crate) fn phases(&self) -> Phases {
        self.work.phases.get()
    }

    /// Hands one frame over; whether the browser took it.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        self.work.channel.send_with_u8_array(frame).is_ok()
    }

    /// Bytes that have not left yet.
    pub(crate) fn buffered(&self) -> usize {
        self.work.channel.buffered_amount() as usize
    }

    /// Sends what was handed over, and closes. Nothing is told any more.
    pub(crate) fn close(self) {
        let work = Rc::clone(&self.work);
        drop(self);
        if work.channel.ready_state() != RtcDataChannelState::Open {
            work.connection.close();
            return;
        }
        let closed = js_sys::Promise::new(&mut |resolve, _reject| work.channel.set_onclose(Some(&resolve)));
        work.channel.close();
        spawn_local(async move {
            let either = Array::of2(&closed, &host::after_ms(DRAIN_MS));
            let _ = JsFuture::from(js_sys::Promise::race(&either)).await;
            work.channel.set_onclose(None);
            work.connection.close();
        });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.work.ended.set(true);
        let (connection, channel) = (&self.work.connection, &self.work.channel);
        connection.set_onicecandidate(None);
        connection.set_onconnectionstatechange(None);
        connection.set_ondatachannel(None);
        channel.set_onopen(None);
        channel.set_onmessage(None);
        channel.set_onclose(None);
        channel.set_onerror(None);
        channel.set_onbufferedamountlow(None);
    }
}

impl Handlers {
    fn attach(work: &Rc<Work>) -> Self {
        let on = |act: fn(&Work)| {
            let work = Rc::downgrade(work);
            Closure::<dyn FnMut(Event)>::new(move |_| {
                if let Some(work) = work.upgrade() {
                    act(&work);
                }
            })
        };
        let opened = on(|work| work.tell(Happening::Connected(work.link)));
        let closed = on(|work| work.gone(Disconnect::Closed));
        let broke = on(|work| work.gone(Disconnect::Reset));
        let low = on(|work| work.tell(Happening::Wake));
        let state = on(Work::state_changed);
        // The one channel there is needs no announcement, so whoever announces one breaks the protocol.
        let further = on(|work| work.gone(Disconnect::Violation));
        let (connection, channel) = (&work.connection, &work.channel);
        channel.set_onopen(Some(function(&opened)));
        channel.set_onclose(Some(function(&closed)));
        channel.set_onerror(Some(function(&broke)));
        channel.set_onbufferedamountlow(Some(function(&low)));
        connection.set_onconnectionstatechange(Some(function(&state)));
        connection.set_ondatachannel(Some(function(&further)));

        let weak = Rc::downgrade(work);
        let message = Closure::new(move |event: MessageEvent| {
            if let Some(work) = weak.upgrade() {
                received(&work.handle, work.link, &event, || work.connection.close());
            }
        });
        channel.set_onmessage(Some(function(&message)));
        let weak = Rc::downgrade(work);
        let candidate = Closure::new(move |event: RtcPeerConnectionIceEvent| {
            if let Some(work) = weak.upgrade() {
                work.found(&event);
            }
        });
        connection.set_onicecandidate(Some(function(&candidate)));
        Self {
            _event: vec![opened, closed, broke, low, state, further],
            _message: message,
            _candidate: candidate,
        }
    }
}

impl Work {
    fn tell(&self, happening: Happening) {
        if !self.ended.get() {
            self.handle.tell(happening);
        }
    }

    /// The carrier ended, or never came to be.
    fn gone(&self, why: Disconnect) {
        self.tell(Happening::Gone(self.link, why, DialError::Ice));
    }

    /// The browser refused a step. That is the end of the dial; what exactly it said stays with the browser.
    fn failed(&self, _fault: &Fault) {
        self.gone(Disconnect::Reset);
    }

    fn mark(&self, mark: impl FnOnce(&mut Phases)) {
        let mut phases = self.phases.get();
        mark(&mut phases);
        self.phases.set(phases);
    }

    fn state_changed(&self) {
        let state = self.connection.connection_state();
        // Disconnected may heal, and closed is told by the channel.
        if state == RtcPeerConnectionState::Connected {
            self.mark(|phases| phases.connected = Some(host::now()));
        } else if state == RtcPeerConnectionState::Failed {
            self.gone(Disconnect::Lost);
        }
    }

    /// The browser found a candidate, or all of them.
    fn found(&self, event: &RtcPeerConnectionIceEvent) {
        let line = event.candidate().map(|candidate| candidate.candidate()).unwrap_or_default();
        let signal = if line.is_empty() {
            Signal::EndOfCandidates
        } else {
            match Candidate::from_sdp(&line) {
                Ok(Some(candidate)) => Signal::Candidate(candidate),
                Ok(None) | Err(_) => return,
            }
        };
        if let Some(held) = self.held.borrow_mut().as_mut() {
            held.push(signal);
            return;
        }
        self.tell(Happening::Found(self.link, signal));
    }

    /// Tells the own description, and the candidates that were found before it.
    fn described(&self, signal: Signal) {
        self.mark(|phases| phases.described = Some(host::now()));
        let held = self.held.borrow_mut().take().unwrap_or_default();
        self.tell(Happening::Found(self.link, signal));
        for signal in held {
            self.tell(Happening::Found(self.link, signal));
        }
    }

    async fn offer(&self) -> Result<(), Fault> {
        let offer = JsFuture::from(self.connection.create_offer()).await?;
        JsFuture::from(self.connection.set_local_description(offer.unchecked_ref())).await?;
        self.described(Signal::Offer(self.own_description()?));
        Ok(())
    }

    async fn answer(&self) -> Result<(), Fault> {
        let answer = JsFuture::from(self.connection.create_answer()).await?;
        JsFuture::from(self.connection.set_local_description(answer.unchecked_ref())).await?;
        self.described(Signal::Answer(self.own_description()?));
        Ok(())
    }

    fn own_description(&self) -> Result<Description, Fault> {
        let description = self.connection.local_description().ok_or(Fault)?;
        Ok(Description::from_sdp(&description.sdp())?)
    }

    /// Works off the signals of the peer, one at a time.
    async fn work_off(&self) {
        loop {
            let next = self.signals.borrow_mut().pop_front();
            let Some(signal) = next.filter(|_| !self.ended.get()) else { break };
            if let Err(fault) = self.take(signal).await {
                self.failed(&fault);
            }
        }
        self.working.set(false);
    }

    async fn take(&self, signal: Signal) -> Result<(), Fault> {
        match signal {
            Signal::Offer(description) => {
                self.set_remote(RtcSdpType::Offer, &description).await?;
                self.answer().await
            }
            Signal::Answer(description) => self.set_remote(RtcSdpType::Answer, &description).await,
            signal @ (Signal::Candidate(_) | Signal::EndOfCandidates) if !self.described.get() => {
                self.early.borrow_mut().push(signal);
                Ok(())
            }
            signal @ (Signal::Candidate(_) | Signal::EndOfCandidates) => {
                self.add(&signal).await;
                Ok(())
            }
        }
    }

    async fn set_remote(&self, kind: RtcSdpType, description: &Description) -> Result<(), Fault> {
        let init = RtcSessionDescriptionInit::new(kind);
        init.set_sdp(&description.to_sdp());
        JsFuture::from(self.connection.set_remote_description(&init)).await?;
        self.mark(|phases| phases.answered = Some(host::now()));
        self.described.set(true);
        for signal in self.early.take() {
            self.add(&signal).await;
        }
        Ok(())
    }

    /// Adds a candidate. One that the browser cannot use is a way less, and no failure.
    async fn add(&self, signal: &Signal) {
        let line = match signal {
            Signal::Candidate(candidate) => candidate.to_sdp(),
            Signal::EndOfCandidates => String::new(),
            Signal::Offer(_) | Signal::Answer(_) => return,
        };
        let init = RtcIceCandidateInit::new(&line);
        init.set_sdp_mid(Some(MID));
        init.set_sdp_m_line_index(Some(0));
        let _ =
            JsFuture::from(self.connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init)))
                .await;
    }
}

/// A step that the browser refused, or whose result cannot be read.
#[derive(Clone, Copy, Debug)]
struct Fault;

impl From<JsValue> for Fault {
    fn from(_: JsValue) -> Self {
        Self
    }
}

impl From<SdpError> for Fault {
    fn from(_: SdpError) -> Self {
        Self
    }
}

fn configuration(ice_servers: &[IceServer]) -> RtcConfiguration {
    let servers = ice_servers.iter().map(|server| {
        let init = RtcIceServer::new();
        init.set_urls(&JsValue::from_str(server.url()));
        if let Some((user, secret)) = server.credential() {
            init.set_username(user);
            init.set_credential(secret);
        }
        JsValue::from(init)
    });
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&servers.collect::<Array>());
    configuration
}
