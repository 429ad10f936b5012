//! Drops the next few packets: the "drop one now" of a person who watches.

use super::{Counters, Filter, Packet, Rule, Tally, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Drops the first packets that it sees, then none.
#[derive(Debug)]
pub struct Next {
    tally: Tally,
    left: Arc<AtomicU64>,
}

impl Next {
    /// Drops `packets` packets.
    pub fn new(name: impl Into<String>, packets: u64) -> Self {
        Self::sharing(name, Arc::new(AtomicU64::new(packets)))
    }

    /// Drops as many as `left` says, which others count down too: the next packets, whoever of many clients sends them.
    pub fn sharing(name: impl Into<String>, left: Arc<AtomicU64>) -> Self {
        Self {
            tally: Tally::new(name),
            left,
        }
    }
}

impl<T> Filter<T> for Next {
    fn handle(&mut self, packet: Packet<T>, _: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.tally.enter();
        let one_less = |left: u64| left.checked_sub(1);
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        let hit = taken.is_ok();
        self.tally.drop_if(hit, packet, out)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Next { packets } = rule else {
            return false;
        };
        self.left.store(*packets, Ordering::Relaxed);
        true
    }

    fn name(&self) -> &str {
        &self.tally.name
    }

    fn counters(&self) -> Counters {
        self.tally.counters
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::verdicts;
    use super::*;

    #[test]
    fn drops_as_many_as_asked_for_then_none() {
        use Verdict::{Drop, Pass};
        assert_eq!(verdicts(&mut Next::new("next", 2), 4), [Drop, Drop, Pass, Pass]);
        assert_eq!(verdicts(&mut Next::new("next", 0), 1), [Pass]);
    }

    #[test]
    fn those_that_share_a_number_drop_so_many_together() {
        let left = Arc::new(AtomicU64::new(3));
        let [mut one, mut other] = [(); 2].map(|()| Next::sharing("next", Arc::clone(&left)));
        assert_eq!(verdicts(&mut one, 2), [Verdict::Drop; 2]);
        assert_eq!(verdicts(&mut other, 2), [Verdict::Drop, Verdict::Pass]);
        assert_eq!(verdicts(&mut one, 1), [Verdict::Pass]);
    }
}
