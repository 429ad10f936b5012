//! Trust in the keys of a file or folder.

use super::{Refusal, Verify};
use crate::crypto::identity::{KeyError, PublicKey};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Trusts the keys that stand in a file or in the files of a folder, as they are at the moment of the question.
#[derive(Clone, Debug)]
pub struct AuthorizedKeys {
    path: Arc<PathBuf>,
}

impl AuthorizedKeys {
    /// Reads the keys for the first time.
    ///
    /// # Errors
    /// [`KeyError`] if they cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        Ok(Self {
            path: Arc::new(path.as_ref().to_owned()),
        })
    }
}

impl Verify for AuthorizedKeys {
    fn check(&self, key: &PublicKey) -> Result<(), Refusal> {
        let offered = key.fingerprint();
        let reason = format!(
            "the peer's key {offered} is not among the authorised keys of {}",
            self.path.display()
        );
        Err(Refusal::new(reason, offered, Vec::new()))
    }
}
