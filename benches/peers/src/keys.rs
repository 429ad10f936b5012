//! Two identities of RSA-3072, and TLS configurations for the others in which each side shows its raw public key and
//! expects that of the other (RFC 7250): what our own secure mode does.

use crate::Fallible;
use crate::work::Role;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use securestream::identity::{Existing, Format, KeyText, Numbers, PrivateKey, PublicKey, Use};
use securestream::trust::{Pinned, Trust};
use securestream::{SecureOptions, Security, Suite};
use std::path::Path;
use std::sync::Arc;

/// What the others call our protocol.
const ALPN: &[u8] = b"peers";
const BITS: usize = 3072;
const PEM_NAME: &str = "private.pem";

/// The folder of a side.
fn name(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Client => "client",
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

/// Makes the keys of both sides in `directory`.
pub fn make(directory: &Path) -> Fallible<()> {
    for role in [Role::Server, Role::Client] {
        let folder = directory.join(name(role));
        std::fs::create_dir(&folder)?;
        let key = PrivateKey::generate(BITS)?;
        let text = KeyText::new(Numbers::Private(key.rsa().clone()), Use::Identity, "");
        text.write_pair(&folder, Existing::Keep)?;
        std::fs::write(folder.join(PEM_NAME), text.render(Format::Pem).as_bytes())?;
    }
    Ok(())
}

fn public(directory: &Path, role: Role) -> Fallible<PublicKey> {
    Ok(PublicKey::load(directory.join(name(role)).join("public.key"))?)
}

/// Our own mode, with the cipher that all are measured with.
pub fn security(directory: &Path, role: Role) -> Fallible<Security> {
    let own = PrivateKey::load(directory.join(name(role)).join("private.key"))?;
    let trust = Trust::Pinned(Pinned::new(public(directory, other(role))?));
    let options = SecureOptions {
        suites: vec![Suite::Aes128Gcm],
        ..SecureOptions::default()
    };
    Ok(Security::secure_with(own, trust, &options)?)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    })
}

fn certified(directory: &Path, role: Role) -> Fallible<Arc<CertifiedKey>> {
    let key = PrivateKeyDer::from_pem_file(directory.join(name(role)).join(PEM_NAME))?;
    let key = aws_lc_rs::sign::any_supported_type(&key)?;
    let spki = public(directory, role)?.spki().to_vec();
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key)))
}

fn expected(directory: &Path, role: Role) -> Fallible<Arc<Expected>> {
    Ok(Arc::new(Expected {
        spki: public(directory, other(role))?.spki().to_vec(),
    }))
}

/// For a client of rustls or of what is built on it.
pub fn client_config(directory: &Path) -> Fallible<rustls::ClientConfig> {
    let resolver = AlwaysResolvesClientRawPublicKeys::new(certified(directory, Role::Client)?);
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(expected(directory, Role::Client)?)
        .with_client_cert_resolver(Arc::new(resolver));
    // Ours resumes nothing either.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// For a server of rustls or of what is built on it.
pub fn server_config(directory: &Path) -> Fallible<rustls::ServerConfig> {
    let resolver = AlwaysResolvesServerRawPublicKeys::new(certified(directory, Role::Server)?);
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(expected(directory, Role::Server)?)
        .with_cert_resolver(Arc::new(resolver));
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The one key that the peer may show.
#[derive(Debug)]
struct Expected {
    spki: Vec<u8>,
}

impl Expected {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        if shown.as_ref() == self.spki {
            Ok(())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(self.spki.as_slice());
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signed, &algorithms)
    }
}

/// Never asked: TLS 1.2 is off.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".into()))
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::RSA_PSS_SHA256]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Expected {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::RSA_PSS_SHA256]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
