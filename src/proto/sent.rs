//! Packets sent and not yet known to be acknowledged or lost. RFC 9002 appendix A.1.
//!
//! A ring indexed by packet number: no hashing and no allocation per packet. Lost packets leave the ring,
//! but their numbers stay remembered for a while, so that a late acknowledgement is known as late; skipped
//! numbers stay remembered, so that an acknowledgement of one is known as a lie.
//!
//! It must not know what packets carry, nor when a packet counts as lost.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Instant;

use super::congestion::delivery_rate;

/// Lost packets remembered.
const MAX_LOST: usize = 1024;
/// Skipped numbers remembered.
const MAX_SKIPPED: usize = 64;
/// Packets that are not in flight (ACKs alone) remembered at the ring's low end. A side that only receives
/// sends nothing else, and the peer has no reason to acknowledge them.
const MAX_NOT_IN_FLIGHT: usize = 128;

/// A packet on its way.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that is true of a packet"
)]
pub struct Packet<C> {
    /// When it was handed to the subsystem.
    pub time_sent: Instant,
    /// Its size in bytes, all headers of ours included.
    pub size_bytes: u32,
    /// Whether the peer must acknowledge it in time.
    pub ack_eliciting: bool,
    /// Whether it counts against the congestion window.
    pub in_flight: bool,
    /// A probe for the path MTU: its loss says nothing of congestion (RFC 9000, section 14.4).
    pub is_mtu_probe: bool,
    /// It was sent as ECT(0) (RFC 9000, section 13.4).
    pub is_marked: bool,
    /// What it carried: the caller's tokens.
    pub contents: C,
    /// Snapshot for the delivery rate.
    pub rate: delivery_rate::Sent,
}

/// A lost packet, remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its number.
    pub packet_number: u64,
    /// When it was sent.
    pub time_sent: Instant,
    /// When it was found lost.
    pub time_lost: Instant,
}

/// The packets of one packet number space.
#[derive(Debug)]
pub struct SentPackets<C> {
    /// Slot `i` is packet `base + i`. The first and the last slot are always filled.
    ring: VecDeque<Option<Packet<C>>>,
    base: u64,
    largest_sent: Option<u64>,
    bytes_in_flight: u64,
    ack_eliciting_in_flight: u64,
    not_in_flight: usize,
    /// Ascending numbers.
    lost: VecDeque<Lost>,
    /// Ascending.
    skipped: VecDeque<u64>,
}

impl<C> Default for SentPackets<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> SentPackets<C> {
    /// No packets.
    pub const fn new() -> Self {
        Self {
            ring: VecDeque::new(),
            base: 0,
            largest_sent: None,
            bytes_in_flight: 0,
            ack_eliciting_in_flight: 0,
            not_in_flight: 0,
            lost: VecDeque::new(),
            skipped: VecDeque::new(),
        }
    }

    /// Remembers a packet. Numbers rise strictly; gaps are allowed.
    #[inline]
    pub fn insert(&mut self, packet_number: u64, packet: Packet<C>) {
        assert!(
            self.largest_sent.is_none_or(|l| packet_number > l),
            "packet numbers never repeat (RFC 9000 section 12.3)"
        );
        self.largest_sent = Some(packet_number);
        if packet.in_flight {
            self.bytes_in_flight += u64::from(packet.size_bytes);
            self.ack_eliciting_in_flight += u64::from(packet.ack_eliciting);
        } else {
            self.not_in_flight += 1;
        }
        if self.ring.is_empty() {
            self.base = packet_number;
        }
        while self.base + (self.ring.len() as u64) < packet_number {
            self.ring.push_back(None);
        }
        self.ring.push_back(Some(packet));

        while self.ring.len() > MAX_NOT_IN_FLIGHT && matches!(self.ring.front(), Some(Some(p)) if !p.in_flight) {
            self.take(self.base);
        }
    }

    /// Takes a packet out: it was acknowledged or is lost.
    pub fn take(&mut self, packet_number: u64) -> Option<Packet<C>> {
        let index = self.index(packet_number)?;
        let packet = self.ring[index].take()?;
        if packet.in_flight {
            self.bytes_in_flight -= u64::from(packet.size_bytes);
            self.ack_eliciting_in_flight -= u64::from(packet.ack_eliciting);
        } else {
            self.not_in_flight -= 1;
        }
        while matches!(self.ring.front(), Some(None)) {
            self.ring.pop_front();
            self.base += 1;
        }
        while matches!(self.ring.back(), Some(None)) {
            self.ring.pop_back();
        }
        Some(packet)
    }

    /// A packet that is still open.
    pub fn get(&self, packet_number: u64) -> Option<&Packet<C>> {
        self.ring[self.index(packet_number)?].as_ref()
    }

    /// Whether the packet is still open.
    pub fn contains(&self, packet_number: u64) -> bool {
        self.get(packet_number).is_some()
    }

    fn index(&self, packet_number: u64) -> Option<usize> {
        let index = usize::try_from(packet_number.checked_sub(self.base)?).ok()?;
        (index < self.ring.len()).then_some(index)
    }

