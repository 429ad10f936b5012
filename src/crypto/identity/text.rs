//! A key as it is written down: its numbers, what it is for, a comment, in one of three formats.

use super::error::KeyError;
use super::fingerprint::Fingerprint;
use super::private::PrivateKey;
use super::public::PublicKey;
use super::rsa::{RsaPrivate, RsaPublic};
use super::usage::Use;
use super::{json, openssh, pem};
use std::str::FromStr;
use zeroize::Zeroizing;

/// A way of writing a key down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Our own, which the original reads: `{"k": 65537, "n": 1234...}`.
    Json,
    /// PKCS #8 and SPKI; PKCS #1 is read, too.
    Pem,
    /// `openssh-key-v1` and the line `ssh-rsa AAAA... comment`.
    OpenSsh,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "json" => Ok(Self::Json),
            "pem" => Ok(Self::Pem),
            "openssh" => Ok(Self::OpenSsh),
            _ => Err(format!("a key is written as pem, openssh or json, not as '{word}'")),
        }
    }
}

/// The numbers of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Of a public key.
    Public(RsaPublic),
    /// Of a private key, which contain those of the public one.
    Private(RsaPrivate),
}

/// Reads the public keys of identities from a list: one line `ssh-rsa AAAA... comment` for each, empty lines and lines
/// that begin with `#`. A single key in JSON or PEM is a list, too. Each entry is a key or what is wrong with its line.
pub fn parse_list(text: &str) -> Vec<Result<PublicKey, KeyError>> {
    let trimmed = text.trim_start_matches('\u{feff}').trim_start();
    let first = text.lines().find(|line| openssh::is_entry(line)).unwrap_or_default();
    if trimmed.starts_with('{') || first.contains("-----BEGIN ") {
        return vec![KeyText::parse(text.as_bytes()).and_then(|key| key.public_identity())];
    }
    let entries = text.lines().enumerate().filter(|(_, line)| openssh::is_entry(line));
    entries
        .map(|(index, line)| {
            let key = openssh::parse_line(line).and_then(|key| key.public_identity());
            key.map_err(|error| error.on_line(index + 1))
        })
        .collect()
}

/// One key of any size and for any use, as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyText {
    numbers: Numbers,
    usage: Option<Use>,
    comment: String,
    format: Format,
}

impl KeyText {
    /// A key to write down.
    pub fn new(numbers: Numbers, usage: Use, comment: &str) -> Self {
        Self::read_as(Format::Json, numbers, Some(usage), comment)
    }

    pub(super) fn read_as(format: Format, numbers: Numbers, usage: Option<Use>, comment: &str) -> Self {
        // A comment stands in one line.
        let comment = comment.replace(char::is_control, " ").trim().to_owned();
        Self {
            numbers,
            usage,
            comment,
            format,
        }
    }

