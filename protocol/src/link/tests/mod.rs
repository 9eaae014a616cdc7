//! Sessions in pairs, in virtual time.

mod attacks;
mod channel;
mod handshake;
mod hostile;
mod liveness;
mod pair;
mod transfer;
mod vectors;
