//! The controller as a whole: against a path that is a queue and a delay, and against events in any order.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::delivery_rate::{Estimator, Sent};
use super::*;

const MTU: u64 = 1000;

#[expect(clippy::disallowed_methods, reason = "any moment will do as the origin")]
pub(super) fn start() -> Instant {
    Instant::now()
}

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A path of one rate and one delay with an endless queue; a sender that always has something to send; an acknowledgement
/// for each packet, at the grain of a millisecond.
struct Path {
    bbr: Bbr,
    start: Instant,
    now: Instant,
    pkts_per_ms: u64,
    delay: Duration,
    /// Every so many packets are lost behind the queue, if not zero.
    lose_every: u64,
    sent: u64,
    queue: VecDeque<(Instant, Sent, bool)>,
    /// On the way, by the time of arrival.
    flying: VecDeque<(Instant, Instant, Sent, bool)>,
    estimator: Estimator,
    rtt: Rtt,
    credit: f64,
    delivered_pkts: u64,
}

impl Path {
    fn new(pkts_per_ms: u64, delay: Duration) -> Self {
        let start = start();
        Self {
            bbr: Bbr::new(MTU),
            start,
            now: start,
            pkts_per_ms,
            delay,
            lose_every: 0,
            sent: 0,
            queue: VecDeque::new(),
            flying: VecDeque::new(),
            estimator: Estimator::new(start),
            rtt: Rtt::default(),
            credit: 0.0,
            delivered_pkts: 0,
        }
    }

    fn in_flight(&self) -> u64 {
        (self.queue.len() + self.flying.len()) as u64 * MTU
    }

    fn tick(&mut self) {
        let rate = self.bbr.pacing_rate(&self.rtt);
        self.credit = (self.credit + rate as f64 / 1000.0).min(2.0 * rate as f64 / 1000.0 + MTU as f64);
        while self.credit >= MTU as f64 && self.in_flight() + MTU <= self.bbr.window() {
            self.credit -= MTU as f64;
            self.sent += 1;
            let in_flight = self.in_flight();
            let sent = self.estimator.on_sent(self.now, MTU, in_flight);
            self.bbr.on_sent(self.now, MTU, in_flight, sent.app_limited);
            let is_lost = self.lose_every > 0 && self.sent.is_multiple_of(self.lose_every);
            self.queue.push_back((self.now, sent, is_lost));
        }
        for _ in 0..self.pkts_per_ms {
            if let Some((at, sent, is_lost)) = self.queue.pop_front() {
                self.flying.push_back((self.now + self.delay, at, sent, is_lost));
            }
        }
        self.now += ms(1);
        while let Some((arrives, ..)) = self.flying.front() {
            if *arrives > self.now {
                break;
            }
            let (_, at, sent, is_lost) = self.flying.pop_front().expect("it is there");
            if is_lost {
                self.lose(at);
            } else {
                self.ack(at, sent);
            }
        }
    }

    fn lose(&mut self, at: Instant) {
        self.estimator.on_lost(MTU);
        self.bbr.on_loss(&LossEvent {
            now: self.now,
            largest_lost_sent_at: at,
            lost_bytes: MTU,
            lost_pkts: 1,
            bytes_in_flight: self.in_flight(),
            persistent_congestion: false,
        });
    }

    fn ack(&mut self, at: Instant, sent: Sent) {
        self.delivered_pkts += 1;
        self.rtt.update(self.now - at, Duration::ZERO);
        let packet = (at, MTU as u32, sent);
        let rate = self
            .estimator
            .on_ack(self.now, std::iter::once(packet), self.rtt.min_rtt());
        self.bbr.on_ack(&AckEvent {
            now: self.now,
            newly_acked_bytes: MTU,
            largest_acked_sent_at: at,
            bytes_in_flight: self.in_flight(),
            rtt: &self.rtt,
            app_limited: false,
            rate,
            lost_bytes: 0,
        });
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.tick();
        }
    }

    /// Packets delivered in this time, as a share of what the path can carry.
    fn share(&mut self, time: Duration) -> f64 {
        let before = self.delivered_pkts;
        self.run(time);
        (self.delivered_pkts - before) as f64 / (self.pkts_per_ms * time.as_millis() as u64) as f64
    }
}

