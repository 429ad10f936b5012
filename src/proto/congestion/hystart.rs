//! `HyStart++`: leaves slow start when the RTT grows, before the queue overflows. RFC 9406.
//!
//! ```text
//!   slow start --(RTT of a round grew)--> conservative slow start (CSS) --(5 rounds)--> finished
//!        ^--------------(RTT fell again)--------------'
//! ```
//!
//! A plain value that any window-based controller can own while its slow start threshold is unknown (RFC 9406
//! section 4.2): it says how much the window grows, and when to stop. It must not know the window, nor what comes
//! after slow start. A loss ends slow start as ever: that is the controller's affair.
//!
//! Rounds are told apart by the time packets were sent: a round ends when a packet is acknowledged that was sent
//! after the round began. Packet numbers would say the same.

use std::time::{Duration, Instant};

use super::AckEvent;

/// Smallest growth of the RTT that means a queue (RFC 9406 section 4.3).
pub const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
/// Largest growth of the RTT that is waited for (RFC 9406 section 4.3).
pub const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
/// In between, the growth that counts is this part of the RTT (RFC 9406 section 4.3).
pub const MIN_RTT_DIVISOR: u32 = 8;
/// RTT samples that a round needs for a verdict (RFC 9406 section 4.3).
pub const N_RTT_SAMPLE: u32 = 8;
/// Growth in CSS is slower by this (RFC 9406 section 4.3).
pub const CSS_GROWTH_DIVISOR: u64 = 4;
/// Rounds of CSS after which the queue is believed (RFC 9406 section 4.3).
pub const CSS_ROUNDS: u32 = 5;
/// L for a sender that does not pace (RFC 9406 section 4.3): packets that one ACK may widen the window by.
pub const UNPACED_LIMIT_PKTS: u64 = 8;

/// Deviation: with fewer samples than [`N_RTT_SAMPLE`] a round counts as well, if they cover as many packets as
/// that many ACKs of every second packet would. We ask our peer for about eight ACKs in a round, and while the window
/// doubles it may send half of that: the rule of the RFC would then hardly apply. A few more false alarms are what
/// CSS is there for.
const N_THINNED_SAMPLE: u32 = 3;
const THINNED_PKTS: u64 = 2 * N_RTT_SAMPLE as u64;

/// Where slow start stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The window doubles each round.
    SlowStart,
    /// The RTT grew: the window grows more slowly, and one looks whether it stays so.
    Conservative,
    /// Slow start is over: the threshold is the window.
    Finished,
}

/// The state of one slow start.
#[derive(Clone, Debug)]
pub struct HyStart {
    /// L of the RFC; `None` is infinity.
    limit_pkts: Option<u64>,
    last_sent_at: Option<Instant>,
    newest_acked_sent_at: Option<Instant>,
    /// Packets sent until then belong to this round or an older one.
    round_end: Option<Instant>,
    round: Round,
    last_round_min_rtt: Option<Duration>,
    css: Option<Css>,
    finished: bool,
}

/// What one round has shown so far.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    min_rtt: Option<Duration>,
    samples: u32,
    acked_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Css {
    /// An RTT below this shows that the alarm was false.
    baseline_min_rtt: Duration,
    rounds: u32,
}

impl HyStart {
    /// For a sender that paces: L is infinite.
    pub fn paced() -> Self {
        Self::with_limit(None)
    }

    /// For a sender that does not pace: L is [`UNPACED_LIMIT_PKTS`].
    pub fn unpaced() -> Self {
        Self::with_limit(Some(UNPACED_LIMIT_PKTS))
    }

    fn with_limit(limit_pkts: Option<u64>) -> Self {
        Self {
            limit_pkts,
            last_sent_at: None,
            newest_acked_sent_at: None,
            round_end: None,
            round: Round::default(),
            last_round_min_rtt: None,
            css: None,
            finished: false,
        }
    }

    /// A packet goes out.
    pub fn on_sent(&mut self, now: Instant) {
        self.last_sent_at = Some(now);
    }

    /// How much the window grows in bytes for `acked_bytes` acknowledged together. `mtu` is the size of a full
    /// packet. Comes before [`HyStart::on_ack`].
    pub fn growth(&self, acked_bytes: u64, mtu: u64) -> u64 {
        let limit = self.limit_pkts.map_or(u64::MAX, |pkts| pkts * mtu);
        let bytes = acked_bytes.min(limit);
        match self.phase() {
            Phase::SlowStart => bytes,
            Phase::Conservative => bytes / CSS_GROWTH_DIVISOR,
            Phase::Finished => 0,
        }
    }

