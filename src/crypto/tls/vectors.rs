//! The examples of RFC 9001, appendix A, through our code. The header parsers want ids of eight bytes and our version, so
//! the headers are given as they stand there.

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::quic::DirectionalKeys;
use rustls::{CipherSuite, Tls13CipherSuite};

use super::initial::{initial_keys, retry_tag};
use super::protect::{PacketSealer, TAG_BYTES, open, unprotect};
use crate::crypto::engine::{Sealer, Side};

/// The destination id of the client's first packet.
const ID: &str = "8394c8f03e515708";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|digit| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn packet(header: &str, payload: &[u8]) -> Vec<u8> {
    let mut packet = hex(header);
    packet.extend_from_slice(payload);
    packet.extend_from_slice(&[0; TAG_BYTES]);
    packet
}

/// A.2: everything up to the sample, and the tag, which depends on every byte between.
#[test]
fn the_client_initial_of_the_rfc_is_sealed_byte_by_byte_and_opened() {
    let mut payload = hex("060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868
         04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578
         616d706c652e636f6dff01000100000a00080006001d00170018001000070005
         04616c706e000500050100000000003300260024001d00209370b2c9caa47fba
         baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400
         0d0010000e0403050306030203080408050806002d00020101001c0002400100
         3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000
         75300901100f088394c8f03e51570806048000ffff");
    payload.resize(1162, 0);
    let header = "c300000001088394c8f03e5157080000449e00000002";
    let plain = packet(header, &payload);
    let mut sealed = plain.clone();
    let mut client = initial_keys(Side::Client, &hex(ID));
    client.sealer.seal(2, &mut sealed, 18, 4).expect("fresh keys");
    assert_eq!(sealed.len(), 1200);
    let start = "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c";
    assert_eq!(sealed[..48], hex(start));
    assert_eq!(sealed[1200 - TAG_BYTES..], hex("e221af44860018ab0856972e194cd934"));

    let mut server = initial_keys(Side::Server, &hex(ID));
    assert_eq!(server.opener.unprotect_header(&mut sealed, 18), Ok(4));
    assert_eq!(sealed[..22], hex(header));
    assert_eq!(server.opener.open(2, &mut sealed, 22), Ok(1162));
    assert_eq!(sealed[22..][..1162], payload);
}

/// A.3.
#[test]
fn the_server_initial_of_the_rfc_is_sealed_byte_by_byte_and_opened() {
    let payload = hex("02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf739
         88cfc79825df566dc5430b9a045a1200130100002e00330024001d00209d3c94
         0d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00
         020304");
    let mut sealed = packet("c1000000010008f067a5502a4262b50040750001", &payload);
    let mut server = initial_keys(Side::Server, &hex(ID));
    server.sealer.seal(1, &mut sealed, 18, 2).expect("fresh keys");
    let expected = "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a
         5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3
         dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84
         022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc4
         2158407dd074ee";
    assert_eq!(sealed, hex(expected));

    let mut client = initial_keys(Side::Client, &hex(ID));
    assert_eq!(client.opener.unprotect_header(&mut sealed, 18), Ok(2));
    assert_eq!(client.opener.open(1, &mut sealed, 20), Ok(payload.len()));
    assert_eq!(sealed[20..][..payload.len()], payload);
}

/// A.4.
#[test]
fn the_retry_of_the_rfc_has_its_tag() {
    let retry = hex("ff000000010008f067a5502a4262b5746f6b656e");
    assert_eq!(retry_tag(&hex(ID), &retry), *hex("04a265ba2eff4d829058fb3f0f2496ba"));
    assert_ne!(
        retry_tag(&hex("8394c8f03e515709"), &retry),
        *hex("04a265ba2eff4d829058fb3f0f2496ba")
    );
}

/// A.5: a short header, a packet number of three bytes, `ChaCha20`.
#[test]
fn the_short_packet_of_the_rfc_is_sealed_byte_by_byte_and_opened() {
    let pn = 654_360_564;
    let suite = TLS13_CHACHA20_POLY1305_SHA256
        .tls13()
        .and_then(Tls13CipherSuite::quic_suite);
    let suite = suite.expect("a suite of QUIC");
    assert_eq!(suite.suite.common.suite, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let secret = |text: &str| AeadKey::from(<[u8; 32]>::try_from(hex(text)).expect("32 bytes"));
    let keys = || DirectionalKeys {
        header: suite.quic.header_protection_key(secret(
            "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4",
        )),
        packet: suite.quic.packet_key(
            secret("c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8"),
            Iv::from(<[u8; 12]>::try_from(hex("e0459b3474bdd0e44a41c144")).expect("12 bytes")),
        ),
    };
    let mut sealed = packet("4200bff4", &[1]);
    PacketSealer::new(keys())
        .seal(pn, &mut sealed, 1, 3)
        .expect("fresh keys");
    assert_eq!(sealed, hex("4cfe4189655e5cd55c41f69080575d7999c25a5bfb"));

    let keys = keys();
    assert_eq!(unprotect(&*keys.header, &mut sealed, 1), Ok(3));
    assert_eq!(open(&*keys.packet, pn, &mut sealed, 4), Ok(1));
    assert_eq!(sealed[..5], hex("4200bff401"));
}
