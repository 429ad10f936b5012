//! The receiving half: reads as much as there is, and hands the frames in it out as batches.

use super::inbox::Inbox;
use super::{Shared, WithinFrame};
use crate::subsystem::wait::{Waited, Wake, wait_readable};
use crate::subsystem::{Batch, PacketRx};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

pub(super) struct Rx {
    shared: Arc<Shared>,
    wake: Arc<Wake>,
    inbox: Inbox,
}

impl Rx {
    pub(super) fn new(shared: Arc<Shared>, wake: Arc<Wake>) -> Self {
        Self {
            shared,
            wake,
            inbox: Inbox::new(),
        }
    }

    /// Reads once. `false`: nothing is there.
    fn read(&mut self) -> io::Result<bool> {
        match self.inbox.fill(|room| (&self.shared.stream).read_vectored(room)) {
            Ok(0) if self.inbox.is_empty() => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed")),
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, WithinFrame)),
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
            if let Some(batch) = self.inbox.next_batch()? {
                return Ok(Some(batch));
            }
            if self.read()? {
                continue;
            }
            match wait_readable(&self.shared.stream, &self.wake, deadline, self.inbox.pool())? {
                Waited::Ready => {}
                Waited::Asked | Waited::Expired => return Ok(None),
            }
        }
    }
}
