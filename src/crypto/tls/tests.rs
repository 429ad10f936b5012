//! Two engines, face to face or with somebody between them.

use std::sync::{Arc, Mutex};

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::testing::{alice, anybody, bob, mallory, mode, modes, modes_with, pinned};
use super::verifier::{OfClients, OfServers};
use super::{SecureMode, SecureOptions, Suite};
use crate::crypto::engine::{Engine, EngineError, KeyChange, Keys, Mode, Side};
use crate::crypto::identity::{Format, KeyText, Numbers, PrivateKey, PublicKey, Use};
use crate::crypto::trust::{KnownPeers, Pinned, Refusal, Verify};

/// Both engines, and what they have given out.
struct Handshake {
    client: Box<dyn Engine>,
    server: Box<dyn Engine>,
    client_keys: Vec<Keys>,
    server_keys: Vec<Keys>,
    /// Flights with the side that sent them, as they were sent.
    flights: Vec<(Side, Vec<u8>)>,
}

impl Handshake {
    fn new(client: &SecureMode, server: &SecureMode) -> Self {
        Self {
            client: client.engine(Side::Client, b"of the client".to_vec()).expect("good"),
            server: server.engine(Side::Server, b"of the server".to_vec()).expect("good"),
            client_keys: Vec::new(),
            server_keys: Vec::new(),
            flights: Vec::new(),
        }
    }

    /// Runs until nobody has anything to say. `change` may touch each flight on its way. The error is that of the side
    /// that refused.
    fn run(&mut self, mut change: impl FnMut(usize, &mut Vec<u8>)) -> Result<(), (Side, EngineError)> {
        let mut from = Side::Client;
        let mut silent = 0;
        while silent < 2 {
            let (speaker, keys, listener, to) = match from {
                Side::Client => (&mut self.client, &mut self.client_keys, &mut self.server, Side::Server),
                Side::Server => (&mut self.server, &mut self.server_keys, &mut self.client, Side::Client),
            };
            // Bytes of different levels are different flights.
            let mut flight = Vec::new();
            let key_change = speaker.write_handshake(&mut flight);
            let said_something = !flight.is_empty() || key_change.is_some();
            keys.extend(key_change.map(|change| match change {
                KeyChange::Handshake(keys) | KeyChange::OneRtt(keys) => keys,
            }));
            if !flight.is_empty() {
                self.flights.push((from, flight.clone()));
                change(self.flights.len() - 1, &mut flight);
                listener.read_handshake(&flight).map_err(|error| (to, error))?;
            }
            if said_something {
                silent = 0;
            } else {
                silent += 1;
                from = to;
            }
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        !self.client.is_handshaking() && !self.server.is_handshaking()
    }
}

fn refused(client: &SecureMode, server: &SecureMode) -> (Side, String) {
    let mut handshake = Handshake::new(client, server);
    let (side, error) = handshake.run(|_, _| {}).expect_err("somebody must refuse");
    let reason = match error {
        EngineError::Identity(reason) => reason,
        EngineError::Untrusted { reason, told } => {
            assert!(told.matches("SHA256:").count() <= 2, "{told}");
            reason
        }
        error => panic!("{error:?}"),
    };
    let refusing = match side {
        Side::Client => &handshake.client,
        Side::Server => &handshake.server,
    };
    assert!(refusing.is_handshaking() && refusing.peer_identity().is_none());
    (side, reason)
}

fn name(key: &PrivateKey) -> String {
    key.public().fingerprint().to_string()
}

#[test]
fn two_sides_that_trust_each_other_know_whom_they_talk_to() {
    let (client, server) = modes();
    let mut handshake = Handshake::new(&client, &server);
    handshake.run(|_, _| {}).expect("they trust each other");
    assert!(handshake.is_complete());
    assert_eq!(handshake.client.peer_params(), Some(&b"of the server"[..]));
    assert_eq!(handshake.server.peer_params(), Some(&b"of the client"[..]));
    let peer = |engine: &dyn Engine| engine.peer_identity().expect("complete").fingerprint().to_string();
    assert_eq!(peer(&*handshake.client), name(&bob()));
    assert_eq!(peer(&*handshake.server), name(&alice()));
    assert_eq!(
        client.local_identity().expect("it has one").fingerprint().to_string(),
        name(&alice())
    );
    let sides: Vec<_> = handshake.flights.iter().map(|(side, _)| *side).collect();
    assert_eq!(sides, [Side::Client, Side::Server, Side::Server, Side::Client]);
}

#[test]
fn handshake_bytes_may_come_in_any_pieces() {
    let (client, server) = modes();
    for piece in [1, 7, 100] {
        let mut handshake = Handshake::new(&client, &server);
        let mut hello = Vec::new();
        handshake.client.write_handshake(&mut hello);
        let (last, first) = hello.split_last().expect("a hello");
        for piece in first.chunks(piece) {
            handshake.server.read_handshake(piece).expect("a part of a hello");
            let mut answer = Vec::new();
            assert!(handshake.server.write_handshake(&mut answer).is_none() && answer.is_empty());
        }
        handshake.server.read_handshake(&[*last]).expect("a whole hello");
        handshake.run(|_, _| {}).expect("they trust each other");
        assert!(handshake.is_complete());
    }
}

#[test]
fn every_suite_works_and_the_servers_order_decides() {
    let all = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::ChaCha20Poly1305];
    let with = |suites: &[Suite]| SecureOptions {
        suites: suites.to_vec(),
        ..SecureOptions::default()
    };
    for (suite, number) in all.into_iter().zip([0x1301u16, 0x1302, 0x1303]) {
        let (client, _) = modes();
        let mut first = vec![suite];
        first.extend(all.into_iter().filter(|other| *other != suite));
        let (_, server) = modes_with(&with(&first));
        let mut handshake = Handshake::new(&client, &server);
        handshake.run(|_, _| {}).expect("a common suite");
        let hello = &handshake.flights[1].1;
        // Type, length, version, random, and the echo of an empty session id.
        assert_eq!(hello[4 + 2 + 32 + 1..][..2], number.to_be_bytes());
        let (mut client, mut server) = (handshake.client_keys.remove(1), handshake.server_keys.remove(1));
        assert_opens(&mut client, &mut server, 0);
        assert_opens(&mut server, &mut client, 0);
    }
    let (client, _) = modes_with(&with(&[Suite::Aes128Gcm]));
    let (_, server) = modes_with(&with(&[Suite::ChaCha20Poly1305]));
    let result = Handshake::new(&client, &server).run(|_, _| {});
    assert!(
        matches!(result, Err((Side::Server, EngineError::Protocol(_)))),
        "{result:?}"
    );
    let none = SecureMode::new(alice(), anybody(), &with(&[]));
    assert!(matches!(none, Err(EngineError::Config(_))));
}

