//! `NewReno`: slow start, congestion avoidance, one reduction per round trip.
//! RFC 9002 section 7 and appendix B.

use std::time::Instant;

use super::super::rtt::Rtt;
use super::{AckEvent, Controller, LossEvent, SpuriousLossEvent, initial_window, minimum_window, window_pacing_rate};

/// Window after a loss, in halves (RFC 9002 section 7.3.2, kLossReductionFactor 0.5).
const LOSS_REDUCTION_DIVISOR: u64 = 2;

/// The controller's state.
#[derive(Clone, Debug)]
pub struct NewReno {
    mtu: u64,
    congestion_window: u64,
    ssthresh: u64,
    /// Losses of packets sent until then belong to a reaction already made.
    recovery_start: Option<Instant>,
    /// Bytes acknowledged in congestion avoidance since the window last grew.
    acked_bytes: u64,
    undo: Option<Undo>,
}

/// What stood before the last reduction, as long as it may turn out to be needless.
#[derive(Clone, Copy, Debug)]
struct Undo {
    congestion_window: u64,
    ssthresh: u64,
    recovery_start: Option<Instant>,
    /// Lost packets of this recovery that were not seen to arrive. At zero there was no loss.
    missing_pkts: u64,
}

impl NewReno {
    /// Starts in slow start. `mtu` is the size of a full packet in bytes.
    pub fn new(mtu: u64) -> Self {
        Self {
            mtu,
            congestion_window: initial_window(mtu),
            ssthresh: u64::MAX,
            recovery_start: None,
            acked_bytes: 0,
            undo: None,
        }
    }

    fn in_recovery(&self, sent_at: Instant) -> bool {
        self.recovery_start.is_some_and(|start| sent_at <= start)
    }

    fn in_slow_start(&self) -> bool {
        self.congestion_window < self.ssthresh
    }

    fn reduce(&mut self, now: Instant) {
        self.recovery_start = Some(now);
        self.ssthresh = (self.congestion_window / LOSS_REDUCTION_DIVISOR).max(minimum_window(self.mtu));
        self.congestion_window = self.ssthresh;
        self.acked_bytes = 0;
    }
}

impl Controller for NewReno {
    fn on_sent(&mut self, _: Instant, _: u64, _: u64, _: bool) {}

    fn on_ack(&mut self, event: &AckEvent<'_>) {
        if event.app_limited || self.in_recovery(event.largest_acked_sent_at) {
            return;
        }
        if self.in_slow_start() {
            self.congestion_window += event.newly_acked_bytes;
            return;
        }
        // One packet per window acknowledged; the rest is kept, so that small ACKs count in full.
        self.acked_bytes += event.newly_acked_bytes;
        while self.acked_bytes >= self.congestion_window {
            self.acked_bytes -= self.congestion_window;
            self.congestion_window += self.mtu;
        }
    }

    fn on_loss(&mut self, event: &LossEvent) {
        if self.in_recovery(event.largest_lost_sent_at) {
            if let Some(undo) = &mut self.undo {
                undo.missing_pkts += event.lost_pkts;
            }
        } else {
            self.undo = Some(Undo {
                congestion_window: self.congestion_window,
                ssthresh: self.ssthresh,
                recovery_start: self.recovery_start,
                missing_pkts: event.lost_pkts,
            });
            self.reduce(event.now);
        }
        if event.persistent_congestion {
            self.congestion_window = minimum_window(self.mtu);
            self.recovery_start = None;
            self.acked_bytes = 0;
            self.undo = None;
        }
    }

    fn on_spurious_loss(&mut self, event: &SpuriousLossEvent) {
        if !self.in_recovery(event.earliest_sent_at) {
            return;
        }
        let Some(undo) = &mut self.undo else { return };
        undo.missing_pkts = undo.missing_pkts.saturating_sub(event.pkts);
        if undo.missing_pkts > 0 {
            return;
        }
        self.congestion_window = self.congestion_window.max(undo.congestion_window);
        self.ssthresh = undo.ssthresh;
        self.recovery_start = undo.recovery_start;
        self.undo = None;
    }

