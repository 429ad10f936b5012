//! CUBIC: after a loss the window follows a cubic curve of time back to where the loss was, stays near there for a
//! while, and then probes beyond. RFC 9438; slow start with `HyStart++` (RFC 9406, [`super::hystart`]).
//!
//! ```text
//!   window
//!     |                               /     convex: probing
//!   W_max - - - - - - - _________---'
//!     |           __---'    concave: back to where it was
//!     |        ,-'
//!     |  beta /
//!     |______|___________|______________ t
//!          epoch         K
//! ```
//!
//! A reduction takes a round trip (`prr`, RFC 9937).
//!
//! Windows are counted in bytes where the RFC counts segments; one segment is `mtu`. It must not know packets or
//! the clock: time comes with the events.
//!
//! Where the RFC asks for the flight size, the window stands in (RFC 9002 section 7.3.2; RFC 9438 section 4.6
//! allows it): it does not grow while it is not used. Spurious time-outs (section 4.9.1) do not exist here, because
//! a probe time-out leaves the window alone (RFC 9002 section 6.2).

use std::time::{Duration, Instant};

use super::super::rtt::Rtt;
use super::hystart::{HyStart, Phase};
use super::prr::Prr;
use super::{AckEvent, Controller, LossEvent, SpuriousLossEvent, initial_window, minimum_window, window_pacing_rate};

/// Window after a loss, as a part of the one before (RFC 9438 section 4.6).
pub const BETA_CUBIC: f64 = 0.7;
/// Steepness of the curve in segments per second cubed (RFC 9438 section 5).
pub const C: f64 = 0.4;
/// Segments per round by which the Reno-friendly estimate grows, so that with [`BETA_CUBIC`] it has Reno's average
/// (RFC 9438 section 4.3).
pub const ALPHA_CUBIC: f64 = 3.0 * (1.0 - BETA_CUBIC) / (1.0 + BETA_CUBIC);
/// The window grows at most by this factor in a round trip (RFC 9438 section 4.2).
pub const MAX_GROWTH: f64 = 1.5;

/// The controller of one path.
#[derive(Clone, Debug)]
pub struct Cubic {
    mtu: u64,
    state: State,
    undo: Option<Undo>,
    hystart: HyStart,
}

/// All that a reduction changes, and that taking it back restores (RFC 9438 section 4.9.2).
#[derive(Clone, Copy, Debug)]
struct State {
    /// In bytes; the fraction is growth that has not made a byte yet.
    congestion_window: f64,
    ssthresh: u64,
    /// Losses of packets sent until then belong to a reaction already made.
    recovery_start: Option<Instant>,
    /// The window just before the last reduction.
    cwnd_prior: f64,
    /// Where the curve levels out. `None` until a loss has shown it, and after persistent congestion.
    w_max: Option<f64>,
    /// The current stage of congestion avoidance, once an ACK has begun it.
    epoch: Option<Epoch>,
    /// The way down to `congestion_window`, as long as it takes.
    prr: Option<Prr>,
}

/// What stood before the last reduction, as long as it may turn out to be needless.
#[derive(Clone, Copy, Debug)]
struct Undo {
    before: State,
    /// Lost packets of this recovery that were not seen to arrive. At zero there was no loss.
    missing_pkts: u64,
}

/// A stage of congestion avoidance.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    curve: Curve,
    /// `t_epoch` of the RFC, moved on by the time that does not count.
    start: Instant,
    /// Time is accounted for until then.
    counted_until: Instant,
    /// What Reno would have (`W_est`).
    w_est: f64,
}

/// `W_cubic(t)` (RFC 9438 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Curve {
    /// `C` in bytes per second cubed.
    c: f64,
    /// Seconds until `w_max` is reached.
    k: f64,
    /// In bytes.
    w_max: f64,
}

impl Curve {
    /// From `cwnd_epoch` up to `w_max` and beyond. Without a `w_max` above it, it starts where it levels out
    /// (RFC 9438 sections 4.8 and 4.10).
    fn new(mtu: u64, cwnd_epoch: f64, w_max: Option<f64>) -> Self {
        let c = C * mtu as f64;
        let w_max = w_max.unwrap_or(cwnd_epoch).max(cwnd_epoch);
        Self {
            c,
            k: ((w_max - cwnd_epoch) / c).cbrt(),
            w_max,
        }
    }

    fn at(&self, t: Duration) -> f64 {
        self.c * (t.as_secs_f64() - self.k).powi(3) + self.w_max
    }
}

