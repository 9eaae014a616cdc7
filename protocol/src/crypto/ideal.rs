//! The ideal provider, for simulations and tests.
