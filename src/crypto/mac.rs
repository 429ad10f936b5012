//! A keyed hash over a few pieces of bytes, and comparison that tells nothing by its time.
//!
//! For what this side gives away and wants to recognise later without having kept it: tokens for addresses (RFC 9000,
//! section 8.1.4) and for stateless resets (section 10.3.2). HMAC-SHA256 (RFC 2104) by aws-lc.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use std::fmt;

/// Bytes of a tag.
pub const TAG_BYTES: usize = 32;

/// A key.
#[derive(Clone)]
pub struct Mac(Key);

impl Mac {
    /// From 32 secret bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Key::new(HMAC_SHA256, secret))
    }

    /// The tag of all pieces, one behind the other. They must be of fixed length, or have their length in front.
    pub fn tag(&self, pieces: &[&[u8]]) -> [u8; TAG_BYTES] {
        let mut context = Context::with_key(&self.0);
        for piece in pieces {
            context.update(piece);
        }
        context.sign().as_ref().try_into().expect("SHA-256 makes as many bytes")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(..)")
    }
}

/// Whether both are the same. Takes as long for any two of equal length.
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_the_key_and_on_every_piece() {
        let tag = Mac::new(&[1; 32]).tag(&[b"one", b"two"]);
        assert!(is_same(&tag, &Mac::new(&[1; 32]).tag(&[b"one", b"two"])));
        for other in [
            Mac::new(&[2; 32]).tag(&[b"one", b"two"]),
            Mac::new(&[1; 32]).tag(&[b"one", b"twp"]),
            Mac::new(&[1; 32]).tag(&[b"ome", b"two"]),
        ] {
            assert!(!is_same(&tag, &other));
        }
        assert!(!is_same(&tag, &tag[1..]));
    }

    /// RFC 4231, section 4.2, with its key of 20 bytes filled up to 32 as HMAC does.
    #[test]
    fn it_is_hmac_sha256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let tag = Mac::new(&key).tag(&[b"Hi ", b"There"]);
        assert_eq!(tag[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
    }
}
