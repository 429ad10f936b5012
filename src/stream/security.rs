//! Which mode a stream speaks, with what the mode needs. Chosen by name, never negotiated, never a fallback.

use crate::crypto::engine::Mode;
use crate::crypto::identity::PrivateKey;
use crate::crypto::plain::PlainMode;
use crate::crypto::tls::{SecureMode, SecureOptions};
use crate::crypto::trust::Trust;
use crate::error::StreamError;
use crate::wire::packet::{ShortForm, VERSION_PLAIN};
use std::fmt;
use std::io;
use std::sync::Arc;

/// How packets are protected. Both sides must be given the same kind.
///
/// ```
/// use securestream::identity::PrivateKey;
/// use securestream::subsystem::memory;
/// use securestream::trust::{Pinned, Trust};
/// use securestream::{Security, StreamBuilder};
/// use std::io::{Read, Write};
///
/// // Each side has its own private key, and knows the other's public key.
/// let (alice, bob) = (PrivateKey::generate(2048)?, PrivateKey::generate(2048)?);
/// let trust_alice = Trust::Pinned(Pinned::new(alice.public().clone()));
/// let trust_bob = Trust::Pinned(Pinned::new(bob.public().clone()));
/// let name_of_alice = alice.public().fingerprint();
///
/// let (left, right) = memory::pair();
/// let server = std::thread::spawn(move || -> std::io::Result<String> {
///     let mut stream = StreamBuilder::new(Security::secure(bob, trust_alice)).accept_over(right)?;
///     let peer = stream.peer_identity().expect("in secure mode everybody has one");
///     assert_eq!(peer.fingerprint(), name_of_alice);
///     let mut text = String::new();
///     stream.read_to_string(&mut text)?;
///     Ok(text)
/// });
/// let mut stream = StreamBuilder::new(Security::secure(alice, trust_bob)).connect_over(left)?;
/// stream.write_all(b"for your eyes only")?;
/// drop(stream);
/// assert_eq!(server.join().unwrap()?, "for your eyes only");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Security(Arc<dyn Mode>);

impl Security {
    /// TLS 1.3 between two RSA identities: private, unchanged on the way, and with forward secrecy. `identity` is who
    /// we are, `trust` decides who the peer may be; a peer that it refuses, or that refuses us, ends the handshake with
    /// `PermissionDenied`.
    pub fn secure(identity: PrivateKey, trust: Trust) -> Self {
        Self::secure_with(identity, trust, &SecureOptions::default()).expect("the defaults fit together")
    }

    /// As [`Security::secure`], with options.
    ///
    /// # Errors
    /// `InvalidInput` for options that cannot work, such as an empty list of suites.
    pub fn secure_with(identity: PrivateKey, trust: Trust, options: &SecureOptions) -> io::Result<Self> {
        let mode = SecureMode::new(identity, trust.into_verifier(), options).map_err(|error| StreamError::Invalid {
            reason: error.to_string(),
        })?;
        Ok(Self(Arc::new(mode)))
    }

    /// Packets in clear, with a checksum against accidents. Anybody on the way can read, change and forge them: for
    /// looking at packets in the lab.
    pub fn plain() -> Self {
        Self(Arc::new(PlainMode))
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    pub(crate) fn mode(&self) -> &Arc<dyn Mode> {
        &self.0
    }

    /// Shape of the short header.
    pub(crate) fn form(&self) -> ShortForm {
        if self.0.version() == VERSION_PLAIN {
            ShortForm::Plain
        } else {
            ShortForm::Secure
        }
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Security({})", self.name())
    }
}
