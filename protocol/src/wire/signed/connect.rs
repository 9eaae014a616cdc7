//! Connect requests and their answers, signed by those who make them.

use core::fmt;

use super::{Claim, sign_body, signature_kind, verify_body};
use crate::crypto::{Crypto, sha256};
use crate::wire::codec::encode_body;
use crate::wire::error::DecodeError;
use crate::wire::message::{
    Connect, ConnectAbout, ConnectAnswer, ConnectReply, ConnectRequest, SignedConnectReply,
};
use crate::wire::view::Routed;
use crate::{NetworkId, PeerId};

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

impl ConnectAbout {
    /// What a connect packet says of its request; `None` if it names no origin or no target.
    #[must_use]
    pub fn of(packet: &Routed) -> Option<Self> {
        let (origin, target) = (packet.route.get(0)?, packet.target?);
        Some(Self { id: packet.request, origin, target, key: packet.key })
    }
}

impl ConnectRequest {
    /// SHA-256 of the request, which the answer repeats.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&encode_body(self)])
    }
}

impl Connect {
    /// Signs a request with its origin's secret key.
    #[must_use]
    pub fn make(
        request: &ConnectRequest,
        secret: &[u8; 32],
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Self {
        let signed = encode_body(request);
        Self {
            room: request.claim.is_empty().then_some(request.room),
            expiry_ms: request.expiry_ms,
            claim: request.claim.clone(),
            home_claim: request.home_claim.clone(),
            home_known: request.home_known,
            signature: sign_body(signature_kind::CONNECT, &[&signed], secret, crypto, network),
        }
    }

    /// The request, without a look at its signature.
    ///
    /// # Errors
    /// If the claim does not decode, or not just one of claim and room is there.
    pub fn request(&self, about: ConnectAbout) -> Result<ConnectRequest, DecodeError> {
        let room = match (self.room, self.claim.is_empty()) {
            (Some(room), true) => room,
            (None, false) => Claim::decode(&self.claim)?.room_id(),
            (Some(_), false) | (None, true) => return Err(DecodeError::Invalid),
        };
        Ok(ConnectRequest {
            about,
            room,
            expiry_ms: self.expiry_ms,
            claim: self.claim.clone(),
            home_claim: self.home_claim.clone(),
            home_known: self.home_known,
        })
    }

    /// The request, if its origin has signed it for such a packet. Expiry and claim are left to the caller.
    ///
    /// # Errors
    /// If it is malformed or the signature does not hold.
    pub fn open(
        &self,
        about: ConnectAbout,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Result<ConnectRequest, OpenError> {
        let request = self.request(about)?;
        let (signed, signer) = (encode_body(&request), about.origin.as_bytes());
        if verify_body(signature_kind::CONNECT, &[&signed], signer, &self.signature, crypto, network) {
            Ok(request)
        } else {
            Err(OpenError::BadSignature)
        }
    }
}

impl ConnectAnswer {
    /// Signs an answer with the target's secret key.
    #[must_use]
    pub fn make(reply: &ConnectReply, secret: &[u8; 32], crypto: &dyn Crypto, network: &NetworkId) -> Self {
        let signed = encode_body(reply);
        let reply = SignedConnectReply {
            accept: reply.accept,
            dials: reply.dials,
            home_claim: reply.home_claim.clone(),
            home_wanted: reply.home_wanted,
            signature: sign_body(signature_kind::CONNECT_REPLY, &[&signed], secret, crypto, network),
        };
        Self { reply: Some(reply), home: None }
    }

    /// The answer of a home to which the target is not linked. It is not signed, as only the target's word counts.
    #[must_use]
    pub const fn absent() -> Self {
        Self { reply: None, home: None }
    }
}

impl SignedConnectReply {
    /// The answer, if the target of that request has signed it.
    ///
    /// # Errors
    /// If the signature does not hold.
    pub fn open(
        &self,
        request_hash: [u8; 32],
        target: PeerId,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Result<ConnectReply, OpenError> {
        let reply = ConnectReply {
            request_hash,
            accept: self.accept,
            dials: self.dials,
            home_claim: self.home_claim.clone(),
            home_wanted: self.home_wanted,
        };
        let (signed, signer) = (encode_body(&reply), target.as_bytes());
        let kind = signature_kind::CONNECT_REPLY;
        if verify_body(kind, &[&signed], signer, &self.signature, crypto, network) {
            Ok(reply)
        } else {
            Err(OpenError::BadSignature)
        }
    }
}
