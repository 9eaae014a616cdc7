//! The real provider.
