//! The deadlines of a stream. One place to ask for the next, and to ask which has passed.

use std::time::Instant;

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Timer {
    /// Loss by time, or a probe (RFC 9002, appendix A.8).
    Loss,
    /// An acknowledgement is due.
    Ack,
    /// Nothing authentic was heard for too long.
    Idle,
    /// A PING is due to keep the path and the peer alive.
    KeepAlive,
    /// The path challenge has not been answered.
    Path,
    /// The closing state is over (RFC 9000, section 10.2).
    Close,
}

const COUNT: usize = 6;

/// See the module.
#[derive(Debug, Default)]
pub struct Timers([Option<Instant>; COUNT]);

impl Timers {
    /// Sets or clears a deadline.
    pub fn set(&mut self, timer: Timer, deadline: Option<Instant>) {
        self.0[timer as usize] = deadline;
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Whether `timer` is due.
    pub fn is_due(&self, timer: Timer, now: Instant) -> bool {
        self.0[timer as usize].is_some_and(|deadline| deadline <= now)
    }

    /// Stops all.
    pub fn clear(&mut self) {
        self.0 = [None; COUNT];
    }
}
