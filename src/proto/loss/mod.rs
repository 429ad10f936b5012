//! Loss detection: which packets arrived, which are lost, and when to ask. RFC 9002 section 6 and appendix A.
//!
//! Every packet goes through [`Detector::on_sent`], ACK-only ones included: the peer may acknowledge them.
//! ACKs come in by [`Detector::on_ack`], deadlines by [`Detector::on_timeout`]; both leave in an
//! [`Outcome`] what the frame sources and the congestion controller must hear.
//!
//! Reordering that caused a needless loss widens both thresholds, and calm narrows them again
//! (RFC 9002 section 6.1.1 allows it; RFC 8985 section 6 does it for TCP).
//!
//! It must not know frames, streams or windows.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

pub use outcome::Outcome;

pub use super::rtt::GRANULARITY;
use super::rtt::Rtt;
use super::sent::{Packet, SentPackets};

mod outcome;

/// Packets acknowledged above a packet before it counts as lost (RFC 9002 section 6.1.1).
pub const PACKET_THRESHOLD: u64 = 3;
/// Ceiling of the packet threshold under reordering.
pub const MAX_PACKET_THRESHOLD: u64 = 64;
/// Time before a packet below an acknowledged one counts as lost, in eighths of the RTT: 9/8
/// (RFC 9002 section 6.1.2, kTimeThreshold).
pub const TIME_THRESHOLD_EIGHTHS: u32 = 9;
/// Ceiling of the time threshold under reordering: two RTT (RFC 8985 bounds its window by one SRTT more).
pub const MAX_TIME_THRESHOLD_EIGHTHS: u32 = 16;
/// A back-off beyond this helps nobody: a link that was dead for long must resume soon. Deviates from
/// RFC 9002 section 6.2.1, which has no ceiling. A path whose best round trip is longer than half of it has twice that
/// round trip instead, and no probe is sent before an answer could come; the variation does not count, for on a path
/// that was bad it says nothing of the healed one. At half of the packets lost both ways, probes every 2 s let one
/// transfer of 1 MiB in fifty run into the idle time-out of 40 s.
pub const MAX_PTO: Duration = Duration::from_secs(1);
/// Probe timeouts that losses must span to be persistent congestion (RFC 9002 section 7.6.1).
pub const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;
/// Loss events without a needless one before the thresholds narrow a step (as RFC 8985 section 6.2 does).
const CALM_LOSS_EVENTS: u32 = 16;
/// Probe timeouts for which a lost packet is remembered.
const REMEMBER_LOST_PTOS: u32 = 3;

/// The peer acknowledged what was never sent, or a number that was skipped: close with
/// `PROTOCOL_VIOLATION` (RFC 9000 section 13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("acknowledgement of a packet that was never sent")]
pub struct InvalidAck;

/// What a deadline led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Losses are in the outcome; none if the deadline came too early.
    LossDetected,
    /// Send this many ack-eliciting packets at once, whatever the congestion window says
    /// (RFC 9002 section 6.2.4).
    Probe {
        /// One or two.
        count: u32,
    },
}

/// Lost packets without an acknowledged one between them (RFC 9002 section 7.6.2).
#[derive(Clone, Copy, Debug)]
struct LossRun {
    /// Number that would continue it.
    next: u64,
    /// When its first ack-eliciting packet was sent.
    since: Option<Instant>,
}

/// Loss detection of one packet number space.
#[derive(Debug)]
pub struct Detector<C> {
    sent: SentPackets<C>,
    max_ack_delay: Duration,
    largest_acked: Option<u64>,
    loss_time: Option<Instant>,
    pto_count: u32,
    /// The PTO counts from here: the last ack-eliciting packet, or the last PTO.
    pto_from: Option<Instant>,
    packet_threshold: u64,
    time_threshold_eighths: u32,
    /// Loss events since the thresholds changed.
    calm_loss_events: u32,
    loss_run: Option<LossRun>,
    /// Packets sent before the first RTT sample never show persistent congestion.
    first_rtt_sample_at: Option<Instant>,
}

