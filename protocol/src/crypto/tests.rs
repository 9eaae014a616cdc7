//! One suite that both providers pass.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::*;

/// The bytes of a hexadecimal text.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| text.get(at..at + 2).unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(digits(at), 16).unwrap()).collect()
}

/// The 32 bytes of a hexadecimal text.
pub(crate) fn bytes32(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

macro_rules! for_both_providers {
    ($($name:ident)*) => {
        mod real {
            $(#[test] fn $name() { super::$name(&crate::crypto::RealCrypto); })*
        }
        mod ideal {
            $(#[test] fn $name() { super::$name(&crate::crypto::IdealCrypto); })*
        }
    };
}

for_both_providers! {
    a_signature_holds_for_its_key_and_message_only
    weak_keys_verify_nothing
    sealed_bytes_open_for_their_recipient_and_context_only
    sealing_to_or_from_a_low_order_point_is_refused
    a_handshake_agrees_on_payloads_keys_and_binding
    each_handshake_has_its_own_binding
    a_different_prologue_fails
    a_tampered_handshake_message_fails
    a_truncated_or_prolonged_handshake_message_fails
    a_low_order_share_fails
    messages_out_of_turn_fail
    a_message_3_of_another_handshake_fails
    oversized_messages_are_refused
    transport_carries_both_directions
    a_refused_transport_message_changes_nothing
    nothing_shows_on_the_wire
}

const LOW_ORDER: [[u8; 32]; 2] = [[0; 32], {
    let mut one = [0; 32];
    one[0] = 1;
    one
}];

fn a_signature_holds_for_its_key_and_message_only(crypto: &dyn Crypto) {
    let (secret, other) = ([1; 32], [2; 32]);
    let (public, other_public) = (crypto.public_key(&secret), crypto.public_key(&other));
    assert_ne!(public, other_public);
    for len in [0, 1, 15, 16, 17, 300] {
        let message: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        let signature = crypto.sign(&secret, &message);
        assert_eq!(signature, crypto.sign(&secret, &message));
        assert!(crypto.verify(&public, &message, &signature));
        assert!(!crypto.verify(&other_public, &message, &signature));
        assert!(!crypto.verify(&public, &message, &crypto.sign(&other, &message)));
        let mut longer = message.clone();
        longer.push(0);
        assert!(!crypto.verify(&public, &longer, &signature));
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 0x10;
            assert!(!crypto.verify(&public, &changed, &signature), "{len} {at}");
        }
    }
    let signature = crypto.sign(&secret, b"m");
    for bit in 0..512 {
        let mut changed = signature;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!crypto.verify(&public, b"m", &changed), "{bit}");
    }
    for bit in 0..256 {
        let mut changed = public;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!crypto.verify(&changed, b"m", &signature), "{bit}");
    }
}

fn weak_keys_verify_nothing(crypto: &dyn Crypto) {
    // R = identity and S = 0 fulfil Ed25519's equation under a small-order key for many messages.
    let mut signature = [0; 64];
    signature[0] = 1;
    for key in LOW_ORDER {
        for message in 0..16_u8 {
            assert!(!crypto.verify(&key, &[message], &signature));
            assert!(!crypto.verify(&key, &[message], &[0; 64]));
        }
    }
}

fn sealed_bytes_open_for_their_recipient_and_context_only(crypto: &dyn Crypto) {
    let (secret, ephemeral) = ([3; 32], [4; 32]);
    let recipient = crypto.sealing_public_key(&secret);
    for len in [0, 1, 7, 8, 9, 64, 70_000] {
        let plaintext = vec![0xAB; len];
        let sealed = crypto.seal(&recipient, &ephemeral, b"context", &plaintext).unwrap();
        assert_eq!(sealed.len(), len + SEAL_OVERHEAD);
        assert_eq!(crypto.open(&secret, b"context", &sealed), Some(plaintext.clone()));
        assert_eq!(crypto.open(&secret, b"contexT", &sealed), None);
        assert_eq!(crypto.open(&[5; 32], b"context", &sealed), None);
        assert_ne!(crypto.seal(&recipient, &[6; 32], b"context", &plaintext).unwrap()[32..], sealed[32..]);
        let step = (sealed.len() / 97).max(1);
        for at in (0..sealed.len()).step_by(step) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(crypto.open(&secret, b"context", &changed), None, "{len} {at}");
            assert_eq!(crypto.open(&secret, b"context", &sealed[..at]), None, "{len} {at}");
        }
    }
}

