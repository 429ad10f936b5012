//! Everything is lost: a cut cable.

use super::{Counters, Filter, Packet, Rule, Tally, Verdict};
use std::time::Instant;

/// Drops every packet.
#[derive(Debug)]
pub struct Blackhole {
    tally: Tally,
}

impl Blackhole {
    /// A hole of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            tally: Tally::new(name),
        }
    }
}

impl<T> Filter<T> for Blackhole {
    fn handle(&mut self, packet: Packet<T>, _: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.tally.enter();
        self.tally.drop_if(true, packet, out)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        matches!(rule, Rule::Blackhole)
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
    fn nothing_comes_through() {
        assert_eq!(verdicts(&mut Blackhole::new("blackhole"), 3), [Verdict::Drop; 3]);
    }
}
