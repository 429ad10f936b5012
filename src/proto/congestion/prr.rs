//! Proportional Rate Reduction: how a window shrinks. RFC 9937.
//!
//! A window that falls at once to its new size stops the sender until so much has left the path, and then lets it go on as if
//! nothing had been: a gap of a third of a round trip, in which acknowledgements are all that moves. Here a part of what
//! arrives is replaced instead, so that what is in flight reaches the new size after one round trip and without a pause.
//!
//! ```text
//!   in flight
//!      |\
//!      |  \_          sent for each byte delivered: ssthresh / RecoverFS
//!      |     \_
//!      |        `---- ssthresh: now as many as are delivered
//!      |_____________ t
//!       recovery
//! ```
//!
//! It must not know controllers: who reduces a window tells it where from and where to.

/// One recovery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prr {
    /// In flight when it began, what had just been lost or acknowledged included (`RecoverFS`), in bytes.
    recover_fs: u64,
    /// The window to arrive at, in bytes.
    ssthresh: u64,
    /// Delivered since it began (`prr_delivered`), in bytes.
    delivered: u64,
    /// Sent since it began (`prr_out`), in bytes.
    out: u64,
    /// What may be in flight now, in bytes.
    window: u64,
    /// The acknowledgement that began it has yet to be counted.
    begins: bool,
}

impl Prr {
    /// `lost` bytes were found lost and `in_flight` are left; the window has to become `ssthresh`.
    pub(super) fn begin(lost: u64, in_flight: u64, ssthresh: u64) -> Self {
        Self {
            recover_fs: in_flight + lost,
            ssthresh,
            delivered: 0,
            out: 0,
            window: in_flight,
            begins: true,
        }
    }

    /// In bytes.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// A packet went out.
    pub(super) fn on_sent(&mut self, bytes: u64) {
        self.out += bytes;
    }

    /// More was found lost.
    pub(super) fn on_lost(&mut self, bytes: u64, in_flight: u64) {
        // Without an acknowledgement nothing may replace it.
        self.window = self.window.saturating_sub(bytes).max(in_flight);
    }

    /// So much was acknowledged and left `in_flight`. `is_safe`: the same acknowledgement told of no further loss.
    pub(super) fn on_ack(&mut self, delivered: u64, in_flight: u64, is_safe: bool, mtu: u64) {
        if delivered == 0 {
            return;
        }
        if std::mem::take(&mut self.begins) && !is_safe {
            // It left flight before the loss was noted.
            self.recover_fs += delivered;
        }
        self.delivered += delivered;
        let mut send = if in_flight > self.ssthresh {
            let part = u128::from(self.delivered) * u128::from(self.ssthresh);
            let due = part.div_ceil(u128::from(self.recover_fs.max(1)));
            u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.out)
        } else {
            // Below the target: as much as was delivered (PRR-CRB), and while nothing more is lost a packet beyond, as in slow
            // start (PRR-SSRB).
            let earned = self.delivered.saturating_sub(self.out).max(delivered);
            let more = if is_safe { mtu } else { 0 };
            (earned + more).min(self.ssthresh - in_flight)
        };
        if self.out == 0 {
            // What was found lost is sent again at once.
            send = send.max(mtu);
        }
        self.window = in_flight + send;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1000;

    /// A sender that uses its window on a path of `pkts` in flight, of which every one is acknowledged but the `lost` first.
    /// Returns how many packets it sends after each acknowledgement, over one round trip.
    fn round(pkts: u64, lost: u64, ssthresh: u64) -> Vec<u64> {
        let (mut in_flight, mut sent) = ((pkts - lost) * MTU, Vec::new());
        in_flight -= MTU;
        let mut prr = Prr::begin(lost * MTU, in_flight, ssthresh * MTU);
        let mut is_safe = false;
        for _ in lost..pkts {
            prr.on_ack(MTU, in_flight, is_safe, MTU);
            let mut now = 0;
            while in_flight + MTU <= prr.window() {
                prr.on_sent(MTU);
                in_flight += MTU;
                now += 1;
            }
            sent.push(now);
            in_flight -= MTU;
            is_safe = true;
        }
        sent
    }

    #[test]
    fn seven_packets_leave_for_ten_that_arrive_all_the_round_long() {
        let sent = round(100, 1, 70);
        assert_eq!(sent[0], 1, "the first leaves at once");
        for ten in sent.chunks_exact(10) {
            let ten: u64 = ten.iter().sum();
            assert!((6..=8).contains(&ten), "{sent:?}");
        }
        let all: u64 = sent.iter().sum();
        assert!((69..=71).contains(&all), "{all}");
    }

    #[test]
    fn where_more_was_lost_than_the_window_shrinks_it_grows_as_in_slow_start_up_to_the_target() {
        // 40 of 100 are left: below 70, so each that arrives sends itself again and one more.
        let sent = round(100, 60, 70);
        assert_eq!(sent[1..=10], [2; 10]);
        // One has just been acknowledged when the last one goes: 70 are in flight, and no more.
        let in_flight = 40 + sent.iter().sum::<u64>() - sent.len() as u64;
        assert_eq!(in_flight, 70);
    }

    #[test]
    fn while_losses_go_on_no_more_leaves_than_arrives() {
        let mut prr = Prr::begin(60 * MTU, 40 * MTU, 70 * MTU);
        prr.on_ack(MTU, 39 * MTU, false, MTU);
        assert_eq!(prr.window(), 40 * MTU);
        prr.on_sent(MTU);
        prr.on_lost(5 * MTU, 35 * MTU);
        prr.on_ack(MTU, 34 * MTU, false, MTU);
        assert_eq!(prr.window(), 35 * MTU);
    }

    #[test]
    fn what_only_a_deadline_found_lost_is_not_replaced() {
        let mut prr = Prr::begin(MTU, 90 * MTU, 70 * MTU);
        prr.on_ack(10 * MTU, 80 * MTU, true, MTU);
        assert!(prr.window() > 80 * MTU);
        prr.on_sent(7 * MTU);
        prr.on_lost(20 * MTU, 67 * MTU);
        assert!(prr.window() < 68 * MTU, "{}", prr.window());
    }
}
