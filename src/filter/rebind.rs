//! Another address from some time on: a NAT that has forgotten its entry, a laptop that has changed the network.
//!
//! An address is no part of a packet: it stands in the tag, whose type is the owner's. So the filter is told how to
//! change a tag, and there is no word for it in the one-line grammar. What is sent to the old address is the owner's
//! matter, too; a simulated network loses it.

use super::{Counters, Filter, Packet, Tally, Verdict};
use std::time::{Duration, Instant};

/// Lets every packet pass and, from some time after the first one on, changes their tags.
#[derive(Debug)]
pub struct Rebind<F> {
    tally: Tally,
    after: Duration,
    change: F,
    started: Option<Instant>,
}

impl<F> Rebind<F> {
    /// `change` is called for each packet that comes `after` the first, or later.
    pub fn new(name: impl Into<String>, after: Duration, change: F) -> Self {
        Self {
            tally: Tally::new(name),
            after,
            change,
            started: None,
        }
    }
}

impl<T, F: FnMut(&mut T) + Send> Filter<T> for Rebind<F> {
    fn handle(&mut self, mut packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.tally.enter();
        let running = now.saturating_duration_since(*self.started.get_or_insert(now));
        if running >= self.after {
            self.tally.counters.hit += 1;
            (self.change)(&mut packet.tag);
        }
        out.push(packet);
        Verdict::Pass
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
    use super::super::tests::{ms, numbered, origin};
    use super::*;

    #[test]
    fn tags_change_from_the_given_time_on_and_bytes_never_do() {
        let change = |tag: &mut u64| *tag += 100;
        let mut rebind = Rebind::new("rebind", ms(20), change);
        let (start, mut out) = (origin(), Vec::new());
        for at in [0, 19, 20, 50] {
            let verdict = rebind.handle(numbered(at), start + ms(at), &mut out);
            assert_eq!(verdict, Verdict::Pass);
        }
        let tags: Vec<_> = out.iter().map(|packet| packet.tag).collect();
        assert_eq!(tags, [0, 19, 120, 150]);
        assert_eq!(out[2].bytes, numbered(20).bytes);
        let counters = Filter::<u64>::counters(&rebind);
        assert_eq!((counters.seen, counters.hit), (4, 2));
    }
}
