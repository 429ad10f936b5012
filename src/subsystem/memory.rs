//! Two ends in one process: packets go through bounded queues, in real time. For tests, doctests and students.
//!
//! It behaves like a network cable: a full queue drops packets, and an end that is gone is silence, not an error. It
//! knows no protocol, and no delay or loss but that of a full queue; for these see [`crate::impair`].
//!
//! ```
//! use securestream::subsystem::{Batch, PathId, Subsystem, memory};
//!
//! let (left, right) = memory::pair();
//! let mut left = Box::new(left).split()?;
//! let mut right = Box::new(right).split()?;
//! let mut buffer = left.tx.pool().take();
//! buffer.extend_from_slice(b"hello");
//! let _ = left.tx.send(Batch::single(buffer, PathId::ONLY))?;
//! let batch = right.rx.recv(None)?.expect("nobody wakes it and it has no deadline");
//! assert_eq!(&batch.buffer[..], b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```

use super::{
    Batch, Halves, MAX_PACKET, PacketRx, PacketTx, PathId, Pool, Properties, SendLosses, Sent, Subsystem, Waker,
};
use crossbeam_channel::{Receiver, Select, Sender, TrySendError, bounded};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// What a batch may hold, in bytes.
const BATCH_BYTES: usize = 64 << 10;
/// Unused buffers kept in each direction.
const POOL_BUFFERS: usize = 32;

/// Options of [`pair_with`].
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The largest packet in bytes; larger ones are dropped and counted. At most [`MAX_PACKET`].
    pub max_packet: usize,
    /// The packet size in bytes to begin with.
    pub initial_packet: usize,
    /// How many batches may be under way in each direction before packets are dropped; at least 1.
    pub queue_batches: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_packet: MAX_PACKET,
            initial_packet: 1200,
            queue_batches: 256,
        }
    }
}

/// Two ends that are connected with each other.
pub fn pair() -> (Memory, Memory) {
    pair_with(Config::default())
}

/// Two connected ends with options.
pub fn pair_with(config: Config) -> (Memory, Memory) {
    let config = Config {
        max_packet: config.max_packet.clamp(1, MAX_PACKET),
        initial_packet: config.initial_packet.clamp(1, config.max_packet.clamp(1, MAX_PACKET)),
        queue_batches: config.queue_batches.max(1),
    };
    let (to_right, from_left) = bounded(config.queue_batches);
    let (to_left, from_right) = bounded(config.queue_batches);
    let end = |out: &Sender<Batch>, inbox: Receiver<Batch>, keep: &Sender<Batch>| Memory {
        config,
        out: out.clone(),
        inbox,
        keep_open: keep.clone(),
        losses: Arc::default(),
    };
    (
        end(&to_right, from_right, &to_left),
        end(&to_left, from_left, &to_right),
    )
}

/// One end of a link in memory. When it is dropped, the other end hears nothing more.
#[derive(Debug)]
pub struct Memory {
    config: Config,
    out: Sender<Batch>,
    inbox: Receiver<Batch>,
    /// A sender of our own inbox. With it the queue never ends: silence, like a cable that is pulled out.
    keep_open: Sender<Batch>,
    losses: Arc<SendLosses>,
}

impl Memory {
    /// Counts of packets that were dropped because they were too large, the queue was full or the other end gone.
    /// Stays valid after [`Subsystem::split`].
    pub fn losses(&self) -> Arc<SendLosses> {
        Arc::clone(&self.losses)
    }
}

impl Subsystem for Memory {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let (bell, woken) = bounded(1);
        let Self {
            config,
            out,
            inbox,
            keep_open,
            losses,
        } = *self;
        let pool = Pool::new(BATCH_BYTES, POOL_BUFFERS);
        Ok(Halves {
            tx: Box::new(Tx {
                config,
                out,
                losses,
                pool,
            }),
            rx: Box::new(Rx {
                inbox,
                _keep_open: keep_open,
                woken,
                _bell: bell.clone(),
            }),
            waker: Arc::new(Bell(bell)),
        })
    }

    fn properties(&self) -> Properties {
        Properties {
            max_packet: self.config.max_packet,
            initial_packet: self.config.initial_packet,
            max_segments: max_segments(self.config.initial_packet),
            reliable: false,
            local_addr: None,
            peer_addr: None,
        }
    }
}

struct Tx {
    config: Config,
    out: Sender<Batch>,
    losses: Arc<SendLosses>,
    pool: Arc<Pool>,
}

