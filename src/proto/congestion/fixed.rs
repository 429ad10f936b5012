//! A window that never changes: for measurements, for teaching, for links of known size.

use std::time::Instant;

use super::super::rtt::Rtt;
use super::{AckEvent, Controller, LossEvent, SpuriousLossEvent};

/// A fixed window without pacing.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    window: u64,
}

impl Fixed {
    /// A window in bytes.
    pub const fn new(window: u64) -> Self {
        Self { window }
    }
}

impl Controller for Fixed {
    fn on_sent(&mut self, _: Instant, _: u64, _: u64, _: bool) {}

    fn on_ack(&mut self, _: &AckEvent<'_>) {}

    fn on_loss(&mut self, _: &LossEvent) {}

    fn on_spurious_loss(&mut self, _: &SpuriousLossEvent) {}

    fn on_ecn_ce(&mut self, _: Instant, _: Instant) {}

    fn window(&self) -> u64 {
        self.window
    }

    fn ssthresh(&self) -> u64 {
        u64::MAX
    }

    fn pacing_rate(&self, _: &Rtt) -> u64 {
        u64::MAX
    }

    fn on_mtu_change(&mut self, _: u64) {}

    fn reset(&mut self, _: Instant) {}

    fn name(&self) -> &'static str {
        "fixed"
    }
}
