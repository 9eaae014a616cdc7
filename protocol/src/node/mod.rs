//! The node: one state machine over all layers.

pub(crate) mod api;
