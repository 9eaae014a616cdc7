//! What passes between nodes: dials, frames, credit, closes; and the drain of a node's outputs.

use core::time::Duration;
use std::net::IpAddr;

use bytes::Bytes;
use unamed_protocol::{
    Address, DialError, Disconnect, Event, Host, Input, Instant, LinkId, NodeKind, Origin, Output, PeerId,
    Target,
};

use super::carrier::{CarrierId, End, EndState, Owner, Parcel, Side};
use super::{Condition, Crash, NodeEvent, NodeIndex, Pending, Simulation};
use crate::network::TransportDetection;
use crate::taint::Place;
use crate::trace::Mark;

/// How long a line of this rate is busy with so many bytes.
pub(super) fn airtime(bytes: usize, bytes_per_s: u64) -> Duration {
    Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / bytes_per_s.max(1))
}

impl Simulation {
    /// Feeds a node one input and carries out what follows.
    pub(super) fn feed(&mut self, node: u32, mark: Mark, link: LinkId, input: Input) {
        let now = self.now;
        if let Some(running) = &mut self.slots[node as usize].node {
            running.handle_input(input, now);
            self.trace.mark(now, node, mark, link);
            self.settle(node);
        }
    }

    /// Drains a node's outputs and arms its timer.
    pub(super) fn settle(&mut self, node: u32) {
        self.settle_after(node, Instant::ZERO);
    }

    /// As [`settle`](Self::settle), with the timer not before `earliest`.
    fn settle_after(&mut self, node: u32, earliest: Instant) {
        let mut ended = false;
        while let Some(output) =
            self.slots[node as usize].node.as_mut().and_then(|running| running.poll_output())
        {
            ended |= matches!(output, Output::Event(Event::ShutDown));
            self.perform(node, output);
        }
        if ended {
            self.stop(node);
        } else {
            self.arm(node, earliest);
        }
    }

    pub(super) fn perform(&mut self, node: u32, output: Output) {
        match output {
            Output::Dial(link, Target::WebSocket(address)) => self.dial(node, link, &address),
            Output::Dial(link, Target::WebRtc { offer, .. }) => self.dial_direct(node, link, offer),
            Output::RemoteSignal(link, signal) => self.remote_signal(node, link, &signal),
            Output::Send(link, frame) => self.send(node, link, frame),
            Output::Close(link, _) => {
                self.trace.mark(self.now, node, Mark::Close, link);
                if let Some((carrier, side)) = self.slots[node as usize].links.remove(&link) {
                    self.close_end(carrier, side, Some(Disconnect::Closed));
                } else if !self.stacks.close(node, link) {
                    self.violations.add(self.now, NodeIndex(node), format!("closed {link:?}, which is gone"));
                }
            }
            Output::Save(id, snapshot) => {
                let slot = &mut self.slots[node as usize];
                slot.saved = self.config.keep_saved.then_some(*snapshot);
                if let Some(running) = &mut slot.node {
                    running.handle_input(Input::Saved(id, true), self.now);
                }
            }
            Output::Event(event) => {
                if let Event::LinkOpened { link, peer, .. } = event {
                    self.check_peer(node, link, peer);
                }
                self.trace.event(self.now, node, &event);
                self.told.push(NodeEvent { at: self.now, node: NodeIndex(node), event });
            }
        }
    }

    /// Whom a link leads to is who runs at its other end. Circuits have no carrier of their own, and peers of a test's own
    /// making say what they like.
    fn check_peer(&mut self, node: u32, link: LinkId, peer: PeerId) {
        let end = self.slots[node as usize].links.get(&link);
        let other = end.and_then(|(id, side)| Some(self.carriers.get(*id)?.end(side.other()).owner));
        if let Some(Owner::Node(other)) = other
            && self.slots[other as usize].peer != peer
        {
            let text = format!("{link:?} leads to node {other}, not to {peer:?}");
            self.violations.add(self.now, NodeIndex(node), text);
        }
    }

