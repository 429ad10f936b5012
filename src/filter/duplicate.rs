//! Copies of packets, right behind the original.

use super::{Counters, Dice, Filter, Packet, Rule, Tally, Verdict, chance};
use std::time::Instant;

/// Sends a share of the packets more than once.
#[derive(Debug)]
pub struct Duplicate {
    tally: Tally,
    dice: Dice,
    chance: f64,
    copies: u32,
}

impl Duplicate {
    /// `pct` percent (0 to 100) of the packets get `copies` copies each.
    pub fn new(name: impl Into<String>, dice: Dice, pct: f64, copies: u32) -> Self {
        Self {
            tally: Tally::new(name),
            dice,
            chance: chance(pct),
            copies,
        }
    }
}

impl<T: Clone> Filter<T> for Duplicate {
    fn handle(&mut self, packet: Packet<T>, _: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        let ordinal = self.tally.enter();
        if self.copies == 0 || !self.dice.hits(ordinal, self.chance) {
            out.push(packet);
            return Verdict::Pass;
        }
        out.extend((0..self.copies).map(|_| packet.clone()));
        out.push(packet);
        self.tally.note(Verdict::Duplicate(self.copies))
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Duplicate { pct, copies } = rule else {
            return false;
        };
        self.chance = chance(*pct);
        self.copies = *copies;
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
    use super::super::tests::{numbered, origin};
    use super::*;
    use crate::filter::Direction;

    #[test]
    fn copies_follow_the_original_and_are_counted() {
        let dice = Dice::new(1, "duplicate", Direction::Upstream);
        let (mut all, mut out) = (Duplicate::new("duplicate", dice, 100.0, 2), Vec::new());
        assert_eq!(all.handle(numbered(1), origin(), &mut out), Verdict::Duplicate(2));
        assert_eq!(out, [numbered(1), numbered(1), numbered(1)]);
        assert_eq!(Filter::<u64>::counters(&all).added, 2);
        let mut none = Duplicate::new("duplicate", dice, 0.0, 2);
        assert_eq!(none.handle(numbered(2), origin(), &mut out), Verdict::Pass);
        assert_eq!(out.len(), 4);
    }
}