fn sealing_to_or_from_a_low_order_point_is_refused(crypto: &dyn Crypto) {
    for point in LOW_ORDER {
        assert_eq!(crypto.seal(&point, &[4; 32], b"", b"x"), None);
        let mut sealed = crypto.seal(&crypto.sealing_public_key(&[3; 32]), &[4; 32], b"", b"x").unwrap();
        sealed[..32].copy_from_slice(&point);
        assert_eq!(crypto.open(&[3; 32], b"", &sealed), None);
    }
}

/// Two ends of a handshake.
struct Ends {
    initiator: Box<dyn Handshake>,
    responder: Box<dyn Handshake>,
}

const INITIATOR_STATIC: [u8; 32] = [11; 32];
const RESPONDER_STATIC: [u8; 32] = [22; 32];
const PAYLOADS: [&[u8]; 3] = [b"first", b"the second payload", b"third!"];

impl Ends {
    fn new(crypto: &dyn Crypto) -> Self {
        Self::with(crypto, [33; 32], b"prologue", b"prologue")
    }

    fn with(crypto: &dyn Crypto, ephemeral: [u8; 32], prologue: &[u8], other: &[u8]) -> Self {
        Self {
            initiator: crypto.handshake(Role::Initiator, &INITIATOR_STATIC, &ephemeral, prologue),
            responder: crypto.handshake(Role::Responder, &RESPONDER_STATIC, &[44; 32], other),
        }
    }

    /// Runs the whole handshake; `tamper` sees each message with its index before it is read.
    fn run(&mut self, mut tamper: impl FnMut(usize, &mut Vec<u8>)) -> Result<(), CryptoError> {
        for (index, payload) in PAYLOADS.into_iter().enumerate() {
            let (writer, reader) = match index {
                1 => (&mut self.responder, &mut self.initiator),
                _ => (&mut self.initiator, &mut self.responder),
            };
            let mut message = writer.write_message(payload)?;
            tamper(index, &mut message);
            reader.read_message(&message)?;
        }
        Ok(())
    }

    fn finish(self) -> (Finished, Finished) {
        (self.initiator.finish().unwrap(), self.responder.finish().unwrap())
    }
}

fn a_handshake_agrees_on_payloads_keys_and_binding(crypto: &dyn Crypto) {
    let Ends { mut initiator, mut responder } = Ends::new(crypto);
    assert_eq!((initiator.remote_static(), responder.remote_static()), (None, None));

    let first = initiator.write_message(PAYLOADS[0]).unwrap();
    assert_eq!(first.len(), 32 + PAYLOADS[0].len());
    assert_eq!(responder.read_message(&first).unwrap(), PAYLOADS[0]);

    let second = responder.write_message(PAYLOADS[1]).unwrap();
    assert_eq!(second.len(), 32 + 32 + 16 + PAYLOADS[1].len() + 16);
    assert_eq!(initiator.read_message(&second).unwrap(), PAYLOADS[1]);
    assert_eq!(initiator.remote_static(), Some(crypto.sealing_public_key(&RESPONDER_STATIC)));
    assert_eq!((initiator.is_finished(), responder.is_finished()), (false, false));

    let third = initiator.write_message(PAYLOADS[2]).unwrap();
    assert_eq!(third.len(), 32 + 16 + PAYLOADS[2].len() + 16);
    assert_eq!(responder.read_message(&third).unwrap(), PAYLOADS[2]);
    assert_eq!(responder.remote_static(), Some(crypto.sealing_public_key(&INITIATOR_STATIC)));
    assert_eq!((initiator.is_finished(), responder.is_finished()), (true, true));

    let (a, b) = Ends { initiator, responder }.finish();
    assert_eq!(a.binding, b.binding);
}

fn each_handshake_has_its_own_binding(crypto: &dyn Crypto) {
    let mut bindings = Vec::new();
    for (ephemeral, prologue) in [(33, b"p"), (34, b"p"), (33, b"q")] {
        let mut ends = Ends::with(crypto, [ephemeral; 32], prologue, prologue);
        ends.run(|_, _| ()).unwrap();
        bindings.push(ends.finish().0.binding);
    }
    assert!(bindings[0] != bindings[1] && bindings[0] != bindings[2] && bindings[1] != bindings[2]);
}

