//! What all connections of an endpoint in secure mode have in common: the identity, whom it trusts, and the two
//! configurations of rustls.
//!
//! Nothing here is negotiable downwards: TLS 1.3 only, both sides prove their identity, a fresh key exchange for every
//! connection (`X25519MLKEM768`, or X25519 with a peer that cannot do better), no tickets, no early data, no names.

use std::fmt;
use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::quic::{ClientConnection, Connection, ServerConnection, Version};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, Error, KeyLog, NoKeyLog, ServerConfig, SupportedCipherSuite};

use super::engine::{TlsEngine, refusal};
use super::initial;
use super::key_update::Volume;
use super::signer::Identity;
use super::verifier::{OfClients, OfServers};
use crate::crypto::engine::{Engine, EngineError, Keys, Mode, Side};
use crate::crypto::identity::{PrivateKey, PublicKey};
use crate::crypto::trust::Verify;

/// Version field of the long headers of secure mode.
const VERSION: u32 = 0x5353_0001;

/// What both sides say they want to speak (RFC 7301).
pub(super) const ALPN: &[u8] = b"securestream/1";

/// rustls wants a name for every server. It is neither sent nor compared with anything.
const NOBODY: &str = "peer.securestream.invalid";

/// The best key exchange first.
static KEY_EXCHANGES: [&dyn SupportedKxGroup; 2] = [kx_group::X25519MLKEM768, kx_group::X25519];

/// How packets are sealed once the handshake is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `TLS_AES_128_GCM_SHA256`: the fastest where the processor helps.
    Aes128Gcm,
    /// `TLS_AES_256_GCM_SHA384`.
    Aes256Gcm,
    /// `TLS_CHACHA20_POLY1305_SHA256`: the fastest where it does not.
    ChaCha20Poly1305,
}

impl Suite {
    fn of_rustls(self) -> SupportedCipherSuite {
        match self {
            Self::Aes128Gcm => cipher_suite::TLS13_AES_128_GCM_SHA256,
            Self::Aes256Gcm => cipher_suite::TLS13_AES_256_GCM_SHA384,
            Self::ChaCha20Poly1305 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        }
    }
}

/// What may be changed about secure mode.
#[derive(Clone)]
pub struct SecureOptions {
    /// What this side takes, the best first. The server's order decides.
    pub suites: Vec<Suite>,
    /// Where the secrets of every connection go, see [`KeyLogFile`](super::KeyLogFile). `None`, the default: nowhere.
    pub key_log: Option<Arc<dyn KeyLog>>,
    /// How much one key protects before the next one takes over.
    pub volume: Volume,
}

impl Default for SecureOptions {
    fn default() -> Self {
        Self {
            suites: vec![Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::ChaCha20Poly1305],
            key_log: None,
            volume: Volume::default(),
        }
    }
}

impl fmt::Debug for SecureOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureOptions")
            .field("suites", &self.suites)
            .field("key_log", &self.key_log.is_some())
            .field("volume", &self.volume)
            .finish()
    }
}

/// The mode for everything real: TLS 1.3 with RSA identities.
pub struct SecureMode {
    identity: PrivateKey,
    trust: Arc<dyn Verify>,
    volume: Volume,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl SecureMode {
    /// `identity` is who we are, `trust` decides who the peer may be.
    ///
    /// # Errors
    /// [`EngineError::Config`] for options that cannot work, such as an empty list of suites.
    pub fn new(identity: PrivateKey, trust: Arc<dyn Verify>, options: &SecureOptions) -> Result<Self, EngineError> {
        let key = Arc::new(Identity(identity.clone()));
        Self::with_key(identity, key, trust, options)
    }

    /// `key` shows and signs for `identity`; tests have others.
    pub(super) fn with_key(
        identity: PrivateKey,
        key: Arc<dyn SigningKey>,
        trust: Arc<dyn Verify>,
        options: &SecureOptions,
    ) -> Result<Self, EngineError> {
        if options.suites.is_empty() {
            return Err(EngineError::Config("no cipher suite is allowed".to_owned()));
        }
        let (client, server) = configs(key, &trust, options).map_err(refusal)?;
        Ok(Self {
            identity,
            trust,
            volume: options.volume,
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }

    /// What the handshakes of both sides are configured with: the same TLS over another carrier, for comparison.
    #[cfg(feature = "cli")]
    pub(crate) fn configs(&self) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        (Arc::clone(&self.client), Arc::clone(&self.server))
    }

    pub(super) fn connection(&self, side: Side, local_params: Vec<u8>) -> Result<Connection, EngineError> {
        let connection = match side {
            Side::Client => {
                let name = ServerName::try_from(NOBODY).expect("the constant is a name");
                ClientConnection::new(Arc::clone(&self.client), Version::V1, name, local_params).map(Into::into)
            }
            Side::Server => ServerConnection::new(Arc::clone(&self.server), Version::V1, local_params).map(Into::into),
        };
        connection.map_err(|error| EngineError::Config(error.to_string()))
    }
}

impl fmt::Debug for SecureMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureMode")
            .field("identity", &self.identity.public().fingerprint())
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

impl Mode for SecureMode {
    fn version(&self) -> u32 {
        VERSION
    }

    fn name(&self) -> &'static str {
        "secure"
    }

    fn engine(&self, side: Side, local_params: Vec<u8>) -> Result<Box<dyn Engine>, EngineError> {
        let connection = self.connection(side, local_params)?;
        Ok(Box::new(TlsEngine::new(
            connection,
            Arc::clone(&self.trust),
            self.volume,
        )))
    }

    fn initial_keys(&self, side: Side, client_destination_id: &[u8]) -> Keys {
        initial::initial_keys(side, client_destination_id)
    }

    fn retry_tag(&self, original_destination_id: &[u8], retry: &[u8]) -> Vec<u8> {
        initial::retry_tag(original_destination_id, retry).to_vec()
    }

    fn local_identity(&self) -> Option<&PublicKey> {
        Some(self.identity.public())
    }

    fn reset_key(&self) -> Option<[u8; 32]> {
        // Whoever listens here after us has another key, and could not keep the promise.
        (!self.identity.is_ephemeral()).then(|| self.identity.reset_key())
    }
}

/// Raw keys have no dates, and this layer has no clock.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::ZERO))
    }
}

fn configs(
    key: Arc<dyn SigningKey>,
    trust: &Arc<dyn Verify>,
    options: &SecureOptions,
) -> Result<(ClientConfig, ServerConfig), Error> {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: options.suites.iter().map(|suite| suite.of_rustls()).collect(),
        kx_groups: KEY_EXCHANGES.to_vec(),
        ..default_provider()
    });
    let shown = key
        .public_key()
        .ok_or(Error::General("an identity without a key".to_owned()))?;
    let shown = CertificateDer::from(shown.to_vec());
    let key = Arc::new(CertifiedKey::new(vec![shown], key));
    let key_log = options.key_log.clone().unwrap_or_else(|| Arc::new(NoKeyLog));
    let versions = [&rustls::version::TLS13];

    let mut client = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(NoClock))
        .with_protocol_versions(&versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OfServers(Arc::clone(trust))))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&key))));
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    client.enable_sni = false;
    client.enable_early_data = false;
    client.key_log = Arc::clone(&key_log);

    let mut server = ServerConfig::builder_with_details(provider, Arc::new(NoClock))
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(Arc::new(OfClients(Arc::clone(trust))))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
    // The order of this side's list, which says what is fastest here.
    server.ignore_client_order = true;
    server.key_log = key_log;
    Ok((client, server))
}