impl<C> Detector<C> {
    /// Nothing sent. `max_ack_delay` is what the peer announced (RFC 9000 section 18.2).
    pub fn new(max_ack_delay: Duration) -> Self {
        Self {
            sent: SentPackets::new(),
            max_ack_delay,
            largest_acked: None,
            loss_time: None,
            pto_count: 0,
            pto_from: None,
            packet_threshold: PACKET_THRESHOLD,
            time_threshold_eighths: TIME_THRESHOLD_EIGHTHS,
            calm_loss_events: 0,
            loss_run: None,
            first_rtt_sample_at: None,
        }
    }

    /// A packet went out. Every packet must come here, else its acknowledgement looks like a lie.
    pub fn on_sent(&mut self, packet_number: u64, packet: Packet<C>) {
        if packet.in_flight && packet.ack_eliciting {
            self.pto_from = Some(packet.time_sent);
        }
        self.sent.insert(packet_number, packet);
    }

    /// A packet number was left out on purpose.
    pub fn on_skipped(&mut self, packet_number: u64) {
        self.sent.skipped(packet_number);
    }

    /// The peer asked for another bound on its ACK delay.
    pub fn on_max_ack_delay(&mut self, max_ack_delay: Duration) {
        self.max_ack_delay = max_ack_delay;
    }

    /// An ACK arrived at `received_at`. `ranges` come highest first; old ones are cheap. `ack_delay` is what
    /// the peer reports. Fills `out`, lost packets included.
    ///
    /// # Errors
    /// [`InvalidAck`]: close the connection; `out` and the state are not meaningful any more.
    pub fn on_ack(
        &mut self,
        received_at: Instant,
        ranges: impl Iterator<Item = RangeInclusive<u64>>,
        ack_delay: Duration,
        rtt: &mut Rtt,
        out: &mut Outcome<C>,
    ) -> Result<(), InvalidAck> {
        let mut ranges = ranges.peekable();
        let Some(largest) = ranges.peek().map(|r| *r.end()) else {
            return Ok(());
        };
        if self.sent.largest_sent().is_none_or(|sent| largest > sent) {
            return Err(InvalidAck);
        }
        // The lowest may be taken out while we go, so the bound is fixed before.
        let lowest = self.sent.lowest_remembered();
        let mut largest_sent_at = None;
        let mut ack_eliciting = false;
        let newly_before = out.acked.len();
        for range in ranges {
            if self.sent.covers_skipped(&range) {
                return Err(InvalidAck);
            }
            if lowest.is_none_or(|lowest| *range.end() < lowest) {
                break;
            }
            self.learn_reordering(received_at, &range, rtt, out);
            for packet_number in self.sent.clip(&range) {
                let Some(packet) = self.sent.take(packet_number) else {
                    continue;
                };
                ack_eliciting |= packet.ack_eliciting;
                if packet_number == largest {
                    largest_sent_at = Some(packet.time_sent);
                }
                out.acked(packet_number, packet);
            }
        }
        self.largest_acked = self.largest_acked.max(Some(largest));
        if out.acked.len() == newly_before {
            return Ok(());
        }

        // RFC 9002 section 5.1: only the largest newly acknowledged packet gives a sample. After a stall of
        // the carrier its send time is a bound only: an ACK from before says nothing.
        let sample = largest_sent_at.and_then(|at| received_at.checked_duration_since(at));
        if let Some(sample) = sample.filter(|_| ack_eliciting) {
            if !rtt.has_sample() {
                self.first_rtt_sample_at = Some(received_at);
            }
            rtt.update(sample, ack_delay.min(self.max_ack_delay));
            out.rtt_sampled = true;
        }
        self.detect_lost(received_at, rtt, out);
        self.pto_count = 0;
        Ok(())
    }

