//! The short name of a public key, as `ssh-keygen -lf` prints it.

use super::rsa::RsaPublic;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::fmt;

/// SHA-256 over the SSH form of a public key (string `ssh-rsa`, mpint e, mpint n: RFC 4253, section 6.6).
///
/// Shown as `SHA256:` and unpadded base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; SHA256_OUTPUT_LEN]);

impl Fingerprint {
    /// The fingerprint of a key of any size.
    pub fn of(key: &RsaPublic) -> Self {
        let mut blob = Vec::new();
        string(&mut blob, b"ssh-rsa");
        mpint(&mut blob, key.e().bytes());
        mpint(&mut blob, key.n().bytes());
        let hash = digest(&SHA256, &blob);
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// RFC 4251, section 5.
fn string(blob: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("keys are far shorter");
    blob.extend_from_slice(&length.to_be_bytes());
    blob.extend_from_slice(bytes);
}

/// RFC 4251, section 5: a positive number whose first bit is set begins with a zero byte.
fn mpint(blob: &mut Vec<u8>, magnitude: &[u8]) {
    if magnitude.first().is_some_and(|first| first & 0x80 != 0) {
        string(blob, &[&[0], magnitude].concat());
    } else {
        string(blob, magnitude);
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
