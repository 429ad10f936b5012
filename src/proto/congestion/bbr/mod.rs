//! BBR, version 3: sends at the rate at which the path delivers, with no more in flight than that takes.
//! draft-ietf-ccwg-bbr; names are the draft's, windows are counted in bytes.
//!
//! ```text
//!   Startup --(pipe full)--> Drain --(queue gone)--> Down -> Cruise -> Refill -> Up -.
//!                                                     ^------------------------------'
//!   any phase --(no low round trip for 5 s)--> ProbeRtt --> Down
//! ```
//!
//! Where it deviates, and why:
//!
//! * Losses alone are no sign of congestion (`losses`). ECN-CE marks are, for only a queue sets them: what losses and a second
//!   sign do, marks do alone. The draft leaves them open.
//! * The bandwidth counts what the path loses anyway as carried: else a path that loses 5 % after its bottleneck would be
//!   sent 95 % of its rate, of which 95 % arrive.
//! * A probe for bandwidth comes after 1 to 1.3 s, not after 2 to 3 s (`cycle`), and ends after two rounds without growth,
//!   not three (`full_pipe`). `ProbeBW_DOWN` has a gain of 0.8, not 0.9, so that its queue is gone in half the time.
//! * A path that becomes much slower is noticed at once (`collapse`), one that has become wider is filled faster
//!   (`FREE_PATH_GAIN`).
//! * Startup is paced faster while its window is small, and has a smaller one once there is a queue (`SMALL_WINDOW_PKTS`,
//!   `QUEUED_STARTUP_GAIN`).
//! * A round trip near the lowest confirms it, so `ProbeRTT` seldom is needed (`path_model`).
//!
//! It must not know packets or the clock: time comes with the events. Chance for the length of a cycle comes from what was
//! measured, for the core has no dice.

use std::time::{Duration, Instant};

use super::super::rtt::Rtt;
use super::delivery_rate::Sample;
use super::{AckEvent, Controller, LossEvent, SpuriousLossEvent, initial_window, minimum_window};
use bounds::Bounds;
use collapse::Collapse;
use cycle::Cycle;
use full_pipe::FullPipe;
use losses::{LOSS_THRESH, RandomLoss, Round};
use path_model::{ExtraAcked, MaxBw, MinRtt};
use phase::Phase;
use rounds::Rounds;

mod bounds;
mod collapse;
mod cycle;
mod full_pipe;
mod losses;
mod path_model;
mod phase;
mod rounds;
#[cfg(test)]
mod tests;

/// The pacing rate stays below the bandwidth by so many percent, so that what is queued drains (`PacingMarginPercent`).
const PACING_MARGIN_PERCENT: u64 = 1;
/// The least window, in packets, with which acknowledgements keep coming (`MinPipeCwnd`).
const MIN_PIPE_CWND_PKTS: u64 = 4;
/// Deviation: a probe that finds the path wider, and no queue, goes on at this gain, not at 1.25: from 10 to 100 Mbit/s in six
/// rounds, not in eleven.
const FREE_PATH_GAIN: f64 = 2.0;
/// Deviation: shorter round trips count as this long for what is in flight. Each end is a chain of threads that wake each other
/// and work on batches, and they would wait for each other. The part of the draft's `BBRQuantizationBudget`.
const SCHEDULING: Duration = Duration::from_micros(125);
/// Deviation: while the window is smaller than so many packets, Startup is paced at twice the window in a round trip if that is
/// more. The first rates are those of short bursts, and their pace leaves the window unused for a part of each round.
const SMALL_WINDOW_PKTS: u64 = 100;
const SMALL_WINDOW_GAIN: f64 = 2.0;
/// Deviation: once a round of Startup has seen a queue, its window is no more than this multiple of the bandwidth-delay product.
/// With 2 and what is added for bunched acknowledgements it overflows a queue of one bandwidth-delay product, and on a long path
/// thousands of packets wait for what was lost.
const QUEUED_STARTUP_GAIN: f64 = 1.75;
/// How long `ProbeRTT` lasts once little is in flight (`ProbeRTTDuration`).
const PROBE_RTT_DURATION: Duration = Duration::from_millis(200);
/// The RTT that is assumed for the first pacing rate where none was measured.
const NOMINAL_RTT: Duration = Duration::from_millis(1);

