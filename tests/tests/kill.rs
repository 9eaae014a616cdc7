//! `unamed serve`, killed again and again while it starts, writes its state, runs, and ends.
//!
//! `UNAMED_KILL_TIMES` says how often, `UNAMED_KILL_SEED` from which seed; `cargo xtask kill` sets both. After each kill the
//! identity is the same file, and the state a whole one that knows the neighbour. The boot counter was set a year ahead, so
//! that it grows by what is on disk and not with the clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use unamed_protocol::Snapshot;
use unamed_tests::{Process, Scratch, Service, unamed};

/// When to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// So long after the start.
    Started(Duration),
    /// As soon as a snapshot is being written, and so long after.
    Writing(Duration),
    /// So long after it says that it listens, and has told its boot counter.
    Listening(Duration),
    /// So long after it was asked to end.
    Ending(Duration),
}

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn moment(&mut self, round: u64) -> Moment {
        let mut micros = |bound| Duration::from_micros(self.below(bound));
        match round % 4 {
            0 => Moment::Started(micros(25_000)),
            1 => Moment::Writing(micros(600)),
            2 => Moment::Listening(micros(20_000)),
            _ => Moment::Ending(micros(30_000)),
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// The node that is killed.
struct Victim {
    state: PathBuf,
    identity: Vec<u8>,
    peer: String,
    neighbour: String,
    /// The boot counter on disk.
    saved: u64,
}

/// What was hit.
#[derive(Debug, Default)]
struct Hits {
    before_listening: u64,
    amid_a_write: u64,
    saved_before: u64,
}

fn snapshot(state: &Path) -> Snapshot {
    let bytes = fs::read(state.join("state.bin")).expect("the state is there");
    Snapshot::decode(&bytes).unwrap_or_else(|error| panic!("the state is whole: {error}"))
}

fn pause(duration: Duration) {
    let until = Instant::now() + duration;
    // The scheduler's own pauses are as long as what is to be hit.
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

impl Victim {
    /// A first run that ends in good order, with a neighbour; then the boot counter is set ahead.
    fn prepare(scratch: &Scratch, neighbour: &Service) -> Self {
        let mut first = Service::start(scratch, "victim", &[&neighbour.address]);
        let mut neighbour_peer = neighbour.peer.clone();
        let state = PathBuf::from(scratch.file("victim"));
        while first.process.metrics()["links"] == 0 {
            std::thread::yield_now();
        }
        first.process.terminate();
        assert_eq!(first.process.finish(), 0, "{}", first.process.stderr());
        let mut ahead = snapshot(&state);
        ahead.boot += 365 * 86_400_000;
        fs::write(state.join("state.bin"), ahead.encode()).expect("the state is written");
        let identity = fs::read(state.join("identity.key")).expect("the identity is there");
        let (saved, peer) = (ahead.boot, first.peer.clone());
        neighbour_peer.insert_str(0, "/p2p/");
        Self { state, identity, peer, neighbour: neighbour_peer, saved }
    }

    fn kill_at(&mut self, moment: Moment, hits: &mut Hits) {
        let state = self.state.to_string_lossy().into_owned();
        let new = self.state.join("state.bin.new");
        let _ = fs::remove_file(&new);
        let command = unamed(["serve", "--json", "--listen", "127.0.0.1:0", "--state", &state]);
        let mut process = Process::spawn("victim", command).expect("it starts");
        let mut listening = false;
        match moment {
            Moment::Started(after) => pause(after),
            Moment::Writing(after) => {
                let until = Instant::now() + unamed_tests::DEADLINE;
                while !new.exists() && snapshot(&self.state).boot == self.saved {
                    assert!(Instant::now() < until, "it saves: {}", process.stderr());
                }
                pause(after);
            }
            Moment::Listening(after) | Moment::Ending(after) => {
                listening = true;
                let event = process.wait("its address", |event| event["event"] == "listening");
                assert_eq!(event["peer_id"], *self.peer, "the identity is the same");
                let boot = process.metrics()["boot"].as_u64().expect("a number");
                // A run whose number was not saved has signed nothing, and the next one may take it.
                assert_eq!(boot, self.saved + 1, "a number of its own");
                if matches!(moment, Moment::Ending(_)) {
                    process.terminate();
                }
                pause(after);
            }
        }
        process.kill();
        hits.before_listening += u64::from(!listening);
        hits.amid_a_write += u64::from(new.exists());
        self.check(hits, &process.stderr());
    }

    fn check(&mut self, hits: &mut Hits, stderr: &str) {
        assert!(!stderr.contains("panicked"), "{stderr}");
        let identity = fs::read(self.state.join("identity.key")).expect("the identity is there");
        assert_eq!(identity, self.identity, "the identity is untouched");
        let Snapshot { boot, addresses } = snapshot(&self.state);
        assert!(boot >= self.saved, "boot counters grow: {boot} after {}", self.saved);
        assert!(boot <= self.saved + 1, "each run takes one: {boot} after {}", self.saved);
        hits.saved_before += u64::from(boot > self.saved);
        self.saved = boot;
        let known = addresses.iter().any(|known| known.address.to_string().ends_with(&self.neighbour));
        assert!(known, "the neighbour is in the address book: {addresses:?}");
        let odd: Vec<_> = fs::read_dir(&self.state)
            .expect("the folder is there")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| {
                !["identity.key", "state.bin", "state.bin.new", "state.lock"].contains(&name.as_str())
            })
            .collect();
        assert!(odd.is_empty(), "nothing was set aside: {odd:?}");
    }
}

#[test]
fn a_service_node_killed_at_any_moment_keeps_its_identity_its_state_and_its_numbers() {
    let (times, seed) = (number("UNAMED_KILL_TIMES", 12), number("UNAMED_KILL_SEED", 1));
    let scratch = Scratch::new().expect("a folder");
    let neighbour = Service::start(&scratch, "neighbour", &[]);
    let mut victim = Victim::prepare(&scratch, &neighbour);
    let (mut random, mut hits) = (Random(seed), Hits::default());
    for round in 0..times {
        let moment = random.moment(round);
        victim.kill_at(moment, &mut hits);
    }
    println!(
        "{times} kills from seed {seed}: {} before it listened, {} amid a write, {} after its number was saved",
        hits.before_listening, hits.amid_a_write, hits.saved_before
    );

    // What is left is enough to go on from.
    let mut last = Service::start_with(&scratch, "victim", &["--listen", "127.0.0.1:0"]);
    assert_eq!(last.peer, victim.peer);
    let boot = last.process.metrics()["boot"].as_u64();
    assert_eq!(boot, Some(victim.saved + 1));
    let until = Instant::now() + unamed_tests::DEADLINE;
    while last.process.metrics()["links"] == 0 {
        assert!(Instant::now() < until, "it finds its neighbour: {}", last.process.stderr());
    }
    last.process.terminate();
    assert_eq!(last.process.finish(), 0, "{}", last.process.stderr());
}
