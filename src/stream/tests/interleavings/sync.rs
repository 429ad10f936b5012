//! What `stream/sync.rs` is to the library, on a scheduler that chooses at each step which thread goes on.

use std::cell::Cell;
use std::time::{Duration, Instant};

pub(super) use shuttle::sync::atomic::{AtomicU64, Ordering};
pub(super) use shuttle::sync::mpsc::{Receiver, SyncSender as Sender, sync_channel as bounded};
pub(super) use shuttle::thread::{Thread, current, park};

/// A lock that knows no poison, as that of the library.
#[derive(Debug)]
pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        self.0.lock().expect("a panic ends the execution")
    }
}

thread_local! {
    /// All threads of an execution run on one thread of the system.
    static CLOCK: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

fn pass(time: Duration) -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the start of virtual time"
    )]
    let (start, passed) = CLOCK.get().unwrap_or_else(|| (Instant::now(), Duration::ZERO));
    CLOCK.set(Some((start, passed + time)));
    start + passed + time
}

/// Before each execution: its schedule alone decides what time it is.
pub(super) fn restart_clock() {
    CLOCK.set(None);
}

/// Time passes whenever somebody looks at it.
pub(super) fn now() -> Instant {
    pass(Duration::from_micros(1))
}

/// Others run for a while, and half of the time is over. It wakes too early, as the real one may.
pub(super) fn park_timeout(length: Duration) {
    pass(length / 2 + Duration::from_micros(1));
    shuttle::thread::yield_now();
}
