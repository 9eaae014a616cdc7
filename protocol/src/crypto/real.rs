//! The provider that a network uses: Ed25519, X25519, ChaCha20-Poly1305, SHA-256.

use alloc::boxed::Box;
use alloc::vec::Vec;

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::noise::NoiseHandshake;
use super::{Crypto, Handshake, Role, SEAL_OVERHEAD, Signature};

/// Real cryptography.
///
/// - Signatures: Ed25519 (RFC 8032), checked strictly.
/// - Sealing: an ephemeral X25519 key (RFC 7748); key = HKDF-SHA-256 (RFC 5869) of the shared secret with salt
///   `ephemeral public key ‖ recipient's public key` and info `unamed/1/seal`; ChaCha20-Poly1305 (RFC 8439) with a zero
///   nonce, since each key serves once, and the context as additional data. The result is
///   `ephemeral public key ‖ ciphertext ‖ tag`.
/// - Handshake: `Noise_XX_25519_ChaChaPoly_SHA256` by the `snow` crate over the same primitives.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealCrypto;

impl Crypto for RealCrypto {
    fn public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        SigningKey::from_bytes(secret).verifying_key().to_bytes()
    }

    fn sign(&self, secret: &[u8; 32], message: &[u8]) -> Signature {
        SigningKey::from_bytes(secret).sign(message).to_bytes()
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        is_canonical(public)
            && VerifyingKey::from_bytes(public)
                .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }

    fn sealing_public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
    }

    fn seal(
        &self,
        recipient: &[u8; 32],
        ephemeral: &[u8; 32],
        context: &[u8],
        plaintext: &[u8],
    ) -> Option<Vec<u8>> {
        let secret = StaticSecret::from(*ephemeral);
        let share = PublicKey::from(&secret).to_bytes();
        let aead = sealing_cipher(&secret, recipient, &share, recipient)?;
        let mut out = Vec::with_capacity(plaintext.len().saturating_add(SEAL_OVERHEAD));
        out.extend_from_slice(&share);
        out.extend_from_slice(plaintext);
        let (_, body) = out.split_at_mut_checked(share.len())?;
        let tag = aead.encrypt_inout_detached(&Nonce::default(), context, body.into()).ok()?;
        out.extend_from_slice(&tag);
        Some(out)
    }

    fn open(&self, secret: &[u8; 32], context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (share, sealed) = sealed.split_first_chunk::<32>()?;
        let (ciphertext, tag) = sealed.split_last_chunk::<16>()?;
        let secret = StaticSecret::from(*secret);
        let recipient = PublicKey::from(&secret).to_bytes();
        let aead = sealing_cipher(&secret, share, share, &recipient)?;
        let mut out = ciphertext.to_vec();
        aead.decrypt_inout_detached(&Nonce::default(), context, out.as_mut_slice().into(), &Tag::from(*tag))
            .ok()?;
        Some(out)
    }

    fn handshake(
        &self,
        role: Role,
        static_secret: &[u8; 32],
        ephemeral: &[u8; 32],
        prologue: &[u8],
    ) -> Box<dyn Handshake> {
        Box::new(NoiseHandshake::new(role, static_secret, ephemeral, prologue))
    }
}

/// The cipher of one sealed message; `None` if `theirs` is a low-order point.
fn sealing_cipher(
    own: &StaticSecret,
    theirs: &[u8; 32],
    share: &[u8; 32],
    recipient: &[u8; 32],
) -> Option<ChaCha20Poly1305> {
    let shared = own.diffie_hellman(&PublicKey::from(*theirs));
    if !shared.was_contributory() {
        return None;
    }
    let salt = [*share, *recipient].concat();
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(&salt), shared.as_bytes()).expand(b"unamed/1/seal", key.as_mut_slice()).ok()?;
    Some(ChaCha20Poly1305::new((&*key).into()))
}

/// Whether the y coordinate is below 2^255 − 19, in other words encoded as RFC 8032 demands. The Ed25519 crate reduces
/// it instead, which would give one key several ids.
fn is_canonical(public: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = public;
    *low < 0xED || high & 0x7F != 0x7F || middle.iter().any(|byte| *byte != 0xFF)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::crypto::tests::bytes32;
    use crate::hex;

    #[test]
    fn rfc_8032_test_2() {
        let secret = bytes32("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let public = bytes32("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(RealCrypto.public_key(&secret), public);
        assert_eq!(hex(&RealCrypto.sign(&secret, &[0x72])), signature);
    }

    #[test]
    fn rfc_7748_section_6_1() {
        let alice = bytes32("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
        assert_eq!(hex(&RealCrypto.sealing_public_key(&alice)), public);
    }

    /// Made with the Python package `cryptography` from the description at [`RealCrypto`].
    #[test]
    fn sealing_as_described() {
        let (secret, ephemeral): (Vec<u8>, Vec<u8>) = ((0..32).collect(), (32..64).collect());
        let (secret, ephemeral) = (secret.try_into().unwrap(), ephemeral.try_into().unwrap());
        let recipient = RealCrypto.sealing_public_key(&secret);
        let sealed = RealCrypto.seal(&recipient, &ephemeral, b"context", b"sealed to a member").unwrap();
        let expected = "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254\
                        0e8d692d8954e61d7ca153494632240e4e8e0d6b61c0f2ccc635f198ae2cb26399a5";
        assert_eq!(hex(&sealed), expected);
    }

    #[test]
    fn b20_a_signature_with_s_plus_the_group_order_is_refused() {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let public = RealCrypto.public_key(&[7; 32]);
        let mut signature = RealCrypto.sign(&[7; 32], b"m");
        assert!(RealCrypto.verify(&public, b"m", &signature));
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert!(!RealCrypto.verify(&public, b"m", &signature));
    }

    #[test]
    fn a_small_order_key_verifies_nothing() {
        // With A of small order, R = identity and S = 0 satisfy the cofactored equation for any message.
        let small = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        let mut signature = [0; 64];
        signature[0] = 1;
        for key in small.map(bytes32) {
            for message in 0..32_u8 {
                assert!(!RealCrypto.verify(&key, &[message], &signature), "{}", hex(&key));
            }
        }
    }

    #[test]
    fn canonical_keys() {
        let mut key = [0xFF; 32];
        for (low, high, canonical) in [
            (0xEC, 0x7F, true),
            (0xED, 0x7F, false),
            (0xFF, 0x7F, false),
            (0xEC, 0xFF, true),
            (0xED, 0xFF, false),
            (0xFF, 0x7E, true),
        ] {
            key[0] = low;
            key[31] = high;
            assert_eq!(is_canonical(&key), canonical, "{}", hex(&key));
        }
        key[31] = 0x7F;
        key[15] = 0xFE;
        assert!(is_canonical(&key));
    }
}
