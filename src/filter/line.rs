//! A line sends packets one after the other. When it does is what its [`Pace`] says: a rate, or the recording of one.

use super::held::Held;
use super::{Counters, Filter, Packet, Rule, Tally, Verdict};
use std::time::{Duration, Instant};

/// Sends packets one after the other, and drops those for which the queue in front has no room.
#[derive(Debug)]
pub struct Line<T, P> {
    tally: Tally,
    pace: P,
    is_winding_down: bool,
    held: Held<T>,
}

/// What waits for a line, the packet that is being sent included.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// When a line sends.
pub trait Pace: Send {
    /// Whether a packet of that size may wait.
    fn has_room(&self, bytes: u64, waiting: Waiting) -> bool;

    /// Books a packet, and says how long it takes until its last bit has left.
    fn book(&mut self, bytes: u64, now: Instant) -> Duration;

    /// As [`Filter::retune`].
    fn retune<T>(&mut self, rule: &Rule, now: Instant, held: &mut Held<T>) -> bool {
        let _ = (rule, now, held);
        false
    }
}

impl<T, P> Line<T, P> {
    pub(super) fn at(name: impl Into<String>, pace: P) -> Self {
        Self {
            tally: Tally::new(name),
            pace,
            is_winding_down: false,
            held: Held::new(),
        }
    }
}

impl<T: Send, P: Pace> Filter<T> for Line<T, P> {
    fn handle(&mut self, packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.held.release(now, out);
        self.tally.enter();
        if self.is_winding_down {
            return self.held.hold(packet, now, Duration::ZERO, out);
        }
        let bytes = packet.bytes.len() as u64;
        let waiting = Waiting {
            packets: self.held.packets(),
            bytes: self.held.bytes(),
        };
        if !self.pace.has_room(bytes, waiting) {
            return self.tally.note(Verdict::Drop);
        }
        let hold = self.pace.book(bytes, now);
        let verdict = self.held.hold(packet, now, hold, out);
        self.tally.note(verdict)
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Packet<T>>) {
        self.held.release(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.held.next_timeout()
    }

    fn retune(&mut self, rule: &Rule, now: Instant) -> bool {
        self.pace.retune(rule, now, &mut self.held)
    }

    fn wind_down(&mut self) -> bool {
        self.is_winding_down = true;
        true
    }

    fn name(&self) -> &str {
        &self.tally.name
    }

    fn counters(&self) -> Counters {
        Counters {
            held: self.held.packets(),
            ..self.tally.counters
        }
    }
}
