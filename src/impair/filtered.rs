//! A subsystem with functions of the user around it: to count, to look, to drop, to change bytes.

use super::Arrival;
use super::regroup::{packets, regroup};
use crate::filter::Packet;
use crate::subsystem::{Batch, Halves, MAX_PACKET, PacketRx, PacketTx, Pool, Properties, Sent, Subsystem};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

const UNUSED_BUFFERS: usize = 16;
/// As many as the kernel's receive offload merges.
const MAX_SEGMENTS: usize = 64;

/// Sees each packet, may change its bytes, and says whether to keep it.
pub type PacketFilter = Box<dyn FnMut(&mut Vec<u8>) -> bool + Send>;

/// Any subsystem, with a function for each packet sent and one for each packet received.
///
/// ```
/// use securestream::impair::Filtered;
/// use securestream::subsystem::Subsystem;
///
/// /// A link on which every packet is scrambled: both ends must do it.
/// fn scrambled<S: Subsystem>(subsystem: S) -> Filtered<S> {
///     fn scramble(packet: &mut Vec<u8>) -> bool {
///         packet.iter_mut().for_each(|byte| *byte ^= 0x55);
///         true
///     }
///     Filtered::new(subsystem).transmit(scramble).recv(scramble)
/// }
/// ```
///
/// The functions run on the threads that send and receive: they should be quick. The properties stay those of the
/// inner subsystem, so a packet that a function makes larger than its `max_packet` is dropped. For delays see
/// [`super::Impaired`].
pub struct Filtered<S> {
    inner: S,
    transmit: Option<PacketFilter>,
    recv: Option<PacketFilter>,
}

impl<S: Subsystem> Filtered<S> {
    /// No function yet: packets pass as they are.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            transmit: None,
            recv: None,
        }
    }

    /// Calls `filter` for each packet to be sent; the original's `transmit_filter`. Where senders are cloned (the
    /// streams of a listener) they share it.
    #[must_use]
    pub fn transmit(mut self, filter: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static) -> Self {
        self.transmit = Some(Box::new(filter));
        self
    }

    /// Calls `filter` for each packet received; the original's `recv_filter`.
    #[must_use]
    pub fn recv(mut self, filter: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static) -> Self {
        self.recv = Some(Box::new(filter));
        self
    }
}

impl<S: Subsystem> Subsystem for Filtered<S> {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let Self { inner, transmit, recv } = *self;
        let max_packet = inner.properties().max_packet;
        let mut halves = Box::new(inner).split()?;
        if let Some(filter) = transmit {
            let filter = Arc::new(Mutex::new(filter));
            halves.tx = Box::new(FilteredTx {
                inner: halves.tx,
                filter,
                max_packet,
                queue: VecDeque::new(),
            });
        }
        if let Some(filter) = recv {
            let pool = Pool::new(MAX_PACKET, UNUSED_BUFFERS);
            halves.rx = Box::new(FilteredRx {
                inner: halves.rx,
                filter,
                pool,
                ready: VecDeque::new(),
            });
        }
        Ok(halves)
    }

    fn properties(&self) -> Properties {
        self.inner.properties()
    }
}

struct FilteredTx {
    inner: Box<dyn PacketTx>,
    filter: Arc<Mutex<PacketFilter>>,
    max_packet: usize,
    /// What one batch has become, as far as the inner sender has not taken it. Empty unless it is pending.
    queue: VecDeque<Batch>,
}

impl FilteredTx {
    fn drain(&mut self) -> io::Result<Sent> {
        while let Some(batch) = self.queue.pop_front() {
            // After an error the rest is lost, as packets are.
            if self.inner.send(batch).inspect_err(|_| self.queue.clear())? == Sent::Pending {
                return Ok(Sent::Pending);
            }
        }
        Ok(Sent::Taken)
    }
}

impl PacketTx for FilteredTx {
    fn send(&mut self, batch: Batch) -> io::Result<Sent> {
        let kept = keep(&mut **self.filter.lock(), &batch);
        let kept = kept.into_iter().filter(|packet| packet.bytes.len() <= self.max_packet);
        let max_segments = |packet_bytes| self.inner.max_segments(packet_bytes);
        regroup(kept, self.inner.pool(), max_segments, &mut self.queue);
        self.drain()
    }

    fn flush(&mut self, deadline: Option<Instant>) -> io::Result<Sent> {
        loop {
            let flushed = self.inner.flush(deadline).inspect_err(|_| self.queue.clear())?;
            if flushed == Sent::Pending || self.queue.is_empty() {
                return Ok(flushed);
            }
            if self.drain()? == Sent::Taken {
                return Ok(Sent::Taken);
            }
        }
    }

    fn pool(&self) -> &Arc<Pool> {
        self.inner.pool()
    }

    fn max_segments(&self, packet_bytes: usize) -> usize {
        self.inner.max_segments(packet_bytes)
    }

    fn take_oversize(&mut self) -> Option<usize> {
        self.inner.take_oversize()
    }

    fn is_stranded(&self) -> bool {
        self.inner.is_stranded()
    }

    fn rebind(&mut self) -> io::Result<bool> {
        self.inner.rebind()
    }

    fn try_clone(&self) -> Option<Box<dyn PacketTx>> {
        let inner = self.inner.try_clone()?;
        let filter = Arc::clone(&self.filter);
        Some(Box::new(Self {
            inner,
            filter,
            max_packet: self.max_packet,
            queue: VecDeque::new(),
        }))
    }
}

