//! Direct links between clients: WebRTC data channels, signalled over the circuit that the pair has meanwhile.

use super::Node;
use super::metrics::Counter;
use crate::{Instant, LinkId, Signal};

impl Node {
    /// The own WebRTC stack found something that the other end must know.
    pub(super) fn local_signal(&mut self, id: LinkId, _signal: Signal, _now: Instant) {
        if !self.links.contains_key(&id) {
            self.metrics.count(Counter::UnknownLink);
        }
    }
}
