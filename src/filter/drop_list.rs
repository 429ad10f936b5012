//! Drops the packets of a list: a scripted fault, or the replay of a recorded one.

use super::{Counters, Filter, Packet, Rule, Tally, Verdict};
use std::time::Instant;

/// Drops packets by their ordinal; the first packet is 1.
#[derive(Debug)]
pub struct DropList {
    tally: Tally,
    /// Ascending.
    ordinals: Vec<u64>,
}

impl DropList {
    /// Drops the packets with these ordinals, in whatever order they are given.
    pub fn new(name: impl Into<String>, ordinals: impl IntoIterator<Item = u64>) -> Self {
        let mut ordinals: Vec<_> = ordinals.into_iter().collect();
        ordinals.sort_unstable();
        Self {
            tally: Tally::new(name),
            ordinals,
        }
    }
}

impl<T> Filter<T> for DropList {
    fn handle(&mut self, packet: Packet<T>, _: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        let ordinal = self.tally.enter();
        self.tally
            .drop_if(self.ordinals.binary_search(&ordinal).is_ok(), packet, out)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::DropList { ordinals } = rule else {
            return false;
        };
        self.ordinals.clone_from(ordinals);
        self.ordinals.sort_unstable();
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
    fn drops_the_listed_packets_and_no_others() {
        use Verdict::{Drop, Pass};
        let mut list = DropList::new("drop_list", [5, 1, 3, 3, 900]);
        assert_eq!(verdicts(&mut list, 6), [Drop, Pass, Drop, Pass, Drop, Pass]);
        assert_eq!(Filter::<u64>::counters(&list).dropped, 3);
    }
}
