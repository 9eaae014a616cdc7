//! Connect requests and their answers, signed by those who make them.

use core::fmt;

use bytes::Bytes;

use super::{sign_body, signature_kind, verify_body};
use crate::NetworkId;
use crate::crypto::{Crypto, sha256};
use crate::wire::codec::{decode_body, encode_body};
use crate::wire::error::DecodeError;
use crate::wire::message::{Connect, ConnectAnswer, ConnectReply, ConnectRequest};

/// Why a signed request or answer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpenError {
    /// It does not decode.
    Malformed(DecodeError),
    /// The one it names has not signed it.
    BadSignature,
}

impl From<DecodeError> for OpenError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::BadSignature => f.write_str("the signature does not hold"),
        }
    }
}

impl core::error::Error for OpenError {}

impl Connect {
    /// Signs a request with its origin's secret key.
    #[must_use]
    pub fn make(
        request: &ConnectRequest,
        secret: &[u8; 32],
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Self {
        let request = encode_body(request);
        let signature = sign_body(signature_kind::CONNECT, &[&request], secret, crypto, network);
        Self { request: request.into(), signature }
    }

    /// The request, if its origin has signed it. Expiry and claim are left to the caller.
    ///
    /// # Errors
    /// If it does not decode or the signature does not hold.
    pub fn open(&self, crypto: &dyn Crypto, network: &NetworkId) -> Result<ConnectRequest, OpenError> {
        let request: ConnectRequest = decode_body(&self.request)?;
        let signer = request.origin.as_bytes();
        if verify_body(signature_kind::CONNECT, &[&self.request], signer, &self.signature, crypto, network) {
            Ok(request)
        } else {
            Err(OpenError::BadSignature)
        }
    }

    /// SHA-256 of the request, which the answer repeats.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.request])
    }
}

impl ConnectAnswer {
    /// Signs an answer with the target's secret key.
    #[must_use]
    pub fn make(reply: &ConnectReply, secret: &[u8; 32], crypto: &dyn Crypto, network: &NetworkId) -> Self {
        let reply = encode_body(reply);
        let signature = sign_body(signature_kind::CONNECT_REPLY, &[&reply], secret, crypto, network);
        Self { reply: reply.into(), signature, home: None }
    }

    /// The answer of a home to which the target is not linked. It is not signed, as only the target's word counts.
    #[must_use]
    pub const fn absent(home: Option<Bytes>) -> Self {
        Self { reply: Bytes::new(), signature: [0; 64], home }
    }

    /// The answer, if its target has signed it; `None` if the home says that the target is not there.
    ///
    /// # Errors
    /// If it does not decode or the signature does not hold.
    pub fn open(&self, crypto: &dyn Crypto, network: &NetworkId) -> Result<Option<ConnectReply>, OpenError> {
        if self.reply.is_empty() {
            return Ok(None);
        }
        let reply: ConnectReply = decode_body(&self.reply)?;
        let signer = reply.target.as_bytes();
        if verify_body(
            signature_kind::CONNECT_REPLY,
            &[&self.reply],
            signer,
            &self.signature,
            crypto,
            network,
        ) {
            Ok(Some(reply))
        } else {
            Err(OpenError::BadSignature)
        }
    }
}
