//! The rules of passage, on carriers between nodes that do not run: what is on its way is read from the queue.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::crypto::IdealCrypto;
use unamed_protocol::{
    Address, Carrier, DialError, Disconnect, Event, Host, Instant, LinkId, LinkReasons, Output, Target,
};

use super::carrier::{CarrierId, EndState, Owner, Parcel, Side};
use super::{Condition, Crash, NodeIndex, Pending, Simulation, SimulationConfig};
use crate::network::Latency;

const DELAY_MS: u64 = 10;
const BUFFER: u64 = 256 * 1024;

fn two_nodes() -> Simulation {
    let mut config = SimulationConfig::new(1, Arc::new(IdealCrypto));
    config.network.latency = Latency::Fixed(Duration::from_millis(DELAY_MS));
    let mut sim = Simulation::new(config);
    sim.add_service();
    sim.add_service();
    sim
}

/// A carrier from node 0 (its link 5) to node 1 (its link 6), open at both ends, and nothing in the queue.
fn open_carrier(sim: &mut Simulation) -> CarrierId {
    let id = sim.begin_dial(Owner::Node(0), LinkId(5), Owner::Node(1));
    let carrier = sim.carriers.get_mut(id).expect("it was made");
    for (side, link) in [(Side::Dialler, 5), (Side::Acceptor, 6)] {
        let end = carrier.end_mut(side);
        (end.link, end.state, end.credit) = (LinkId(link), EndState::Open, BUFFER);
    }
    sim.slots[0].links.insert(LinkId(5), (id, Side::Dialler));
    sim.slots[1].links.insert(LinkId(6), (id, Side::Acceptor));
    while sim.queue.pop().is_some() {}
    id
}

fn frame(bytes: usize) -> Bytes {
    vec![7; bytes].into()
}

/// All that is on its way: when it arrives (ms), at which side, what it is. Time stands still.
fn on_the_way(sim: &mut Simulation) -> Vec<(u64, Side, Parcel)> {
    let mut found = Vec::new();
    while let Some((at, pending)) = sim.queue.pop() {
        if let Pending::Arrival(_, side, parcel) = pending {
            let parcel = sim.parcels.take(parcel).expect("it is on its way");
            found.push((at.as_millis(), side, parcel));
        }
    }
    found
}

/// Hands everything in the queue over, as `next` does, until nothing is left.
fn run_dry(sim: &mut Simulation) {
    sim.run_until(sim.now() + Duration::from_secs(60));
}

#[test]
fn frames_keep_their_order_and_a_close_comes_after_them() {
    let mut sim = two_nodes();
    sim.config.network.bandwidth = Some(1_000_000);
    let id = open_carrier(&mut sim);
    // 10,000 bytes take 10 ms on the line, 100 bytes 0.1 ms; the small one waits for the large one.
    for bytes in [10_000, 100] {
        sim.perform(0, Output::Send(LinkId(5), frame(bytes)));
    }
    sim.close_end(id, Side::Dialler, Some(Disconnect::Closed));
    let expected = [
        (20, Side::Acceptor, Parcel::Frame(frame(10_000))),
        (20, Side::Acceptor, Parcel::Frame(frame(100))),
        (20, Side::Acceptor, Parcel::Closed(Disconnect::Closed)),
    ];
    assert_eq!(on_the_way(&mut sim), expected);
}

#[test]
fn credit_is_spent_by_sending_and_granted_anew_in_quarters() {
    let mut sim = two_nodes();
    let id = open_carrier(&mut sim);
    let credit = |sim: &Simulation| sim.carriers.get(id).expect("it is open").end(Side::Dialler).credit;
    for sent in 1..=5 {
        sim.perform(0, Output::Send(LinkId(5), frame(16_000)));
        assert_eq!(credit(&sim), BUFFER - sent * 16_000);
    }
    // Four frames do not fill a quarter (65,536 bytes), five do.
    sim.run_until(Instant::from_millis(DELAY_MS));
    assert_eq!(credit(&sim), BUFFER - 80_000);
    sim.run_until(Instant::from_millis(2 * DELAY_MS));
    assert_eq!(credit(&sim), BUFFER);
    assert_eq!(sim.violations().count(), 0);
}

