//! The receive thread of a stream.
//!
//! The path of a packet: 1. a batch from the carrier, with one reading of the clock; 2. every packet opened in place;
//! 3. in-order payload into the pipe under one lock; 4. what the sender must know merged into its mailbox; 5. those who
//! wait for it are woken when nothing more is there, or when it has become much. While the stream is fast the thread naps
//! before it believes that nothing more is there. It never writes to the wire and never waits for the send thread.

#![expect(
    clippy::disallowed_methods,
    reason = "the driver of the receiving half reads the clock once a batch, and naps between batches"
)]

use super::connection::Connection;
use super::intake::{Arrival, Found, Intake};
use super::turns::{Pace, Turns};
use crate::proto::Update;
use crate::proto::ecn::Mark;
use crate::subsystem::{Batch, Ecn, PacketRx};
use std::io;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes received after which the reader and the send thread are told, though more may be there: each wake-up costs as
/// much as the work on tens of KiB.
const TELL_AFTER: usize = 512 * 1024;
/// Or after so long, for packets that are small, or worth nothing.
const TELL_WITHIN: Duration = Duration::from_millis(1);

/// While a stream is fast, the reader is left alone for so long though nothing more is there: more comes, and to wake it
/// takes the processor from a thread that works for it.
const GATHER: Duration = Duration::from_micros(100);
/// And the thread sleeps for so long before it looks again. To be woken for each batch costs the peer's sender, who has to
/// wake, and us. Linux adds up to 50 us. What comes meanwhile counts as received at the end of the nap.
const NAP: Duration = Duration::from_micros(50);
/// One nap for so many bytes: a peer whose window is smaller waits for our acknowledgement in the meantime.
const NAP_AFTER: usize = 128 * 1024;

/// What the thread works with.
struct Receiver<'a> {
    connection: &'a Connection,
    intake: Intake,
    update: Update,
    found: Vec<Option<Found>>,
    untold: Untold,
    /// A moment that has passed.
    started: Instant,
    pace: Pace,
    is_fast: bool,
    /// Nothing more is there, and the reader was not told yet.
    is_gathering: bool,
    /// Received since the last nap.
    awake_bytes: usize,
    turns: Turns,
}

/// What was received and nobody was woken for.
#[derive(Debug, Default)]
struct Untold {
    /// On the wire.
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
    /// The send thread has to look.
    is_urgent: bool,
}

/// Runs until the send thread says that the stream is over. `early` are datagrams that came during the handshake.
pub(crate) fn run(
    connection: &Arc<Connection>,
    intake: Intake,
    mut rx: Box<dyn PacketRx>,
    early: Vec<(Vec<u8>, Instant)>,
) {
    let mut receiver = Receiver {
        connection,
        intake,
        update: Update::default(),
        found: Vec::new(),
        untold: Untold::default(),
        started: Instant::now(),
        pace: Pace::default(),
        is_fast: false,
        is_gathering: false,
        awake_bytes: 0,
        turns: Turns::default(),
    };
    for (datagram, received_at) in early {
        let batch = Batch::single(datagram.into(), connection.path_of(crate::proto::path::PathId(0)));
        receiver.handle_batch(batch, received_at);
    }
    while !connection.is_closing() {
        let patience = receiver.patience();
        match rx.recv(patience) {
            Ok(None) => receiver.handle_silence(),
            Ok(Some(batch)) => receiver.handle_batch(batch, Instant::now()),
            // An ICMP message proves nothing once the peer has shown that it is there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                receiver.tell();
                connection
                    .mailbox
                    .post(|letters| letters.carrier_lost = Some((error.kind(), error.to_string())));
                return;
            }
        }
        if patience.is_none() {
            connection.note_wakeup();
        }
    }
}

impl Untold {
    /// A batch of so many bytes more.
    fn note(&mut self, bytes: usize, received_at: Instant) {
        self.bytes += bytes;
        self.since.get_or_insert(received_at);
    }

    /// It must be told though more may be there; also where the peer has less credit left than was received, for it would
    /// have to stop until the reader has read.
    fn is_due(&self, now: Instant, credit: u64) -> bool {
        let has_waited = |since| now.saturating_duration_since(since) >= TELL_WITHIN;
        self.bytes >= TELL_AFTER || self.bytes as u64 > credit || self.since.is_some_and(has_waited)
    }
}