/// The controller of one path.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says that one thing happened")]
pub struct Bbr {
    mtu: u64,
    phase: Phase,
    cwnd: u64,
    /// The window to return to after `ProbeRTT`.
    prior_cwnd: u64,
    /// In bytes per second, once a rate was measured.
    pacing_rate: Option<u64>,
    model: Option<Model>,
    rounds: Rounds,
    full_pipe: FullPipe,
    collapse: Collapse,
    bounds: Bounds,
    random_loss: RandomLoss,
    round: Round,
    cycle: Cycle,
    probe_rtt: Option<ProbeRtt>,
    undo: Option<Undo>,
    /// Lost since the last acknowledgement.
    pending_lost_bytes: u64,
    /// Marked (ECN-CE) since then.
    pending_mark: bool,
    newest_acked_sent_at: Option<Instant>,
    /// The window was used in this round.
    cwnd_limited: bool,
    idle_restart: bool,
    /// The next cycle is short.
    hurried: bool,
}

/// What is believed of the path, from the first acknowledgement on.
#[derive(Clone, Copy, Debug)]
struct Model {
    max_bw: MaxBw,
    min_rtt: MinRtt,
    extra_acked: ExtraAcked,
}

/// A stay in `ProbeRTT`.
#[derive(Clone, Copy, Debug, Default)]
struct ProbeRtt {
    /// Little enough is in flight, and must be until then.
    until: Option<Instant>,
    round_done: bool,
}

/// What stood before losses were believed.
#[derive(Clone, Copy, Debug)]
struct Undo {
    phase: Phase,
    bounds: Bounds,
    /// Packets lost since then that were not seen to arrive.
    missing_pkts: u64,
    believed: bool,
}

impl Bbr {
    /// Starts in Startup. `mtu` is the size of a full packet in bytes.
    pub fn new(mtu: u64) -> Self {
        Self {
            mtu,
            phase: Phase::Startup,
            cwnd: initial_window(mtu),
            prior_cwnd: 0,
            pacing_rate: None,
            model: None,
            rounds: Rounds::default(),
            full_pipe: FullPipe::default(),
            collapse: Collapse::default(),
            bounds: Bounds::default(),
            random_loss: RandomLoss::default(),
            round: Round::default(),
            cycle: Cycle::default(),
            probe_rtt: None,
            undo: None,
            pending_lost_bytes: 0,
            pending_mark: false,
            newest_acked_sent_at: None,
            cwnd_limited: false,
            idle_restart: false,
            hurried: false,
        }
    }

    /// The bandwidth that the sender reckons with, in bytes per second.
    fn bw(&self) -> u64 {
        self.max_bw().min(self.bounds.bw_shortterm)
    }

    fn max_bw(&self) -> u64 {
        self.model.map_or(0, |model| model.max_bw.get())
    }

    fn min_rtt(&self) -> Option<Duration> {
        self.model.and_then(|model| model.min_rtt.get())
    }

    fn extra_acked(&self) -> u64 {
        self.model.map_or(0, |model| model.extra_acked.get())
    }

    fn min_pipe_cwnd(&self) -> u64 {
        MIN_PIPE_CWND_PKTS * self.mtu
    }

    /// `BBRInflight`: what is in flight at `bw` times `gain` without a queue.
    fn inflight(&self, bw: u64, gain: f64) -> u64 {
        let Some(min_rtt) = self.min_rtt().filter(|_| bw > 0) else {
            return initial_window(self.mtu);
        };
        let bdp = bw as f64 * min_rtt.max(SCHEDULING).as_secs_f64() * gain;
        (bdp as u64).max(self.min_pipe_cwnd())
    }

    /// `BBRTargetInflight`.
    fn target_inflight(&self) -> u64 {
        self.inflight(self.bw(), 1.0).min(self.cwnd)
    }

    fn probe_rtt_cwnd(&self) -> u64 {
        self.inflight(self.bw(), Phase::ProbeRtt.cwnd_gain())
    }

    /// `BBRUpdateModelAndState`, in the order of the draft.
    fn update(&mut self, event: &AckEvent<'_>, sample: &Sample) {
        let now = event.now;
        let round_begins = self.rounds.on_ack(sample);
        if round_begins {
            let ended = std::mem::take(&mut self.round);
            self.end_round(&ended, sample);
        }
        let lost_bytes = std::mem::take(&mut self.pending_lost_bytes);
        let bw = self.measure(event, sample, lost_bytes);
        if self.phase == Phase::Up {
            self.check_probe_losses(now, sample);
        }
        if !sample.app_limited {
            self.full_pipe.on_rate(bw, round_begins);
        }
        self.watch_for_collapse(event, sample);
        self.update_phase(event, sample, round_begins);
        self.update_min_rtt(event, sample);
        if round_begins {
            self.cwnd_limited = false;
        }
    }

