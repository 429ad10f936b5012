//! What the meeting places of a stream's threads stand on: locks, atomics, parking, the doorbell and the clock.
//!
//! Monitor, mailbox, outbox, alarm and pipe take these from here only. Tests compile the same files once more against a
//! `sync` whose scheduler tries many interleavings (`tests/interleavings`).

use std::time::Instant;

pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::thread::{Thread, current, park, park_timeout};

/// The time at which a call waits, or a window is tuned.
#[expect(clippy::disallowed_methods, reason = "waiting with a deadline needs the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
