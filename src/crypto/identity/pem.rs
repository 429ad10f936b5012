//! PEM (RFC 7468): PKCS #8 and SPKI are written; PKCS #1 is read, too.

use super::der;
use super::error::KeyError;
use super::rsa::{RsaPrivate, RsaPublic};
use super::text::{Format, KeyText, Numbers};
use pkcs8::der::pem::{LineEnding, decode_vec, encode_string};
use zeroize::Zeroizing;

const PKCS8: &str = "PRIVATE KEY";
const SPKI: &str = "PUBLIC KEY";

/// What takes the passphrase off.
const DECRYPT: &str = "openssl pkey -in FILE -out COPY";

pub(super) fn parse(text: &str) -> Result<KeyText, KeyError> {
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::Encrypted { how: DECRYPT });
    }
    let (label, der) = decode_vec(text.as_bytes()).map_err(malformed)?;
    let der = Zeroizing::new(der);
    let numbers = match label {
        PKCS8 => Numbers::Private(der::parse_pkcs8(&der)?),
        "RSA PRIVATE KEY" => Numbers::Private(der::parse_pkcs1_private(&der)?),
        SPKI => Numbers::Public(der::parse_spki(&der)?),
        "RSA PUBLIC KEY" => Numbers::Public(der::parse_pkcs1_public(&der)?),
        "EC PRIVATE KEY" => {
            return Err(KeyError::NotRsa {
                algorithm: "ECDSA".to_owned(),
            });
        }
        other => return Err(malformed(format_args!("{other} is no key"))),
    };
    Ok(KeyText::read_as(Format::Pem, numbers, None, ""))
}

pub(super) fn render_public(key: &RsaPublic) -> String {
    wrap(SPKI, &der::spki(key))
}

pub(super) fn render_private(key: &RsaPrivate) -> Zeroizing<String> {
    Zeroizing::new(wrap(PKCS8, &der::pkcs8(key)))
}

fn wrap(label: &'static str, der: &[u8]) -> String {
    encode_string(label, LineEnding::LF, der).expect("the label is right and the length bounded")
}

fn malformed(what: impl ToString) -> KeyError {
    KeyError::malformed("PEM", what)
}
