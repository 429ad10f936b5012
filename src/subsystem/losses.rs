//! Packets that a sending half gave up, counted. A subsystem loses packets in silence; this is where one can look.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts packets that were never put on the wire. Shared: it may be read while the subsystem is in use.
#[derive(Debug, Default)]
pub struct SendLosses {
    oversize: AtomicU64,
    dropped: AtomicU64,
}

impl SendLosses {
    /// Packets larger than the carrier takes (on UDP: than the path is known to take).
    pub fn oversize_pkts(&self) -> u64 {
        self.oversize.load(Ordering::Relaxed)
    }

    /// Packets dropped because a queue was full or the network could not be reached.
    pub fn dropped_pkts(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn count_oversize(&self, packets: usize) {
        self.oversize.fetch_add(packets as u64, Ordering::Relaxed);
    }

    pub(super) fn count_dropped(&self, packets: usize) {
        self.dropped.fetch_add(packets as u64, Ordering::Relaxed);
    }
}
