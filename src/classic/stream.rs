//! A classic stream: blocking calls on an endpoint that a thread of its own drives.

use super::endpoint::Endpoint;
use super::shared::{Shared, State, deadline};
use crate::error::{Limit, StreamError};
use crate::stats::Stats;
use parking_lot::Mutex;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long dropping the last handle waits for the peer to acknowledge what was written.
pub const DEFAULT_LINGER: Duration = Duration::from_secs(5);

/// A stream of the original's protocol, with the face of [`crate::Stream`]: `Read` and `Write` for it and for a shared
/// reference, so that one thread can read while another writes.
///
/// **For teaching, and to talk to old programs.** Everybody on the way can read it, change it and forge it, with textbook
/// RSA as well. And the protocol has no end mark:
///
/// - `read` returns `Ok(0)` when the peer has closed the TCP connection and nothing is *known* to be missing. Whether the
///   peer had more to say, nobody can know.
/// - Over UDP there is no end at all. After the idle time-out `read` fails with `TimedOut` ([`Limit::Idle`]).
/// - If later packets are here and earlier ones are not, either is [`StreamError::Truncated`] instead.
pub struct Stream(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    settings: Mutex<Settings>,
    worker: Mutex<Option<JoinHandle<()>>>,
    local_addr: Option<SocketAddr>,
    peer_addr: Option<SocketAddr>,
}

#[derive(Clone, Copy)]
struct Settings {
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    linger: Duration,
}