/// A short packet from one to the other.
fn seal(keys: &mut Keys, pn: u64) -> Vec<u8> {
    let first = 0x41 | u8::from(keys.sealer.key_phase()) << 2;
    let mut packet = vec![first, 1, 2, 3, 4, 5, 6, 7, 8, (pn >> 8) as u8, pn as u8];
    packet.extend_from_slice(b"payload");
    packet.extend_from_slice(&[0; 16]);
    keys.sealer.seal(pn, &mut packet, 9, 2).expect("fresh keys");
    packet
}

fn opens(keys: &mut Keys, pn: u64, packet: &[u8]) -> bool {
    let mut packet = packet.to_vec();
    let Ok(pn_bytes) = keys.opener.unprotect_header(&mut packet, 9) else {
        return false;
    };
    let Ok(payload_bytes) = keys.opener.open(pn, &mut packet, 9 + pn_bytes) else {
        return false;
    };
    assert_eq!(packet[9 + pn_bytes..][..payload_bytes], *b"payload");
    true
}

fn assert_opens(from: &mut Keys, to: &mut Keys, pn: u64) {
    let packet = seal(from, pn);
    assert!(!packet.windows(7).any(|window| window == b"payload"));
    assert!(opens(to, pn, &packet));
}

#[test]
fn whoever_is_not_expected_is_refused_with_both_fingerprints() {
    let trusting_bob = mode(alice(), pinned(bob().public()));
    let trusting_alice = mode(bob(), pinned(alice().public()));
    let cases = [
        // A man in the middle with a key of its own, and a client that nobody knows.
        (&trusting_bob, &mode(mallory(), anybody()), Side::Client, bob()),
        (&mode(mallory(), anybody()), &trusting_alice, Side::Server, alice()),
    ];
    for (client, server, refusing, expected) in cases {
        let (side, reason) = refused(client, server);
        assert_eq!(side, refusing, "{reason}");
        assert!(reason.contains(&name(&mallory())), "{reason}");
        assert!(reason.contains(&name(&expected)), "{reason}");
    }
    let nobody = mode(alice(), Arc::new(Pinned::any_of([])));
    let (side, _) = refused(&nobody, &mode(bob(), anybody()));
    assert_eq!(side, Side::Client);
}

