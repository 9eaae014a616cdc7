//! What unit tests of the node share.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Node;
use super::api::Start;
use crate::crypto::IdealCrypto;
use crate::{Config, Identity, Instant, NetworkId};

/// A client that has not saved anything yet, and knows nobody.
pub(super) fn client() -> Node {
    let start = Start {
        config: Config::client(NetworkId::default()),
        identity: Identity::from_seed([1; 32]),
        crypto: Arc::new(IdealCrypto),
        seed: [1; 32],
        unix_ms: 1_750_000_000_000,
        addresses: Vec::new(),
        saved: None,
    };
    Node::new(start, Instant::ZERO)
}
