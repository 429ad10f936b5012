//! Reading and writing without copies: bytes change hands.

use super::outbox::COPY_UNLOCKED;
use super::{Received, Stream, found};
use crate::error::Limit;
use crate::proto::chunk::{Chunk, Given};
use std::io;

impl Stream {
    /// Writes all of `bytes` without a copy: the stream keeps them until the peer has them. For much that is there already:
    /// a `Vec`, a `&'static [u8]`, a value of yours around an `Arc`. A few KiB are copied all the same.
    ///
    /// All are taken at once, as soon as the stream has room for any, or none. Their `as_ref` must always return the
    /// same bytes. It, and their `Drop`, run on the stream's own thread, so neither must panic, or wait, or use the stream:
    /// while a page of a mapped file is read from a disk, say, nothing else is sent.
    ///
    /// ```
    /// # use securestream::{Security, StreamBuilder};
    /// # use std::thread;
    /// # let listener = StreamBuilder::new(Security::plain()).bind("127.0.0.1:0")?;
    /// # let addr = listener.local_addr()?;
    /// # let client = thread::spawn(move || -> std::io::Result<()> {
    /// let stream = StreamBuilder::new(Security::plain()).connect(addr)?;
    /// stream.write_owned(vec![7; 1 << 20])?;
    /// # Ok(())
    /// # });
    /// # let stream = listener.accept()?.0;
    /// // And on the other side:
    /// let mut bytes = 0;
    /// loop {
    ///     let received = stream.read_owned()?;
    ///     if received.is_empty() {
    ///         break;
    ///     }
    ///     bytes += received.slices().map(<[u8]>::len).sum::<usize>();
    /// }
    /// assert_eq!(bytes, 1 << 20);
    /// # client.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As `write`. After `WouldBlock` or `TimedOut` nothing of them was written.
    pub fn write_owned(&self, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> io::Result<()> {
        let chunk = if bytes.as_ref().len() < COPY_UNLOCKED {
            // Many small ones would cost more than they hold.
            Chunk::Copied(bytes.as_ref().to_vec())
        } else {
            Chunk::Given(Given::new(bytes))
        };
        let patience = self.settings().write_patience();
        let outbox = &self.connection().outbox;
        found(outbox.write_chunk(chunk, patience), patience, Limit::Write)?;
        self.ring_if_due();
        Ok(())
    }

    /// Reads what is there, at most some 64 KiB, and waits for it if nothing is. Bytes that came in full packets are not
    /// copied: they stay where they came in, and with them that memory, until the value is dropped. Small packets, and
    /// what had to wait for a lost one, were copied before; of these alone `read` is as fast. None: as with `Ok(0)` of
    /// `read`, the peer has ended its direction and every byte before was delivered, or this side reads no more.
    ///
    /// They count as read at once, so the peer may send as many more.
    ///
    /// # Errors
    /// As `read`.
    pub fn read_owned(&self) -> io::Result<Received> {
        let patience = self.settings().read_patience();
        let connection = self.connection();
        let mut received = None;
        let read = connection.pipe.read_owned(&mut received, patience, &connection.mailbox);
        found(read, patience, Limit::Read)?;
        Ok(received.unwrap_or_default())
    }
}
