//! Why a handshake cannot go on, and what the peer is told about it (RFC 9000, section 10.2).
//!
//! The sentences are read on both sides, so they speak of neither.

use std::time::{Duration, Instant};

use super::CLOSING_PERIOD;
use crate::crypto::engine::EngineError;
use crate::error::StreamError;
use crate::wire::close_code;
use crate::wire::frame::MAX_REASON_BYTES;

/// A closing side repeats its reason at most this often. Shorter than the time-out of a peer that asks again.
const CLOSE_INTERVAL: Duration = Duration::from_millis(200);

/// Encryption levels (RFC 9001, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Initial,
    Handshake,
    OneRtt,
}

/// This side has closed and repeats why.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) code: u64,
    pub(super) reason: String,
    /// Levels that still have to be told, the next one last.
    due: Vec<Level>,
    /// No answer before then.
    silent_until: Instant,
    /// Nobody asks any more.
    pub(super) until: Instant,
}

impl Closing {
    /// `levels`: those that the peer may have keys for. `deadline`: when the peer would have given up waiting.
    pub(super) fn new(code: u64, reason: &str, levels: Vec<Level>, deadline: Instant, now: Instant) -> Self {
        Self {
            code,
            reason: shortened(reason).to_owned(),
            due: levels,
            silent_until: now + CLOSE_INTERVAL,
            until: deadline.max(now + CLOSING_PERIOD),
        }
    }

    /// The peer still sends: it has not heard the reason (RFC 9000, section 10.2.1).
    pub(super) fn handle_datagram(&mut self, levels: Vec<Level>, now: Instant) {
        if now >= self.silent_until {
            self.due = levels;
            self.silent_until = now + CLOSE_INTERVAL;
        }
    }

    /// The level to be told next.
    pub(super) fn next_level(&self) -> Option<Level> {
        self.due.last().copied()
    }

    /// It was told.
    pub(super) fn on_sent(&mut self) {
        self.due.pop();
    }
}

/// As much of a sentence as a `CONNECTION_CLOSE` takes, cut between two characters.
pub(super) fn shortened(reason: &str) -> &str {
    let end = (0..=reason.len().min(MAX_REASON_BYTES))
        .rev()
        .find(|end| reason.is_char_boundary(*end));
    &reason[..end.unwrap_or(0)]
}

/// Why an exchange cannot go on.
pub(super) enum Stop {
    /// The peer closed.
    Closed(StreamError),
    /// We close.
    Refuse {
        code: u64,
        reason: String,
        error: StreamError,
    },
}

pub(super) fn violation(code: u64, reason: &str) -> Stop {
    Stop::Refuse {
        code,
        reason: reason.to_owned(),
        error: StreamError::Violation {
            reason: reason.to_owned(),
        },
    }
}

pub(super) fn late_bytes() -> Stop {
    violation(
        close_code::PROTOCOL_VIOLATION,
        "handshake bytes at a level that is over",
    )
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        let said = error.to_string();
        match error {
            EngineError::Identity(reason) => {
                // The error's own sentence speaks of "the peer", and here the peer is the one who reads it.
                Self::Refuse {
                    code: close_code::IDENTITY,
                    reason: reason.clone(),
                    error: StreamError::Identity { reason },
                }
            }
            EngineError::Untrusted { reason, told } => Self::Refuse {
                code: close_code::IDENTITY,
                reason: told,
                error: StreamError::Identity { reason },
            },
            EngineError::Protocol(_) => Self::Refuse {
                code: close_code::PROTOCOL_VIOLATION,
                reason: said.clone(),
                error: StreamError::Violation { reason: said },
            },
            EngineError::Config(_) => Self::Refuse {
                code: close_code::INTERNAL,
                reason: close_code::name(close_code::INTERNAL).to_owned(),
                error: StreamError::Invalid { reason: said },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"x".repeat(1000)).len(), MAX_REASON_BYTES);
        let wide = "\u{20ac}".repeat(200);
        let cut = shortened(&wide);
        assert!(cut.len() <= MAX_REASON_BYTES && cut.len() > MAX_REASON_BYTES - 3);
    }
}