    /// Takes what the acknowledgement measured into the model. Returns the rate at which the path took bytes.
    fn measure(&mut self, event: &AckEvent<'_>, sample: &Sample, lost_bytes: u64) -> u64 {
        let carried = self.random_loss.carried(sample.delivered_bytes, sample.lost_bytes);
        let bw = rate(sample.delivered_bytes + carried, sample.interval);
        let round = &mut self.round;
        round.delivered_bytes += event.newly_acked_bytes;
        round.lost_bytes += lost_bytes;
        round.is_marked |= std::mem::take(&mut self.pending_mark);
        round.bw = round.bw.max(bw);
        round.inflight = round.inflight.max(sample.delivered_bytes);
        round.app_limited |= sample.app_limited;
        let (count, cwnd, known) = (self.rounds.count(), self.cwnd, self.bw());
        let model = self.model.get_or_insert_with(|| Model {
            max_bw: MaxBw::default(),
            min_rtt: MinRtt::new(event.now),
            extra_acked: ExtraAcked::new(event.now),
        });
        if !sample.app_limited || bw >= model.max_bw.get() {
            model.max_bw.update(bw);
        }
        model
            .extra_acked
            .update(event.now, count, event.newly_acked_bytes, known, cwnd);
        bw
    }

    /// A whole round has been seen.
    fn end_round(&mut self, ended: &Round, sample: &Sample) {
        let Some(min_rtt) = self.min_rtt() else { return };
        let has_queue = ended.has_queue(min_rtt);
        // Where there is a queue a loss need not be large to come from it: so it is in the draft, and other flows live by it.
        let margin = if has_queue { 0.0 } else { LOSS_THRESH };
        let exceeded = self.random_loss.is_exceeded_by(ended, margin, self.mtu);
        match self.phase {
            Phase::Startup => {
                // The rate did not grow, and what was sent beyond it was lost or marked.
                let flat = self.full_pipe.flat_rounds() > 0 && !ended.app_limited;
                if (exceeded || ended.is_marked) && (has_queue || flat) {
                    self.full_pipe.set_reached();
                }
            }
            Phase::Refill | Phase::Up => {}
            Phase::Drain | Phase::Down | Phase::Cruise | Phase::ProbeRtt => {
                let is_slower = ended.is_slower_than(self.bw());
                // The queue of a probe is our own and drains by itself: its marks have ended the probe already.
                let is_marked = ended.is_marked && self.cycle.is_settled();
                if is_marked || (exceeded && (has_queue || is_slower)) {
                    self.save_undo();
                    let (bw, cwnd) = (self.max_bw(), self.cwnd);
                    self.bounds.lower(ended, bw, cwnd);
                } else if !has_queue && self.cycle.is_settled() && !matches!(self.phase, Phase::Drain) {
                    self.random_loss.learn(ended);
                }
            }
        }
        self.cycle.on_round();
        if self.cycle.takes_stock()
            && !sample.app_limited
            && let Some(model) = &mut self.model
        {
            model.max_bw.advance();
        }
    }

    fn watch_for_collapse(&mut self, event: &AckEvent<'_>, sample: &Sample) {
        let is_steady = !matches!(self.phase, Phase::Startup | Phase::ProbeRtt);
        let Some(min_rtt) = self.min_rtt().filter(|_| is_steady && !sample.app_limited) else {
            self.collapse.restart();
            return;
        };
        let (rtt, bw) = (event.rtt.latest_rtt(), self.bw());
        let slower = self
            .collapse
            .on_ack(event.now, event.newly_acked_bytes, rtt, min_rtt, bw);
        if let Some(bw) = slower {
            self.begin_again(bw);
        }
    }

    /// The path has become slower: what was learnt of it is void, and its queue has to go.
    fn begin_again(&mut self, bw: u64) {
        if let Some(model) = &mut self.model {
            model.max_bw.restart(bw);
        }
        self.bounds = Bounds::default();
        self.undo = None;
        self.probe_rtt = None;
        self.begin(Phase::Drain);
        self.hurried = true;
    }