/// Shows one key and signs with another.
#[derive(Clone, Debug)]
struct Impostor {
    shows: PublicKey,
    signs: PrivateKey,
    scheme: SignatureScheme,
}

impl SigningKey for Impostor {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }
    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.shows.spki()))
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for Impostor {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        // By the scheme that it names, as it should be: our own signer knows one only.
        let text = KeyText::new(Numbers::Private(self.signs.rsa().clone()), Use::Identity, "").render(Format::Pem);
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).expect("a private key");
        let key = any_supported_type(&key).expect("it is RSA");
        key.choose_scheme(&[self.scheme])
            .expect("one for RSA keys")
            .sign(message)
    }
    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn impostor(shows: &PrivateKey, signs: PrivateKey, scheme: SignatureScheme) -> SecureMode {
    let key = Impostor {
        shows: shows.public().clone(),
        signs: signs.clone(),
        scheme,
    };
    SecureMode::with_key(signs, Arc::new(key), anybody(), &SecureOptions::default()).expect("good options")
}

#[test]
fn whoever_shows_a_key_of_somebody_else_is_refused_even_where_anybody_is_welcome() {
    let scheme = SignatureScheme::RSA_PSS_SHA256;
    for trust in [pinned(bob().public()), anybody()] {
        let (side, reason) = refused(&mode(alice(), trust), &impostor(&bob(), mallory(), scheme));
        assert_eq!(side, Side::Client);
        assert!(
            reason.contains("signature") && reason.contains(&name(&bob())),
            "{reason}"
        );
    }
    for trust in [pinned(alice().public()), anybody()] {
        let (side, reason) = refused(&impostor(&alice(), mallory(), scheme), &mode(bob(), trust));
        assert_eq!(side, Side::Server);
        assert!(
            reason.contains("signature") && reason.contains(&name(&alice())),
            "{reason}"
        );
    }
    // The right key, and a good signature, of a scheme that this protocol does not know.
    for scheme in [SignatureScheme::RSA_PSS_SHA384, SignatureScheme::RSA_PKCS1_SHA256] {
        let mut handshake = Handshake::new(&mode(alice(), anybody()), &impostor(&bob(), bob(), scheme));
        handshake.run(|_, _| {}).expect_err("another scheme");
        assert!(!handshake.is_complete());
    }
}

/// DER, just enough of it (X.690).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag, 0x82];
    bytes.extend_from_slice(&(content.len() as u16).to_be_bytes());
    if content.len() < 128 {
        bytes = vec![tag, content.len() as u8];
    } else if content.len() < 256 {
        bytes = vec![tag, 0x81, content.len() as u8];
    }
    bytes.extend_from_slice(content);
    bytes
}

fn spki(modulus_bytes: usize, exponent: &[u8]) -> Vec<u8> {
    let mut modulus = vec![0xff; modulus_bytes];
    modulus.insert(0, 0);
    let numbers = [der(2, &modulus), der(2, exponent)].concat();
    let mut bits = vec![0];
    bits.extend(der(0x30, &numbers));
    let algorithm = [
        0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    der(0x30, &[der(0x30, &algorithm), der(3, &bits)].concat())
}

/// The exponent of every honest key.
const E: &[u8] = &[1, 0, 1];

#[test]
fn keys_that_are_weak_or_not_alone_are_refused_on_both_sides() {
    let name = ServerName::try_from("x.invalid").expect("a name");
    let now = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
    let both = |shown: &CertificateDer<'_>, rest: &[CertificateDer<'_>]| {
        let server = OfServers(anybody()).verify_server_cert(shown, rest, &name, &[], now);
        let client = OfClients(anybody()).verify_client_cert(shown, rest, now);
        assert_eq!(server.is_ok(), client.is_ok());
        server
            .map(|_| ())
            .map_err(|error| super::engine::refusal(error).to_string())
    };
    let cert = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
    assert_eq!(both(&cert(&spki(256, E)), &[]), Ok(()));
    assert_eq!(both(&cert(bob().public().spki()), &[]), Ok(()));

    let good = cert(bob().public().spki());
    let error = both(&good, std::slice::from_ref(&good)).expect_err("two keys");
    assert!(error.contains("2 keys were shown instead of one"), "{error}");
    both(&good, &[cert(&[])]).expect_err("one key, and nothing behind it");
    for (weak, why) in [
        (spki(128, E), "1024"),
        (spki(111, E), "888"),
        (spki(256, &[3]), "exponent"),
        (b"no key at all".to_vec(), "key"),
        (Vec::new(), "key"),
    ] {
        let error = both(&cert(&weak), &[]).expect_err(why);
        assert!(error.contains(why), "{why}: {error}");
    }
    assert!(OfServers(anybody()).requires_raw_public_keys() && OfClients(anybody()).requires_raw_public_keys());
    assert!(OfClients(anybody()).client_auth_mandatory());
}

