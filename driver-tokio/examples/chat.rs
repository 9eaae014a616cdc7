//! A chat of a few lines: `cargo run -p unamed-tokio --example chat -- MULTIADDR ROOM`, next to an `unamed serve`.

use std::error::Error;

use unamed_tokio::{Network, RoomEvent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(bootstrap), Some(name)) = (args.next(), args.next()) else {
        return Err("usage: chat MULTIADDR ROOM".into());
    };
    let network = Network::builder().bootstrap(bootstrap.parse()?).start().await?;
    let room = network.join(&name).await?;
    println!("{} joined: {:?}", network.peer_id(), room.outcome());

    let (sender, mut events) = room.split();
    let runtime = tokio::runtime::Handle::current();
    let reader = std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if let Err(error) = runtime.block_on(sender.broadcast(line)) {
                eprintln!("not sent: {error}");
            }
        }
        // All that was queued goes out before the node says goodbye.
        runtime.block_on(network.shutdown());
    });
    while let Some(event) = events.next().await {
        match event {
            RoomEvent::Message(message) => {
                println!("{}: {}", message.from, String::from_utf8_lossy(&message.payload));
            }
            RoomEvent::MemberJoined { peer, .. } => println!("{peer} joined"),
            RoomEvent::MemberLeft { peer, reason } => println!("{peer} left ({})", reason.as_str()),
            RoomEvent::MemberChanged { .. }
            | RoomEvent::MessagesLost { .. }
            | RoomEvent::Writable
            | RoomEvent::Merged { .. }
            | RoomEvent::Full
            | RoomEvent::Lagged { .. } => println!("{event:?}"),
        }
    }
    reader.join().map_err(|_| "the input thread failed")?;
    Ok(())
}