    /// Lost packets within `range` arrived after all: widens the thresholds so that the same reordering does
    /// not count as loss again.
    fn learn_reordering(&mut self, now: Instant, range: &RangeInclusive<u64>, rtt: &Rtt, out: &mut Outcome<C>) {
        let mut extent = 0;
        let mut latest_sent_at: Option<Instant> = None;
        let mut run_broken = false;
        let largest_acked = self.largest_acked.unwrap_or(0);
        for lost in self.sent.take_spurious(range) {
            out.spurious(lost.time_sent);
            extent = extent.max(largest_acked.saturating_sub(lost.packet_number));
            latest_sent_at = latest_sent_at.max(Some(lost.time_sent));
            run_broken = true;
        }
        if !run_broken {
            return;
        }
        self.loss_run = None;
        self.calm_loss_events = 0;
        self.packet_threshold = self.packet_threshold.max(extent + 1).min(MAX_PACKET_THRESHOLD);
        let delay = latest_sent_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if delay > self.loss_delay(rtt) {
            self.time_threshold_eighths = (self.time_threshold_eighths + 1).min(MAX_TIME_THRESHOLD_EIGHTHS);
        }
    }

    /// How long after its sending a packet below an acknowledged one is lost (RFC 9002 section 6.1.2).
    fn loss_delay(&self, rtt: &Rtt) -> Duration {
        let rtt = rtt.smoothed_rtt().max(rtt.latest_rtt());
        (rtt * self.time_threshold_eighths / 8).max(GRANULARITY)
    }

    /// Moves lost packets into `out` and sets the time at which to look again (RFC 9002 appendix A.10).
    pub fn detect_lost(&mut self, now: Instant, rtt: &mut Rtt, out: &mut Outcome<C>) {
        let remembered = rtt.pto_base(self.max_ack_delay) * REMEMBER_LOST_PTOS;
        if let Some(bound) = now.checked_sub(remembered) {
            self.sent.forget_lost_before(bound);
        }
        self.loss_time = None;
        let Some(largest_acked) = self.largest_acked else {
            return;
        };
        let delay = self.loss_delay(rtt);
        let lost_before = out.lost.len();
        // Older packets were sent earlier and stand lower: the first one not lost ends the search.
        while let Some((packet_number, packet)) = self.sent.first() {
            if packet_number > largest_acked {
                break;
            }
            let lost_at = packet.time_sent + delay;
            let overtaken = largest_acked - packet_number >= self.packet_threshold;
            if !overtaken && now < lost_at {
                self.loss_time = Some(lost_at);
                break;
            }
            let packet = self.sent.take_lost(packet_number, now).expect("first() is open");
            self.extend_loss_run(packet_number, &packet, rtt, out);
            out.lost(packet_number, packet);
        }
        if out.lost.len() > lost_before {
            self.calm_down();
        }
        if out.persistent_congestion {
            rtt.forget_min();
        }
    }

    /// RFC 9002 section 7.6.
    fn extend_loss_run(&mut self, packet_number: u64, packet: &Packet<C>, rtt: &Rtt, out: &mut Outcome<C>) {
        let mut run = self
            .loss_run
            .filter(|run| (run.next..packet_number).all(|pn| self.sent.covers_skipped(&(pn..=pn))))
            .unwrap_or(LossRun { next: 0, since: None });
        run.next = packet_number + 1;
        let measured = rtt.has_sample() && self.first_rtt_sample_at.is_none_or(|at| packet.time_sent > at);
        if packet.ack_eliciting && !packet.is_mtu_probe && measured {
            let since = *run.since.get_or_insert(packet.time_sent);
            let limit = rtt.pto_base(self.max_ack_delay) * PERSISTENT_CONGESTION_THRESHOLD;
            if packet.time_sent.saturating_duration_since(since) > limit {
                out.persistent_congestion = true;
                run.since = None;
            }
        }
        self.loss_run = Some(run);
    }

    /// After many losses of which none was needless the thresholds narrow a step.
    fn calm_down(&mut self) {
        self.calm_loss_events += 1;
        if self.calm_loss_events >= CALM_LOSS_EVENTS {
            self.calm_loss_events = 0;
            self.packet_threshold = (self.packet_threshold / 2).max(PACKET_THRESHOLD);
            self.time_threshold_eighths = (self.time_threshold_eighths - 1).max(TIME_THRESHOLD_EIGHTHS);
        }
    }

