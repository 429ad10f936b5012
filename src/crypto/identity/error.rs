//! What can be wrong with a key, in sentences that say what to do.

use super::public::{MAX_BITS, MIN_BITS};
use std::path::{Path, PathBuf};

/// Why a key cannot be used, read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Something is wrong with what stands in a file.
    #[error("{}: {problem}", file.display())]
    InFile {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        problem: Box<KeyError>,
    },
    /// An identity needs a longer key.
    #[error(
        "the key has {bits} bits, and the secure mode needs {MIN_BITS} or more: make a new pair with \
         stream-rsagen --out-dir DIR"
    )]
    TooShort {
        /// Its length.
        bits: usize,
    },
    /// Nobody needs a key as long.
    #[error(
        "the key has {bits} bits, and at most {MAX_BITS} are taken: make a new pair with stream-rsagen --out-dir DIR"
    )]
    TooLong {
        /// Its length.
        bits: usize,
    },
    /// An identity has another public exponent than all have.
    #[error("the public exponent is not 65537: make a new pair with stream-rsagen --out-dir DIR")]
    Exponent,
    /// The numbers do not belong together.
    #[error("the numbers of the key do not belong together ({what}): the file is damaged, copy the original again")]
    Inconsistent {
        /// Which rule is broken.
        what: &'static str,
    },
    /// Not the encoding of an RSA key.
    #[error("not an RSA key in {format}: {what}")]
    Malformed {
        /// Which format was tried.
        format: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A length that is not offered.
    #[error("a new key has 2048, 3072, 4096 or 8192 bits, not {bits}")]
    Bits {
        /// What was asked for.
        bits: usize,
    },
    /// The cryptographic library refused; it does not say why.
    #[error("the cryptographic library could not {what}")]
    Crypto {
        /// What it should do.
        what: &'static str,
    },
}

impl KeyError {
    /// The same, with the name of the file.
    #[must_use]
    pub fn in_file(self, file: &Path) -> Self {
        Self::InFile {
            file: file.to_owned(),
            problem: Box::new(self),
        }
    }
}
