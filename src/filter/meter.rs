//! What a rule was seen to do, so that it can be held against what it was asked to do.
//!
//! Sums only; whoever reads them divides. They begin anew when the settings of the rule change.

use super::Verdict;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// Sums over the verdicts of one rule since its settings last changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Packets that entered.
    pub seen: u64,
    /// Packets that the rule did something to.
    pub hit: u64,
    /// Packets that it dropped.
    pub dropped: u64,
    /// Runs of packets dropped one after the other.
    pub bursts: u64,
    /// The times for which packets were held, added up, in nanoseconds.
    pub hold_nanos: u128,
    /// Their squares, in microseconds squared.
    pub hold_micros_squared: u128,
    /// Packets that were not dropped, in bytes.
    pub served_bytes: u64,
    /// The time in which there was something to serve, if they were served one after the other, in nanoseconds.
    pub busy_nanos: u128,
}

impl AddAssign for Measured {
    /// Rules that do the same to the packets of different clients.
    fn add_assign(&mut self, more: Self) {
        self.seen += more.seen;
        self.hit += more.hit;
        self.dropped += more.dropped;
        self.bursts += more.bursts;
        self.hold_nanos += more.hold_nanos;
        self.hold_micros_squared += more.hold_micros_squared;
        self.served_bytes += more.served_bytes;
        self.busy_nanos += more.busy_nanos;
    }
}

/// Makes these sums.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) sums: Measured,
    last_dropped: bool,
    last_departure: Option<Instant>,
}

impl Meter {
    pub(super) fn note(&mut self, verdict: Verdict, bytes: usize, at: Instant) {
        let sums = &mut self.sums;
        let hold = match verdict {
            Verdict::Skip => return,
            Verdict::Delay(hold) => hold,
            _ => Duration::ZERO,
        };
        sums.seen += 1;
        sums.hit += u64::from(verdict != Verdict::Pass);
        if verdict == Verdict::Drop {
            sums.dropped += 1;
            sums.bursts += u64::from(!self.last_dropped);
            self.last_dropped = true;
            return;
        }
        self.last_dropped = false;
        sums.hold_nanos += hold.as_nanos();
        sums.hold_micros_squared += hold.as_micros() * hold.as_micros();
        let departure = at + hold;
        let begin = self.last_departure.map_or(at, |last| last.max(at));
        sums.served_bytes += bytes as u64;
        sums.busy_nanos += departure.saturating_duration_since(begin).as_nanos();
        self.last_departure = Some(departure);
    }

    /// Packets that the driver of the chain held in place of the rule.
    pub(super) fn note_whole(&mut self, packets: u64, hold: Duration) {
        self.sums.seen += packets;
        if !hold.is_zero() {
            self.sums.hit += packets;
        }
        self.sums.hold_nanos += hold.as_nanos() * u128::from(packets);
        self.sums.hold_micros_squared += hold.as_micros() * hold.as_micros() * u128::from(packets);
    }

    /// A packet that was held is dropped after all.
    pub(super) fn note_given_up(&mut self) {
        self.sums.dropped += 1;
    }

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}