    /// Packets were acknowledged while the sender used its window. Leave out the others: an RTT that grows
    /// without our doing is no reason to stop early.
    pub fn on_ack(&mut self, event: &AckEvent<'_>, mtu: u64) -> Phase {
        let sent_at = event.largest_acked_sent_at;
        if self.round_end.is_none_or(|end| sent_at > end) {
            self.start_round(sent_at);
        }
        self.round.acked_bytes += event.newly_acked_bytes;
        // Only an ACK that moves the largest acknowledged packet measures the RTT (RFC 9002 section 5.1).
        if self.newest_acked_sent_at.is_none_or(|newest| sent_at >= newest) {
            self.newest_acked_sent_at = Some(sent_at);
            let sample = event.rtt.latest_rtt();
            let min_rtt = self.round.min_rtt.map_or(sample, |min| min.min(sample));
            self.round.min_rtt = Some(min_rtt);
            self.round.samples += 1;
        }
        self.judge(mtu);
        self.phase()
    }

    /// Where slow start stands.
    pub fn phase(&self) -> Phase {
        match self.css {
            _ if self.finished => Phase::Finished,
            Some(_) => Phase::Conservative,
            None => Phase::SlowStart,
        }
    }

    fn start_round(&mut self, sent_at: Instant) {
        self.round_end = Some(self.last_sent_at.unwrap_or(sent_at));
        self.last_round_min_rtt = self.round.min_rtt;
        self.round = Round::default();
        if let Some(css) = &mut self.css {
            css.rounds += 1;
            self.finished |= css.rounds >= CSS_ROUNDS;
        }
    }

    fn judge(&mut self, mtu: u64) {
        let Some(min_rtt) = self.round.min_rtt.filter(|_| self.has_enough_samples(mtu)) else {
            return;
        };
        match (self.css, self.last_round_min_rtt) {
            (Some(css), _) if min_rtt < css.baseline_min_rtt => self.css = None,
            (None, Some(last)) if min_rtt >= last + rtt_thresh(last) => {
                self.css = Some(Css {
                    baseline_min_rtt: min_rtt,
                    rounds: 0,
                });
            }
            _ => {}
        }
    }

    fn has_enough_samples(&self, mtu: u64) -> bool {
        let round = &self.round;
        round.samples >= N_RTT_SAMPLE || (round.samples >= N_THINNED_SAMPLE && round.acked_bytes >= THINNED_PKTS * mtu)
    }
}