impl Epoch {
    fn begin(now: Instant, mtu: u64, cwnd_epoch: f64, w_max: Option<f64>) -> Self {
        Self {
            curve: Curve::new(mtu, cwnd_epoch, w_max),
            start: now,
            counted_until: now,
            w_est: cwnd_epoch,
        }
    }

    /// The time until `now` counts.
    fn count(&mut self, now: Instant) {
        self.counted_until = self.counted_until.max(now);
    }

    /// The time until `now` does not count: the sender had nothing to send (RFC 9438 section 5.8).
    fn skip(&mut self, now: Instant) {
        self.start += now.saturating_duration_since(self.counted_until);
        self.count(now);
    }

    /// The window after an ACK that finds it at `cwnd` (RFC 9438 sections 4.2 to 4.5).
    fn grow(&mut self, event: &AckEvent<'_>, mtu: u64, cwnd: f64, cwnd_prior: f64) -> f64 {
        self.count(event.now);
        let t = event.now.saturating_duration_since(self.start);
        // Where an old, larger window is still being acknowledged, a full round is the most that counts.
        let share = (event.newly_acked_bytes as f64 / cwnd).min(1.0);
        // From where the loss was on, Reno's own pace (section 4.3).
        let alpha = if self.w_est < cwnd_prior { ALPHA_CUBIC } else { 1.0 };
        self.w_est += alpha * share * mtu as f64;
        if self.curve.at(t) < self.w_est {
            return cwnd.max(self.w_est);
        }
        let target = self
            .curve
            .at(t + event.rtt.smoothed_rtt())
            .clamp(cwnd, MAX_GROWTH * cwnd);
        cwnd + (target - cwnd) * share
    }
}

impl State {
    fn new(mtu: u64) -> Self {
        Self {
            congestion_window: initial_window(mtu) as f64,
            ssthresh: u64::MAX,
            recovery_start: None,
            cwnd_prior: 0.0,
            w_max: None,
            epoch: None,
            prr: None,
        }
    }

    fn window(&self) -> u64 {
        self.congestion_window as u64
    }

    fn in_recovery(&self, sent_at: Instant) -> bool {
        self.recovery_start.is_some_and(|start| sent_at <= start)
    }

    fn in_slow_start(&self) -> bool {
        self.window() < self.ssthresh
    }

    /// RFC 9438 sections 4.6 and 4.7. The window is the new one from now on; what may be in flight gets there by `prr`.
    fn reduce(&mut self, now: Instant, mtu: u64) {
        let cwnd = self.congestion_window;
        self.recovery_start = Some(now);
        self.cwnd_prior = cwnd;
        // Fast convergence: who did not get back to the old maximum leaves room for somebody new.
        self.w_max = Some(match self.w_max {
            Some(w_max) if cwnd < w_max => cwnd * f64::midpoint(1.0, BETA_CUBIC),
            _ => cwnd,
        });
        self.ssthresh = ((cwnd * BETA_CUBIC) as u64).max(minimum_window(mtu));
        self.congestion_window = self.ssthresh as f64;
        self.epoch = None;
    }
}

impl Cubic {
    /// Starts in slow start. `mtu` is the size of a full packet in bytes.
    pub fn new(mtu: u64) -> Self {
        Self {
            mtu,
            state: State::new(mtu),
            undo: None,
            // Nearly always; where nothing is paced, round trips are too short for it to matter.
            hystart: HyStart::paced(),
        }
    }

    /// `HyStart++` is for the first slow start; a later one knows its threshold (RFC 9406 section 4.2).
    fn slow_start(&mut self, event: &AckEvent<'_>) {
        let state = &mut self.state;
        if state.ssthresh < u64::MAX {
            state.congestion_window += event.newly_acked_bytes as f64;
            return;
        }
        state.congestion_window += self.hystart.growth(event.newly_acked_bytes, self.mtu) as f64;
        if self.hystart.on_ack(event, self.mtu) == Phase::Finished {
            // RFC 9438 section 4.10.
            state.ssthresh = state.window();
            state.cwnd_prior = state.congestion_window;
        }
    }

    fn congestion_avoidance(&mut self, event: &AckEvent<'_>) {
        let State {
            congestion_window: cwnd,
            cwnd_prior,
            w_max,
            ..
        } = self.state;
        let epoch = self
            .state
            .epoch
            .get_or_insert_with(|| Epoch::begin(event.now, self.mtu, cwnd, w_max));
        self.state.w_max = Some(epoch.curve.w_max);
        self.state.congestion_window = epoch.grow(event, self.mtu, cwnd, cwnd_prior);
    }
}

