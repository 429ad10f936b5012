//! Path MTU discovery: how large packets may be. RFC 8899 (DPLPMTUD) and RFC 9000, section 14.3.
//!
//! A search by probes of their own: PING and PADDING, which nobody misses when they are lost. Sizes that are common are
//! tried first, then the gap is halved. A probe that arrives raises the size; one that is lost [`MAX_PROBES`] times
//! bounds it.
//!
//! A path may also shrink. Large packets then vanish and small ones pass, which on a lossy path may be chance as well.
//! So there are two steps: after [`SUSPICIOUS_LOSSES`] large packets in a row, with a newer small one acknowledged,
//! packets become small at once, which costs little, and the old size is probed. If it passes, nothing has happened. If
//! [`MAX_CONFIRMING_PROBES`] are lost, it was a black hole.
//!
//! It must not know frames, congestion control or time-outs: lost is what loss detection says is lost.

use std::time::{Duration, Instant};

/// Every path of ours carries packets of this many bytes (RFC 9000, section 14; `BASE_PLPMTU` of RFC 8899,
/// section 5.1.2).
pub const BASE_BYTES: usize = 1200;
/// Sizes worth a probe, because links have them: 1500 with IPv6 and with IPv4, jumbo frames of 9000 with IPv6, and
/// sizes for the loopback interface of which a whole number fills a batch: 64 KiB with all headers.
const COMMON_SIZES: [usize; 6] = [1452, 1472, 8952, 16_368, 32_736, 65_507];
/// A gap of fewer bytes is not worth a probe.
const SMALLEST_STEP: usize = 16;
/// Probes of one size that may be lost (RFC 8899, section 5.1.2).
pub const MAX_PROBES: u32 = 3;
/// Probes of a size that has worked. At 15 % of random loss, one honest path in 13,000 would lose them all, and only
/// after a run of losses had made it suspicious.
pub const MAX_CONFIRMING_PROBES: u32 = 5;
/// Large packets lost in a row, none acknowledged between them, while a newer small one was acknowledged. At 15 % of
/// random loss, one run in 88,000 is as long.
pub const SUSPICIOUS_LOSSES: u32 = 6;
/// After this long a path may have become wider (`PMTU_RAISE_TIMER` of RFC 8899, section 5.1.1).
pub const RAISE_AFTER: Duration = Duration::from_secs(600);

/// Sizes in bytes are those of whole packets, as handed to the subsystem.
#[derive(Debug)]
pub struct Pmtu {
    base: usize,
    current: usize,
    max: usize,
    /// Sizes from here on count as too large.
    ceiling: usize,
    /// Lost probes of the size that is being tried.
    lost_probes: u32,
    /// The probe on its way: number and size.
    probe: Option<(u64, usize)>,
    /// A size that worked and seems not to any more.
    suspect: Option<usize>,
    /// The search has come to its end.
    searched_at: Option<Instant>,
    black_holes: u64,
    large_acked: Option<u64>,
    small_acked: Option<u64>,
    lost_run: Option<LostRun>,
}

/// Large packets lost, none acknowledged that was sent after the first of them.
#[derive(Clone, Copy, Debug)]
struct LostRun {
    first: u64,
    packets: u32,
}

impl Pmtu {
    /// Begins with packets of `initial` bytes, which the path is known to carry, and searches up to `max`. There is no
    /// search if `max` is not larger.
    pub fn new(initial: usize, max: usize) -> Self {
        let max = max.max(initial);
        Self {
            base: initial,
            current: initial,
            max,
            ceiling: max + 1,
            lost_probes: 0,
            probe: None,
            suspect: None,
            searched_at: None,
            black_holes: 0,
            large_acked: None,
            small_acked: None,
            lost_run: None,
        }
    }

    /// Size of full packets.
    pub fn current(&self) -> usize {
        self.current
    }

    /// Size that the path carries whatever happens.
    pub fn base(&self) -> usize {
        self.base
    }

    /// The largest size that may ever be probed.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Full packets are larger than what is sure to pass.
    pub fn is_raised(&self) -> bool {
        self.current > self.base
    }

