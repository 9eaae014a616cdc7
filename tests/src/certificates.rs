//! Certificates for tests.

use std::fs;
use std::path::PathBuf;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::Scratch;

/// A certificate for `name`, an IP address or host name, and its key, written into `scratch` as `PREFIX-cert.pem` and
/// `PREFIX-key.pem`. It is its own root.
///
/// # Panics
/// If it cannot be made or written.
#[must_use]
pub fn certificate(scratch: &Scratch, prefix: &str, name: &str) -> (PathBuf, PathBuf) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let (chain, key) =
        (scratch.file(&format!("{prefix}-cert.pem")), scratch.file(&format!("{prefix}-key.pem")));
    fs::write(&chain, cert.pem()).expect("the certificate is written");
    fs::write(&key, signing_key.serialize_pem()).expect("the key is written");
    (chain.into(), key.into())
}
