//! Circuits: clients talk through service nodes, which learn nothing, and whose loss is not noticed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use unamed_protocol::crypto::{
    Cipher, Crypto, CryptoError, Finished, Handshake, RealCrypto, Role, Signature,
};
use unamed_protocol::{Carrier, NetworkId, RoomKey};
use unamed_simulator::{Crash, Latency, NodeIndex};

use crate::dsl::{World, ms, secs, sentences};

#[test]
fn three_clients_talk_through_service_nodes() {
    for services in [2, 3] {
        let mut world = World::new(services);
        let members = world.members_at(1, [0, 1, services as u32 - 1]);
        for member in members {
            let fellows: Vec<_> = members.iter().map(|other| world.sim.peer_id(*other)).collect();
            let links = world.node(member).links();
            let of_fellows = links.iter().filter(|link| fellows.contains(&link.peer));
            let carriers: Vec<Carrier> = of_fellows.map(|link| link.carrier).collect();
            assert_eq!(carriers, [Carrier::Circuit; 2]);
            world.say(member, 1, "hello");
            world.pass(secs(1));
        }
        for member in members {
            let heard: Vec<String> = members
                .iter()
                .filter(|other| **other != member)
                .map(|other| format!("{}: hello", other.0))
                .collect();
            assert_eq!(world.story(member, 1), heard);
        }
    }
}

#[test]
fn clients_far_out_are_linked_if_a_circuit_can_be_set_up_in_time() {
    // From one client to the other it takes 1.28 s: the set-up 2.56 s, and the target has all of the handshake after 5.12 s.
    let mut world = World::with(1, |config| config.network.latency = Latency::Fixed(ms(640)));
    let [a, b] = [world.client(0), world.client(0)];
    world.pass(secs(10));
    for client in [a, b] {
        world.join(client, 1);
        world.pass(secs(20));
    }
    assert_eq!((world.members(a, 1), world.members(b, 1)), (vec![b], vec![a]));
    for client in [a, b] {
        assert_eq!(world.count(client, "handshakes_failed"), 0);
    }
}

#[test]
fn two_clients_of_one_service_node_talk() {
    let mut world = World::new(1);
    let [a, b] = world.members_at(1, [0, 0]);
    world.say(a, 1, "hello");
    world.tell(b, 1, a, "hello yourself");
    world.pass(secs(1));
    assert_eq!(world.story(a, 1), sentences(["2 to me: hello yourself"]));
    assert_eq!(world.story(b, 1), sentences(["1: hello"]));
}

#[test]
fn the_loss_of_a_relay_is_neither_told_nor_costs_a_message() {
    let mut world = World::new(3);
    let [a, b] = world.members_at(1, [0, 1]);
    for round in 0..2 {
        let relay = world.relay(a);
        world.say(a, 1, &format!("before {round}"));
        world.pass(secs(1));
        world.sim.crash(relay, Crash::Process);
        world.say(a, 1, &format!("meanwhile {round}"));
        world.say(b, 1, &format!("answer {round}"));
        world.pass(secs(12));
        world.sim.restart(relay, true);
        world.pass(secs(30));
    }
    let heard = ["before 0", "meanwhile 0", "before 1", "meanwhile 1"].map(|text| format!("3: {text}"));
    assert_eq!(world.story(b, 1), heard);
    assert_eq!(world.story(a, 1), sentences(["4: answer 0", "4: answer 1"]));
}

#[test]
fn a_relay_carries_only_so_many_circuits_for_one_client() {
    let mut world = World::with(1, |config| config.service.link.circuits_client_max = 1);
    let [a, b, c] = [0, 0, 0].map(|service| world.client(service));
    world.pass(secs(2));
    for client in [a, b, c] {
        world.join(client, 1);
        world.pass(secs(20));
    }
    assert_eq!(world.members(a, 1), [b]);
    assert_eq!(world.members(b, 1), [a]);
    assert_eq!(world.members(c, 1), []);
    let relay = NodeIndex(0);
    assert!(world.count(relay, "circuits_refused") > 0);
    assert_eq!(world.count(relay, "circuits_relayed"), 1);
}

/// What passed ciphers in the clear, by the secret of their owner.
type Notes = Arc<Mutex<BTreeMap<[u8; 32], Vec<Vec<u8>>>>>;

