//! What we ask of the peer's acknowledgements: often enough to keep us going, no oftener.
//! draft-ietf-quic-ack-frequency.
//!
//! The sender knows its window, the receiver does not. Every second packet or 25 ms is too rare for a window of a
//! few packets on a short path, where the last packet of a round would wait for the delay, and far too often for
//! thousands of packets in flight.

use super::config::MAX_ACK_DELAY;
use std::time::Duration;

/// Acknowledgements in a round trip, on paths that are not short. Each opens its part of the window at once; that part then
/// takes the time of its pacing to leave, and waits for its last packet to be acknowledged. So with four a window needs a
/// fifth more than a round trip to go round, and fills a short queue; with eight it is half of that.
const ACKS_PER_ROUND: u64 = 8;
/// The longest delay, as a part of the round trip: what comes too rarely to be counted.
const DELAYS_PER_ROUND: u32 = 4;
/// Bytes that one acknowledgement covers at most, there.
const MAX_BYTES: u64 = 128 * 1024;
/// On a path shorter than this a round trip is the time in which threads wake each other, and each acknowledgement wakes
/// three: half as many do there.
const SHORT_RTT: Duration = Duration::from_millis(1);
/// And a quarter with a window from this on, which is half a gigabyte in a second or more: the processors are needed for
/// packets.
const LARGE_WINDOW: u64 = 512 * 1024;
/// A shorter delay would only measure how threads are scheduled.
const MIN_DELAY: Duration = Duration::from_millis(1);

/// A request to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Acknowledge after so many packets that want it.
    pub packets: u64,
    /// Or after so long.
    pub max_delay: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct AckPolicy {
    current: Request,
    /// A quarter is asked for. Neither a window nor a round trip that moves about its bound changes this each time.
    is_sparse: bool,
}

impl AckPolicy {
    /// What every receiver does unasked (RFC 9000, section 13.2.2), with the peer's own delay.
    pub fn new(peer_max_ack_delay: Duration) -> Self {
        Self {
            current: Request {
                packets: 2,
                max_delay: peer_max_ack_delay,
            },
            is_sparse: false,
        }
    }

    /// A new request, when the window or the path have changed by more than a factor of two.
    pub fn poll(&mut self, window: u64, packet_bytes: u64, smoothed_rtt: Duration) -> Option<Request> {
        let is_short = smoothed_rtt < SHORT_RTT;
        self.is_sparse = if self.is_sparse {
            is_short && window >= LARGE_WINDOW / 4 * 3
        } else {
            smoothed_rtt < SHORT_RTT / 4 * 3 && window >= LARGE_WINDOW
        };
        let scale = match (self.is_sparse, is_short) {
            (true, _) => 4,
            (false, true) => 2,
            (false, false) => 1,
        };
        let bytes = (window / ACKS_PER_ROUND).min(MAX_BYTES) * scale;
        let wanted = Request {
            packets: (bytes / packet_bytes).max(1),
            max_delay: (smoothed_rtt / DELAYS_PER_ROUND).clamp(MIN_DELAY, MAX_ACK_DELAY),
        };
        let same = within_twice(wanted.packets as f64, self.current.packets as f64)
            && within_twice(wanted.max_delay.as_secs_f64(), self.current.max_delay.as_secs_f64());
        if same {
            return None;
        }
        self.current = wanted;
        Some(wanted)
    }

    /// What was asked for last.
    pub fn current(&self) -> Request {
        self.current
    }
}

fn within_twice(a: f64, b: f64) -> bool {
    a <= 2.0 * b && b <= 2.0 * a
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(200);
    const LONG: Duration = Duration::from_millis(200);

    #[test]
    fn a_small_window_on_a_short_path_wants_every_packet_acknowledged_soon() {
        let mut policy = AckPolicy::new(MAX_ACK_DELAY);
        let request = policy.poll(4 * 1200, 1200, SHORT);
        assert_eq!(
            request,
            Some(Request {
                packets: 1,
                max_delay: MIN_DELAY
            })
        );
    }

    #[test]
    fn a_large_window_wants_eight_in_a_round_but_one_for_each_128_kib() {
        let mut policy = AckPolicy::new(MAX_ACK_DELAY);
        assert_eq!(
            policy.poll(400 * 1200, 1200, LONG).map(|request| request.packets),
            Some(50)
        );
        assert_eq!(
            policy.poll(1 << 30, 1200, LONG).map(|request| request.packets),
            Some(109)
        );
        assert_eq!(policy.poll(1 << 40, 1200, LONG), None);
    }

    #[test]
    fn within_a_machine_four_in_a_round_are_enough_and_two_of_a_large_window() {
        let mut policy = AckPolicy::new(MAX_ACK_DELAY);
        assert_eq!(
            policy
                .poll(LARGE_WINDOW - 1200, 1200, SHORT)
                .map(|request| request.packets),
            Some(108)
        );
        assert_eq!(
            policy.poll(1 << 30, 1200, SHORT).map(|request| request.packets),
            Some(436)
        );
    }

    #[test]
    fn what_moves_about_a_bound_is_not_asked_for_again_and_again() {
        let mut policy = AckPolicy::new(MAX_ACK_DELAY);
        let [below, above] = [LARGE_WINDOW * 9 / 10, LARGE_WINDOW * 11 / 10];
        let mut asked = |window, rtt| usize::from(policy.poll(window, 1200, rtt).is_some());
        let times = 100;
        let windows: usize = (0..times).map(|_| asked(below, SHORT) + asked(above, SHORT)).sum();
        assert!(windows <= 2, "asked {windows} times for a window that moves");
        let [shorter, longer] = [9, 11].map(|tenths| SHORT_RTT * tenths / 10);
        let paths: usize = (0..times)
            .map(|_| asked(4 << 20, shorter) + asked(4 << 20, longer))
            .sum();
        assert!(paths <= 2, "asked {paths} times for a round trip that moves");
    }

    #[test]
    fn nothing_is_asked_again_for_a_small_change() {
        let mut policy = AckPolicy::new(MAX_ACK_DELAY);
        assert!(policy.poll(400 * 1200, 1200, LONG).is_some());
        assert_eq!(policy.poll(300 * 1200, 1200, LONG), None);
    }
}
