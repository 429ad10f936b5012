//! The send thread of a stream: the only writer to the wire, and the owner of the sending half.
//!
//! One visible loop: take what waits; let the half digest it; fill and send batches; publish; wait for the doorbell,
//! or for the pacer.

#![expect(
    clippy::disallowed_methods,
    reason = "the driver of the sending half reads the clock once a round"
)]

use super::connection::{Connection, TellPort, Tombstone, Word};
use super::mailbox::Letters;
use super::outbox::{Released, Taken};
use super::outlet::{Filled, Outlet};
use super::patient_recv;
use super::report::{is_gone, snapshot, verdict};
use super::turns::{Pace, Turns};
use crate::error::StreamError;
use crate::proto::LONGEST_CLOSE_WAIT;
use crate::proto::chunk::Chunk;
use crate::stats::BlockedBy;
use crate::subsystem::{Batch, Buffer, Ecn, PacketTx, Sent};
use crate::wire::packet::ConnectionId;
use crossbeam_channel::{Receiver, Sender};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Bytes sent before the mailbox is looked at again.
const BURST: usize = 128 * 1024;
/// Waits of the pacer shorter than this are spun: to sleep and to be woken takes longer.
const SHORTEST_SLEEP: Duration = Duration::from_micros(100);
/// A carrier that takes nothing is asked again after this long, so that the end of the stream is noticed meanwhile.
const STALL_LOOK: Duration = Duration::from_millis(100);
/// A stream that is quiet for so long gives back the memory that it keeps for speed. Soon, so that streams which are busy
/// one after the other use the same memory.
const REST_AFTER: Duration = Duration::from_millis(50);
/// Probe time-outs that a listener answers for a stream that has ended (RFC 9000, section 10.2).
///
/// More than three, for a peer whose packets were lost has backed off: this long it sends at least four probes.
const TOMBSTONE_PTOS: u32 = 15;

/// Probe time-outs in a row after which a client tries another address.
const REBIND_PTOS: u32 = 3;
/// And no sooner than this after it heard anything: on a fast path three probe time-outs are a few milliseconds, which a busy
/// machine can be late by.
const REBIND_UNHEARD: Duration = Duration::from_secs(2);
/// It does so no more often than this.
const REBIND_PAUSE: Duration = Duration::from_millis(500);

/// How far a quiet stream is from giving memory back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Something is on its way.
    Busy,
    /// Memory goes back then, if nothing happens before.
    Due(Instant),
    /// It has gone back.
    Taken,
}

struct Driver<'a> {
    connection: &'a Connection,
    outlet: Outlet,
    tx: Box<dyn PacketTx>,
    arm: Sender<()>,
    chunks: VecDeque<Chunk>,
    recycled: Vec<Vec<u8>>,
    /// Something came from the peer or from the application in this round.
    is_stirred: bool,
    rest: Rest,
    /// What kind of error ended the carrier.
    carrier_error: Option<io::ErrorKind>,
    stalled_since: Option<Instant>,
    finished: bool,
    /// Acknowledged bytes that the outbox knows of.
    released: u64,
    /// Probe time-outs in a row at which the carrier is to try another address.
    rebind_after: u32,
    rebound_at: Option<Instant>,
    /// The last packets sent after the connection closed, for the tombstone.
    close_packet: Option<Vec<u8>>,
    tell_port: Option<TellPort>,
    local_id: ConnectionId,
    pace: Pace,
    turns: Turns,
}

/// Tells the listener at the end, and after a panic too: it would keep a place for the stream for ever.
struct Burial {
    tell_port: Option<TellPort>,
    local_id: ConnectionId,
    close: Option<Vec<u8>>,
    keep: Duration,
}

impl Drop for Burial {
    fn drop(&mut self) {
        if let Some(tell) = &self.tell_port {
            tell(Word::Ended(Tombstone {
                local_id: self.local_id,
                close: self.close.take(),
                keep: self.keep,
            }));
        }
    }
}