/// Growth of the RTT that means a queue.
fn rtt_thresh(last_round_min_rtt: Duration) -> Duration {
    (last_round_min_rtt / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::rtt::Rtt;

    const MTU: u64 = 1000;

    #[expect(clippy::disallowed_methods, reason = "any moment will do as the origin")]
    fn start() -> Instant {
        Instant::now()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A sender whose rounds last 100 ms, whatever RTT they show.
    struct Bench {
        hystart: HyStart,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                hystart: HyStart::paced(),
                now: start(),
            }
        }

        fn ack(&mut self, sent_at: Instant, rtt: Duration, pkts: u64) -> Phase {
            let mut estimate = Rtt::default();
            estimate.update(rtt, Duration::ZERO);
            let event = AckEvent {
                now: sent_at + rtt,
                newly_acked_bytes: pkts * MTU,
                largest_acked_sent_at: sent_at,
                bytes_in_flight: 0,
                rtt: &estimate,
                app_limited: false,
                rate: None,
                lost_bytes: 0,
            };
            self.hystart.on_ack(&event, MTU)
        }

        /// A flight of packets goes out, then comes an ACK for each `pkts_per_ack` of them, with the RTTs given.
        fn round(&mut self, rtts_ms: &[u64], pkts_per_ack: u64) -> Phase {
            let sent_at = self.now;
            for _ in rtts_ms {
                self.hystart.on_sent(sent_at);
            }
            self.now += ms(100);
            for rtt in rtts_ms {
                self.ack(sent_at, ms(*rtt), pkts_per_ack);
            }
            self.hystart.phase()
        }

        fn even_round(&mut self, rtt_ms: u64) -> Phase {
            self.round(&[rtt_ms; N_RTT_SAMPLE as usize], 1)
        }
    }

    #[test]
    fn the_threshold_is_an_eighth_of_the_rtt_within_4_and_16_ms() {
        for (rtt_ms, thresh_ms) in [(1, 4), (32, 4), (40, 5), (80, 10), (128, 16), (500, 16)] {
            assert_eq!(rtt_thresh(ms(rtt_ms)), ms(thresh_ms));
            let mut below = Bench::new();
            below.even_round(rtt_ms);
            assert_eq!(below.even_round(rtt_ms + thresh_ms - 1), Phase::SlowStart);
            let mut above = Bench::new();
            above.even_round(rtt_ms);
            assert_eq!(above.even_round(rtt_ms + thresh_ms), Phase::Conservative);
        }
    }

    #[test]
    fn a_steady_rtt_never_ends_slow_start() {
        let mut bench = Bench::new();
        for _ in 0..100 {
            assert_eq!(bench.even_round(50), Phase::SlowStart);
        }
    }

    #[test]
    fn the_lowest_rtt_of_a_round_is_what_counts() {
        let mut bench = Bench::new();
        bench.even_round(50);
        let jitter = [90, 90, 90, 50, 90, 90, 90, 90];
        assert_eq!(bench.round(&jitter, 1), Phase::SlowStart);
    }

    #[test]
    fn a_round_of_too_few_samples_says_nothing() {
        let mut bench = Bench::new();
        bench.even_round(50);
        let few = [90; N_RTT_SAMPLE as usize - 1];
        assert_eq!(bench.round(&few, 1), Phase::SlowStart);
        // Nor do two, however many packets they cover.
        let mut bench = Bench::new();
        bench.even_round(50);
        assert_eq!(bench.round(&[90; 2], 1000), Phase::SlowStart);
    }

    #[test]
    fn few_samples_do_where_the_peer_acknowledges_many_packets_at_once() {
        let mut bench = Bench::new();
        bench.round(&[50; 4], 100);
        assert_eq!(bench.round(&[90; 4], 100), Phase::Conservative);
        let mut bench = Bench::new();
        bench.round(&[50; 4], 3);
        assert_eq!(bench.round(&[90; 4], 3), Phase::SlowStart);
    }

    #[test]
    fn an_ack_that_does_not_move_the_largest_packet_is_no_sample() {
        let mut bench = Bench::new();
        bench.even_round(50);
        let sent_at = bench.now;
        bench.hystart.on_sent(sent_at);
        bench.ack(sent_at, ms(90), 1);
        for _ in 0..100 {
            let older = sent_at.checked_sub(ms(1)).unwrap();
            assert_eq!(bench.ack(older, ms(90), 1), Phase::SlowStart);
        }
    }

    #[test]
    fn css_grows_at_a_quarter_and_ends_slow_start_after_five_rounds() {
        let mut bench = Bench::new();
        bench.even_round(50);
        assert_eq!(bench.hystart.growth(8000, MTU), 8000);
        assert_eq!(bench.even_round(60), Phase::Conservative);
        assert_eq!(bench.hystart.growth(8000, MTU), 2000);
        // The round in which the alarm came is the first of the five.
        for _ in 1..CSS_ROUNDS {
            assert_eq!(bench.even_round(70), Phase::Conservative);
        }
        assert_eq!(bench.even_round(70), Phase::Finished);
        assert_eq!(bench.hystart.growth(8000, MTU), 0);
    }

    #[test]
    fn an_rtt_that_falls_again_leads_back_to_slow_start() {
        let mut bench = Bench::new();
        bench.even_round(50);
        assert_eq!(bench.even_round(60), Phase::Conservative);
        assert_eq!(bench.even_round(60), Phase::Conservative);
        assert_eq!(bench.even_round(59), Phase::SlowStart);
        assert_eq!(bench.hystart.growth(8000, MTU), 8000);
        // And a queue after that is noticed anew, with all its rounds.
        assert_eq!(bench.even_round(59), Phase::SlowStart);
        assert_eq!(bench.even_round(70), Phase::Conservative);
        for _ in 1..CSS_ROUNDS {
            assert_eq!(bench.even_round(70), Phase::Conservative);
        }
        assert_eq!(bench.even_round(70), Phase::Finished);
    }

    #[test]
    fn a_round_ends_with_a_packet_sent_after_it_began() {
        let mut bench = Bench::new();
        let first = bench.now;
        bench.hystart.on_sent(first);
        bench.ack(first, ms(50), 1);
        let next = first + ms(50);
        bench.hystart.on_sent(next);
        bench.ack(first, ms(50), 1);
        assert_eq!(bench.hystart.round.samples, 2);
        bench.ack(next, ms(50), 1);
        assert_eq!(bench.hystart.round.samples, 1);
        assert_eq!(bench.hystart.last_round_min_rtt, Some(ms(50)));
        assert_eq!(bench.hystart.round_end, Some(next));
    }

    #[test]
    fn without_pacing_an_ack_widens_the_window_by_eight_packets_at_most() {
        let mut unpaced = Bench {
            hystart: HyStart::unpaced(),
            now: start(),
        };
        assert_eq!(unpaced.hystart.growth(20 * MTU, MTU), 8 * MTU);
        unpaced.even_round(50);
        unpaced.even_round(60);
        assert_eq!(unpaced.hystart.growth(20 * MTU, MTU), 2 * MTU);
        assert_eq!(HyStart::paced().growth(20 * MTU, MTU), 20 * MTU);
    }
}
