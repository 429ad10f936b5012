//! Is the peer who it should be? The three questions of TLS 1.3 with raw public keys (RFC 7250): does it show exactly one
//! key, is that key trusted, and did it sign this very handshake with it.
//!
//! The signature is checked whatever the trust is: with [`Unauthenticated`](crate::crypto::trust::Unauthenticated) too
//! the peer owns the key that it shows. RFC 8446, sections 4.4.2 and 4.4.3.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, SignatureScheme,
};

use crate::crypto::engine::EngineError;
use crate::crypto::identity::PublicKey;
use crate::crypto::trust::{Refusal, Verify};

/// The only signatures that this protocol knows.
pub(super) const SCHEME: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;

/// Why a peer's identity was refused; travels through the errors of rustls and comes out as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub(super) struct Refused(pub(super) EngineError);

impl Refused {
    /// The peer could not prove who it is.
    pub(super) fn unproven(reason: impl Into<String>) -> Self {
        Self(EngineError::Identity(reason.into()))
    }

    /// The peer is somebody else. It may hear which key was expected, so that people find their mistakes, but not which
    /// files and how many keys there are.
    pub(super) fn untrusted(refusal: &Refusal) -> Self {
        let offered = refusal.offered();
        let told = match refusal.expected() {
            [expected] => format!("the key {offered} was shown, and {expected} was expected"),
            _ => format!("the key {offered} is not trusted"),
        };
        Self(EngineError::Untrusted {
            reason: refusal.to_string(),
            told,
        })
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

/// What stands where TLS usually has a certificate: one key, nothing behind it.
pub(super) fn key_of(shown: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<PublicKey, Refused> {
    if !rest.is_empty() {
        let reason = format!("{} keys were shown instead of one", 1 + rest.len());
        return Err(Refused::unproven(reason));
    }
    PublicKey::from_spki(shown).map_err(|error| Refused::unproven(format!("the key shown cannot be used: {error}")))
}

fn check_key(trust: &dyn Verify, shown: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
    let key = key_of(shown, rest)?;
    trust.check(&key).map_err(|refusal| Refused::untrusted(&refusal))?;
    Ok(())
}

fn check_signature(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = key_of(shown, &[])?;
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let spki = SubjectPublicKeyInfoDer::from(shown.as_ref());
    let is_valid =
        signed.scheme == SCHEME && verify_tls13_signature_with_raw_key(message, &spki, signed, &algorithms).is_ok();
    if !is_valid {
        let reason = format!(
            "the signature was not made with the key that was shown, {}",
            key.fingerprint()
        );
        return Err(Refused::unproven(reason).into());
    }
    Ok(HandshakeSignatureValid::assertion())
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::Tls12NotOffered.into())
}

/// Of a client: looks at the server.
#[derive(Debug)]
pub(super) struct OfServers(pub(super) Arc<dyn Verify>);

impl ServerCertVerifier for OfServers {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check_key(&*self.0, shown, rest).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Of a server: looks at clients. There are none without a key.
#[derive(Debug)]
pub(super) struct OfClients(pub(super) Arc<dyn Verify>);

impl ClientCertVerifier for OfClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check_key(&*self.0, shown, rest).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
