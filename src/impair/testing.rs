//! A subsystem on two channels, for the tests of this folder.

use crate::subsystem::{Batch, Halves, PacketRx, PacketTx, PathId, Pool, Properties, Sent, Subsystem, Waker};
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// What the carrier does next: deliver a batch, or fail.
pub(super) type Event = Result<Batch, io::ErrorKind>;

/// A carrier on a workbench: the test plays the other side by hand.
pub(super) struct Bench {
    events: Receiver<Event>,
    wire: Sender<Vec<Vec<u8>>>,
}

impl Bench {
    /// How many batches the wire takes before `send` is pending.
    pub(super) const ROOM: usize = 2;
    pub(super) const MAX_PACKET: usize = 10;

    /// The subsystem, what it will receive, and what it has sent.
    pub(super) fn new() -> (Self, Sender<Event>, Receiver<Vec<Vec<u8>>>) {
        let (deliver, events) = crossbeam_channel::unbounded();
        let (wire, sent) = crossbeam_channel::bounded(Self::ROOM);
        (Self { events, wire }, deliver, sent)
    }
}

/// A batch of packets, all but the last of one size.
pub(super) fn batch(packets: &[&[u8]]) -> Batch {
    let segment_bytes = packets[0].len().max(1);
    Batch {
        segment_bytes,
        ..Batch::single(packets.concat().into(), PathId::ONLY)
    }
}

pub(super) fn bytes(batch: &Batch) -> Vec<Vec<u8>> {
    batch.iter().map(<[u8]>::to_vec).collect()
}

impl Subsystem for Bench {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let (wake, woken) = crossbeam_channel::bounded(1);
        Ok(Halves {
            tx: Box::new(Tx {
                wire: self.wire,
                pending: None,
                pool: Pool::new(100, 4),
            }),
            rx: Box::new(Rx {
                events: self.events,
                woken,
            }),
            waker: Arc::new(Wake(wake)),
        })
    }

    fn properties(&self) -> Properties {
        Properties {
            max_packet: Self::MAX_PACKET,
            initial_packet: Self::MAX_PACKET,
            max_segments: 4,
            reliable: false,
            local_addr: None,
            peer_addr: None,
        }
    }
}

struct Wake(Sender<()>);

impl Waker for Wake {
    fn wake(&self) {
        let _ = self.0.try_send(());
    }
}

struct Rx {
    events: Receiver<Event>,
    woken: Receiver<()>,
}

impl PacketRx for Rx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        let timer = deadline.map_or_else(crossbeam_channel::never, crossbeam_channel::at);
        crossbeam_channel::select_biased! {
            recv(self.woken) -> _ => Ok(None),
            recv(self.events) -> event => match event {
                Ok(Ok(batch)) => Ok(Some(batch)),
                Ok(Err(kind)) => Err(kind.into()),
                Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            },
            recv(timer) -> _ => Ok(None),
        }
    }
}

#[derive(Clone)]
struct Tx {
    wire: Sender<Vec<Vec<u8>>>,
    pending: Option<Vec<Vec<u8>>>,
    pool: Arc<Pool>,
}

impl PacketTx for Tx {
    fn send(&mut self, batch: Batch) -> io::Result<Sent> {
        assert!(self.pending.is_none(), "nothing may be sent while a batch is pending");
        assert!(batch.iter().all(|packet| packet.len() <= Bench::MAX_PACKET));
        self.pending = Some(bytes(&batch));
        self.flush(None)
    }

    /// Does not wait: a test empties the wire and flushes again.
    fn flush(&mut self, _: Option<Instant>) -> io::Result<Sent> {
        let Some(packets) = self.pending.take() else {
            return Ok(Sent::Taken);
        };
        match self.wire.try_send(packets) {
            Ok(()) => Ok(Sent::Taken),
            Err(TrySendError::Full(packets)) => {
                self.pending = Some(packets);
                Ok(Sent::Pending)
            }
            Err(TrySendError::Disconnected(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn max_segments(&self, _: usize) -> usize {
        4
    }

    fn try_clone(&self) -> Option<Box<dyn PacketTx>> {
        Some(Box::new(self.clone()))
    }
}
