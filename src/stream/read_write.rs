//! `Read` and `Write` for a stream and for a shared reference to it, so that one thread can read while another writes.

use super::{Stream, found};
use crate::error::Limit;
use crate::stream::patience::Patience;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let patience = self.settings().read_patience();
        let connection = self.connection();
        found(
            connection.pipe.read(&mut [buf], patience, &connection.mailbox),
            patience,
            Limit::Read,
        )
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        let patience = self.settings().read_patience();
        let connection = self.connection();
        let mut parts: Vec<&mut [u8]> = bufs.iter_mut().map(|buf| &mut **buf).collect();
        found(
            connection.pipe.read(&mut parts, patience, &connection.mailbox),
            patience,
            Limit::Read,
        )
    }
}

impl Stream {
    /// A sender that must wait for its peer anyway is not woken for every write.
    pub(super) fn ring_if_due(&self) {
        let connection = self.connection();
        if connection.outbox.is_ring_due() {
            connection.mailbox.ring();
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let patience = self.settings().write_patience();
        let n = found(self.connection().outbox.write(buf, patience), patience, Limit::Write)?;
        self.ring_if_due();
        Ok(n)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            // Only the first may wait: what was written must be reported.
            let patience = if written == 0 {
                self.settings().write_patience()
            } else {
                Patience::None
            };
            match found(self.connection().outbox.write(buf, patience), patience, Limit::Write) {
                Ok(n) => written += n,
                Err(error) if written == 0 => return Err(error),
                Err(_) => break,
            }
        }
        self.ring_if_due();
        Ok(written)
    }

    /// Everything written is on its way already: nothing to do.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