    fn on_ecn_ce(&mut self, now: Instant, sent_at: Instant) {
        if self.in_recovery(sent_at) {
            return;
        }
        // A mark is never spurious.
        self.undo = None;
        self.reduce(now);
    }

    fn window(&self) -> u64 {
        self.congestion_window
    }

    fn ssthresh(&self) -> u64 {
        self.ssthresh
    }

    fn pacing_rate(&self, rtt: &Rtt) -> u64 {
        window_pacing_rate(self.window(), self.ssthresh(), rtt, self.mtu)
    }

    fn on_mtu_change(&mut self, mtu: u64) {
        self.mtu = mtu;
        let floor = if self.ssthresh == u64::MAX {
            initial_window(mtu)
        } else {
            minimum_window(mtu)
        };
        self.congestion_window = self.congestion_window.max(floor);
    }

    fn reset(&mut self, _: Instant) {
        *self = Self::new(self.mtu);
    }

    fn name(&self) -> &'static str {
        "new-reno"
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MTU: u64 = 1000;

    #[expect(clippy::disallowed_methods, reason = "any moment will do as the origin")]
    fn start() -> Instant {
        Instant::now()
    }

    fn ack(controller: &mut NewReno, sent_at: Instant, bytes: u64, app_limited: bool) {
        let rtt = Rtt::default();
        controller.on_ack(&AckEvent {
            now: sent_at + Duration::from_millis(100),
            newly_acked_bytes: bytes,
            largest_acked_sent_at: sent_at,
            bytes_in_flight: 0,
            rtt: &rtt,
            app_limited,
            rate: None,
            lost_bytes: 0,
        });
    }

    fn lose(controller: &mut NewReno, now: Instant, sent_at: Instant, pkts: u64) {
        controller.on_loss(&LossEvent {
            now,
            largest_lost_sent_at: sent_at,
            lost_bytes: pkts * MTU,
            lost_pkts: pkts,
            bytes_in_flight: 0,
            persistent_congestion: false,
        });
    }

