//! Why a key is not trusted.

use crate::crypto::identity::Fingerprint;

/// One sentence for both sides' people, with all fingerprints that they need to compare.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    reason: String,
    offered: Fingerprint,
    expected: Vec<Fingerprint>,
}

impl Refusal {
    pub(super) fn new(reason: String, offered: Fingerprint, expected: Vec<Fingerprint>) -> Self {
        Self {
            reason,
            offered,
            expected,
        }
    }

    /// The key that the peer has shown.
    pub fn offered(&self) -> Fingerprint {
        self.offered
    }

    /// The keys that were expected; empty where there is no list of them.
    pub fn expected(&self) -> &[Fingerprint] {
        &self.expected
    }
}
