//! The handshake of one connection: rustls behind our seam.
//!
//! Complete means here: TLS is complete, so the peer has proven that it owns the key that it showed and that nobody
//! changed a byte on the way, and *then* trust was settled with that key. RFC 9001, section 4.1; RFC 8446, section 4.4.

use std::sync::Arc;

use rustls::quic::{self, Connection};
use rustls::{CertificateError, Error};

use super::key_update::{Volume, one_rtt};
use super::protect::long_lived;
use super::verifier::{Refused, key_of};
use crate::crypto::engine::{Engine, EngineError, KeyChange, Keys};
use crate::crypto::identity::PublicKey;
use crate::crypto::trust::Verify;

const NO_KEY: &str = "no key was shown";

/// See the module.
pub(super) struct TlsEngine {
    connection: Connection,
    trust: Arc<dyn Verify>,
    volume: Volume,
    /// Whose key was proven and is trusted.
    peer: Option<PublicKey>,
}

impl TlsEngine {
    pub(super) fn new(connection: Connection, trust: Arc<dyn Verify>, volume: Volume) -> Self {
        Self {
            connection,
            trust,
            volume,
            peer: None,
        }
    }

    /// TLS is complete: is everybody happy with whom it was made?
    fn settle(&self) -> Result<PublicKey, Refused> {
        let shown = self.connection.peer_certificates().unwrap_or_default();
        let (first, rest) = shown.split_first().ok_or_else(|| Refused::unproven(NO_KEY))?;
        let key = key_of(first, rest)?;
        self.trust
            .settle(&key)
            .map_err(|refusal| Refused::untrusted(&refusal))?;
        Ok(key)
    }
}

impl Engine for TlsEngine {
    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        Some(match self.connection.write_hs(out)? {
            quic::KeyChange::Handshake { keys } => KeyChange::Handshake(long_lived(keys)),
            quic::KeyChange::OneRtt { keys, next } => {
                let (sealer, opener) = one_rtt(keys, next, self.volume);
                KeyChange::OneRtt(Keys {
                    sealer: Box::new(sealer),
                    opener: Box::new(opener),
                })
            }
        })
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.connection.read_hs(bytes).map_err(refusal)?;
        if self.peer.is_none() && !self.connection.is_handshaking() {
            let peer = self.settle().map_err(|Refused(error)| error)?;
            self.peer = Some(peer);
        }
        Ok(())
    }

    fn is_handshaking(&self) -> bool {
        self.peer.is_none()
    }

    fn peer_params(&self) -> Option<&[u8]> {
        self.connection.quic_transport_parameters()
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn peer_identity(&self) -> Option<PublicKey> {
        self.peer.clone()
    }
}

/// Whose fault it is, in our words.
pub(super) fn refusal(error: Error) -> EngineError {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref::<Refused>() {
            Some(Refused(error)) => error.clone(),
            None => EngineError::Identity(other.to_string()),
        },
        Error::InvalidCertificate(error) => EngineError::Identity(error.to_string()),
        Error::NoCertificatesPresented => EngineError::Identity(NO_KEY.to_owned()),
        Error::General(_) | Error::FailedToGetRandomBytes | Error::FailedToGetCurrentTime | Error::EncryptError => {
            EngineError::Config(error.to_string())
        }
        // Everything else is what no correct peer sends.
        error => EngineError::Protocol(error.to_string()),
    }
}
