//! What the sender waited for, looked at again and again while it runs: the hot path counts nothing for it.

use crate::stats::{BlockedBy, Stats};
use std::time::Duration;

/// Between two looks. Not a divisor of usual periods, so that looks do not fall into step with them.
pub(super) const PERIOD: Duration = Duration::from_micros(1700);

/// Everything that a sender can wait for, in the order of the table.
pub(super) const REASONS: [BlockedBy; 6] = [
    BlockedBy::Nothing,
    BlockedBy::Application,
    BlockedBy::CongestionWindow,
    BlockedBy::ReceiveWindow,
    BlockedBy::Pacing,
    BlockedBy::Carrier,
];

/// How often the sender was seen to wait for what.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    counts: [u64; REASONS.len()],
    /// The fullest that the receiver's buffer was seen, in bytes.
    pub(super) most_unread_bytes: u64,
}

impl Samples {
    pub(super) fn look(&mut self, sender: &Stats, receiver: Option<&Stats>) {
        let index = REASONS.iter().position(|reason| *reason == sender.blocked_by);
        self.counts[index.unwrap_or(0)] += 1;
        let unread = receiver.map_or(0, |stats| stats.recv_buffer_bytes);
        self.most_unread_bytes = self.most_unread_bytes.max(unread);
    }

    /// From 0 to 1, in the order of [`REASONS`].
    pub(super) fn shares(&self) -> [f64; REASONS.len()] {
        let all: u64 = self.counts.iter().sum();
        self.counts.map(|count| count as f64 / all.max(1) as f64)
    }
}

/// A reason as a word for programs.
pub(super) fn word(reason: BlockedBy) -> &'static str {
    match reason {
        BlockedBy::Nothing => "nothing",
        BlockedBy::Application => "application",
        BlockedBy::CongestionWindow => "cwnd",
        BlockedBy::ReceiveWindow => "rwnd",
        BlockedBy::Pacing => "pacing",
        BlockedBy::Carrier => "kernel buffer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let mut samples = Samples::default();
        assert!(samples.shares().iter().all(|share| *share == 0.0));
        for reason in [
            BlockedBy::Pacing,
            BlockedBy::Pacing,
            BlockedBy::Carrier,
            BlockedBy::Nothing,
        ] {
            let stats = Stats {
                blocked_by: reason,
                ..Stats::default()
            };
            samples.look(&stats, None);
        }
        assert_eq!(samples.shares().map(|share| (4.0 * share) as u32), [1, 0, 0, 0, 2, 1]);
    }
}
