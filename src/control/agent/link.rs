//! The thread that reports, and when: ten times a second while somebody listens, seldom while nobody does, and once more at
//! the end.

use crate::control::client::Client;
use crate::control::clock;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Ten times a second.
pub(super) const REPORT_TIME: Duration = Duration::from_millis(100);
/// After a failure, longer with each one.
const RETRY: Duration = Duration::from_millis(200);
const MAX_RETRY: Duration = Duration::from_secs(1);
/// How long the end of a program waits for its last report, unless the controller never answered.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a long poll is kept open.
pub(super) const POLL_SECONDS: u64 = 10;
/// How often an old controller is asked, which knows no long polls.
pub(super) const OLD_POLL: Duration = Duration::from_millis(500);

/// Which words a controller understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// All of them.
    Ours,
    /// `/config` and `/statistics` of the original.
    Old,
}

impl Dialect {
    /// Asks.
    pub(super) fn of(client: &Client) -> Option<Self> {
        let config = client.get("/config").ok()?;
        Some(if config.get("revision").is_some() {
            Self::Ours
        } else {
            Self::Old
        })
    }
}

/// Whether it is over, and a way to wait for that.
#[derive(Debug, Default)]
pub(super) struct Over {
    ended: Mutex<bool>,
    changed: Condvar,
    has_worked: AtomicBool,
    has_failed: AtomicBool,
}

impl Over {
    pub(super) fn end(&self) {
        *self.ended.lock() = true;
        self.changed.notify_all();
    }

    /// The controller has answered.
    pub(super) fn note_answer(&self) {
        self.has_worked.store(true, Ordering::Release);
    }

    /// An attempt to reach it came to nothing.
    pub(super) fn note_failure(&self) {
        self.has_failed.store(true, Ordering::Release);
    }

    /// A last report may be of use: the controller has answered before, or the program ends so soon that nothing is known
    /// of it yet.
    pub(super) fn is_worth_a_word(&self) -> bool {
        self.has_worked.load(Ordering::Acquire) || !self.has_failed.load(Ordering::Acquire)
    }

    pub(super) fn is_over(&self) -> bool {
        *self.ended.lock()
    }

    /// Waits for the end, but no longer. Whether it has come.
    pub(super) fn wait_until(&self, deadline: Instant) -> bool {
        let mut is_over = self.ended.lock();
        while !*is_over && !self.changed.wait_until(&mut is_over, deadline).timed_out() {}
        *is_over
    }
}

/// When to try again.
#[derive(Debug)]
pub(super) struct Patience(Duration);

impl Patience {
    pub(super) fn new() -> Self {
        Self(RETRY)
    }

    pub(super) fn worked(&mut self) {
        self.0 = RETRY;
    }

    /// How long to wait now.
    pub(super) fn failed(&mut self) -> Duration {
        let now = self.0;
        self.0 = (2 * now).min(MAX_RETRY);
        now
    }
}

/// A thread that is waited for at the end, but not for long: it may be stuck with a controller that hangs.
#[derive(Debug)]
pub(super) struct Reporter {
    done: Receiver<()>,
}

impl Reporter {
    pub(super) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (say, done): (Sender<()>, _) = bounded(0);
        Builder::new().name(name.to_owned()).spawn(move || {
            // Dropped at the end, also by a panic.
            let _say = say;
            body();
        })?;
        Ok(Self { done })
    }

    /// Waits for it a little, if that may be of use.
    pub(super) fn farewell(&self, over: &Over) {
        if over.is_worth_a_word() {
            let _ = self.done.recv_deadline(clock::now() + FAREWELL);
        }
    }
}
