//! Drops the next few packets: the "drop one now" of a person who watches.

use super::{Counters, Filter, Packet, Rule, Tally, Verdict};
use std::time::Instant;

/// Drops the first packets that it sees, then none.
#[derive(Debug)]
pub struct Next {
    tally: Tally,
    left: u64,
}

impl Next {
    /// Drops `packets` packets.
    pub fn new(name: impl Into<String>, packets: u64) -> Self {
        Self {
            tally: Tally::new(name),
            left: packets,
        }
    }
}

impl<T> Filter<T> for Next {
    fn handle(&mut self, packet: Packet<T>, _: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.tally.enter();
        let hit = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.tally.drop_if(hit, packet, out)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Next { packets } = rule else {
            return false;
        };
        self.left = *packets;
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
}
