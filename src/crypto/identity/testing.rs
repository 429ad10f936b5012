//! Keys for tests, made once.

use super::{KeyText, Numbers, PrivateKey, Use};
use std::sync::OnceLock;

const KEYS: usize = 3;

/// The key number `index` of three: different ones, the same in all tests of a run.
pub(crate) fn key(index: usize) -> PrivateKey {
    static MADE: [OnceLock<PrivateKey>; KEYS] = [const { OnceLock::new() }; KEYS];
    MADE[index].get_or_init(|| PrivateKey::generate(2048).unwrap()).clone()
}

/// The same as a text.
pub(crate) fn text(index: usize, comment: &str) -> KeyText {
    KeyText::new(Numbers::Private(key(index).rsa().clone()), Use::Identity, comment)
}
