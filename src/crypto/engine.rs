//! What a mode must provide: a handshake engine, and packet protection for each level.
//!
//! The shape is that of QUIC-TLS (RFC 9001, sections 4 and 5) and of `rustls::quic`, so that TLS 1.3 fits behind it.
//! The handshake bytes travel in CRYPTO frames; the engine never sees a packet.

use super::identity::PublicKey;
use std::fmt;

/// Which side of the handshake we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that spoke first.
    Client,
    /// The one that listens.
    Server,
}

/// Seals packets of one level, one direction.
pub trait Sealer: Send {
    /// Bytes that [`Sealer::seal`] needs at the end of every packet.
    fn tag_bytes(&self) -> usize;

    /// Protects a packet in place: `packet` = header, payload, and `tag_bytes` of room. The packet number of
    /// `pn_bytes` bytes stands at `pn_offset`; the payload begins behind it. Applies header protection where the mode
    /// has it.
    ///
    /// # Errors
    /// [`SealError`] when the keys must not be used any more (RFC 9001, section 6.6).
    fn seal(&mut self, pn: u64, packet: &mut [u8], pn_offset: usize, pn_bytes: usize) -> Result<(), SealError>;

    /// Current key phase bit for short headers (RFC 9001, section 6). Always `false` in modes without key update.
    fn key_phase(&self) -> bool {
        false
    }

    /// Moves on to at least key generation `generation`, which the peer was seen to use. A no-op for other modes.
    fn follow(&mut self, generation: u64) {
        let _ = generation;
    }

    /// The key generation that packets are sealed with (0 before any key update).
    fn generation(&self) -> u64 {
        0
    }

    /// Enough was sealed with this key: the next one should take over.
    fn is_update_due(&self) -> bool {
        false
    }

    /// Moves on to the next key. Only when the peer has acknowledged a packet of this generation in a packet of the
    /// same (RFC 9001, section 6.1), and not between the building of a header and its sealing. A no-op for other modes.
    fn update(&mut self) {}
}

/// Opens packets of one level, one direction.
pub trait Opener: Send {
    /// Bytes at the end of every packet that are not payload.
    fn tag_bytes(&self) -> usize;

    /// Removes header protection in place and returns the length in bytes of the packet number, which then stands in
    /// clear at `pn_offset`. Where the mode has no header protection it only reads the length from the first byte.
    ///
    /// # Errors
    /// [`OpenError`] for a packet that is too short.
    fn unprotect_header(&mut self, packet: &mut [u8], pn_offset: usize) -> Result<usize, OpenError>;

    /// Verifies and decrypts in place. `packet` is the whole packet with its unprotected header, `header_bytes` ends
    /// behind the packet number, `pn` is the full packet number. Returns the payload's length in bytes; the payload
    /// begins at `header_bytes`.
    ///
    /// # Errors
    /// [`OpenError`] for anything that was not sealed by the peer with these keys.
    fn open(&mut self, pn: u64, packet: &mut [u8], header_bytes: usize) -> Result<usize, OpenError>;

    /// The key generation of the newest packet opened (0 before any key update).
    fn generation(&self) -> u64 {
        0
    }

    /// So many packets could not be opened that the connection must end (RFC 9001, section 6.6). Nothing is opened any
    /// more.
    fn is_worn_out(&self) -> bool {
        false
    }
}

/// Both directions of one level.
pub struct Keys {
    /// For what we send.
    pub sealer: Box<dyn Sealer>,
    /// For what we receive.
    pub opener: Box<dyn Opener>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Keys that the engine gives out as the handshake goes on.
#[derive(Debug)]
pub enum KeyChange {
    /// Handshake bytes written after this belong to the HANDSHAKE level.
    Handshake(Keys),
    /// Handshake bytes written after this would belong to 1-RTT (there are none).
    OneRtt(Keys),
}

/// The handshake of one connection: bytes in, bytes and keys out. May be slow (signatures), so drivers that serve many
/// peers call it from a worker.
pub trait Engine: Send {
    /// Appends handshake bytes to send at the current level, and returns the keys of the next level when it is time
    /// to change. Call until it appends nothing and returns `None`.
    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<KeyChange>;

    /// Takes in-order handshake bytes from the peer.
    ///
    /// # Errors
    /// [`EngineError`] when the peer must be refused.
    fn read_handshake(&mut self, bytes: &[u8]) -> Result<(), EngineError>;

    /// `false` when our side is complete and the peer's proof was verified.
    fn is_handshaking(&self) -> bool;

    /// The transport parameters of the peer, once they have arrived. Authentic only when the handshake is complete.
    fn peer_params(&self) -> Option<&[u8]>;

    /// Whether reading and writing may take longer than a few microseconds.
    fn is_slow(&self) -> bool;

    /// Who the peer has proven to be, once the handshake is complete. `None` in modes that prove nothing.
    fn peer_identity(&self) -> Option<PublicKey> {
        None
    }
}

/// What a mode is: it makes engines and initial keys. Shared by all connections of an endpoint.
pub trait Mode: Send + Sync {
    /// The version field of its long headers.
    fn version(&self) -> u32;

    /// What people call it: `plain` or `secure`.
    fn name(&self) -> &'static str;

    /// An engine for a new connection that sends `local_params` as its transport parameters.
    ///
    /// # Errors
    /// [`EngineError`] if the configuration cannot work.
    fn engine(&self, side: Side, local_params: Vec<u8>) -> Result<Box<dyn Engine>, EngineError>;

    /// Keys for INITIAL packets, made from the first destination id of the client (RFC 9001, section 5.2).
    fn initial_keys(&self, side: Side, client_destination_id: &[u8]) -> Keys;

    /// The tag at the end of a Retry packet (RFC 9001, section 5.8). `retry` is the packet without its tag,
    /// `original_destination_id` the destination id of the packet that it answers. A tag of 16 bytes, or of 4 in plain
    /// mode. Anybody can make it: it proves that the sender has seen that packet.
    fn retry_tag(&self, original_destination_id: &[u8], retry: &[u8]) -> Vec<u8>;

    /// Who we are, in modes with identities.
    fn local_identity(&self) -> Option<&PublicKey> {
        None
    }

    /// A secret that this identity will have again after a restart, for stateless resets (RFC 9000, section 10.3.2).
    /// `None` in modes without secrets.
    fn reset_key(&self) -> Option<[u8; 32]> {
        None
    }
}

/// The peer must be refused. Says why, for both sides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The peer could not prove who it is.
    #[error("the peer's identity was refused: {0}")]
    Identity(String),
    /// The peer's key is not trusted.
    #[error("the peer's identity was refused: {reason}")]
    Untrusted {
        /// For our own people; may speak of files.
        reason: String,
        /// For the peer, which is a stranger: nothing but fingerprints.
        told: String,
    },
    /// The peer sent something that no correct peer sends.
    #[error("the peer broke the handshake: {0}")]
    Protocol(String),
    /// Our own configuration is at fault.
    #[error("the handshake cannot be configured: {0}")]
    Config(String),
}

/// A packet that is not authentic. Says nothing more on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packet is not authentic")]
pub struct OpenError;

/// The keys are used up (RFC 9001, section 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet keys have reached their limit")]
pub struct SealError;
