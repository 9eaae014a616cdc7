//! Sessions in pairs, in virtual time.

mod channel;
mod handshake;
mod hostile;
mod liveness;
mod pair;
mod transfer;
mod vectors;