#[test]
fn what_breaks_the_driving_contract_is_a_violation() {
    let sends: [(&str, &[usize], u64); 4] = [
        ("within credit", &[16_384; 16], 0),
        ("beyond credit", &[16_384; 17], 1),
        ("too large a frame", &[16_385], 1),
        ("both", &[300_000], 2),
    ];
    for (what, frames, violations) in sends {
        let mut sim = two_nodes();
        open_carrier(&mut sim);
        for &bytes in frames {
            sim.perform(0, Output::Send(LinkId(5), frame(bytes)));
        }
        assert_eq!(sim.violations().count(), violations, "{what}: {:?}", sim.violations().first());
    }
    let mut sim = two_nodes();
    open_carrier(&mut sim);
    let reason = unamed_protocol::CloseReason::Unwanted;
    sim.perform(0, Output::Close(LinkId(5), reason));
    assert_eq!(sim.violations().count(), 0);
    sim.perform(0, Output::Close(LinkId(5), reason));
    sim.perform(0, Output::Send(LinkId(5), frame(1)));
    assert_eq!(sim.violations().count(), 2);
}

#[test]
fn a_link_that_leads_to_somebody_else_is_a_violation() {
    let mut sim = two_nodes();
    open_carrier(&mut sim);
    for (peer, violations) in [(1, 0), (0, 1)] {
        let event = Event::LinkOpened {
            link: LinkId(5),
            peer: sim.peer_id(NodeIndex(peer)),
            carrier: Carrier::WebSocket,
            reasons: LinkReasons::default(),
        };
        sim.perform(0, Output::Event(event));
        assert_eq!(sim.violations().count(), violations);
    }
}

#[test]
fn a_boot_number_that_does_not_grow_is_a_violation() {
    let mut sim = two_nodes();
    let node = NodeIndex(0);
    sim.start(node, &[]);
    for (before, violations) in [(0, 0), (u64::MAX, 1)] {
        sim.crash(node, Crash::Process);
        sim.slots[0].boot = sim.slots[0].boot.max(before);
        sim.restart(node, true);
        assert_eq!(sim.violations().count(), violations, "{:?}", sim.violations().first());
    }
}

#[test]
fn a_partition_holds_back_and_healing_releases_in_order() {
    let mut sim = two_nodes();
    let id = open_carrier(&mut sim);
    sim.transmit(id, Side::Dialler, Parcel::Frame(frame(1)));
    let cut = sim.partition(&[NodeIndex(0)], &[NodeIndex(1)]).expect("room for a cut");
    sim.transmit(id, Side::Dialler, Parcel::Frame(frame(2)));
    sim.transmit(id, Side::Acceptor, Parcel::Frame(frame(3)));
    assert_eq!(on_the_way(&mut sim), [(10, Side::Acceptor, Parcel::Frame(frame(1)))]);
    sim.transmit(id, Side::Dialler, Parcel::Frame(frame(4)));
    sim.run_until(Instant::from_secs(1));
    sim.heal(cut);
    let expected = [
        (1010, Side::Acceptor, Parcel::Frame(frame(2))),
        (1010, Side::Acceptor, Parcel::Frame(frame(4))),
        (1010, Side::Dialler, Parcel::Frame(frame(3))),
    ];
    assert_eq!(on_the_way(&mut sim), expected);
    assert!(sim.held.is_empty());
}

#[test]
fn a_one_way_partition_holds_back_one_way() {
    let mut sim = two_nodes();
    let id = open_carrier(&mut sim);
    sim.partition_one_way(&[NodeIndex(0)], &[NodeIndex(1)]).expect("room for a cut");
    sim.transmit(id, Side::Dialler, Parcel::Frame(frame(1)));
    sim.transmit(id, Side::Acceptor, Parcel::Frame(frame(2)));
    assert_eq!(on_the_way(&mut sim), [(10, Side::Dialler, Parcel::Frame(frame(2)))]);
}

#[test]
fn both_ends_closed_leave_nothing_behind() {
    let mut sim = two_nodes();
    let id = open_carrier(&mut sim);
    sim.partition(&[NodeIndex(0)], &[NodeIndex(1)]).expect("room for a cut");
    sim.perform(0, Output::Send(LinkId(5), frame(1)));
    sim.close_end(id, Side::Dialler, Some(Disconnect::Closed));
    assert_eq!((sim.carrier_count(), sim.held.len()), (1, 1));
    sim.close_end(id, Side::Acceptor, Some(Disconnect::Closed));
    assert_eq!((sim.carrier_count(), sim.held.len()), (0, 0));
}

