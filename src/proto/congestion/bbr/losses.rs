//! What losses mean: too much in flight, or noise of the path. The documented deviation from draft-ietf-ccwg-bbr.
//!
//! The draft takes losses of more than 2 % for congestion. A radio link loses more than that whatever is sent, and a sender
//! that gives way to it gives way to nobody. So losses count here if they are more than what the path loses *anyway*, and if
//! there is a second sign:
//!
//! * the lowest round trip of the round has grown: then any loss beyond that counts, as in the draft;
//! * or the delivery rate has fallen, and the loss is 2 % more;
//! * or the round probes for more bandwidth, and the loss is 2 % more: it came with our sending more. That is what shows a
//!   queue so short that no round trip grows by it.
//!
//! What it loses anyway is measured where our sending can be no reason for it: in rounds at or below the rate of the
//! path, without a queue. If that were wrong, and our rate the reason, the estimate falls by itself: at 99 % of the
//! rate that is believed to fit, and at 80 % of it in `ProbeBW_DOWN`, there is less to lose each time.

use std::time::Duration;

/// Losses of a round beyond what is lost anyway that count (`LossThresh`).
pub(super) const LOSS_THRESH: f64 = 0.02;
/// The lowest round trip of a round has grown when it is longer than the lowest of all by this factor and this time.
const RTT_GROWTH: f64 = 1.25;
const RTT_GROWTH_MIN: Duration = Duration::from_millis(2);
/// The delivery rate has fallen below this part of the bandwidth.
const RATE_FELL: f64 = 0.85;
/// The weight of all former rounds in the estimate of what is lost anyway, at each round.
const MEMORY: f64 = 15.0 / 16.0;
/// More than this is not put down to the path.
const MAX_RANDOM: f64 = 0.3;
/// Standard deviations by which chance may exceed what is lost anyway.
const CHANCE: f64 = 3.0;
/// Losses come in bunches, which makes chance bolder than if each came alone: of a mean length of three, five times in variance
/// (2 L - 1). With less, a probe on such a path is now and then taken for too much, and the long-term bound stays low.
const BUNCH: f64 = 5.0;

/// What one round has shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Bytes that arrived.
    pub(super) delivered_bytes: u64,
    /// Bytes that were found lost.
    pub(super) lost_bytes: u64,
    /// The lowest round-trip time.
    pub(super) min_rtt: Option<Duration>,
    /// The highest rate at which the path took bytes, in bytes per second.
    pub(super) bw: u64,
    /// The highest amount delivered within one round trip.
    pub(super) inflight: u64,
    /// The application limited it: it says nothing of what the path can carry.
    pub(super) app_limited: bool,
    /// A queue on the way has marked packets (ECN-CE).
    pub(super) is_marked: bool,
}

impl Round {
    /// The share of bytes that was lost.
    pub(super) fn loss(&self) -> f64 {
        let total = self.delivered_bytes + self.lost_bytes;
        self.lost_bytes as f64 / total.max(1) as f64
    }

    /// There is a queue: not even the luckiest packet came without waiting.
    pub(super) fn has_queue(&self, min_rtt: Duration) -> bool {
        self.min_rtt
            .is_some_and(|rtt| rtt > min_rtt.mul_f64(RTT_GROWTH) + RTT_GROWTH_MIN)
    }

    /// The path took less than `bw`.
    pub(super) fn is_slower_than(&self, bw: u64) -> bool {
        !self.app_limited && (self.bw as f64) < bw as f64 * RATE_FELL
    }
}

/// What the path loses whatever is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RandomLoss {
    lost_bytes: f64,
    total_bytes: f64,
}

impl RandomLoss {
    /// As a share, 0 to 0.3.
    pub(super) fn share(&self) -> f64 {
        if self.total_bytes < 1.0 {
            return 0.0;
        }
        (self.lost_bytes / self.total_bytes).min(MAX_RANDOM)
    }

