//! The packet filters of the original by name, for [`Filtered`](crate::impair::Filtered) and [`bridge`](super::bridge):
//! functions that see a packet, may change it, and say whether it goes on.
//!
//! ```
//! use securestream::classic::{RandomDrop, Statistics, chain};
//! use securestream::filter::Direction;
//! use securestream::impair::Filtered;
//! use securestream::subsystem::memory;
//!
//! let (left, _right) = memory::pair();
//! let (tried, sent) = (Statistics::new(), Statistics::new());
//! let lossy = chain([
//!     tried.filter(),
//!     RandomDrop::new(20.0, 7, Direction::Upstream).filter(),
//!     sent.filter(),
//! ]);
//! let left = Filtered::new(left).transmit(lossy);
//! ```

use crate::filter::{Dice, Direction};
use crate::impair::PacketFilter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The original's filter that drops packets by chance. Its 0 % drops none and its 100 % all, and a seed repeats.
#[derive(Clone, Debug)]
pub struct RandomDrop {
    dice: Dice,
    chance: f64,
    ordinal: u64,
}

impl RandomDrop {
    /// Drops `pct` percent, 0 to 100.
    pub fn new(pct: f64, seed: u64, direction: Direction) -> Self {
        Self {
            dice: Dice::new(seed, "drop", direction),
            chance: if pct > 0.0 { pct / 100.0 } else { 0.0 },
            ordinal: 0,
        }
    }

    /// Whether the next packet is dropped.
    pub fn drops_next(&mut self) -> bool {
        self.ordinal += 1;
        self.dice.hits(self.ordinal, self.chance)
    }

    /// The filter.
    pub fn filter(mut self) -> PacketFilter {
        Box::new(move |_| !self.drops_next())
    }
}

/// The original's filter that counts. Clones count together, and may be read while the filter is in use.
#[derive(Clone, Debug, Default)]
pub struct Statistics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Statistics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Packets so far.
    pub fn packets(&self) -> u64 {
        self.0.packets.load(Ordering::Relaxed)
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// A filter that counts what passes, and lets it pass.
    pub fn filter(&self) -> PacketFilter {
        let counts = Arc::clone(&self.0);
        Box::new(move |packet| {
            counts.packets.fetch_add(1, Ordering::Relaxed);
            counts.bytes.fetch_add(packet.len() as u64, Ordering::Relaxed);
            true
        })
    }
}

/// Several filters as one, in this order: the original's `CompositeMutator`. What one drops, the next ones do not see.
pub fn chain(filters: impl IntoIterator<Item = PacketFilter>) -> PacketFilter {
    let mut filters: Vec<_> = filters.into_iter().collect();
    Box::new(move |packet| filters.iter_mut().all(|filter| filter(packet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drops(pct: f64, seed: u64) -> Vec<bool> {
        let mut filter = RandomDrop::new(pct, seed, Direction::Upstream).filter();
        (0..1000).map(|_| !filter(&mut vec![1])).collect()
    }

    #[test]
    fn none_at_0_percent_all_at_100_and_the_same_for_the_same_seed() {
        assert!(drops(0.0, 1).iter().all(|drop| !drop));
        assert!(drops(100.0, 1).iter().all(|drop| *drop));
        assert_eq!(drops(30.0, 1), drops(30.0, 1));
        assert_ne!(drops(30.0, 1), drops(30.0, 2));
        let share = drops(30.0, 1).iter().filter(|drop| **drop).count();
        assert!((250..350).contains(&share), "{share} of 1000");
    }

    #[test]
    fn a_chain_runs_in_order_and_stops_at_the_first_that_drops() {
        let (before, behind) = (Statistics::new(), Statistics::new());
        let mut odd = false;
        let every_second: PacketFilter = Box::new(move |packet| {
            packet.push(0);
            odd = !odd;
            odd
        });
        let mut filter = chain([before.filter(), every_second, behind.filter()]);
        for _ in 0..6 {
            filter(&mut vec![1, 2]);
        }
        assert_eq!((before.packets(), before.bytes()), (6, 12));
        assert_eq!((behind.packets(), behind.bytes()), (3, 9));
        assert!(chain([])(&mut Vec::new()), "no filter lets everything pass");
    }
}
