//! How a connection ends: closing, draining, and the rules for closing by itself. RFC 9000, section 10.

use super::packet_builder::PacketBuilder;
use super::send_half::SendHalf;
use super::timer::Timer;
use super::transmit::{Transmit, transmit};
use super::update::{Close, Update};
use crate::wire::frame::{Frame, close_code};
use std::time::{Duration, Instant};

/// How often a close is said again when the peer does not answer it, after one probe time-out, two, four and so on.
/// RFC 9000, section 10.2 leaves it to late packets of the peer to draw the close again, within three probe time-outs;
/// but a peer whose packets were lost has backed off beyond that, and would not learn that all is well.
const CLOSE_REPEATS: u32 = 3;

/// How long a close that must go out at once may wait for its carrier.
const LAST_WORD: Duration = Duration::from_millis(1);

/// Longest wait before the first repeat.
pub const LONGEST_CLOSE_WAIT: Duration = Duration::from_millis(300);

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Both directions were complete, or our application left after the peer had everything.
    Complete,
    /// The peer closed, with its code.
    Peer(Close),
    /// Our application aborted.
    Aborted,
    /// The peer broke a rule; this is what we told it.
    Violation(Close),
    /// Nothing authentic was heard within the idle time-out.
    Idle,
    /// The peer knows nothing of this connection any more.
    StateLost,
    /// The keys must not be used any more.
    KeysExhausted,
    /// The carrier failed, with its words.
    CarrierLost(String),
}

/// A connection that we closed.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    ended: Ended,
    close: Close,
    due: bool,
    packets_since: u64,
    repeats_left: u32,
    /// Until the next repeat, or the end.
    wait: Duration,
}

/// Where a connection is in its life.
#[derive(Clone, Debug)]
pub(super) enum Life {
    Open,
    /// We closed: late packets are answered with our close until the time is over.
    Closing(Closing),
    /// The peer closed: one close of ours lets it go at once.
    Draining(Closing),
    Closed(Ended),
}

impl Life {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    pub(super) fn ended(&self) -> Option<&Ended> {
        match self {
            Self::Open => None,
            Self::Closing(closing) | Self::Draining(closing) => Some(&closing.ended),
            Self::Closed(ended) => Some(ended),
        }
    }

    pub(super) fn close_for_good(&mut self) {
        if let Some(ended) = self.ended() {
            *self = Self::Closed(ended.clone());
        }
    }
}

impl SendHalf {
    /// Aborts: the peer's calls fail with a reset.
    pub fn abort(&mut self, now: Instant) {
        if self.life.is_open() {
            let close = Close {
                code: close_code::ABORTED,
                reason: "aborted by the application".into(),
            };
            self.begin_closing(now, Ended::Aborted, close);
        }
    }

    /// The application dropped its last handle: nobody reads any more and nobody waits for the peer's application.
    /// The connection closes as soon as the peer has everything that was written.
    pub fn abandon(&mut self, now: Instant) {
        self.abandoned = true;
        self.finish();
        self.close_if_complete(now);
    }

    /// Aborts, and says nothing more to a peer that does not answer. A close that has not gone out yet still does, once.
    pub fn leave(&mut self, now: Instant) {
        self.abort(now);
        self.timers.clear();
        match &self.life {
            Life::Closing(closing) if closing.due => {
                self.life = Life::Draining(closing.clone());
                self.timers.set(Timer::Close, Some(now + LAST_WORD));
            }
            _ => self.life.close_for_good(),
        }
    }

    /// The peer knows nothing of this connection any more: it is over, without a word (RFC 9000, section 10.3.1).
    pub(super) fn state_lost(&mut self) {
        match self.life {
            Life::Open => self.life = Life::Closed(Ended::StateLost),
            _ => self.life.close_for_good(),
        }
        self.timers.clear();
    }

    /// The keys are used up: the stream must end.
    pub fn keys_exhausted(&mut self) {
        self.life = Life::Closed(Ended::KeysExhausted);
        self.timers.clear();
    }

    /// The carrier failed: nothing can be sent any more.
    pub fn carrier_lost(&mut self, reason: String) {
        match self.life {
            Life::Open => self.life = Life::Closed(Ended::CarrierLost(reason)),
            _ => self.life.close_for_good(),
        }
        self.timers.clear();
    }

    /// We found a broken rule ourselves.
    pub(super) fn close(&mut self, now: Instant, code: u64, reason: &str) {
        self.close_for_violation(
            now,
            Close {
                code,
                reason: reason.into(),
            },
        );
    }

