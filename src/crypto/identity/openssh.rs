//! Keys as OpenSSH writes them: the line `ssh-rsa AAAA... comment`, and `openssh-key-v1` without passphrase.

use super::error::KeyError;
use super::number::Number;
use super::rsa::{RsaPrivate, RsaPublic};
use super::text::{Format, KeyText, Numbers};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::private::{KeypairData, RsaKeypair, RsaPrivateKey};
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{LineEnding, Mpint};
use zeroize::Zeroizing;

/// What takes the passphrase off.
const DECRYPT: &str = "ssh-keygen -p -N '' -f COPY";

/// Bounded numbers and comments without line ends can always be written.
const ENCODES: &str = "a key of bounded length can be encoded";

/// Whether a line of a list says anything.
pub(super) fn is_entry(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

/// Whether a line begins like a public key of any kind.
pub(super) fn looks_like_key(line: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| line.starts_with(kind))
}

pub(super) fn parse_line(line: &str) -> Result<KeyText, KeyError> {
    let line = line.trim();
    if !looks_like_key(line) {
        return Err(KeyError::UnknownFormat);
    }
    check_kind(line.split_whitespace().next().unwrap_or_default())?;
    let key = ssh_key::PublicKey::from_openssh(line).map_err(malformed)?;
    let KeyData::Rsa(numbers) = key.key_data() else {
        return Err(malformed("another kind of key inside"));
    };
    let numbers = Numbers::Public(public(numbers)?);
    Ok(KeyText::read_as(Format::OpenSsh, numbers, None, key.comment()))
}

pub(super) fn parse_private(text: &str) -> Result<KeyText, KeyError> {
    if let Some(kind) = private_kind(text) {
        check_kind(&kind)?;
    }
    let key = ssh_key::PrivateKey::from_openssh(text).map_err(malformed)?;
    if key.is_encrypted() {
        return Err(KeyError::Encrypted { how: DECRYPT });
    }
    let KeypairData::Rsa(pair) = key.key_data() else {
        return Err(malformed("another kind of key inside"));
    };
    let [d, p, q, qi] = [&pair.private.d, &pair.private.p, &pair.private.q, &pair.private.iqmp].map(number);
    let pair = RsaPrivate::with_primes(public(&pair.public)?, d?, p?, q?)?;
    if *pair.qi() != qi? {
        return Err(KeyError::Inconsistent {
            what: "qi is not 1/q mod p",
        });
    }
    let numbers = Numbers::Private(pair);
    Ok(KeyText::read_as(Format::OpenSsh, numbers, None, key.comment()))
}

pub(super) fn render_line(key: &RsaPublic, comment: &str) -> String {
    let key = ssh_key::PublicKey::new(KeyData::Rsa(ssh_public(key)), comment);
    let mut line = key.to_openssh().expect(ENCODES).trim_end().to_owned();
    line.push('\n');
    line
}

pub(super) fn render_private(key: &RsaPrivate, comment: &str) -> Zeroizing<String> {
    let pair = RsaKeypair {
        public: ssh_public(key.public()),
        private: RsaPrivateKey {
            d: mpint(key.d()),
            iqmp: mpint(key.qi()),
            p: mpint(key.p()),
            q: mpint(key.q()),
        },
    };
    let key = ssh_key::PrivateKey::new(KeypairData::Rsa(pair), comment).expect(ENCODES);
    key.to_openssh(LineEnding::LF).expect(ENCODES)
}

/// The kind of a private key, which the crate does not tell of kinds that it does not know. The public key stands in
/// clear in front of the private one (OpenSSH's PROTOCOL.key, section 1): magic, cipher, kdf, its options, a count, keys.
fn private_kind(text: &str) -> Option<String> {
    // Room for all of it at once: what a growing string leaves behind is not wiped.
    let mut body = Zeroizing::new(String::with_capacity(text.len()));
    body.extend(text.lines().map(str::trim).filter(|line| !line.starts_with('-')));
    let bytes = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    for _ in ["cipher", "kdf", "options"] {
        string(&mut rest)?;
    }
    rest = rest.get(4..)?;
    let mut public = string(&mut rest)?;
    String::from_utf8(string(&mut public)?.to_vec()).ok()
}

/// RFC 4251, section 5.
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (string, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(string)
}

fn check_kind(kind: &str) -> Result<(), KeyError> {
    if kind == "ssh-rsa" {
        return Ok(());
    }
    Err(KeyError::NotRsa {
        algorithm: kind.chars().filter(|c| !c.is_control()).take(40).collect(),
    })
}

fn public(key: &RsaPublicKey) -> Result<RsaPublic, KeyError> {
    RsaPublic::new(number(&key.n)?, number(&key.e)?)
}

fn number(number: &Mpint) -> Result<Number, KeyError> {
    let bytes = number
        .as_positive_bytes()
        .ok_or_else(|| malformed("a negative number"))?;
    Ok(Number::from_bytes(bytes))
}

fn ssh_public(key: &RsaPublic) -> RsaPublicKey {
    RsaPublicKey {
        e: mpint(key.e()),
        n: mpint(key.n()),
    }
}

fn mpint(number: &Number) -> Mpint {
    Mpint::from_positive_bytes(number.bytes()).expect(ENCODES)
}

fn malformed(what: impl ToString) -> KeyError {
    KeyError::malformed("OpenSSH", what)
}
