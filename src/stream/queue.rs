//! From the port thread to the receive thread of one stream: batches, bounded in number and in bytes.
//!
//! Putting one in never blocks. A full queue drops and counts, as a network does, so that one slow stream does not
//! hold up the others on its port.

use crate::subsystem::{Batch, Buffer, PacketRx, Waker};
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Bytes of packets that wait at most.
const BYTES: usize = 4 * 1024 * 1024;
/// Each batch counts for at least so many, which bounds their number.
const LEAST: usize = 4 * 1024;
/// A batch that fills less than this share of its buffer is copied, so that a queue does not keep 64 KiB for each
/// small packet.
const COPY_BELOW: usize = 16;

/// A queue: the port's end, the receiving half for the stream, and what wakes that half together with the sender
/// behind `tx`.
pub(crate) fn queue(drops: Arc<AtomicU64>, tx: Option<Arc<dyn Waker>>) -> (QueueTx, QueueRx, QueueWaker) {
    // A bounded channel would keep room for all of them in every idle stream.
    let (put, batches) = unbounded();
    let (wake, woken) = bounded(1);
    let bytes = Arc::new(AtomicUsize::new(0));
    let put = QueueTx {
        batches: put,
        bytes: Arc::clone(&bytes),
        drops,
    };
    let take = QueueRx { batches, bytes, woken };
    (put, take, QueueWaker { rx: wake, tx })
}

/// The end of the port thread.
pub(crate) struct QueueTx {
    batches: Sender<Batch>,
    bytes: Arc<AtomicUsize>,
    drops: Arc<AtomicU64>,
}

impl QueueTx {
    /// Passes a batch on, or drops it.
    pub(crate) fn push(&self, batch: Batch) {
        let (bytes, packets) = (cost(&batch), batch.packets() as u64);
        let queued = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes > BYTES {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.drops.fetch_add(packets, Ordering::Relaxed);
            return;
        }
        // Disconnected: the stream is ending, and its tombstone is on the way.
        let _ = self.batches.send(compact(batch));
    }
}

/// What a batch counts for.
fn cost(batch: &Batch) -> usize {
    batch.buffer.len().max(LEAST)
}

/// Copies a batch that would waste most of its buffer.
fn compact(batch: Batch) -> Batch {
    if batch.buffer.len() * COPY_BELOW > batch.buffer.capacity() {
        return batch;
    }
    Batch {
        buffer: Buffer::from(batch.buffer.to_vec()),
        ..batch
    }
}

/// The receiving half of an accepted stream.
pub(crate) struct QueueRx {
    batches: Receiver<Batch>,
    bytes: Arc<AtomicUsize>,
    woken: Receiver<()>,
}

impl QueueRx {
    fn taken(&self, batch: Batch) -> Batch {
        self.bytes.fetch_sub(cost(&batch), Ordering::Relaxed);
        batch
    }
}

impl PacketRx for QueueRx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        if let Ok(batch) = self.batches.try_recv() {
            return Ok(Some(self.taken(batch)));
        }
        let over = deadline.map_or_else(crossbeam_channel::never, crossbeam_channel::at);
        select! {
            recv(self.batches) -> batch => match batch {
                Ok(batch) => Ok(Some(self.taken(batch))),
                // The port thread is gone, and with it the socket.
                Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            },
            recv(self.woken) -> _ => Ok(None),
            recv(over) -> _ => Ok(None),
        }
    }
}

/// Wakes both halves of an accepted stream.
pub(crate) struct QueueWaker {
    rx: Sender<()>,
    tx: Option<Arc<dyn Waker>>,
}

impl Waker for QueueWaker {
    fn wake(&self) {
        // Full: it is woken already.
        let _ = self.rx.try_send(());
        if let Some(tx) = &self.tx {
            tx.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subsystem::PathId;

    fn packet(bytes: usize) -> Batch {
        Batch::single(vec![7; bytes].into(), PathId::ONLY)
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_takes_again_when_there_is_room() {
        let drops = Arc::new(AtomicU64::new(0));
        let (tx, mut rx, _) = queue(Arc::clone(&drops), None);
        let batches = BYTES / 60_000;
        for _ in 0..batches + 3 {
            tx.push(packet(60_000));
        }
        assert_eq!(drops.load(Ordering::Relaxed), 3);
        assert!(rx.recv(None).unwrap().is_some());
        tx.push(packet(60_000));
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_wake_is_not_lost_and_what_waits_comes_first() {
        let (tx, mut rx, waker) = queue(Arc::default(), None);
        waker.wake();
        tx.push(packet(9));
        assert!(rx.recv(None).unwrap().is_some());
        assert!(rx.recv(None).unwrap().is_none());
    }

    #[test]
    fn the_end_of_the_port_is_an_error() {
        let (tx, mut rx, _waker) = queue(Arc::default(), None);
        drop(tx);
        assert_eq!(rx.recv(None).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
