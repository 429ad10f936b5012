//! News of the receiving half on their way to the sending half: merged as in the mailbox of a [`crate::Stream`], and
//! looked at when the thread of the sender would.

use crate::proto::Update;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Letters {
    update: Update,
    /// How late the sender comes when it is rung for. `None`: it sees everything at once.
    late: Option<Duration>,
    rung_at: Option<Instant>,
}

impl Letters {
    pub(super) fn new(late: Option<Duration>) -> Self {
        Self {
            late,
            ..Self::default()
        }
    }

    /// Adds what the receiving half has learnt.
    pub(super) fn merge(&mut self, news: &mut Update) {
        self.update.merge(news);
    }

    /// Rings for the sender if it has to look. `look_after` is what it said last.
    pub(super) fn ring(&mut self, now: Instant, (ack_after, ack_timer_runs): (u64, bool)) {
        if self.rung_at.is_none() && self.update.is_urgent(ack_after, ack_timer_runs) {
            self.rung_at = Some(now);
        }
    }

    /// What the sender takes now. `is_awake`: it has something else to do, and looks first.
    pub(super) fn take(&mut self, now: Instant, is_awake: bool) -> Option<&mut Update> {
        let looks = is_awake || self.late.is_none() || self.next_timeout().is_some_and(|at| at <= now);
        if !looks || self.update.is_empty() {
            return None;
        }
        self.rung_at = None;
        Some(&mut self.update)
    }

    /// When the sender comes.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        Some(self.rung_at? + self.late?)
    }
}