    /// Puts the node's deadline into the queue, not before `earliest`. A wake-up that is in the queue already and not
    /// later serves as well: when it comes, the deadline is looked at again.
    fn arm(&mut self, node: u32, earliest: Instant) {
        let slot = &mut self.slots[node as usize];
        let Some(deadline) = slot.node.as_ref().and_then(|running| running.poll_timeout()) else { return };
        let at = deadline.at.max(self.now).max(earliest);
        if slot.wake.is_none_or(|wake| at < wake) {
            slot.wake = Some(at);
            self.queue.push(at, Pending::Wake { node, run: slot.run });
        }
    }

    /// A wake-up came: fires the timeout if the deadline is due.
    pub(super) fn wake(&mut self, node: u32, run: u32) -> Option<u32> {
        let now = self.now;
        let slot = &mut self.slots[node as usize];
        if slot.run != run || slot.wake != Some(now) {
            return None;
        }
        slot.wake = None;
        let running = slot.node.as_mut()?;
        if running.poll_timeout().is_none_or(|deadline| deadline.at > now) {
            self.arm(node, Instant::ZERO);
            return None;
        }
        running.handle_timeout(now);
        self.trace.mark(now, node, Mark::Timeout, LinkId(0));
        let left = self.slots[node as usize].node.as_ref().and_then(|running| running.poll_timeout());
        if let Some(deadline) = left.filter(|deadline| deadline.at <= now) {
            let text = format!("deadline `{}` stands after it was handled", deadline.reason);
            self.violations.add(now, NodeIndex(node), text);
            // A little later, so that time goes on.
            self.settle_after(node, now + Duration::from_millis(1));
        } else {
            self.settle(node);
        }
        Some(node)
    }

    /// A node said that its shutdown is complete.
    fn stop(&mut self, node: u32) {
        let slot = &mut self.slots[node as usize];
        slot.node = None;
        slot.wake = None;
        slot.condition = Condition::Left;
        self.abandon(node, Some(Disconnect::Closed));
    }

    /// Ends a node that was told to shut down and did not.
    pub(super) fn force_stop(&mut self, node: u32, run: u32) -> Option<u32> {
        let slot = &self.slots[node as usize];
        if slot.run == run && slot.condition == Condition::Leaving {
            self.violations.add(self.now, NodeIndex(node), "the shutdown was not complete in time");
            self.stop(node);
        }
        None
    }

    /// Drops all carriers of a node that ended; the peers are told `reason`, or nothing.
    pub(super) fn abandon(&mut self, node: u32, reason: Option<Disconnect>) {
        let slot = &mut self.slots[node as usize];
        slot.wake = None;
        let links = std::mem::take(&mut slot.links);
        self.stacks.abandon(node);
        for (_, (carrier, side)) in links {
            let datagrams = self.carriers.get(carrier).is_some_and(|carrier| carrier.datagrams);
            let silent = datagrams && reason == Some(Disconnect::Reset);
            if silent {
                self.detect(carrier, side.other());
            }
            self.close_end(carrier, side, reason.filter(|_| !silent));
        }
    }

    // Dials.

