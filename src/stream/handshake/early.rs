//! Datagrams that came too early: kept, in small number, until their keys are there.
//!
//! Reordering is common at the very moment when levels change, and a packet kept is a time-out saved. A stranger can
//! fill the few places; then the peer sends again, as after a loss.

use std::time::Instant;

use super::MAX_EARLY_DATAGRAMS;

/// Bytes kept of datagrams that nobody has authenticated: a stranger may send large ones.
const MAX_EARLY_BYTES: usize = MAX_EARLY_DATAGRAMS * 1500;

/// A handful of datagrams with the time of their arrival.
#[derive(Debug)]
pub(super) struct Early {
    datagrams: Vec<(Vec<u8>, Instant)>,
    max_bytes: usize,
}

impl Default for Early {
    /// For datagrams of anybody.
    fn default() -> Self {
        Self {
            datagrams: Vec::new(),
            max_bytes: MAX_EARLY_BYTES,
        }
    }
}

impl Early {
    /// For datagrams that the peer has sealed: only their number is limited.
    pub(super) fn authentic() -> Self {
        Self {
            datagrams: Vec::new(),
            max_bytes: usize::MAX,
        }
    }

    /// Keeps a copy while there are fewer than `places`, at most [`MAX_EARLY_DATAGRAMS`]. Returns whether it is kept
    /// now; a second copy of the same datagram needs no second place.
    pub(super) fn keep(&mut self, datagram: &[u8], now: Instant, places: usize) -> bool {
        if self.datagrams.iter().any(|(kept, _)| kept == datagram) {
            return true;
        }
        let bytes: usize = self.datagrams.iter().map(|(kept, _)| kept.len()).sum();
        if self.datagrams.len() >= places.min(MAX_EARLY_DATAGRAMS) || bytes + datagram.len() > self.max_bytes {
            return false;
        }
        self.datagrams.push((datagram.to_vec(), now));
        true
    }

    /// Gives up all of them, in the order of their arrival.
    pub(super) fn take(&mut self) -> Vec<(Vec<u8>, Instant)> {
        std::mem::take(&mut self.datagrams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    fn large_datagrams_of_strangers_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut early = Early::default();
        for n in 0..8 {
            assert!(!early.keep(&vec![n; 60_000], now, 8), "{n}");
        }
        for n in 0..8 {
            assert!(early.keep(&vec![n; 1472], now, 8), "{n}");
        }
        assert!(!early.keep(&[9; 1], now, 8), "no place is left");
        assert!(Early::authentic().keep(&vec![0; 60_000], now, 8));
    }
}