    /// Sizes that worked and then did not any more.
    pub fn black_holes(&self) -> u64 {
        self.black_holes
    }

    /// The size of the probe to send now, if there is one to send.
    pub fn next_probe(&mut self, now: Instant) -> Option<usize> {
        if self.probe.is_some() {
            return None;
        }
        if let Some(at) = self.searched_at {
            if now.saturating_duration_since(at) < RAISE_AFTER {
                return None;
            }
            self.searched_at = None;
            self.ceiling = self.max + 1;
        }
        let size = self.candidate();
        if size.is_none() {
            self.searched_at = Some(now);
        }
        size
    }

    fn candidate(&self) -> Option<usize> {
        if self.suspect.is_some() {
            return self.suspect;
        }
        let is_open = |size: usize| size > self.current && size < self.ceiling;
        if let Some(common) = COMMON_SIZES.into_iter().find(|&size| is_open(size) && size <= self.max) {
            return Some(common);
        }
        if is_open(self.max) {
            return Some(self.max);
        }
        let middle = self.current.midpoint(self.ceiling);
        (self.ceiling - self.current > SMALLEST_STEP).then_some(middle)
    }

    /// A probe of `bytes` went out as packet `pn`.
    pub fn on_probe_sent(&mut self, pn: u64, bytes: usize) {
        self.probe = Some((pn, bytes));
    }

    /// Packet `pn` was acknowledged.
    pub fn on_acked(&mut self, pn: u64, bytes: usize) {
        if bytes > self.base {
            self.large_acked = self.large_acked.max(Some(pn));
            self.lost_run = self.lost_run.filter(|run| run.first > pn);
        } else {
            self.small_acked = self.small_acked.max(Some(pn));
        }
        if let Some((_, size)) = self.probe.take_if(|(probe, _)| *probe == pn) {
            self.lost_probes = 0;
            self.suspect = None;
            self.current = size;
        }
    }

    /// Packet `pn` is lost.
    pub fn on_lost(&mut self, pn: u64, bytes: usize) {
        if let Some((_, size)) = self.probe.take_if(|(probe, _)| *probe == pn) {
            self.lost_probes += 1;
            let patience = if self.suspect.is_some() {
                MAX_CONFIRMING_PROBES
            } else {
                MAX_PROBES
            };
            if self.lost_probes >= patience {
                self.give_up(size);
            }
        } else if (self.base + 1..=self.current).contains(&bytes) && self.large_acked.is_none_or(|acked| acked < pn) {
            // What is larger was a probe that our own system refused.
            let run = self.lost_run.get_or_insert(LostRun { first: pn, packets: 0 });
            run.first = run.first.min(pn);
            run.packets += 1;
        }
    }

    /// Call after the packets of an acknowledgement were told. Makes packets small if the path seems to have shrunk.
    pub fn suspect_a_black_hole(&mut self) {
        let is_suspicious = self
            .lost_run
            .is_some_and(|run| run.packets >= SUSPICIOUS_LOSSES && self.small_acked > Some(run.first));
        if self.is_raised() && is_suspicious {
            self.fall_back();
        }
    }

    /// Our own system says that a packet of `bytes` is too large for it.
    pub fn on_oversize(&mut self, bytes: usize) {
        if self.probe.take_if(|(_, size)| *size == bytes).is_some() {
            self.give_up(bytes);
        } else if self.is_raised() && bytes > self.base && bytes <= self.current {
            self.fall_back();
        }
    }

    /// Another path, of which nothing is known.
    pub fn reset(&mut self) {
        *self = Self {
            black_holes: self.black_holes,
            ..Self::new(self.base, self.max)
        };
    }

    fn fall_back(&mut self) {
        self.suspect = Some(self.current);
        self.current = self.base;
        self.probe = None;
        self.lost_probes = 0;
        self.lost_run = None;
        self.searched_at = None;
    }