impl Stream {
    pub(super) fn new(
        shared: Arc<Shared>,
        worker: JoinHandle<()>,
        local_addr: Option<SocketAddr>,
        peer_addr: Option<SocketAddr>,
    ) -> Self {
        let settings = Settings {
            read_timeout: None,
            write_timeout: None,
            linger: DEFAULT_LINGER,
        };
        Self(Arc::new(Owner {
            shared,
            settings: Mutex::new(settings),
            worker: Mutex::new(Some(worker)),
            local_addr,
            peer_addr,
        }))
    }

    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected` on a subsystem without addresses.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr.ok_or_else(no_address)
    }

    /// Our own address.
    ///
    /// # Errors
    /// `NotConnected` on a subsystem without addresses.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr.ok_or_else(no_address)
    }

    /// Another handle of the same stream. The stream ends when the last one is dropped.
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(Arc::clone(&self.0)))
    }

    /// Reads that wait longer fail with `TimedOut`; nothing is lost. `None` waits without limit.
    ///
    /// # Errors
    /// `InvalidInput` for a time-out of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.settings.lock().read_timeout = not_zero(timeout)?;
        Ok(())
    }

    /// Writes that wait longer for room fail with `TimedOut`; nothing of that call was written.
    ///
    /// # Errors
    /// `InvalidInput` for a time-out of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.settings.lock().write_timeout = not_zero(timeout)?;
        Ok(())
    }

    /// How long dropping the last handle waits for acknowledgements; zero aborts.
    ///
    /// # Errors
    /// None today; as [`crate::Stream::set_linger`].
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.0.settings.lock().linger = linger.unwrap_or(DEFAULT_LINGER);
        Ok(())
    }

    /// Writes no more, and waits until the peer has acknowledged everything. (The original leaves up to twenty packets
    /// behind when it exits.) The peer is not told: close the connection, that is, drop the stream, to end it.
    ///
    /// # Errors
    /// [`StreamError::Unacknowledged`] says how many bytes were not: `TimedOut` (the stream lives on; call again to wait
    /// longer) or `ConnectionReset`. If nobody has ever answered, the error says that.
    pub fn finish(&self, timeout: Duration) -> io::Result<()> {
        self.0.shared.tell_worker(|state| state.endpoint.finish());
        let outcome = self
            .0
            .shared
            .wait(deadline(Some(timeout)), |state| finished(&state.endpoint));
        let timed_out = || {
            let bytes = self.0.shared.look(|state| state.endpoint.unacknowledged_bytes());
            let reason = format!("the time to finish is over ({} s)", timeout.as_secs_f64());
            Err(StreamError::Unacknowledged {
                bytes,
                reason,
                timed_out: true,
            })
        };
        Ok(outcome.unwrap_or_else(timed_out)?)
    }

    /// Ends everything at once. What was not acknowledged may be lost, and the peer cannot tell.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// `false` once nothing will be sent or received any more, whatever can still be read.
    pub fn is_open(&self) -> bool {
        !self.0.shared.look(|state| state.endpoint.is_over())
    }

    /// Waits until nothing will be sent or received any more, at most for `timeout`. Returns whether that is so.
    pub fn wait_closed(&self, timeout: Option<Duration>) -> bool {
        let over = self.0.shared.wait(deadline(timeout), |state| {
            (state.gone || state.endpoint.is_over()).then_some(())
        });
        over.is_some()
    }

    /// The error that broke the stream, if one did. It stays.
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let error = self.0.shared.look(|state| state.endpoint.error().cloned());
        Ok(error.map(io::Error::from))
    }

    /// Counters and gauges at this moment. Losses are not counted: nobody tells a lost packet from a late one here.
    pub fn stats(&self) -> Stats {
        self.0.shared.look(|state| state.endpoint.stats())
    }

    /// Payload bytes of a full packet.
    pub fn preferred_segment_size(&self) -> usize {
        self.stats().pmtu_bytes as usize
    }
}

/// What `finish` finds. `None`: it must wait.
fn finished(endpoint: &Endpoint) -> Option<Result<(), StreamError>> {
    if endpoint.is_acknowledged() {
        return Some(Ok(()));
    }
    let error = endpoint.error()?.clone();
    Some(Err(match error {
        StreamError::Refused { .. }
        | StreamError::Mismatch { .. }
        | StreamError::Violation { .. }
        | StreamError::TimedOut {
            limit: Limit::Connect, ..
        } => error,
        _ => StreamError::Unacknowledged {
            bytes: endpoint.unacknowledged_bytes(),
            reason: error.to_string(),
            timed_out: false,
        },
    }))
}

impl Owner {
    fn abort(&self) {
        self.shared.tell_worker(|state| {
            state.endpoint.fail(StreamError::Aborted);
            state.leave = true;
        });
        self.shared.tell_application(|_| ());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let linger = self.settings.lock().linger;
        if thread::panicking() || linger.is_zero() {
            self.abort();
        } else {
            self.shared.tell_worker(|state| state.endpoint.finish());
            self.shared
                .wait(deadline(Some(linger)), |state| finished(&state.endpoint));
            self.shared.tell_worker(|state| state.leave = true);
        }
        if let Some(worker) = self.worker.lock().take() {
            // A panic there has been printed.
            let _ = worker.join();
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let timeout = self.0.settings.lock().read_timeout;
        let shared = &self.0.shared;
        let is_ready = |state: &mut State| match state.endpoint.read(buf) {
            Ok(None) if state.gone => Some(Err(StreamError::Internal)),
            other => other.transpose(),
        };
        let Some(found) = shared.wait(deadline(timeout), is_ready) else {
            return Err(exceeded(Limit::Read, timeout));
        };
        let n = found?;
        // A place is free: perhaps the peer waits to hear of it.
        if n > 0 {
            shared.tell_worker(|_| ());
        }
        Ok(n)
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let timeout = self.0.settings.lock().write_timeout;
        let shared = &self.0.shared;
        let is_ready = |state: &mut State| match state.endpoint.write(buf) {
            Ok(0) if state.gone => Some(Err(StreamError::Internal)),
            Ok(0) => None,
            other => Some(other),
        };
        let Some(written) = shared.wait(deadline(timeout), is_ready) else {
            return Err(exceeded(Limit::Write, timeout));
        };
        let n = written?;
        shared.tell_worker(|_| ());
        Ok(n)
    }

    /// Everything written is on its way as far as the window lets it: nothing to do.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("local_addr", &self.0.local_addr)
            .field("peer_addr", &self.0.peer_addr)
            .field("open", &self.is_open())
            .finish()
    }
}

fn exceeded(limit: Limit, timeout: Option<Duration>) -> io::Error {
    let after = timeout.unwrap_or(Duration::MAX);
    StreamError::TimedOut { limit, after }.into()
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
