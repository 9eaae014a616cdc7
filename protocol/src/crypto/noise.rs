//! Noise XX by `snow`, with a resolver of ours.
