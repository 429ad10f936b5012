//! Trust without files: some keys that are known beforehand, and none at all.

use super::{Refusal, Verify};
use crate::crypto::identity::PublicKey;
use std::sync::Arc;

/// Trusts these keys and no others. No keys: nobody.
#[derive(Clone, Debug)]
pub struct Pinned {
    keys: Arc<[PublicKey]>,
}

impl Pinned {
    /// The peer has this key.
    pub fn new(key: PublicKey) -> Self {
        Self::any_of([key])
    }

    /// The peer has one of these keys.
    pub fn any_of(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }
}

impl Verify for Pinned {
    fn check(&self, key: &PublicKey) -> Result<(), Refusal> {
        if self.keys.contains(key) {
            return Ok(());
        }
        let offered = key.fingerprint();
        let expected: Vec<_> = self.keys.iter().map(PublicKey::fingerprint).collect();
        let names: Vec<_> = expected.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() {
            "no key".to_owned()
        } else {
            names.join(" or ")
        };
        let reason = format!("the peer has the key {offered}, and {names} was expected");
        Err(Refusal::new(reason, offered, expected))
    }
}

/// Trusts every key. What is sent is private and unchanged on its way to whoever has that key; who that is, nobody
/// knows. The peer still has to prove that the key is its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unauthenticated;

impl Verify for Unauthenticated {
    fn check(&self, _: &PublicKey) -> Result<(), Refusal> {
        Ok(())
    }
}
