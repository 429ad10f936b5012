//! The receiving half: reads as much as there is, and hands the frames in it out as batches.

use super::frame::{self, HEADER_BYTES, MAX_FRAMED};
use super::{POOL_BUFFERS, Shared};
use crate::subsystem::wait::{Waited, Wake, wait_readable};
use crate::subsystem::{Batch, Buffer, PacketRx, Pool};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

/// Room for one read: the largest frame, so that each fits whatever part of it came before.
const INBOX_BYTES: usize = HEADER_BYTES + MAX_FRAMED;

pub(super) struct Rx {
    shared: Arc<Shared>,
    /// For batches, and for the inbox too: each frame is copied once, from the inbox into its batch.
    pool: Arc<Pool>,
    wake: Arc<Wake>,
    /// Read and not yet handed out, from `start` on. `None` while there is nothing, so that an idle connection holds
    /// no buffer.
    inbox: Option<Buffer>,
    start: usize,
}

impl Rx {
    pub(super) fn new(shared: Arc<Shared>, wake: Arc<Wake>) -> Self {
        Self {
            shared,
            pool: Pool::new(INBOX_BYTES, POOL_BUFFERS),
            wake,
            inbox: None,
            start: 0,
        }
    }

    /// The next frames of the inbox.
    fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        let Some(inbox) = &mut self.inbox else {
            return Ok(None);
        };
        if let Some((batch, bytes)) = frame::next_batch(&inbox[self.start..], &self.pool)? {
            self.start += bytes;
            return Ok(Some(batch));
        }
        // What is left, part of a frame, moves to the front so that the rest of it has room.
        let left = inbox.len() - self.start;
        if self.start > 0 {
            inbox.copy_within(self.start.., 0);
            inbox.set_len(left);
            self.start = 0;
        }
        if left == 0 {
            self.inbox = None;
        }
        Ok(None)
    }

    /// Reads once. `false`: nothing is there.
    fn read(&mut self) -> io::Result<bool> {
        let mut inbox = self.inbox.take().unwrap_or_else(|| self.pool.take());
        let result = (&self.shared.stream).read(inbox.spare_mut());
        if let Ok(bytes) = result {
            inbox.set_len(inbox.len() + bytes);
        }
        if !inbox.is_empty() {
            self.inbox = Some(inbox);
        }
        match result {
            Ok(0) => {
                let text = if self.inbox.is_some() {
                    "the peer closed within a frame"
                } else {
                    "the peer closed"
                };
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl PacketRx for Rx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        loop {
            if self.wake.take() {
                return Ok(None);
            }
            if let Some(batch) = self.next_batch()? {
                return Ok(Some(batch));
            }
            if self.read()? {
                continue;
            }
            match wait_readable(&self.shared.stream, &self.wake, deadline, &self.pool)? {
                Waited::Ready => {}
                Waited::Asked | Waited::Expired => return Ok(None),
            }
        }
    }
}
