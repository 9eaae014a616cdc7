//! Two nodes, a queue of what happens, and a clock that is a number.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use unamed_protocol::crypto::RealCrypto;
use unamed_protocol::{
    Address, Config, Disconnect, Event, Host, Identity, Input, Instant, LinkId, NetworkId, Node, Origin,
    Output, RoomKey, Start,
};

/// What did not happen; the program's exit code.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    Network = 1,
    Room = 2,
    Join = 3,
    /// A node wants nothing more, and the room is not joined.
    Idle = 4,
    /// The room is not joined within a minute of virtual time.
    Late = 5,
    /// A node's own check of its state.
    Invariant = 6,
}

/// The virtual minute after which the room must be joined.
const DEADLINE: Instant = Instant::from_secs(60);
const CREDIT: usize = 1 << 20;

struct World {
    nodes: Vec<Node>,
    /// For whom, and what.
    queue: VecDeque<(usize, Input)>,
    /// Both ends of each open carrier.
    wires: Vec<[(usize, LinkId); 2]>,
    joined: bool,
}

/// Has a client join a room by a service node.
pub(crate) fn run() -> Result<(), Failure> {
    let network = NetworkId::new("nostd").map_err(|_| Failure::Network)?;
    let key = RoomKey::derive("a room without a system", b"", &network).map_err(|_| Failure::Room)?;
    let address = Address { host: Host::Ip4(Ipv4Addr::LOCALHOST), port: 1, secure: false, peer: None };
    let mut now = Instant::ZERO;
    let service = node(Config::service(network.clone()), 1, &[address.clone()], now);
    let mut client = node(Config::client(network), 2, &[], now);
    client.bootstrap(address, now);
    client.join(&key, now).map_err(|_| Failure::Join)?;
    let nodes = Vec::from([service, client]);
    let mut world = World { nodes, queue: VecDeque::new(), wires: Vec::new(), joined: false };
    while !world.joined {
        world.settle(now);
        if world.joined {
            break;
        }
        let next = world.nodes.iter().filter_map(Node::poll_timeout).map(|deadline| deadline.at).min();
        now = next.ok_or(Failure::Idle)?.max(now);
        if now > DEADLINE {
            return Err(Failure::Late);
        }
        world.nodes.iter_mut().for_each(|node| node.handle_timeout(now));
    }
    let sound = world.nodes.iter().all(|node| node.check_invariants().is_empty());
    if sound { Ok(()) } else { Err(Failure::Invariant) }
}

fn node(config: Config, number: u8, addresses: &[Address], now: Instant) -> Node {
    let start = Start {
        config,
        identity: Identity::from_seed([number; 32]),
        crypto: Arc::new(RealCrypto),
        seed: [number; 32],
        unix_ms: 1_800_000_000_000,
        addresses: addresses.to_vec(),
        saved: None,
    };
    Node::new(start, now)
}

impl World {
    /// Carries everything that the nodes want done, until they want nothing more at this instant.
    fn settle(&mut self, now: Instant) {
        loop {
            for index in 0..self.nodes.len() {
                while let Some(output) = self.nodes.get_mut(index).and_then(Node::poll_output) {
                    self.carry(index, output, now);
                }
            }
            let Some((index, input)) = self.queue.pop_front() else { return };
            if let Some(node) = self.nodes.get_mut(index) {
                node.handle_input(input, now);
            }
        }
    }

    fn carry(&mut self, from: usize, output: Output, now: Instant) {
        match output {
            Output::Dial(link, _) => self.dial(from, link, now),
            Output::Send(link, frame) => {
                let bytes = frame.len();
                if let Some((to, remote)) = self.other_end(from, link) {
                    self.queue.push_back((to, Input::Frame(remote, frame)));
                }
                self.queue.push_back((from, Input::Writable(link, bytes)));
            }
            Output::Close(link, _) => {
                if let Some((to, remote)) = self.other_end(from, link) {
                    self.queue.push_back((to, Input::Disconnected(remote, Disconnect::Closed)));
                }
                self.wires.retain(|ends| !ends.contains(&(from, link)));
            }
            Output::Save(save, _) => self.queue.push_back((from, Input::Saved(save, true))),
            Output::Event(Event::RoomJoined { .. }) => self.joined = true,
            Output::RemoteSignal(..) | Output::Event(_) => {}
        }
    }

    /// There is one address: the first node's.
    fn dial(&mut self, from: usize, link: LinkId, now: Instant) {
        let accepted = self.nodes.first_mut().and_then(|node| node.accept(Origin::default(), now).ok());
        let Some(remote) = accepted.filter(|_| from != 0) else {
            self.queue.push_back((from, Input::DialFailed(link, unamed_protocol::DialError::Refused)));
            return;
        };
        self.wires.push([(from, link), (0, remote)]);
        self.queue.push_back((from, Input::Connected(link)));
        self.queue.push_back((from, Input::Writable(link, CREDIT)));
        self.queue.push_back((0, Input::Writable(remote, CREDIT)));
    }

    fn other_end(&self, node: usize, link: LinkId) -> Option<(usize, LinkId)> {
        self.wires.iter().find_map(|[a, b]| match (node, link) {
            end if end == *a => Some(*b),
            end if end == *b => Some(*a),
            _ => None,
        })
    }
}
