//! What can be wrong with a key, in sentences that say what to do.

use super::public::{MAX_BITS, MIN_BITS};
use super::usage::Use;
use std::io;
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
    /// Something is wrong with a line of a list of keys.
    #[error("line {line}: {problem}")]
    OnLine {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Box<KeyError>,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {message}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        message: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {message}", file.display())]
    Write {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        message: String,
    },
    /// A file is there already, and nobody asked to replace it.
    #[error("{} exists already, and is not replaced without --force", file.display())]
    Exists {
        /// Which file.
        file: PathBuf,
    },
    /// A file with a private key that others than its owner may open.
    #[error("{} is a private key that others can open (mode {mode:04o}): run chmod 600 {}", file.display(), quoted(file))]
    OpenToOthers {
        /// Which file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
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
        "the key has {bits} bits, and the secure mode takes {MAX_BITS} at most: make a new pair with \
         stream-rsagen --out-dir DIR"
    )]
    TooLong {
        /// Its length.
        bits: usize,
    },
    /// An identity has another public exponent than all have.
    #[error("the public exponent is not 65537: make a new pair with stream-rsagen --out-dir DIR")]
    Exponent,
    /// A key that says that it is for the other use.
    #[error("{}", wrong_use(*is))]
    WrongUse {
        /// What it is for.
        is: Use,
    },
    /// A key that does not say what it is for, as those of the classic mode, where an identity is needed.
    #[error(
        "the key does not say \"use\": \"identity\", so it is one of the classic mode: make a new pair with stream-rsagen \
         --out-dir DIR, or, if it was never used in classic mode, make it an identity with stream-rsagen --import FILE \
         --use identity --out-dir DIR"
    )]
    NoUse,
    /// A key of another format, which are made for signatures, where one of the classic mode is needed.
    #[error(
        "the key does not say \"use\": \"classic\", and the classic mode must not share the key of an identity: make a new \
         pair with stream-rsagen --use classic --out-dir DIR"
    )]
    NoClassicUse,
    /// A modulus that leaves no room for data in a packet of the classic mode.
    #[error(
        "the key has {bits} bits, and no packet of the classic mode fits into it: make a new pair with stream-rsagen --use \
         classic --out-dir DIR"
    )]
    NoRoom {
        /// Its length.
        bits: usize,
    },
    /// A private key was given where a public one belongs.
    #[error(
        "this is a private key, and a public one belongs here: give the peer's public.key, and keep private.key to yourself"
    )]
    PrivateGiven,
    /// A public key was given where a private one belongs.
    #[error("this is a public key, and a private one belongs here: give your own private.key")]
    PublicGiven,
    /// A program that computes with floating-point numbers has rewritten the file.
    #[error(
        "\"{field}\" is {text}, not a whole number: a JSON tool has rewritten the key and lost its digits; copy the \
         original file again"
    )]
    Rounded {
        /// Which number.
        field: &'static str,
        /// What stands there now.
        text: String,
    },
    /// The numbers do not belong together.
    #[error("the numbers of the key do not belong together ({what}): copy the original file again")]
    Inconsistent {
        /// Which rule is broken.
        what: &'static str,
    },
    /// A format of the future.
    #[error("the key file has version {version}, and only 1 is known here: use a newer stream-rsagen")]
    Version {
        /// Its version.
        version: String,
    },
    /// The key is protected by a passphrase, which we cannot ask for.
    #[error("the key is encrypted: take the passphrase off a copy with {how}")]
    Encrypted {
        /// The command.
        how: &'static str,
    },
    /// A key of another kind.
    #[error("a key of the kind {algorithm} cannot be used, only RSA: make a pair with stream-rsagen --out-dir DIR")]
    NotRsa {
        /// Which kind.
        algorithm: String,
    },
    /// Not the encoding of an RSA key.
    #[error("not an RSA key in {format}: {what}")]
    Malformed {
        /// Which format it looks like.
        format: &'static str,
        /// What is wrong.
        what: String,
    },
    /// Nothing that looks like a key.
    #[error("not a key: neither JSON nor PEM nor OpenSSH")]
    UnknownFormat,
    /// A name that cannot stand in the list of known peers.
    #[error("'{name}' cannot be the name of a peer: HOST:PORT is needed")]
    PeerName {
        /// The name.
        name: String,
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

    pub(crate) fn on_line(self, line: usize) -> Self {
        Self::OnLine {
            line,
            problem: Box::new(self),
        }
    }

    pub(crate) fn read(file: &Path, error: &io::Error) -> Self {
        Self::Read {
            file: file.to_owned(),
            message: words(error),
        }
    }

    pub(crate) fn write(file: &Path, error: &io::Error) -> Self {
        Self::Write {
            file: file.to_owned(),
            message: words(error),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that it fits `map_err`")]
    pub(super) fn malformed(format: &'static str, what: impl ToString) -> Self {
        Self::Malformed {
            format,
            what: what.to_string(),
        }
    }
}

fn wrong_use(is: Use) -> &'static str {
    match is {
        Use::Classic => {
            "the key is for the classic mode (\"use\": \"classic\"), and the secure mode must not share it: make a new \
             pair with stream-rsagen --out-dir DIR"
        }
        Use::Identity => {
            "the key is an identity (\"use\": \"identity\"), and the classic mode must not share it: make a new pair with \
             stream-rsagen --use classic --out-dir DIR"
        }
    }
}

/// What the system said, without the " (os error 2)" that helps nobody.
fn words(error: &io::Error) -> String {
    let words = error.to_string();
    match words.rfind(" (os error ") {
        Some(end) if words.ends_with(')') => words[..end].to_owned(),
        _ => words,
    }
}

/// A path as it can be pasted into a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let harmless = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(harmless) {
        text
    } else {
        let dash = if text.starts_with('-') { "./" } else { "" };
        format!("{dash}'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_and_where_and_what_to_do() {
        let file = Path::new("keys/private.key");
        let cases = [
            (
                KeyError::TooShort { bits: 890 }.in_file(file),
                "keys/private.key: the key has 890 bits, and the secure mode needs 2048 or more: make a new pair with \
                 stream-rsagen --out-dir DIR",
            ),
            (
                KeyError::OpenToOthers {
                    file: file.to_owned(),
                    mode: 0o644,
                },
                "keys/private.key is a private key that others can open (mode 0644): run chmod 600 keys/private.key",
            ),
            (
                KeyError::OpenToOthers {
                    file: "it's mine".into(),
                    mode: 0o640,
                },
                r"it's mine is a private key that others can open (mode 0640): run chmod 600 'it'\''s mine'",
            ),
            (
                KeyError::NoUse.in_file(file),
                "keys/private.key: the key does not say \"use\": \"identity\", so it is one of the classic mode: make a \
                 new pair with stream-rsagen --out-dir DIR, or, if it was never used in classic mode, make it an identity \
                 with stream-rsagen --import FILE --use identity --out-dir DIR",
            ),
            (
                KeyError::WrongUse { is: Use::Classic },
                "the key is for the classic mode (\"use\": \"classic\"), and the secure mode must not share it: make a \
                 new pair with stream-rsagen --out-dir DIR",
            ),
            (
                KeyError::WrongUse { is: Use::Identity },
                "the key is an identity (\"use\": \"identity\"), and the classic mode must not share it: make a new pair \
                 with stream-rsagen --use classic --out-dir DIR",
            ),
            (
                KeyError::read(file, &io::Error::from_raw_os_error(2)),
                "cannot read keys/private.key: No such file or directory",
            ),
            (
                KeyError::Exists { file: file.to_owned() },
                "keys/private.key exists already, and is not replaced without --force",
            ),
        ];
        for (error, words) in cases {
            assert_eq!(error.to_string(), words);
        }
    }
}
