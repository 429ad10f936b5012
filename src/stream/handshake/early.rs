//! Datagrams that came too early: kept, in small number, until their keys are there.
//!
//! Reordering is common at the very moment when levels change, and a packet kept is a time-out saved. A stranger can
//! fill the few places; then the peer sends again, as after a loss.

use std::time::Instant;

use super::MAX_EARLY_DATAGRAMS;

/// A handful of datagrams with the time of their arrival.
#[derive(Debug, Default)]
pub(super) struct Early {
    datagrams: Vec<(Vec<u8>, Instant)>,
}

impl Early {
    /// Keeps a copy while there are fewer than `places`, at most [`MAX_EARLY_DATAGRAMS`]. Returns whether it is kept
    /// now; a second copy of the same datagram needs no second place.
    pub(super) fn keep(&mut self, datagram: &[u8], now: Instant, places: usize) -> bool {
        if self.datagrams.iter().any(|(kept, _)| kept == datagram) {
            return true;
        }
        if self.datagrams.len() >= places.min(MAX_EARLY_DATAGRAMS) {
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