#[test]
fn a_crashed_process_is_reset_at_once_and_a_crashed_host_when_it_is_back() {
    let mut sim = two_nodes();
    open_carrier(&mut sim);
    sim.abandon(1, Some(Disconnect::Reset));
    assert_eq!(on_the_way(&mut sim), [(10, Side::Dialler, Parcel::Closed(Disconnect::Reset))]);

    let mut sim = two_nodes();
    open_carrier(&mut sim);
    sim.slots[1].condition = Condition::Crashed(Crash::Host);
    sim.abandon(1, None);
    sim.perform(0, Output::Send(LinkId(5), frame(1)));
    run_dry(&mut sim);
    assert!(sim.slots[0].links.contains_key(&LinkId(5)), "nothing was said");
    // The host is back; two frames meet a system that does not know the connection, one reset answers.
    sim.slots[1].condition = Condition::Left;
    sim.perform(0, Output::Send(LinkId(5), frame(1)));
    sim.perform(0, Output::Send(LinkId(5), frame(1)));
    run_dry(&mut sim);
    assert!(!sim.slots[0].links.contains_key(&LinkId(5)));
    assert_eq!(sim.carrier_count(), 0);
}

/// How a dial of node 0 fails, and after how many ms.
fn failed_dial(sim: &mut Simulation, address: Address) -> Option<(u64, DialError)> {
    sim.perform(0, Output::Dial(LinkId(9), Target::WebSocket(address)));
    loop {
        let (at, pending) = sim.queue.pop()?;
        sim.now = at;
        match pending {
            Pending::Knock(id) => assert_eq!(sim.knock(id), None),
            Pending::Upgrade(_) => return None,
            Pending::Arrival(_, side, parcel) => match (side, sim.parcels.take(parcel)) {
                (Side::Dialler, Some(Parcel::DialFailed(error))) => return Some((at.as_millis(), error)),
                _ => return None,
            },
            Pending::Describe(_) | Pending::Check(_) | Pending::IceFailed(_) => {
                panic!("nobody dials by WebRTC")
            }
            Pending::Detection(..) | Pending::Wake { .. } | Pending::Gone { .. } => {}
            Pending::Read(_) | Pending::Action(_) => {}
        }
    }
}

#[test]
fn dials_fail_as_the_target_is() {
    let conditions = [
        (Condition::Fresh, Some((20, DialError::Refused))),
        (Condition::Left, Some((20, DialError::Refused))),
        (Condition::Crashed(Crash::Process), Some((20, DialError::Refused))),
        (Condition::Crashed(Crash::Host), Some((3000, DialError::Timeout))),
    ];
    for (condition, expected) in conditions {
        let mut sim = two_nodes();
        sim.slots[1].condition = condition;
        let address = sim.address(NodeIndex(1)).expect("a service node").clone();
        assert_eq!(failed_dial(&mut sim, address), expected, "{condition:?}");
    }
    let mut sim = two_nodes();
    let address = sim.address(NodeIndex(1)).expect("a service node").clone();
    let elsewhere = Address { port: 1, ..address.clone() };
    assert_eq!(failed_dial(&mut sim, elsewhere), Some((3000, DialError::Timeout)));

    let mut sim = two_nodes();
    let named = Address { host: Host::Dns("example.org".into()), ..address.clone() };
    assert_eq!(failed_dial(&mut sim, named), Some((0, DialError::Unresolved)));

    let mut sim = two_nodes();
    sim.partition_one_way(&[NodeIndex(1)], &[NodeIndex(0)]).expect("room for a cut");
    assert_eq!(failed_dial(&mut sim, address), Some((3000, DialError::Timeout)));
}

#[test]
fn a_node_is_dialled_in_three_delays_and_connected_after_four() {
    let mut sim = two_nodes();
    sim.restart(NodeIndex(1), false);
    let raw = sim.open_raw(NodeIndex(1));
    sim.run_until(Instant::from_millis(3 * DELAY_MS - 1));
    assert_eq!(sim.slots[1].links.len(), 0);
    sim.run_until(Instant::from_millis(3 * DELAY_MS));
    assert_eq!((sim.slots[1].links.len(), sim.raw_state(raw)), (1, super::RawState::Opening));
    sim.run_until(Instant::from_millis(4 * DELAY_MS));
    assert_eq!(sim.raw_state(raw), super::RawState::Open);
    sim.raw_close(raw);
    sim.run_until(Instant::from_millis(5 * DELAY_MS));
    assert_eq!((sim.slots[1].links.len(), sim.carrier_count()), (0, 0));
}