struct FilteredRx {
    inner: Box<dyn PacketRx>,
    filter: PacketFilter,
    pool: Arc<Pool>,
    ready: VecDeque<Batch>,
}

impl PacketRx for FilteredRx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            let Some(batch) = self.inner.recv(deadline)? else {
                return Ok(None);
            };
            let kept = keep(&mut *self.filter, &batch).into_iter();
            regroup(kept, &self.pool, |_| MAX_SEGMENTS, &mut self.ready);
            // A flood of packets that are all dropped must not hold the caller.
            if self.ready.is_empty() && deadline.is_some_and(|deadline| deadline <= now()) {
                return Ok(None);
            }
        }
    }
}

/// What the filter keeps of a batch.
fn keep(filter: &mut dyn FnMut(&mut Vec<u8>) -> bool, batch: &Batch) -> Vec<Packet<Arrival>> {
    let mut kept: Vec<_> = packets(batch).collect();
    kept.retain_mut(|packet| filter(&mut packet.bytes));
    kept
}

#[expect(clippy::disallowed_methods, reason = "a deadline given by the caller is kept")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, batch, bytes};
    use super::*;

    fn split(filtered: Filtered<Bench>) -> Halves {
        Box::new(filtered).split().expect("a bench splits")
    }

    #[test]
    fn the_functions_see_each_packet_of_their_direction_and_may_change_or_drop_it() {
        let (bench, events, wire) = Bench::new();
        let mut seen = 0;
        let filtered = Filtered::new(bench)
            .transmit(|packet| {
                packet[0] = b'T';
                packet.len() > 1
            })
            .recv(move |packet| {
                seen += 1;
                packet.push(b'0' + seen);
                seen != 2
            });
        let mut halves = split(filtered);
        assert_eq!(
            halves.tx.send(batch(&[b"ab", b"cd", b"e"])).expect("no error"),
            Sent::Taken
        );
        assert_eq!(wire.recv().expect("a batch"), [b"Tb", b"Td"]);
        events.send(Ok(batch(&[b"x", b"y", b"z"]))).expect("the receiver lives");
        let received = halves.rx.recv(None).expect("no error").expect("a batch");
        assert_eq!(bytes(&received), [b"x1", b"z3"]);
    }

    #[test]
    fn without_functions_batches_pass_as_they_are() {
        let (bench, events, _wire) = Bench::new();
        let mut halves = split(Filtered::new(bench));
        let sent = batch(&[b"ab"]);
        let address = sent.buffer.as_ptr();
        events.send(Ok(sent)).expect("the receiver lives");
        let received = halves.rx.recv(None).expect("no error").expect("a batch");
        assert_eq!(received.buffer.as_ptr(), address);
    }

    #[test]
    fn a_batch_that_falls_apart_is_sent_in_order_as_the_carrier_takes_it() {
        let (bench, _events, wire) = Bench::new();
        // Growing packets cannot share a batch.
        let mut size = 0;
        let filtered = Filtered::new(bench).transmit(move |packet| {
            size += 1;
            packet.resize(size, b'.');
            true
        });
        let mut halves = split(filtered);
        let sent = batch(&[b"1", b"2", b"3", b"4", b"5"]);
        assert_eq!(halves.tx.send(sent).expect("no error"), Sent::Pending);
        let mut arrived = Vec::new();
        loop {
            arrived.extend(wire.try_iter().flatten());
            if halves.tx.flush(None).expect("no error") == Sent::Taken {
                break;
            }
        }
        arrived.extend(wire.try_iter().flatten());
        assert_eq!(arrived, [&b"1"[..], b"2.", b"3..", b"4...", b"5...."]);
        assert_eq!(halves.tx.flush(None).expect("no error"), Sent::Taken);
    }

    #[test]
    fn a_packet_that_grew_too_large_is_dropped() {
        let (bench, _events, wire) = Bench::new();
        let filtered = Filtered::new(bench).transmit(|packet| {
            packet.resize(packet.len() * 6, 0);
            true
        });
        let mut halves = split(filtered);
        assert_eq!(halves.tx.send(batch(&[b"ab", b"c"])).expect("no error"), Sent::Taken);
        assert_eq!(wire.try_recv().expect("the small one"), [b"c\0\0\0\0\0"]);
    }

    #[test]
    fn cloned_senders_share_the_function() {
        let (bench, _events, wire) = Bench::new();
        let mut seen = b'0';
        let filtered = Filtered::new(bench).transmit(move |packet| {
            seen += 1;
            packet.push(seen);
            true
        });
        let mut first = split(filtered).tx;
        let mut second = first.try_clone().expect("a bench can be cloned");
        assert_eq!(first.send(batch(&[b"a"])).expect("no error"), Sent::Taken);
        assert_eq!(second.send(batch(&[b"b"])).expect("no error"), Sent::Taken);
        let sent: Vec<_> = wire.try_iter().flatten().collect();
        assert_eq!(sent, [b"a1", b"b2"]);
    }

    #[test]
    fn a_flood_of_dropped_packets_does_not_hold_the_caller() {
        let (bench, events, _wire) = Bench::new();
        let mut halves = split(Filtered::new(bench).recv(|_| false));
        for _ in 0..100 {
            events.send(Ok(batch(&[b"x"]))).expect("the receiver lives");
        }
        assert!(halves.rx.recv(Some(now())).expect("no error").is_none());
        assert!(!events.is_empty());
    }
}
