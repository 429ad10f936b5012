//! A reliable, congestion-controlled byte stream over UDP, or over packets framed on TCP, with blocking sockets.
//!
//! [`Stream`] is used like [`std::net::TcpStream`] and [`Listener`] like [`std::net::TcpListener`]; [`StreamBuilder`]
//! has the options of both, and the ways to connect, accept and listen.
//!
//! ```
//! use securestream::{Finished, Security, StreamBuilder};
//! use std::io::{self, Read, Write};
//! use std::time::Duration;
//!
//! let listener = StreamBuilder::new(Security::plain()).bind("127.0.0.1:0")?;
//! let addr = listener.local_addr()?;
//! let client = std::thread::spawn(move || -> io::Result<String> {
//!     let mut stream = StreamBuilder::new(Security::plain()).connect(addr)?;
//!     stream.write_all(b"ping")?;
//!     stream.finish(Duration::from_secs(5))?; // this direction has ended, the other lives on
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer)?; // Ok: the end was seen and nothing is missing
//!     Ok(answer)
//! });
//!
//! let (mut stream, _) = listener.accept()?;
//! let mut question = String::new();
//! stream.read_to_string(&mut question)?;
//! write!(stream, "{question}? pong!")?;
//! drop(stream); // waits until the client has what was written
//! assert_eq!(client.join().unwrap()?, "ping? pong!");
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # What to know
//! - [`Security::secure`] is for everything real. **[`Security::plain`] is not**: anybody on the way can read and change
//!   its packets.
//! - `read` returns `Ok(0)` only when the peer has ended its direction and nothing is missing. [`Stream::finish`] says
//!   whether the peer's program has read to the end.
//! - Errors are [`std::io::Error`]s of the usual kinds, with a [`StreamError`] inside; see [`StreamError::of`].
//! - The carrier is a [`Subsystem`](subsystem::Subsystem): UDP, TCP, memory, or your own. Any of them can be made as bad
//!   as needed for a test: see [`impair`] and [`filter`].
//! - The features `cli` and `controller` (on by default) are for the command-line tools; programs can do without.
//!
//! # Layers
//! A module imports only from rows above its own.
//!
//! | modules | what |
//! |---|---|
//! | [`wire`], [`crypto`], [`filter`], [`subsystem`] | bytes of packets; their protection; faults; packets to and from the system |
//! | [`impair`], [`proto`] | a subsystem with faults in front; the protocol core, without clock, socket and thread |
//! | [`stream`] | streams and listeners: the threads around the core |
//! | [`classic`] | the protocol of the original program, for teaching and for old peers; next to `stream`, not above it |
//! | [`proxy`] | the man in the middle, and network emulator |
//! | [`attack`] | what a man in the middle can do, for lessons and tests |
//! | `control` | the controller with its page, and what connects endpoints and proxies to it (feature `controller`) |
//!
//! The files `docs/architecture.md` and `docs/protocol.md` beside the source say how it is built, and what every byte on
//! the wire means.

pub mod attack;
pub mod classic;
pub mod crypto;
pub mod error;
pub mod filter;
pub mod impair;
pub mod proto;
pub mod proxy;
pub mod stats;
pub mod stream;
pub mod subsystem;
pub mod wire;

#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "controller")]
pub mod control;

#[cfg(feature = "cli")]
pub mod cli;

pub use crypto::tls::{KeyLog, KeyLogFile, SecureOptions, Suite};
pub use crypto::{identity, trust};
pub use error::{Limit, StreamError};
pub use stats::{BlockedBy, ListenerStats, Stats};
pub use stream::{
    Carrier, CloseHandle, Finished, Incident, Limits, Listener, Received, Security, Stream, StreamBuilder,
};

/// The examples in the texts are compiled and run by `cargo test`.
#[cfg(doctest)]
mod texts {
    #[doc = include_str!("../README.md")]
    struct Readme;

    #[doc = include_str!("../docs/architecture.md")]
    struct Architecture;

    #[cfg(feature = "controller")]
    #[doc = include_str!("../docs/rest.md")]
    struct Rest;
}
