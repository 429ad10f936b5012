//! Rounds: a round ends when a packet is acknowledged that was sent after it began. draft-ietf-ccwg-bbr, section 5.5.1.

use super::super::delivery_rate::Sample;

/// Counts rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds {
    count: u64,
    /// Packets sent before so much was delivered belong to this round.
    ends_at_delivered: u64,
}

impl Rounds {
    /// Takes an acknowledgement; `true` if with it a new round begins.
    pub(super) fn on_ack(&mut self, sample: &Sample) -> bool {
        let begins = sample.prior_delivered >= self.ends_at_delivered;
        if begins {
            self.count += 1;
            self.ends_at_delivered = sample.delivered();
        }
        begins
    }

    /// A round begins now, whatever was in flight: what is sent from now on belongs to it.
    pub(super) fn restart(&mut self, delivered: u64) {
        self.ends_at_delivered = delivered;
    }

    /// The number of this round.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}
