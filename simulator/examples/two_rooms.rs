//! A scenario written in Rust: two rooms on four service nodes, one of which crashes while people talk.
//!
//! `cargo run --package unamed-simulator --example two_rooms`

use std::sync::Arc;
use std::time::Duration;

use unamed_protocol::crypto::IdealCrypto;
use unamed_protocol::{Event, Instant, Recipients, RoomKey};
use unamed_simulator::{Crash, NodeIndex, Simulation, SimulationConfig};

fn main() {
    let mut sim = Simulation::new(SimulationConfig::new(42, Arc::new(IdealCrypto)));

    // Four service nodes; each newcomer knows the first one.
    let services: Vec<NodeIndex> = (0..4).map(|_| sim.add_service()).collect();
    for (index, &service) in services.iter().enumerate() {
        sim.start(service, &services[..index.min(1)]);
        sim.run_until(sim.now() + Duration::from_secs(1));
    }
    sim.run_until(Instant::from_secs(20));

    // Six clients: three in each room.
    let keys = [RoomKey::from_seed([1; 32]), RoomKey::from_seed([2; 32])];
    let clients: Vec<NodeIndex> = (0..6).map(|_| sim.add_client()).collect();
    let mut rooms = Vec::new();
    for (index, &client) in clients.iter().enumerate() {
        sim.start(client, &[services[index % services.len()]]);
        let joined = sim.command(client, |node, now| node.join(&keys[index % 2], now));
        rooms.extend(joined.and_then(Result::ok));
    }
    sim.run_until(Instant::from_secs(40));

    // A service node dies without a word; everybody talks all the same.
    sim.crash(services[3], Crash::Host);
    for (&client, &room) in clients.iter().zip(&rooms) {
        let text = format!("node {} says hello", client.0);
        let sent = sim.command(client, |node, now| node.broadcast(room, text.into(), Recipients::All, now));
        if let Some(Err(error)) = sent {
            println!("node {}: {error}", client.0);
        }
    }
    sim.run_until(Instant::from_secs(90));

    for told in sim.take_events() {
        if let Event::RoomJoined { room, outcome } = &told.event {
            println!("{:?} node {} joined {room:?}: {outcome:?}", told.at, told.node.0);
        } else if let Event::Message(message) = &told.event {
            let text = String::from_utf8_lossy(&message.payload);
            println!("{:?} node {} hears in {:?}: {text}", told.at, told.node.0, message.room);
        }
    }
    println!("{} events, trace {}", sim.event_count(), sim.trace_hash());
    for violation in sim.violations().first() {
        println!("violated: {violation}");
    }
}
