//! The sending half: frames into the connection, header and packet in one vectored write.

use super::frame::Outgoing;
use super::{Shared, max_segments, pool};
use crate::subsystem::wait::{Wake, push_all};
use crate::subsystem::{Batch, PacketTx, Pool, Sent, Waker};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

pub(super) struct Tx {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    wake: Arc<Wake>,
    /// Begun, and to be finished before anything else.
    pending: Option<Outgoing>,
}

impl Tx {
    pub(super) fn new(shared: Arc<Shared>, wake: Arc<Wake>) -> Self {
        Self {
            shared,
            pool: pool(),
            wake,
            pending: None,
        }
    }

    /// Writes as much as the connection takes now.
    fn push(&mut self) -> io::Result<Sent> {
        let Some(outgoing) = &mut self.pending else {
            return Ok(Sent::Taken);
        };
        while !outgoing.is_done() {
            match outgoing.with_slices(|slices| (&self.shared.stream).write_vectored(slices)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => outgoing.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Sent::Pending);
                }
                Err(error) => return Err(error),
            }
        }
        self.pending = None;
        Ok(Sent::Taken)
    }
}

impl PacketTx for Tx {
    fn send(&mut self, batch: Batch) -> io::Result<Sent> {
        if self.pending.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the batch before is still pending",
            ));
        }
        self.pending = Some(Outgoing::new(batch)?);
        self.push()
    }

    fn flush(&mut self, deadline: Option<Instant>) -> io::Result<Sent> {
        if self.pending.is_none() {
            return Ok(Sent::Taken);
        }
        let (shared, wake) = (Arc::clone(&self.shared), Arc::clone(&self.wake));
        push_all(&shared.stream, &wake, deadline, || self.push())
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn max_segments(&self, packet_bytes: usize) -> usize {
        max_segments(packet_bytes)
    }

    fn waker(&self) -> Option<Arc<dyn Waker>> {
        Some(Arc::<Wake>::clone(&self.wake))
    }
}