    fn dial(&mut self, node: u32, link: LinkId, address: &Address) {
        self.trace.mark(self.now, node, Mark::Dial, link);
        if self.slots[node as usize].links.contains_key(&link) {
            self.violations.add(self.now, NodeIndex(node), format!("dialled with {link:?}, which is in use"));
            return;
        }
        let ip = match &address.host {
            Host::Ip4(ip) => Some(IpAddr::V4(*ip)),
            Host::Ip6(ip) => Some(IpAddr::V6(*ip)),
            Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_) => None,
        };
        let target = ip.and_then(|ip| self.registry.get(&(ip, address.port)).copied());
        let carrier = self.begin_dial(Owner::Node(node), link, target.map_or(Owner::Nobody, Owner::Node));
        self.slots[node as usize].links.insert(link, (carrier, Side::Dialler));
        if ip.is_none() {
            self.fail_dial(carrier, Duration::ZERO, DialError::Unresolved);
        }
    }

    /// The owner of the acceptor's end of a dial to `target`.
    pub(super) const fn target_of(&self, target: NodeIndex) -> Owner {
        Owner::Node(target.0)
    }

    /// Sets a carrier up and sends the first packet of the dial.
    pub(super) fn begin_dial(&mut self, from: Owner, link: LinkId, to: Owner) -> CarrierId {
        // Raw ends count down from the top of the number space for their latency.
        let place = |owner| match owner {
            Owner::Node(node) => node,
            Owner::Raw(raw) => u32::MAX - raw,
            Owner::Nobody => u32::MAX / 2,
        };
        let delay = self.config.network.latency.one_way(self.config.seed, place(from), place(to));
        let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let carrier = self.carriers.add(delay, End::opening(from, link), End::opening(to, LinkId(0)));
        self.queue.push(self.now + Duration::from_micros(delay), Pending::Knock(carrier));
        carrier
    }

    fn fail_dial(&mut self, carrier: CarrierId, after: Duration, error: DialError) {
        if let Some(known) = self.carriers.get_mut(carrier) {
            known.end_mut(Side::Acceptor).state = EndState::Gone;
            let parcel = self.parcels.put(Parcel::DialFailed(error));
            self.queue.push(self.now + after, Pending::Arrival(carrier, Side::Dialler, parcel));
        }
    }

    /// The first packet of a dial reaches the target's host.
    pub(super) fn knock(&mut self, id: CarrierId) -> Option<u32> {
        let carrier = self.carriers.get(id)?;
        if carrier.end(Side::Acceptor).state == EndState::Gone {
            return None;
        }
        let delay = Duration::from_micros(carrier.delay);
        let (dialler, acceptor) = (carrier.end(Side::Dialler).owner, carrier.end(Side::Acceptor).owner);
        if self.cut_off(dialler, acceptor) || self.cut_off(acceptor, dialler) || self.silent(acceptor) {
            self.fail_dial(id, self.config.network.dial_timeout.saturating_sub(delay), DialError::Timeout);
        } else if self.running(acceptor) {
            self.queue.push(self.now + delay * 2, Pending::Upgrade(id));
        } else {
            self.fail_dial(id, delay, DialError::Refused);
        }
        None
    }

    /// The upgrade request reaches the target.
    pub(super) fn upgrade(&mut self, id: CarrierId) -> Option<u32> {
        let carrier = self.carriers.get(id)?;
        let delay = Duration::from_micros(carrier.delay);
        let (dialler, acceptor) = (carrier.end(Side::Dialler).owner, carrier.end(Side::Acceptor).owner);
        let Owner::Node(target) = acceptor else { return None };
        if self.cut_off(dialler, acceptor) || self.cut_off(acceptor, dialler) || self.silent(acceptor) {
            self.fail_dial(
                id,
                self.config.network.dial_timeout.saturating_sub(delay * 3),
                DialError::Timeout,
            );
            return None;
        }
        let ip = match dialler {
            Owner::Node(node) => Some(self.slots[node as usize].ip),
            Owner::Raw(raw) => self.raws[raw as usize].ip,
            Owner::Nobody => None,
        };
        let now = self.now;
        let accepted = self.slots[target as usize]
            .node
            .as_mut()
            .and_then(|running| running.accept(Origin { ip }, now).ok());
        let Some(link) = accepted else {
            self.fail_dial(id, delay, DialError::Refused);
            return self.running(acceptor).then_some(target);
        };
        self.trace.mark(now, target, Mark::Accept, link);
        let buffer = self.config.network.socket_buffer_bytes;
        if let Some(carrier) = self.carriers.get_mut(id) {
            let end = carrier.end_mut(Side::Acceptor);
            (end.link, end.state, end.credit) = (link, EndState::Open, buffer as u64);
        }
        self.slots[target as usize].links.insert(link, (id, Side::Acceptor));
        self.transmit(id, Side::Acceptor, Parcel::Connected);
        self.feed(target, Mark::Writable, link, Input::Writable(link, buffer));
        Some(target)
    }

    // Parcels.

    fn send(&mut self, node: u32, link: LinkId, frame: Bytes) {
        let now = self.now;
        self.trace.sent(now, node, link, &frame);
        let slot = &self.slots[node as usize];
        let frame_bytes_max = slot.config.link.frame_bytes_max;
        let Some(&(id, side)) = slot.links.get(&link) else {
            self.violations.add(now, NodeIndex(node), format!("sent on {link:?}, which is gone"));
            return;
        };
        if frame.len() > frame_bytes_max {
            let text = format!("sent a frame of {} bytes on {link:?}, beyond {frame_bytes_max}", frame.len());
            self.violations.add(now, NodeIndex(node), text);
        }
        let Some(end) = self.carriers.get_mut(id).map(|carrier| carrier.end_mut(side)) else { return };
        let bytes = frame.len() as u64;
        if bytes > end.credit {
            let text = format!("sent {bytes} bytes on {link:?} with {} bytes of credit", end.credit);
            self.violations.add(now, NodeIndex(node), text);
        }
        end.credit = end.credit.saturating_sub(bytes);
        let slot = &mut self.slots[node as usize];
        slot.sent.add(bytes);
        match slot.config.kind {
            NodeKind::Service => self.sent_service.add(bytes),
            NodeKind::Client => self.sent_client.add(bytes),
        }
        self.transmit(id, side, Parcel::Frame(frame));
    }

    /// Puts a parcel on its way from one end of a carrier to the other.
    pub(super) fn transmit(&mut self, id: CarrierId, from: Side, parcel: Parcel) {
        let Some(carrier) = self.carriers.get(id) else { return };
        let (sender, receiver) = (carrier.end(from).owner, carrier.end(from.other()).owner);
        if self.cut_off(sender, receiver) {
            self.held.entry((id, from)).or_default().push(parcel);
            return;
        }
        let network = &self.config.network;
        let mut departure = self.now;
        if let (Parcel::Frame(frame), Some(uplink), Owner::Node(node)) = (&parcel, network.uplink, sender) {
            let busy_until = &mut self.slots[node as usize].busy_until;
            departure = departure.max(*busy_until) + airtime(frame.len(), uplink);
            *busy_until = departure;
        }
        let jitter = self.jitter.exponential(network.jitter);
        let Some(carrier) = self.carriers.get_mut(id) else { return };
        let delay = Duration::from_micros(carrier.delay);
        let end = carrier.end_mut(from);
        if let (Parcel::Frame(frame), Some(bandwidth)) = (&parcel, network.bandwidth) {
            departure = departure.max(end.busy_until) + airtime(frame.len(), bandwidth);
            end.busy_until = departure;
        }
        end.last_arrival = end.last_arrival.max(departure + delay + jitter);
        let at = end.last_arrival;
        let parcel = self.parcels.put(parcel);
        self.queue.push(at, Pending::Arrival(id, from.other(), parcel));
    }

    /// Sends on what healed partitions held back.
    pub(super) fn release_held(&mut self) {
        for ((id, from), parcels) in std::mem::take(&mut self.held) {
            // What is still cut off comes back into `held`.
            for parcel in parcels {
                self.transmit(id, from, parcel);
            }
        }
    }

    /// A parcel reaches the host of one end of a carrier. Returns the node concerned.
    pub(super) fn reach(&mut self, id: CarrierId, side: Side, parcel: Parcel) -> Option<u32> {
        match self.put_off(id, side, parcel) {
            Some(parcel) => self.arrival(id, side, parcel),
            None => None,
        }
    }

    /// One end of a carrier takes a parcel. Returns the node concerned.
    pub(super) fn arrival(&mut self, id: CarrierId, side: Side, parcel: Parcel) -> Option<u32> {
        let end = self.carriers.get(id)?.end(side);
        let (owner, link, state) = (end.owner, end.link, end.state);
        if state == EndState::Gone {
            self.answer_for_the_dead(id, side, &parcel);
            return None;
        }
        self.acknowledge(id, side, &parcel);
        let node = match owner {
            Owner::Node(node) => node,
            Owner::Raw(raw) => {
                self.raw_arrival(raw, id, parcel);
                return None;
            }
            Owner::Nobody => return None,
        };
        match parcel {
            Parcel::Connected => {
                let buffer = self.config.network.socket_buffer_bytes;
                if let Some(carrier) = self.carriers.get_mut(id) {
                    let end = carrier.end_mut(side);
                    (end.state, end.credit) = (EndState::Open, buffer as u64);
                }
                self.feed(node, Mark::Connected, link, Input::Connected(link));
                if self.slots[node as usize].links.contains_key(&link) {
                    self.feed(node, Mark::Writable, link, Input::Writable(link, buffer));
                }
            }
            Parcel::Frame(frame) => {
                self.watch_frame(node, id, &frame);
                self.feed(node, Mark::Frame, link, Input::Frame(link, frame));
            }
            Parcel::Taken(bytes) => {
                if let Some(carrier) = self.carriers.get_mut(id) {
                    carrier.end_mut(side).credit += bytes;
                }
                self.feed(node, Mark::Writable, link, Input::Writable(link, bytes as usize));
            }
            Parcel::DialFailed(error) => {
                self.lose_end(node, id, side, link);
                self.feed(node, Mark::DialFailed, link, Input::DialFailed(link, error));
            }
            Parcel::Closed(reason) => {
                self.lose_end(node, id, side, link);
                self.feed(node, Mark::Disconnected, link, Input::Disconnected(link, reason));
            }
        }
        Some(node)
    }

    /// Looks for tainted bytes in a frame. What comes over a data channel is in the clear here, since DTLS hides it.
    fn watch_frame(&self, node: u32, id: CarrierId, frame: &[u8]) {
        if let (Some(watch), Some(carrier)) = (&self.watch, self.carriers.get(id)) {
            let place = if carrier.datagrams { Place::Read } else { Place::Wire };
            watch.search(node, place, frame);
        }
    }

    /// Grants the sender anew what has arrived, in quarters of the buffer.
    fn acknowledge(&mut self, id: CarrierId, side: Side, parcel: &Parcel) {
        let Parcel::Frame(frame) = parcel else { return };
        let quarter = (self.config.network.socket_buffer_bytes / 4) as u64;
        let Some(carrier) = self.carriers.get_mut(id) else { return };
        let end = carrier.end_mut(side);
        if let Owner::Raw(raw) = end.owner
            && !self.raws[raw as usize].reading()
        {
            return;
        }
        end.unacknowledged += frame.len() as u64;
        if end.unacknowledged >= quarter {
            let taken = std::mem::take(&mut end.unacknowledged);
            self.transmit(id, side, Parcel::Taken(taken));
        }
    }

    /// Something arrived for an end that is gone: a living host resets the connection, a dead one is silent.
    fn answer_for_the_dead(&mut self, id: CarrierId, side: Side, parcel: &Parcel) {
        let Some(carrier) = self.carriers.get(id) else { return };
        let owner = carrier.end(side).owner;
        let other = carrier.end(side.other());
        let worth_it = matches!(parcel, Parcel::Frame(_) | Parcel::Connected) && !carrier.datagrams;
        if worth_it && other.state == EndState::Open && !other.told && !self.silent(owner) {
            self.tell_closed(id, side, Disconnect::Reset);
        }
    }

    /// The end's owner learned that the carrier is gone.
    fn lose_end(&mut self, node: u32, id: CarrierId, side: Side, link: LinkId) {
        self.slots[node as usize].links.remove(&link);
        if let Some(carrier) = self.carriers.get_mut(id) {
            carrier.end_mut(side).state = EndState::Gone;
        }
        self.forget_if_over(id);
    }

    /// One end closes; the other is told `reason`, or nothing.
    pub(super) fn close_end(&mut self, id: CarrierId, side: Side, reason: Option<Disconnect>) {
        let Some(carrier) = self.carriers.get_mut(id) else { return };
        carrier.end_mut(side).state = EndState::Gone;
        let other = carrier.end_mut(side.other());
        if side == Side::Dialler && other.state == EndState::Opening {
            // The target has not accepted, and will not.
            other.state = EndState::Gone;
        }
        if let Some(reason) = reason {
            self.tell_closed(id, side, reason);
        }
        self.forget_if_over(id);
    }

    /// Sends the news that the end at `side` is gone to the other end, once.
    fn tell_closed(&mut self, id: CarrierId, side: Side, reason: Disconnect) {
        let Some(carrier) = self.carriers.get_mut(id) else { return };
        let other = carrier.end_mut(side.other());
        if other.state != EndState::Gone && !other.told {
            other.told = true;
            self.transmit(id, side, Parcel::Closed(reason));
        }
    }

    pub(super) fn forget_if_over(&mut self, id: CarrierId) {
        if self.carriers.forget_if_over(id) && !self.held.is_empty() {
            self.held.remove(&(id, Side::Dialler));
            self.held.remove(&(id, Side::Acceptor));
        }
    }

    // Detection of silence by the transport.

    /// Sets the time at which the peers of a node that falls silent learn it.
    pub(super) fn detect_silence_of(&mut self, node: u32) {
        let ends: Vec<(CarrierId, Side)> =
            self.slots[node as usize].links.values().map(|(id, side)| (*id, side.other())).collect();
        for (id, side) in ends {
            self.detect(id, side);
        }
    }

    /// Sets the time at which ends that a partition keeps from hearing anything learn it, if it lasts.
    pub(super) fn detect_blocked(&mut self) {
        if self.config.network.detection.is_none() {
            return;
        }
        let mut ends = Vec::new();
        for (id, carrier) in self.carriers.iter() {
            for side in [Side::Dialler, Side::Acceptor] {
                let (end, other) = (carrier.end(side), carrier.end(side.other()));
                let open = end.state == EndState::Open && other.state == EndState::Open;
                if open && self.cut_off(other.owner, end.owner) {
                    ends.push((id, side));
                }
            }
        }
        for (id, side) in ends {
            self.detect(id, side);
        }
    }

    fn detect(&mut self, id: CarrierId, side: Side) {
        let Some(detection) = self.config.network.detection else { return };
        let Some(carrier) = self.carriers.get(id) else { return };
        let service = |side: Side| match carrier.end(side).owner {
            Owner::Node(node) => self.kind(NodeIndex(node)) == NodeKind::Service,
            Owner::Raw(_) | Owner::Nobody => false,
        };
        let longest =
            if service(side) && service(side.other()) { detection.service } else { detection.other };
        let spread = TransportDetection::SPREAD.min(longest);
        let draw = spread.as_micros() as f64 * self.detection.unit();
        let after = longest - Duration::from_micros(draw as u64);
        self.queue.push(self.now + after, Pending::Detection(id, side));
    }

    /// The transport's patience is over: the end's owner is told, if the other end is silent still.
    pub(super) fn detection(&mut self, id: CarrierId, side: Side) -> Option<u32> {
        let carrier = self.carriers.get(id)?;
        let (end, other) = (carrier.end(side), carrier.end(side.other()));
        let silent = other.state == EndState::Gone || self.cut_off(other.owner, end.owner);
        let Owner::Node(node) = end.owner else { return None };
        if end.state != EndState::Open || end.told || !silent {
            return None;
        }
        let link = end.link;
        self.slots[node as usize].links.remove(&link);
        self.close_end(id, side, Some(Disconnect::Reset));
        self.feed(node, Mark::Disconnected, link, Input::Disconnected(link, Disconnect::Lost));
        Some(node)
    }

    // What an owner is.

    fn cut_off(&self, from: Owner, to: Owner) -> bool {
        match (from, to) {
            (Owner::Node(from), Owner::Node(to)) => self.cuts.blocked(from, to),
            (Owner::Node(_) | Owner::Raw(_) | Owner::Nobody, _) => false,
        }
    }

    fn running(&self, owner: Owner) -> bool {
        match owner {
            Owner::Node(node) => self.slots[node as usize].node.is_some(),
            Owner::Raw(_) => true,
            Owner::Nobody => false,
        }
    }

    /// Whether the owner's host answers nothing, not even with a reset.
    fn silent(&self, owner: Owner) -> bool {
        match owner {
            Owner::Node(node) => self.slots[node as usize].condition == Condition::Crashed(Crash::Host),
            Owner::Raw(_) => false,
            Owner::Nobody => true,
        }
    }
}
