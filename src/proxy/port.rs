//! The ends of a link: a source from which packets come, an outlet through which they leave. Neither ever blocks; the
//! thread of the link waits for all of them at once.

use super::flow::Way;
use crate::subsystem::{Batch, Halves, PacketRx, PacketTx, Sent, Subsystem};
use crate::subsystem::{tcp::Tcp, udp::Udp};
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What may wait for one outlet that does not take more now. Behind it packets are dropped, or not read.
const OUTLET_BYTES: usize = 4 << 20;
/// How long one address of the target may take to answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What packets travel in on one side of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Datagrams.
    Udp,
    /// Frames on a TCP connection.
    Tcp,
}

impl Side {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A socket to wait for. The halves of the subsystem read and write it.
#[derive(Clone, Debug)]
pub(super) enum Line {
    Udp(Arc<OwnedFd>),
    Tcp(Arc<TcpStream>),
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(fd) => fd.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// A subsystem, taken apart.
pub(super) struct Ends {
    pub(super) rx: Box<dyn PacketRx>,
    pub(super) tx: Box<dyn PacketTx>,
    pub(super) line: Line,
    /// Our own port, of a datagram socket.
    pub(super) udp_port: Option<u16>,
}

impl Ends {
    pub(super) fn udp(udp: Udp) -> io::Result<Self> {
        let line = Line::Udp(Arc::new(udp.as_fd().try_clone_to_owned()?));
        let udp_port = udp.local_addr().ok().map(|addr| addr.port());
        let Halves { tx, rx, .. } = Box::new(udp).split()?;
        Ok(Self { rx, tx, line, udp_port })
    }

    pub(super) fn tcp(stream: TcpStream) -> io::Result<Self> {
        let line = Line::Tcp(Arc::new(stream.try_clone()?));
        let Halves { tx, rx, .. } = Box::new(Tcp::from_stream(stream)?).split()?;
        Ok(Self {
            rx,
            tx,
            line,
            udp_port: None,
        })
    }

    /// A connection to the target. May block on TCP.
    pub(super) fn dial(side: Side, targets: &[SocketAddr]) -> io::Result<Self> {
        match side {
            Side::Udp => Self::udp(Udp::connect(targets)?),
            Side::Tcp => {
                let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the target has no address");
                for target in targets {
                    match TcpStream::connect_timeout(target, DIAL_TIMEOUT) {
                        Ok(stream) => return Self::tcp(stream),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

/// Where packets come from.
pub(super) struct Source {
    /// Whose they are; `None` on a socket that all clients share.
    pub(super) way: Option<Arc<Way>>,
    pub(super) rx: Box<dyn PacketRx>,
    pub(super) line: Line,
    /// More was there when its turn ended, or may be.
    pub(super) is_ready: bool,
}

impl Source {
    pub(super) fn new(way: Option<Arc<Way>>, rx: Box<dyn PacketRx>, line: Line) -> Self {
        Self {
            way,
            rx,
            line,
            is_ready: true,
        }
    }

    /// Whether its sender can be slowed down by not reading.
    pub(super) fn can_wait(&self) -> bool {
        matches!(self.line, Line::Tcp(_))
    }
}

/// Where packets leave.
pub(super) struct Outlet {
    /// `None` while the connection is being made.
    end: Option<(Box<dyn PacketTx>, Line)>,
    queue: VecDeque<Batch>,
    queued_bytes: usize,
    is_pending: bool,
    /// Whether packets come from a sender that waits. Then none is dropped here.
    is_patient: bool,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Sent, or waiting for its turn.
    Taken,
    /// No room.
    Overrun,
    /// The end is broken.
    Broken(io::Error),
}

impl Outlet {
    /// For packets from that side.
    pub(super) fn connecting(from: Side) -> Self {
        Self {
            is_patient: from == Side::Tcp,
            end: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            is_pending: false,
        }
    }

    /// For packets from that side.
    pub(super) fn new(tx: Box<dyn PacketTx>, line: Line, from: Side) -> Self {
        Self {
            end: Some((tx, line)),
            ..Self::connecting(from)
        }
    }

    /// Goes on over this end; what waited is sent first.
    pub(super) fn connect(&mut self, tx: Box<dyn PacketTx>, line: Line, past: Instant) -> Outcome {
        self.end = Some((tx, line));
        self.is_pending = false;
        self.push(past)
    }

    pub(super) fn is_connecting(&self) -> bool {
        self.end.is_none()
    }

    /// Whether it takes no more, so that its source should wait.
    pub(super) fn is_full(&self) -> bool {
        self.queued_bytes >= OUTLET_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.is_pending
    }

    /// The socket, if it has to be waited for.
    pub(super) fn blocked_on(&self) -> Option<&Line> {
        self.end.as_ref().filter(|_| self.is_pending).map(|(_, line)| line)
    }

    pub(super) fn is_udp(&self) -> bool {
        matches!(self.end, Some((_, Line::Udp(_))))
    }

    pub(super) fn send(&mut self, batch: Batch) -> Outcome {
        if let (Some((tx, _)), false, true) = (&mut self.end, self.is_pending, self.queue.is_empty()) {
            return match tx.send(batch) {
                Ok(sent) => {
                    self.is_pending = sent == Sent::Pending;
                    Outcome::Taken
                }
                Err(error) => Outcome::Broken(error),
            };
        }
        if self.is_full() && !self.is_patient {
            return Outcome::Overrun;
        }
        self.queued_bytes += batch.buffer.len();
        self.queue.push_back(batch);
        Outcome::Taken
    }

    /// Sends what waits, as much as is taken now. `past` is any time that has gone.
    pub(super) fn push(&mut self, past: Instant) -> Outcome {
        let Some((tx, _)) = &mut self.end else {
            return Outcome::Taken;
        };
        loop {
            if self.is_pending {
                match tx.flush(Some(past)) {
                    Ok(Sent::Taken) => self.is_pending = false,
                    Ok(Sent::Pending) => return Outcome::Taken,
                    Err(error) => return Outcome::Broken(error),
                }
            }
            let Some(batch) = self.queue.pop_front() else {
                return Outcome::Taken;
            };
            self.queued_bytes -= batch.buffer.len();
            match tx.send(batch) {
                Ok(sent) => self.is_pending = sent == Sent::Pending,
                Err(error) => return Outcome::Broken(error),
            }
        }
    }

    /// Tells the other side that no more will come.
    pub(super) fn finish(&self) {
        if let Some((_, Line::Tcp(stream))) = &self.end {
            // A peer that has gone needs no telling.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}
