//! Reliable, ordered, encrypted or plain byte streams over an unreliable [`Subsystem`](crate::subsystem::Subsystem).
//!
//! [`Stream`] mirrors `std::net::TcpStream`, [`Listener`] mirrors `TcpListener`; [`StreamBuilder`] holds the options
//! of both. Each stream runs three threads:
//!
//! ```text
//!       application thread(s)                     threads of one Stream
//!   write() -- outbox (bounded in bytes) -->+
//!   finish / close / window --- mailbox --->|  SEND THREAD           PacketTx
//!                                           |  SendHalf + Sealer ---> (subsystem) --> wire
//!   +------ mailbox + doorbell(1) --------->|      | next deadline
//!   |            +----- expired ----------->+      v
//!   |            +------------------------- TIMER THREAD (retransmit, ack, idle, keep-alive)
//!   |
//!   RECV THREAD  <--- PacketRx (subsystem, or a queue filled by the PORT THREAD) <--- wire
//!   Opener + RecvHalf --- in-order bytes ---> pipe ---> read()
//! ```

mod builder;
mod limits;
mod listener;
mod options;
mod owned;
mod owner;
mod read_write;

mod acceptor;
mod alarm;
mod budget;
mod connection;
pub(crate) mod core;
pub(crate) mod drive;
mod port;
mod printable;
mod queue;
mod recv_thread;
mod send_thread;
mod timer_thread;
mod turns;

pub(crate) mod handshake;
pub(crate) mod intake;
pub(crate) mod mailbox;
mod monitor;
mod outbox;
pub(crate) mod outlet;
mod patience;
mod patient_recv;
mod pipe;
pub(crate) mod report;
mod security;
mod sync;

#[cfg(test)]
mod tests;

pub use builder::{Carrier, StreamBuilder};
pub use limits::Limits;
pub use listener::{CloseHandle, Incident, Listener};
pub use pipe::Received;
pub use security::Security;

use crate::crypto::identity::PublicKey;
use crate::error::{Limit, StreamError};
use crate::stats::Stats;
use connection::Connection;
use owner::{Owner, Settings};
use patience::Patience;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long dropping the last handle waits for the peer to take what was written.
pub const DEFAULT_LINGER: Duration = Duration::from_secs(5);

/// What is known when [`Stream::finish`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The peer's application read to the end.
    Consumed,
    /// The peer's stack has acknowledged everything. The application had not read it all when the time was over, or
    /// when it left.
    Acknowledged,
}

/// A reliable byte stream between two programs, read and written with blocking calls.
///
/// Works like `std::net::TcpStream`: [`Read`](std::io::Read) and [`Write`](std::io::Write) for `Stream` and `&Stream`, so that one thread can read
/// while another writes, and [`Stream::try_clone`] for more handles. Reading and writing share no lock.
///
/// `read` returns `Ok(0)` only when the peer has ended its direction and every byte before was delivered. Anything
/// else that ends the stream is an error, whose [`StreamError`] says why.
///
/// Dropping the last handle ends the stream like closing a socket, but waits up to the linger time
/// ([`Stream::set_linger`], 5 s by default) until the peer has what was written; while a thread panics it aborts.
/// To *know* that the peer has everything call [`Stream::finish`].
pub struct Stream(Arc<Owner>);

impl Stream {
    fn new(
        connection: Arc<Connection>,
        send_thread: JoinHandle<()>,
        linger: Option<Duration>,
        nodelay: bool,
        port: Option<Arc<port::PortOwner>>,
    ) -> Self {
        Self(Arc::new(Owner::new(connection, send_thread, linger, nodelay, port)))
    }

    /// Connects over UDP with default options; every address that `addr` resolves to is tried. For other options see
    /// [`StreamBuilder`].
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `PermissionDenied` (identity), `Unsupported` (mode or version), or what the
    /// system says.
    pub fn connect(addr: impl ToSocketAddrs, security: Security) -> io::Result<Self> {
        StreamBuilder::new(security).connect(addr)
    }

    /// As [`Stream::connect`], to one address and within `timeout`.
    ///
    /// # Errors
    /// As [`Stream::connect`]; `InvalidInput` for a zero time-out.
    pub fn connect_timeout(addr: &SocketAddr, security: Security, timeout: Duration) -> io::Result<Self> {
        StreamBuilder::new(security).connect_timeout(timeout).connect(addr)
    }

    fn connection(&self) -> &Connection {
        &self.0.connection
    }

