//! Attacks, by the numbers of `docs/security.md`: each has its stated outcome, and costs who is attacked little.

mod amplification;
mod bad_rooms;
mod bad_routing;
mod bounds;
mod intruder;
mod links;
mod member_data;
mod rooms;
mod routing;
mod sybils;
