//! The socket of a connected pair of halves, which the sending half may replace while the receiving one uses it.

use super::socket::Shared;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    current: Mutex<Arc<Shared>>,
    changes: AtomicUsize,
}

impl Line {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            current: Mutex::new(shared),
            changes: AtomicUsize::new(0),
        }
    }

    /// From now on this one. Wake the receiver then.
    pub(super) fn replace(&self, shared: Arc<Shared>) {
        *self.current.lock() = shared;
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// The socket, if there were changes after the first `seen`. Costs one load if not.
    pub(super) fn news(&self, seen: &mut usize) -> Option<Arc<Shared>> {
        let changes = self.changes.load(Ordering::Acquire);
        if changes == *seen {
            return None;
        }
        *seen = changes;
        Some(Arc::clone(&self.current.lock()))
    }
}