/// Notes when it was asked what.
#[derive(Debug, Default)]
struct Diary {
    entries: Mutex<Vec<&'static str>>,
    refuses_to_settle: bool,
}

impl Verify for Diary {
    fn check(&self, _: &PublicKey) -> Result<(), Refusal> {
        self.entries.lock().expect("nobody panics with it").push("check");
        Ok(())
    }
    fn settle(&self, key: &PublicKey) -> Result<(), Refusal> {
        self.entries.lock().expect("nobody panics with it").push("settle");
        if self.refuses_to_settle {
            return Pinned::any_of([]).check(key);
        }
        Ok(())
    }
}

#[test]
fn trust_is_settled_only_when_the_peer_has_finished() {
    for side in [Side::Client, Side::Server] {
        let diary = Arc::new(Diary::default());
        let entries = || diary.entries.lock().expect("nobody panics with it").clone();
        let (client, server) = match side {
            Side::Client => (
                mode(alice(), Arc::clone(&diary) as Arc<dyn Verify>),
                mode(bob(), anybody()),
            ),
            Side::Server => (
                mode(alice(), anybody()),
                mode(bob(), Arc::clone(&diary) as Arc<dyn Verify>),
            ),
        };
        // The last flight to this side comes without its last byte: Finished is not there.
        let last_flight = if side == Side::Client { 2 } else { 3 };
        let mut handshake = Handshake::new(&client, &server);
        let mut last = 0;
        let cut = handshake.run(|ordinal, flight| {
            if ordinal == last_flight {
                last = flight.pop().expect("it has bytes");
            }
        });
        assert_eq!(cut, Ok(()));
        assert_eq!(entries(), ["check"]);
        assert!(!handshake.is_complete());
        let listener = match side {
            Side::Client => &mut handshake.client,
            Side::Server => &mut handshake.server,
        };
        listener.read_handshake(&[last ^ 1]).expect_err("a wrong Finished");
        assert_eq!(entries(), ["check"], "{side:?}");

        let mut handshake = Handshake::new(&client, &server);
        handshake.run(|_, _| {}).expect("they trust each other");
        assert_eq!(entries(), ["check", "check", "settle"]);
    }
}

#[test]
fn a_refusal_at_the_last_moment_refuses_the_peer() {
    let late = || {
        Arc::new(Diary {
            refuses_to_settle: true,
            ..Diary::default()
        })
    };
    let (side, reason) = refused(&mode(alice(), late()), &mode(bob(), anybody()));
    assert_eq!(side, Side::Client);
    assert!(reason.contains(&name(&bob())), "{reason}");
    let (side, reason) = refused(&mode(alice(), anybody()), &mode(bob(), late()));
    assert_eq!(side, Side::Server);
    assert!(reason.contains(&name(&alice())), "{reason}");
}

