//! A small network and an attacker, against a reference that knows everything.
//!
//! Two to four nodes in one process, the first of them a service node that the others start from. Frames wait in order on
//! each carrier, and the script says which carrier is next; what is lost is lost with its carrier. The attacker links to
//! any of them with an identity of its own, by a right handshake, and says any message, or what it heard elsewhere. It has
//! no room key.
//!
//! After each step every node's invariants hold, and what nodes told their applications agrees with the
//! [reference](ledger): a message is from who sent it, as it was sent, to who it was for, once, in its author's order;
//! members and answers to finds are nodes that joined. At the end the attacker goes, frames flow, and within three
//! minutes the members of each room see each other and nobody else.

mod attacker;
mod ledger;
mod world;

use unamed_protocol::Duration;

use self::world::World;
use crate::source::Source;

/// Most steps of one input.
const STEPS_MAX: usize = 200;
/// By when all is well once the attacker is gone.
const HEALED: Duration = Duration::from_secs(180);

/// Fuzz target: a set-up (how many nodes, which of them are service nodes), then steps.
///
/// # Panics
/// If something does not hold that must.
pub(crate) fn network(input: &[u8]) {
    let mut from = Source::new(input);
    let mut world = World::new(from.byte());
    for _ in 0..STEPS_MAX {
        if from.is_over() {
            break;
        }
        world.step(&mut from);
    }
    world.heal(HEALED);
}
