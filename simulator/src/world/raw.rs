//! Raw links: a test's own end of a carrier to a node, for peers that do not keep to the protocol.

use std::collections::VecDeque;
use std::net::IpAddr;

use bytes::Bytes;
use unamed_protocol::{DialError, Disconnect, LinkId};

use super::carrier::{CarrierId, EndState, Owner, Parcel, Side};
use super::{NodeIndex, Simulation};

/// A raw link, made by [`Simulation::open_raw`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawLink(pub(super) u32);

/// Where a raw link is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawState {
    /// The dial is under way.
    Opening,
    /// Frames pass.
    Open,
    /// The dial failed.
    Failed(DialError),
    /// The node closed it.
    Closed(Disconnect),
    /// It was closed by [`Simulation::raw_close`].
    Dropped,
}

#[derive(Debug)]
pub(super) struct RawEnd {
    carrier: Option<CarrierId>,
    state: RawState,
    received: VecDeque<Bytes>,
    reading: bool,
    pub(super) ip: Option<IpAddr>,
}

impl RawEnd {
    pub(super) const fn reading(&self) -> bool {
        self.reading
    }
}

impl Simulation {
    /// Dials a node from outside, as a peer of the test's own making. Poll [`raw_state`](Self::raw_state) while time runs.
    pub fn open_raw(&mut self, target: NodeIndex) -> RawLink {
        self.dial_raw(target, None)
    }

    /// As [`open_raw`](Self::open_raw), from this address.
    pub fn open_raw_from(&mut self, ip: IpAddr, target: NodeIndex) -> RawLink {
        self.dial_raw(target, Some(ip))
    }

    fn dial_raw(&mut self, target: NodeIndex, ip: Option<IpAddr>) -> RawLink {
        let raw = self.raws.len() as u32;
        let owner = self.target_of(target);
        let carrier = self.begin_dial(Owner::Raw(raw), LinkId(0), owner);
        self.raws.push(RawEnd {
            carrier: Some(carrier),
            state: RawState::Opening,
            received: VecDeque::new(),
            reading: true,
            ip,
        });
        RawLink(raw)
    }

    /// Where a raw link is in its life.
    #[must_use]
    pub fn raw_state(&self, link: RawLink) -> RawState {
        self.raws[link.0 as usize].state
    }

    /// Sends a frame of any content and size on an open raw link; on any other it is lost.
    pub fn raw_send(&mut self, link: RawLink, frame: Bytes) {
        let raw = &self.raws[link.0 as usize];
        if let (RawState::Open, Some(carrier)) = (raw.state, raw.carrier) {
            self.transmit(carrier, Side::Dialler, Parcel::Frame(frame));
        }
    }

    /// The next frame that the node sent.
    pub fn raw_receive(&mut self, link: RawLink) -> Option<Bytes> {
        self.raws[link.0 as usize].received.pop_front()
    }

    /// Whether frames are taken from the carrier. A raw link that does not read gives the node no credit anew.
    pub fn raw_reading(&mut self, link: RawLink, reading: bool) {
        self.raws[link.0 as usize].reading = reading;
    }

    /// Closes a raw link, in good order.
    pub fn raw_close(&mut self, link: RawLink) {
        let raw = &mut self.raws[link.0 as usize];
        if let (RawState::Opening | RawState::Open, Some(carrier)) = (raw.state, raw.carrier.take()) {
            raw.state = RawState::Dropped;
            self.close_end(carrier, Side::Dialler, Some(Disconnect::Closed));
        }
    }

    /// A parcel reached the raw end of a carrier.
    pub(super) fn raw_arrival(&mut self, raw: u32, id: CarrierId, parcel: Parcel) {
        let end = &mut self.raws[raw as usize];
        match parcel {
            Parcel::Frame(frame) => end.received.push_back(frame),
            Parcel::Connected => end.state = RawState::Open,
            Parcel::DialFailed(error) => {
                end.state = RawState::Failed(error);
                end.carrier = None;
            }
            Parcel::Closed(reason) => {
                end.state = RawState::Closed(reason);
                end.carrier = None;
            }
            Parcel::Taken(_) => {}
        }
        if end.carrier.is_none() {
            if let Some(carrier) = self.carriers.get_mut(id) {
                carrier.end_mut(Side::Dialler).state = EndState::Gone;
            }
            self.forget_if_over(id);
        }
    }
}
