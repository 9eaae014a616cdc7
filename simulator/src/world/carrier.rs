//! Carriers: what stands for a TCP connection with a WebSocket on it.

use unamed_protocol::{DialError, Disconnect, Instant, LinkId};

use bytes::Bytes;

/// A carrier. Slots are used again; the generation tells their users apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CarrierId {
    index: u32,
    generation: u32,
}

/// The two ends of a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Side {
    Dialler = 0,
    Acceptor = 1,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}

/// Whose end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A node.
    Node(u32),
    /// A raw end, see [`RawLink`](super::RawLink).
    Raw(u32),
    /// Nobody listens at the address.
    Nobody,
}

/// Where an end is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    Opening,
    Open,
    Gone,
}

/// One end, with all that concerns the direction away from it.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) owner: Owner,
    pub(crate) link: LinkId,
    pub(crate) state: EndState,
    /// When the latest parcel sent from here arrives: the next one does not overtake it.
    pub(crate) last_arrival: Instant,
    /// Until when the line is busy with what was sent from here.
    pub(crate) busy_until: Instant,
    /// Bytes of frames that the owner may still send.
    pub(crate) credit: u64,
    /// Bytes of frames that arrived here and were not granted anew to the other end.
    pub(crate) unacknowledged: u64,
    /// Whether the news that the other end is gone is on its way here.
    pub(crate) told: bool,
}

impl End {
    pub(crate) const fn opening(owner: Owner, link: LinkId) -> Self {
        Self {
            owner,
            link,
            state: EndState::Opening,
            last_arrival: Instant::ZERO,
            busy_until: Instant::ZERO,
            credit: 0,
            unacknowledged: 0,
            told: false,
        }
    }
}

/// A carrier between two ends.
#[derive(Clone, Debug)]
pub(crate) struct Carrier {
    /// One-way delay, microseconds.
    pub(crate) delay: u64,
    /// Whether it runs over datagrams: an operating system does not reset it when its process ends.
    pub(crate) datagrams: bool,
    ends: [End; 2],
}

impl Carrier {
    pub(crate) const fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    pub(crate) const fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.state == EndState::Gone)
    }
}

/// What travels on a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parcel {
    /// The dial succeeded.
    Connected,
    /// The dial failed.
    DialFailed(DialError),
    /// A frame.
    Frame(Bytes),
    /// The other end took this many bytes of frames.
    Taken(u64),
    /// The other end is gone.
    Closed(Disconnect),
}

/// A parcel on its way, by its place in [`Parcels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParcelId(u32);

/// Everything that is on its way, apart from the events that say when it arrives. Places are used again.
#[derive(Debug, Default)]
pub(crate) struct Parcels {
    places: Vec<Option<Parcel>>,
    free: Vec<u32>,
}

impl Parcels {
    pub(crate) fn put(&mut self, parcel: Parcel) -> ParcelId {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(parcel);
            return ParcelId(place);
        }
        self.places.push(Some(parcel));
        ParcelId((self.places.len() - 1) as u32)
    }

    pub(crate) fn take(&mut self, id: ParcelId) -> Option<Parcel> {
        let parcel = self.places.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        Some(parcel)
    }
}

/// All carriers.
#[derive(Debug, Default)]
pub(crate) struct Carriers {
    slots: Vec<(u32, Option<Carrier>)>,
    free: Vec<u32>,
}

impl Carriers {
    pub(crate) fn add(&mut self, delay: u64, dialler: End, acceptor: End) -> CarrierId {
        let carrier = Carrier { delay, datagrams: false, ends: [dialler, acceptor] };
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.1 = Some(carrier);
            return CarrierId { index, generation: slot.0 };
        }
        self.slots.push((0, Some(carrier)));
        CarrierId { index: (self.slots.len() - 1) as u32, generation: 0 }
    }

    pub(crate) fn get(&self, id: CarrierId) -> Option<&Carrier> {
        let (generation, carrier) = self.slots.get(id.index as usize)?;
        carrier.as_ref().filter(|_| *generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: CarrierId) -> Option<&mut Carrier> {
        let (generation, carrier) = self.slots.get_mut(id.index as usize)?;
        carrier.as_mut().filter(|_| *generation == id.generation)
    }

    /// Forgets a carrier once both ends are gone, with all that still travels on it. Tells whether it did.
    pub(crate) fn forget_if_over(&mut self, id: CarrierId) -> bool {
        if !self.get(id).is_some_and(Carrier::is_over) {
            return false;
        }
        let slot = &mut self.slots[id.index as usize];
        slot.0 = slot.0.wrapping_add(1);
        slot.1 = None;
        self.free.push(id.index);
        true
    }

    /// Every carrier, in the order of places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CarrierId, &Carrier)> {
        self.slots.iter().enumerate().filter_map(|(index, (generation, carrier))| {
            let id = CarrierId { index: index as u32, generation: *generation };
            carrier.as_ref().map(|carrier| (id, carrier))
        })
    }

    /// How many carriers exist.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_used_again_is_another_carrier() {
        let mut carriers = Carriers::default();
        let end = || End::opening(Owner::Nobody, LinkId(0));
        let first = carriers.add(1, end(), end());
        assert!(!carriers.forget_if_over(first));
        for side in [Side::Dialler, Side::Acceptor] {
            carriers.get_mut(first).expect("it exists").end_mut(side).state = EndState::Gone;
        }
        assert!(carriers.forget_if_over(first));
        let second = carriers.add(2, end(), end());
        assert_ne!(first, second);
        assert!(carriers.get(first).is_none());
        assert_eq!((carriers.get(second).map(|carrier| carrier.delay), carriers.len()), (Some(2), 1));
    }
}
