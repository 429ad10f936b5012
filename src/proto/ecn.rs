//! Explicit Congestion Notification on one path: whether marks get through, and what they say. Sans-IO.
//! RFC 9000, section 13.4.2 and appendix A.4.
//!
//! ```text
//!   Testing --(ten packets sent)--> Unknown
//!   Testing, Unknown --(an ACK that counts them, not all as CE)--> Capable
//!   any --(counts that cannot be)--> Failed
//! ```
//!
//! It must not know what the congestion controller makes of a mark. Nothing that a peer counts ends the connection: wrong
//! counts may be the network's doing, and end only our marking.

use crate::wire::frame::EcnCounts;
use std::time::Instant;

/// Packets that are marked before the answer is known.
const TEST_PKTS: u64 = 10;

/// What stands in the IP header of a received packet (RFC 3168, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The sender understands ECN.
    Ect0,
    /// The same, in another experiment.
    Ect1,
    /// A queue on the way is filling.
    Ce,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The first packets go out with marks.
    #[default]
    Testing,
    /// They are sent, and the answer is awaited.
    Unknown,
    /// Marks get through: all packets have one.
    Capable,
    /// They do not, or what is counted cannot be: no packet has one.
    Failed,
}

/// Counts what was received, for the peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    counts: Option<EcnCounts>,
    last_was_ce: bool,
}

impl Received {
    /// A packet came that was not seen before. Returns whether the peer should hear of it at once: a queue has begun to
    /// fill (RFC 9000, section 13.2.1).
    pub fn note(&mut self, mark: Option<Mark>) -> bool {
        let is_ce = mark == Some(Mark::Ce);
        if let Some(mark) = mark {
            let counts = self.counts.get_or_insert(EcnCounts {
                ect0: 0,
                ect1: 0,
                ce: 0,
            });
            match mark {
                Mark::Ect0 => counts.ect0 += 1,
                Mark::Ect1 => counts.ect1 += 1,
                Mark::Ce => counts.ce += 1,
            }
        }
        let was_ce = std::mem::replace(&mut self.last_was_ce, is_ce);
        is_ce && !was_ce
    }

    /// All since the start of the connection. `None`: no mark was ever seen.
    pub fn counts(&self) -> Option<EcnCounts> {
        self.counts
    }
}

/// See the module.
#[derive(Debug)]
pub struct Validation {
    state: State,
    is_marking: bool,
    /// The first number on this path.
    first_pn: u64,
    /// Marked packets since the start of the connection.
    sent: u64,
    /// When the first marked packet went over this path.
    began_at: Option<Instant>,
    /// What became of the marked packets of this path.
    sent_here: u64,
    acked_here: u64,
    lost_here: u64,
    /// The newest counts.
    reported: EcnCounts,
    /// ECT(0) when this path began.
    ect0_before: u64,
    /// CE marks that the controller has heard of.
    ce_told: u64,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            state: State::Testing,
            is_marking: false,
            first_pn: 0,
            sent: 0,
            began_at: None,
            sent_here: 0,
            acked_here: 0,
            lost_here: 0,
            reported: EcnCounts {
                ect0: 0,
                ect1: 0,
                ce: 0,
            },
            ect0_before: 0,
            ce_told: 0,
        }
    }
}

impl Validation {
    /// What is known of the path.
    pub fn state(&self) -> State {
        self.state
    }

    /// Packets that the peer received with CE, as far as it was believed.
    pub fn ce_pkts(&self) -> u64 {
        self.reported.ce
    }

    /// Packets go out together and have the same mark: whether it is ECT(0), if `may_mark`.
    pub fn begin_batch(&mut self, may_mark: bool) {
        self.is_marking = may_mark && matches!(self.state, State::Testing | State::Capable);
    }

    /// As [`Validation::begin_batch`] has decided.
    pub fn is_marking(&self) -> bool {
        self.is_marking
    }

    /// A marked packet goes out.
    pub fn on_sent(&mut self, now: Instant) {
        self.began_at.get_or_insert(now);
        self.sent += 1;
        self.sent_here += 1;
        if self.state == State::Testing && self.sent_here >= TEST_PKTS {
            self.state = State::Unknown;
        }
    }

    /// Whether marked packet `pn` went over this path.
    pub fn is_of_this_path(&self, pn: u64) -> bool {
        pn >= self.first_pn
    }