#[test]
fn a_transport_that_detects_silence_tells_it_in_its_time() {
    use crate::network::TransportDetection;

    let lost_after = |break_it: fn(&mut Simulation)| {
        let mut sim = two_nodes();
        let [service, other] = [10, 30].map(Duration::from_secs);
        sim.config.network.detection = Some(TransportDetection { service, other });
        open_carrier(&mut sim);
        break_it(&mut sim);
        let (at, pending) = sim.queue.pop()?;
        let Pending::Detection(id, side) = pending else { return None };
        sim.now = at;
        sim.detection(id, side);
        let open = sim.slots[0].links.contains_key(&LinkId(5));
        (!open).then_some(at)
    };
    let crashed = lost_after(|sim| {
        sim.slots[1].condition = Condition::Crashed(Crash::Host);
        sim.detect_silence_of(1);
        sim.abandon(1, None);
    });
    let deaf = lost_after(|sim| {
        sim.partition_one_way(&[NodeIndex(1)], &[NodeIndex(0)]).expect("room for a cut");
    });
    for at in [crashed, deaf] {
        let at = at.expect("it is told");
        assert!((5_000..=10_000).contains(&at.as_millis()), "{at:?}");
    }
    // A partition that heals before is not noticed.
    let healed = lost_after(|sim| {
        let cut = sim.partition(&[NodeIndex(0)], &[NodeIndex(1)]).expect("room for a cut");
        sim.heal(cut);
    });
    assert_eq!(healed, None);
}

#[test]
fn an_uplink_is_shared_by_all_carriers_of_a_node() {
    let mut sim = two_nodes();
    sim.config.network.uplink = Some(100_000);
    let id = open_carrier(&mut sim);
    sim.slots[1].condition = Condition::Up;
    let other = sim.begin_dial(Owner::Node(0), LinkId(7), Owner::Node(1));
    while sim.queue.pop().is_some() {}
    for carrier in [id, other] {
        // 1000 bytes take 10 ms.
        sim.transmit(carrier, Side::Dialler, Parcel::Frame(frame(1000)));
    }
    let arrivals: Vec<u64> = on_the_way(&mut sim).iter().map(|arrival| arrival.0).collect();
    assert_eq!(arrivals, [2 * DELAY_MS, 3 * DELAY_MS]);
}

#[test]
fn who_reads_slowly_takes_frames_in_order_at_its_rate_and_grants_credit_then() {
    let mut sim = two_nodes();
    let id = open_carrier(&mut sim);
    let unread =
        |sim: &Simulation| sim.carriers.get(id).map(|carrier| carrier.end(Side::Acceptor).unacknowledged);
    sim.read_slowly(NodeIndex(1), 10_000);
    for bytes in [1000, 2000, 3000] {
        sim.perform(0, Output::Send(LinkId(5), frame(bytes)));
    }
    sim.perform(1, Output::Send(LinkId(6), frame(500)));
    // They arrive after 10 ms, and take 100, 200 and 300 ms to read; what the node sends is not concerned.
    for (ms, read) in [(109, 0), (110, 1000), (309, 1000), (310, 3000), (609, 3000), (610, 6000)] {
        sim.run_until(Instant::from_millis(ms));
        assert_eq!(unread(&sim), Some(read), "after {ms} ms");
    }
    assert_eq!(sim.carriers.get(id).map(|carrier| carrier.end(Side::Dialler).unacknowledged), Some(500));
}

#[test]
fn who_reads_nothing_takes_all_in_order_once_it_reads_again() {
    let mut sim = two_nodes();
    let id = open_carrier(&mut sim);
    sim.read_slowly(NodeIndex(1), 0);
    assert!(sim.reads_slowly(NodeIndex(1)) && !sim.reads_slowly(NodeIndex(0)));
    // A quarter of the buffer, which would be granted anew, and then the end.
    for _ in 0..5 {
        sim.perform(0, Output::Send(LinkId(5), frame(16_000)));
    }
    sim.perform(0, Output::Close(LinkId(5), unamed_protocol::CloseReason::Unwanted));
    run_dry(&mut sim);
    let state = |sim: &Simulation| sim.carriers.get(id).map(|carrier| carrier.end(Side::Acceptor).state);
    assert_eq!(state(&sim), Some(EndState::Open));
    assert_eq!(sim.carriers.get(id).map(|carrier| carrier.end(Side::Acceptor).unacknowledged), Some(0));
    sim.read_freely(NodeIndex(1));
    assert_eq!(state(&sim), None, "the end was read after the frames, and the carrier is over");
    assert!(!sim.reads_slowly(NodeIndex(1)));
    assert_eq!(sim.violations().count(), 0);
}