    /// `BBRHandleInflightTooHigh`, where losses answer to a probe.
    fn check_probe_losses(&mut self, now: Instant, sample: &Sample) {
        let is_congested = self.round.is_marked || self.random_loss.is_exceeded_by(&self.round, LOSS_THRESH, self.mtu);
        if self.cycle.rounds_in_phase() == 0 || !is_congested {
            self.bounds.allow(sample.in_flight);
            return;
        }
        self.save_undo();
        if !sample.app_limited {
            let target = self.target_inflight();
            self.bounds.cap(sample.in_flight, target);
        }
        self.begin_down(now);
    }

    fn save_undo(&mut self) {
        let (phase, bounds) = (self.phase, self.bounds);
        let undo = self.undo.get_or_insert(Undo {
            phase,
            bounds,
            missing_pkts: 0,
            believed: false,
        });
        undo.believed = true;
    }

    fn update_phase(&mut self, event: &AckEvent<'_>, sample: &Sample, round_begins: bool) {
        let now = event.now;
        let in_flight = event.bytes_in_flight;
        match self.phase {
            Phase::Startup => {
                if self.full_pipe.is_reached() {
                    self.begin(Phase::Drain);
                }
            }
            Phase::Drain => {
                if in_flight <= self.inflight(self.max_bw(), 1.0) {
                    self.begin_down(now);
                }
            }
            Phase::Down => {
                if self.is_time_to_probe(now) {
                    self.begin_refill(sample);
                } else if self.is_drained(in_flight) {
                    self.begin(Phase::Cruise);
                }
            }
            Phase::Cruise => {
                if self.is_time_to_probe(now) {
                    self.begin_refill(sample);
                }
            }
            Phase::Refill => {
                if self.cycle.rounds_in_phase() >= 1 {
                    self.begin(Phase::Up);
                    self.bounds.begin_raising();
                    self.full_pipe.begin_probe();
                }
            }
            Phase::Up => {
                if self.cwnd_limited && self.cwnd >= self.bounds.inflight_longterm {
                    let (cwnd, mtu) = (self.cwnd, self.mtu);
                    self.bounds.raise(event.newly_acked_bytes, cwnd, mtu, round_begins);
                }
                if self.full_pipe.is_now() {
                    self.begin_down(now);
                }
            }
            Phase::ProbeRtt => {}
        }
    }

    /// As much room as the bound leaves, and no queue.
    fn is_drained(&self, in_flight: u64) -> bool {
        in_flight <= self.bounds.with_headroom(self.mtu) && in_flight <= self.inflight(self.max_bw(), 1.0)
    }

