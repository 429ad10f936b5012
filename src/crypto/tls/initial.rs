//! What everybody on the way can compute: the keys of INITIAL packets and the tag of a Retry.
//!
//! They protect against accidents and against strangers who do not see the packets, not against somebody on the path.
//! Salt, key and nonce are those of QUIC version 1: our version field is another one, so nothing can be mixed up, and
//! the vectors of RFC 9001, appendix A, hold. RFC 9001, sections 5.2 and 5.8.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{Suite, Version};
use rustls::{CipherSuite, Tls13CipherSuite};

use super::protect::{TAG_BYTES, long_lived};
use crate::crypto::engine::{Keys, Side};

const RETRY_KEY: [u8; 16] = [
    0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e,
];
const RETRY_NONCE: [u8; NONCE_LEN] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];

/// INITIAL packets use AES-128-GCM, whatever is agreed on later.
fn suite() -> Suite {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().and_then(Tls13CipherSuite::quic_suite);
    debug_assert_eq!(TLS13_AES_128_GCM_SHA256.suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
    suite.expect("rustls knows the QUIC side of the suite that QUIC itself requires")
}

/// Made from the first destination id of the client.
pub(super) fn initial_keys(side: Side, client_destination_id: &[u8]) -> Keys {
    let side = match side {
        Side::Client => rustls::Side::Client,
        Side::Server => rustls::Side::Server,
    };
    long_lived(suite().keys(client_destination_id, side, Version::V1))
}

/// The tag over a Retry packet, `retry`, which answered a packet to `original_destination_id`.
pub(super) fn retry_tag(original_destination_id: &[u8], retry: &[u8]) -> [u8; TAG_BYTES] {
    let mut pseudo = Vec::with_capacity(1 + original_destination_id.len() + retry.len());
    pseudo.push(u8::try_from(original_destination_id.len()).expect("a connection id has at most 20 bytes"));
    pseudo.extend_from_slice(original_destination_id);
    pseudo.extend_from_slice(retry);
    let key = UnboundKey::new(&AES_128_GCM, &RETRY_KEY).expect("the key has the length of the cipher");
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(RETRY_NONCE), Aad::from(&pseudo), &mut [])
        .expect("a packet is far shorter than what the cipher takes");
    tag.as_ref().try_into().expect("the tag of GCM has 16 bytes")
}