#[test]
fn nobody_on_the_way_can_change_a_byte_of_a_hello() {
    // Whoever sees an INITIAL can write one, so the hellos are open to all; what they say is signed in the end.
    let (client, server) = modes();
    let mut sizes = [0; 2];
    Handshake::new(&client, &server)
        .run(|ordinal, flight| {
            if ordinal < 2 {
                sizes[ordinal] = flight.len();
            }
        })
        .expect("nobody touched it");
    assert!(sizes[0] > 1200, "the key of ML-KEM does not fit one datagram");
    let mut tried = 0;
    for (which, size) in sizes.into_iter().enumerate() {
        for index in (0..size).step_by(17) {
            let mut handshake = Handshake::new(&client, &server);
            let result = handshake.run(|ordinal, flight| {
                if ordinal == which {
                    flight[index] ^= 1 << (index % 8);
                }
            });
            // A length that says "more is to come" makes a side wait for ever.
            assert!(
                result.is_err() || !handshake.is_complete(),
                "hello {which}, byte {index}"
            );
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
}

/// The extensions of a hello: its number and its content.
fn extensions(hello: &[u8], is_client: bool) -> Vec<(u16, Vec<u8>)> {
    let u16_at = |at: usize| usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    // Type, length, version, random; session id; suites; compression.
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    if is_client {
        at += 2 + u16_at(at);
        at += 1 + usize::from(hello[at]);
    } else {
        at += 2 + 1;
    }
    let end = at + 2 + u16_at(at);
    assert_eq!(end, hello.len());
    at += 2;
    let mut all = Vec::new();
    while at < end {
        let bytes = u16_at(at + 2);
        all.push((u16_at(at) as u16, hello[at + 4..][..bytes].to_vec()));
        at += 4 + bytes;
    }
    all
}

/// RFC 8446, section 4.2, and RFC 7250.
mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const SUPPORTED_GROUPS: u16 = 10;
    pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(super) const ALPN: u16 = 16;
    pub(super) const CLIENT_CERTIFICATE_TYPE: u16 = 19;
    pub(super) const SERVER_CERTIFICATE_TYPE: u16 = 20;
    pub(super) const SESSION_TICKET: u16 = 35;
    pub(super) const PRE_SHARED_KEY: u16 = 41;
    pub(super) const EARLY_DATA: u16 = 42;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
    pub(super) const PSK_KEY_EXCHANGE_MODES: u16 = 45;
    pub(super) const KEY_SHARE: u16 = 51;
}

/// RFC 8446, section 4.2.7.
const X25519_MLKEM768: [u8; 2] = [0x11, 0xec];
const X25519: [u8; 2] = [0, 0x1d];

#[test]
fn identity_keys_alone_do_not_decrypt_a_recording() {
    // The secrets come from a key exchange whose private parts are made for one connection and wiped; identities sign,
    // and nothing is offered that would make secrets from anything older.
    let (client, server) = modes();
    let mut handshake = Handshake::new(&client, &server);
    handshake.run(|_, _| {}).expect("they trust each other");
    let offered = extensions(&handshake.flights[0].1, true);
    let find = |number: u16| {
        offered
            .iter()
            .find(|(found, _)| *found == number)
            .map(|(_, content)| &content[..])
    };
    assert_eq!(
        find(extension::SUPPORTED_GROUPS),
        Some(&[0, 4, 0x11, 0xec, 0, 0x1d][..])
    );
    assert_eq!(find(extension::KEY_SHARE).expect("shares")[2..4], X25519_MLKEM768);
    assert_eq!(find(extension::PRE_SHARED_KEY), None);
    assert_eq!(find(extension::EARLY_DATA), None);
    assert_eq!(find(extension::SERVER_NAME), None);
    assert!(find(extension::SESSION_TICKET).is_none_or(<[u8]>::is_empty));
    if let Some([_, modes @ ..]) = find(extension::PSK_KEY_EXCHANGE_MODES) {
        assert_eq!(modes, [1], "psk_ke would make secrets without a key exchange");
    }
    assert_eq!(
        find(extension::SUPPORTED_VERSIONS),
        Some(&[2, 3, 4][..]),
        "TLS 1.3 and nothing else"
    );
    assert_eq!(find(extension::SIGNATURE_ALGORITHMS), Some(&[0, 2, 8, 4][..]));
    assert_eq!(
        find(extension::CLIENT_CERTIFICATE_TYPE),
        Some(&[1, 2][..]),
        "raw public keys and nothing else"
    );
    assert_eq!(find(extension::SERVER_CERTIFICATE_TYPE), Some(&[1, 2][..]));
    assert_eq!(find(extension::ALPN), Some(&b"\x00\x0f\x0esecurestream/1"[..]));

    let taken = extensions(&handshake.flights[1].1, false);
    let share = taken
        .iter()
        .find(|(found, _)| *found == extension::KEY_SHARE)
        .expect("a share");
    assert_eq!(share.1[..2], X25519_MLKEM768);
    assert_ne!(share.1[..2], X25519);
    assert!(taken.iter().all(|(number, _)| *number != extension::PRE_SHARED_KEY));

    // The same identities again: other secrets.
    let mut again = Handshake::new(&client, &server);
    again.run(|_, _| {}).expect("they trust each other");
    let packet = seal(&mut handshake.client_keys[1], 0);
    assert!(!opens(&mut again.server_keys[1], 0, &packet));
    assert!(!opens(&mut handshake.client_keys[1], 0, &packet), "reflected");
    assert!(opens(&mut handshake.server_keys[1], 0, &packet));
    // After the handshake TLS says nothing more: no tickets.
    assert_eq!(handshake.flights.len(), 4);
}

#[test]
fn a_client_without_a_key_and_one_of_another_protocol_are_refused() {
    let (_, server) = modes();
    // No raw key can be shown by a client whose hello offers only certificates of the usual kind.
    let (client, _) = modes();
    for (number, why) in [
        (extension::CLIENT_CERTIFICATE_TYPE, "its own type"),
        (extension::SERVER_CERTIFICATE_TYPE, "ours"),
        (extension::ALPN, "the protocol"),
    ] {
        let mut handshake = Handshake::new(&client, &server);
        let result = handshake.run(|ordinal, flight| {
            if ordinal == 0 {
                // Under a number that nobody knows the extension is ignored.
                let content = extensions(flight, true);
                let (_, content) = content
                    .iter()
                    .find(|(found, _)| *found == number)
                    .expect("it is offered");
                let mut wanted = number.to_be_bytes().to_vec();
                wanted.extend_from_slice(&(content.len() as u16).to_be_bytes());
                wanted.extend_from_slice(content);
                let at = flight
                    .windows(wanted.len())
                    .position(|window| window == wanted)
                    .expect("it is there");
                flight[at..at + 2].copy_from_slice(&[0xfa, 0xce]);
            }
        });
        assert!(
            matches!(result, Err((Side::Server, EngineError::Protocol(_)))),
            "{why}: {result:?}"
        );
    }
}

#[test]
fn the_key_log_is_off_unless_asked_for_and_then_has_all_secrets() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("keys.log");
    let log = super::KeyLogFile::append(&path).expect("a new file");
    let options = SecureOptions {
        key_log: Some(Arc::new(log)),
        ..SecureOptions::default()
    };
    let (client, _) = modes_with(&options);
    let (_, server) = modes();
    Handshake::new(&client, &server)
        .run(|_, _| {})
        .expect("they trust each other");
    let text = std::fs::read_to_string(&path).expect("it was written");
    for label in [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    ] {
        let line = text.lines().find(|line| line.starts_with(label)).expect(label);
        let parts: Vec<_> = line.split(' ').collect();
        assert_eq!((parts.len(), parts[1].len(), parts[2].len()), (3, 64, 64), "{line}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let bits = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(bits & 0o777, 0o600);
    }
}

#[test]
fn a_known_peer_whose_key_has_changed_is_refused_and_a_stranger_is_remembered_only_when_proven() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("known_peers");
    let known = || -> Arc<dyn Verify> {
        Arc::new(KnownPeers::open(&file, "bob.example:7000", true).expect("a file that is not there yet"))
    };
    let scheme = SignatureScheme::RSA_PSS_SHA256;
    // Whoever only pretends is not remembered.
    refused(&mode(alice(), known()), &impostor(&mallory(), bob(), scheme));
    for _ in 0..2 {
        let (client, server) = (mode(alice(), known()), mode(bob(), anybody()));
        Handshake::new(&client, &server)
            .run(|_, _| {})
            .expect("the first time, and every time after");
    }
    let (side, reason) = refused(&mode(alice(), known()), &mode(mallory(), anybody()));
    assert_eq!(side, Side::Client);
    assert!(
        reason.contains(&name(&mallory())) && reason.contains(&name(&bob())),
        "{reason}"
    );
    assert!(
        reason.contains("known_peers"),
        "our own people hear where to look: {reason}"
    );
    let (_, error) = Handshake::new(&mode(alice(), known()), &mode(mallory(), anybody()))
        .run(|_, _| {})
        .expect_err("still another one");
    let EngineError::Untrusted { told, .. } = error else {
        panic!("{error:?}");
    };
    let expected = format!(
        "the key {} was shown, and {} was expected",
        name(&mallory()),
        name(&bob())
    );
    assert_eq!(told, expected, "and a stranger does not");
}