impl PacketTx for Tx {
    fn send(&mut self, batch: Batch) -> io::Result<Sent> {
        let packets = batch.packets();
        if batch.segment_bytes.min(batch.buffer.len()) > self.config.max_packet {
            self.losses.count_oversize(packets);
            return Ok(Sent::Taken);
        }
        match self.out.try_send(Batch {
            path: PathId::ONLY,
            ..batch
        }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.losses.count_dropped(packets);
            }
        }
        Ok(Sent::Taken)
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn max_segments(&self, packet_bytes: usize) -> usize {
        max_segments(packet_bytes)
    }
}

struct Rx {
    inbox: Receiver<Batch>,
    _keep_open: Sender<Batch>,
    woken: Receiver<()>,
    /// Without it, dropping the waker would end the channel, and an ended channel never blocks.
    _bell: Sender<()>,
}

impl PacketRx for Rx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        if self.woken.try_recv().is_ok() {
            return Ok(None);
        }
        if let Ok(batch) = self.inbox.try_recv() {
            return Ok(Some(batch));
        }
        let mut select = Select::new_biased();
        let woken = select.recv(&self.woken);
        select.recv(&self.inbox);
        let operation = match deadline {
            Some(deadline) => match select.select_deadline(deadline) {
                Ok(operation) => operation,
                Err(_) => return Ok(None),
            },
            None => select.select(),
        };
        if operation.index() == woken {
            operation.recv(&self.woken).expect("this half keeps a sender");
            return Ok(None);
        }
        Ok(Some(operation.recv(&self.inbox).expect("this half keeps a sender")))
    }
}

struct Bell(Sender<()>);

impl Waker for Bell {
    fn wake(&self) {
        // A full channel: the request is there already.
        let _ = self.0.try_send(());
    }
}

fn max_segments(packet_bytes: usize) -> usize {
    (BATCH_BYTES / packet_bytes.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subsystem::testing::{
        at_once, batch_of, check_that_a_deadline_ends_recv, check_that_no_wake_of_recv_is_lost, numbered,
        receive_packets,
    };

    fn split(memory: Memory) -> Halves {
        Box::new(memory).split().unwrap()
    }

    #[test]
    fn batches_arrive_in_order_both_ways() {
        let (left, right) = pair();
        let (mut left, mut right) = (split(left), split(right));
        let packets = numbered(20, 30);
        let _ = left.tx.send(batch_of(&packets[..15])).unwrap();
        let _ = left.tx.send(batch_of(&packets[15..])).unwrap();
        let _ = right.tx.send(batch_of(&[Vec::new()])).unwrap();
        assert_eq!(receive_packets(&mut *right.rx, 20), packets);
        assert_eq!(receive_packets(&mut *left.rx, 1), [b""]);
    }

    #[test]
    fn a_full_queue_drops_and_counts_packets() {
        let (left, right) = pair_with(Config {
            queue_batches: 2,
            ..Config::default()
        });
        let losses = left.losses();
        let (mut left, mut right) = (split(left), split(right));
        for number in 0..4 {
            let sent = left.tx.send(batch_of(&[vec![number], vec![number]])).unwrap();
            assert_eq!(sent, Sent::Taken);
        }
        assert_eq!(losses.dropped_pkts(), 4);
        assert_eq!(receive_packets(&mut *right.rx, 4), [[0], [0], [1], [1]]);
    }

    #[test]
    fn packets_beyond_the_limit_are_dropped_and_counted() {
        let (left, right) = pair_with(Config {
            max_packet: 100,
            ..Config::default()
        });
        assert_eq!(left.properties().initial_packet, 100);
        let losses = left.losses();
        let (mut left, mut right) = (split(left), split(right));
        let _ = left.tx.send(batch_of(&numbered(3, 101))).unwrap();
        let _ = left.tx.send(batch_of(&numbered(3, 100))).unwrap();
        assert_eq!(losses.oversize_pkts(), 3);
        assert_eq!(receive_packets(&mut *right.rx, 3), numbered(3, 100));
    }

    #[test]
    fn an_end_that_is_gone_is_silence() {
        let (left, right) = pair();
        let losses = left.losses();
        let mut left = split(left);
        drop(right);
        let _ = left.tx.send(batch_of(&[vec![1]])).unwrap();
        assert_eq!(losses.dropped_pkts(), 1);
        assert!(left.rx.recv(at_once()).unwrap().is_none());
        check_that_a_deadline_ends_recv(&mut *left.rx);
    }

    #[test]
    fn no_wake_is_lost() {
        let (left, _right) = pair();
        check_that_no_wake_of_recv_is_lost(&mut split(left));
    }
}
