//! A value that threads wait on: a lock and a list of parked threads.
//!
//! Threads are woken after the lock is released, so they do not run into it.

use super::sync::{self, Mutex, Thread};
use std::time::Instant;

#[derive(Debug)]
struct Inner<T> {
    value: T,
    waiters: Vec<Thread>,
}

/// Says during an access that whoever waits should look again.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    all: bool,
    waiting: bool,
}

impl Wake {
    /// Wakes all waiters when this access is over.
    pub(crate) fn all(&mut self) {
        self.all = true;
    }

    /// Somebody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Monitor<T>(Mutex<Inner<T>>);

impl<T> Monitor<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Inner {
            value,
            waiters: Vec::new(),
        }))
    }

    /// Looks at and changes the value. `access` must not block.
    pub(crate) fn with<R>(&self, access: impl FnOnce(&mut T, &mut Wake) -> R) -> R {
        let mut inner = self.0.lock();
        let mut wake = Wake {
            all: false,
            waiting: !inner.waiters.is_empty(),
        };
        let result = access(&mut inner.value, &mut wake);
        let woken = if wake.all {
            std::mem::take(&mut inner.waiters)
        } else {
            Vec::new()
        };
        drop(inner);
        for thread in woken {
            thread.unpark();
        }
        result
    }

    /// Waits until `look` returns something. `None` when the deadline has passed and it still does not.
    pub(crate) fn wait<R>(
        &self,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut T, &mut Wake) -> Option<R>,
    ) -> Option<R> {
        loop {
            let found = self.with(|value, wake| look(value, wake));
            if found.is_some() {
                return found;
            }
            // Look again while registering: what happened in between must not be missed.
            let mut inner = self.0.lock();
            let mut wake = Wake {
                all: false,
                waiting: !inner.waiters.is_empty(),
            };
            let found = look(&mut inner.value, &mut wake);
            if found.is_some() {
                let woken = if wake.all {
                    std::mem::take(&mut inner.waiters)
                } else {
                    Vec::new()
                };
                drop(inner);
                woken.iter().for_each(Thread::unpark);
                return found;
            }
            inner.waiters.push(sync::current());
            drop(inner);
            let in_time = match deadline {
                None => {
                    sync::park();
                    true
                }
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(sync::now());
                    if !left.is_zero() {
                        sync::park_timeout(left);
                    }
                    sync::now() < deadline
                }
            };
            let me = sync::current().id();
            self.0.lock().waiters.retain(|thread| thread.id() != me);
            if !in_time {
                return self.with(|value, wake| look(value, wake));
            }
        }
    }
}
