//! What the handles of a stream and its worker share: the endpoint behind one lock, and a bell in each direction.
//!
//! One lock is enough here: the window has ten packets, and nobody holds it while waiting or while RSA computes.

use super::endpoint::Endpoint;
use crate::subsystem::Waker;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See the module.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    worker: Arc<dyn Waker>,
}

/// What stands behind the lock.
pub(super) struct State {
    pub(super) endpoint: Endpoint,
    /// The worker shall go when it next looks.
    pub(super) leave: bool,
    /// It has gone.
    pub(super) gone: bool,
}

impl Shared {
    pub(super) fn new(endpoint: Endpoint, worker: Arc<dyn Waker>) -> Self {
        Self {
            state: Mutex::new(State {
                endpoint,
                leave: false,
                gone: false,
            }),
            changed: Condvar::new(),
            worker,
        }
    }

    /// What wakes the worker.
    pub(super) fn waker(&self) -> Arc<dyn Waker> {
        Arc::clone(&self.worker)
    }

    /// Looks at the state, or changes it without news for anybody.
    pub(super) fn look<R>(&self, access: impl FnOnce(&mut State) -> R) -> R {
        access(&mut self.state.lock())
    }

    /// Changes the state for the worker to act on.
    pub(super) fn tell_worker<R>(&self, access: impl FnOnce(&mut State) -> R) -> R {
        let result = access(&mut self.state.lock());
        self.worker.wake();
        result
    }

    /// Changes the state for blocked calls to look at.
    pub(super) fn tell_application<R>(&self, access: impl FnOnce(&mut State) -> R) -> R {
        let result = access(&mut self.state.lock());
        self.changed.notify_all();
        result
    }

    /// Asks until there is an answer, at most until the deadline.
    pub(super) fn wait<R>(&self, deadline: Option<Instant>, mut ask: impl FnMut(&mut State) -> Option<R>) -> Option<R> {
        let mut state = self.state.lock();
        loop {
            if let Some(answer) = ask(&mut state) {
                return Some(answer);
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        return ask(&mut state);
                    }
                }
            }
        }
    }
}

/// Whether the moment has come.
#[expect(clippy::disallowed_methods, reason = "blocking calls keep their deadlines")]
pub(super) fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// The moment at which a call with this time-out ends.
#[expect(clippy::disallowed_methods, reason = "blocking calls turn time-outs into deadlines")]
pub(super) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}
