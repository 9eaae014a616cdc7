//! A bot that sends each message back to its author, and to nobody else. Shows directed messages, an identity that
//! survives a restart, and a service that ends in good order.
//!
//! `cargo run -p unamed-tokio --example echo_bot -- MULTIADDR ROOM --state DIR`, next to an `unamed serve`; Ctrl-C ends it.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use clap::Parser;
use unamed_tokio::{Address, Message, Network, RoomEvent, RoomSender, SendError};

/// What an echo begins with. A message that begins so is not answered: two bots would never come to an end.
const MARK: &[u8] = b"echo: ";

/// Sends each message of a room back to its author.
#[derive(Parser)]
struct Args {
    /// A service node to start from.
    #[arg(value_name = "MULTIADDR")]
    bootstrap: Address,
    /// The room's name.
    room: String,
    /// Where the bot's key and the addresses it knows survive a restart.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_bot: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut builder = Network::builder().bootstrap(args.bootstrap);
    if let Some(state) = args.state {
        builder = builder.state_dir(state);
    }
    let network = builder.start().await?;
    let (sender, mut events) = network.join(&args.room).await?.split();
    println!("echoing as {}", network.peer_id());

    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(RoomEvent::Message(message)) => answer(&sender, message).await?,
                Some(RoomEvent::Lagged { missed }) => eprintln!("{missed} events came too fast"),
                Some(
                    RoomEvent::MemberJoined { .. }
                    | RoomEvent::MemberChanged { .. }
                    | RoomEvent::MemberLeft { .. }
                    | RoomEvent::MessagesLost { .. }
                    | RoomEvent::Merged { .. }
                    | RoomEvent::Writable
                    | RoomEvent::Full,
                ) => {}
                // The room turned out to be full.
                None => break,
            },
            interrupted = &mut interrupt => {
                interrupted?;
                break;
            }
        }
    }
    network.shutdown().await;
    println!("ended");
    Ok(())
}

/// Answers one message. While the queues are full this waits; what comes meanwhile waits in the room's own queue, whose
/// bound is that of `RoomEvent::Lagged`.
async fn answer(sender: &RoomSender, message: Message) -> Result<(), SendError> {
    if message.payload.starts_with(MARK) {
        return Ok(());
    }
    let echo = Bytes::from([MARK, message.payload.as_ref()].concat());
    match sender.send_to(&[message.from], echo).await {
        Ok(_) => {
            println!("an echo to {}", message.from);
            Ok(())
        }
        // Its author left meanwhile, or the mark made it too large: the next one may do better.
        Err(error @ (SendError::UnknownRecipient(_) | SendError::TooLarge { .. })) => {
            eprintln!("no echo to {}: {error}", message.from);
            Ok(())
        }
        Err(
            error @ (SendError::NotJoined
            | SendError::NoRecipients
            | SendError::TooManyRecipients
            | SendError::Busy
            | SendError::Stopped),
        ) => Err(error),
    }
}
