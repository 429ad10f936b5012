//! Deadlines of a handshake: the probe time-out (RFC 9002, section 6.2) and the end of patience.

use std::time::Instant;

use super::{Exchange, Phase};
use crate::crypto::engine::Side;
use crate::error::{Limit, StreamError};
use crate::stream::handshake::space::Space;
use crate::stream::handshake::{PTO_INITIAL, PTO_MAX};
use crate::wire::close_code;

impl Exchange {
    pub(in crate::stream::handshake) fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Running => Some(self.pto().map_or(self.deadline, |pto| pto.min(self.deadline))),
            Phase::Closing(closing) => Some(closing.until),
            Phase::Over => None,
        }
    }

    /// When the next probe is due. A server without credit waits for the client, which probes on its own
    /// (RFC 9002, section 6.2.2.1).
    fn pto(&self) -> Option<Instant> {
        let has_unacked = [&self.initial, &self.handshake]
            .into_iter()
            .flatten()
            .any(Space::has_unacked);
        let is_armed = match self.side {
            Side::Client => true,
            Side::Server => has_unacked && self.max_datagram_bytes().is_some(),
        };
        let period = PTO_INITIAL.saturating_mul(1 << self.pto_count.min(8)).min(PTO_MAX);
        is_armed.then(|| self.pto_base + period)
    }

    /// The deadline that [`Exchange::next_timeout`] named has passed, or not: both are fine.
    pub(in crate::stream::handshake) fn handle_timeout(&mut self, now: Instant) {
        match &self.phase {
            Phase::Running if now >= self.deadline => {
                self.error = Some(StreamError::TimedOut {
                    limit: Limit::Connect,
                    after: self.time_limit,
                });
                // A server that answered before learns that nobody waits for it any more.
                let is_silent = self.side == Side::Server || self.ids.remote == self.ids.initial_destination();
                if is_silent {
                    self.phase = Phase::Over;
                } else {
                    self.close(
                        close_code::ABORTED,
                        "the client gave up: no answer within its connect time-out",
                        now,
                    );
                }
            }
            Phase::Running if self.pto().is_some_and(|pto| now >= pto) => self.handle_pto(now),
            Phase::Closing(closing) if now >= closing.until => self.phase = Phase::Over,
            _ => {}
        }
    }

    fn handle_pto(&mut self, now: Instant) {
        self.pto_count += 1;
        self.pto_base = now;
        let mut has_data = false;
        for space in [&mut self.initial, &mut self.handshake].into_iter().flatten() {
            space.resend_all();
            has_data |= space.has_unacked();
        }
        // Nothing of ours is missing, but the server may lack credit or be lost in thought: ask.
        if !has_data && let Some(space) = self.handshake.as_mut().or(self.initial.as_mut()) {
            space.probe();
        }
    }
}