    /// An ACK came, with `counts` if the peer sees marks. It acknowledges `marked` packets of this path for the first time,
    /// and `advances` if a packet newer than all before is among what it acknowledges: only then do its counts come in
    /// order. Returns whether the controller must hear of congestion.
    pub fn on_ack(&mut self, counts: Option<EcnCounts>, marked: u64, advances: bool) -> bool {
        if self.state == State::Failed {
            return false;
        }
        self.acked_here += marked;
        if !advances {
            return false;
        }
        let Some(counts) = counts else {
            if marked > 0 {
                self.state = State::Failed;
            }
            return false;
        };
        if !self.can_be(&counts, marked) {
            self.state = State::Failed;
            return false;
        }
        self.reported = counts;
        if self.state != State::Capable {
            if self.acked_here > 0 && counts.ect0 > self.ect0_before {
                self.state = State::Capable;
            } else if self.state == State::Unknown && self.acked_here + self.lost_here >= self.sent_here {
                // Everything comes as CE: that is no queue, that is a broken network.
                self.state = State::Failed;
            }
        }
        let is_congested = self.state == State::Capable && counts.ce > self.ce_told;
        if is_congested {
            self.ce_told = counts.ce;
        }
        is_congested
    }

    fn can_be(&self, counts: &EcnCounts, marked: u64) -> bool {
        let before = &self.reported;
        let (Some(ect0), Some(ce)) = (counts.ect0.checked_sub(before.ect0), counts.ce.checked_sub(before.ce)) else {
            return false;
        };
        // Nothing of ours is ECT(1).
        counts.ect1 == 0 && ect0.saturating_add(ce) >= marked && counts.ect0.saturating_add(counts.ce) <= self.sent
    }

    /// So many marked packets of this path were lost. If that shows that somebody on the way drops what is marked, their
    /// loss says nothing of congestion: returns how many there were and when the first was sent.
    pub fn on_lost(&mut self, marked: u64) -> Option<(u64, Instant)> {
        self.lost_here += marked;
        if self.state != State::Unknown || self.acked_here > 0 || self.lost_here < self.sent_here {
            return None;
        }
        self.state = State::Failed;
        self.began_at.map(|began_at| (self.lost_here, began_at))
    }

