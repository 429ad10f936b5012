//! A TCP listener whose waiting thread can be woken.

use super::Tcp;
use crate::subsystem::Waker;
use crate::subsystem::wait::{Waited, Wake, wait};
use rustix::event::PollFlags;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

/// See the module. Used by one thread.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    wake: Arc<Wake>,
}

impl Acceptor {
    /// Listens. Port 0 takes a free one.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            wake: Arc::new(Wake::default()),
        })
    }

    /// The address that clients connect to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Ends a blocked [`Acceptor::accept`].
    pub fn waker(&self) -> Arc<dyn Waker> {
        Arc::clone(&self.wake) as Arc<dyn Waker>
    }

    /// Waits for a connection. `Ok(None)` when the deadline has passed or the waker was used.
    ///
    /// # Errors
    /// What the operating system says, such as too many open files; the listener stays usable.
    pub fn accept(&self, deadline: Option<Instant>) -> io::Result<Option<(Tcp, SocketAddr)>> {
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => return Ok(Some((Tcp::from_stream(stream)?, peer))),
                // The last of these: the peer left between its connect and our accept.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => return Err(error),
            }
            if wait(&self.listener, PollFlags::IN, &self.wake, deadline)? != Waited::Ready {
                return Ok(None);
            }
        }
    }
}
