//! What can go wrong with a stream, in words that say what happened and what to do.
//!
//! The API returns `std::io::Error`, with the kind that users of `TcpStream` expect; the typed [`StreamError`] is
//! inside: `error.get_ref().and_then(|e| e.downcast_ref::<StreamError>())`, or [`StreamError::of`].

use std::io;
use std::time::Duration;

/// Which time limit fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// No complete handshake within the connect time-out.
    Connect,
    /// No authentic packet within the idle time-out.
    Idle,
    /// A read waited longer than the read time-out. Nothing is lost, the stream stays usable.
    Read,
    /// A write waited longer than the write time-out. Nothing was written, the stream stays usable.
    Write,
    /// `finish` or the linger time ended before the peer had everything.
    Finish,
    /// An accept waited longer than its time-out.
    Accept,
}

impl Limit {
    fn words(self) -> &'static str {
        match self {
            Self::Connect => "no answer within the connect time-out",
            Self::Idle => "nothing was heard from the peer within the idle time-out",
            Self::Read => "no data within the read time-out",
            Self::Write => "no room to write within the write time-out",
            Self::Finish => "the peer did not take everything within the time given to finish",
            Self::Accept => "nobody connected within the accept time-out",
        }
    }
}

/// Why a stream, or a call on it, failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer turned us away, or nothing listens there (`ConnectionRefused`). Check address, port and that the
    /// other side runs on the same subsystem.
    #[error("connection refused: {reason}")]
    Refused {
        /// What the peer or the network said.
        reason: String,
    },
    /// A time limit fired (`TimedOut`).
    #[error("timed out: {} ({})", limit.words(), seconds(*after))]
    TimedOut {
        /// Which limit.
        limit: Limit,
        /// Its length.
        after: Duration,
    },
    /// The peer aborted the stream or has lost its state (`ConnectionReset`). What was not acknowledged may be lost.
    #[error("connection reset by the peer: {reason}")]
    Reset {
        /// What the peer said.
        reason: String,
    },
    /// Another handle of this stream aborted it (`ConnectionAborted`).
    #[error("the stream was aborted by this side")]
    Aborted,
    /// Writing after `shutdown(Write)` or `finish`, or after the peer stopped reading (`BrokenPipe`).
    #[error("cannot write: {reason}")]
    BrokenPipe {
        /// Who ended the direction.
        reason: String,
    },
    /// The stream ended without the peer's end mark: what was read is a prefix, not the whole (`UnexpectedEof`).
    #[error("the stream was cut: {read} bytes came in order, and no end mark")]
    Truncated {
        /// Bytes delivered in order before the cut.
        read: u64,
    },
    /// The peer broke the protocol, or a reliable carrier delivered garbage (`InvalidData`). Not recoverable.
    #[error("protocol violation: {reason}")]
    Violation {
        /// Which rule.
        reason: String,
    },
    /// The peer's identity was refused, by us or by it (`PermissionDenied`).
    #[error("identity refused: {reason}")]
    Identity {
        /// Which side refused, and why.
        reason: String,
    },
    /// The two sides speak different modes or versions (`Unsupported`).
    #[error("{reason}")]
    Mismatch {
        /// What each side speaks.
        reason: String,
        /// The version that we speak.
        ours: u32,
        /// The version that the peer speaks, 0 if it did not say.
        theirs: u32,
    },
    /// The listener was closed, or the stream never got connected (`NotConnected`).
    #[error("not connected: {reason}")]
    NotConnected {
        /// What is missing.
        reason: String,
    },
    /// `finish` ended with bytes that the peer's stack has not acknowledged (`TimedOut` if the time was over,
    /// `ConnectionReset` if the connection was). Nobody knows whether they arrived.
    #[error("{bytes} bytes were not acknowledged: {reason}")]
    Unacknowledged {
        /// How many.
        bytes: u64,
        /// Why no more will be.
        reason: String,
        /// The time was over; the stream lives on.
        timed_out: bool,
    },
    /// An option that cannot be (`InvalidInput`), for example a time-out of zero.
    #[error("invalid option: {reason}")]
    Invalid {
        /// Which one, and what is allowed.
        reason: String,
    },
    /// The operating system refused something (kind kept).
    #[error("{what}: {message}")]
    Os {
        /// What we were doing.
        what: String,
        /// What the system said.
        message: String,
        /// Its kind.
        kind: io::ErrorKind,
    },
    /// A thread of the stream panicked: a fault of this library. Please report it (`Other`).
    #[error("a thread of the stream failed; this is a fault of securestream, please report it")]
    Internal,
}

impl StreamError {
    /// The typed error inside an `io::Error` that this crate returned.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }

    /// The kind that users of `std::net` match on.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Refused { .. } => io::ErrorKind::ConnectionRefused,
            Self::TimedOut { .. } | Self::Unacknowledged { timed_out: true, .. } => io::ErrorKind::TimedOut,
            Self::Reset { .. } | Self::Unacknowledged { .. } => io::ErrorKind::ConnectionReset,
            Self::Aborted => io::ErrorKind::ConnectionAborted,
            Self::BrokenPipe { .. } => io::ErrorKind::BrokenPipe,
            Self::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            Self::Violation { .. } => io::ErrorKind::InvalidData,
            Self::Identity { .. } => io::ErrorKind::PermissionDenied,
            Self::Mismatch { .. } => io::ErrorKind::Unsupported,
            Self::NotConnected { .. } => io::ErrorKind::NotConnected,
            Self::Invalid { .. } => io::ErrorKind::InvalidInput,
            Self::Os { kind, .. } => *kind,
            Self::Internal => io::ErrorKind::Other,
        }
    }

    /// Wraps an error of the operating system, saying what we were doing.
    pub fn os(what: impl Into<String>, error: &io::Error) -> Self {
        Self::Os {
            what: what.into(),
            message: error.to_string(),
            kind: error.kind(),
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        Self::new(error.kind(), error)
    }
}

fn seconds(after: Duration) -> String {
    format!("{} s", after.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typed_error_can_be_reached_through_io_error() {
        let error: io::Error = StreamError::TimedOut {
            limit: Limit::Read,
            after: Duration::from_millis(1500),
        }
        .into();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "timed out: no data within the read time-out (1.5 s)");
        assert!(matches!(
            StreamError::of(&error),
            Some(StreamError::TimedOut { limit: Limit::Read, .. })
        ));
    }
}
