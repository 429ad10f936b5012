//! Secure mode: TLS 1.3 for the handshake and the keys (RFC 8446, RFC 9001), by rustls; the packets around it are ours.
//!
//! Both sides are RSA identities shown as raw public keys (RFC 7250) and signing with RSA-PSS-SHA256; there is nobody
//! in the middle to vouch for them, so whose key may be the peer's is a matter of [`trust`](super::trust). Each
//! connection has a fresh key exchange: the identity keys sign, and can decrypt nothing.
//!
//! Must not know packets' headers beyond where the packet number stands, nor frames, sockets, clocks and threads.

mod engine;
mod initial;
mod key_log;
mod key_update;
mod mode;
mod protect;
mod signer;
mod verifier;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use key_log::KeyLogFile;
pub use key_update::Volume;
pub use mode::{SecureMode, SecureOptions, Suite};
pub use rustls::KeyLog;
