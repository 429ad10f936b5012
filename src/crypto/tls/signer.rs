//! Our own identity as rustls wants to see it: a key that signs with RSA-PSS-SHA256 and nothing else.

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

use super::verifier::SCHEME;
use crate::crypto::identity::PrivateKey;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Identity(pub(super) PrivateKey);

impl SigningKey for Identity {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SCHEME)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.0.public().spki()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for Identity {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0
            .sign_pss_sha256(message)
            .map_err(|error| Error::General(format!("the handshake could not be signed: {error}")))
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}