    fn is_time_to_probe(&self, now: Instant) -> bool {
        self.cycle.is_time_to_probe(now, self.target_inflight() / self.mtu)
    }

    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.cycle.enter();
    }

    fn begin_down(&mut self, now: Instant) {
        self.begin(Phase::Down);
        let entropy = self.max_bw() ^ self.min_rtt().map_or(0, |rtt| rtt.as_nanos() as u64) ^ self.rounds.count();
        self.cycle.begin(now, entropy);
        if std::mem::take(&mut self.hurried) {
            self.cycle.hurry();
        }
    }

    fn begin_refill(&mut self, sample: &Sample) {
        self.bounds.forget_shortterm();
        self.undo = None;
        self.rounds.restart(sample.delivered());
        self.begin(Phase::Refill);
    }

    /// `BBRUpdateMinRTT` and `BBRCheckProbeRTT`.
    fn update_min_rtt(&mut self, event: &AckEvent<'_>, sample: &Sample) {
        // Only an ACK that moves the largest acknowledged packet measures the RTT (RFC 9002 section 5.1).
        let sent_at = event.largest_acked_sent_at;
        if self.newest_acked_sent_at.is_none_or(|newest| sent_at >= newest) {
            self.newest_acked_sent_at = Some(sent_at);
            let rtt = event.rtt.latest_rtt();
            self.round.min_rtt = Some(self.round.min_rtt.map_or(rtt, |min| min.min(rtt)));
            let Some(model) = &mut self.model else { return };
            let is_due = model.min_rtt.update(event.now, rtt);
            if is_due && self.phase != Phase::ProbeRtt && !self.idle_restart {
                self.prior_cwnd = self.cwnd;
                self.begin(Phase::ProbeRtt);
                self.probe_rtt = Some(ProbeRtt::default());
            }
        }
        if sample.delivered_bytes > 0 {
            self.idle_restart = false;
        }
        self.check_probe_rtt(event, sample);
    }

    fn check_probe_rtt(&mut self, event: &AckEvent<'_>, sample: &Sample) {
        let little = self.probe_rtt_cwnd();
        let Some(probe) = &mut self.probe_rtt else { return };
        match probe.until {
            None if event.bytes_in_flight <= little => {
                probe.until = Some(event.now + PROBE_RTT_DURATION);
                self.rounds.restart(sample.delivered());
                self.cycle.enter();
            }
            None => {}
            Some(until) => {
                probe.round_done |= self.cycle.rounds_in_phase() >= 1;
                if probe.round_done && event.now >= until {
                    self.leave_probe_rtt(event.now);
                }
            }
        }
    }

    fn leave_probe_rtt(&mut self, now: Instant) {
        self.probe_rtt = None;
        if let Some(model) = &mut self.model {
            model.min_rtt.confirm(now);
        }
        self.cwnd = self.cwnd.max(self.prior_cwnd);
        if self.full_pipe.is_reached() {
            self.bounds.forget_shortterm();
            self.begin_down(now);
            self.begin(Phase::Cruise);
        } else {
            self.begin(Phase::Startup);
        }
    }

    /// `BBRHandleRestartFromIdle`: the path is empty, and its rate fills it without a queue. Whatever the phase was about, it
    /// goes on with the first acknowledgement.
    fn restart_from_idle(&mut self, now: Instant) {
        self.idle_restart = true;
        if let Some(model) = &mut self.model {
            model.extra_acked.begin(now);
        }
        match self.phase {
            Phase::Down | Phase::Cruise | Phase::Refill | Phase::Up => self.set_pacing_rate_with(1.0),
            Phase::ProbeRtt => {
                let until = self.probe_rtt.and_then(|probe| probe.until);
                if until.is_some_and(|until| now > until) {
                    self.leave_probe_rtt(now);
                }
            }
            Phase::Startup | Phase::Drain => {}
        }
    }

    fn set_pacing_rate(&mut self) {
        self.set_pacing_rate_with(match self.phase {
            Phase::Up if self.is_path_free() => FREE_PATH_GAIN,
            phase => phase.pacing_gain(),
        });
    }

    /// `BBRSetPacingRateWithGain`.
    fn set_pacing_rate_with(&mut self, gain: f64) {
        let bw = self.bw();
        if bw == 0 {
            return;
        }
        let mut rate = (bw as f64 * gain) as u64 * (100 - PACING_MARGIN_PERCENT) / 100;
        if self.phase == Phase::Startup
            && self.cwnd < SMALL_WINDOW_PKTS * self.mtu
            && let Some(min_rtt) = self.min_rtt()
        {
            let per_round = (self.cwnd as f64 * SMALL_WINDOW_GAIN) as u64;
            rate = rate.max(self::rate(per_round, min_rtt));
        }
        if self.full_pipe.is_reached() || self.pacing_rate.is_none_or(|old| rate > old) {
            self.pacing_rate = Some(rate);
        }
    }

    /// A probe finds more and more, and no end of it in sight.
    fn is_path_free(&self) -> bool {
        let has_queue = self.min_rtt().is_none_or(|min_rtt| self.round.has_queue(min_rtt));
        self.full_pipe.is_growing() && !has_queue
    }

    /// `BBRSetCwnd`.
    fn set_cwnd(&mut self, newly_acked_bytes: u64, sample: &Sample) {
        let mut max_inflight = self.inflight(self.bw(), self.phase.cwnd_gain()) + self.extra_acked();
        if self.phase == Phase::Up {
            max_inflight += 2 * self.mtu;
        }
        if self.full_pipe.is_reached() {
            self.cwnd = (self.cwnd + newly_acked_bytes).min(max_inflight);
        } else if self.cwnd < max_inflight || sample.delivered() < initial_window(self.mtu) {
            self.cwnd += newly_acked_bytes;
        }
        let has_queue = || self.min_rtt().is_some_and(|min_rtt| self.round.has_queue(min_rtt));
        if self.phase == Phase::Startup && has_queue() {
            self.cwnd = self.cwnd.min(self.inflight(self.bw(), QUEUED_STARTUP_GAIN));
        }
        self.bound_cwnd();
    }

    /// `BBRBoundCwndForProbeRTT` and `BBRBoundCwndForModel`.
    fn bound_cwnd(&mut self) {
        let bounds = &self.bounds;
        let cap = match self.phase {
            Phase::Startup | Phase::Drain => u64::MAX,
            Phase::Down | Phase::Refill | Phase::Up => bounds.inflight_longterm,
            // Deviation: the pacing margin is headroom enough where the bound leaves less than the path holds.
            Phase::Cruise => bounds
                .with_headroom(self.mtu)
                .max(self.inflight(self.bw(), 1.0) + self.extra_acked()),
            Phase::ProbeRtt => bounds.with_headroom(self.mtu).min(self.probe_rtt_cwnd()),
        };
        let cap = cap.min(bounds.inflight_shortterm);
        self.cwnd = self.cwnd.min(cap).max(self.min_pipe_cwnd());
    }
}

