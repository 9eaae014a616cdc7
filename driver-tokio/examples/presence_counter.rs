//! How many are in a room, as it changes. Shows who is present by events alone, and how to catch up when some were missed.
//!
//! `cargo run -p unamed-tokio --example presence_counter -- MULTIADDR ROOM`, next to an `unamed serve`; Ctrl-C ends it. The
//! counter is a member too, and does not count itself.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use unamed_tokio::{Address, JoinOutcome, Network, PeerId, RoomEvent, RoomSender};

/// Says how many are in a room.
#[derive(Parser)]
struct Args {
    /// A service node to start from.
    #[arg(value_name = "MULTIADDR")]
    bootstrap: Address,
    /// The room's name.
    room: String,
}

/// Who is present, and what was seen since the start.
#[derive(Default)]
struct Presence {
    present: BTreeSet<PeerId>,
    /// The most that were present at once.
    most: usize,
    /// Told last.
    told: Option<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("presence_counter: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let network = Network::builder().bootstrap(args.bootstrap).start().await?;
    let (room, mut events) = network.join(&args.room).await?.split();
    println!("counting as {}", network.peer_id());
    let mut presence = Presence::default();
    // Those who were linked by the end of the join are in its outcome, and not repeated as events.
    if let JoinOutcome::Joined { members } = room.outcome() {
        presence.present.extend(members);
    }
    presence.tell();

    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => presence.take(event, &room).await,
                None => break,
            },
            interrupted = &mut interrupt => {
                interrupted?;
                break;
            }
        }
        presence.tell();
    }
    network.shutdown().await;
    Ok(())
}

impl Presence {
    async fn take(&mut self, event: RoomEvent, room: &RoomSender) {
        match event {
            RoomEvent::MemberJoined { peer, .. } => {
                self.present.insert(peer);
            }
            RoomEvent::MemberLeft { peer, .. } => {
                self.present.remove(&peer);
            }
            // Comings and goings may be among what was missed.
            RoomEvent::Lagged { .. } => self.present = room.members().await.into_iter().collect(),
            RoomEvent::Full => eprintln!("the room is full"),
            RoomEvent::MemberChanged { .. }
            | RoomEvent::Message(_)
            | RoomEvent::MessagesLost { .. }
            | RoomEvent::Merged { .. }
            | RoomEvent::Writable => {}
        }
    }

    /// Says how many are present, if that is news.
    fn tell(&mut self) {
        let count = self.present.len();
        self.most = self.most.max(count);
        if self.told.replace(count) != Some(count) {
            println!("{count} present, {} at most", self.most);
        }
    }
}
