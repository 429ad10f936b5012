//! Accepting streams, like `std::net::TcpListener`.

use super::Stream;
use super::acceptor::AcceptorOwner;
use super::patience::Patience;
use super::port::PortOwner;
use crate::error::{Limit, StreamError};
use crate::stats::ListenerStats;
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded, never, select};
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Streams that wait to be accepted. More are refused.
pub(crate) const BACKLOG: usize = 128;
/// Incidents kept for whoever looks; the oldest are dropped.
const INCIDENTS: usize = 64;

/// Something that happened at a listener and is no error of it: for logs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incident {
    /// A handshake was refused or given up.
    Refused {
        /// Who tried, where that is known.
        peer: Option<SocketAddr>,
        /// Why, in words.
        reason: String,
    },
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Refused { peer, reason } = self;
        match peer {
            Some(peer) => write!(f, "refused {peer}: {reason}"),
            None => write!(f, "refused a peer: {reason}"),
        }
    }
}

/// A stream that waits to be accepted.
pub(crate) type Accepted = (Stream, Option<SocketAddr>);

/// What the thread behind a listener reports to it.
#[derive(Clone)]
pub(crate) struct Desk {
    accepted: Sender<Accepted>,
    incidents: Sender<Incident>,
    oldest_incident: Receiver<Incident>,
    closed: Arc<AtomicBool>,
    stats: Arc<Mutex<ListenerStats>>,
}

impl Desk {
    /// What to look at when nobody listens.
    #[cfg(test)]
    pub(crate) fn lonely() -> (Self, Receiver<Accepted>, Receiver<Incident>) {
        Self::new(BACKLOG)
    }

    fn new(backlog: usize) -> (Self, Receiver<Accepted>, Receiver<Incident>) {
        let (accept, accepted) = bounded(backlog);
        let (report, incidents) = bounded(INCIDENTS);
        let desk = Self {
            accepted: accept,
            incidents: report,
            oldest_incident: incidents.clone(),
            closed: Arc::default(),
            stats: Arc::default(),
        };
        (desk, accepted, incidents)
    }

    /// Shows how things are.
    pub(crate) fn publish(&self, stats: ListenerStats) {
        *self.stats.lock() = stats;
    }

    /// Changes what is shown.
    pub(crate) fn count(&self, change: impl FnOnce(&mut ListenerStats)) {
        change(&mut self.stats.lock());
    }

    /// The backlog is full, or the listener closed: whoever comes must be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.is_closed() || self.accepted.is_full()
    }

    /// No new streams are wanted.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Offers a stream. It is aborted if nobody can take it.
    pub(crate) fn offer(&self, stream: Stream, peer: Option<SocketAddr>) {
        if self.is_closed() {
            let _ = stream.set_linger(Some(Duration::ZERO));
            return;
        }
        if let Err(TrySendError::Full((stream, _)) | TrySendError::Disconnected((stream, _))) =
            self.accepted.try_send((stream, peer))
        {
            let _ = stream.set_linger(Some(Duration::ZERO));
        }
    }

    /// Notes an incident.
    pub(crate) fn report(&self, peer: Option<SocketAddr>, reason: String) {
        log::debug!(peer:? = peer, reason:% = reason; "handshake refused");
        let mut incident = Incident::Refused { peer, reason };
        while let Err(TrySendError::Full(again)) = self.incidents.try_send(incident) {
            let _ = self.oldest_incident.try_recv();
            incident = again;
        }
    }
}

/// Keeps the thread of the listener.
pub(crate) enum Keeper {
    /// UDP, or another carrier of many peers.
    Port(Arc<PortOwner>),
    /// TCP.
    Acceptor(AcceptorOwner),
}

impl Keeper {
    fn close(&self) {
        match self {
            Self::Port(port) => port.wake(),
            Self::Acceptor(acceptor) => acceptor.wake(),
        }
    }
}

/// Closes a listener from another thread.
#[derive(Clone)]
pub struct CloseHandle {
    closed: Arc<AtomicBool>,
    /// Dropped to wake blocked accepts.
    open: Arc<Mutex<Option<Sender<()>>>>,
}

impl CloseHandle {
    /// Blocked and later accepts return `NotConnected`, new peers are refused. Accepted streams live on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.open.lock().take();
    }
}

impl fmt::Debug for CloseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseHandle(closed: {})", self.closed.load(Ordering::Relaxed))
    }
}

