//! From the port thread to the receive thread of one stream: batches, bounded in number and in bytes.
//!
//! Putting one in never blocks. A full queue drops and counts, as a network does, so that one slow stream does not
//! hold up the others on its port. Behind all batches may come a branch of the port's socket, from which the stream then
//! reads for itself; what still comes to the port, after the peer has moved, goes through the queue as before.

use crate::subsystem::{Batch, Branch, Buffer, PacketRx, Waker};
use crate::wire::packet::{self, ConnectionId};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select, unbounded};
use parking_lot::Mutex;
use std::io;
use std::mem;
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

/// Batches for others in a branch, after which a stream gives it up: several streams have the same peer, and the kernel cannot
/// tell them apart.
const MOST_STRAYS: u32 = 256;

/// What goes through the queue.
enum Item {
    Batch(Batch),
    /// `None`: the one before is of no use any more.
    Branch(Option<Own>),
}

/// Wakes a stream that reads a branch. Set before the branch is put into the queue.
type BranchWaker = Arc<Mutex<Option<Arc<dyn Waker>>>>;

/// A queue: the port's end, the receiving half for the stream, and what wakes that half, wherever it waits. `sender` is
/// the waker of the stream's sending half.
pub(crate) fn queue(drops: Arc<AtomicU64>, sender: Option<Arc<dyn Waker>>) -> (QueueTx, QueueRx, QueueWaker) {
    // A bounded channel would keep room for all of them in every idle stream.
    let (put, items) = unbounded();
    let (wake, woken) = bounded(1);
    let bytes = Arc::new(AtomicUsize::new(0));
    let branch = BranchWaker::default();
    let put = QueueTx {
        items: Some(put),
        bytes: Arc::clone(&bytes),
        drops,
        branch: Arc::clone(&branch),
    };
    let take = QueueRx {
        items,
        bytes,
        woken,
        own: None,
        former: None,
        branch: Arc::clone(&branch),
    };
    let waker = QueueWaker {
        rx: wake,
        branch,
        sender,
    };
    (put, take, waker)
}