/// Real crypto that notes what passes the transport ciphers in the clear, by the owner of the cipher.
#[derive(Debug, Default)]
struct Glass(Notes);

#[derive(Debug)]
struct GlassHandshake {
    inner: Box<dyn Handshake>,
    owner: [u8; 32],
    notes: Notes,
}

#[derive(Debug)]
struct GlassCipher {
    inner: Box<dyn Cipher>,
    owner: [u8; 32],
    notes: Notes,
}

impl GlassCipher {
    fn note(&self, plaintext: &[u8]) {
        self.notes.lock().expect("no panic").entry(self.owner).or_default().push(plaintext.to_vec());
    }
}

impl Cipher for GlassCipher {
    fn encrypt_in_place(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), CryptoError> {
        self.note(&buffer[start..]);
        self.inner.encrypt_in_place(buffer, start)
    }

    fn decrypt(&mut self, ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        // What comes in is noted both as it came and as it was read.
        self.note(ciphertext);
        let start = out.len();
        self.inner.decrypt(ciphertext, out)?;
        self.note(&out[start..]);
        Ok(())
    }
}

impl Handshake for GlassHandshake {
    fn write_message(&mut self, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.write_message(payload)
    }

    fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.read_message(message)
    }

    fn remote_static(&self) -> Option<[u8; 32]> {
        self.inner.remote_static()
    }

    fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    fn finish(self: Box<Self>) -> Result<Finished, CryptoError> {
        let Finished { cipher, binding } = self.inner.finish()?;
        let cipher = GlassCipher { inner: cipher, owner: self.owner, notes: self.notes };
        Ok(Finished { cipher: Box::new(cipher), binding })
    }
}

impl Crypto for Glass {
    fn public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        RealCrypto.public_key(secret)
    }

    fn sign(&self, secret: &[u8; 32], message: &[u8]) -> Signature {
        RealCrypto.sign(secret, message)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
        RealCrypto.verify(public, message, signature)
    }

    fn sealing_public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        RealCrypto.sealing_public_key(secret)
    }

    fn seal(&self, to: &[u8; 32], ephemeral: &[u8; 32], context: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        RealCrypto.seal(to, ephemeral, context, text)
    }

    fn open(&self, secret: &[u8; 32], context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        RealCrypto.open(secret, context, sealed)
    }

    fn handshake(
        &self,
        role: Role,
        static_secret: &[u8; 32],
        ephemeral: &[u8; 32],
        prologue: &[u8],
    ) -> Box<dyn Handshake> {
        let inner = RealCrypto.handshake(role, static_secret, ephemeral, prologue);
        Box::new(GlassHandshake { inner, owner: *static_secret, notes: Arc::clone(&self.0) })
    }
}

#[test]
fn a21_only_members_ever_hold_the_plaintext_and_nobody_sends_the_name() {
    const NAME: &str = "a room with a view";
    const TEXT: &str = "nobody else shall read this";
    let glass = Glass::default();
    let notes = Arc::clone(&glass.0);
    let mut world = World::with_crypto(2, Arc::new(glass), |_| {});
    let key = RoomKey::derive(NAME, b"", &NetworkId::default()).expect("a name");
    let clients = [world.client(0), world.client(1)];
    world.pass(secs(2));
    for client in clients {
        world.with_node(client, |node, now| node.join(&key, now)).expect("a first room");
        world.pass(secs(3));
    }
    let room = RoomKey::room_id(&key.public_key(&RealCrypto));
    let said = world.with_node(clients[0], |node, now| {
        node.broadcast(room, TEXT.into(), unamed_protocol::Recipients::All, now)
    });
    assert!(said.is_ok());
    world.pass(ms(500));
    let notes = notes.lock().expect("no panic");
    let who_saw = |needle: &[u8]| {
        let holds = |text: &Vec<u8>| text.windows(needle.len()).any(|part| part == needle);
        notes.values().filter(|texts| texts.iter().any(holds)).count()
    };
    assert_eq!(notes.len(), 4, "each node has one static key");
    assert_eq!((who_saw(TEXT.as_bytes()), who_saw(NAME.as_bytes())), (2, 0));
    // The room's id is what holders and relays do see.
    assert!(who_saw(room.as_bytes()) > 2);
}
