//! One node among scripted peers.
//!
//! The world of an input holds one [`Node`](unamed_protocol::Node), its driver, its application, and persons at the other
//! ends of links. Persons have [`Session`](unamed_protocol::link::Session)s of their own over ideal cryptography, so that
//! what they say is authenticated, whatever it is: claims, proofs and signatures of theirs are right unless the script
//! wants them wrong. Frames go back and forth until nobody has more; only then comes the next step. So time stands still
//! within a step, and whatever a step leads to is checked before the next one:
//!
//! - no panic, and no broken invariant of the node's own;
//! - frames within the bound and within the credit, for carriers that are open;
//! - links, saves and requests with ids of their own, each answered or pending;
//! - dials only to what the operator named or its own node signed, and to nothing near this machine on a stranger's word;
//! - all that is sent decodes, and encodes to itself;
//! - what the application is told agrees with what it asked and with what the node shows;
//! - after a timeout the next deadline lies ahead.
//!
//! At the end every join and find is answered within half a minute, and a shutdown ends.

mod cast;
mod ledger;
mod peers;
mod replies;
pub mod script;
mod steps;
mod world;

use unamed_protocol::Duration;

use self::world::World;
use crate::source::Source;

/// Most steps of one input.
const STEPS_MAX: usize = 400;
/// By when everything that was asked for is answered.
const ANSWERED: Duration = Duration::from_secs(30);
/// By when a shutdown is complete.
const SHUT_DOWN: Duration = Duration::from_secs(15);

/// Fuzz target: a set-up (bits of [`script::setup`]), then [steps](script::Step).
///
/// # Panics
/// If something does not hold that must.
pub(crate) fn node(input: &[u8]) {
    let mut from = Source::new(input);
    let mut world = World::new(from.byte());
    for _ in 0..STEPS_MAX {
        if from.is_over() {
            break;
        }
        world.step(&mut from);
    }
    world.finish();
}

impl World {
    /// What was asked for comes to an end.
    fn finish(&mut self) {
        if self.saving.is_some() {
            self.answer_save(true);
            self.settle();
        }
        self.live(ANSWERED);
        self.ledger.assert_answered();
        self.node.shutdown(self.now);
        self.settle();
        self.live(SHUT_DOWN);
        assert!(self.ledger.shut_down, "the shutdown does not end");
        assert_eq!(self.node.poll_timeout(), None, "nothing is left to do");
    }
}