    /// Reads a key in whatever format it is.
    ///
    /// # Errors
    /// [`KeyError`] if it is none, or a damaged or encrypted one.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeyError::UnknownFormat)?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.starts_with('{') {
            json::parse(text)
        } else if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
            openssh::parse_private(text)
        } else if text.contains("-----BEGIN ") {
            pem::parse(text)
        } else {
            let mut lines = text.lines().filter(|line| openssh::is_entry(line));
            match (lines.next(), lines.next()) {
                (Some(line), None) => openssh::parse_line(line),
                (Some(line), Some(_)) if openssh::looks_like_key(line) => Err(KeyError::malformed(
                    "OpenSSH",
                    "one key is needed, and here are several",
                )),
                _ => Err(KeyError::UnknownFormat),
            }
        }
    }

    /// Writes the key down. A private key stays private. PEM has no place for the comment, and only JSON has one for the
    /// use.
    pub fn render(&self, format: Format) -> Zeroizing<String> {
        match (format, &self.numbers) {
            (Format::Json, Numbers::Public(key)) => {
                Zeroizing::new(json::render_public(key, self.usage(), &self.comment))
            }
            (Format::Json, Numbers::Private(key)) => json::render_private(key, self.usage(), &self.comment),
            (Format::Pem, Numbers::Public(key)) => Zeroizing::new(pem::render_public(key)),
            (Format::Pem, Numbers::Private(key)) => pem::render_private(key),
            (Format::OpenSsh, Numbers::Public(key)) => Zeroizing::new(openssh::render_line(key, &self.comment)),
            (Format::OpenSsh, Numbers::Private(key)) => openssh::render_private(key, &self.comment),
        }
    }

    /// The numbers.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The numbers of the public key.
    pub fn rsa(&self) -> &RsaPublic {
        match &self.numbers {
            Numbers::Public(key) => key,
            Numbers::Private(key) => key.public(),
        }
    }

    /// Whether it is a private key.
    pub fn is_private(&self) -> bool {
        matches!(self.numbers, Numbers::Private(_))
    }

    /// The public key alone, for the same use, with the same comment.
    #[must_use]
    pub fn to_public(&self) -> Self {
        Self {
            numbers: Numbers::Public(self.rsa().clone()),
            ..self.clone()
        }
    }

    /// What the key is for. In JSON, one that does not say is of the classic mode, as all of the original's are; keys in
    /// other formats are made for signatures.
    pub fn usage(&self) -> Use {
        self.usage.unwrap_or(match self.format {
            Format::Json => Use::Classic,
            Format::Pem | Format::OpenSsh => Use::Identity,
        })
    }

    /// What the key says that it is for, if it does.
    pub fn stated_usage(&self) -> Option<Use> {
        self.usage
    }

    /// Decides what the key is for, where it does not say so itself.
    ///
    /// # Errors
    /// [`KeyError::WrongUse`] if it says something else.
    pub fn declare(&mut self, usage: Use) -> Result<(), KeyError> {
        match self.usage {
            Some(is) if is != usage => Err(KeyError::WrongUse { is }),
            _ => {
                self.usage = Some(usage);
                Ok(())
            }
        }
    }

    /// The comment; empty if there is none.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Replaces the comment. Characters that control terminals or begin lines become spaces.
    #[must_use]
    pub fn with_comment(self, comment: &str) -> Self {
        Self::read_as(self.format, self.numbers, self.usage, comment)
    }

    /// The line `ssh-rsa AAAA... comment` of the public key, without a line end.
    pub fn line(&self) -> String {
        openssh::render_line(self.rsa(), &self.comment).trim_end().to_owned()
    }

    /// The fingerprint of the public key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.rsa())
    }

    /// The line of `ssh-keygen -lf`: `3072 SHA256:... comment (RSA)`.
    pub fn summary(&self) -> String {
        let comment = if self.comment.is_empty() {
            "no comment"
        } else {
            &self.comment
        };
        format!("{} {} {comment} (RSA)", self.rsa().bits(), self.fingerprint())
    }

    /// Passes if the key may be an identity, private or public.
    ///
    /// # Errors
    /// [`KeyError`] if it is too short, has another exponent than 65537, or is for another use.
    pub fn check_identity(&self) -> Result<(), KeyError> {
        // Of a key that is too short for anything, its length is what matters.
        PublicKey::new(self.rsa().clone())?;
        match self.usage() {
            Use::Identity => Ok(()),
            Use::Classic => Err(match self.usage {
                Some(is) => KeyError::WrongUse { is },
                None => KeyError::NoUse,
            }),
        }
    }

    /// Passes if the key may be used in classic mode, private or public.
    ///
    /// # Errors
    /// [`KeyError`] if it is for another use.
    pub fn check_classic(&self) -> Result<(), KeyError> {
        match (self.usage(), self.usage) {
            (Use::Classic, _) => Ok(()),
            (Use::Identity, Some(is)) => Err(KeyError::WrongUse { is }),
            (Use::Identity, None) => Err(KeyError::NoClassicUse),
        }
    }

    /// The key of a peer in classic mode.
    ///
    /// # Errors
    /// [`KeyError`] if it is a private key, or for another use.
    pub fn public_classic(&self) -> Result<RsaPublic, KeyError> {
        self.check_classic()?;
        match &self.numbers {
            Numbers::Public(key) => Ok(key.clone()),
            Numbers::Private(_) => Err(KeyError::PrivateGiven),
        }
    }

    /// One's own key in classic mode.
    ///
    /// # Errors
    /// [`KeyError`] if it is a public key, or for another use.
    pub fn private_classic(&self) -> Result<RsaPrivate, KeyError> {
        self.check_classic()?;
        match &self.numbers {
            Numbers::Private(key) => Ok(key.clone()),
            Numbers::Public(_) => Err(KeyError::PublicGiven),
        }
    }

    /// The key as the identity of a peer.
    ///
    /// # Errors
    /// [`KeyError`] if it is a private key, too short, or for another use.
    pub fn public_identity(&self) -> Result<PublicKey, KeyError> {
        match &self.numbers {
            Numbers::Public(key) => {
                self.check_identity()?;
                PublicKey::new(key.clone())
            }
            Numbers::Private(_) => Err(KeyError::PrivateGiven),
        }
    }

    /// The key as an identity of one's own.
    ///
    /// # Errors
    /// [`KeyError`] if it is a public key, too short, or for another use.
    pub fn private_identity(&self) -> Result<PrivateKey, KeyError> {
        match &self.numbers {
            Numbers::Private(key) => {
                self.check_identity()?;
                PrivateKey::new(key.clone())
            }
            Numbers::Public(_) => Err(KeyError::PublicGiven),
        }
    }
}