/// In bytes per second.
fn rate(bytes: u64, interval: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / interval.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

impl Controller for Bbr {
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight_before: u64, app_limited: bool) {
        self.cwnd_limited |= in_flight_before + bytes + self.mtu > self.cwnd;
        if in_flight_before == 0 && app_limited {
            self.restart_from_idle(now);
        }
    }

    fn on_ack(&mut self, event: &AckEvent<'_>) {
        let Some(sample) = event.rate else { return };
        self.update(event, &sample);
        self.set_pacing_rate();
        self.set_cwnd(event.newly_acked_bytes, &sample);
    }

    fn on_loss(&mut self, event: &LossEvent) {
        self.pending_lost_bytes += event.lost_bytes;
        let (phase, bounds) = (self.phase, self.bounds);
        let undo = self.undo.get_or_insert(Undo {
            phase,
            bounds,
            missing_pkts: 0,
            believed: false,
        });
        undo.missing_pkts += event.lost_pkts;
        if event.persistent_congestion {
            self.cwnd = minimum_window(self.mtu).max(self.min_pipe_cwnd());
            self.undo = None;
        }
    }

    fn on_spurious_loss(&mut self, event: &SpuriousLossEvent) {
        let Some(undo) = &mut self.undo else { return };
        undo.missing_pkts = undo.missing_pkts.saturating_sub(event.pkts);
        if undo.missing_pkts > 0 {
            return;
        }
        let undo = *undo;
        self.undo = None;
        if !undo.believed {
            return;
        }
        let (now, before) = (&mut self.bounds, undo.bounds);
        now.bw_shortterm = now.bw_shortterm.max(before.bw_shortterm);
        now.inflight_shortterm = now.inflight_shortterm.max(before.inflight_shortterm);
        now.inflight_longterm = now.inflight_longterm.max(before.inflight_longterm);
        if undo.phase == Phase::Up && matches!(self.phase, Phase::Down | Phase::Cruise) {
            self.full_pipe.begin_probe();
            self.begin(Phase::Up);
        }
    }

    fn on_ecn_ce(&mut self, _: Instant, _: Instant) {
        // The answer comes once in a round, as the draft's to losses.
        self.pending_mark = true;
    }

    fn window(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh(&self) -> u64 {
        u64::MAX
    }

    fn pacing_rate(&self, rtt: &Rtt) -> u64 {
        let rate = self.pacing_rate.unwrap_or_else(|| {
            let rtt = if rtt.has_sample() {
                rtt.smoothed_rtt()
            } else {
                NOMINAL_RTT
            };
            let per_sec = rate(self.cwnd, rtt) as f64 * Phase::Startup.pacing_gain();
            per_sec as u64
        });
        // Below `u64::MAX`, which would mean not paced; a packet per second at least.
        rate.clamp(self.mtu, u64::MAX - 1)
    }

    fn on_mtu_change(&mut self, mtu: u64) {
        self.mtu = mtu;
        let floor = if self.model.is_none() {
            initial_window(mtu)
        } else {
            self.min_pipe_cwnd()
        };
        self.cwnd = self.cwnd.max(floor);
    }

    fn reset(&mut self, _: Instant) {
        *self = Self::new(self.mtu);
    }

    fn name(&self) -> &'static str {
        "bbr"
    }
}
