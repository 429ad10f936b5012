//! Classic mode: the protocol of the original program, its textbook RSA, and the three ARQ schemes that every course
//! teaches. **For teaching and for old peers only**: never negotiated, never a fallback, and it protects nothing.
//!
//! ```text
//!   application -- write --> sender (window, timer) --> [RSA] --> [length] --> carrier
//!               <-- read --- receiver (ten places)  <-- [RSA] <-- [length] <-- carrier
//!                            '------ Endpoint ----'     '----- one thread ----'
//! ```
//!
//! [`Stream`], [`Builder`] and [`Listener`] are for programs. [`Endpoint`] is the protocol as a value, without clock and
//! socket: for simulations, and to read. It must not know the securestream protocol, whose mode this is only on command
//! lines. `docs/classic.md` describes the wire, derives what the schemes achieve, shows the attacks, and has the table of
//! the original's names.

mod arq;
mod endpoint;
mod receiver;
mod sender;

mod rsa;

mod builder;
mod carrier;
mod listener;
mod shared;
mod stream;
mod worker;

mod bridge;
mod filters;

pub use arq::{Arq, DEFAULT_TIMEOUT, Scheme};
pub use bridge::{Bridge, bridge};
pub use builder::Builder;
pub use endpoint::{CarrierEnd, Config, Endpoint};
pub use filters::{RandomDrop, Statistics, chain};
pub use listener::{Incident, Listener};
pub use rsa::{Cryptor, RawPrivate, RawPublic, build_cryptor};
pub use stream::{DEFAULT_LINGER, Stream};

#[cfg(test)]
mod tests {
    //! What the tests of this folder share.

    use std::time::{Duration, Instant};

    pub(super) fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    pub(super) fn origin() -> Instant {
        Instant::now()
    }
}