impl Controller for Cubic {
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight_before: u64, _: bool) {
        self.hystart.on_sent(now);
        if let Some(prr) = &mut self.state.prr {
            prr.on_sent(bytes);
        }
        if in_flight_before == 0
            && let Some(epoch) = &mut self.state.epoch
        {
            epoch.skip(now);
        }
    }

    fn on_ack(&mut self, event: &AckEvent<'_>) {
        if self.state.in_recovery(event.largest_acked_sent_at) {
            if let Some(prr) = &mut self.state.prr {
                let is_safe = event.lost_bytes == 0;
                prr.on_ack(event.newly_acked_bytes, event.bytes_in_flight, is_safe, self.mtu);
            }
        } else {
            // The window is what it was to become.
            self.state.prr = None;
        }
        if event.app_limited {
            if let Some(epoch) = &mut self.state.epoch {
                epoch.skip(event.now);
            }
            return;
        }
        if self.state.in_recovery(event.largest_acked_sent_at) {
            return;
        }
        if self.state.in_slow_start() {
            self.slow_start(event);
        } else {
            self.congestion_avoidance(event);
        }
    }

    fn on_loss(&mut self, event: &LossEvent) {
        if self.state.in_recovery(event.largest_lost_sent_at) {
            if let Some(undo) = &mut self.undo {
                undo.missing_pkts += event.lost_pkts;
            }
            if let Some(prr) = &mut self.state.prr {
                prr.on_lost(event.lost_bytes, event.bytes_in_flight);
            }
        } else {
            // A recovery that this one ends has arrived where it was to.
            self.state.prr = None;
            self.undo = Some(Undo {
                before: self.state,
                missing_pkts: event.lost_pkts,
            });
            self.state.reduce(event.now, self.mtu);
            let ssthresh = self.state.ssthresh;
            self.state.prr = Some(Prr::begin(event.lost_bytes, event.bytes_in_flight, ssthresh));
        }
        if event.persistent_congestion {
            // As after a retransmission time-out (RFC 9438 section 4.8, RFC 9002 section 7.6.2).
            self.state.congestion_window = minimum_window(self.mtu) as f64;
            self.state.recovery_start = None;
            self.state.w_max = None;
            self.state.epoch = None;
            self.state.prr = None;
            self.undo = None;
        }
    }

    fn on_spurious_loss(&mut self, event: &SpuriousLossEvent) {
        if !self.state.in_recovery(event.earliest_sent_at) {
            return;
        }
        let Some(undo) = &mut self.undo else { return };
        undo.missing_pkts = undo.missing_pkts.saturating_sub(event.pkts);
        if undo.missing_pkts > 0 {
            return;
        }
        // A window that has outgrown the old one keeps its new curve.
        if self.state.congestion_window < undo.before.congestion_window {
            self.state = undo.before;
        }
        self.undo = None;
    }

    fn on_ecn_ce(&mut self, now: Instant, sent_at: Instant) {
        if self.state.in_recovery(sent_at) {
            return;
        }
        // A mark is never spurious.
        self.undo = None;
        self.state.reduce(now, self.mtu);
        // Nothing was lost that a proportional reduction could be measured by, and one that is under way is of a window before.
        self.state.prr = None;
    }

    fn window(&self) -> u64 {
        let floor = minimum_window(self.mtu);
        let window = self.state.window();
        self.state.prr.map_or(window, |prr| prr.window().max(floor))
    }

    fn ssthresh(&self) -> u64 {
        self.state.ssthresh
    }

    fn pacing_rate(&self, rtt: &Rtt) -> u64 {
        // That of the new window: the way down is paced by what arrives.
        window_pacing_rate(self.state.window(), self.ssthresh(), rtt, self.mtu)
    }

    fn on_mtu_change(&mut self, mtu: u64) {
        self.mtu = mtu;
        let floor = if self.state.ssthresh == u64::MAX {
            initial_window(mtu)
        } else {
            minimum_window(mtu)
        };
        self.state.congestion_window = self.state.congestion_window.max(floor as f64);
    }

    fn reset(&mut self, _: Instant) {
        *self = Self::new(self.mtu);
    }

    fn name(&self) -> &'static str {
        "cubic"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MTU: u64 = 1000;

    #[expect(clippy::disallowed_methods, reason = "any moment will do as the origin")]
    fn start() -> Instant {
        Instant::now()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const fn secs(secs: u64) -> Duration {
        ms(secs * 1000)
    }

    fn rtt_of(sample: Duration) -> Rtt {
        let mut rtt = Rtt::default();
        rtt.update(sample, Duration::ZERO);
        rtt
    }

    /// A sender that uses its whole window on a path of one RTT, and the time.
    struct Flow {
        cubic: Cubic,
        now: Instant,
        rtt: Duration,
    }

    impl Flow {
        fn new(rtt: Duration) -> Self {
            Self {
                cubic: Cubic::new(MTU),
                now: start(),
                rtt,
            }
        }

        /// In congestion avoidance after a loss at a window of `pkts`, the recovery just over.
        fn after_loss_at(pkts: u64, rtt: Duration) -> Self {
            let mut flow = Self::new(rtt);
            flow.cubic.state.congestion_window = (pkts * MTU) as f64;
            flow.lose(1);
            flow.now += rtt;
            flow
        }

        fn pkts(&self) -> f64 {
            self.cubic.state.congestion_window / MTU as f64
        }

        fn ack(&mut self, bytes: u64, app_limited: bool) {
            self.cubic.on_ack(&AckEvent {
                now: self.now,
                newly_acked_bytes: bytes,
                // Just after the reaction, where that was less than a round trip ago.
                largest_acked_sent_at: self.now.checked_sub(self.rtt).unwrap() + ms(1),
                bytes_in_flight: self.cubic.window(),
                rtt: &rtt_of(self.rtt),
                app_limited,
                rate: None,
                lost_bytes: 0,
            });
        }

        /// A round trip with ten ACKs.
        fn round(&mut self) {
            for _ in 0..10 {
                self.ack(self.cubic.window() / 10, false);
                self.now += self.rtt / 10;
            }
        }

        fn run(&mut self, time: Duration) {
            let end = self.now + time;
            while self.now < end {
                self.round();
            }
        }

        fn lose(&mut self, pkts: u64) {
            self.lose_sent_at(self.now, pkts);
        }

        fn lose_sent_at(&mut self, sent_at: Instant, pkts: u64) {
            self.cubic.on_loss(&LossEvent {
                now: self.now,
                largest_lost_sent_at: sent_at,
                lost_bytes: pkts * MTU,
                lost_pkts: pkts,
                bytes_in_flight: self.cubic.window().saturating_sub(pkts * MTU),
                persistent_congestion: false,
            });
        }

        fn spurious(&mut self, sent_at: Instant, pkts: u64) {
            self.cubic.on_spurious_loss(&SpuriousLossEvent {
                now: self.now,
                pkts,
                earliest_sent_at: sent_at,
            });
        }
    }

    fn assert_near(value: f64, expected: f64, part: f64) {
        assert!(
            (value - expected).abs() <= expected.abs() * part,
            "{value} is not within {} % of {expected}",
            part * 100.0
        );
    }

    #[test]
    fn the_numbers_are_those_of_the_rfc() {
        assert_near(ALPHA_CUBIC, 9.0 / 17.0, 1e-12);
        // A loss at 1000 segments: back to 700, and K = cbrt(300 / 0.4) seconds to return.
        let curve = Curve::new(MTU, 700_000.0, Some(1_000_000.0));
        assert_near(curve.k, 9.085_603, 1e-6);
        assert_near(curve.at(Duration::ZERO), 700_000.0, 1e-9);
        assert_near(curve.at(Duration::from_secs_f64(curve.k)), 1_000_000.0, 1e-9);
        // 0.4 * 5^3 = 50 segments beyond, five seconds later.
        assert_near(curve.at(Duration::from_secs_f64(curve.k + 5.0)), 1_050_000.0, 1e-9);
        // No maximum, or one that is reached already: level from the start.
        for w_max in [None, Some(500_000.0)] {
            let curve = Curve::new(MTU, 700_000.0, w_max);
            assert_eq!((curve.k, curve.w_max), (0.0, 700_000.0));
        }
    }

    #[test]
    fn a_loss_leaves_seven_tenths_once_per_round() {
        let mut flow = Flow::new(ms(100));
        flow.cubic.state.congestion_window = 100_000.0;
        let before = flow.now;
        flow.lose(1);
        assert_eq!(flow.cubic.state.window(), 70_000);
        assert_eq!(flow.cubic.ssthresh(), 70_000);
        flow.now += ms(50);
        flow.lose_sent_at(before, 5);
        assert_eq!(flow.cubic.state.window(), 70_000);
        flow.lose(1);
        assert_eq!(flow.cubic.state.window(), 49_000);
    }

    #[test]
    fn the_window_shrinks_with_what_arrives_and_is_the_new_one_after_the_round() {
        let mut flow = Flow::new(ms(100));
        flow.cubic.state.congestion_window = 100_000.0;
        flow.lose(1);
        assert_eq!(flow.cubic.window(), 99_000, "nothing is taken back that is under way");
        let before = flow.now.checked_sub(ms(1)).unwrap();
        let mut in_flight = 99 * MTU;
        for _ in 0..99 {
            in_flight -= MTU;
            flow.cubic.on_ack(&AckEvent {
                now: flow.now,
                newly_acked_bytes: MTU,
                largest_acked_sent_at: before,
                bytes_in_flight: in_flight,
                rtt: &rtt_of(flow.rtt),
                app_limited: false,
                rate: None,
                lost_bytes: 0,
            });
            if in_flight + MTU <= flow.cubic.window() {
                flow.cubic.on_sent(flow.now, MTU, in_flight, false);
                in_flight += MTU;
            }
        }
        assert!((69_000..=71_000).contains(&in_flight), "{in_flight}");
        flow.now += ms(150);
        flow.ack(MTU, true);
        assert_eq!(flow.cubic.window(), 70_000);
    }

    #[test]
    fn the_window_follows_the_curve_through_its_plateau_and_beyond() {
        let mut flow = Flow::after_loss_at(1000, ms(100));
        let k = (300.0_f64 / 0.4).cbrt();
        let mut last = flow.pkts();
        for second in 1..=18 {
            flow.run(secs(1));
            let expected = 0.4 * (f64::from(second) - k).powi(3) + 1000.0;
            assert_near(flow.pkts(), expected, 0.01);
            assert!(flow.pkts() > last);
            last = flow.pkts();
        }
    }

    #[test]
    fn the_curve_does_not_depend_on_the_rtt() {
        let windows = [20, 50, 100, 200].map(|rtt| {
            let mut flow = Flow::after_loss_at(2000, ms(rtt));
            flow.run(secs(6));
            flow.pkts()
        });
        for window in windows {
            assert_near(window, windows[0], 0.01);
        }
    }

    #[test]
    fn on_a_short_path_the_window_grows_like_renos() {
        // K is 2.5 s: far more than Reno needs.
        let mut flow = Flow::after_loss_at(20, ms(10));
        assert_near(flow.pkts(), 14.0, 1e-9);
        for _ in 0..10 {
            flow.round();
        }
        // 9/17 of a packet per round trip up to where the loss was...
        assert_near(flow.pkts(), 14.0 + 10.0 * ALPHA_CUBIC, 0.02);
        while flow.pkts() < 20.0 {
            flow.round();
        }
        let reached = flow.pkts();
        // ... and a whole one from there on.
        for _ in 0..10 {
            flow.round();
        }
        assert_near(flow.pkts(), reached + 10.0, 0.02);
    }

    #[test]
    fn a_flow_that_does_not_regain_its_maximum_leaves_room() {
        let mut flow = Flow::after_loss_at(1000, ms(100));
        assert_eq!(flow.cubic.state.w_max, Some(1_000_000.0));
        flow.run(secs(1));
        let cwnd = flow.cubic.state.congestion_window;
        assert!(cwnd < 1_000_000.0);
        flow.lose(1);
        assert_near(flow.cubic.state.w_max.unwrap(), cwnd * 0.85, 1e-9);
        // One that has regained it keeps it.
        flow.now += flow.rtt;
        flow.run(secs(30));
        let cwnd = flow.cubic.state.congestion_window;
        flow.lose(1);
        assert_eq!(flow.cubic.state.w_max, Some(cwnd));
    }

    #[test]
    fn two_flows_on_one_path_come_to_equal_shares() {
        let rtt = ms(50);
        let mut flows = [Flow::after_loss_at(900, rtt), Flow::after_loss_at(100, rtt)];
        let (mut sums, mut losses) = ([0.0; 2], 0);
        for round in 0..8000 {
            flows.iter_mut().for_each(Flow::round);
            if flows.iter().map(Flow::pkts).sum::<f64>() > 1000.0 {
                losses += 1;
                for flow in &mut flows {
                    flow.lose(1);
                    flow.now += rtt;
                }
            }
            if round >= 4000 {
                for (sum, flow) in sums.iter_mut().zip(&flows) {
                    *sum += flow.pkts();
                }
            }
        }
        assert!(losses > 20, "{losses} losses");
        let ratio = sums[0] / sums[1];
        assert!((0.9..1.1).contains(&ratio), "{ratio}");
        let used = (sums[0] + sums[1]) / 4000.0;
        assert!(used > 850.0, "{used}");
    }

    #[test]
    fn the_window_never_grows_by_more_than_half_on_one_ack() {
        let mut flow = Flow::after_loss_at(10, ms(100));
        flow.round();
        // The curve is miles above by now.
        flow.now += secs(100);
        let before = flow.pkts();
        flow.ack(100 * flow.cubic.state.window(), false);
        assert_near(flow.pkts(), before * 1.5, 1e-9);
    }

    #[test]
    fn time_without_data_does_not_count() {
        let mut busy = Flow::after_loss_at(1000, ms(100));
        let mut idle = Flow::after_loss_at(1000, ms(100));
        let mut limited = Flow::after_loss_at(1000, ms(100));
        for flow in [&mut busy, &mut idle, &mut limited] {
            flow.run(secs(2));
        }
        idle.now += secs(60);
        idle.cubic.on_sent(idle.now, MTU, 0, false);
        for _ in 0..600 {
            limited.now += ms(100);
            limited.ack(MTU, true);
        }
        let at_rest = busy.pkts();
        assert_near(idle.pkts(), at_rest, 1e-12);
        assert_near(limited.pkts(), at_rest, 1e-12);
        for flow in [&mut busy, &mut idle, &mut limited] {
            flow.run(secs(3));
        }
        assert!(busy.pkts() > at_rest + 50.0);
        assert_near(idle.pkts(), busy.pkts(), 0.01);
        assert_near(limited.pkts(), busy.pkts(), 0.01);
    }

    #[test]
    fn a_sender_that_does_not_use_its_window_does_not_widen_it() {
        let mut flow = Flow::new(ms(100));
        flow.ack(10_000, true);
        assert_eq!(flow.cubic.state.window(), 10_000);
        let mut flow = Flow::after_loss_at(10, ms(100));
        for _ in 0..100 {
            flow.ack(MTU, true);
            flow.now += ms(100);
        }
        assert_eq!(flow.cubic.state.window(), 7000);
    }

    #[test]
    fn a_loss_that_was_none_is_undone_as_if_it_had_never_been() {
        let mut flow = Flow::after_loss_at(1000, ms(100));
        let mut undisturbed = Flow::after_loss_at(1000, ms(100));
        flow.run(secs(4));
        undisturbed.run(secs(4));
        let before = flow.cubic.state;
        let sent_at = flow.now;
        flow.lose(2);
        flow.lose(1);
        assert_eq!(flow.cubic.state.window(), (before.congestion_window * 0.7) as u64);
        flow.now += ms(100);
        undisturbed.now += ms(100);
        flow.spurious(sent_at, 2);
        assert!(flow.pkts() < before.congestion_window / MTU as f64);
        flow.spurious(sent_at, 1);
        let after = flow.cubic.state;
        assert_eq!(after.congestion_window.to_bits(), before.congestion_window.to_bits());
        assert_eq!(after.ssthresh, before.ssthresh);
        assert_eq!(after.w_max, before.w_max);
        assert_eq!(after.cwnd_prior.to_bits(), before.cwnd_prior.to_bits());
        assert_eq!(after.recovery_start, before.recovery_start);
        // The curve goes on where it would be, the recovery included.
        flow.run(secs(3));
        undisturbed.run(secs(3));
        assert_near(flow.pkts(), undisturbed.pkts(), 0.001);
        // Nothing is undone twice.
        flow.spurious(sent_at, 1);
        assert_near(flow.pkts(), undisturbed.pkts(), 0.001);
    }

    #[test]
    fn undoing_late_does_not_shrink_a_window_that_has_grown_since() {
        let mut flow = Flow::after_loss_at(100, ms(100));
        flow.run(secs(1));
        let sent_at = flow.now;
        flow.lose(1);
        flow.now += ms(100);
        flow.run(secs(30));
        let window = flow.cubic.state.window();
        assert!(window > 100_000);
        flow.spurious(sent_at, 1);
        assert_eq!(flow.cubic.state.window(), window);
        assert!(flow.cubic.ssthresh() < 100_000);
    }

    #[test]
    fn a_loss_in_slow_start_that_was_none_leads_back_to_slow_start() {
        let mut flow = Flow::new(ms(100));
        flow.ack(30_000, false);
        let sent_at = flow.now;
        flow.lose(1);
        assert_eq!(flow.cubic.state.window(), 28_000);
        flow.now += ms(100);
        flow.spurious(sent_at, 1);
        assert_eq!(flow.cubic.state.window(), 40_000);
        assert_eq!(flow.cubic.ssthresh(), u64::MAX);
        flow.ack(1000, false);
        assert_eq!(flow.cubic.state.window(), 41_000);
    }

    #[test]
    fn only_the_newest_reaction_can_be_undone() {
        let mut flow = Flow::after_loss_at(100, ms(100));
        let first = flow.now.checked_sub(ms(100)).unwrap();
        flow.lose(2);
        assert_eq!(flow.cubic.state.window(), 49_000);
        flow.spurious(first, 1);
        assert_eq!(flow.cubic.state.window(), 49_000);
    }

    #[test]
    fn persistent_congestion_collapses_the_window_and_forgets_the_maximum() {
        let mut flow = Flow::after_loss_at(100, ms(100));
        let sent_at = flow.now;
        flow.cubic.on_loss(&LossEvent {
            now: flow.now,
            largest_lost_sent_at: sent_at,
            lost_bytes: 9000,
            lost_pkts: 9,
            bytes_in_flight: 0,
            persistent_congestion: true,
        });
        assert_eq!(flow.cubic.state.window(), 2 * MTU);
        assert_eq!(flow.cubic.ssthresh(), 49_000);
        flow.spurious(sent_at, 9);
        assert_eq!(flow.cubic.state.window(), 2 * MTU);
        // Slow start up to the threshold, then a curve that starts level.
        while flow.cubic.state.window() < 49_000 {
            flow.round();
        }
        let reached = flow.cubic.state.congestion_window;
        assert!(reached < 60_000.0);
        flow.ack(1000, false);
        let curve = flow.cubic.state.epoch.unwrap().curve;
        assert_eq!(curve.k.to_bits(), 0.0_f64.to_bits());
        assert_near(curve.w_max, reached, 0.01);
    }

    #[test]
    fn the_window_never_falls_below_two_packets() {
        let mut flow = Flow::new(ms(100));
        for _ in 0..20 {
            flow.now += secs(1);
            flow.lose(1);
        }
        assert_eq!(flow.cubic.state.window(), 2 * MTU);
        assert_eq!(flow.cubic.ssthresh(), 2 * MTU);
        // It still grows from there.
        flow.now += ms(100);
        flow.run(secs(5));
        assert!(flow.pkts() > 10.0);
    }

    /// The acknowledgement that ends a recovery brings a mark: the next reduction is a new one, and nothing was lost in it.
    #[test]
    fn a_mark_at_the_end_of_a_recovery_does_not_go_on_with_the_window_of_that_recovery() {
        let mut flow = Flow::new(ms(100));
        flow.cubic.state.congestion_window = (100 * MTU) as f64;
        flow.lose(1);
        assert!(flow.cubic.state.prr.is_some());
        let sent_at = flow.now + ms(1);
        flow.now += ms(100);
        flow.cubic.on_ecn_ce(flow.now, sent_at);
        assert_eq!(flow.cubic.window(), flow.cubic.ssthresh());
        flow.ack(MTU, false);
        assert_eq!(flow.cubic.window(), flow.cubic.ssthresh());
    }

    #[test]
    fn a_mark_counts_like_a_loss_but_is_never_undone() {
        let mut flow = Flow::new(ms(100));
        let sent_at = flow.now;
        flow.now += secs(1);
        flow.cubic.on_ecn_ce(flow.now, sent_at);
        assert_eq!(flow.cubic.state.window(), 7000);
        flow.cubic.on_ecn_ce(flow.now, flow.now);
        assert_eq!(flow.cubic.state.window(), 7000);
        flow.spurious(sent_at, 1);
        assert_eq!(flow.cubic.state.window(), 7000);
    }

    /// A bottleneck of a packet per millisecond behind a path of 50 ms with an endless buffer. Returns the window
    /// in packets when the queue was noticed and when slow start ended.
    fn slow_start_into_a_queue(pkts_per_ack: u64) -> (f64, f64) {
        let mut cubic = Cubic::new(MTU);
        let mut rtt = Rtt::default();
        let begin = start();
        let (base, per_pkt) = (ms(50), ms(1));
        let mut in_flight = std::collections::VecDeque::new();
        let (mut now, mut free_at) = (begin, begin);
        let mut noticed_at = None;
        while cubic.ssthresh() == u64::MAX {
            while in_flight.len() as u64 * MTU + MTU <= cubic.window() {
                free_at = free_at.max(now) + per_pkt;
                cubic.on_sent(now, MTU, in_flight.len() as u64 * MTU, false);
                in_flight.push_back((now, free_at + base));
            }
            let pkts = pkts_per_ack.min(in_flight.len() as u64);
            let mut largest_acked_sent_at = now;
            for (sent_at, arrived) in in_flight.drain(..pkts as usize) {
                largest_acked_sent_at = sent_at;
                now = arrived;
            }
            rtt.update(now.duration_since(largest_acked_sent_at), Duration::ZERO);
            cubic.on_ack(&AckEvent {
                now,
                newly_acked_bytes: pkts * MTU,
                largest_acked_sent_at,
                bytes_in_flight: in_flight.len() as u64 * MTU,
                rtt: &rtt,
                app_limited: false,
                rate: None,
                lost_bytes: 0,
            });
            let pkts = cubic.state.congestion_window / MTU as f64;
            assert!(pkts < 10_000.0, "slow start never ends");
            if cubic.hystart.phase() == Phase::Conservative {
                noticed_at.get_or_insert(pkts);
            }
        }
        assert_eq!(cubic.ssthresh(), cubic.window());
        assert_near(cubic.state.cwnd_prior, cubic.state.congestion_window, 1e-12);
        assert_eq!(cubic.state.w_max, None);
        let ended_at = cubic.state.congestion_window / MTU as f64;
        (noticed_at.unwrap(), ended_at)
    }

    #[test]
    fn slow_start_ends_without_a_loss_when_a_queue_builds() {
        for pkts_per_ack in [1, 2, 10] {
            let (noticed_at, ended_at) = slow_start_into_a_queue(pkts_per_ack);
            // The path holds 50 packets; a doubling shows in the round after it.
            assert!((50.0..200.0).contains(&noticed_at), "{noticed_at}");
            // Then at most five rounds at a quarter of the growth.
            let factor = ended_at / noticed_at;
            assert!((1.25..1.25_f64.powi(5) + 0.1).contains(&factor), "{factor}");
        }
    }

    #[test]
    fn after_hystart_the_curve_starts_level_where_slow_start_ended() {
        let mut flow = Flow::new(ms(50));
        flow.cubic.state.congestion_window = 100_000.0;
        flow.cubic.state.ssthresh = 100_000;
        flow.cubic.state.cwnd_prior = 100_000.0;
        flow.run(secs(2));
        // Level, so that for a while Reno's pace of one packet per round is the faster one.
        assert_near(flow.pkts(), 140.0, 0.05);
        assert_eq!(
            flow.cubic.state.epoch.unwrap().curve.w_max.to_bits(),
            100_000.0_f64.to_bits()
        );
    }

    #[test]
    fn pacing_is_faster_than_the_window_and_twice_so_in_slow_start() {
        let rtt = rtt_of(ms(100));
        let mut flow = Flow::new(ms(100));
        assert_eq!(flow.cubic.pacing_rate(&rtt), 200_000);
        flow.lose(1);
        assert_eq!(flow.cubic.pacing_rate(&rtt), 87_500);
        assert!(flow.cubic.pacing_rate(&rtt_of(Duration::ZERO)) < u64::MAX);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_window_stays_within_its_bounds(
            events in prop::collection::vec((0..7u8, 1..200u64, 0..3000u64), 1..300),
        ) {
            let mut flow = Flow::new(ms(40));
            for (kind, pkts, wait_ms) in events {
                flow.now += ms(wait_ms);
                let sent_at = flow.now.checked_sub(ms(40)).unwrap();
                let before = flow.cubic.state.window();
                match kind {
                    0..=2 => flow.ack(pkts * MTU, false),
                    3 => flow.ack(pkts * MTU, true),
                    4 => flow.lose_sent_at(sent_at, pkts),
                    5 => flow.spurious(sent_at, pkts),
                    _ => flow.cubic.on_sent(flow.now, MTU, 0, false),
                }
                let after = flow.cubic.state.window();
                prop_assert!(after >= 2 * MTU);
                prop_assert!(flow.cubic.window() >= 2 * MTU);
                prop_assert!(flow.cubic.ssthresh() >= 2 * MTU);
                match kind {
                    0..=2 => {
                        let most = (pkts * MTU).max(before / 2) + 1;
                        prop_assert!((before..=before + most).contains(&after));
                    }
                    4 => prop_assert!(after <= before),
                    5 => prop_assert!(after >= before),
                    _ => prop_assert_eq!(after, before),
                }
            }
        }
    }

    #[test]
    fn larger_packets_raise_the_initial_window_but_not_a_learnt_one() {
        let mut flow = Flow::new(ms(100));
        flow.cubic.on_mtu_change(1452);
        assert_eq!(flow.cubic.state.window(), 14_520);
        flow.lose(1);
        flow.cubic.on_mtu_change(1472);
        assert_eq!(flow.cubic.state.window(), 10_164);
        flow.cubic.reset(flow.now);
        assert_eq!(flow.cubic.state.window(), 14_720);
        assert_eq!(flow.cubic.ssthresh(), u64::MAX);
    }
}
