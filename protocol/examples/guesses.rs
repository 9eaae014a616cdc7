//! How many room names one core can try in a second: what a guess at a weak name costs.
//!
//! Each try is one derivation of a room key, with the memory and passes that `docs/protocol.md` prescribes; comparing its id
//! with those that are seen on the network costs nothing beside it.

use std::time::Instant;

use unamed_protocol::crypto::RealCrypto;
use unamed_protocol::{NetworkId, RoomKey};

const TRIES: u32 = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = NetworkId::default();
    let since = Instant::now();
    for number in 0..TRIES {
        let key = RoomKey::derive(&format!("guess {number}"), b"", &network)?;
        std::hint::black_box(key.id(&RealCrypto));
    }
    let seconds = since.elapsed().as_secs_f64();
    println!("{:.1} names a second on one core", f64::from(TRIES) / seconds);
    Ok(())
}
