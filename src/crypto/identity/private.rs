//! A private key that proves an identity.

use super::der;
use super::error::KeyError;
use super::public::{MAX_BITS, PublicKey};
use super::rsa::RsaPrivate;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use std::fmt;
use std::sync::Arc;

/// What the key for stateless resets is derived for.
const RESET_INFO: &[u8] = b"securestream/1 reset";

/// The private key of an identity. Clones share it; it is wiped from memory with the last one.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    public: PublicKey,
    rsa: RsaPrivate,
    signer: RsaKeyPair,
    ephemeral: bool,
}

impl PrivateKey {
    /// Takes the numbers of a key, whatever it was made for.
    ///
    /// # Errors
    /// Those of [`PublicKey::new`], and [`KeyError::Crypto`] if the cryptographic library finds fault with them.
    pub fn new(rsa: RsaPrivate) -> Result<Self, KeyError> {
        Self::with_life(rsa, false)
    }

    fn with_life(rsa: RsaPrivate, ephemeral: bool) -> Result<Self, KeyError> {
        let public = PublicKey::new(rsa.public().clone())?;
        let components = KeyPairComponents {
            public_key: PublicKeyComponents {
                n: rsa.public().n().bytes(),
                e: rsa.public().e().bytes(),
            },
            d: rsa.d().bytes(),
            p: rsa.p().bytes(),
            q: rsa.q().bytes(),
            dP: rsa.dp().bytes(),
            dQ: rsa.dq().bytes(),
            qInv: rsa.qi().bytes(),
        };
        let signer = RsaKeyPair::from_components(&components).map_err(|_| KeyError::Crypto { what: "take the key" })?;
        Ok(Self(Arc::new(Inner {
            public,
            rsa,
            signer,
            ephemeral,
        })))
    }

    /// Makes a new key of 2048, 3072, 4096 or 8192 bits. Takes from a tenth of a second to minutes.
    ///
    /// # Errors
    /// [`KeyError::Bits`] for another length; [`KeyError::Crypto`] if there is no randomness.
    pub fn generate(bits: usize) -> Result<Self, KeyError> {
        Self::new(generate(bits)?)
    }

    /// Makes a key of as many bits that nobody will keep: no stateless resets are promised in its name, for who comes
    /// after it could not send them.
    ///
    /// # Errors
    /// Those of [`PrivateKey::generate`].
    pub fn ephemeral(bits: usize) -> Result<Self, KeyError> {
        Self::with_life(generate(bits)?, true)
    }

    /// Whether nobody will keep it.
    pub fn is_ephemeral(&self) -> bool {
        self.0.ephemeral
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.0.public
    }

    /// Its numbers.
    pub fn rsa(&self) -> &RsaPrivate {
        &self.0.rsa
    }

    /// RSASSA-PSS with SHA-256 (RFC 8017, section 8.1; `rsa_pss_rsae_sha256` of RFC 8446). The signature is as long as the
    /// modulus.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] if the cryptographic library fails.
    pub fn sign_pss_sha256(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.0.signer.public_modulus_len()];
        self.0
            .signer
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| KeyError::Crypto { what: "sign" })?;
        Ok(signature)
    }

    /// The secret for stateless resets (RFC 9000, section 10.3.2): HKDF-SHA256 of the private exponent, so that it is the
    /// same after a restart, in whatever format the key was kept.
    pub fn reset_key(&self) -> [u8; 32] {
        let secret = Salt::new(HKDF_SHA256, &[]).extract(self.0.rsa.d().bytes());
        let mut key = [0; 32];
        secret
            .expand(&[RESET_INFO], HKDF_SHA256)
            .and_then(|material| material.fill(&mut key))
            .expect("HKDF-SHA256 gives 32 bytes");
        key
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.0.public.fingerprint())
    }
}

/// New numbers from the cryptographic library.
pub(super) fn generate(bits: usize) -> Result<RsaPrivate, KeyError> {
    const NOT_MADE: KeyError = KeyError::Crypto { what: "make a key" };
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        MAX_BITS => KeySize::Rsa8192,
        _ => return Err(KeyError::Bits { bits }),
    };
    let made = RsaKeyPair::generate(size).map_err(|_| NOT_MADE)?;
    let der = made.as_der().map_err(|_| NOT_MADE)?;
    der::parse_pkcs8(der.as_ref())
}