    /// `size` does not pass.
    fn give_up(&mut self, size: usize) {
        self.lost_probes = 0;
        self.ceiling = self.ceiling.min(size);
        if self.suspect.take().is_some() {
            self.black_holes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Answers each probe as a path of `mtu` bytes does. Returns the sizes that were probed.
    fn search(pmtu: &mut Pmtu, pn: &mut u64, mtu: usize, now: Instant) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(size) = pmtu.next_probe(now) {
            assert!(sizes.len() < 100, "the search does not end: {sizes:?}");
            sizes.push(size);
            *pn += 1;
            pmtu.on_probe_sent(*pn, size);
            if size <= mtu {
                pmtu.on_acked(*pn, size);
            } else {
                pmtu.on_lost(*pn, size);
            }
        }
        sizes
    }

    #[test]
    fn common_sizes_are_found_without_a_detour() {
        let mut pmtu = Pmtu::new(1200, 65_507);
        let sizes = search(&mut pmtu, &mut 0, 1472, start());
        assert_eq!(sizes[..5], [1452, 1472, 8952, 8952, 8952]);
        assert!((1472 - SMALLEST_STEP..=1472).contains(&pmtu.current()), "{pmtu:?}");
        let mut pmtu = Pmtu::new(1200, 65_507);
        assert_eq!(search(&mut pmtu, &mut 0, 65_507, start()), COMMON_SIZES);
        assert_eq!(pmtu.current(), 65_507);
    }

    #[test]
    fn the_bound_itself_is_probed() {
        let mut pmtu = Pmtu::new(1200, 1300);
        assert_eq!(search(&mut pmtu, &mut 0, 9000, start()), [1300]);
        assert_eq!(pmtu.current(), 1300);
        assert_eq!(pmtu.black_holes(), 0);
    }

    #[test]
    fn without_room_there_is_no_search() {
        let mut pmtu = Pmtu::new(16_384, 1452);
        assert_eq!(pmtu.next_probe(start()), None);
        assert_eq!((pmtu.current(), pmtu.is_raised()), (16_384, false));
    }

    #[test]
    fn what_our_own_system_refuses_is_not_tried_again() {
        let now = start();
        let mut pmtu = Pmtu::new(1200, 65_507);
        let mut pn = 0;
        let mut sizes = Vec::new();
        while let Some(size) = pmtu.next_probe(now) {
            sizes.push(size);
            pn += 1;
            pmtu.on_probe_sent(pn, size);
            if size > 1472 {
                pmtu.on_oversize(size);
            } else {
                pmtu.on_acked(pn, size);
            }
        }
        assert_eq!(sizes[..4], [1452, 1472, 8952, 5212], "each refused size once");
        assert_eq!(pmtu.current(), 1472);
    }

    #[test]
    fn a_wider_path_is_found_after_ten_minutes() {
        let now = start();
        let mut pmtu = Pmtu::new(1200, 8952);
        let mut pn = 0;
        search(&mut pmtu, &mut pn, 1452, now);
        assert!(search(&mut pmtu, &mut pn, 8952, now + RAISE_AFTER / 2).is_empty());
        search(&mut pmtu, &mut pn, 8952, now + RAISE_AFTER);
        assert_eq!(pmtu.current(), 8952);
    }

    /// A search to 1452, then large packets lost.
    fn after_losses(losses: u32) -> (Pmtu, u64) {
        let mut pmtu = Pmtu::new(1200, 1452);
        let mut pn = 10;
        search(&mut pmtu, &mut pn, 1452, start());
        for _ in 0..losses {
            pn += 1;
            pmtu.on_lost(pn, 1452);
        }
        (pmtu, pn)
    }

    #[test]
    fn lost_large_packets_beside_an_acknowledged_small_one_make_packets_small() {
        let (mut pmtu, pn) = after_losses(SUSPICIOUS_LOSSES);
        pmtu.suspect_a_black_hole();
        assert_eq!(pmtu.current(), 1452, "everything may be lost");
        pmtu.on_acked(pn + 1, 900);
        pmtu.suspect_a_black_hole();
        assert_eq!(pmtu.current(), 1200);
        assert_eq!(pmtu.black_holes(), 0, "that must be shown yet");
    }

    #[test]
    fn fewer_losses_or_an_older_small_packet_say_nothing() {
        let (mut pmtu, pn) = after_losses(SUSPICIOUS_LOSSES - 1);
        pmtu.on_acked(pn + 1, 900);
        pmtu.suspect_a_black_hole();
        assert!(pmtu.is_raised());
        let (mut pmtu, _) = after_losses(SUSPICIOUS_LOSSES);
        pmtu.on_acked(5, 900);
        pmtu.suspect_a_black_hole();
        assert!(pmtu.is_raised());
        let (mut pmtu, pn) = after_losses(SUSPICIOUS_LOSSES);
        pmtu.on_acked(pn + 1, 1452);
        pmtu.on_acked(pn + 2, 900);
        pmtu.suspect_a_black_hole();
        assert!(pmtu.is_raised(), "a large one came through");
    }

    #[test]
    fn a_false_alarm_costs_one_probe() {
        let (mut pmtu, mut pn) = after_losses(SUSPICIOUS_LOSSES);
        pmtu.on_acked(pn + 1, 900);
        pmtu.suspect_a_black_hole();
        assert_eq!(search(&mut pmtu, &mut pn, 1452, start()), [1452]);
        assert_eq!((pmtu.current(), pmtu.black_holes()), (1452, 0));
    }

    #[test]
    fn a_black_hole_is_one_after_its_probes_are_lost_and_the_new_size_is_searched() {
        let (mut pmtu, mut pn) = after_losses(SUSPICIOUS_LOSSES);
        pmtu.on_acked(pn + 1, 900);
        pmtu.suspect_a_black_hole();
        let sizes = search(&mut pmtu, &mut pn, 1280, start());
        assert_eq!(sizes[..5], [1452; 5]);
        assert_eq!(pmtu.black_holes(), 1);
        assert!((1280 - SMALLEST_STEP..=1280).contains(&pmtu.current()), "{pmtu:?}");
    }

    #[test]
    fn a_new_path_begins_small_and_keeps_the_count() {
        let (mut pmtu, mut pn) = after_losses(SUSPICIOUS_LOSSES);
        pmtu.on_acked(pn + 1, 900);
        pmtu.suspect_a_black_hole();
        search(&mut pmtu, &mut pn, 1280, start());
        pmtu.reset();
        assert_eq!((pmtu.current(), pmtu.black_holes()), (1200, 1));
        assert_eq!(pmtu.next_probe(start()), Some(1452));
    }

    proptest! {
        #[test]
        fn the_search_ends_just_below_what_the_path_carries(max in 1200..=65_507usize, mtu in 1200..=70_000usize) {
            let mut pmtu = Pmtu::new(1200, max);
            let sizes = search(&mut pmtu, &mut 0, mtu, start());
            let best = max.min(mtu);
            prop_assert!(pmtu.current() <= best && best - pmtu.current() < SMALLEST_STEP, "{} {:?}", best, pmtu);
            prop_assert!(sizes.len() <= 64, "{:?}", sizes);
            prop_assert!(sizes.iter().all(|&size| size <= max));
        }

        #[test]
        fn whatever_happens_sizes_stay_within_bounds(steps in prop::collection::vec((0..6u8, 0..40u64, 1..2000usize), 0..300)) {
            let now = start();
            let mut pmtu = Pmtu::new(1200, 1452);
            let mut next_pn = 100;
            for (step, back, bytes) in steps {
                let pn = next_pn - back;
                match step {
                    0 => pmtu.on_acked(pn, bytes),
                    1 => pmtu.on_lost(pn, bytes),
                    2 => pmtu.suspect_a_black_hole(),
                    3 => pmtu.on_oversize(bytes),
                    4 => pmtu.reset(),
                    _ => if let Some(size) = pmtu.next_probe(now) {
                        prop_assert!(size > pmtu.current() && size <= 1452);
                        next_pn += 1;
                        pmtu.on_probe_sent(next_pn, size);
                    }
                }
                prop_assert!((1200..=1452).contains(&pmtu.current()));
            }
        }
    }
}
