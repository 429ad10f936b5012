//! One direction of a simulated network: filter chains in virtual time, and the books over them.

use crate::filter::{Chain, Direction, Packet, Spec};
use crate::proto::ecn::Mark;
use std::time::{Duration, Instant};

/// What becomes of ECN marks on a link (RFC 3168).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marks {
    /// Nobody sees any, as on TCP.
    #[default]
    Hidden,
    /// They arrive as they were sent.
    Kept,
    /// A queue marks ECT packets as CE that took longer than this from end to end, instead of dropping them.
    CeAfter(Duration),
    /// Something on the way marks all ECT packets as CE, queue or not.
    CeAlways,
    /// Something on the way drops all ECT packets.
    Dropped,
}

/// What a link keeps beside the bytes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// The path of the sender or, downstream, the one that the packet shall take.
    pub(super) path: u64,
    /// What the sender wrote into the IP header.
    mark: Option<Mark>,
    sent_at: Instant,
    /// Of the bytes that were sent, to find out whether they were changed.
    checksum: u32,
}

/// What became of the packets of one direction. `sent + duplicated = delivered + damaged + misrouted + dropped +
/// in_flight` at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets that the endpoint sent.
    pub sent: u64,
    /// Extra packets that a filter made.
    pub duplicated: u64,
    /// Packets that arrived as they were sent.
    pub delivered: u64,
    /// Packets that arrived with changed bytes.
    pub damaged: u64,
    /// Packets for an address that the peer no longer has.
    pub misrouted: u64,
    /// Packets that a filter dropped.
    pub dropped: u64,
    /// Packets held by a filter.
    pub in_flight: u64,
}

impl LinkCounters {
    /// Whether every packet is accounted for.
    pub fn add_up(&self) -> bool {
        self.sent + self.duplicated == self.delivered + self.damaged + self.misrouted + self.dropped + self.in_flight
    }
}

/// A packet that has come through.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) bytes: Vec<u8>,
    pub(super) path: u64,
    pub(super) is_damaged: bool,
    pub(super) mark: Option<Mark>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    seed: u64,
    direction: Direction,
    /// The last one is in force; packets in earlier ones finish their way.
    chains: Vec<Chain<Tag>>,
    out: Vec<Packet<Tag>>,
    counters: LinkCounters,
    marks: Marks,
}

impl Link {
    pub(super) fn new(seed: u64, direction: Direction, spec: &Spec) -> Self {
        let mut link = Self {
            seed,
            direction,
            chains: Vec::new(),
            out: Vec::new(),
            counters: LinkCounters::default(),
            marks: Marks::default(),
        };
        link.replace(spec);
        link
    }

    /// Packets sent from now on meet the faults of `spec`. Each chain of a link has dice of its own.
    pub(super) fn replace(&mut self, spec: &Spec) {
        let seed = self.seed.wrapping_add((self.chains.len() as u64) << 32);
        self.chains.push(spec.chain(seed, self.direction));
    }

    /// Packets that arrive from now on have the mark that `marks` leaves them.
    pub(super) fn set_marks(&mut self, marks: Marks) {
        self.marks = marks;
    }

    /// The rules in force go on with the settings of `spec`, and keep what they hold.
    pub(super) fn retune(&mut self, spec: &Spec, now: Instant) {
        let chain = self.chains.last_mut().expect("there is always one in force");
        for (index, rule) in spec.rules(self.direction).enumerate() {
            assert!(chain.retune(index, rule, now), "rule {index} is no {rule}");
        }
    }

    pub(super) fn send(&mut self, bytes: Vec<u8>, path: u64, mark: Option<Mark>, now: Instant) {
        self.counters.sent += 1;
        if mark.is_some() && self.marks == Marks::Dropped {
            self.counters.dropped += 1;
            return;
        }
        let checksum = crc32c::crc32c(&bytes);
        let packet = Packet {
            bytes,
            tag: Tag {
                path,
                mark,
                sent_at: now,
                checksum,
            },
        };
        let chain = self.chains.last_mut().expect("there is always one in force");
        chain.handle(packet, now, &mut self.out);
    }

    /// What has come through by `now`.
    pub(super) fn poll(&mut self, now: Instant, arrived: &mut Vec<Arrived>) {
        for chain in &mut self.chains {
            chain.poll(now, &mut self.out);
        }
        for Packet { bytes, tag } in self.out.drain(..) {
            let is_damaged = crc32c::crc32c(&bytes) != tag.checksum;
            let mark = tag.mark.and_then(|mark| match self.marks {
                Marks::Hidden => None,
                Marks::Kept | Marks::Dropped => Some(mark),
                Marks::CeAlways => Some(Mark::Ce),
                Marks::CeAfter(limit) => Some(if now.saturating_duration_since(tag.sent_at) > limit {
                    Mark::Ce
                } else {
                    mark
                }),
            });
            arrived.push(Arrived {
                is_damaged,
                mark,
                path: tag.path,
                bytes,
            });
        }
    }

    pub(super) fn note_arrival(&mut self, is_damaged: bool) {
        if is_damaged {
            self.counters.damaged += 1;
        } else {
            self.counters.delivered += 1;
        }
    }

    pub(super) fn note_misrouted(&mut self) {
        self.counters.misrouted += 1;
    }

    /// When something will have come through; the past if something has.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.chains.iter().filter_map(Chain::next_timeout).min()
    }

    pub(super) fn has_arrivals(&self) -> bool {
        !self.out.is_empty()
    }

    pub(super) fn counters(&self) -> LinkCounters {
        let mut counters = self.counters;
        for chain in &self.chains {
            let of_chain = chain.counters();
            counters.duplicated += of_chain.duplicated;
            counters.dropped += of_chain.dropped;
            counters.in_flight += of_chain.in_flight;
        }
        counters.in_flight += self.out.len() as u64;
        counters
    }
}
