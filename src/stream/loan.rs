//! The receiving half of a port, lent to the one stream that gets all packets.
//!
//! A packet that a port thread passes on wakes two threads, and leaves the cache in between. So when only one stream gets
//! packets, its receive thread reads the socket itself, until anything else happens: a packet that is not for it, an error,
//! or somebody who wants the port thread. Then it gives the half back, together with what it found there.

use crate::subsystem::{Batch, PacketRx, Waker};
use crate::wire::packet::{self, ConnectionId};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What a carrier says.
type Received = io::Result<Option<Batch>>;

/// A half that has come back, and what it said last.
struct Returned {
    rx: Box<dyn PacketRx>,
    last: Received,
}

/// Whom every packet of `batch` is for, if that is one stream.
pub(crate) fn sole_destination(batch: &Batch) -> Option<ConnectionId> {
    let id = packet::destination_id(&batch.buffer)?;
    batch
        .iter()
        .all(|datagram| packet::destination_id(datagram) == Some(id))
        .then_some(id)
}

/// Wakes the port thread, and has the half given back first if it is lent.
pub(crate) struct Recall {
    is_wanted: AtomicBool,
    carrier: Arc<dyn Waker>,
}

impl Waker for Recall {
    fn wake(&self) {
        self.is_wanted.store(true, Ordering::SeqCst);
        self.carrier.wake();
    }
}

/// The side of the port thread.
pub(crate) struct Lender {
    /// `None`: lent.
    rx: Option<Box<dyn PacketRx>>,
    home: Sender<Returned>,
    returned: Receiver<Returned>,
    recall: Arc<Recall>,
}

impl Lender {
    /// `carrier` ends a blocked call of `rx`.
    pub(crate) fn new(rx: Box<dyn PacketRx>, carrier: Arc<dyn Waker>) -> Self {
        let (home, returned) = unbounded();
        let recall = Recall {
            is_wanted: AtomicBool::new(false),
            carrier,
        };
        Self {
            rx: Some(rx),
            home,
            returned,
            recall: Arc::new(recall),
        }
    }

    /// For all who want the port thread.
    pub(crate) fn recall(&self) -> Arc<Recall> {
        Arc::clone(&self.recall)
    }

    /// As [`PacketRx::recv`], wherever the half is. The caller does afterwards whatever it may have been woken for.
    pub(crate) fn recv(&mut self, deadline: Option<Instant>) -> Received {
        let last = match &mut self.rx {
            Some(rx) => rx.recv(deadline),
            None => self.wait(deadline),
        };
        // A request that comes from now on is a new one.
        self.recall.is_wanted.store(false, Ordering::SeqCst);
        last
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Received {
        let returned = match deadline {
            Some(deadline) => self.returned.recv_deadline(deadline),
            None => self.returned.recv().map_err(RecvTimeoutError::from),
        };
        // Disconnected cannot be: the other end is ours too.
        let Ok(Returned { rx, last }) = returned else {
            return Ok(None);
        };
        self.rx = Some(rx);
        last
    }

    /// The half, for the stream `id`. `None` if it is lent already.
    pub(crate) fn lend(&mut self, id: ConnectionId) -> Option<Loan> {
        Some(Loan {
            rx: Some(self.rx.take()?),
            id,
            home: Sender::clone(&self.home),
            recall: Arc::clone(&self.recall),
        })
    }
}

/// What a borrower found.
pub(crate) enum Found {
    /// Packets, all of them for it.
    Batch(Batch),
    /// None in time, or somebody woke it.
    Nothing,
    /// Something that is for the port thread, which has the half again. More comes through the queue.
    Returned,
}

/// The side of the stream. Goes back when it is dropped.
pub(crate) struct Loan {
    /// `None`: it went back.
    rx: Option<Box<dyn PacketRx>>,
    id: ConnectionId,
    home: Sender<Returned>,
    recall: Arc<Recall>,
}

impl Loan {
    /// Reads for the stream. Not to be called again after [`Found::Returned`].
    pub(crate) fn recv(&mut self, deadline: Option<Instant>) -> Found {
        let Some(rx) = &mut self.rx else {
            return Found::Returned;
        };
        let last = rx.recv(deadline);
        match last {
            Ok(Some(batch)) if sole_destination(&batch) == Some(self.id) => Found::Batch(batch),
            Ok(None) if !self.recall.is_wanted.load(Ordering::SeqCst) => Found::Nothing,
            other => {
                self.give_back(other);
                Found::Returned
            }
        }
    }

    fn give_back(&mut self, last: Received) {
        if let Some(rx) = self.rx.take() {
            // A port thread that has left needs it no more.
            let _ = self.home.send(Returned { rx, last });
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.give_back(Ok(None));
    }
}

#[cfg(test)]
mod tests;