/// Accepts streams. Made by [`StreamBuilder::bind`](super::StreamBuilder::bind).
///
/// Handshakes go on in the background; up to 128 complete streams wait for `accept`, more are refused.
/// Dropping the listener aborts those that wait; accepted streams live on.
pub struct Listener {
    accepted: Receiver<Accepted>,
    incidents: Receiver<Incident>,
    stats: Arc<Mutex<ListenerStats>>,
    close: CloseHandle,
    closing: Receiver<()>,
    nonblocking: AtomicBool,
    local_addr: Option<SocketAddr>,
    keeper: Keeper,
}

impl Listener {
    /// Makes a listener around the thread that `start` starts.
    pub(crate) fn new(
        local_addr: Option<SocketAddr>,
        start: impl FnOnce(Desk) -> io::Result<Keeper>,
    ) -> io::Result<Self> {
        let (desk, accepted, incidents) = Desk::new(BACKLOG);
        let (open, closing) = bounded(0);
        Ok(Self {
            stats: Arc::clone(&desk.stats),
            accepted,
            incidents,
            close: CloseHandle {
                closed: Arc::clone(&desk.closed),
                open: Arc::new(Mutex::new(Some(open))),
            },
            closing,
            nonblocking: AtomicBool::new(false),
            local_addr,
            keeper: start(desk)?,
        })
    }

    /// Waits for the next stream; returns it with the peer's address where there is one.
    ///
    /// # Errors
    /// `NotConnected` when the listener was closed; `WouldBlock` in nonblocking mode.
    pub fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        let nonblocking = self.nonblocking.load(Ordering::Relaxed);
        self.accept_within(if nonblocking { Patience::None } else { Patience::Forever })
    }

    /// As [`Listener::accept`], for at most `timeout`.
    ///
    /// # Errors
    /// As `accept`; `TimedOut` when nobody connected in time; `InvalidInput` for a zero time-out.
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(Stream, Option<SocketAddr>)> {
        super::not_zero(Some(timeout))?;
        self.accept_within(Patience::For(timeout))
    }

    fn accept_within(&self, patience: Patience) -> io::Result<Accepted> {
        if self.close.closed.load(Ordering::Acquire) {
            return Err(self.ended());
        }
        match self.accepted.try_recv() {
            Ok(accepted) => return Ok(accepted),
            Err(TryRecvError::Disconnected) => return Err(self.ended()),
            Err(TryRecvError::Empty) => {}
        }
        let over = patience.deadline().map_or_else(never, crossbeam_channel::at);
        select! {
            recv(self.accepted) -> accepted => accepted.map_err(|_| self.ended()),
            recv(self.closing) -> _ => Err(self.ended()),
            recv(over) -> _ => Err(patience
                .exceeded(Limit::Accept)
                .map_or_else(|| io::ErrorKind::WouldBlock.into(), Into::into)),
        }
    }

    fn ended(&self) -> io::Error {
        let reason = if self.close.closed.load(Ordering::Acquire) {
            "the listener was closed"
        } else {
            "the socket of the listener failed"
        };
        StreamError::NotConnected { reason: reason.into() }.into()
    }

    /// Streams as they come, for `for stream in listener.incoming()`. Ends when the listener is closed.
    pub fn incoming(&self) -> impl Iterator<Item = io::Result<Stream>> + '_ {
        std::iter::from_fn(|| match self.accept() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            result => Some(result.map(|(stream, _)| stream)),
        })
    }

    /// The address that clients connect to; its port is the real one also when 0 was asked for.
    ///
    /// # Errors
    /// `NotConnected` on a subsystem without addresses.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr.ok_or_else(super::no_address)
    }

    /// Closes this listener from another thread.
    pub fn close_handle(&self) -> CloseHandle {
        self.close.clone()
    }

    /// Refused handshakes and the like. Nobody needs to listen: the oldest are dropped.
    pub fn incidents(&self) -> Receiver<Incident> {
        self.incidents.clone()
    }

    /// What has come to this listener, and what became of it.
    pub fn stats(&self) -> ListenerStats {
        *self.stats.lock()
    }

    /// In nonblocking mode `accept` fails with `WouldBlock` when no stream waits.
    ///
    /// # Errors
    /// None today; the signature is that of `TcpListener`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close.close();
        self.keeper.close();
        for (stream, _) in self.accepted.try_iter() {
            let _ = stream.set_linger(Some(Duration::ZERO));
        }
    }
}
