//! The one deadline of a stream, from the send thread to the timer thread.
//!
//! Deadlines move with nearly every packet, mostly to later. So the wanted one is a published number. The timer thread,
//! when it wakes and the deadline has moved on, sleeps again without a word to anybody; it is told by a message only when
//! it sleeps longer than is wanted now.

use super::sync::{AtomicU64, Ordering, Sender, bounded};
use std::time::{Duration, Instant};

/// No deadline.
const NEVER: u64 = u64::MAX;

/// Times are nanoseconds since `start`.
#[derive(Debug)]
pub(crate) struct Alarm {
    start: Instant,
    wanted: AtomicU64,
    asleep_until: AtomicU64,
}

/// What the timer thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The deadline has passed. It is told once.
    Due,
    /// Sleep until then, or until a message comes.
    Sleep(Option<Instant>),
}

impl Alarm {
    /// Without a deadline.
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            wanted: AtomicU64::new(NEVER),
            asleep_until: AtomicU64::new(NEVER),
        }
    }

    /// From the send thread: the deadline is this from now on.
    pub(crate) fn set(&self, deadline: Option<Instant>, wake: &Sender<()>) {
        let wanted = deadline.map_or(NEVER, |at| self.nanos(at));
        self.wanted.store(wanted, Ordering::SeqCst);
        // Pairs with the stores and loads of `look`: either the timer thread sees this deadline before it sleeps, or we
        // see until when it does.
        if wanted < self.asleep_until.load(Ordering::SeqCst) {
            // Full: it is woken already. It is gone only after a panic.
            let _ = wake.try_send(());
        }
    }

    /// From the timer thread: what to do now.
    pub(crate) fn look(&self, now: Instant) -> Look {
        let now = self.nanos(now);
        loop {
            let wanted = self.wanted.load(Ordering::SeqCst);
            if wanted <= now {
                let taken = self
                    .wanted
                    .compare_exchange(wanted, NEVER, Ordering::SeqCst, Ordering::SeqCst);
                if taken.is_ok() {
                    return Look::Due;
                }
                continue;
            }
            self.asleep_until.store(wanted, Ordering::SeqCst);
            if self.wanted.load(Ordering::SeqCst) >= wanted {
                let at = (wanted != NEVER).then(|| self.start + Duration::from_nanos(wanted));
                return Look::Sleep(at);
            }
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_nanos() as u64
    }
}

/// The messages of [`Alarm::set`].
pub(crate) fn messages() -> (Sender<()>, super::sync::Receiver<()>) {
    bounded(1)
}
