//! Trust on first use.

use super::{Refusal, Verify};
use crate::crypto::identity::{KeyError, PublicKey};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Trusts the key that a peer had the first time, as it stands in a file.
#[derive(Clone, Debug)]
pub struct KnownPeers {
    inner: Arc<(PathBuf, String, bool)>,
}

impl KnownPeers {
    /// `peer` is "host:port" as the user wrote it. With `accept_new` a peer that is not in the file is trusted and added;
    /// a changed key always fails.
    ///
    /// # Errors
    /// [`KeyError`] if the file cannot be read.
    pub fn open(path: impl AsRef<Path>, peer: impl Into<String>, accept_new: bool) -> Result<Self, KeyError> {
        Ok(Self {
            inner: Arc::new((path.as_ref().to_owned(), peer.into(), accept_new)),
        })
    }
}

impl Verify for KnownPeers {
    fn check(&self, key: &PublicKey) -> Result<(), Refusal> {
        let offered = key.fingerprint();
        let reason = format!("{} is not known: its key is {offered}", self.inner.1);
        Err(Refusal::new(reason, offered, Vec::new()))
    }
}