    /// A round without a queue, at the rate of the path or below.
    pub(super) fn learn(&mut self, round: &Round) {
        let lost = round.lost_bytes as f64;
        self.lost_bytes = self.lost_bytes * MEMORY + lost;
        self.total_bytes = self.total_bytes * MEMORY + lost + round.delivered_bytes as f64;
    }

    /// The part of `lost_bytes` that the path has carried, of so many that were delivered beside them: they took their
    /// share of it before they were lost, or did not come to it, and will not the next time.
    pub(super) fn carried(&self, delivered_bytes: u64, lost_bytes: u64) -> u64 {
        let share = self.share();
        let explained = delivered_bytes as f64 * share / (1.0 - share);
        lost_bytes.min(explained as u64)
    }

    /// Whether a round lost more than the path does anyway, chance considered, by more than `margin`.
    pub(super) fn is_exceeded_by(&self, round: &Round, margin: f64, mtu: u64) -> bool {
        let pkts = ((round.delivered_bytes + round.lost_bytes) as f64 / mtu as f64).max(1.0);
        let share = self.share();
        let deviation = (share * (1.0 - share) * BUNCH / pkts).sqrt();
        round.loss() > share + margin + CHANCE * deviation
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ms;
    use super::*;

    const MTU: u64 = 1000;

    fn round(pkts: u64, lost_pkts: u64) -> Round {
        Round {
            delivered_bytes: (pkts - lost_pkts) * MTU,
            lost_bytes: lost_pkts * MTU,
            min_rtt: Some(ms(50)),
            bw: 1_000_000,
            ..Round::default()
        }
    }

    /// A path that has lost 5 % for a while.
    fn radio() -> RandomLoss {
        let mut random = RandomLoss::default();
        for _ in 0..100 {
            random.learn(&round(400, 20));
        }
        random
    }

    #[test]
    fn what_a_path_loses_anyway_is_learnt_and_forgotten() {
        let mut random = radio();
        assert!((random.share() - 0.05).abs() < 1e-6);
        for _ in 0..100 {
            random.learn(&round(400, 0));
        }
        assert!(random.share() < 1e-3);
        for _ in 0..100 {
            random.learn(&round(400, 399));
        }
        assert!(random.share() <= MAX_RANDOM);
    }

    #[test]
    fn only_losses_beyond_that_and_beyond_chance_count() {
        let (clean, radio) = (RandomLoss::default(), radio());
        assert!(!clean.is_exceeded_by(&round(400, 8), LOSS_THRESH, MTU));
        assert!(clean.is_exceeded_by(&round(400, 9), LOSS_THRESH, MTU));
        assert!(!radio.is_exceeded_by(&round(400, 40), LOSS_THRESH, MTU));
        assert!(radio.is_exceeded_by(&round(400, 60), LOSS_THRESH, MTU));
        // Of forty packets, three more may well be chance.
        assert!(!radio.is_exceeded_by(&round(40, 8), LOSS_THRESH, MTU));
    }

    #[test]
    fn bandwidth_counts_what_was_lost_anyway_but_not_more() {
        let radio = radio();
        assert_eq!(radio.carried(380 * MTU, 10 * MTU), 10 * MTU);
        let carried = radio.carried(380 * MTU, 200 * MTU);
        assert!(carried.abs_diff(20 * MTU) <= MTU, "{carried}");
        assert_eq!(RandomLoss::default().carried(380 * MTU, 20 * MTU), 0);
    }

    #[test]
    fn a_queue_is_seen_in_the_luckiest_packet_of_a_round() {
        let at = |rtt| Round {
            min_rtt: Some(rtt),
            ..round(400, 0)
        };
        assert!(!at(ms(64)).has_queue(ms(50)));
        assert!(at(ms(65)).has_queue(ms(50)));
        // Short round trips vary by more than a quarter for no reason.
        assert!(!at(ms(3)).has_queue(ms(1)));
    }
}
