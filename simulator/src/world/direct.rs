//! WebRTC between clients: descriptions that lead from one stack to the other, NAT, and the channel that opens.
//!
//! A stack describes itself [`GATHERING`] after it is dialled, or after it was given the offer, and gives its one candidate
//! and the end of candidates after that; later and twice where [`SignalManners`](crate::SignalManners) say so. Once the offerer has the
//! answer, connectivity checks, DTLS and SCTP take four round trips, and the channel opens at both ends if their NATs let it
//! ([`Nat::links_to`]). If they do not, or one end is cut off or gone, both learn so after [`ICE_TIMEOUT`].

use core::time::Duration;
use std::collections::BTreeMap;

use unamed_protocol::signal::{
    Candidate, CandidateHost, CandidateKind, Description, Fingerprint, IceText, Setup, Signal,
};
use unamed_protocol::wire::Bounded;
use unamed_protocol::{DialError, Input, LinkId};

use super::carrier::{End, Owner, Parcel, Side};
use super::{NodeIndex, Pending, Simulation};
use crate::trace::Mark;

/// From the dial, or the offer, to the own description.
const GATHERING: Duration = Duration::from_millis(5);
/// After this without a pair of candidates that works, a stack gives up.
const ICE_TIMEOUT: Duration = Duration::from_secs(10);
/// Round trips from the answer to the open channel: checks, two of DTLS 1.2, SCTP.
const ROUND_TRIPS: u32 = 4;

/// A stack, by the number that its description carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StackId(u32);

#[derive(Clone, Copy, Debug)]
struct Stack {
    node: u32,
    link: LinkId,
    offers: bool,
    remote: Option<StackId>,
    /// How many of its three signals it has given.
    given: u8,
}

/// The WebRTC stacks whose channels are not open yet.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    by_id: BTreeMap<StackId, Stack>,
    by_link: BTreeMap<(u32, LinkId), StackId>,
    made: u32,
}

impl Stacks {
    fn add(&mut self, node: u32, link: LinkId, offers: bool) -> StackId {
        self.made += 1;
        let id = StackId(self.made);
        self.by_id.insert(id, Stack { node, link, offers, remote: None, given: 0 });
        self.by_link.insert((node, link), id);
        id
    }

    fn remove(&mut self, id: StackId) -> Option<Stack> {
        let stack = self.by_id.remove(&id)?;
        self.by_link.remove(&(stack.node, stack.link));
        Some(stack)
    }

    /// Forgets the stack of a link, if it has one; whether it had.
    pub(super) fn close(&mut self, node: u32, link: LinkId) -> bool {
        let id = self.by_link.get(&(node, link)).copied();
        id.and_then(|id| self.remove(id)).is_some()
    }

    /// Forgets the stacks of a node that ended.
    pub(super) fn abandon(&mut self, node: u32) {
        let ids: Vec<StackId> =
            self.by_link.range((node, LinkId(0))..=(node, LinkId(u64::MAX))).map(|(_, id)| *id).collect();
        for id in ids {
            self.remove(id);
        }
    }
}

/// What a stack says of itself. Nothing of it matters to the model but the number.
fn description(id: StackId, setup: Setup) -> Description {
    let mut fingerprint = [0; 32];
    fingerprint[..4].copy_from_slice(&id.0.to_le_bytes());
    Description {
        ufrag: IceText::new(&format!("{:08x}", id.0)).expect("hexadecimal is legal"),
        pwd: IceText::new(&format!("{:024x}", id.0)).expect("hexadecimal is legal"),
        fingerprint: Fingerprint(fingerprint),
        setup,
        candidates: Bounded::default(),
    }
}

fn described(description: &Description) -> StackId {
    let [a, b, c, d, ..] = description.fingerprint.0;
    StackId(u32::from_le_bytes([a, b, c, d]))
}

impl Simulation {
    pub(super) fn dial_direct(&mut self, node: u32, link: LinkId, offers: bool) {
        self.trace.mark(self.now, node, Mark::Dial, link);
        let id = self.stacks.add(node, link, offers);
        if offers {
            self.gather(id);
        }
    }

    /// A stack begins to find out what it says of itself.
    fn gather(&mut self, id: StackId) {
        let at = self.now + GATHERING + self.signal_delay();
        self.queue.push(at, Pending::Describe(id));
    }

    fn signal_delay(&mut self) -> Duration {
        self.signals.exponential(self.config.network.signals.delay)
    }

