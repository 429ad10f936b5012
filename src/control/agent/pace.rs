//! How slowly a receiver reads: the `recv_delay` of the controller.
//!
//! It is slept after each read of the application, so that the receive window fills up and closes. The network does not
//! become slower by it, only the reader.

use crate::control::clock;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most that one read takes while there is a delay.
const READ_BYTES: usize = 2048;

#[derive(Debug, Default)]
struct Wish {
    delay: Duration,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    wish: Mutex<Wish>,
    changed: Condvar,
}

/// See the module. Clones are of one receiver. One that is made by `default` never waits.
#[derive(Clone, Debug, Default)]
pub struct Pace(Arc<Shared>);

impl Pace {
    /// How many bytes the next read may take, of `most`.
    pub fn read_limit(&self, most: usize) -> usize {
        if self.0.wish.lock().delay.is_zero() {
            most
        } else {
            most.min(READ_BYTES)
        }
    }

    /// Waits as long as the controller wants. A delay that is changed meanwhile counts from the same read.
    pub fn after_read(&self) {
        let mut wish = self.0.wish.lock();
        if wish.delay.is_zero() {
            return;
        }
        let read: Instant = clock::now();
        while !wish.is_over && clock::now() < read + wish.delay {
            let until = read + wish.delay;
            self.0.changed.wait_until(&mut wish, until);
        }
    }

    /// The delay that is wanted now.
    pub fn delay(&self) -> Duration {
        self.0.wish.lock().delay
    }

    pub(super) fn set(&self, delay: Duration) {
        self.0.wish.lock().delay = delay;
        self.0.changed.notify_all();
    }

    /// No more waiting.
    pub(super) fn end(&self) {
        let mut wish = self.0.wish.lock();
        wish.is_over = true;
        wish.delay = Duration::ZERO;
        drop(wish);
        self.0.changed.notify_all();
    }
}
