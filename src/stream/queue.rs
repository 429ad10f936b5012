//! From the port thread to the receive thread of one stream: batches, bounded in number and in bytes.
//!
//! Putting one in never blocks. A full queue drops and counts, as a network does, so that one slow stream does not
//! hold up the others on its port. Behind all batches may come a loan: the receiving half of the port itself.

use super::loan::{Found, Loan};
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

/// What goes through the queue.
enum Item {
    Batch(Batch),
    Loan(Loan),
}

/// A queue: the port's end, the receiving half for the stream, and what wakes that half, wherever it waits. `wakers` are
/// those of the sender and of the carrier.
pub(crate) fn queue(drops: Arc<AtomicU64>, wakers: Vec<Arc<dyn Waker>>) -> (QueueTx, QueueRx, QueueWaker) {
    // A bounded channel would keep room for all of them in every idle stream.
    let (put, items) = unbounded();
    let (wake, woken) = bounded(1);
    let bytes = Arc::new(AtomicUsize::new(0));
    let put = QueueTx {
        items: put,
        bytes: Arc::clone(&bytes),
        drops,
    };
    let take = QueueRx {
        items,
        bytes,
        woken,
        loan: None,
    };
    (put, take, QueueWaker { rx: wake, wakers })
}

/// The end of the port thread.
pub(crate) struct QueueTx {
    items: Sender<Item>,
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
        let _ = self.items.send(Item::Batch(compact(batch)));
    }

    /// From here on the stream reads for itself, until the loan comes back.
    pub(crate) fn lend(&self, loan: Loan) {
        // Of a stream that is ending it comes back at once.
        let _ = self.items.send(Item::Loan(loan));
    }
}

/// What a batch counts for.
pub(super) fn cost(batch: &Batch) -> usize {
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
    items: Receiver<Item>,
    bytes: Arc<AtomicUsize>,
    woken: Receiver<()>,
    loan: Option<Loan>,
}

impl QueueRx {
    /// A batch that was taken from the queue, or else nothing: the loan is looked at next.
    fn taken(&mut self, item: Item) -> Option<Batch> {
        match item {
            Item::Batch(batch) => {
                self.bytes.fetch_sub(cost(&batch), Ordering::Relaxed);
                Some(batch)
            }
            Item::Loan(loan) => {
                self.loan = Some(loan);
                None
            }
        }
    }
}

impl PacketRx for QueueRx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        loop {
            if let Some(loan) = &mut self.loan {
                // A wake-up from before it was lent has not reached the carrier, or has been used up there.
                if self.woken.try_recv().is_ok() {
                    return Ok(None);
                }
                match loan.recv(deadline) {
                    Found::Batch(batch) => return Ok(Some(batch)),
                    Found::Nothing => return Ok(None),
                    Found::Returned => self.loan = None,
                }
            }
            let item = match self.items.try_recv() {
                Ok(item) => item,
                Err(_) if deadline.is_some_and(|deadline| deadline <= super::sync::now()) => return Ok(None),
                Err(_) => {
                    let over = deadline.map_or_else(crossbeam_channel::never, crossbeam_channel::at);
                    select! {
                        recv(self.items) -> item => match item {
                            Ok(item) => item,
                            // The port thread is gone, and with it the socket.
                            Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        },
                        recv(self.woken) -> _ => return Ok(None),
                        recv(over) -> _ => return Ok(None),
                    }
                }
            };
            if let Some(batch) = self.taken(item) {
                return Ok(Some(batch));
            }
        }
    }
}

/// Wakes both halves of an accepted stream.
pub(crate) struct QueueWaker {
    rx: Sender<()>,
    wakers: Vec<Arc<dyn Waker>>,
}

impl Waker for QueueWaker {
    fn wake(&self) {
        // Before the carrier: see `QueueRx::recv`. Full: it is woken already.
        let _ = self.rx.try_send(());
        for waker in &self.wakers {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::loan::Lender;
    use super::*;
    use crate::subsystem::{Halves, PathId, Sent, Subsystem, memory};
    use crate::wire::packet::ConnectionId;

    fn packet(bytes: usize) -> Batch {
        Batch::single(vec![7; bytes].into(), PathId::ONLY)
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_takes_again_when_there_is_room() {
        let drops = Arc::new(AtomicU64::new(0));
        let (tx, mut rx, _) = queue(Arc::clone(&drops), Vec::new());
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
        let (tx, mut rx, waker) = queue(Arc::default(), Vec::new());
        waker.wake();
        tx.push(packet(9));
        assert!(rx.recv(None).unwrap().is_some());
        assert!(rx.recv(None).unwrap().is_none());
    }

    #[test]
    fn the_end_of_the_port_is_an_error() {
        let (tx, mut rx, _waker) = queue(Arc::default(), Vec::new());
        drop(tx);
        assert_eq!(rx.recv(None).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    /// The other end of a cable, this one in the hands of a lender, and what wakes it.
    fn cable() -> (Halves, Lender, Arc<dyn Waker>) {
        let (peer, ours) = memory::pair();
        let ours = Box::new(ours).split().unwrap();
        let lender = Lender::new(ours.rx, Arc::clone(&ours.waker));
        (Box::new(peer).split().unwrap(), lender, ours.waker)
    }

    #[test]
    fn a_loan_comes_after_the_batches_before_it_and_the_queue_goes_on_behind_it() {
        let (mut peer, mut lender, carrier) = cable();
        let (tx, mut rx, _waker) = queue(Arc::default(), vec![carrier]);
        let id = ConnectionId(*b"the ours");
        let short = [&[0x40][..], &id.0].concat();
        tx.push(packet(1));
        tx.lend(lender.lend(id).unwrap());
        let sent = peer.tx.send(Batch::single(short.clone().into(), PathId::ONLY)).unwrap();
        assert_eq!(sent, Sent::Taken);
        let mut next = || rx.recv(None).unwrap().unwrap().buffer.to_vec();
        assert_eq!(next(), [7]);
        assert_eq!(next(), short, "from the carrier itself");
        tx.push(packet(2));
        lender.recall().wake();
        assert_eq!(next(), [7, 7], "from the queue again");
        assert!(lender.recv(None).unwrap().is_none());
        assert!(lender.lend(id).is_some(), "it came back");
    }

    #[test]
    fn a_stream_is_woken_while_it_reads_a_carrier_and_before_it_begins_to() {
        let (_peer, mut lender, carrier) = cable();
        let (tx, mut rx, waker) = queue(Arc::default(), vec![carrier]);
        let id = ConnectionId(*b"the ours");
        waker.wake();
        assert!(lender.recv(None).unwrap().is_none(), "the port used it up");
        tx.lend(lender.lend(id).unwrap());
        assert!(rx.recv(None).unwrap().is_none());
        std::thread::scope(|scope| {
            let stream = scope.spawn(move || rx.recv(None).unwrap().is_none());
            waker.wake();
            assert!(stream.join().unwrap());
        });
        assert!(lender.recv(None).unwrap().is_none());
        assert!(lender.lend(id).is_some(), "a stream that ends gives it back");
    }

    #[test]
    fn a_loan_to_a_stream_that_has_ended_comes_back() {
        let (_peer, mut lender, carrier) = cable();
        let (tx, rx, _waker) = queue(Arc::default(), vec![carrier]);
        let id = ConnectionId(*b"the ours");
        tx.lend(lender.lend(id).unwrap());
        drop(rx);
        assert!(lender.recv(None).unwrap().is_none());
        tx.lend(lender.lend(id).unwrap());
        assert!(lender.recv(None).unwrap().is_none());
    }
}