    /// Packets take another path from number `first_pn` on: nothing is known of it. The counts go on.
    pub fn on_path_change(&mut self, first_pn: u64) {
        *self = Self {
            first_pn,
            sent: self.sent,
            reported: self.reported,
            ect0_before: self.reported.ect0,
            ce_told: self.reported.ce,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn now() -> Instant {
        Instant::now()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as an ACK has them")]
    fn counts(ect0: u64, ce: u64) -> Option<EcnCounts> {
        Some(EcnCounts { ect0, ect1: 0, ce })
    }

    /// Has sent `pkts` marked packets, as long as it marks.
    fn after(pkts: u64) -> Validation {
        let mut validation = Validation::default();
        send(&mut validation, pkts);
        validation
    }

    fn send(validation: &mut Validation, pkts: u64) -> u64 {
        let marked = (0..pkts).filter(|_| {
            validation.begin_batch(true);
            if validation.is_marking() {
                validation.on_sent(now());
            }
            validation.is_marking()
        });
        marked.count() as u64
    }

    /// One that has found its path good, with ten packets sent and acknowledged.
    fn capable() -> Validation {
        let mut validation = after(10);
        assert!(!validation.on_ack(counts(10, 0), 10, true));
        assert_eq!(validation.state(), State::Capable);
        validation
    }

    #[test]
    fn ten_packets_are_marked_and_all_once_they_were_counted() {
        let mut validation = Validation::default();
        assert_eq!(send(&mut validation, 100), TEST_PKTS);
        assert_eq!(validation.state(), State::Unknown);
        validation.on_ack(counts(4, 0), 4, true);
        assert_eq!(validation.state(), State::Capable);
        assert_eq!(send(&mut validation, 100), 100);
        validation.begin_batch(false);
        assert!(!validation.is_marking());
    }

    #[test]
    fn more_ce_is_told_once() {
        let mut validation = capable();
        send(&mut validation, 10);
        assert!(validation.on_ack(counts(14, 1), 5, true));
        assert!(!validation.on_ack(counts(15, 1), 1, true));
        assert!(validation.on_ack(counts(15, 3), 2, true));
        assert_eq!(validation.ce_pkts(), 3);
    }

    #[test]
    fn marks_met_while_testing_are_told_when_the_path_has_proved_good() {
        let mut validation = after(10);
        assert!(!validation.on_ack(counts(0, 2), 2, true));
        assert!(validation.on_ack(counts(1, 2), 1, true));
    }

    #[test]
    fn counts_that_cannot_be_end_the_marking() {
        let ect1 = Some(EcnCounts {
            ect0: 12,
            ect1: 1,
            ce: 0,
        });
        for (wrong, marked, why) in [
            (None, 1, "none"),
            (counts(10, 0), 1, "erased"),
            (counts(9, 1), 0, "backwards"),
            (counts(21, 0), 1, "more than was sent"),
            (counts(u64::MAX, u64::MAX), 1, "huge"),
            (ect1, 1, "never sent"),
        ] {
            let mut validation = capable();
            send(&mut validation, 10);
            assert!(!validation.on_ack(wrong, marked, true), "{why}");
            assert_eq!(validation.state(), State::Failed, "{why}");
            assert_eq!(send(&mut validation, 10), 0, "{why}");
            assert!(
                !validation.on_ack(counts(5, 15), 1, true),
                "{why}: nothing counts after that"
            );
        }
    }

    #[test]
    fn acks_out_of_order_prove_nothing() {
        let mut validation = capable();
        send(&mut validation, 10);
        assert!(!validation.on_ack(counts(3, 0), 2, false));
        assert!(!validation.on_ack(None, 2, false));
        assert_eq!(validation.state(), State::Capable);
    }

    #[test]
    fn unmarked_packets_need_no_counts() {
        let mut validation = Validation::default();
        validation.on_ack(None, 0, true);
        assert_eq!(validation.state(), State::Testing);
    }

    #[test]
    fn a_path_that_marks_everything_has_failed() {
        let mut validation = after(10);
        for n in 1..=10 {
            assert!(!validation.on_ack(counts(0, n), 1, true));
        }
        assert_eq!(validation.state(), State::Failed);
    }

    #[test]
    fn it_has_failed_too_if_some_of_the_test_was_lost() {
        let mut validation = after(10);
        assert!(!validation.on_ack(counts(0, 7), 7, true));
        assert_eq!(validation.on_lost(3), None);
        assert_eq!(validation.state(), State::Unknown, "what is late may yet be counted");
        assert!(!validation.on_ack(counts(0, 7), 0, true));
        assert_eq!(validation.state(), State::Failed);
    }

    #[test]
    fn a_path_that_drops_what_is_marked_has_failed() {
        let mut validation = after(10);
        assert_eq!(validation.on_lost(9), None);
        assert_eq!(validation.state(), State::Unknown);
        assert_eq!(validation.on_lost(1).map(|(pkts, _)| pkts), Some(10));
        assert_eq!(validation.on_lost(1), None, "that is told once");
        assert_eq!(validation.state(), State::Failed);
    }

    #[test]
    fn another_path_is_tested_anew_and_the_counts_go_on() {
        let mut validation = capable();
        validation.on_path_change(50);
        assert!(validation.is_of_this_path(50) && !validation.is_of_this_path(49));
        assert_eq!(send(&mut validation, 100), TEST_PKTS);
        assert!(!validation.on_ack(counts(10, 5), 5, true));
        assert_eq!(validation.state(), State::Unknown);
        assert!(validation.on_ack(counts(11, 5), 1, true));
        assert_eq!(validation.state(), State::Capable);
    }

    #[test]
    fn the_first_ce_of_a_row_is_told_at_once() {
        let mut received = Received::default();
        assert_eq!(received.counts(), None);
        let at_once =
            [None, Some(Mark::Ce), Some(Mark::Ce), Some(Mark::Ect0), Some(Mark::Ce)].map(|mark| received.note(mark));
        assert_eq!(at_once, [false, true, false, false, true]);
        assert!(!received.note(Some(Mark::Ect1)));
        assert_eq!(
            received.counts(),
            Some(EcnCounts {
                ect0: 1,
                ect1: 1,
                ce: 3
            })
        );
    }

    proptest! {
        /// An honest peer on a network that drops, reorders and marks, but not everything, is never doubted.
        #[test]
        fn an_honest_peer_is_believed(fates in prop::collection::vec((0..4u8, any::<bool>()), 20..200)) {
            let mut validation = Validation::default();
            let mut totals = EcnCounts { ect0: 0, ect1: 0, ce: 0 };
            let mut unacked = 0;
            for (fate, acks) in fates {
                if send(&mut validation, 1) == 1 {
                    match fate {
                        0 => { validation.on_lost(1); }
                        1 if totals.ect0 > 0 => { totals.ce += 1; unacked += 1; }
                        _ => { totals.ect0 += 1; unacked += 1; }
                    }
                }
                if acks {
                    validation.on_ack(Some(totals), std::mem::take(&mut unacked), true);
                }
                prop_assert!(validation.state() != State::Failed || totals.ect0 == 0);
            }
        }
    }
}
