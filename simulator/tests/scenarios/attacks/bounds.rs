//! What distinct keys make a node hold: after very many no more than after the first thousands.
//!
//! An intruder says each kind of message over and over, each time with other ids, claims and numbers. The most that stands
//! in each collection of the node, and its bytes, is looked at early and late. `UNAMED_HOSTILE_KEYS` says how many keys
//! each collection is shown; `cargo xtask bounds` runs it with a million.

use std::collections::BTreeMap;
use std::time::Instant;

use unamed_protocol::Held;
use unamed_simulator::SimulationConfig;

use super::amplification::{
    Case, link_cases, lookup_cases, overlay_cases, room_cases, routed_cases, stage_in,
};
use super::intruder::{Intruder, Persona, S, lenient};
use crate::dsl::{World, ms, secs};

/// Messages said in one go.
const AT_ONCE: u64 = 50;

fn keys() -> u64 {
    match std::env::var("UNAMED_HOSTILE_KEYS") {
        Ok(text) => text.parse().expect("UNAMED_HOSTILE_KEYS is a number"),
        Err(_) => 3_000,
    }
}

/// Bounds that a few hundred keys reach. Rates do not hold the flood back, so that the bounds must.
fn small(config: &mut SimulationConfig) {
    lenient(config);
    let service = &mut config.service;
    service.routing.claims_max = 300;
    service.routing.seen_max = 256;
    service.routing.waiting_bytes_max = 64 * 1024;
    (service.routing.contacts_max, service.routing.addresses_max) = (64, 64);
    service.rooms.retain_bytes_max = 64 * 1024;
}

/// The most that stood in each collection: entries, bytes.
type Most = BTreeMap<&'static str, (usize, usize)>;

fn look(world: &World, most: &mut Most) {
    for Held { what, entries, bytes } in world.node(S).held() {
        let so_far = most.entry(what).or_default();
        *so_far = (so_far.0.max(entries), so_far.1.max(bytes));
    }
}

/// Whether a key is among those after which the node is looked at: the second half of the early ones, or as many late ones.
fn window(number: u64, keys: u64) -> Option<bool> {
    let early = (keys / 3).min(10_000);
    let half = early / 2;
    match number {
        _ if number >= keys - half => Some(true),
        _ if (half..early).contains(&number) => Some(false),
        _ => None,
    }
}

/// What grew by more than is said in one go, since the node is looked at between two.
fn grown(name: &str, keys: u64, early: &Most, late: &Most) -> Vec<String> {
    let bytes = |most: &Most| most.values().map(|(_, bytes)| bytes).sum::<usize>();
    println!("{name}: {keys} keys, at most {} bytes early and {} late", bytes(early), bytes(late));
    let grew = |what: &&&str| {
        let ((before, before_bytes), (after, after_bytes)) = (early[**what], late[**what]);
        let each = after_bytes.checked_div(after).unwrap_or(0);
        let go = AT_ONCE as usize;
        after > before + go || after_bytes > before_bytes + go * each
    };
    let grown = late.keys().filter(grew);
    grown.map(|what| format!("{name}: {what} grew from {:?} to {:?}", early[*what], late[*what])).collect()
}

/// Resident memory of this process, MiB.
fn resident_mib() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) / 256
}

fn flood((name, service, member, _, say): Case) -> Vec<String> {
    let (mut world, mut intruder) = stage_in(World::with(6, small), service, member);
    let (mut early, mut late) = (Most::new(), Most::new());
    let (keys, began) = (keys(), Instant::now());
    for number in 0..keys {
        let message = say(&world, &intruder, number);
        intruder.queue(&world, &message);
        if number % AT_ONCE == AT_ONCE - 1 {
            intruder.wait(&mut world, ms(50));
            intruder.forget();
            world.forget();
            match window(number, keys) {
                Some(true) => look(&world, &mut late),
                Some(false) => look(&world, &mut early),
                None => {}
            }
        }
    }
    assert!(intruder.is_linked(&world), "{name}: {:?}", intruder.closed());
    println!("{name}: {:.1} s, {} MiB resident", began.elapsed().as_secs_f64(), resident_mib());
    grown(name, keys, &early, &late)
}

fn assert_bounded(cases: impl IntoIterator<Item = Case>) {
    let grown: Vec<String> = cases.into_iter().flat_map(flood).collect();
    assert!(grown.is_empty(), "{}", grown.join("\n"));
}

#[test]
fn routed_messages_with_ever_new_keys_fill_nothing() {
    assert_bounded(lookup_cases().into_iter().chain(routed_cases()));
}

#[test]
fn link_messages_with_ever_new_keys_fill_nothing() {
    assert_bounded(overlay_cases().into_iter().chain(link_cases()));
}

#[test]
fn room_messages_with_ever_new_keys_fill_nothing() {
    assert_bounded(room_cases());
}

/// A handshake costs as much as many messages: of very many keys, a twentieth are identities.
#[test]
fn ever_new_identities_fill_nothing() {
    let mut world = World::with(3, small);
    world.pass(secs(60));
    let keys = (keys() / 20).max(keys().min(3_000));
    let (mut early, mut late) = (Most::new(), Most::new());
    for number in 0..keys {
        let me = if number % 2 == 0 { Persona::client } else { Persona::service };
        let me = me(&world, 10_000 + number as u32);
        let mut intruder = Intruder::dial(&mut world, S, me);
        let hello = intruder.me.hello(&world, Vec::new());
        intruder.say(&mut world, &hello);
        assert!(intruder.is_linked(&world), "identity {number}: {:?}", intruder.closed());
        intruder.hang_up(&mut world);
        match window(number, keys) {
            Some(true) => look(&world, &mut late),
            Some(false) => look(&world, &mut early),
            None => {}
        }
    }
    let grown = grown("identities", keys, &early, &late);
    assert!(grown.is_empty(), "{}", grown.join("\n"));
}