/// Runs until the connection is closed and its last packet sent.
pub(crate) fn run(
    connection: &Arc<Connection>,
    outlet: Outlet,
    tx: Box<dyn PacketTx>,
    doorbell: &Receiver<()>,
    arm: Sender<()>,
    tell_port: Option<TellPort>,
    local_id: ConnectionId,
) {
    let mut burial = Burial {
        tell_port: tell_port.clone(),
        local_id,
        close: None,
        keep: Duration::ZERO,
    };
    let mut driver = Driver {
        connection,
        outlet,
        tx,
        arm,
        chunks: VecDeque::new(),
        recycled: Vec::new(),
        is_stirred: false,
        rest: Rest::Busy,
        carrier_error: None,
        stalled_since: None,
        finished: false,
        released: 0,
        rebind_after: REBIND_PTOS,
        rebound_at: None,
        close_packet: None,
        tell_port,
        local_id,
        pace: Pace::default(),
        turns: Turns::default(),
    };
    let mut letters = Letters::default();
    loop {
        connection.mailbox.take(&mut letters);
        let now = Instant::now();
        driver.read(&mut letters, now);
        let more = driver.transmit(now);
        driver.turns.set(connection.fast.is_any());
        let may_sleep = driver.publish(now);
        if driver.is_over() {
            break;
        }
        if !more && may_sleep {
            driver.wait(doorbell);
        }
    }
    burial.keep = TOMBSTONE_PTOS * driver.outlet.half.pto().min(LONGEST_CLOSE_WAIT);
    burial.close = driver.close_packet.take();
}

