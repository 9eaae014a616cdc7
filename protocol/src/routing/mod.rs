//! Routing: distances, the table of service nodes, the claims held for rooms, and the address book.
//!
//! Keys are room ids under Kademlia's XOR metric (Maymounkov and Mazières, "Kademlia: A Peer-to-peer Information System
//! Based on the XOR Metric", 2002). Every module here is a leaf: it takes values and returns typed answers, sees neither
//! the outbox nor wire messages, checks no signature, and knows none of the others except [`key`]. What arrives here was
//! verified by the caller. Nothing here iterates in hash order, so equal calls give equal answers.

pub mod book;
pub mod key;
pub mod popularity;
pub mod store;
pub mod table;
