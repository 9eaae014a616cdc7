//! A chat: each line of the input goes to the room, what the others say goes to the output. Shows a room whose two halves
//! are used at once, nicknames as member data, and an end that loses nothing.
//!
//! `cargo run -p unamed-tokio --example chat -- MULTIADDR ROOM --name NICKNAME`, next to an `unamed serve`; it ends with
//! its input (Ctrl-D).

use std::collections::BTreeMap;
use std::error::Error;
use std::io::BufRead as _;
use std::process::ExitCode;

use clap::Parser;
use tokio::sync::mpsc;
use unamed_tokio::{Address, JoinOptions, JoinOutcome, Network, PeerId, RoomEvent};

/// Talks in a room: each line of the input is a message.
#[derive(Parser)]
struct Args {
    /// A service node to start from.
    #[arg(value_name = "MULTIADDR")]
    bootstrap: Address,
    /// The room's name.
    room: String,
    /// What the others call this member, 1 KiB at most.
    #[arg(long, default_value = "")]
    name: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let network = Network::builder().bootstrap(args.bootstrap).start().await?;
    let options = JoinOptions { member_data: args.name.into(), ..JoinOptions::default() };
    let room = network.join_with(&args.room, options).await?;
    println!("I am {}", network.peer_id());
    match room.outcome() {
        JoinOutcome::Joined { members } => members.iter().for_each(|peer| println!("{peer} is here")),
        JoinOutcome::Alone => println!("nobody else is here"),
        JoinOutcome::NoneReachable { known } => println!("{known} others are here, and are being sought"),
        JoinOutcome::Offline => println!("no service node answers yet"),
    }

    let (sender, mut events) = room.split();
    let mut lines = lines();
    let mut names = BTreeMap::new();
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                // While the queues are full this waits, and so does whoever types.
                Some(line) => if let Err(error) = sender.broadcast(line).await {
                    eprintln!("not sent: {error}");
                },
                None => break,
            },
            event = events.next() => match event {
                Some(event) => show(event, &mut names),
                None => break,
            },
        }
    }
    // All that was queued goes out before the node says goodbye.
    network.shutdown().await;
    Ok(())
}

/// The lines of the input. Reading it blocks, so a thread of its own does.
fn lines() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn show(event: RoomEvent, names: &mut BTreeMap<PeerId, String>) {
    // A nickname is what a member says of itself, and two may say the same: the peer id stays with it.
    let name = |peer: PeerId, names: &BTreeMap<PeerId, String>| match names.get(&peer) {
        Some(name) if !name.is_empty() => format!("{name} ({peer})"),
        Some(_) | None => peer.to_string(),
    };
    match event {
        RoomEvent::Message(message) => {
            println!("{}: {}", name(message.from, names), printable(&message.payload));
        }
        RoomEvent::MemberJoined { peer, data } => {
            names.insert(peer, printable(&data));
            println!("{} joined", name(peer, names));
        }
        RoomEvent::MemberChanged { peer, data } => {
            names.insert(peer, printable(&data));
            println!("{peer} is now {}", name(peer, names));
        }
        RoomEvent::MemberLeft { peer, reason } => {
            println!("{} is gone ({})", name(peer, names), reason.as_str());
            names.remove(&peer);
        }
        RoomEvent::MessagesLost { from, count } => println!("{count} messages of {from} are lost"),
        RoomEvent::Full => println!("the room is full"),
        RoomEvent::Lagged { missed } => println!("{missed} events came faster than they were shown"),
        RoomEvent::Merged { .. } | RoomEvent::Writable => {}
    }
}

/// Text of others as a terminal may have it: without control characters.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|character| !character.is_control()).collect()
}