    pub(super) fn close_for_violation(&mut self, now: Instant, close: Close) {
        if self.life.is_open() {
            self.begin_closing(now, Ended::Violation(close.clone()), close);
        }
    }

    fn begin_closing(&mut self, now: Instant, ended: Ended, close: Close) {
        let wait = self.close_wait();
        self.life = Life::Closing(Closing {
            ended,
            close,
            due: true,
            packets_since: 0,
            repeats_left: CLOSE_REPEATS,
            wait,
        });
        self.timers.clear();
        self.timers.set(Timer::Close, Some(now + wait));
    }

    /// Until the close goes out again. The peer has a say in the probe time-out, but not in how long we stay for it.
    fn close_wait(&self) -> Duration {
        self.pto().min(LONGEST_CLOSE_WAIT)
    }

    /// Nobody has answered our close: it goes out again, until there is no hope.
    pub(super) fn handle_close_timeout(&mut self, now: Instant) {
        match &mut self.life {
            Life::Closing(closing) if closing.repeats_left > 0 => {
                closing.repeats_left -= 1;
                closing.due = true;
                closing.wait *= 2;
                self.timers.set(Timer::Close, Some(now + closing.wait));
            }
            _ => {
                self.life.close_for_good();
                self.timers.clear();
            }
        }
    }

    /// The peer closed. What it acknowledged before counts; one answer goes back (RFC 9000, section 10.2.2).
    pub(super) fn handle_peer_close(&mut self, now: Instant, close: Close) {
        if self.life.is_open() {
            let answer = Close {
                code: close_code::NO_ERROR,
                reason: String::new(),
            };
            let complete = close.code == close_code::NO_ERROR && self.buffer.is_finished() && self.receive_done;
            let ended = if complete { Ended::Complete } else { Ended::Peer(close) };
            self.life = Life::Draining(Closing {
                ended,
                close: answer,
                due: true,
                packets_since: 0,
                repeats_left: 0,
                wait: Duration::ZERO,
            });
            self.timers.clear();
            // The answer may never go out on a carrier that takes nothing.
            let wait = self.close_wait();
            self.timers.set(Timer::Close, Some(now + wait));
        }
    }

    /// Closes when nothing is left to do: the peer has all that we sent and its FIN has come, and both applications
    /// know all they can learn.
    pub fn close_if_complete(&mut self, now: Instant) {
        let sent = self.buffer.is_finished() || self.stopped.is_some();
        if !self.life.is_open() || !sent {
            return;
        }
        if self.receive_done && (self.abandoned || (self.peer_consumed && self.consumed_is_known())) {
            let close = Close {
                code: close_code::NO_ERROR,
                reason: String::new(),
            };
            self.begin_closing(now, Ended::Complete, close);
        } else if self.abandoned {
            let close = Close {
                code: close_code::APPLICATION_GONE,
                reason: "the application has left".into(),
            };
            self.begin_closing(now, Ended::Complete, close);
        }
    }

    /// Late packets are answered with our close, ever more rarely; the peer's close ends the wait.
    pub(super) fn handle_update_while_closing(&mut self, now: Instant, update: &mut Update) {
        if update.closed.is_some() {
            self.life.close_for_good();
            self.timers.clear();
            return;
        }
        if let Life::Closing(closing) = &mut self.life {
            closing.packets_since += 1;
            closing.due |= closing.packets_since.is_power_of_two();
        }
        self.acks.handle_update(update);
        let _ = now;
    }

    pub(super) fn poll_close(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        let (Life::Closing(closing) | Life::Draining(closing)) = &mut self.life else {
            return None;
        };
        if !closing.due {
            return None;
        }
        closing.due = false;
        let close = closing.close.clone();
        self.skip_number();
        let mut builder = PacketBuilder::new(
            // Small: a path that has shrunk must carry it too, and every caller has room for it.
            &mut buffer[..self.pmtu.base()],
            &self.header,
            self.next_pn,
            self.detector.largest_acked(),
        );
        // A final ACK, so that the peer knows what arrived.
        self.acks.write_frames(&mut builder, now);
        self.control.write_last_words(&mut builder);
        builder.write(&Frame::ConnectionClose {
            code: close.code,
            reason: close.reason.as_bytes(),
        });
        let built = builder.finish();
        self.note_sent(&built, self.ecn.is_marking(), now);
        if matches!(self.life, Life::Draining(_)) {
            self.life.close_for_good();
        }
        Some(transmit(&built, self.paths.active()))
    }
}
