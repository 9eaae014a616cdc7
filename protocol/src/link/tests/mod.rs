//! Sessions in pairs, in virtual time.

mod handshake;
mod hostile;
mod liveness;
mod pair;
mod transfer;
mod vectors;