#[test]
fn a_steady_path_is_found_and_filled_without_a_queue() {
    let mut path = Path::new(10, ms(40));
    path.run(ms(1000));
    assert!(path.bbr.full_pipe.is_reached());
    assert!(path.share(ms(4000)) > 0.97);
    let mut queued = Vec::new();
    for _ in 0..4000 {
        path.tick();
        queued.push(path.queue.len());
    }
    let mean = queued.iter().sum::<usize>() / queued.len();
    // A bandwidth-delay product is 400 packets.
    assert!(mean < 40, "{mean}");
}

#[test]
fn startup_has_a_smaller_window_once_there_is_a_queue() {
    let mut path = Path::new(50, ms(40));
    let mut queued = 0;
    while path.bbr.phase == Phase::Startup {
        path.tick();
        let bbr = &path.bbr;
        let min_rtt = bbr.min_rtt();
        if bbr.phase == Phase::Startup && min_rtt.is_some_and(|min_rtt| bbr.round.has_queue(min_rtt)) {
            queued += 1;
            let bdps = bbr.window() as f64 / bbr.inflight(bbr.bw(), 1.0) as f64;
            assert!(bdps < 1.76, "{bdps}");
        }
    }
    assert!(queued > 0);
}

#[test]
fn a_small_window_is_sent_within_half_a_round_trip() {
    let mut path = Path::new(50, ms(40));
    path.run(ms(45));
    assert_eq!(path.bbr.phase, Phase::Startup);
    let per_round = path.bbr.pacing_rate(&path.rtt) as f64 * 0.04;
    assert!(per_round >= 1.9 * path.bbr.window() as f64, "{per_round}");
}

#[test]
fn every_phase_of_a_cycle_is_passed_in_order() {
    let mut path = Path::new(10, ms(40));
    let mut phases = vec![path.bbr.phase];
    while path.now < path.start + ms(4000) {
        path.tick();
        if phases.last() != Some(&path.bbr.phase) {
            phases.push(path.bbr.phase);
        }
    }
    let expected = [
        Phase::Startup,
        Phase::Drain,
        Phase::Down,
        Phase::Cruise,
        Phase::Refill,
        Phase::Up,
        Phase::Down,
    ];
    let first: Vec<_> = phases
        .iter()
        .copied()
        .filter(|phase| *phase != Phase::ProbeRtt)
        .collect();
    // With nothing queued, Down may be over at once.
    let passed = |phase| first.contains(&phase);
    assert!(
        expected.into_iter().all(|phase| phase == Phase::Down || passed(phase)),
        "{phases:?}"
    );
    let order = |phase| first.iter().position(|seen| *seen == phase);
    assert!(order(Phase::Startup) < order(Phase::Drain));
    assert!(order(Phase::Cruise) < order(Phase::Refill));
    assert!(order(Phase::Refill) < order(Phase::Up));
}

#[test]
fn losses_of_one_in_ten_cost_one_in_ten() {
    let mut path = Path::new(10, ms(40));
    path.lose_every = 10;
    path.run(ms(4000));
    let share = path.share(ms(4000)) / 0.9;
    assert!(share > 0.95, "{share}");
    assert!((path.bbr.random_loss.share() - 0.1).abs() < 0.03);
}

#[test]
fn a_path_that_becomes_ten_times_slower_is_followed_within_two_seconds() {
    let mut path = Path::new(20, ms(40));
    path.run(ms(3000));
    path.pkts_per_ms = 2;
    path.run(ms(2000));
    assert!(path.queue.len() < 100, "{}", path.queue.len());
    assert!(path.share(ms(2000)) > 0.8);
    path.pkts_per_ms = 20;
    path.run(ms(2000));
    assert!(path.share(ms(2000)) > 0.9);
}

#[test]
fn a_longer_way_is_seen_by_probing_for_the_round_trip() {
    let mut path = Path::new(10, ms(40));
    path.run(ms(2000));
    path.delay = ms(80);
    path.run(ms(16_000));
    assert!(path.bbr.min_rtt().expect("it was measured") > ms(70));
    assert!(path.share(ms(2000)) > 0.9);
}