    /// A node hands its stack what the other end's said.
    pub(super) fn remote_signal(&mut self, node: u32, link: LinkId, signal: &Signal) {
        let id = self.stacks.by_link.get(&(node, link)).copied();
        let Some((id, stack)) = id.and_then(|id| Some((id, self.stacks.by_id.get_mut(&id)?))) else {
            // A stack whose channel is open takes what candidates come late over a slow circuit.
            let late = matches!(signal, Signal::Candidate(_) | Signal::EndOfCandidates);
            if late && self.slots[node as usize].links.contains_key(&link) {
                return;
            }
            let text = format!("gave a signal to {link:?}, which has no stack");
            return self.violations.add(self.now, NodeIndex(node), text);
        };
        match signal {
            Signal::Offer(offer) if !stack.offers && stack.remote.is_none() => {
                stack.remote = Some(described(offer));
                self.gather(id);
            }
            Signal::Answer(answer) if stack.offers && stack.remote.is_none() => {
                let remote = described(answer);
                stack.remote = Some(remote);
                let there = self.stacks.by_id.get(&remote).map_or(node, |stack| stack.node);
                let delay = self.config.network.latency.one_way(self.config.seed, node, there);
                self.queue.push(self.now + delay * 2 * ROUND_TRIPS, Pending::Check(id));
            }
            Signal::Candidate(_) | Signal::EndOfCandidates if stack.remote.is_some() => {}
            Signal::Offer(_) | Signal::Answer(_) | Signal::Candidate(_) | Signal::EndOfCandidates => {
                let text = format!("gave its stack {signal:?} out of turn");
                self.violations.add(self.now, NodeIndex(node), text);
            }
        }
    }

    /// A stack gives the next of its signals, and those after it that come at once.
    pub(super) fn describe(&mut self, id: StackId) -> Option<u32> {
        loop {
            let stack = self.stacks.by_id.get_mut(&id)?;
            let Stack { node, link, offers, given, .. } = *stack;
            stack.given += 1;
            let signal = match given {
                0 if offers => Signal::Offer(description(id, Setup::ActPass)),
                0 => Signal::Answer(description(id, Setup::Active)),
                1 => {
                    let host = CandidateHost::from(self.slots[node as usize].ip);
                    let candidate = Candidate::new(CandidateKind::Host, host, 9, 1);
                    Signal::Candidate(candidate.expect("an address of one host"))
                }
                _ => Signal::EndOfCandidates,
            };
            let duplicates = self.config.network.signals.duplicates;
            let twice = duplicates > 0.0 && self.signals.chance(duplicates);
            for _ in 0..=u8::from(twice) {
                if self.stacks.by_id.contains_key(&id) {
                    self.feed(node, Mark::Signal, link, Input::LocalSignal(link, signal.clone()));
                }
            }
            let over = signal == Signal::EndOfCandidates;
            let delay = if over { Duration::ZERO } else { self.signal_delay() };
            if !delay.is_zero() {
                self.queue.push(self.now + delay, Pending::Describe(id));
            }
            if over || !delay.is_zero() {
                return Some(node);
            }
        }
    }

    /// Connectivity checks, DTLS and SCTP of an offerer and its answerer are over.
    pub(super) fn check_direct(&mut self, id: StackId) -> Option<u32> {
        let offerer = *self.stacks.by_id.get(&id)?;
        let remote = offerer.remote?;
        let answerer = self.stacks.by_id.get(&remote).copied().filter(|stack| stack.remote == Some(id));
        let opens = answerer.is_some_and(|answerer| {
            let [a, b] = [offerer.node, answerer.node];
            let through = self.nat(NodeIndex(a)).links_to(self.nat(NodeIndex(b)));
            through && !self.cuts.blocked(a, b) && !self.cuts.blocked(b, a)
        });
        match answerer {
            Some(answerer) if opens => {
                self.stacks.remove(id);
                self.stacks.remove(remote);
                self.open_channel(offerer, answerer);
                Some(answerer.node)
            }
            _ => {
                for stack in [id, remote] {
                    self.queue.push(self.now + ICE_TIMEOUT, Pending::IceFailed(stack));
                }
                None
            }
        }
    }

    fn open_channel(&mut self, offerer: Stack, answerer: Stack) {
        let delay = self.config.network.latency.one_way(self.config.seed, offerer.node, answerer.node);
        let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let end = |stack: Stack| End::opening(Owner::Node(stack.node), stack.link);
        let id = self.carriers.add(delay, end(offerer), end(answerer));
        let buffer = self.config.network.socket_buffer_bytes;
        if let Some(carrier) = self.carriers.get_mut(id) {
            carrier.datagrams = true;
            let end = carrier.end_mut(Side::Acceptor);
            (end.state, end.credit) = (super::carrier::EndState::Open, buffer as u64);
        }
        let (node, link) = (answerer.node, answerer.link);
        self.slots[offerer.node as usize].links.insert(offerer.link, (id, Side::Dialler));
        self.slots[node as usize].links.insert(link, (id, Side::Acceptor));
        self.transmit(id, Side::Acceptor, Parcel::Connected);
        self.feed(node, Mark::Connected, link, Input::Connected(link));
        if self.slots[node as usize].links.contains_key(&link) {
            self.feed(node, Mark::Writable, link, Input::Writable(link, buffer));
        }
    }

    /// A stack found no way to its peer.
    pub(super) fn ice_failed(&mut self, id: StackId) -> Option<u32> {
        let Stack { node, link, .. } = self.stacks.remove(id)?;
        self.feed(node, Mark::DialFailed, link, Input::DialFailed(link, DialError::Ice));
        Some(node)
    }
}
