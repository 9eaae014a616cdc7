//! What scripts call.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use js_sys::{Array, Function, Object, Reflect, Uint8Array};
use unamed_protocol::crypto::RealCrypto;
use unamed_protocol::wire::MemberStatement;
use unamed_protocol::{
    Address, BroadcastError, Config, IceServer, Identity, Input, Instant, MemberDataError, NetworkId, Node,
    PeerId, Recipients, RoomId, RoomKey, SaveId, Snapshot, Start,
};
use wasm_bindgen::prelude::*;

use crate::driver::Pump;
use crate::events;
use crate::host::{self, failure, text};

/// One node.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Engine {
    pump: Rc<Pump>,
    peer: PeerId,
}

#[wasm_bindgen]
impl Engine {
    /// A node from `{ network, secret, saved?, webrtc?, iceServers?, thirdParties? }`. Events are given to `sink`, from
    /// [`start`](Self::start) on.
    ///
    /// # Errors
    /// A script error with a `code`, where an option cannot be used.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &Object, sink: Function) -> Result<Engine, JsValue> {
        let network = network_of(&string(options, "network").unwrap_or_default())?;
        let secret = secret_of(&bytes(options, "secret").unwrap_or_default())?;
        let mut config = Config::client(network);
        config.webrtc.enabled = flag(options, "webrtc");
        config.webrtc.third_parties = flag(options, "thirdParties");
        config.webrtc.ice_servers = ice_servers(&property(options, "iceServers"))?;
        let identity = Identity::from_seed(secret);
        let start = Start {
            config,
            identity,
            crypto: Arc::new(RealCrypto),
            seed: seed()?,
            unix_ms: host::unix_ms(),
            addresses: Vec::new(),
            // What cannot be read is as good as nothing: the node starts afresh.
            saved: bytes(options, "saved").and_then(|saved| Snapshot::decode(&saved).ok()),
        };
        let node = Node::new(start, host::now());
        let peer = node.peer_id();
        Ok(Self { pump: Pump::new(node, sink), peer })
    }

    /// Begins to work.
    pub fn start(&self) {
        self.pump.start();
    }

    /// The node's id.
    #[wasm_bindgen(getter, js_name = peerId)]
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.peer.to_string()
    }

    /// Adds a service address to start from.
    ///
    /// # Errors
    /// `bad-address`.
    pub fn bootstrap(&self, address: &str) -> Result<(), JsValue> {
        let address: Address = address.parse().map_err(|error| failure("bad-address", &error))?;
        self.pump.command(|driver, now| driver.node.bootstrap(address, now));
        Ok(())
    }

    /// Joins the room of a key of 32 bytes, and says this of the node to its members; its id.
    ///
    /// # Errors
    /// `already-joined`, `too-many-rooms`, `too-large`, `closed`.
    pub fn join(&self, key: &[u8], data: &[u8]) -> Result<String, JsValue> {
        let key = RoomKey::from_seed(secret_of(key)?);
        let max = MemberStatement::DATA_BYTES_MAX;
        if data.len() > max {
            return Err(member_data_failure(MemberDataError::TooLarge { max }));
        }
        let data = Bytes::copy_from_slice(data);
        let room = self.act(|driver, now| {
            let room = driver.node.join(&key, now)?;
            // Nothing that could go wrong is left: the room is joined, and the length is known.
            let _ = driver.node.set_member_data(room, data, now);
            Ok(room)
        })?;
        room.map(|room| room.to_string()).map_err(|error| {
            let code = match error {
                unamed_protocol::JoinError::AlreadyJoined => "already-joined",
                unamed_protocol::JoinError::TooManyRooms => "too-many-rooms",
                unamed_protocol::JoinError::ShuttingDown => "closed",
            };
            failure(code, &error)
        })
    }

    /// Makes a joined room the primary one.
    ///
    /// # Errors
    /// `not-joined`, `closed`.
    #[wasm_bindgen(js_name = makePrimary)]
    pub fn make_primary(&self, room: &str) -> Result<(), JsValue> {
        let room = room_of(room)?;
        self.act(|driver, now| driver.node.make_primary(room, now))?
            .map_err(|error| failure("not-joined", &error))
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// `not-joined`, `closed`.
    pub fn leave(&self, room: &str) -> Result<(), JsValue> {
        let room = room_of(room)?;
        self.act(|driver, now| driver.node.leave(room, now))?.map_err(|error| failure("not-joined", &error))
    }

    /// Says something of the node to the members of a room; nothing if it is empty.
    ///
    /// # Errors
    /// `not-joined`, `too-large`, `closed`.
    #[wasm_bindgen(js_name = setMemberData)]
    pub fn set_member_data(&self, room: &str, data: &[u8]) -> Result<(), JsValue> {
        let (room, data) = (room_of(room)?, Bytes::copy_from_slice(data));
        self.act(|driver, now| driver.node.set_member_data(room, data, now))?.map_err(member_data_failure)
    }

    /// Sends to all members, or to those in `to`; the message's id.
    ///
    /// # Errors
    /// `not-joined`, `no-recipients`, `unknown-recipient`, `too-many-recipients`, `too-large`, `busy`, `closed`.
    pub fn broadcast(&self, room: &str, data: &[u8], to: Option<Array>) -> Result<String, JsValue> {
        let room = room_of(room)?;
        let recipients = match to {
            None => Recipients::All,
            Some(list) => Recipients::Only(list.iter().map(|peer| peer_of(&peer)).collect::<Result<_, _>>()?),
        };
        let payload = Bytes::copy_from_slice(data);
        let sent = self.act(|driver, now| driver.node.broadcast(room, payload, recipients, now))?;
        sent.map(|id| id.to_string()).map_err(|error| failure(broadcast_code(error), &error))
    }

    /// Looks for the members of the room of a key; the request, whose answer is the event `found`.
    ///
    /// # Errors
    /// `closed`.
    pub fn find(&self, key: &[u8]) -> Result<String, JsValue> {
        let room = RoomKey::from_seed(secret_of(key)?).id(&RealCrypto);
        self.act(|driver, now| driver.node.find(room, now).0.to_string())
    }

    /// Members of a joined room, without this node.
    #[must_use]
    pub fn members(&self, room: &str) -> Array {
        let members = room_of(room).ok().and_then(|room| self.pump.look(|node| node.members(room)).flatten());
        members.unwrap_or_default().iter().map(text).collect()
    }

    /// Joined rooms.
    #[must_use]
    pub fn rooms(&self) -> Array {
        self.list(|node| node.rooms().iter().map(events::room).collect())
    }

    /// Usable links.
    #[must_use]
    pub fn links(&self) -> Array {
        self.list(|node| node.links().iter().map(events::link).collect())
    }

    /// The routing table; `null` once stopped.
    #[must_use]
    pub fn routing(&self) -> JsValue {
        self.pump.look(|node| events::routing(&node.routing_table())).unwrap_or(JsValue::NULL)
    }

    /// All counters of the core, by name.
    #[must_use]
    pub fn metrics(&self) -> JsValue {
        let all = self.pump.look(Node::metrics).unwrap_or_default();
        all.into_iter()
            .fold(host::Record::new(), |record, (name, value)| record.with(name, value as f64))
            .done()
    }

    /// Looks at the clocks, at once; `resumed` where the page knows that it slept or changed networks.
    pub fn wake(&self, resumed: bool) {
        self.pump.command(|driver, now| {
            if resumed {
                driver.tell_clock(true, now);
            }
        });
    }

    /// The answer to the event `save`.
    pub fn saved(&self, id: f64, ok: bool) {
        self.pump.command(|driver, now| driver.node.handle_input(Input::Saved(SaveId(id as u64), ok), now));
    }

    /// Says goodbye to all; the event `shut-down` follows.
    pub fn shutdown(&self) {
        self.pump.command(|driver, now| driver.node.shutdown(now));
    }

    /// Drops the node and its carriers at once.
    pub fn stop(&self) {
        self.pump.stop();
    }
}