impl Receiver<'_> {
    /// Until when to wait for the next batch: only a look while somebody is to be told of the last, or a little while the
    /// reader alone is.
    fn patience(&self) -> Option<Instant> {
        let since = self.untold.since?;
        Some(if self.is_gathering {
            since + GATHER
        } else {
            self.started
        })
    }

    /// Nothing more is there now.
    fn handle_silence(&mut self) {
        if self.is_fast && !self.is_gathering {
            // The peer may wait for its acknowledgement.
            if mem::take(&mut self.untold.is_urgent) {
                self.connection.mailbox.ring();
            }
            if self.awake_bytes >= NAP_AFTER {
                self.awake_bytes = 0;
                thread::sleep(NAP);
                self.connection.note_wakeup();
            }
            self.is_gathering = true;
        } else {
            self.tell();
        }
    }

    /// Wakes whoever waits for what was received.
    fn tell(&mut self) {
        self.is_gathering = false;
        let Untold { bytes, is_urgent, .. } = mem::take(&mut self.untold);
        if bytes > 0 {
            self.connection.pipe.tell();
        }
        if is_urgent {
            self.connection.mailbox.ring();
        }
    }

    fn handle_batch(&mut self, batch: Batch, received_at: Instant) {
        self.untold.note(batch.buffer.len(), received_at);
        let fast = &self.connection.fast;
        self.is_fast = self.pace.note(batch.buffer.len() as u64, received_at);
        self.is_gathering = false;
        self.awake_bytes = self.awake_bytes.saturating_add(batch.buffer.len());
        fast.set_receiving(self.is_fast);
        self.turns.set(fast.is_any());
        self.digest(batch, received_at);
        *self.connection.intake.lock() = self.intake.counters();
        if !self.update.is_empty() {
            self.untold.is_urgent |= self.connection.mailbox.merge(&mut self.update);
        }
        if self.untold.is_due(received_at, self.connection.pipe.credit()) {
            self.tell();
        }
    }

    /// From datagrams to bytes in the pipe and news for the sender.
    fn digest(&mut self, mut batch: Batch, received_at: Instant) {
        self.found.clear();
        for datagram in batch.iter_mut() {
            self.found.push(self.intake.open(datagram));
        }
        self.intake.check_limit(received_at, &mut self.update);
        if self.found.iter().all(Option::is_none) {
            return;
        }
        let (path, active, port_only) = self.connection.arrived_on(batch.path);
        self.intake.set_active_path(active);
        let arrival = Arrival {
            path,
            port_only,
            received_at,
            mark: batch.ecn.map(mark),
            limit: self.connection.pipe.limit(),
        };
        let Self {
            intake, update, found, ..
        } = self;
        let (segment_bytes, buffer) = (batch.segment_bytes, Arc::new(batch.buffer));
        self.connection.pipe.deliver(Some(&buffer), |sink| {
            for (datagram, found) in buffer.chunks(segment_bytes).zip(found.iter()) {
                if let Some(found) = found {
                    intake.handle(found, datagram, &arrival, sink, update);
                }
            }
            sink.set_gapped(intake.half().buffered_bytes());
        });
        intake.finish(update);
    }
}

fn mark(ecn: Ecn) -> Mark {
    match ecn {
        Ecn::Ect0 => Mark::Ect0,
        Ecn::Ect1 => Mark::Ect1,
        Ecn::Ce => Mark::Ce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_batches_is_told_after_much_or_after_a_while() {
        let start = crate::stream::sync::now();
        let mut untold = Untold::default();
        assert!(!untold.is_due(start + TELL_WITHIN, 0), "nothing is there to tell");
        untold.note(0, start);
        assert!(!untold.is_due(start, 0));
        assert!(untold.is_due(start + TELL_WITHIN, 0), "however little it is");
        untold.note(TELL_AFTER, start);
        assert!(untold.is_due(start, u64::MAX));
    }

    #[test]
    fn a_small_window_is_told_when_half_of_it_has_come() {
        let start = crate::stream::sync::now();
        let (window, packet) = (64 * 1024, 1200);
        let mut untold = Untold::default();
        while !untold.is_due(start, (window - untold.bytes) as u64) {
            untold.note(packet, start);
        }
        assert!(untold.bytes.abs_diff(window / 2) <= packet, "{} bytes", untold.bytes);
    }
}
