//! A service node under many connections with traffic and churn: what it takes of the machine does not grow.
//!
//! `UNAMED_SOAK_SECONDS` and `UNAMED_SOAK_CONNECTIONS` say how long and how many; `cargo xtask soak` sets them. Clients in
//! this process, each a node with a WebSocket of its own, are four to a room and talk through circuits that the service
//! node relays. Once all are linked, each second some of them say something and some of them go, each replaced by a new one;
//! each second the service node's resident memory, file descriptors and tasks are sampled. The first quarter is for warming
//! up; [`trend`] says what counts as growth in the rest.
#![cfg(target_os = "linux")]

use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use unamed_tests::{Process, Scratch, Service, Usage, may_open};
use unamed_tokio::{Address, Network, Room, RoomKey, RoomSender};

use crate::trend::{BLOCKS, Trend};

mod trend;

/// Members of a room.
const ROOM: usize = 4;
/// Clients that start at a time.
const STARTING: usize = 32;
/// By when a client must be linked.
const LINKED: Duration = Duration::from_secs(60);

/// One client. Dropping it shuts it down.
#[derive(Debug)]
struct Client {
    network: Network,
    sender: RoomSender,
    /// Takes the room's events, and with them a handle of the node.
    listener: AbortHandle,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// What was counted at the clients' side.
#[derive(Debug, Default)]
struct Talk {
    said: u64,
    refused: u64,
    churned: u64,
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

fn room_key(place: usize) -> RoomKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&((place / ROOM) as u64).to_be_bytes());
    RoomKey::from_seed(seed)
}

/// A client at this place, linked and in its room.
async fn client(place: usize, address: Address) -> Client {
    let builder = Network::builder().bootstrap(address).webrtc(false);
    let network = builder.start().await.unwrap_or_else(|error| panic!("client {place}: {error}"));
    let join = timeout(LINKED, network.join_key(room_key(place))).await;
    let room: Room =
        join.expect("a join is answered").unwrap_or_else(|error| panic!("client {place}: {error}"));
    let (sender, mut events) = room.split();
    let listener = tokio::spawn(async move { while events.next().await.is_some() {} }).abort_handle();
    Client { network, sender, listener }
}

/// The service node's side of one second.
fn sample(process: &mut Process) -> ([f64; 3], u64) {
    let metrics = process.metrics();
    let usage = Usage::of(process.id()).expect("it runs");
    let number = |name: &str| metrics[name].as_u64().unwrap_or_else(|| panic!("{name}: {metrics}"));
    ([usage.resident_bytes as f64, usage.descriptors as f64, number("tasks") as f64], number("links"))
}

/// One second of talk and churn: a twentieth of the clients speak, and one in four hundred, at least one, is replaced.
async fn second(clients: &mut [Client], tick: usize, address: &Address, talk: &mut Talk) {
    let count = clients.len();
    for speaker in (0..count.div_ceil(20)).map(|step| (tick * 31 + step * 20) % count) {
        let line = vec![b'x'; 64 + (tick + speaker) % 2000];
        match clients[speaker].sender.try_broadcast(line).await {
            Ok(_) => talk.said += 1,
            Err(_) => talk.refused += 1,
        }
    }
    let mut fresh = JoinSet::new();
    let (leavers, mut ends) = (count.div_ceil(400), JoinSet::new());
    for place in (0..leavers).map(|step| (tick * 17 + step * 97) % count) {
        let (leaver, address) = (clients[place].network.clone(), address.clone());
        // Every other one is asked to end, and others are dropped when their place is taken.
        if tick.is_multiple_of(2) {
            ends.spawn(async move { leaver.shutdown().await });
        }
        fresh.spawn(async move { (place, client(place, address).await) });
    }
    while let Some(joined) = fresh.join_next().await {
        let (place, client) = joined.expect("a client starts");
        clients[place] = client;
        talk.churned += 1;
    }
    while ends.join_next().await.is_some() {}
}

