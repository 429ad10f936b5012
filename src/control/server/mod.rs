//! The HTTP server, which anybody may talk to and nobody may wear down.
//!
//! ```text
//!   clients <--TCP--> THREAD "http-gate" <--Unix socket--> tiny_http --> THREAD "http-door" --> a thread for each request
//!                     reads, vets and rewrites                              Request -> answer() -> Response
//! ```
//!
//! `tiny_http` knows no limit of connections, no time-out, and lets through what a proxy in front would read otherwise. So it
//! never sees a client: the gate reads a request to its end, within limits, and says it anew in the one form that leaves
//! nothing to interpret: one request, with a known length, on a connection of its own. Only this user can reach the socket
//! behind the gate: it lies in a folder of its own. Responses are written here byte by byte, and nothing of a request gets
//! into their headers.

mod connection;
mod door;
mod gate;
mod head;

pub(super) use door::{Answer, Doors};
pub(super) use gate::{Counts, Gate};
