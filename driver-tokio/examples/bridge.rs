//! A bridge: what is said in one room is said in the other, with its author's name. Shows one node in two rooms, and
//! back-pressure: each direction waits for the room it feeds, and holds up nothing else.
//!
//! `cargo run -p unamed-tokio --example bridge -- MULTIADDR ROOM OTHER_ROOM`, next to an `unamed serve`; Ctrl-C ends it.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use unamed_tokio::{Address, Network, RoomEvent, RoomEvents, RoomSender, SendError};

/// What a carried message begins with. One that begins so is not carried: of two bridges between the same rooms, each
/// would carry what the other brings.
const MARK: &str = "bridged from ";

/// Carries messages between two rooms.
#[derive(Parser)]
struct Args {
    /// A service node to start from.
    #[arg(value_name = "MULTIADDR")]
    bootstrap: Address,
    /// The name of one room.
    room: String,
    /// The name of the other.
    other_room: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bridge: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let network = Network::builder().bootstrap(args.bootstrap).start().await?;
    let (one, other) = tokio::try_join!(network.join(&args.room), network.join(&args.other_room))?;
    let ((to_one, from_one), (to_other, from_other)) = (one.split(), other.split());
    println!("bridging as {}", network.peer_id());

    let outcome = tokio::select! {
        outcome = carry(&args.room, from_one, to_other) => outcome,
        outcome = carry(&args.other_room, from_other, to_one) => outcome,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Ok(())
        }
    };
    // What was taken is said before the node goes.
    network.shutdown().await;
    println!("ended");
    Ok(outcome?)
}

/// Carries messages one way, until the room they come from is left.
async fn carry(name: &str, mut from: RoomEvents, to: RoomSender) -> Result<(), SendError> {
    while let Some(event) = from.next().await {
        match event {
            RoomEvent::Message(message) => {
                // What was sent to chosen members is not for the other room.
                if message.directed || message.payload.starts_with(MARK.as_bytes()) {
                    continue;
                }
                let mut carried = format!("{MARK}{}: ", message.from).into_bytes();
                carried.extend_from_slice(&message.payload);
                match to.broadcast(carried).await {
                    Ok(_) => println!("a message of {} was carried from {name:?}", message.from),
                    Err(error @ SendError::TooLarge { .. }) => eprintln!("not carried: {error}"),
                    Err(
                        error @ (SendError::NotJoined
                        | SendError::NoRecipients
                        | SendError::UnknownRecipient(_)
                        | SendError::TooManyRecipients
                        | SendError::Busy
                        | SendError::Stopped),
                    ) => return Err(error),
                }
            }
            RoomEvent::MessagesLost { from, count } => {
                eprintln!("{count} messages of {from} were lost on their way to {name:?}");
            }
            // The other room takes less than this one gives.
            RoomEvent::Lagged { missed } => eprintln!("{missed} events of {name:?} were dropped"),
            RoomEvent::Full => eprintln!("{name:?} is full"),
            RoomEvent::MemberJoined { .. }
            | RoomEvent::MemberChanged { .. }
            | RoomEvent::MemberLeft { .. }
            | RoomEvent::Merged { .. }
            | RoomEvent::Writable => {}
        }
    }
    Ok(())
}