fn a_different_prologue_fails(crypto: &dyn Crypto) {
    let mut ends = Ends::with(crypto, [33; 32], b"network a", b"network b");
    let mut passed = 0;
    assert_eq!(ends.run(|index, _| passed = index), Err(CryptoError::Handshake));
    assert_eq!(passed, 1, "found by the initiator, on reading message 2");
}

fn a_tampered_handshake_message_fails(crypto: &dyn Crypto) {
    let mut lens = Vec::new();
    Ends::new(crypto).run(|_, message| lens.push(message.len())).unwrap();
    for (target, len) in lens.into_iter().enumerate() {
        for at in 0..len {
            let mut ends = Ends::new(crypto);
            let outcome = ends.run(|index, message| {
                if index == target {
                    message[at] ^= 0x04;
                }
            });
            assert_eq!(outcome, Err(CryptoError::Handshake), "message {target}, byte {at}");
            assert!(!ends.initiator.is_finished() || !ends.responder.is_finished());
        }
    }
}

fn a_truncated_or_prolonged_handshake_message_fails(crypto: &dyn Crypto) {
    for target in 0..3 {
        for len in [0, 1, 31, 32, 47, 48, 63, 64, 79, 80, 95, 96, 200] {
            let outcome = Ends::new(crypto).run(|index, message| {
                if index == target {
                    message.resize(len, 0);
                }
            });
            assert_eq!(outcome, Err(CryptoError::Handshake), "message {target}, {len} bytes");
        }
    }
}

fn a_low_order_share_fails(crypto: &dyn Crypto) {
    for point in LOW_ORDER {
        // The responder finds it when it answers, the initiator when it reads.
        let mut responder = crypto.handshake(Role::Responder, &[1; 32], &[2; 32], b"");
        let read = responder.read_message(&point);
        assert!(read.is_err() || responder.write_message(b"").is_err());
        let mut initiator = crypto.handshake(Role::Initiator, &[1; 32], &[2; 32], b"");
        initiator.write_message(b"").unwrap();
        let mut message = [0; 96];
        message[..32].copy_from_slice(&point);
        assert_eq!(initiator.read_message(&message), Err(CryptoError::Handshake));
    }
}

fn messages_out_of_turn_fail(crypto: &dyn Crypto) {
    let failed = Err(CryptoError::Handshake);
    assert_eq!(Ends::new(crypto).responder.write_message(b""), failed);
    assert_eq!(Ends::new(crypto).initiator.read_message(&[9; 64]), failed);
    assert!(matches!(Ends::new(crypto).initiator.finish(), Err(CryptoError::Handshake)));
    let mut ends = Ends::new(crypto);
    let first = ends.initiator.write_message(b"").unwrap();
    assert_eq!(ends.initiator.write_message(b""), failed);
    assert_eq!(ends.initiator.read_message(&first), failed, "useless from the first mistake on");
    let mut ends = Ends::new(crypto);
    ends.run(|_, _| ()).unwrap();
    assert_eq!(ends.initiator.write_message(b""), failed);
    assert_eq!(ends.responder.read_message(&[9; 64]), failed);
    assert!(matches!(ends.responder.finish(), Err(CryptoError::Handshake)));
}

fn a_message_3_of_another_handshake_fails(crypto: &dyn Crypto) {
    let mut recorded = Vec::new();
    Ends::with(crypto, [55; 32], b"p", b"p").run(|_, message| recorded.push(message.clone())).unwrap();
    let outcome = Ends::with(crypto, [33; 32], b"p", b"p").run(|index, message| {
        if index == 2 {
            message.clone_from(&recorded[2]);
        }
    });
    assert_eq!(outcome, Err(CryptoError::Handshake));
}

fn oversized_messages_are_refused(crypto: &dyn Crypto) {
    let write =
        |bytes| Ends::new(crypto).initiator.write_message(&vec![0; bytes]).map(|message| message.len());
    assert_eq!(write(65_535 - 32), Ok(65_535));
    assert_eq!(write(65_535 - 31), Err(CryptoError::Handshake));
    assert_eq!(Ends::new(crypto).responder.read_message(&vec![9; 65_536]), Err(CryptoError::Handshake));
    let (mut a, mut b) = linked(crypto);
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    assert_eq!(a.encrypt(&vec![5; PLAINTEXT_BYTES_MAX + 1], &mut sent), Err(CryptoError::Exhausted));
    assert!(sent.is_empty());
    a.encrypt(&vec![5; PLAINTEXT_BYTES_MAX], &mut sent).unwrap();
    assert_eq!(b.decrypt(&vec![5; 65_536], &mut received), Err(CryptoError::Decrypt));
    b.decrypt(&sent, &mut received).unwrap();
    assert_eq!(received, vec![5; PLAINTEXT_BYTES_MAX]);
}

