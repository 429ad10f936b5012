//! The options of a stream that is open, as a socket has them. All handles share them.

use super::{Stream, not_zero};
use std::io;
use std::time::Duration;

impl Stream {
    /// Reads that wait longer fail with `TimedOut`; nothing is lost and the stream stays usable. `None` waits
    /// without limit.
    ///
    /// # Errors
    /// `InvalidInput` for a time-out of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.settings.lock().read_timeout = not_zero(timeout)?;
        Ok(())
    }

    /// Writes that wait longer for room fail with `TimedOut`; nothing of that call was written. `None` waits
    /// without limit.
    ///
    /// # Errors
    /// `InvalidInput` for a time-out of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.settings.lock().write_timeout = not_zero(timeout)?;
        Ok(())
    }

    /// See [`Stream::set_read_timeout`].
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.settings().read_timeout)
    }

    /// See [`Stream::set_write_timeout`].
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.settings().write_timeout)
    }

    /// `true` (the default): small writes are sent at once. `false`: while data is in flight, less than a packet
    /// waits for more.
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.settings.lock().nodelay = nodelay;
        self.connection()
            .mailbox
            .post(|letters| letters.nodelay = Some(nodelay));
        Ok(())
    }

    /// See [`Stream::set_nodelay`].
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.settings().nodelay)
    }

    /// In nonblocking mode reads and writes that would wait fail with `WouldBlock`.
    ///
    /// # Errors
    /// None today; the signature is that of `TcpStream`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.settings.lock().nonblocking = nonblocking;
        Ok(())
    }

    /// How long dropping the last handle waits for the peer to take what was written. `Some(0)`: the stream is
    /// aborted. `None`: the default of 5 s.
    ///
    /// # Errors
    /// None today; the signature is that of a socket.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.0.settings.lock().linger = linger;
        Ok(())
    }

    /// See [`Stream::set_linger`].
    ///
    /// # Errors
    /// None today; the signature is that of a socket.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        Ok(self.settings().linger)
    }
}
