//! Streams and handshakes that are over: their late packets are answered with the close, or with silence.
//!
//! RFC 9000, section 10.2. Sans-IO.

use crate::wire::packet::ConnectionId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

/// What goes to an address, for each byte that came from there (RFC 9000, section 8): a probe is small.
const AMPLIFICATION: usize = 3;
/// A dead stream answers this many late packets at most.
const ANSWERS: u32 = 8;
/// Handshakes that left nothing to say are remembered up to this many. Others may begin once more, in vain.
const MAX_SILENT: usize = 4096;

#[derive(Debug)]
struct Grave {
    close: Option<Vec<u8>>,
    until: Instant,
    received: u32,
    answered: u32,
}

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// Its id was never here, or was forgotten.
    Unknown,
    /// It is for a dead one, and gets no answer.
    Silence,
    /// It gets this one.
    Answer(Vec<u8>),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Graves {
    dead: HashMap<ConnectionId, Grave>,
    silent: usize,
    deadlines: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
}

impl Graves {
    /// Packets to `id` are answered with `close`, or with silence.
    pub(super) fn bury(&mut self, id: ConnectionId, close: Option<Vec<u8>>, until: Instant) {
        if close.is_none() && self.silent >= MAX_SILENT {
            return;
        }
        self.silent += usize::from(close.is_none());
        let grave = Grave {
            close,
            until,
            received: 0,
            answered: 0,
        };
        let before = self.dead.insert(id, grave);
        self.silent -= usize::from(before.is_some_and(|grave| grave.close.is_none()));
        self.deadlines.push(Reverse((until, id)));
    }

    /// Says what to do about a packet of `bytes` to `id`. It answers ever more rarely, and a few times only: two that
    /// have both closed must not talk without end.
    pub(super) fn late(&mut self, id: ConnectionId, bytes: usize) -> Late {
        let Some(grave) = self.dead.get_mut(&id) else {
            return Late::Unknown;
        };
        grave.received += 1;
        match &grave.close {
            Some(close)
                if close.len() <= AMPLIFICATION * bytes
                    && grave.answered < ANSWERS
                    && grave.received.is_power_of_two() =>
            {
                grave.answered += 1;
                Late::Answer(close.clone())
            }
            _ => Late::Silence,
        }
    }

    /// Some have an answer to give.
    pub(super) fn is_answering(&self) -> bool {
        self.dead.len() > self.silent
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Forgets those whose time is over.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.deadlines.peek().copied()
            && at <= now
        {
            self.deadlines.pop();
            if self.dead.get(&id).is_some_and(|grave| grave.until <= now) {
                let gone = self.dead.remove(&id);
                self.silent -= usize::from(gone.is_some_and(|grave| grave.close.is_none()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn id(number: u64) -> ConnectionId {
        ConnectionId(number.to_be_bytes())
    }

    #[test]
    fn a_close_is_repeated_ever_more_rarely_and_never_amplifies() {
        let now = epoch();
        let mut graves = Graves::default();
        graves.bury(id(1), Some(vec![7; 30]), now + Duration::from_secs(1));
        assert_eq!(graves.late(id(1), 9), Late::Silence, "30 bytes for 9 are too many");
        let answers = (0..10_000).filter(|_| graves.late(id(1), 10) != Late::Silence);
        assert_eq!(answers.count(), 8);
        assert_eq!(graves.late(id(2), 1200), Late::Unknown);
    }

    #[test]
    fn the_dead_are_forgotten_in_time_and_the_silent_ones_are_few() {
        let now = epoch();
        let mut graves = Graves::default();
        for number in 0..2 * MAX_SILENT as u64 {
            graves.bury(id(number), None, now + Duration::from_secs(1));
        }
        graves.bury(id(0), None, now + Duration::from_secs(2));
        assert!(!graves.is_answering());
        graves.bury(id(u64::MAX), Some(vec![1]), now + Duration::from_secs(1));
        assert!(graves.is_answering());
        assert_eq!(graves.dead.len(), MAX_SILENT + 1);
        assert_eq!(graves.late(id(MAX_SILENT as u64), 9), Late::Unknown);
        graves.handle_timeout(now + Duration::from_secs(1));
        assert!(!graves.is_answering());
        assert_eq!((graves.dead.len(), graves.silent), (0, 0));
        graves.handle_timeout(now + Duration::from_secs(2));
        assert_eq!(graves.next_timeout(), None);
    }

    #[test]
    fn a_second_burial_lasts_as_long_as_it_says() {
        let now = epoch();
        let mut graves = Graves::default();
        graves.bury(id(1), None, now + Duration::from_secs(1));
        graves.bury(id(1), Some(vec![1]), now + Duration::from_secs(3));
        graves.handle_timeout(now + Duration::from_secs(2));
        assert_eq!(graves.late(id(1), 9), Late::Answer(vec![1]));
        assert_eq!(graves.silent, 0);
        graves.handle_timeout(now + Duration::from_secs(3));
        assert_eq!(graves.late(id(1), 9), Late::Unknown);
    }
}