    /// When to call [`Self::on_timeout`]: the time threshold of a packet, else the PTO while an
    /// ack-eliciting packet is in flight (RFC 9002 appendix A.8).
    pub fn timeout(&self, rtt: &Rtt) -> Option<Instant> {
        if self.loss_time.is_some() {
            return self.loss_time;
        }
        if self.sent.ack_eliciting_in_flight() == 0 {
            return None;
        }
        self.pto_from.map(|from| from + self.pto(rtt))
    }

    /// PTO with back-off (RFC 9002 section 6.2.1), with our ceiling.
    pub fn pto(&self, rtt: &Rtt) -> Duration {
        let base = rtt.pto_base(self.max_ack_delay);
        let factor = 1u32.checked_shl(self.pto_count).unwrap_or(u32::MAX);
        let ceiling = MAX_PTO.max(2 * rtt.min_rtt()).max(rtt.smoothed_rtt() * 5 / 4);
        base.saturating_mul(factor).min(ceiling)
    }

    /// The deadline passed (RFC 9002 appendix A.9). A call before it does no harm.
    pub fn on_timeout(&mut self, now: Instant, rtt: &mut Rtt, out: &mut Outcome<C>) -> Fired {
        if self.timeout(rtt).is_none_or(|deadline| now < deadline) {
            return Fired::LossDetected;
        }
        if self.loss_time.is_some() {
            self.detect_lost(now, rtt, out);
            return Fired::LossDetected;
        }
        // A lone packet is asked for once before we spend two: the first answer is often just late.
        let lone = self.pto_count == 0 && self.sent.ack_eliciting_in_flight() == 1;
        self.pto_count = self.pto_count.saturating_add(1);
        // If the probes cannot leave, the next deadline still lies ahead.
        self.pto_from = Some(now);
        Fired::Probe {
            count: if lone { 1 } else { 2 },
        }
    }

    /// The carrier took nothing between `since` and `until`: packets handed over within count as sent at
    /// `until`, and the waiting time counts neither as loss nor towards the PTO.
    pub fn carrier_stalled(&mut self, since: Instant, until: Instant) {
        let stalled = until.saturating_duration_since(since);
        self.sent.hold_back(since, until);
        self.loss_time = self.loss_time.map(|at| at + stalled);
        // The part of the stall behind the last packet is not waiting time.
        self.pto_from = self.pto_from.map(|at| {
            let delayed = at + stalled;
            delayed.min(until).max(at)
        });
    }

    /// A new path: what was learnt about reordering and back-off does not hold there.
    pub fn on_path_change(&mut self) {
        self.pto_count = 0;
        self.packet_threshold = PACKET_THRESHOLD;
        self.time_threshold_eighths = TIME_THRESHOLD_EIGHTHS;
        self.calm_loss_events = 0;
        self.loss_run = None;
    }

    /// Gives back memory that is kept for speed only, when the stream falls idle.
    pub fn release_memory(&mut self) {
        self.sent.release_memory();
    }

    /// The packets still open.
    pub fn sent(&self) -> &SentPackets<C> {
        &self.sent
    }

    /// Bytes that count against the congestion window.
    pub fn bytes_in_flight(&self) -> u64 {
        self.sent.bytes_in_flight()
    }

