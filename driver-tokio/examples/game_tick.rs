//! A game of 30 frames a second that never waits for the network. Shows a loop without async: the node runs on a thread of
//! its own, and each frame takes what came, sends at most one state, and blocks for neither.
//!
//! `cargo run -p unamed-tokio --example game_tick -- MULTIADDR ROOM --seconds 10`, next to an `unamed serve`, twice.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use unamed_tokio::{Address, MessageId, Network, PeerId, RoomEvent, RoomEvents, RoomSender, SendError};

const FRAMES_PER_SECOND: u32 = 30;
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / FRAMES_PER_SECOND as u64);
/// Whoever sends faster than a game can take does not hold up the frame.
const EVENTS_PER_FRAME_MAX: usize = 1000;

/// Moves about in a room, thirty times a second.
#[derive(Parser)]
struct Args {
    /// A service node to start from.
    #[arg(value_name = "MULTIADDR")]
    bootstrap: Address,
    /// The room's name.
    room: String,
    /// How long to play.
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u32,
}

type Position = (i32, i32);

struct Game {
    runtime: Handle,
    sender: RoomSender,
    events: RoomEvents,
    /// Where the others were last seen.
    others: BTreeMap<PeerId, Position>,
    /// The state that is being handed to the node.
    sending: Option<JoinHandle<Result<MessageId, SendError>>>,
    /// States that were out of date before they could be sent.
    skipped: u32,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("game_tick: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let network = runtime.block_on(Network::builder().bootstrap(args.bootstrap).start())?;
    let room = runtime.block_on(network.join(&args.room))?;
    println!("playing as {}", network.peer_id());
    let ((sender, events), runtime_handle) = (room.split(), runtime.handle().clone());
    let others = BTreeMap::new();
    let mut game = Game { runtime: runtime_handle, sender, events, others, sending: None, skipped: 0 };

    let mut next = Instant::now();
    for frame in 0..args.seconds.saturating_mul(FRAMES_PER_SECOND) {
        if !game.receive() {
            return Err("the room is left".into());
        }
        let angle = f64::from(frame) / f64::from(FRAMES_PER_SECOND);
        game.send(((100.0 * angle.cos()) as i32, (100.0 * angle.sin()) as i32));
        if frame % FRAMES_PER_SECOND == 0 {
            let others = game.others.iter().map(|(peer, (x, y))| format!("; {peer}: ({x}, {y})"));
            println!("frame {frame}: {} states skipped{}", game.skipped, others.collect::<String>());
        }
        // A frame that took too long is not made up for by a rush of short ones.
        next = (next + FRAME).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    runtime.block_on(network.shutdown());
    Ok(())
}

impl Game {
    /// Takes what came since the last frame, without waiting: a future that is not ready is put off to the next frame.
    /// `false` once the room is left.
    fn receive(&mut self) -> bool {
        for _ in 0..EVENTS_PER_FRAME_MAX {
            match self.events.next().now_or_never() {
                None => break,
                Some(None) => return false,
                Some(Some(RoomEvent::Message(message))) => {
                    if let Some(position) = decode(&message.payload) {
                        self.others.insert(message.from, position);
                    }
                }
                Some(Some(RoomEvent::MemberLeft { peer, .. })) => drop(self.others.remove(&peer)),
                // Who joins has no place yet, and what was missed is out of date: states follow.
                Some(Some(_)) => {}
            }
        }
        true
    }

    /// Sends this frame's state, unless an earlier one is not out: the next frame has a newer one.
    fn send(&mut self, (x, y): Position) {
        if self.sending.as_ref().is_some_and(|sending| !sending.is_finished()) {
            self.skipped += 1;
            return;
        }
        let (sender, state) = (self.sender.clone(), [x.to_be_bytes(), y.to_be_bytes()].concat());
        self.sending = Some(self.runtime.spawn(async move { sender.try_broadcast(state).await }));
    }
}

/// A state, or `None` for what is none: a room takes messages of any kind.
fn decode(payload: &[u8]) -> Option<Position> {
    let (x, y) = payload.split_first_chunk()?;
    Some((i32::from_be_bytes(*x), i32::from_be_bytes(y.try_into().ok()?)))
}
