//! Links: handshake, framing, fragments under credit, keep-alive.
