//! Identities for tests. A key costs a tenth of a second, so each is made once.

use securestream::Security;
use securestream::identity::PrivateKey;
use securestream::trust::{Pinned, Trust};
use std::sync::OnceLock;

fn key(which: usize) -> PrivateKey {
    static KEYS: [OnceLock<PrivateKey>; 3] = [const { OnceLock::new() }; 3];
    KEYS[which]
        .get_or_init(|| PrivateKey::generate(2048).expect("a common size"))
        .clone()
}

/// The client.
pub(crate) fn alice() -> PrivateKey {
    key(0)
}

/// The server.
pub(crate) fn bob() -> PrivateKey {
    key(1)
}

/// Somebody else.
pub(crate) fn mallory() -> PrivateKey {
    key(2)
}

pub(crate) fn only(key: &PrivateKey) -> Trust {
    Trust::Pinned(Pinned::new(key.public().clone()))
}

/// Alice, who expects bob.
pub(crate) fn client() -> Security {
    Security::secure(alice(), only(&bob()))
}

/// Bob, who expects alice.
pub(crate) fn server() -> Security {
    Security::secure(bob(), only(&alice()))
}