impl Engine {
    fn act<R>(&self, act: impl FnOnce(&mut crate::driver::Driver, Instant) -> R) -> Result<R, JsValue> {
        self.pump.command(act).ok_or_else(|| failure("closed", &"the node is stopped"))
    }

    fn list(&self, look: impl FnOnce(&Node) -> Array) -> Array {
        self.pump.look(look).unwrap_or_default()
    }
}

/// The key of a named room: 32 bytes, slow on purpose. Meant for a worker.
///
/// # Errors
/// `bad-name`, `bad-network`.
#[wasm_bindgen(js_name = deriveRoomKey)]
pub fn derive_room_key(name: &str, passphrase: &[u8], network: &str) -> Result<Vec<u8>, JsValue> {
    let network = network_of(network)?;
    let key = RoomKey::derive_with(name, passphrase, &network, host::nfc);
    let key = key.map_err(|error| failure("bad-name", &error))?;
    Ok(key.secret().to_vec())
}

/// The id of the room of a key.
///
/// # Errors
/// `bad-key`.
#[wasm_bindgen(js_name = roomIdOf)]
pub fn room_id_of(key: &[u8]) -> Result<String, JsValue> {
    Ok(RoomKey::from_seed(secret_of(key)?).id(&RealCrypto).to_string())
}