#[test]
fn what_turns_out_to_be_no_loss_restores_the_bounds() {
    let mut path = Path::new(10, ms(40));
    path.run(ms(2000));
    let bbr = &mut path.bbr;
    bbr.undo = None;
    bbr.on_loss(&LossEvent {
        now: path.now,
        largest_lost_sent_at: path.now,
        lost_bytes: 50 * MTU,
        lost_pkts: 50,
        bytes_in_flight: 0,
        persistent_congestion: false,
    });
    let ended = Round {
        bw: bbr.max_bw() / 2,
        ..Round::default()
    };
    bbr.save_undo();
    let (bw, cwnd) = (bbr.max_bw(), bbr.cwnd);
    bbr.bounds.lower(&ended, bw, cwnd);
    assert!(bbr.bw() < bw);
    let spurious = |pkts| SpuriousLossEvent {
        now: path.now,
        pkts,
        earliest_sent_at: path.now,
    };
    bbr.on_spurious_loss(&spurious(49));
    assert!(bbr.bw() < bw);
    bbr.on_spurious_loss(&spurious(1));
    assert_eq!(bbr.bw(), bw);
}

#[test]
fn a_mark_lowers_the_bounds_and_ends_a_probe() {
    let mut path = Path::new(10, ms(40));
    path.run(ms(2000));
    while path.bbr.phase != Phase::Cruise || !path.bbr.cycle.is_settled() {
        path.tick();
    }
    assert_eq!(path.bbr.bounds.bw_shortterm, u64::MAX);
    path.bbr.on_ecn_ce(path.now, path.now);
    path.run(ms(50));
    assert_ne!(path.bbr.bounds.bw_shortterm, u64::MAX);
    while path.bbr.phase != Phase::Up || path.bbr.cycle.rounds_in_phase() == 0 {
        path.tick();
    }
    assert_eq!(path.bbr.bounds.inflight_longterm, u64::MAX);
    path.bbr.on_ecn_ce(path.now, path.now);
    path.run(ms(2));
    assert_eq!(path.bbr.phase, Phase::Down);
    assert_ne!(path.bbr.bounds.inflight_longterm, u64::MAX);
    // It costs little where marks are few.
    let share = path.share(ms(4000));
    assert!(share > 0.9, "{share}");
}

#[test]
fn after_silence_the_first_round_is_paced_at_the_rate_of_the_path_whatever_the_phase() {
    for (phase, gain) in [(Phase::Up, 1.25), (Phase::Down, 0.8)] {
        let mut path = Path::new(10, ms(40));
        path.run(ms(2000));
        while path.bbr.phase != phase || path.bbr.is_path_free() {
            path.tick();
        }
        // The application falls silent; all is acknowledged.
        let bw = path.bbr.bw() as f64 * 0.99;
        path.bbr.set_pacing_rate();
        let paced = path.bbr.pacing_rate(&path.rtt) as f64 / bw;
        assert!((paced - gain).abs() < 0.01, "{phase:?}: {paced}");
        path.now += ms(3000);
        path.bbr.on_sent(path.now, MTU, 0, true);
        let paced = path.bbr.pacing_rate(&path.rtt) as f64 / bw;
        assert!((paced - 1.0).abs() < 0.01, "{phase:?}: {paced}");
    }
}

#[test]
fn a_packet_on_an_empty_path_that_had_more_to_send_is_no_restart() {
    let mut path = Path::new(10, ms(40));
    path.run(ms(2000));
    while path.bbr.phase != Phase::Up || path.bbr.is_path_free() {
        path.tick();
    }
    path.bbr.set_pacing_rate();
    let before = path.bbr.pacing_rate(&path.rtt);
    path.bbr.on_sent(path.now, MTU, 0, false);
    assert_eq!(path.bbr.pacing_rate(&path.rtt), before);
}

