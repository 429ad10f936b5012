//! What a listener takes from strangers, and from all its peers together.

/// Limits of a listener. The defaults suit a server on the internet.
///
/// ```
/// use securestream::{Limits, Security, StreamBuilder};
///
/// let limits = Limits { connections: 10, ..Limits::default() };
/// let listener = StreamBuilder::new(Security::plain()).limits(limits).bind("127.0.0.1:0")?;
/// assert_eq!(listener.stats().connections, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// With so many handshakes going on, strangers must show that their address is their own before anything is kept
    /// for them (a Retry, RFC 9000, section 8.1.2), which costs them a round trip. 0: always. 64 by default. UDP only.
    pub retry_above: usize,
    /// Handshakes at a time; more are refused. 1024 by default, on TCP at most 64.
    pub half_open: usize,
    /// Handshakes a second from one IP address, counted only while Retries are asked for, and only for addresses that
    /// are validated: else a stranger could lock out others in their name. 20 by default.
    pub per_source_per_sec: u32,
    /// Streams at a time; more are refused. 4096 by default. UDP only: on TCP the descriptors of the process and
    /// `receive_memory` are the limit.
    pub connections: usize,
    /// Bytes that all peers together may have sent and the applications not read: the sum of all receive windows.
    /// Windows grow more slowly as it fills up, and nobody is accepted when it is full. 256 MiB by default.
    pub receive_memory: u64,
    /// Answers a second that cost a stranger nothing to provoke: refusals, version negotiation and stateless resets all
    /// together, and Retries to each address. No answer is larger than what provoked it. 100 by default.
    pub answers_per_sec: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            retry_above: 64,
            half_open: 1024,
            per_source_per_sec: 20,
            connections: 4096,
            receive_memory: 256 << 20,
            answers_per_sec: 100,
        }
    }
}