/// A new identity: 32 random bytes.
///
/// # Errors
/// `no-randomness`.
#[wasm_bindgen(js_name = newSecret)]
pub fn new_secret() -> Result<Vec<u8>, JsValue> {
    seed().map(Vec::from)
}

fn seed() -> Result<[u8; 32], JsValue> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| failure("no-randomness", &error))?;
    Ok(seed)
}

fn network_of(id: &str) -> Result<NetworkId, JsValue> {
    NetworkId::new(id).map_err(|error| failure("bad-network", &error))
}

fn secret_of(bytes: &[u8]) -> Result<[u8; 32], JsValue> {
    bytes.try_into().map_err(|_| failure("bad-key", &"a key has 32 bytes"))
}

fn peer_of(value: &JsValue) -> Result<PeerId, JsValue> {
    let text = value.as_string().unwrap_or_default();
    text.parse().map_err(|error| failure("unknown-recipient", &error))
}

fn room_of(id: &str) -> Result<RoomId, JsValue> {
    read_hex(id).map(RoomId).ok_or_else(|| failure("not-joined", &"this is no room id"))
}

/// 32 bytes in lower-case or upper-case hexadecimal.
fn read_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn member_data_failure(error: MemberDataError) -> JsValue {
    match error {
        MemberDataError::NotJoined => failure("not-joined", &error),
        MemberDataError::TooLarge { max } => failure("too-large", &format!("{error}: at most {max} bytes")),
    }
}

const fn broadcast_code(error: BroadcastError) -> &'static str {
    match error {
        BroadcastError::NotJoined => "not-joined",
        BroadcastError::NoRecipients => "no-recipients",
        BroadcastError::UnknownRecipient(_) => "unknown-recipient",
        BroadcastError::TooManyRecipients => "too-many-recipients",
        BroadcastError::TooLarge { .. } => "too-large",
        BroadcastError::Busy => "busy",
    }
}

fn property(options: &JsValue, key: &str) -> JsValue {
    Reflect::get(options, &JsValue::from_str(key)).unwrap_or(JsValue::UNDEFINED)
}

fn string(options: &JsValue, key: &str) -> Option<String> {
    property(options, key).as_string()
}

fn flag(options: &JsValue, key: &str) -> bool {
    property(options, key).is_truthy()
}

fn bytes(options: &JsValue, key: &str) -> Option<Vec<u8>> {
    property(options, key).dyn_into::<Uint8Array>().ok().map(|bytes| bytes.to_vec())
}

/// ICE servers in the form of `RTCConfiguration`: `[{ urls, username?, credential? }]`.
fn ice_servers(list: &JsValue) -> Result<Vec<IceServer>, JsValue> {
    let mut servers = Vec::new();
    for entry in Array::from(list).iter() {
        let (user, secret) = (string(&entry, "username"), string(&entry, "credential"));
        let credential = user.as_deref().zip(secret.as_deref());
        let urls = property(&entry, "urls");
        let urls = if urls.is_string() { Array::of1(&urls) } else { Array::from(&urls) };
        for url in urls.iter() {
            let url = url.as_string().unwrap_or_default();
            let server =
                IceServer::new(&url, credential).map_err(|error| failure("bad-ice-server", &error))?;
            servers.push(server);
        }
    }
    if servers.len() > IceServer::MAX {
        return Err(failure("bad-ice-server", &format!("at most {} ICE servers", IceServer::MAX)));
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::read_hex;

    #[test]
    fn room_ids_are_read_whole_or_not_at_all() {
        assert_eq!(read_hex(&"0f".repeat(32)), Some([15; 32]));
        assert_eq!(read_hex(&"0F".repeat(32)), Some([15; 32]));
        for bad in ["", "0f", &"0f".repeat(33), &"+f".repeat(32), &"ü".repeat(32)] {
            assert_eq!(read_hex(bad), None, "{bad}");
        }
    }
}