#[test]
fn silence_ends_a_search_for_the_round_trip() {
    let mut path = Path::new(10, ms(40));
    path.run(ms(2000));
    path.bbr.begin(Phase::ProbeRtt);
    path.bbr.prior_cwnd = path.bbr.cwnd;
    path.bbr.probe_rtt = Some(ProbeRtt {
        until: Some(path.now + ms(200)),
        round_done: false,
    });
    path.bbr.on_sent(path.now + ms(100), MTU, 0, true);
    assert_eq!(path.bbr.phase, Phase::ProbeRtt);
    path.bbr.on_sent(path.now + ms(3000), MTU, 0, true);
    assert_eq!(path.bbr.phase, Phase::Cruise);
}

#[test]
fn persistent_congestion_leaves_the_smallest_window_and_it_grows_again() {
    let mut path = Path::new(10, ms(40));
    path.run(ms(2000));
    path.bbr.on_loss(&LossEvent {
        now: path.now,
        largest_lost_sent_at: path.now,
        lost_bytes: MTU,
        lost_pkts: 1,
        bytes_in_flight: 0,
        persistent_congestion: true,
    });
    assert_eq!(path.bbr.window(), 4 * MTU);
    path.run(ms(1000));
    assert!(path.bbr.window() > 100 * MTU);
}

proptest! {
    /// Whatever comes: no panic, a window that lets acknowledgements come, and a rate above zero.
    #[test]
    fn no_order_of_events_breaks_it(
        events in prop::collection::vec((0..7u8, 0..2000u64, 0..5000u64, any::<bool>()), 1..400),
    ) {
        let mut now = start();
        let mut bbr = Bbr::new(MTU);
        let mut estimator = Estimator::new(now);
        let mut rtt = Rtt::default();
        let mut sent = Vec::new();
        for (kind, amount, wait_ms, flag) in events {
            now += Duration::from_micros(wait_ms * 100);
            match kind {
                0 | 1 => {
                    for _ in 0..amount % 50 {
                        let in_flight = sent.len() as u64 * MTU;
                        let snapshot = estimator.on_sent(now, MTU, in_flight);
                        bbr.on_sent(now, MTU, in_flight, flag);
                        sent.push((now, MTU as u32, snapshot));
                    }
                }
                2 | 3 => {
                    let n = (amount as usize % 50).min(sent.len());
                    let acked: Vec<_> = if flag {
                        sent.drain(..n).collect()
                    } else {
                        sent.split_off(sent.len() - n)
                    };
                    let Some(newest) = acked.iter().map(|packet| packet.0).max() else {
                        continue;
                    };
                    rtt.update(now.saturating_duration_since(newest), Duration::ZERO);
                    let rate = estimator.on_ack(now, acked.iter().copied(), Duration::ZERO);
                    bbr.on_ack(&AckEvent {
                        now,
                        newly_acked_bytes: n as u64 * MTU,
                        largest_acked_sent_at: newest,
                        bytes_in_flight: sent.len() as u64 * MTU,
                        rtt: &rtt,
                        app_limited: flag,
                        rate,
                        lost_bytes: 0,
                    });
                }
                4 => {
                    let n = (amount as usize % 50).min(sent.len());
                    let lost: Vec<_> = sent.drain(..n).collect();
                    if let Some(newest) = lost.last() {
                        estimator.on_lost(n as u64 * MTU);
                        bbr.on_loss(&LossEvent {
                            now,
                            largest_lost_sent_at: newest.0,
                            lost_bytes: n as u64 * MTU,
                            lost_pkts: n as u64,
                            bytes_in_flight: sent.len() as u64 * MTU,
                            persistent_congestion: flag && amount % 7 == 0,
                        });
                    }
                }
                5 => bbr.on_spurious_loss(&SpuriousLossEvent { now, pkts: amount % 10, earliest_sent_at: now }),
                _ => {
                    estimator.mark_app_limited(amount);
                    bbr.on_ecn_ce(now, now);
                    if amount % 50 == 0 {
                        bbr.reset(now);
                    }
                }
            }
            prop_assert!(bbr.window() >= 4 * MTU);
            let rate = bbr.pacing_rate(&rtt);
            prop_assert!((MTU..u64::MAX).contains(&rate));
        }
    }
}
