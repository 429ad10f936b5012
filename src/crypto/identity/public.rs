//! A public key that can be somebody's identity.

use super::der;
use super::error::KeyError;
use super::fingerprint::Fingerprint;
use super::rsa::RsaPublic;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// An identity has a modulus of this many bits or more (RFC 8446 asks for no less).
pub const MIN_BITS: usize = 2048;

/// ... and of no more: what the cryptographic library takes, and what fits into the handshake.
pub const MAX_BITS: usize = 8192;

/// The public exponent of all identities.
pub(super) const EXPONENT: u32 = 65_537;

/// The public key of an identity: RSA, 2048 to 8192 bits, public exponent 65537. Clones share it.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    rsa: RsaPublic,
    spki: Vec<u8>,
    fingerprint: Fingerprint,
}

impl PublicKey {
    /// Takes the numbers of a key, whatever it was made for.
    ///
    /// # Errors
    /// [`KeyError::TooShort`], [`KeyError::TooLong`] or [`KeyError::Exponent`] if it cannot be an identity.
    pub fn new(rsa: RsaPublic) -> Result<Self, KeyError> {
        let bits = rsa.bits();
        if bits < MIN_BITS {
            return Err(KeyError::TooShort { bits });
        }
        if bits > MAX_BITS {
            return Err(KeyError::TooLong { bits });
        }
        if *rsa.e() != EXPONENT.into() {
            return Err(KeyError::Exponent);
        }
        let (spki, fingerprint) = (der::spki(&rsa), Fingerprint::of(&rsa));
        Ok(Self(Arc::new(Inner { rsa, spki, fingerprint })))
    }

    /// Reads a `SubjectPublicKeyInfo` in DER (RFC 5280, section 4.1), as it comes in a handshake (RFC 7250). Only the one
    /// right encoding is taken.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for anything else, and the errors of [`PublicKey::new`].
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let key = Self::new(der::parse_spki(der)?)?;
        if key.spki() == der {
            Ok(key)
        } else {
            Err(KeyError::malformed("DER", "not the canonical encoding"))
        }
    }

    /// The `SubjectPublicKeyInfo` in DER.
    pub fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    /// Length of the modulus in bits.
    pub fn bits(&self) -> usize {
        self.0.rsa.bits()
    }

    /// The name to show and to compare.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// Its numbers.
    pub fn rsa(&self) -> &RsaPublic {
        &self.0.rsa
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.rsa == other.0.rsa
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.rsa.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.0.fingerprint)
    }
}
