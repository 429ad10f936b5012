//! Some packets are overtaken.

use super::held::Held;
use super::{Counters, Dice, Filter, Packet, Rule, Tally, Verdict, chance};
use std::time::{Duration, Instant};

/// Holds a share of the packets back while the others pass.
#[derive(Debug)]
pub struct Reorder<T> {
    tally: Tally,
    dice: Dice,
    chance: f64,
    hold: Duration,
    held: Held<T>,
}

impl<T> Reorder<T> {
    /// `pct` percent (0 to 100) of the packets wait for `hold`.
    pub fn new(name: impl Into<String>, dice: Dice, pct: f64, hold: Duration) -> Self {
        Self {
            tally: Tally::new(name),
            dice,
            chance: chance(pct),
            hold,
            held: Held::new(),
        }
    }
}

impl<T: Send> Filter<T> for Reorder<T> {
    fn handle(&mut self, packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.held.release(now, out);
        let ordinal = self.tally.enter();
        if self.hold.is_zero() || !self.dice.hits(ordinal, self.chance) {
            out.push(packet);
            return Verdict::Pass;
        }
        let hold = self.held.push(packet, now, self.hold);
        self.tally.note(Verdict::Delay(hold))
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Packet<T>>) {
        self.held.release(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.held.next_timeout()
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Reorder { pct, hold } = rule else {
            return false;
        };
        self.chance = chance(*pct);
        self.hold = *hold;
        true
    }

    fn name(&self) -> &str {
        &self.tally.name
    }

    fn counters(&self) -> Counters {
        Counters {
            held: self.held.packets(),
            ..self.tally.counters
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, numbered, origin};
    use super::*;
    use crate::filter::Direction;

    #[test]
    fn a_packet_that_is_hit_is_overtaken_until_its_time_is_up() {
        let dice = Dice::new(1, "reorder", Direction::Upstream);
        let hit = (1..1000)
            .find(|&ordinal| dice.hits(ordinal, 0.25))
            .expect("one in four");
        let (start, mut out) = (origin(), Vec::new());
        let mut reorder = Reorder::new("reorder", dice, 25.0, ms(10));
        for number in 1..=hit {
            reorder.handle(numbered(number), start, &mut out);
        }
        assert!(!out.contains(&numbered(hit)));
        assert_eq!(reorder.counters().held, 1);
        assert_eq!(reorder.next_timeout(), Some(start + ms(10)));
        reorder.poll(start + ms(9), &mut out);
        assert!(!out.contains(&numbered(hit)));
        reorder.poll(start + ms(10), &mut out);
        assert_eq!(out.last(), Some(&numbered(hit)));
    }

    #[test]
    fn what_was_due_leaves_before_a_new_packet() {
        let dice = Dice::new(1, "reorder", Direction::Upstream);
        let (start, mut out) = (origin(), Vec::new());
        let mut reorder = Reorder::new("reorder", dice, 100.0, ms(10));
        reorder.handle(numbered(1), start, &mut out);
        reorder.handle(numbered(2), start + ms(20), &mut out);
        assert_eq!(out, [numbered(1)]);
    }
}