/// The end of the port thread.
pub(crate) struct QueueTx {
    /// `None` only while it is dropped.
    items: Option<Sender<Item>>,
    bytes: Arc<AtomicUsize>,
    drops: Arc<AtomicU64>,
    branch: BranchWaker,
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
        self.put(Item::Batch(compact(batch)));
    }

    /// From here on the stream `id` reads `branch`, and no longer the one before. Packets in it that are not for the stream
    /// go to `strays`, and `port` is woken for them.
    pub(crate) fn branch(&self, id: ConnectionId, branch: Branch, strays: Sender<Batch>, port: Arc<dyn Waker>) {
        let Branch { rx, waker } = branch;
        // A stream that reads the one before would not hear of this one.
        let before = self.branch.lock().replace(waker);
        self.put(Item::Branch(Some(Own {
            rx,
            id,
            strays,
            port,
            found: 0,
        })));
        if let Some(before) = before {
            before.wake();
        }
    }

    /// The peer has moved: nothing more comes to the branch.
    pub(crate) fn give_up_branch(&self) {
        self.put(Item::Branch(None));
    }

    fn put(&self, item: Item) {
        // Disconnected: the stream is ending, and its tombstone is on the way.
        let _ = self.items.as_ref().map(|items| items.send(item));
        self.wake_reader_of_branch();
    }

    fn wake_reader_of_branch(&self) {
        let waker = self.branch.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for QueueTx {
    fn drop(&mut self) {
        // First the end of the queue, then the word that there is news.
        self.items = None;
        self.wake_reader_of_branch();
    }
}

/// Whom every packet of `batch` is for, if that is one stream.
pub(crate) fn sole_destination(batch: &Batch) -> Option<ConnectionId> {
    let id = packet::destination_id(&batch.buffer)?;
    batch
        .iter()
        .all(|datagram| packet::destination_id(datagram) == Some(id))
        .then_some(id)
}

/// A branch in the hands of its stream.
struct Own {
    rx: Box<dyn PacketRx>,
    id: ConnectionId,
    strays: Sender<Batch>,
    port: Arc<dyn Waker>,
    /// Batches for others so far.
    found: u32,
}

impl Own {
    /// As [`PacketRx::recv`]; `None` also after packets for others.
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        let batch = self.rx.recv(deadline)?;
        let Some(stray) = batch.as_ref().filter(|batch| sole_destination(batch) != Some(self.id)) else {
            return Ok(batch);
        };
        let packets = stray.packets();
        self.found += 1;
        // Full: strangers send more than the port can look at.
        if batch.is_some_and(|stray| self.strays.try_send(stray).is_ok()) {
            self.port.wake();
        } else {
            log::debug!("{packets} packets for others are lost");
        }
        Ok(None)
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
    own: Option<Own>,
    /// The branch before, until it is empty.
    former: Option<Own>,
    branch: BranchWaker,
}

impl QueueRx {
    /// A batch that was taken from the queue. Nothing: the branch is looked at next.
    fn taken(&mut self, item: Item) -> Option<Batch> {
        match item {
            Item::Batch(batch) => {
                self.bytes.fetch_sub(cost(&batch), Ordering::Relaxed);
                Some(batch)
            }
            Item::Branch(own) => {
                self.former = mem::replace(&mut self.own, own);
                None
            }
        }
    }

    /// What the branches have. A branch that fails is given up, for the port gets its packets then.
    fn read_branches(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        if let Some(former) = &mut self.former {
            // Twice, for the first look may only find that it was woken.
            for _ in 0..2 {
                if let Ok(Some(batch)) = former.recv(Some(super::sync::now())) {
                    return Ok(Some(batch));
                }
            }
            self.former = None;
        }
        let Some(own) = &mut self.own else {
            return Ok(None);
        };
        let found = own.recv(deadline);
        if own.found > MOST_STRAYS {
            self.own = None;
        }
        match found {
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => {
                log::debug!("a stream gives its own socket up: {error}");
                self.own = None;
                Ok(None)
            }
            found => found,
        }
    }
}

impl PacketRx for QueueRx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        // The port thread is gone, and with it the socket.
        let is_gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let is_past = || deadline.is_some_and(|deadline| deadline <= super::sync::now());
        loop {
            let item = match self.items.try_recv() {
                Ok(item) => item,
                Err(TryRecvError::Disconnected) => return Err(is_gone()),
                Err(TryRecvError::Empty) if self.own.is_some() || self.former.is_some() => {
                    if self.woken.try_recv().is_ok() {
                        return Ok(None);
                    }
                    match self.read_branches(deadline)? {
                        None if !is_past() => continue,
                        found => return Ok(found),
                    }
                }
                Err(TryRecvError::Empty) => {
                    if is_past() {
                        return Ok(None);
                    }
                    let over = deadline.map_or_else(crossbeam_channel::never, crossbeam_channel::at);
                    select! {
                        recv(self.items) -> item => item.map_err(|_| is_gone())?,
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

impl Drop for QueueRx {
    fn drop(&mut self) {
        // It has descriptors, and handles of a stream may live on.
        *self.branch.lock() = None;
    }
}

/// Wakes both halves of an accepted stream.
pub(crate) struct QueueWaker {
    rx: Sender<()>,
    branch: BranchWaker,
    sender: Option<Arc<dyn Waker>>,
}

impl Waker for QueueWaker {
    fn wake(&self) {
        // Before the branch: see `QueueRx::recv`. Full: it is woken already.
        let _ = self.rx.try_send(());
        let branch = self.branch.lock().clone();
        for waker in branch.iter().chain(&self.sender) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subsystem::{Halves, PathId, Sent, Subsystem, memory};
    use crate::wire::packet::ConnectionId;

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

    /// The other end of a cable, and this one as a branch.
    fn cable() -> (Halves, Branch) {
        let (peer, ours) = memory::pair();
        let Halves { rx, waker, .. } = Box::new(ours).split().unwrap();
        (Box::new(peer).split().unwrap(), Branch { rx, waker })
    }

    const OURS: ConnectionId = ConnectionId(*b"the ours");
    const OTHER: ConnectionId = ConnectionId(*b"another!");

    /// The beginning of a packet with a short header.
    fn short(id: ConnectionId) -> Vec<u8> {
        [&[0x40][..], &id.0, b"sealed"].concat()
    }

    #[derive(Default)]
    struct Rung(AtomicU64);

    impl Waker for Rung {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Rig {
        peer: Halves,
        tx: QueueTx,
        rx: QueueRx,
        waker: QueueWaker,
        strays: Receiver<Batch>,
        port: Arc<Rung>,
    }

    /// A stream with a branch that is on its way through the queue.
    fn branched() -> Rig {
        let (peer, branch) = cable();
        let (tx, rx, waker) = queue(Arc::default(), None);
        let (to_port, strays) = bounded(2);
        let port = Arc::<Rung>::default();
        tx.push(packet(1));
        tx.branch(OURS, branch, to_port, Arc::clone(&port) as Arc<dyn Waker>);
        Rig {
            peer,
            tx,
            rx,
            waker,
            strays,
            port,
        }
    }

    impl Rig {
        fn send(&mut self, packets: &[ConnectionId]) {
            let bytes = packets.iter().flat_map(|&id| short(id)).collect::<Vec<_>>();
            let batch = Batch {
                segment_bytes: short(OURS).len(),
                ..Batch::single(bytes.into(), PathId::ONLY)
            };
            assert_eq!(self.peer.tx.send(batch).unwrap(), Sent::Taken);
        }

        fn next(&mut self) -> Vec<u8> {
            self.rx.recv(None).unwrap().expect("a batch").buffer.to_vec()
        }
    }

    #[test]
    fn a_branch_comes_after_the_batches_before_it_and_the_queue_goes_on_beside_it() {
        let mut rig = branched();
        rig.send(&[OURS]);
        assert_eq!(rig.next(), [7]);
        assert_eq!(rig.next(), short(OURS), "from the branch");
        rig.tx.push(packet(2));
        assert_eq!(rig.next(), [7, 7], "from the queue");
        assert!(rig.rx.recv(Some(crate::stream::sync::now())).unwrap().is_none());
        // And while it waits for the branch.
        let Rig { tx, mut rx, .. } = rig;
        std::thread::scope(|scope| {
            let stream = scope.spawn(move || rx.recv(None).unwrap().is_some());
            tx.push(packet(3));
            assert!(stream.join().unwrap());
        });
    }

    #[test]
    fn a_stream_is_woken_while_it_reads_a_branch_and_before_it_begins_to() {
        let mut rig = branched();
        rig.next();
        rig.waker.wake();
        assert!(rig.rx.recv(None).unwrap().is_none());
        let Rig {
            mut rx, waker, tx: _tx, ..
        } = rig;
        std::thread::scope(|scope| {
            let stream = scope.spawn(move || rx.recv(None).unwrap().is_none());
            waker.wake();
            assert!(stream.join().unwrap());
        });
    }

    #[test]
    fn a_peer_that_has_moved_gets_another_branch_in_place_of_the_one_before() {
        let mut rig = branched();
        rig.next();
        assert!(rig.rx.recv(Some(crate::stream::sync::now())).unwrap().is_none());
        let (mut peer, branch) = cable();
        let Rig { mut rx, tx, .. } = rig;
        std::thread::scope(|scope| {
            let stream = scope.spawn(move || rx.recv(None).unwrap().expect("a batch").buffer.to_vec());
            let (to_port, _) = bounded(1);
            tx.branch(OURS, branch, to_port, Arc::new(Rung::default()));
            let sent = peer.tx.send(Batch::single(short(OURS).into(), PathId::ONLY)).unwrap();
            assert_eq!(sent, Sent::Taken);
            assert_eq!(stream.join().unwrap(), short(OURS));
        });
    }

    #[test]
    fn what_is_in_the_branch_of_a_peer_that_has_moved_is_read_first() {
        let mut rig = branched();
        rig.next();
        assert!(rig.rx.recv(Some(crate::stream::sync::now())).unwrap().is_none());
        rig.send(&[OURS]);
        rig.tx.give_up_branch();
        rig.tx.push(packet(2));
        // The queue is looked at first, so the order is another.
        assert_eq!([rig.next(), rig.next()], [vec![7, 7], short(OURS)]);
        assert!(rig.rx.recv(Some(crate::stream::sync::now())).unwrap().is_none());
        rig.tx.push(packet(3));
        assert_eq!(rig.next(), [7; 3]);
    }

    #[test]
    fn a_branch_that_is_full_of_packets_for_others_is_given_up() {
        let mut rig = branched();
        rig.next();
        for _ in 0..=MOST_STRAYS {
            rig.send(&[OTHER]);
            assert!(rig.rx.recv(Some(crate::stream::sync::now())).unwrap().is_none());
            let _ = rig.strays.try_recv();
        }
        rig.send(&[OURS]);
        assert!(rig.rx.recv(Some(crate::stream::sync::now())).unwrap().is_none());
        rig.tx.push(packet(2));
        assert_eq!(rig.next(), [7, 7]);
    }

    #[test]
    fn packets_for_others_go_to_the_port_which_is_woken_and_too_many_are_lost() {
        let mut rig = branched();
        rig.next();
        for strays in [&[OTHER][..], &[OURS, OTHER], &[OTHER, OURS]] {
            rig.send(strays);
        }
        rig.send(&[OURS]);
        assert_eq!(rig.next(), short(OURS));
        assert_eq!(rig.strays.try_iter().map(|batch| batch.packets()).sum::<usize>(), 3);
        assert_eq!(rig.port.0.load(Ordering::SeqCst), 2, "not for the one that is lost");
    }

    #[test]
    fn the_end_of_the_port_ends_a_stream_with_a_branch_too() {
        let mut rig = branched();
        rig.next();
        let Rig { mut rx, tx, .. } = rig;
        std::thread::scope(|scope| {
            let stream = scope.spawn(move || rx.recv(None).unwrap_err().kind());
            drop(tx);
            assert_eq!(stream.join().unwrap(), io::ErrorKind::UnexpectedEof);
        });
    }
}
