//! Links: handshake, framing, fragments under credit, keep-alive.
//!
//! A [`Session`] is one end of one link. It turns an ordered stream of frames, whatever carries it, into an
//! authenticated stream of messages, and messages into frames. It knows crypto traits and frames; rooms, routing and
//! link ids are above it. Inside a circuit it runs unchanged: its frames are then the payloads of circuit data.
//!
//! **Handshake.** `Noise_XX_25519_ChaChaPoly_SHA256` (Noise specification, revision 34) with a clear preamble as
//! prologue: magic, supported versions, network tag. The payloads of messages 2 and 3 carry the identity key and its
//! signature over the sender's role and static key, so an identity cannot be moved to another handshake, nor a message
//! be reflected. Before the peer is authenticated a frame has at most [`PREAUTH_FRAME_BYTES_MAX`] bytes, and the order
//! of the three messages leaves room for no more than two frames from the peer.
//!
//! **Frames under credit.** The owner [grants](Session::grant) the bytes that the carrier takes. A frame is encrypted
//! only when it is [polled](Session::poll_frame) and only as large as credit and `max_frame` allow. Until then messages
//! wait in the clear, one queue per [`Class`], and their bodies are shared [`Bytes`](bytes::Bytes), so that a payload is
//! held once however many links it goes to, and control written last can leave first.
//!
//! **Classes.** `Control` goes strictly first. The others share what is left by start-time fair queueing (Goyal, Vin and
//! Cheng, SIGCOMM 1996) counted in bytes, 4 : 2 : 1 for `Small`, `Relay`, `Bulk`; nothing starves. Order is kept within
//! a class. At most one message of a class is partly sent, so the receiver needs one reassembly slot per class.
//!
//! **Keep-alive.** A ping leaves after a period without a frame from the peer; any authenticated frame counts as life;
//! silence closes the session. Round-trip time is smoothed as in RFC 6298, and the handshake gives its first sample.
//! Pings are answered by at most one waiting pong, that of the latest ping, so a flood of them costs nothing.
//!
//! **Misbehaviour is an outcome.** Whatever the peer sends leads to [`SessionEvent::Closed`] at worst. After that the
//! session ignores what arrives, but control messages may still be queued and polled, so that a goodbye can follow.
//!
//! `docs/protocol.md` has the bytes.

mod fragment;
mod frame;
mod handshake;
mod keepalive;
mod queue;
mod session;

pub use frame::{FRAME_OVERHEAD, PREAUTH_FRAME_BYTES_MAX, WIRE_VERSION};
pub use handshake::{Peer, Secrecy};
pub use queue::{Class, Outgoing, QueueError, Sent};
pub use session::{Session, SessionConfig, SessionEvent};

#[cfg(test)]
mod tests;
