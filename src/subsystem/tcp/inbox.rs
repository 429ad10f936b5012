//! What was read from the connection and is not handed out yet: bytes in, batches of packets out. It knows no socket.

use super::POOL_BUFFERS;
use super::frame::{self, HEADER_BYTES, MAX_FRAMED};
use crate::subsystem::{Batch, Buffer, Pool};
use std::io;
use std::sync::Arc;

/// Room for the largest frame, so that each fits whatever part of it came before. Nothing that a peer says makes it
/// more.
pub(crate) const INBOX_BYTES: usize = HEADER_BYTES + MAX_FRAMED;

pub(crate) struct Inbox {
    /// For batches, and for what is read too: each frame is copied once, from here into its batch.
    pool: Arc<Pool>,
    /// What was read, handed out up to `start`. `None` while there is nothing, so that an idle connection holds no
    /// buffer.
    buffer: Option<Buffer>,
    start: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            pool: Pool::new(INBOX_BYTES, POOL_BUFFERS),
            buffer: None,
            start: 0,
        }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Whether no part of a frame waits for the rest of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_none()
    }

    /// The next frames. `None`: more must be read. `InvalidData` for a length that no frame has, from then on.
    pub(crate) fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        let Some(buffer) = &mut self.buffer else {
            return Ok(None);
        };
        if let Some((batch, bytes)) = frame::next_batch(&buffer[self.start..], &self.pool)? {
            self.start += bytes;
            return Ok(Some(batch));
        }
        // What is left, part of a frame, moves to the front so that the rest of it has room.
        let left = buffer.len() - self.start;
        if self.start > 0 {
            buffer.copy_within(self.start.., 0);
            buffer.set_len(left);
            self.start = 0;
        }
        if left == 0 {
            self.buffer = None;
        }
        Ok(None)
    }

    /// Reads once, behind what is there. To be called when [`Inbox::next_batch`] has nothing more.
    pub(crate) fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.pool.take());
        let result = read(buffer.spare_mut());
        if let Ok(bytes) = result {
            buffer.set_len(buffer.len() + bytes);
        }
        if !buffer.is_empty() {
            self.buffer = Some(buffer);
        }
        result
    }
}