    fn spurious(controller: &mut NewReno, now: Instant, sent_at: Instant, pkts: u64) {
        controller.on_spurious_loss(&SpuriousLossEvent {
            now,
            pkts,
            earliest_sent_at: sent_at,
        });
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn slow_start_doubles_the_window_each_round() {
        let mut reno = NewReno::new(MTU);
        assert_eq!(reno.window(), 10_000);
        ack(&mut reno, start(), 10_000, false);
        assert_eq!(reno.window(), 20_000);
    }

    #[test]
    fn a_loss_halves_the_window_once_per_round() {
        let begin = start();
        let mut reno = NewReno::new(MTU);
        ack(&mut reno, begin, 30_000, false);
        lose(&mut reno, begin + secs(1), begin, 1);
        assert_eq!(reno.window(), 20_000);
        assert_eq!(reno.ssthresh(), 20_000);
        // Sent before the reaction.
        lose(&mut reno, begin + secs(2), begin + secs(1), 5);
        assert_eq!(reno.window(), 20_000);
        ack(&mut reno, begin + secs(1), 20_000, false);
        assert_eq!(reno.window(), 20_000);
        // Sent after it.
        lose(&mut reno, begin + secs(3), begin + secs(2), 1);
        assert_eq!(reno.window(), 10_000);
    }

    #[test]
    fn congestion_avoidance_adds_a_packet_per_window() {
        let begin = start();
        let mut reno = NewReno::new(MTU);
        lose(&mut reno, begin, begin, 1);
        assert_eq!(reno.window(), 5000);
        for _ in 0..10 {
            ack(&mut reno, begin + secs(1), 500, false);
        }
        assert_eq!(reno.window(), 6000);
    }

    #[test]
    fn a_sender_that_does_not_use_its_window_does_not_widen_it() {
        let mut reno = NewReno::new(MTU);
        ack(&mut reno, start(), 10_000, true);
        assert_eq!(reno.window(), 10_000);
    }

    #[test]
    fn the_window_never_falls_below_two_packets() {
        let begin = start();
        let mut reno = NewReno::new(MTU);
        for i in 0..10 {
            lose(&mut reno, begin + secs(i + 1), begin + secs(i + 1), 1);
        }
        assert_eq!(reno.window(), 2 * MTU);
        assert_eq!(reno.ssthresh(), 2 * MTU);
    }

    #[test]
    fn persistent_congestion_collapses_the_window_to_slow_start() {
        let begin = start();
        let mut reno = NewReno::new(MTU);
        ack(&mut reno, begin, 90_000, false);
        reno.on_loss(&LossEvent {
            now: begin + secs(9),
            largest_lost_sent_at: begin + secs(8),
            lost_bytes: 9000,
            lost_pkts: 9,
            bytes_in_flight: 0,
            persistent_congestion: true,
        });
        assert_eq!(reno.window(), 2 * MTU);
        assert_eq!(reno.ssthresh(), 50_000);
        spurious(&mut reno, begin + secs(9), begin + secs(8), 9);
        assert_eq!(reno.window(), 2 * MTU);
        ack(&mut reno, begin + secs(9), 2000, false);
        assert_eq!(reno.window(), 4000);
    }

    #[test]
    fn a_loss_that_was_none_is_undone() {
        let begin = start();
        let mut reno = NewReno::new(MTU);
        ack(&mut reno, begin, 30_000, false);
        lose(&mut reno, begin + secs(2), begin + secs(1), 2);
        lose(&mut reno, begin + secs(2), begin + secs(1), 1);
        spurious(&mut reno, begin + secs(3), begin + secs(1), 2);
        assert_eq!(reno.window(), 20_000);
        spurious(&mut reno, begin + secs(3), begin + secs(1), 1);
        assert_eq!(reno.window(), 40_000);
        assert_eq!(reno.ssthresh(), u64::MAX);
        // Nothing is undone twice.
        spurious(&mut reno, begin + secs(3), begin + secs(1), 1);
        assert_eq!(reno.window(), 40_000);
    }

    #[test]
    fn only_the_newest_reaction_can_be_undone() {
        let begin = start();
        let mut reno = NewReno::new(MTU);
        ack(&mut reno, begin, 30_000, false);
        lose(&mut reno, begin + secs(1), begin, 1);
        lose(&mut reno, begin + secs(3), begin + secs(2), 2);
        assert_eq!(reno.window(), 10_000);
        spurious(&mut reno, begin + secs(4), begin, 1);
        assert_eq!(reno.window(), 10_000);
    }

    #[test]
    fn a_mark_counts_like_a_loss_but_is_never_undone() {
        let begin = start();
        let mut reno = NewReno::new(MTU);
        reno.on_ecn_ce(begin + secs(1), begin);
        assert_eq!(reno.window(), 5000);
        reno.on_ecn_ce(begin + secs(2), begin + secs(1));
        assert_eq!(reno.window(), 5000);
        spurious(&mut reno, begin + secs(2), begin, 1);
        assert_eq!(reno.window(), 5000);
    }

    #[test]
    fn pacing_is_faster_than_the_window_and_twice_so_in_slow_start() {
        let begin = start();
        let mut rtt = Rtt::default();
        rtt.update(Duration::from_millis(100), Duration::ZERO);
        let mut reno = NewReno::new(MTU);
        assert_eq!(reno.pacing_rate(&rtt), 200_000);
        lose(&mut reno, begin, begin, 1);
        assert_eq!(reno.pacing_rate(&rtt), 62_500);
        let mut zero = Rtt::default();
        zero.update(Duration::ZERO, Duration::ZERO);
        assert!(reno.pacing_rate(&zero) < u64::MAX);
    }

    #[test]
    fn larger_packets_raise_the_initial_window_but_not_a_learnt_one() {
        let begin = start();
        let mut reno = NewReno::new(1200);
        reno.on_mtu_change(1452);
        assert_eq!(reno.window(), 14_520);
        lose(&mut reno, begin, begin, 1);
        reno.on_mtu_change(1472);
        assert_eq!(reno.window(), 7260);
        reno.reset(begin);
        assert_eq!(reno.window(), 14_720);
    }
}
