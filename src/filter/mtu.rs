//! A link that carries packets up to some size, and says nothing about larger ones (an MTU black hole).

use super::{Counters, Filter, Packet, Rule, Tally, Verdict};
use std::time::Instant;

/// Drops packets that are too large.
#[derive(Debug)]
pub struct Mtu {
    tally: Tally,
    max_bytes: usize,
}

impl Mtu {
    /// Lets packets of up to `max_bytes` through. IP and UDP headers are not counted.
    pub fn new(name: impl Into<String>, max_bytes: usize) -> Self {
        Self {
            tally: Tally::new(name),
            max_bytes,
        }
    }
}

impl<T> Filter<T> for Mtu {
    fn handle(&mut self, packet: Packet<T>, _: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.tally.enter();
        self.tally.drop_if(packet.bytes.len() > self.max_bytes, packet, out)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Mtu { max_bytes } = rule else {
            return false;
        };
        self.max_bytes = usize::try_from(*max_bytes).unwrap_or(usize::MAX);
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
    use super::super::tests::origin;
    use super::*;

    #[test]
    fn the_limit_itself_still_passes() {
        let (mut mtu, mut out) = (Mtu::new("mtu", 100), Vec::new());
        for bytes in [0, 100, 101] {
            mtu.handle(
                Packet {
                    bytes: vec![0; bytes],
                    tag: (),
                },
                origin(),
                &mut out,
            );
        }
        assert_eq!(
            out.iter().map(|packet| packet.bytes.len()).collect::<Vec<_>>(),
            [0, 100]
        );
    }
}
