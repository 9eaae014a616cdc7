//! Attacks by many identities, which cost nothing: tables, address books, bootstraps. The shares of malicious nodes at a
//! thousand service nodes are in `simulator/scenarios/malicious.toml`; these are the small ones.

use bytes::Bytes;
use unamed_protocol::NodeKind;
use unamed_simulator::{Crash, NodeIndex};

use super::intruder::{Intruder, Persona, S, rogue};
use crate::dsl::{World, ms, secs};

/// Home claims of identities that are all in one /24.
fn neighbourhood(world: &World, from: u32, count: u32) -> Vec<Bytes> {
    let sybils = (from..from + count).map(|number| Persona::service(world, number));
    sybils
        .enumerate()
        .map(|(index, sybil)| {
            let (port, last) = (3001 + index as u16, (from + index as u32) % 256);
            sybil.home_claim(world, &format!("ip4/203.0.115.{last}"), port)
        })
        .collect()
}

#[test]
fn a36_bucket_poisoning_from_one_network() {
    let mut world = World::new(12);
    let mut rogue = rogue(&mut world, S, 1);
    let evicted = world.count(S, "links_evicted");
    let (crowded, opened) = (world.count(S, "contacts_crowded"), world.count(S, "links_failed"));
    for round in 0..40_u32 {
        let neighbours = neighbourhood(&world, 1000 + round * 16, 16);
        let hello = rogue.me.hello(&world, neighbours);
        rogue.say(&mut world, &hello);
    }
    rogue.wait(&mut world, secs(60));
    let taken = 640 - (world.count(S, "contacts_crowded") - crowded);
    // Ten, two in a bucket, and those that were among the nearest when they were named.
    assert!(taken <= 64, "{taken} of 640 were taken as contacts");
    let dials = world.count(S, "links_failed") - opened;
    assert!(dials <= 2 * taken, "{dials} dials in vain, of {taken} contacts");
    assert_eq!(world.count(S, "links_evicted"), evicted, "nobody who was linked gave way");
}

#[test]
fn a36_links_from_one_network() {
    let mut world = World::new(30);
    let crowded = world.count(S, "contacts_crowded");
    let mut sybils = Vec::new();
    for number in 0..50_u32 {
        let me = Persona::service(&world, 5000 + number);
        let ip = std::net::Ipv4Addr::new(203, 0, 115, number as u8);
        sybils.push(Intruder::dial_from(&mut world, ip.into(), S, me));
    }
    let linked = sybils.iter().filter(|sybil| sybil.is_linked(&world)).count();
    let refused = world.count(S, "contacts_crowded") - crowded;
    // Ten, and those to whom this node is among the nearest: eight of thirty.
    assert!(linked <= 30 && refused >= 10, "{linked} links, {refused} refused");
    // From networks of their own they would all have been let in.
    let me = Persona::service(&world, 6000);
    let elsewhere = Intruder::dial_from(&mut world, [203, 0, 116, 1].into(), S, me);
    assert!(elsewhere.is_linked(&world));
}

#[test]
fn a39_eclipse_at_restart_with_a_poisoned_address_book() {
    let mut world = World::new(8);
    let member = NodeIndex(5);
    world.join(member, 1);
    world.pass(secs(5));
    let victim = NodeIndex(7);
    let mut rogue = rogue(&mut world, victim, 1);
    // Claims of ever new identities, each in a network of its own, where nobody is.
    for round in 0..40_u32 {
        let sybils = (0..16).map(|index| Persona::service(&world, 1000 + round * 16 + index));
        let claims = sybils.enumerate().map(|(index, sybil)| {
            let host = format!("ip4/198.{}.{}.9", 20 + round, index);
            sybil.home_claim(&world, &host, 3001)
        });
        let neighbours: Vec<Bytes> = claims.collect();
        let hello = rogue.me.hello(&world, neighbours);
        rogue.say(&mut world, &hello);
    }
    rogue.wait(&mut world, secs(70));
    world.sim.crash(victim, Crash::Process);
    world.pass(secs(5));
    world.sim.restart(victim, true);
    world.pass(secs(60));
    let honest: Vec<_> = world.sim.nodes().map(|node| world.sim.peer_id(node)).collect();
    let linked = world.node(victim).links().iter().filter(|link| honest.contains(&link.peer)).count();
    assert!(linked >= 5, "{linked} honest links");
    assert_eq!(world.find(victim, 1).members, [world.sim.peer_id(member)]);
}

#[test]
fn a40_cold_boot_with_four_fifths_dead_or_hostile_bootstraps() {
    let mut world = World::new(10);
    let member = NodeIndex(1);
    world.join(member, 1);
    world.pass(secs(5));
    // Eight of ten fall silent at once; the newcomer knows these ten and nobody else.
    for silent in 2..10 {
        world.sim.crash(NodeIndex(silent), Crash::Host);
    }
    let all: Vec<NodeIndex> = (0..10).map(NodeIndex).collect();
    let newcomer = world.sim.add_client();
    world.sim.start(newcomer, &all);
    world.pass(secs(60));
    assert_eq!(world.find(newcomer, 1).members, [world.sim.peer_id(member)]);
}

#[test]
fn a41_covert_flash() {
    let mut world = World::new(12);
    let members = world.members_at(1, [0, 4]);
    // An hour of good behaviour; then a quarter of the nodes say nothing to anybody, from one moment to the next.
    world.pass(secs(3600));
    for turned in [2, 7, 9] {
        world.sim.crash(NodeIndex(turned), Crash::Host);
    }
    world.pass(ms(1));
    for seeker in [NodeIndex(1), NodeIndex(3), NodeIndex(8)] {
        let found = world.find(seeker, 1).members;
        assert!(
            members.iter().any(|member| found.contains(&world.sim.peer_id(*member))),
            "{seeker:?}: {found:?}"
        );
    }
    let homes = world.node(members[0]).routing_table().homes.len();
    assert_eq!((world.sim.kind(members[0]), homes), (NodeKind::Client, 3));
}
