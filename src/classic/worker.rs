//! The one thread of a stream: it moves packets between the carrier and the endpoint, and keeps time.
//!
//! ```text
//!   write(), read() <--> Endpoint (one lock) <--> THREAD "classic": wrap, RSA <--> carrier
//! ```

use super::carrier::Wrapping;
use super::endpoint::CarrierEnd;
use super::shared::Shared;
use crate::error::StreamError;
use crate::subsystem::tcp::WithinFrame;
use crate::subsystem::{Batch, Halves, PacketRx, PacketTx, PathId, Sent};
use crossbeam_channel::Sender;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A carrier that takes nothing is asked again so soon. Meanwhile packets still come in.
const PENDING_PAUSE: Duration = Duration::from_millis(5);

/// What the thread owns.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) tx: Box<dyn PacketTx>,
    pub(super) rx: Box<dyn PacketRx>,
    pub(super) wrapping: Wrapping,
    /// The only peer. What comes from elsewhere is not its.
    pub(super) peer: PathId,
    /// What came before the thread was there.
    pub(super) early: Vec<Batch>,
    /// Where the carrier goes when this stream is over, if anybody wants it.
    pub(super) home: Option<Sender<Halves>>,
    /// The carrier takes nothing at the moment.
    pub(super) is_pending: bool,
    /// The carrier takes nothing any more; what the peer has sent before it went may still come.
    pub(super) is_deaf: bool,
}

impl Worker {
    /// The body of the thread.
    #[expect(clippy::disallowed_methods, reason = "this is the driver of the endpoint")]
    pub(super) fn run(mut self) {
        for batch in std::mem::take(&mut self.early) {
            self.take(&batch, Instant::now());
        }
        loop {
            let now = Instant::now();
            self.shared.tell_application(|state| state.endpoint.handle_timeout(now));
            self.transmit(now);
            let (deadline, is_done) = self.shared.look(|state| {
                let deadline = state.endpoint.next_timeout();
                (deadline, state.leave || state.endpoint.is_over())
            });
            if is_done {
                break;
            }
            // What waits for the carrier is overdue already, and must not make this loop spin.
            let deadline = match (self.is_deaf, self.is_pending) {
                (true, _) => None,
                (false, true) => Some(now + PENDING_PAUSE),
                (false, false) => deadline,
            };
            match self.rx.recv(deadline) {
                Ok(Some(batch)) => self.take(&batch, Instant::now()),
                Ok(None) => {}
                Err(error) => self.handle_carrier_error(&error),
            }
        }
        self.say_goodbye(Instant::now() + PENDING_PAUSE);
        // The carrier closes, or goes home, before anybody hears that it is over.
        let Self {
            shared, tx, rx, home, ..
        } = self;
        if let Some(home) = home {
            let waker = shared.waker();
            // Whoever had lent it may have gone.
            let _ = home.send(Halves { tx, rx, waker });
        } else {
            drop((tx, rx));
        }
        shared.tell_application(|state| state.gone = true);
    }

    fn take(&mut self, batch: &Batch, now: Instant) {
        if batch.path != self.peer {
            log::debug!("ignored a packet of a stranger, {:?}", batch.path.remote());
            let packets = batch.packets() as u64;
            return self.shared.look(|state| state.endpoint.count_strangers(packets));
        }
        // RSA takes its time: without the lock.
        let packets: Vec<_> = batch
            .iter()
            .map(|bytes| (bytes, (!bytes.is_empty()).then(|| self.wrapping.unwrap(bytes))))
            .collect();
        self.shared.tell_application(|state| {
            for (bytes, packet) in packets {
                match packet {
                    // An introduction: whose it is was known already.
                    None => {}
                    Some(Some(packet)) => state.endpoint.handle_packet(&packet, now),
                    Some(None) => state.endpoint.handle_noise(bytes),
                }
            }
        });
    }

    /// Sends all that the endpoint has to send.
    fn transmit(&mut self, now: Instant) {
        if self.is_deaf {
            return;
        }
        if self.is_pending {
            match self.tx.flush(Some(now)) {
                Ok(Sent::Taken) => self.is_pending = false,
                Ok(Sent::Pending) => return,
                Err(error) => return self.handle_send_error(&error),
            }
        }
        while let Some(packet) = self.shared.look(|state| state.endpoint.poll_transmit(now)) {
            let Some(bytes) = self.wrapping.wrap(packet) else {
                log::warn!("a packet does not fit the modulus, and was not sent");
                continue;
            };
            match self.tx.send(Batch::single(bytes.into(), self.peer)) {
                Ok(Sent::Taken) => {}
                Ok(Sent::Pending) => {
                    self.is_pending = true;
                    return;
                }
                Err(error) => return self.handle_send_error(&error),
            }
        }
    }

    fn handle_send_error(&mut self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                self.is_deaf = true;
            }
            _ => self.handle_carrier_error(error),
        }
    }

    fn handle_carrier_error(&mut self, error: &io::Error) {
        self.shared.tell_application(|state| match error.kind() {
            io::ErrorKind::UnexpectedEof if WithinFrame::is_in(error) => {
                state.endpoint.handle_carrier_end(CarrierEnd::Cut);
            }
            // An old endpoint that leaves without having read everything resets the connection, and means no more.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                state.endpoint.handle_carrier_end(CarrierEnd::Closed);
            }
            // Told once for each packet: who has been heard may be back.
            io::ErrorKind::ConnectionRefused if state.endpoint.has_heard() => {}
            io::ErrorKind::ConnectionRefused => state.endpoint.fail(StreamError::Refused {
                reason: "nothing listens there".into(),
            }),
            io::ErrorKind::InvalidData if !state.endpoint.has_heard() => state.endpoint.fail(StreamError::Mismatch {
                reason: format!("what came first is none of the classic protocol: {error}"),
                ours: 0,
                theirs: 0,
            }),
            io::ErrorKind::InvalidData => state.endpoint.fail(StreamError::Violation {
                reason: error.to_string(),
            }),
            _ => state.endpoint.fail(StreamError::os("the carrier failed", error)),
        });
    }

    /// A peer of another mode hears what is spoken here.
    fn say_goodbye(&mut self, deadline: Instant) {
        let is_foreign = self
            .shared
            .look(|state| matches!(state.endpoint.error(), Some(StreamError::Mismatch { theirs: 1.., .. })));
        if is_foreign && !self.is_deaf && !self.is_pending {
            let card = Batch::single(self.wrapping.business_card(&[]).into(), self.peer);
            // It is a courtesy.
            if let Ok(Sent::Pending) = self.tx.send(card) {
                let _ = self.tx.flush(Some(deadline));
            }
        }
    }
}