    /// Highest number acknowledged.
    pub fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }

    /// Highest number sent.
    pub fn largest_sent(&self) -> Option<u64> {
        self.sent.largest_sent()
    }

    /// Probe timeouts since the last acknowledgement of something new.
    pub fn pto_count(&self) -> u32 {
        self.pto_count
    }

    /// Packets that must overtake one before it is lost, adapted to reordering.
    pub fn packet_threshold(&self) -> u64 {
        self.packet_threshold
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::congestion::delivery_rate;

    const MAX_ACK_DELAY: Duration = ms(25);
    const SIZE: u32 = 1000;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do as the origin")]
    fn start() -> Instant {
        Instant::now()
    }

    /// A detector, an RTT estimate and a clock; times are since the start.
    struct Bench {
        start: Instant,
        detector: Detector<()>,
        rtt: Rtt,
        out: Outcome<()>,
        next: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                start: start(),
                detector: Detector::new(MAX_ACK_DELAY),
                rtt: Rtt::default(),
                out: Outcome::new(),
                next: 0,
            }
        }

        /// RTT 100 ms exactly, with no variation left.
        fn settled() -> Self {
            let mut bench = Self::new();
            for _ in 0..200 {
                bench.rtt.update(ms(100), Duration::ZERO);
            }
            bench
        }

        fn send_as(&mut self, at: Duration, ack_eliciting: bool) -> u64 {
            let time_sent = self.start + at;
            let packet = Packet {
                time_sent,
                size_bytes: SIZE,
                ack_eliciting,
                in_flight: ack_eliciting,
                is_mtu_probe: false,
                is_marked: false,
                contents: (),
                rate: delivery_rate::Sent {
                    delivered: 0,
                    delivered_at: time_sent,
                    first_sent_at: time_sent,
                    app_limited: false,
                    lost: 0,
                    in_flight: 0,
                },
            };
            self.detector.on_sent(self.next, packet);
            self.next += 1;
            self.next - 1
        }

        fn send(&mut self, at: Duration) -> u64 {
            self.send_as(at, true)
        }

        fn ack(&mut self, at: Duration, ranges: &[RangeInclusive<u64>]) -> Result<(), InvalidAck> {
            self.out.clear();
            self.detector.on_ack(
                self.start + at,
                ranges.iter().cloned(),
                Duration::ZERO,
                &mut self.rtt,
                &mut self.out,
            )
        }

        fn fire(&mut self, at: Duration) -> Fired {
            self.out.clear();
            self.detector.on_timeout(self.start + at, &mut self.rtt, &mut self.out)
        }

        fn timeout(&self) -> Option<Duration> {
            self.detector.timeout(&self.rtt).map(|at| at - self.start)
        }

        fn acked(&self) -> Vec<u64> {
            self.out.acked.iter().map(|(pn, _)| *pn).collect()
        }

        fn lost(&self) -> Vec<u64> {
            self.out.lost.iter().map(|(pn, _)| *pn).collect()
        }
    }

    #[test]
    fn lost_after_three_newer_packets_acked() {
        let mut bench = Bench::settled();
        for _ in 0..5 {
            bench.send(ms(0));
        }
        bench.ack(ms(100), &[1..=2]).unwrap();
        assert_eq!(bench.acked(), [1, 2]);
        assert_eq!(bench.lost(), [0; 0]);
        bench.ack(ms(100), &[1..=3]).unwrap();
        assert_eq!(bench.acked(), [3]);
        assert_eq!(bench.lost(), [0]);
        assert_eq!(bench.out.lost_bytes, u64::from(SIZE));
        assert_eq!(bench.out.largest_lost_sent_at, Some(bench.start));
        assert_eq!(bench.detector.bytes_in_flight(), u64::from(SIZE));
    }

    #[test]
    fn lost_after_nine_eighths_of_the_rtt() {
        let mut bench = Bench::settled();
        bench.send(ms(0));
        bench.send(ms(10));
        bench.ack(ms(110), &[1..=1]).unwrap();
        assert_eq!(bench.lost(), [0; 0]);
        let just_before = Duration::from_nanos(112_499_999);
        let deadline = Duration::from_micros(112_500);
        assert_eq!(bench.timeout(), Some(deadline));
        assert_eq!(bench.fire(just_before), Fired::LossDetected);
        assert_eq!(bench.lost(), [0; 0]);
        assert_eq!(bench.fire(deadline), Fired::LossDetected);
        assert_eq!(bench.lost(), [0]);
        assert_eq!(bench.timeout(), None);
    }

    #[test]
    fn nothing_above_the_largest_acked_is_lost() {
        let mut bench = Bench::settled();
        for _ in 0..10 {
            bench.send(ms(0));
        }
        bench.ack(ms(100), &[0..=0]).unwrap();
        bench.out.clear();
        bench
            .detector
            .detect_lost(bench.start + ms(5000), &mut bench.rtt, &mut bench.out);
        assert_eq!(bench.lost(), [0; 0]);
    }

    #[test]
    fn the_rtt_is_sampled_by_the_largest_newly_acked_packet_only() {
        let mut bench = Bench::new();
        bench.send(ms(45));
        bench.send(ms(50));
        bench.send_as(ms(60), false);
        bench.ack(ms(150), &[1..=1]).unwrap();
        assert!(bench.out.rtt_sampled);
        assert_eq!(bench.rtt.latest_rtt(), ms(100));
        bench.ack(ms(155), &[0..=1]).unwrap();
        assert_eq!(bench.acked(), [0]);
        assert!(!bench.out.rtt_sampled);
        // An ACK of nothing but an ACK: the peer was free to wait.
        bench.ack(ms(900), &[0..=2]).unwrap();
        assert!(!bench.out.rtt_sampled);
    }

    #[test]
    fn the_peers_delay_is_believed_up_to_what_it_announced() {
        let mut bench = Bench::settled();
        bench.send(ms(0));
        let delay = ms(1000);
        bench
            .detector
            .on_ack(
                bench.start + ms(133),
                std::iter::once(0..=0),
                delay,
                &mut bench.rtt,
                &mut bench.out,
            )
            .unwrap();
        assert_eq!(bench.rtt.smoothed_rtt(), ms(101));
    }

    #[test]
    fn an_ack_of_a_packet_never_sent_is_refused() {
        let mut bench = Bench::settled();
        assert_eq!(bench.ack(ms(0), &[0..=0]), Err(InvalidAck));
        bench.send(ms(0));
        assert_eq!(bench.ack(ms(0), &[0..=1]), Err(InvalidAck));
        assert_eq!(bench.ack(ms(0), &[0..=0]), Ok(()));
    }

    #[test]
    fn an_ack_of_a_skipped_number_is_refused_even_when_all_else_was_acked() {
        let mut bench = Bench::settled();
        bench.send(ms(0));
        bench.detector.on_skipped(1);
        bench.next = 2;
        bench.send(ms(0));
        assert_eq!(bench.ack(ms(100), &[2..=2, 0..=0]), Ok(()));
        assert_eq!(bench.ack(ms(100), &[0..=2]), Err(InvalidAck));
    }

    #[test]
    fn the_probe_timeout_doubles_up_to_its_ceiling() {
        let mut bench = Bench::settled();
        bench.send(ms(0));
        bench.send(ms(0));
        // 100 + max(0, 1) + 25.
        let base = ms(126);
        let mut now = Duration::ZERO;
        for factor in [1, 2, 4] {
            now += base * factor;
            assert_eq!(bench.timeout(), Some(now));
            assert_eq!(bench.fire(now), Fired::Probe { count: 2 });
            bench.send(now);
        }
        for _ in 0..41 {
            now += MAX_PTO;
            assert_eq!(bench.timeout(), Some(now));
            bench.fire(now);
        }
        assert_eq!(bench.detector.pto_count(), 44);
        bench.ack(now, &[0..=0]).unwrap();
        assert_eq!(bench.detector.pto_count(), 0);
    }

    #[test]
    fn the_ceiling_never_undercuts_a_long_rtt() {
        let mut bench = Bench::new();
        bench.rtt.update(ms(3000), Duration::ZERO);
        bench.send(ms(0));
        assert_eq!(bench.timeout(), Some(ms(6000)));
        bench.fire(ms(6000));
        assert_eq!(bench.timeout(), Some(ms(12_000)));
    }

    #[test]
    fn a_lone_packet_is_probed_by_one_then_by_two() {
        let mut bench = Bench::settled();
        bench.send(ms(0));
        assert_eq!(bench.fire(ms(126)), Fired::Probe { count: 1 });
        assert_eq!(bench.fire(ms(126 + 252)), Fired::Probe { count: 2 });
        assert_eq!(bench.lost(), [0; 0]);
    }

    #[test]
    fn nothing_in_flight_means_no_deadline() {
        let mut bench = Bench::settled();
        assert_eq!(bench.timeout(), None);
        bench.send_as(ms(0), false);
        assert_eq!(bench.timeout(), None);
        bench.send(ms(0));
        assert!(bench.timeout().is_some());
        bench.ack(ms(100), &[1..=1]).unwrap();
        // The ACK-only packet below is still looked at, but that is not worth a probe.
        bench.fire(ms(113));
        assert_eq!(bench.timeout(), None);
    }

    #[test]
    fn a_late_ack_proves_a_loss_spurious_and_widens_the_threshold() {
        let mut bench = Bench::settled();
        for i in 0..6 {
            bench.send(ms(i));
        }
        bench.ack(ms(105), &[2..=5]).unwrap();
        assert_eq!(bench.lost(), [0, 1]);
        bench.ack(ms(106), &[0..=5]).unwrap();
        assert_eq!(bench.out.spurious, 2);
        assert_eq!(bench.out.earliest_spurious_sent_at, Some(bench.start));
        assert_eq!(bench.detector.packet_threshold(), 6);
        // The same reordering again is not a loss.
        for i in 6..12 {
            bench.send(ms(100 + i));
        }
        bench.ack(ms(210), &[8..=11]).unwrap();
        assert_eq!(bench.lost(), [0; 0]);
        // A second look at the same ACK counts nothing twice.
        bench.ack(ms(210), &[0..=5]).unwrap();
        assert_eq!(bench.out.spurious, 0);
    }

    #[test]
    fn the_threshold_has_a_ceiling_and_comes_back_after_calm_losses() {
        let mut bench = Bench::settled();
        for _ in 0..200 {
            bench.send(ms(0));
        }
        bench.ack(ms(100), &[199..=199]).unwrap();
        bench.ack(ms(100), &[0..=199]).unwrap();
        assert_eq!(bench.detector.packet_threshold(), MAX_PACKET_THRESHOLD);
        let mut now = ms(200);
        for _ in 0..5 * CALM_LOSS_EVENTS {
            now += ms(300);
            let lost = bench.send(now);
            let acked = bench.send(now);
            bench.ack(now + ms(100), &[acked..=acked]).unwrap();
            bench.fire(now + ms(250));
            assert_eq!(bench.lost(), [lost]);
        }
        assert_eq!(bench.detector.packet_threshold(), PACKET_THRESHOLD);
    }

    #[test]
    fn losses_over_three_probe_timeouts_are_persistent_congestion() {
        let mut bench = Bench::settled();
        let acked = bench.send(ms(0));
        bench.ack(ms(100), &[acked..=acked]).unwrap();
        for at in (200..=600).step_by(100) {
            bench.send(ms(at));
        }
        let saviour = bench.send(ms(700));
        bench.ack(ms(800), &[saviour..=saviour]).unwrap();
        assert_eq!(bench.lost().len(), 5);
        // 600 - 200 is more than 3 * 126.
        assert!(bench.out.persistent_congestion);
    }

    #[test]
    fn an_ack_in_between_breaks_the_run_of_losses() {
        let mut bench = Bench::settled();
        for at in (200..=700).step_by(100) {
            bench.send(ms(at));
        }
        bench.ack(ms(800), &[5..=5, 2..=2]).unwrap();
        assert_eq!(bench.lost(), [0, 1, 3, 4]);
        assert!(!bench.out.persistent_congestion);
    }

    #[test]
    fn a_run_of_losses_may_span_two_acks() {
        let mut bench = Bench::settled();
        for at in (200..=500).step_by(100) {
            bench.send(ms(at));
        }
        let first = bench.send(ms(501));
        bench.ack(ms(601), &[first..=first]).unwrap();
        assert_eq!(bench.lost(), [0, 1, 2]);
        assert!(!bench.out.persistent_congestion);
        assert_eq!(bench.fire(ms(700)), Fired::LossDetected);
        assert_eq!(bench.lost(), [3]);
        assert!(!bench.out.persistent_congestion);
    }

    #[test]
    fn packets_from_before_the_first_sample_show_no_persistent_congestion() {
        let mut bench = Bench::new();
        for at in (0..=10_000).step_by(1000) {
            bench.send(ms(at));
        }
        let saviour = bench.send(ms(10_100));
        bench.ack(ms(10_200), &[saviour..=saviour]).unwrap();
        assert_eq!(bench.lost().len(), 11);
        assert!(!bench.out.persistent_congestion);
    }

    #[test]
    fn a_stalled_carrier_is_not_loss() {
        let mut bench = Bench::settled();
        bench.send(ms(0));
        bench.send(ms(10));
        bench.send(ms(20));
        bench
            .detector
            .carrier_stalled(bench.start + ms(5), bench.start + ms(5000));
        assert_eq!(bench.timeout(), Some(ms(5000 + 126)));
        bench.ack(ms(5100), &[1..=2]).unwrap();
        assert_eq!(bench.rtt.latest_rtt(), ms(100));
        // The first left before the stall.
        assert_eq!(bench.lost(), [0]);
    }

    #[test]
    fn a_packet_sent_before_a_stall_waits_no_longer_for_its_probe() {
        let mut bench = Bench::settled();
        bench.send(ms(0));
        bench
            .detector
            .carrier_stalled(bench.start + ms(50), bench.start + ms(1050));
        assert_eq!(bench.timeout(), Some(ms(1126)));
    }

    #[test]
    fn old_ranges_are_not_walked() {
        let mut bench = Bench::settled();
        for _ in 0..100 {
            bench.send(ms(0));
        }
        bench.ack(ms(100), &[0..=98]).unwrap();
        let mut looked_at = 0;
        let ranges = (0..50u64).rev().map(|i| i * 2..=i * 2).inspect(|_| looked_at += 1);
        bench.out.clear();
        bench
            .detector
            .on_ack(
                bench.start + ms(100),
                std::iter::once(99..=99).chain(ranges),
                Duration::ZERO,
                &mut bench.rtt,
                &mut bench.out,
            )
            .unwrap();
        assert_eq!(bench.acked(), [99]);
        assert!(looked_at <= 2);
    }

    #[test]
    fn clearing_an_outcome_leaves_nothing() {
        let mut bench = Bench::settled();
        for _ in 0..5 {
            bench.send(ms(0));
        }
        bench.ack(ms(100), &[3..=4]).unwrap();
        bench.out.clear();
        assert!(bench.out.acked.is_empty() && bench.out.lost.is_empty());
        assert_eq!(bench.out.newly_acked_bytes, 0);
        assert_eq!(bench.out.largest_acked_sent_at, None);
        assert!(!bench.out.rtt_sampled);
    }

    proptest! {
        /// Each packet ends exactly once, as acknowledged or as lost; a lost one may turn out spurious once.
        #[test]
        fn every_packet_has_one_fate(
            arrives in prop::collection::vec(prop::option::weighted(0.8, 0..30u64), 1..200),
        ) {
            let mut bench = Bench::settled();
            let mut fate = vec![0u32; arrives.len()];
            let mut spurious = 0;
            let mut arrivals: Vec<(u64, u64)> = Vec::new();
            for (pn, late) in (0u64..).zip(&arrives) {
                bench.send(ms(pn));
                arrivals.extend(late.map(|late| (pn + 50 + late, pn)));
            }
            arrivals.sort_unstable();
            let mut seen = crate::proto::range_set::RangeSet::new();
            for (at, pn) in arrivals {
                seen.insert_one(pn);
                let ranges: Vec<_> = seen.iter().rev().take(32).map(|r| r.start..=r.end - 1).collect();
                bench.ack(ms(at + 50), &ranges).unwrap();
                for pn in bench.acked().into_iter().chain(bench.lost()) {
                    fate[pn as usize] += 1;
                }
                spurious += bench.out.spurious;
                prop_assert!(bench.out.lost.is_sorted_by_key(|(pn, _)| *pn));
            }
            while bench.detector.sent().iter().next().is_some() {
                let at = bench.timeout().unwrap();
                if bench.fire(at) != Fired::LossDetected {
                    // Only the tail above the largest acknowledged packet is left.
                    let pn = bench.send(at);
                    fate.push(0);
                    bench.ack(at + ms(100), &[pn..=pn]).unwrap();
                }
                for pn in bench.acked().into_iter().chain(bench.lost()) {
                    fate[pn as usize] += 1;
                }
            }
            prop_assert!(fate.iter().all(|&n| n == 1), "{:?}", fate);
            prop_assert_eq!(bench.detector.bytes_in_flight(), 0);
            prop_assert!(spurious <= arrives.len() as u64);
        }
    }
}