impl Driver<'_> {
    /// Lets the half digest all that has happened.
    fn read(&mut self, letters: &mut Letters, now: Instant) {
        let half = &mut self.outlet.half;
        let generation = letters.update.generation;
        self.is_stirred = letters.update.last_received.is_some();
        half.handle_update(now, &mut letters.update);
        if letters.advertise > 0 {
            half.advertise(std::mem::take(&mut letters.advertise));
        }
        if let Some(final_size) = letters.consumed.take() {
            half.consumed(final_size);
        }
        if let Some(nodelay) = letters.nodelay.take() {
            half.set_nodelay(nodelay);
        }
        let Taken { finished, cut } = self.connection.outbox.take(&mut self.chunks);
        self.is_stirred |= !self.chunks.is_empty();
        for chunk in self.chunks.drain(..) {
            half.write(chunk);
        }
        if finished && !self.finished {
            self.finished = true;
            half.finish();
        }
        if std::mem::take(&mut letters.stop_reading) {
            half.stop_reading();
        }
        if std::mem::take(&mut letters.abandon) {
            // An end mark behind a part would make it look whole. A direction that the peer stopped has no end mark.
            if cut && half.progress().stopped.is_none() {
                half.abort(now);
            } else {
                half.abandon(now);
            }
        }
        if std::mem::take(&mut letters.abort) || std::mem::take(&mut letters.panicked) {
            half.abort(now);
        }
        if std::mem::take(&mut letters.leave) {
            half.leave(now);
        }
        if let Some((kind, reason)) = letters.carrier_lost.take() {
            self.carrier_error.get_or_insert(kind);
            half.carrier_lost(reason);
        }
        letters.expired = false;
        half.close_if_complete(now);
        self.outlet.follow(generation);
    }

    /// Sends what may be sent now. `true`: there may be more.
    fn transmit(&mut self, now: Instant) -> bool {
        if self.is_stalled() {
            return true;
        }
        if self.outlet.half.next_timeout().is_some_and(|at| at <= now) {
            self.outlet.half.handle_timeout(now);
        }
        self.rebind_if_unheard(now);
        let mut sent = 0;
        while sent < BURST {
            let mut buffer = self.tx.pool().take();
            let max_packets = self.tx.max_segments(self.outlet.half.packet_bytes());
            let Some(filled) = self.outlet.fill(now, buffer.spare_mut(), max_packets) else {
                self.outlet.half.note_app_limited();
                return false;
            };
            sent += filled.bytes;
            let is_fast = self.pace.note(filled.bytes as u64, now);
            self.connection.fast.set_sending(is_fast);
            buffer.set_len(filled.bytes);
            if !self.send(buffer, &filled, now) {
                return true;
            }
        }
        true
    }

    /// `false`: the carrier must be waited for.
    fn send(&mut self, buffer: Buffer, filled: &Filled, now: Instant) -> bool {
        if self.tell_port.is_some() && self.outlet.half.ended().is_some() {
            self.close_packet = Some(buffer.to_vec());
        }
        let path = self.connection.path_of(filled.path);
        let batch = Batch {
            buffer,
            segment_bytes: filled.segment_bytes,
            path,
            ecn: filled.is_marked.then_some(Ecn::Ect0),
        };
        match self.tx.send(batch) {
            Ok(Sent::Taken) => {
                if let Some(bytes) = self.tx.take_oversize() {
                    self.outlet.half.handle_oversize(bytes);
                }
                true
            }
            Ok(Sent::Pending) => {
                self.stalled_since = Some(now);
                false
            }
            // An ICMP message proves nothing once the peer has shown that it is there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => true,
            Err(error) => {
                self.carrier_error.get_or_insert(error.kind());
                self.outlet.half.carrier_lost(error.to_string());
                false
            }
        }
    }

    /// Waits a little for a carrier that has not taken everything. Nothing new is built meanwhile, and loss timers
    /// stand still: what the carrier has not taken cannot be lost.
    fn is_stalled(&mut self) -> bool {
        let Some(since) = self.stalled_since else {
            return false;
        };
        let result = self.tx.flush(Some(Instant::now() + STALL_LOOK));
        self.connection.note_wakeup();
        let now = Instant::now();
        match result {
            Ok(Sent::Taken) => {
                self.stalled_since = None;
                self.outlet.half.handle_stall(since, now);
            }
            Ok(Sent::Pending) => self.outlet.half.handle_end_timeout(now),
            Err(error) => {
                self.stalled_since = None;
                self.carrier_error.get_or_insert(error.kind());
                self.outlet.half.carrier_lost(error.to_string());
            }
        }
        self.stalled_since.is_some()
    }

    fn is_over(&self) -> bool {
        let half = &self.outlet.half;
        // A listener answers late packets in our place once the close is on the wire.
        half.is_closed() || (self.close_packet.is_some() && self.stalled_since.is_none())
    }

    /// A client that is not heard, or whose network has gone, goes on from another local address (RFC 9000, section 9):
    /// the peer hears of it with the next packet. Carriers that cannot, say no.
    fn rebind_if_unheard(&mut self, now: Instant) {
        let count = self.outlet.half.pto_count();
        if count < REBIND_PTOS {
            self.rebind_after = REBIND_PTOS;
        }
        let is_silent = now.saturating_duration_since(self.outlet.half.last_heard()) >= REBIND_UNHEARD;
        let is_unheard = count >= self.rebind_after && is_silent;
        if !is_unheard && !self.tx.is_stranded() {
            return;
        }
        let is_soon = |at: Instant| now.saturating_duration_since(at) < REBIND_PAUSE;
        if self.rebound_at.is_some_and(is_soon) {
            return;
        }
        self.rebind_after = count + REBIND_PTOS;
        self.rebound_at = Some(now);
        match self.tx.rebind() {
            Ok(true) => log::info!(ptos = count; "the carrier has another local address now"),
            Ok(false) => {}
            Err(error) => log::debug!("no other local address is to be had: {error}"),
        }
    }

    /// Tells everybody else how far we are. `false`: there is something new to send.
    fn publish(&mut self, now: Instant) -> bool {
        let half = &mut self.outlet.half;
        let (ack_after, ack_timer_runs) = half.look_after();
        self.connection.mailbox.set_look_after(ack_after, ack_timer_runs);
        while let Some(chunk) = half.poll_recycled() {
            self.recycled.push(chunk);
        }
        let progress = half.progress();
        let acked = progress.acked_offset - self.released;
        self.released = progress.acked_offset;
        let may_sleep = self.connection.outbox.released(
            Released {
                acked,
                limit: progress.buffer_limit,
                quiet: half.bytes_in_flight() == 0,
                hungry: half.is_hungry(),
            },
            &mut self.recycled,
        );
        self.connection
            .packet_bytes
            .store(half.packet_bytes(), Ordering::Relaxed);
        self.connection.pipe.set_min_rtt(half.rtt().min_rtt());
        self.connection.alarm.set(half.next_timeout(), &self.arm);
        if progress.stopped.is_some() {
            let reason = "the peer has stopped reading".into();
            self.connection.outbox.fail(StreamError::BrokenPipe { reason });
        }
        let mut seen = snapshot(half);
        if self.stalled_since.is_some() {
            seen.blocked_by = BlockedBy::Carrier;
        }
        *self.connection.snapshot.lock() = seen;
        let ended = half.ended().map(|ended| {
            let delivered = || self.connection.pipe.counts().delivered;
            verdict(ended, self.connection.idle_timeout, self.carrier_error, delivered)
        });
        let path = half.active_path();
        if self.connection.active_path.swap(path.0, Ordering::Relaxed) != path.0
            && let Some(tell) = &self.tell_port
        {
            let path = self.connection.path_of(path);
            let local_id = self.local_id;
            tell(Word::Moved { local_id, path });
        }
        let stopped = progress.stopped.is_some() || half.ended().is_some_and(is_gone);
        self.connection.status.with(|status, wake| {
            let before = (status.finished, status.consumed, status.stopped);
            if before != (progress.finished, progress.consumed, stopped) {
                wake.all();
            }
            status.finished = progress.finished;
            status.consumed = progress.consumed;
            status.stopped = stopped;
        });
        if let Some(result) = ended {
            self.connection.end(&result);
        }
        let is_quiet = half.bytes_in_flight() == 0 && progress.unacked_bytes == 0;
        self.rest = match self.rest {
            _ if !is_quiet => Rest::Busy,
            Rest::Due(at) if !self.is_stirred && at <= now => {
                self.release_memory();
                Rest::Taken
            }
            Rest::Due(_) | Rest::Taken if !self.is_stirred => self.rest,
            _ => Rest::Due(now + REST_AFTER),
        };
        may_sleep
    }

    /// Nothing has happened for a while: what is kept for speed goes back to the system.
    fn release_memory(&mut self) {
        self.outlet.half.release_memory();
        self.connection.outbox.trim();
        self.connection.pipe.trim();
        self.tx.pool().trim();
        self.chunks = VecDeque::new();
        self.recycled = Vec::new();
    }

    fn wait(&mut self, doorbell: &Receiver<()>) {
        match self.outlet.half.next_paced() {
            None => {
                // Disconnected cannot be: the mailbox lives in the connection, which we hold.
                let rest_at = match self.rest {
                    Rest::Due(at) => Some(at),
                    Rest::Busy | Rest::Taken => None,
                };
                let _ = patient_recv::recv(doorbell, rest_at);
                self.connection.note_wakeup();
            }
            Some(at) if at.saturating_duration_since(Instant::now()) < SHORTEST_SLEEP => {
                while Instant::now() < at && doorbell.is_empty() {
                    std::hint::spin_loop();
                }
                let _ = doorbell.try_recv();
            }
            Some(at) => {
                let _ = patient_recv::recv(doorbell, Some(at));
                self.connection.note_wakeup();
            }
        }
    }
}
