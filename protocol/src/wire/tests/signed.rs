//! Claims, home claims, tombstones and signed requests.

use super::*;

pub(super) const PREAMBLE: &str = "";

/// Name, description, bytes, and whether they read back.
pub(super) fn vectors() -> Vec<(&'static str, &'static str, Vec<u8>, bool)> {
    Vec::new()
}
