//! Room messages and proofs of knowing a room.

use bytes::Bytes;

use super::{sign_body, signature_kind, verify_body};
use crate::crypto::{Crypto, Signature, sha256};
use crate::wire::codec::encode_body;
use crate::wire::message::{Header, RoomProof};
use crate::wire::view::RoomMessage;
use crate::{MessageId, NetworkId, PeerId, RoomId, RoomKey};

impl Header {
    /// The message's id: SHA-256 of the header's encoding.
    #[must_use]
    pub fn id(&self) -> MessageId {
        MessageId(sha256(&[&encode_body(self)]))
    }
}

impl RoomMessage {
    /// Signs the header with its author's secret key.
    pub fn sign(&mut self, secret: &[u8; 32], crypto: &dyn Crypto, network: &NetworkId) {
        let signature = sign_body(signature_kind::MESSAGE, &[&self.header], secret, crypto, network);
        self.signature = Bytes::copy_from_slice(&signature);
    }

    /// Whether `author` has signed the header. Without a signature: no.
    #[must_use]
    pub fn verify(&self, author: PeerId, crypto: &dyn Crypto, network: &NetworkId) -> bool {
        Signature::try_from(&*self.signature).is_ok_and(|signature| {
            let signer = author.as_bytes();
            verify_body(signature_kind::MESSAGE, &[&self.header], signer, &signature, crypto, network)
        })
    }
}

impl RoomProof {
    /// What the room key signs: the link's channel binding, the room, who proves and to whom, 32 bytes each.
    #[must_use]
    pub fn signature(
        room: &RoomKey,
        binding: &[u8; 32],
        prover: PeerId,
        verifier: PeerId,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Signature {
        let id = RoomKey::room_id(&crypto.public_key(room.secret()));
        let parts: [&[u8]; 4] = [binding, &id.0, &prover.0, &verifier.0];
        sign_body(signature_kind::ROOM_PROOF, &parts, room.secret(), crypto, network)
    }

    /// The room.
    #[must_use]
    pub fn room_id(&self) -> RoomId {
        RoomKey::room_id(&self.room_key)
    }

    /// Whether the signature holds on a link with this channel binding between these two.
    #[must_use]
    pub fn verify(
        &self,
        binding: &[u8; 32],
        prover: PeerId,
        verifier: PeerId,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> bool {
        let id = self.room_id();
        let parts: [&[u8]; 4] = [binding, &id.0, &prover.0, &verifier.0];
        verify_body(signature_kind::ROOM_PROOF, &parts, &self.room_key, &self.signature, crypto, network)
    }
}
