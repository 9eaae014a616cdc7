//! Nodes that read slowly: what arrives waits in their operating systems.

use std::collections::VecDeque;

use unamed_protocol::Instant;

use super::carrier::{CarrierId, EndState, Owner, Parcel, Side};
use super::passage::airtime;
use super::{NodeIndex, Pending, Simulation};

/// How a node reads, and what it has not read.
#[derive(Debug)]
pub(super) struct Reader {
    /// On all links together; 0 for nothing at all.
    bytes_per_s: u64,
    unread: VecDeque<(CarrierId, Side, Parcel)>,
    /// When it has read the first of them.
    due: Option<Instant>,
}

impl Simulation {
    /// From now on the node reads so many bytes a second of what arrives on all of its links together; 0 for none.
    pub fn read_slowly(&mut self, node: NodeIndex, bytes_per_s: u64) {
        self.read_freely(node);
        self.slots[node.0 as usize].reader =
            Some(Box::new(Reader { bytes_per_s, unread: VecDeque::new(), due: None }));
    }

    /// The node reads what it has not read, and everything at once from now on.
    pub fn read_freely(&mut self, node: NodeIndex) {
        let reader = self.slots[node.0 as usize].reader.take();
        for (id, side, parcel) in reader.map(|reader| reader.unread).unwrap_or_default() {
            self.arrival(id, side, parcel);
        }
    }

    /// Whether the node reads slowly.
    #[must_use]
    pub fn reads_slowly(&self, node: NodeIndex) -> bool {
        self.slots[node.0 as usize].reader.is_some()
    }

    /// Puts a parcel by, if its node reads slowly; else gives it back.
    pub(super) fn put_off(&mut self, id: CarrierId, side: Side, parcel: Parcel) -> Option<Parcel> {
        let end = self.carriers.get(id)?.end(side);
        let Owner::Node(node) = end.owner else { return Some(parcel) };
        // Credit, and how a dial ended, are the operating system's to know.
        let to_read = matches!(parcel, Parcel::Frame(_) | Parcel::Closed(_)) && end.state != EndState::Gone;
        let Some(reader) = self.slots[node as usize].reader.as_mut().filter(|_| to_read) else {
            return Some(parcel);
        };
        reader.unread.push_back((id, side, parcel));
        if reader.unread.len() == 1 {
            self.read_on(node);
        }
        None
    }

    /// Sets the time at which the node has read what arrived first.
    fn read_on(&mut self, node: u32) {
        let Some(reader) = &mut self.slots[node as usize].reader else { return };
        let bytes = match reader.unread.front() {
            Some((_, _, Parcel::Frame(frame))) => frame.len(),
            Some(_) => 0,
            None => return,
        };
        if reader.bytes_per_s > 0 {
            let due = self.now + airtime(bytes, reader.bytes_per_s);
            reader.due = Some(due);
            self.queue.push(due, Pending::Read(node));
        }
    }

    /// The node takes what arrived first.
    pub(super) fn read_next(&mut self, node: u32) -> Option<u32> {
        let now = self.now;
        let reader = self.slots[node as usize].reader.as_mut().filter(|reader| reader.due == Some(now))?;
        reader.due = None;
        let (id, side, parcel) = reader.unread.pop_front()?;
        self.read_on(node);
        self.arrival(id, side, parcel)
    }
}
