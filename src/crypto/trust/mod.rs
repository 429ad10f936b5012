//! Whose key may be the peer's: each kind of trust is a type of its own.
//!
//! A [`Verify`] is asked twice. [`Verify::check`] when the peer shows its key: nothing is proven then, so nothing is
//! remembered. [`Verify::settle`] when the peer has signed with that key and the handshake is complete. Neither looks at
//! signatures: the handshake does, for all kinds of trust alike.

mod authorized;
mod known;
mod pinned;
mod refusal;

pub use authorized::AuthorizedKeys;
pub use known::KnownPeers;
pub use pinned::{Pinned, Unauthenticated};
pub use refusal::Refusal;

use super::identity::PublicKey;
use std::fmt;
use std::sync::Arc;

/// Decides about the keys of peers. May read files, so drivers that serve many peers ask from a worker.
pub trait Verify: Send + Sync + fmt::Debug {
    /// Whether `key` may be the peer's. No side effect: the peer has proven nothing yet.
    ///
    /// # Errors
    /// [`Refusal`] if not, or if that cannot be found out.
    fn check(&self, key: &PublicKey) -> Result<(), Refusal>;

    /// The peer proved that it owns `key`, and the handshake is complete: remembers it where this kind of trust remembers.
    ///
    /// # Errors
    /// [`Refusal`] if it must not be trusted after all, or cannot be remembered.
    fn settle(&self, key: &PublicKey) -> Result<(), Refusal> {
        let _ = key;
        Ok(())
    }
}

/// The kinds of trust. Clones share what is remembered.
#[derive(Clone, Debug)]
pub enum Trust {
    /// These keys and no others.
    Pinned(Pinned),
    /// The keys in a file or a folder.
    AuthorizedKeys(AuthorizedKeys),
    /// The key that this peer had the first time.
    KnownPeers(KnownPeers),
    /// Anybody. The stream is private, but with whom?
    Unauthenticated(Unauthenticated),
}

impl Trust {
    /// This kind of trust as one that can be asked.
    pub fn verifier(&self) -> &dyn Verify {
        match self {
            Self::Pinned(trust) => trust,
            Self::AuthorizedKeys(trust) => trust,
            Self::KnownPeers(trust) => trust,
            Self::Unauthenticated(trust) => trust,
        }
    }

    /// The same, to be shared.
    pub fn into_verifier(self) -> Arc<dyn Verify> {
        match self {
            Self::Pinned(trust) => Arc::new(trust),
            Self::AuthorizedKeys(trust) => Arc::new(trust),
            Self::KnownPeers(trust) => Arc::new(trust),
            Self::Unauthenticated(trust) => Arc::new(trust),
        }
    }

    /// Whether anything is known about the peer when this trust lets it in.
    pub fn authenticates(&self) -> bool {
        !matches!(self, Self::Unauthenticated(_))
    }
}