async fn connect(count: usize, address: &Address) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    let mut starting = JoinSet::new();
    for place in 0..count {
        if starting.len() >= STARTING {
            clients.extend(starting.join_next().await.map(|client| client.expect("a client starts")));
        }
        let address = address.clone();
        starting.spawn(async move { (place, client(place, address).await) });
    }
    clients.extend(starting.join_all().await);
    clients.sort_by_key(|(place, _)| *place);
    clients.into_iter().map(|(_, client)| client).collect()
}

/// What a series may grow by: the allocator of a process under churn settles slowly, and who comes overlaps with who goes.
fn tolerances(first: [f64; 3], connections: f64) -> [f64; 3] {
    let [resident, ..] = first;
    [resident * 0.05 + 4.0 * 1024.0 * 1024.0, 8.0 + connections / 50.0, 16.0 + connections / 10.0]
}

fn report(names: [&str; 3], trends: &[Trend], tolerances: [f64; 3]) {
    println!("{:<18} {:>14} {:>14} {:>6} {:>14} {:>14}", "", "first", "last", "S", "growth", "tolerated");
    for ((name, trend), tolerance) in names.iter().zip(trends).zip(tolerances) {
        let Trend { first, last, s, growth } = trend;
        println!("{name:<18} {first:>14.0} {last:>14.0} {s:>6} {growth:>14.0} {tolerance:>14.0}");
    }
}

#[test]
fn what_a_service_node_takes_does_not_grow() {
    let seconds = number("UNAMED_SOAK_SECONDS", 24);
    let connections = usize::try_from(number("UNAMED_SOAK_CONNECTIONS", 100)).expect("a count");
    assert!(seconds >= 2 * BLOCKS as u64, "too short for a trend: {seconds} s");
    may_open(3 * connections as u64 + 500).expect("as many files as connections");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(soak(seconds, connections));
}

async fn soak(seconds: u64, connections: usize) {
    let scratch = Scratch::new().expect("a folder");
    let mut service = Service::start_with(&scratch, "service", &["--listen", "127.0.0.1:0", "--stun", "off"]);
    let address: Address = service.address.parse().expect("an address");
    let started = Instant::now();
    let mut clients = connect(connections, &address).await;
    println!("{connections} clients linked after {:.1} s", started.elapsed().as_secs_f64());

    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut samples, mut talk, mut fewest) = (Vec::new(), Talk::default(), u64::MAX);
    let until = Instant::now() + Duration::from_secs(seconds);
    for tick in 0.. {
        ticks.tick().await;
        // Enough for a trend, however slow the machine.
        if Instant::now() >= until && samples.len() >= 2 * BLOCKS {
            break;
        }
        second(&mut clients, tick, &address, &mut talk).await;
        let (sampled, links) = sample(&mut service.process);
        fewest = fewest.min(links);
        if tick % 30 == 0 {
            let [resident, descriptors, tasks] = sampled;
            let mebibytes = resident / 1024.0 / 1024.0;
            println!(
                "{tick:>6} s  {mebibytes:>8.1} MiB  {descriptors:>6} descriptors  {tasks:>6} tasks  {links:>6} links"
            );
        }
        samples.push(sampled);
    }
    let warm = samples.split_off(samples.len() / 4);
    let trends: Vec<Trend> = (0..3)
        .map(|which| Trend::of(&warm.iter().map(|sampled| sampled[which]).collect::<Vec<f64>>()))
        .collect();
    let tolerances = tolerances(warm[0], connections as f64);
    println!("{talk:?}, never fewer than {fewest} links, {} samples", warm.len());
    report(["resident bytes", "descriptors", "tasks"], &trends, tolerances);
    assert!(fewest >= connections as u64, "{fewest} links were left of {connections} clients'");
    assert!(talk.said > 0 && talk.churned > 0, "{talk:?}");
    let counters = service.process.metrics()["counters"].clone();
    assert!(
        counters["circuit_bytes_relayed"].as_u64().is_some_and(|bytes| bytes > 0),
        "they talk: {counters}"
    );
    for (trend, tolerance) in trends.iter().zip(tolerances) {
        assert!(!trend.grows(tolerance), "{trend:?} grows by more than {tolerance}");
    }
    clients.clear();
    service.process.terminate();
    assert_eq!(service.process.finish(), 0, "{}", service.process.stderr());
}
