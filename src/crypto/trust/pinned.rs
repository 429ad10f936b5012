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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::identity::testing::key;

    #[test]
    fn a_pinned_key_is_the_only_one_that_passes() {
        let [own, other, third] = [0, 1, 2].map(|index| key(index).public().clone());
        let trust = Pinned::new(own.clone());
        assert_eq!(trust.check(&own), Ok(()));
        // The same key that came another way.
        assert_eq!(trust.check(&PublicKey::from_spki(own.spki()).unwrap()), Ok(()));
        let refusal = trust.check(&other).unwrap_err();
        let [own, other, third] = [own, other, third].map(|key| key.fingerprint());
        assert_eq!((refusal.offered(), refusal.expected()), (other, &[own][..]));
        assert_eq!(
            refusal.to_string(),
            format!("the peer has the key {other}, and {own} was expected")
        );
        let several = Pinned::any_of([0, 2].map(|index| key(index).public().clone()));
        assert_eq!(several.check(key(2).public()), Ok(()));
        assert_eq!(
            several.check(key(1).public()).unwrap_err().to_string(),
            format!("the peer has the key {other}, and {own} or {third} was expected")
        );
    }

    #[test]
    fn no_pinned_key_trusts_nobody_and_no_authentication_everybody() {
        assert!(Pinned::any_of([]).check(key(0).public()).is_err());
        assert_eq!(Unauthenticated.check(key(0).public()), Ok(()));
        assert_eq!(Unauthenticated.settle(key(0).public()), Ok(()));
    }
}