    fn settings(&self) -> Settings {
        *self.0.settings.lock()
    }

    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected` on a subsystem without addresses.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.connection().peer_addr.ok_or_else(no_address)
    }

    /// Our own address, as the stream began. A UDP client that is not heard any more goes on from another port.
    ///
    /// # Errors
    /// `NotConnected` on a subsystem without addresses.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.connection().properties.local_addr.ok_or_else(no_address)
    }

    /// Who the peer has proven to be in the handshake. `None` in plain mode, where nobody proves anything.
    ///
    /// With [`Trust::Unauthenticated`](crate::trust::Trust::Unauthenticated) this is a key that nobody knows: show its
    /// fingerprint to somebody who does.
    pub fn peer_identity(&self) -> Option<PublicKey> {
        self.connection().peer_identity.clone()
    }

    /// Who we are to the peer. `None` in plain mode.
    pub fn local_identity(&self) -> Option<PublicKey> {
        self.connection().local_identity.clone()
    }

    /// Ends one or both directions at once, without waiting. After `Write` the peer reads to the end; after `Read`
    /// the peer is told to stop, what it has sent is dropped and reads here return 0. Wakes every blocked call that
    /// this ends.
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Write | Shutdown::Both) && self.connection().outbox.finish() {
            self.connection().mailbox.ring();
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.connection().pipe.stop();
            self.connection().mailbox.post(|letters| letters.stop_reading = true);
        }
        Ok(())
    }

    /// Another handle of the same stream. The stream ends when the last one is dropped.
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(Arc::clone(&self.0)))
    }

    /// Copies bytes that the next `read` will return, and leaves them there.
    ///
    /// # Errors
    /// As `read`.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let patience = self.settings().read_patience();
        let connection = self.connection();
        found(
            connection.pipe.peek(buf, patience, &connection.mailbox),
            patience,
            Limit::Read,
        )
    }

    /// The error that ended the stream, if one did. Unlike that of a socket it stays.
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let ended = self.connection().status.with(|status, _| status.ended.clone());
        Ok(ended.and_then(Result::err).map(io::Error::from))
    }

    /// Ends our direction and waits up to `timeout` for the verdict: the peer's application read to the end, or at
    /// least its stack has everything.
    ///
    /// # Errors
    /// [`StreamError::Unacknowledged`] says how many bytes the peer has not acknowledged: `TimedOut` (the stream
    /// lives on; call again to wait longer) or `ConnectionReset`.
    pub fn finish(&self, timeout: Duration) -> io::Result<Finished> {
        self.shutdown(Shutdown::Write)?;
        let connection = self.connection();
        let verdict = connection.status.wait(Patience::For(timeout).deadline(), |status, _| {
            // Whose application read to the end, has everything: its last acknowledgement may have been lost.
            if status.consumed {
                return Some(Ok(Finished::Consumed));
            }
            if status.ended.is_none() && !status.stopped {
                return None;
            }
            // What the send thread has not taken yet counts too.
            let bytes = connection.outbox.held();
            // An application that reads no more needs no end mark.
            if status.finished || (status.stopped && bytes == 0) {
                return Some(Ok(Finished::Acknowledged));
            }
            let error = status
                .ended
                .clone()
                .and_then(Result::err)
                .or_else(|| connection.outbox.error());
            let reason = error.map_or_else(|| "the stream is closed".into(), |error| error.to_string());
            Some(Err(StreamError::Unacknowledged {
                bytes,
                reason,
                timed_out: false,
            }))
        });
        if let Some(verdict) = verdict {
            return Ok(verdict?);
        }
        connection.status.with(|status, _| {
            if status.finished {
                return Ok(Finished::Acknowledged);
            }
            let bytes = connection.outbox.held();
            let reason = format!("the time to finish is over ({} s)", timeout.as_secs_f64());
            Err(StreamError::Unacknowledged {
                bytes,
                reason,
                timed_out: true,
            }
            .into())
        })
    }

    /// Aborts the stream: the peer gets `ConnectionReset`, other handles here `ConnectionAborted`. What was not
    /// acknowledged may be lost.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Counters and gauges at this moment.
    pub fn stats(&self) -> Stats {
        self.connection().stats()
    }

    /// `false` once the connection is over, whatever can still be read.
    pub fn is_open(&self) -> bool {
        self.connection().status.with(|status, _| status.ended.is_none())
    }

    /// Payload bytes of a full packet: writes of multiples of it waste nothing.
    pub fn preferred_segment_size(&self) -> usize {
        // Short header, packet number, STREAM header with a large offset, and a tag of 16 bytes at most.
        const OVERHEAD: usize = 9 + 4 + 12 + 16;
        let packet_bytes = self
            .connection()
            .packet_bytes
            .load(std::sync::atomic::Ordering::Relaxed);
        packet_bytes.saturating_sub(OVERHEAD).max(1)
    }

    /// Reads at least `n` bytes into `buf`, or fewer if the stream ends before; more if they are there.
    ///
    /// # Errors
    /// `InvalidInput` if `n` is more than `buf` holds or `timeout` is zero; `TimedOut` if they did not come within
    /// `timeout`: nothing is lost, the bytes that came can be read. Otherwise as `read`.
    pub fn read_at_least(&self, buf: &mut [u8], n: usize, timeout: Duration) -> io::Result<usize> {
        if n > buf.len() {
            let reason = format!("{n} bytes do not fit into a buffer of {}", buf.len());
            return Err(StreamError::Invalid { reason }.into());
        }
        not_zero(Some(timeout))?;
        let connection = self.connection();
        let patience = Patience::For(timeout);
        let read = connection.pipe.read_at_least(buf, n, patience, &connection.mailbox);
        found(read, patience, Limit::Read)
    }
}

fn no_address() -> io::Error {
    StreamError::NotConnected {
        reason: "this subsystem has no addresses".into(),
    }
    .into()
}

fn not_zero(timeout: Option<Duration>) -> io::Result<Option<Duration>> {
    if timeout == Some(Duration::ZERO) {
        return Err(StreamError::Invalid {
            reason: "a time-out must not be zero".into(),
        }
        .into());
    }
    Ok(timeout)
}

/// Turns "nothing in time" into the error that the caller expects.
fn found(result: Result<Option<usize>, StreamError>, patience: Patience, limit: Limit) -> io::Result<usize> {
    match result? {
        Some(n) => Ok(n),
        None => Err(patience
            .exceeded(limit)
            .map_or_else(|| io::ErrorKind::WouldBlock.into(), Into::into)),
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("local_addr", &self.connection().properties.local_addr)
            .field("peer_addr", &self.connection().peer_addr)
            .field("open", &self.is_open())
            .finish()
    }
}