fn linked(crypto: &dyn Crypto) -> (Box<dyn Cipher>, Box<dyn Cipher>) {
    let mut ends = Ends::new(crypto);
    ends.run(|_, _| ()).unwrap();
    let (a, b) = ends.finish();
    (a.cipher, b.cipher)
}

fn transport_carries_both_directions(crypto: &dyn Crypto) {
    let (mut a, mut b) = linked(crypto);
    let mut previous = Vec::new();
    for len in (0..40).chain([300, 16_384]) {
        let plaintext: Vec<u8> = (0..len).map(|byte: usize| byte as u8).collect();
        for swap in [false, true, true] {
            let (from, to) = if swap { (&mut b, &mut a) } else { (&mut a, &mut b) };
            let mut sent = b"before".to_vec();
            from.encrypt(&plaintext, &mut sent).unwrap();
            assert_eq!((&sent[..6], sent.len()), (b"before".as_slice(), 6 + len + TAG_BYTES));
            assert_ne!(sent[6..], previous, "each message has its own key stream");
            let mut received = b"before".to_vec();
            to.decrypt(&sent[6..], &mut received).unwrap();
            assert_eq!((&received[..6], &received[6..]), (b"before".as_slice(), plaintext.as_slice()));
            previous = sent.split_off(6);
        }
    }
}

fn a_refused_transport_message_changes_nothing(crypto: &dyn Crypto) {
    let (mut a, mut b) = linked(crypto);
    let (mut first, mut second, mut own) = (Vec::new(), Vec::new(), Vec::new());
    a.encrypt(b"one", &mut first).unwrap();
    a.encrypt(b"two", &mut second).unwrap();
    b.encrypt(b"own", &mut own).unwrap();
    let mut out = b"kept".to_vec();
    let mut refuse = |b: &mut dyn Cipher, message: &[u8], why: &str| {
        assert_eq!(b.decrypt(message, &mut out), Err(CryptoError::Decrypt), "{why}");
        assert_eq!(out, b"kept", "{why}");
    };
    for bit in 0..first.len() * 8 {
        let mut changed = first.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        refuse(&mut *b, &changed, "changed");
    }
    for len in 0..first.len() {
        refuse(&mut *b, &first[..len], "cut");
    }
    refuse(&mut *b, &[first.as_slice(), b"x"].concat(), "prolonged");
    refuse(&mut *b, &second, "early");
    refuse(&mut *b, &own, "reflected");
    b.decrypt(&first, &mut Vec::new()).unwrap();
    refuse(&mut *b, &first, "replayed");
    let mut received = Vec::new();
    b.decrypt(&second, &mut received).unwrap();
    assert_eq!(received, b"two");
}

fn nothing_shows_on_the_wire(crypto: &dyn Crypto) {
    const SECRET: &[u8] = b"plaintext!";
    let shows = |message: &[u8]| message.windows(SECRET.len()).any(|window| window == SECRET);
    let mut ends = Ends::new(crypto);
    let first = ends.initiator.write_message(SECRET).unwrap();
    assert!(shows(&first), "message 1 of XX is not encrypted");
    ends.responder.read_message(&first).unwrap();
    let second = ends.responder.write_message(SECRET).unwrap();
    ends.initiator.read_message(&second).unwrap();
    let third = ends.initiator.write_message(SECRET).unwrap();
    ends.responder.read_message(&third).unwrap();
    let (mut a, _) = (ends.initiator.finish().unwrap().cipher, ends.responder);
    let mut sent = Vec::new();
    a.encrypt(&SECRET.repeat(50), &mut sent).unwrap();
    let recipient = crypto.sealing_public_key(&[1; 32]);
    let sealed = crypto.seal(&recipient, &[2; 32], b"", SECRET).unwrap();
    let static_key = crypto.sealing_public_key(&INITIATOR_STATIC);
    assert!(![&second, &third, &sent, &sealed].into_iter().any(|message| shows(message)));
    assert!(!third.windows(32).any(|window| window == static_key));
    let bytes: std::collections::BTreeSet<u8> = sent.iter().copied().collect();
    assert!(bytes.len() > 200, "516 random bytes have about 222 values, these {}", bytes.len());
}
