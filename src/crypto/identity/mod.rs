//! RSA keys as identities: what they are made of, how they are written down, and what they can do.
//!
//! ```text
//!   bytes of a file -> KeyText (JSON, PEM, OpenSSH) -> RsaPublic / RsaPrivate: numbers of any size, for any use
//!                                                        | long enough, e = 65537, "use": "identity"
//!                                                        v
//!                                                      PublicKey / PrivateKey: may prove an identity
//! ```
//!
//! Two uses never share a key: identities sign (RSA-PSS), the classic mode computes raw `x^d mod n`, which could be made
//! to sign. So a key says what it is for, and only [`PrivateKey`] signs.
//!
//! Private operations, hashes and random numbers come from `aws-lc-rs`. The formats come from crates that know formats
//! only. Files are read and written in `key_file` alone.
//!
//! RFC 8017 (RSA, PKCS #1), RFC 5208 (PKCS #8), RFC 5280 section 4.1 (SPKI), RFC 7468 (PEM), RFC 4253 section 6.6 (SSH).

mod classic;
mod der;
mod error;
mod fingerprint;
mod json;
mod key_file;
mod number;
mod openssh;
mod pem;
mod private;
mod public;
mod rsa;
mod text;
mod usage;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use classic::{CLASSIC_BITS, generate as generate_classic};
pub use error::KeyError;
pub use fingerprint::Fingerprint;
pub use key_file::{Existing, KeyFile, PRIVATE_NAME, PUBLIC_NAME, check_free};
pub use number::Number;
pub use private::PrivateKey;
pub use public::{MAX_BITS, MIN_BITS, PublicKey};
pub use rsa::{RsaPrivate, RsaPublic};
pub use text::{Format, KeyText, Numbers, parse_list};
pub use usage::Use;