    /// Open packets, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Packet<C>)> {
        let base = self.base;
        let slots = self.ring.iter().enumerate();
        slots.filter_map(move |(i, slot)| slot.as_ref().map(|p| (base + i as u64, p)))
    }

    /// The open packet with the lowest number.
    pub fn first(&self) -> Option<(u64, &Packet<C>)> {
        let packet = self.ring.front()?.as_ref();
        Some((self.base, packet.expect("the first slot is always filled")))
    }

    /// The lowest open packet that elicits an ACK.
    pub fn first_ack_eliciting(&self) -> Option<(u64, &Packet<C>)> {
        self.iter().find(|(_, p)| p.ack_eliciting)
    }

    /// Gives back memory that is kept for speed only, when the stream falls idle.
    pub fn release_memory(&mut self) {
        self.ring.shrink_to_fit();
        self.lost.shrink_to_fit();
    }

    /// Whether no packet is open.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The highest number ever inserted.
    pub fn largest_sent(&self) -> Option<u64> {
        self.largest_sent
    }

    /// Bytes of open packets that count against the congestion window.
    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight
    }

    /// Number of open packets that are not in flight: ACKs alone. They gather only behind a packet in flight that the
    /// peer does not acknowledge.
    pub fn not_in_flight(&self) -> usize {
        self.not_in_flight
    }

    /// Number of open packets in flight that elicit an ACK.
    pub fn ack_eliciting_in_flight(&self) -> u64 {
        self.ack_eliciting_in_flight
    }

    /// Packets sent from `since` until `until` were held back by the carrier: they count as sent at `until`.
    pub(super) fn hold_back(&mut self, since: Instant, until: Instant) {
        // Send times rise with the numbers, so the search ends at the first older one.
        for packet in self.ring.iter_mut().rev().flatten() {
            if packet.time_sent < since {
                break;
            }
            packet.time_sent = packet.time_sent.max(until);
        }
    }

    /// Takes a packet out as lost and remembers its number.
    pub fn take_lost(&mut self, packet_number: u64, time_lost: Instant) -> Option<Packet<C>> {
        let packet = self.take(packet_number)?;
        if packet.is_mtu_probe {
            // Nobody was told of its loss, so there is nothing to undo.
            return Some(packet);
        }
        if self.lost.len() == MAX_LOST {
            self.lost.pop_front();
        }
        let at = self.lost.partition_point(|l| l.packet_number < packet_number);
        let lost = Lost {
            packet_number,
            time_sent: packet.time_sent,
            time_lost,
        };
        self.lost.insert(at, lost);
        Some(packet)
    }

    /// Whether this number is remembered as lost.
    pub fn was_lost(&self, packet_number: u64) -> bool {
        self.lost
            .binary_search_by_key(&packet_number, |l| l.packet_number)
            .is_ok()
    }

    /// Takes the remembered losses within `range` out: these packets arrived after all.
    pub fn take_spurious(&mut self, range: &RangeInclusive<u64>) -> impl DoubleEndedIterator<Item = Lost> + '_ {
        let from = self.lost.partition_point(|l| l.packet_number < *range.start());
        let to = self.lost.partition_point(|l| l.packet_number <= *range.end());
        self.lost.drain(from..to)
    }

    /// Forgets what was lost before `bound`.
    pub fn forget_lost_before(&mut self, bound: Instant) {
        while self.lost.front().is_some_and(|l| l.time_lost < bound) {
            self.lost.pop_front();
        }
    }

    /// Records a number that is left out on purpose (RFC 9000 section 21.4).
    pub fn skipped(&mut self, packet_number: u64) {
        if self.skipped.len() == MAX_SKIPPED {
            self.skipped.pop_front();
        }
        let at = self.skipped.partition_point(|&s| s < packet_number);
        self.skipped.insert(at, packet_number);
    }

    /// Whether `range` covers a number that was left out.
    pub fn covers_skipped(&self, range: &RangeInclusive<u64>) -> bool {
        let at = self.skipped.partition_point(|s| s < range.start());
        self.skipped.get(at).is_some_and(|s| s <= range.end())
    }

    /// The lowest number of interest in an ACK: open, or remembered as lost.
    pub fn lowest_remembered(&self) -> Option<u64> {
        let open = (!self.ring.is_empty()).then_some(self.base);
        let lost = self.lost.front().map(|l| l.packet_number);
        match (open, lost) {
            (Some(open), Some(lost)) => Some(open.min(lost)),
            (open, lost) => open.or(lost),
        }
    }

    /// Open packets with numbers within `range`, as bounds of a scan; empty if there are none.
    pub(super) fn clip(&self, range: &RangeInclusive<u64>) -> std::ops::Range<u64> {
        let end = self.base + self.ring.len() as u64;
        (*range.start()).max(self.base)..range.end().saturating_add(1).min(end)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do as the origin")]
    fn start() -> Instant {
        Instant::now()
    }

    fn packet(time_sent: Instant, size_bytes: u32, in_flight: bool) -> Packet<u64> {
        Packet {
            time_sent,
            size_bytes,
            ack_eliciting: in_flight,
            in_flight,
            is_mtu_probe: false,
            is_marked: false,
            contents: 0,
            rate: delivery_rate::Sent {
                delivered: 0,
                delivered_at: time_sent,
                first_sent_at: time_sent,
                app_limited: false,
                lost: 0,
                in_flight: 0,
            },
        }
    }

    #[test]
    fn numbers_may_have_gaps() {
        let now = start();
        let mut sent = SentPackets::new();
        sent.insert(7, packet(now, 10, true));
        sent.insert(9, packet(now, 20, true));
        sent.insert(12, packet(now, 40, false));
        assert!(!sent.contains(8) && !sent.contains(6) && !sent.contains(13));
        assert_eq!(sent.bytes_in_flight(), 30);
        assert_eq!(sent.ack_eliciting_in_flight(), 2);
        assert!(sent.take(7).is_some());
        assert!(sent.take(7).is_none());
        assert_eq!(sent.first().unwrap().0, 9);
        assert!(sent.take(12).is_some());
        sent.insert(20, packet(now, 80, true));
        assert_eq!(sent.iter().map(|(pn, _)| pn).collect::<Vec<_>>(), [9, 20]);
        assert_eq!(sent.largest_sent(), Some(20));
        assert_eq!(sent.bytes_in_flight(), 100);
    }

    #[test]
    #[should_panic(expected = "packet numbers never repeat")]
    fn a_number_used_twice_is_a_broken_invariant() {
        let mut sent = SentPackets::new();
        sent.insert(3, packet(start(), 10, true));
        sent.take(3);
        sent.insert(3, packet(start(), 10, true));
    }

    #[test]
    fn acknowledgements_alone_do_not_pile_up() {
        let now = start();
        let mut sent = SentPackets::new();
        for pn in 0..100_000 {
            sent.insert(pn, packet(now, 40, false));
        }
        assert_eq!(sent.iter().count(), MAX_NOT_IN_FLIGHT);
        assert_eq!(sent.first().unwrap().0, 100_000 - MAX_NOT_IN_FLIGHT as u64);
        assert_eq!(sent.first_ack_eliciting().map(|(pn, _)| pn), None);
    }

    #[test]
    fn a_lost_number_is_remembered_until_it_is_seen_or_old() {
        let now = start();
        let mut sent = SentPackets::new();
        for pn in 0..10 {
            sent.insert(pn, packet(now, 10, true));
        }
        for pn in [2, 3, 5] {
            assert!(sent.take_lost(pn, now + Duration::from_secs(pn)).is_some());
            assert!(sent.was_lost(pn) && !sent.contains(pn));
        }
        let spurious: Vec<_> = sent.take_spurious(&(0..=2)).map(|l| l.packet_number).collect();
        assert_eq!(spurious, [2]);
        assert!(!sent.was_lost(2));
        sent.forget_lost_before(now + Duration::from_secs(4));
        assert!(!sent.was_lost(3) && sent.was_lost(5));
        assert_eq!(sent.lowest_remembered(), Some(0));
    }

    #[test]
    fn memory_of_losses_is_bounded() {
        let now = start();
        let mut sent = SentPackets::new();
        for pn in 0..3 * MAX_LOST as u64 {
            sent.insert(pn, packet(now, 10, true));
            sent.take_lost(pn, now);
        }
        assert!(!sent.was_lost(2 * MAX_LOST as u64 - 1));
        assert!(sent.was_lost(2 * MAX_LOST as u64));
    }

    #[test]
    fn an_ack_that_covers_a_skipped_number_is_seen() {
        let mut sent = SentPackets::<u64>::new();
        sent.skipped(10);
        sent.skipped(40);
        assert!(sent.covers_skipped(&(0..=10)));
        assert!(sent.covers_skipped(&(11..=40)));
        assert!(!sent.covers_skipped(&(11..=39)));
        assert!(!sent.covers_skipped(&(41..=u64::MAX)));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0..3u64, any::<bool>(), any::<prop::sample::Index>()), 0..60)) {
            let now = start();
            let mut sent = SentPackets::new();
            let mut model = std::collections::BTreeMap::new();
            let mut next = 0;
            for (gap, in_flight, index) in steps {
                if gap < 2 {
                    next += gap + 1;
                    sent.insert(next, packet(now, 3, in_flight));
                    model.insert(next, in_flight);
                } else if next > 0 {
                    let pn = index.index(next as usize + 2) as u64;
                    prop_assert_eq!(sent.contains(pn), model.contains_key(&pn));
                    prop_assert_eq!(sent.take(pn).map(|p| p.in_flight), model.remove(&pn));
                }
                let open: Vec<_> = sent.iter().map(|(pn, _)| pn).collect();
                prop_assert_eq!(open, model.keys().copied().collect::<Vec<_>>());
                let in_flight = model.values().filter(|&&f| f).count() as u64;
                prop_assert_eq!(sent.bytes_in_flight(), 3 * in_flight);
                prop_assert_eq!(sent.ack_eliciting_in_flight(), in_flight);
                prop_assert_eq!(sent.is_empty(), model.is_empty());
                prop_assert_eq!(sent.first().map(|(pn, _)| pn), model.keys().next().copied());
            }
        }
    }
}
