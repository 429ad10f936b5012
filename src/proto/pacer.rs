//! Spreads packets over time: a token bucket. RFC 9002 section 7.7.
//!
//! Credit is counted in bytes times nanoseconds per second, so that a nanosecond is worth exactly `rate`
//! units: no rounding, no drift. A sender that has to wait is sent away until a whole quantum (about 1 ms)
//! is due, because a wake-up costs more than a packet.
//!
//! It must not know congestion control (the rate is given) or packets.

use std::time::{Duration, Instant};

/// Shortest time worth sleeping for: a quantum is what the rate gives in it.
const QUANTUM_TIME: Duration = Duration::from_millis(1);
/// Largest quantum: keeps bursts within the buffers of ordinary network cards.
const MAX_QUANTUM_BYTES: u64 = 256 * 1024;
/// Smallest quantum.
const MIN_QUANTUM_PKTS: u64 = 2;
/// A burst of the initial window is allowed when nothing is in flight (RFC 9002 sections 7.2 and 7.7). While packets
/// are in flight it would only overflow short queues: a window that opens by a part at once, because the peer
/// acknowledges a few times in a round trip, is spread over that time.
const INITIAL_BURST_PKTS: u64 = 10;
/// Where a deadline ends that a very low rate would put beyond what the clock can express.
const FAR: Duration = Duration::from_secs(24 * 3600);
/// Units of credit in a byte.
const UNITS_PER_BYTE: i128 = 1_000_000_000;

/// The token bucket of one path.
#[derive(Clone, Debug)]
pub struct Pacer {
    rate_bytes_per_sec: u64,
    mtu: u64,
    /// In units; below zero when packets went out that do not wait (probes, acknowledgements).
    credit: i128,
    refilled_at: Instant,
    /// The sender was told to come back later, and has not yet spent what it earned by being late.
    catching_up: bool,
}

impl Pacer {
    /// Unlimited, with the credit of an initial burst. `mtu` is the size of a full packet in bytes.
    pub fn new(now: Instant, mtu: u64) -> Self {
        let mut pacer = Self {
            rate_bytes_per_sec: u64::MAX,
            mtu,
            credit: 0,
            refilled_at: now,
            catching_up: false,
        };
        pacer.credit = pacer.initial_burst();
        pacer
    }

    /// Sets the rate; `u64::MAX` means unlimited, zero is taken as one byte per second.
    pub fn set_rate(&mut self, rate_bytes_per_sec: u64) {
        self.rate_bytes_per_sec = rate_bytes_per_sec.max(1);
        // Credit earned at a higher rate does not become a burst at a lower one.
        self.credit = self.credit.min(self.credit_limit().max(self.initial_burst()));
    }

    /// Nothing is in flight: a burst of the initial window may go out.
    pub fn on_idle(&mut self, now: Instant) {
        self.refill(now);
        self.credit = self.credit.max(self.initial_burst());
    }

    /// Size of a full packet in bytes.
    pub fn mtu(&self) -> u64 {
        self.mtu
    }

    /// The size of a full packet changed.
    pub fn on_mtu_change(&mut self, mtu: u64) {
        self.mtu = mtu;
        self.credit = self.credit.min(self.credit_limit().max(self.initial_burst()));
    }

    /// Whether `bytes` may go out now.
    ///
    /// # Errors
    /// The time at which to try again.
    pub fn can_send(&mut self, now: Instant, bytes: u64) -> Result<(), Instant> {
        if self.rate_bytes_per_sec == u64::MAX {
            // Asked for each packet. The bucket is filled when there is a rate again; the time until then counts, as far as
            // the bucket holds.
            return Ok(());
        }
        self.refill(now);
        // More than the bucket holds needs a full bucket, else it would wait for ever.
        let needed = units(bytes.min(self.quantum()));
        if self.credit >= needed {
            return Ok(());
        }
        self.catching_up = true;
        let worth_a_wait = units(self.due_in_quantum_time()).max(needed);
        let missing = (worth_a_wait - self.credit) as u128;
        let nanos = missing.div_ceil(u128::from(self.rate_bytes_per_sec));
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // A rate so low that the clock cannot express the time: look again tomorrow.
        let tomorrow = now + FAR;
        Err(now.checked_add(wait).map_or(tomorrow, |at| at.min(tomorrow)))
    }

    /// `bytes` went out, whether they had to ask or not.
    pub fn on_sent(&mut self, bytes: u64) {
        if self.rate_bytes_per_sec != u64::MAX {
            // The debt is bounded: what does not ask must not stop the rest for long.
            let quantum = units(self.quantum());
            self.credit = (self.credit - units(bytes)).max(-quantum.max(self.initial_burst()));
            self.catching_up &= self.credit > quantum;
        }
    }

    /// How much to build and hand over at once, in bytes.
    pub fn quantum(&self) -> u64 {
        self.due_in_quantum_time().max(MIN_QUANTUM_PKTS * self.mtu)
    }

    /// What the rate gives in [`QUANTUM_TIME`], bounded.
    fn due_in_quantum_time(&self) -> u64 {
        let per_sec = Duration::from_secs(1).as_nanos() / QUANTUM_TIME.as_nanos();
        (self.rate_bytes_per_sec / per_sec as u64).min(MAX_QUANTUM_BYTES)
    }

    fn initial_burst(&self) -> i128 {
        units(INITIAL_BURST_PKTS * self.mtu)
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled_at);
        if elapsed.is_zero() {
            return;
        }
        self.refilled_at = now;
        if self.rate_bytes_per_sec == u64::MAX {
            self.credit = self.credit_limit();
            return;
        }
        // What is there is never taken back: it may be the initial burst.
        let limit = self.credit_limit().max(self.credit);
        let earned = elapsed.as_nanos().saturating_mul(self.rate_bytes_per_sec.into());
        let earned = i128::try_from(earned).unwrap_or(i128::MAX);
        self.credit = self.credit.saturating_add(earned).min(limit);
    }

    /// A late wake-up must not cost rate, so the bucket is twice as large until it is made up for.
    fn credit_limit(&self) -> i128 {
        units(self.quantum()) * if self.catching_up { 2 } else { 1 }
    }
}

fn units(bytes: u64) -> i128 {
    i128::from(bytes) * UNITS_PER_BYTE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MTU: u64 = 1452;

    /// Some moment: the tests never look at the clock.
    #[expect(clippy::disallowed_methods, reason = "any moment will do as the origin")]
    fn start() -> Instant {
        Instant::now()
    }

    /// A pacer without the initial burst.
    fn drained(now: Instant, rate: u64) -> Pacer {
        let mut pacer = Pacer::new(now, MTU);
        pacer.set_rate(rate);
        while pacer.can_send(now, MTU).is_ok() {
            pacer.on_sent(MTU);
        }
        pacer
    }

    #[test]
    fn the_initial_window_may_go_at_once() {
        let now = start();
        let mut pacer = Pacer::new(now, MTU);
        pacer.set_rate(1000);
        for _ in 0..10 {
            assert_eq!(pacer.can_send(now, MTU), Ok(()));
            pacer.on_sent(MTU);
        }
        let again = pacer.can_send(now, MTU).unwrap_err();
        assert_eq!(again - now, Duration::from_millis(1452));
        assert_eq!(pacer.can_send(again, MTU), Ok(()));
    }

    #[test]
    fn unlimited_never_waits() {
        let now = start();
        let mut pacer = Pacer::new(now, MTU);
        for _ in 0..100_000 {
            assert_eq!(pacer.can_send(now, MTU), Ok(()));
            pacer.on_sent(MTU);
        }
        assert_eq!(pacer.quantum(), MAX_QUANTUM_BYTES);
    }

    #[test]
    fn a_rate_after_none_begins_with_one_quantum() {
        let now = start();
        let mut pacer = Pacer::new(now, MTU);
        for _ in 0..1000 {
            assert_eq!(pacer.can_send(now, MTU), Ok(()));
            pacer.on_sent(MTU);
        }
        pacer.set_rate(100_000_000);
        let now = now + Duration::from_secs(1);
        let mut sent = 0;
        while pacer.can_send(now, MTU).is_ok() {
            pacer.on_sent(MTU);
            sent += MTU;
        }
        assert!(sent <= pacer.quantum(), "{sent} bytes at once");
    }

    #[test]
    fn the_quantum_is_a_millisecond_within_bounds() {
        let mut pacer = Pacer::new(start(), MTU);
        for (rate, quantum) in [
            (1, 2 * MTU),
            (10_000_000, 10_000),
            (100_000_000, 100_000),
            (12_500_000_000, 256 * 1024),
        ] {
            pacer.set_rate(rate);
            assert_eq!(pacer.quantum(), quantum, "at {rate} B/s");
        }
    }

    #[test]
    fn a_wait_lasts_about_a_quantum() {
        let now = start();
        let mut pacer = drained(now, 100_000_000);
        let wait = pacer.can_send(now, MTU).unwrap_err() - now;
        assert!(wait > Duration::from_micros(980), "{wait:?}");
        assert!(wait <= Duration::from_millis(1), "{wait:?}");
    }

    #[test]
    fn idle_time_earns_one_quantum_and_no_more() {
        let now = start();
        let mut pacer = drained(now, 100_000_000);
        let mut now = pacer.can_send(now, MTU).unwrap_err();
        pacer.can_send(now, MTU).unwrap();
        pacer.on_sent(MTU);
        now += Duration::from_secs(3600);
        let mut sent = 0;
        while pacer.can_send(now, MTU).is_ok() {
            pacer.on_sent(MTU);
            sent += MTU;
        }
        assert!(sent <= pacer.quantum());
        assert!(sent + MTU > pacer.quantum());
    }

    #[test]
    fn waking_late_costs_no_rate() {
        let begin = start();
        let rate = 100_000_000;
        let mut now = begin;
        let mut pacer = drained(now, rate);
        let mut sent = 0;
        while now - begin < Duration::from_secs(10) {
            match pacer.can_send(now, MTU) {
                Ok(()) => {
                    pacer.on_sent(MTU);
                    sent += MTU;
                    now += Duration::from_nanos(700);
                }
                Err(at) => now = at + Duration::from_micros(600),
            }
        }
        let due = rate * 10;
        assert!(sent.abs_diff(due) * 1000 <= due, "{sent} of {due}");
    }

    #[test]
    fn only_with_nothing_in_flight_may_a_burst_go_at_once() {
        let now = start();
        let mut pacer = drained(now, 1_000_000);
        let burst = |pacer: &mut Pacer, now| {
            let mut pkts = 0;
            while pacer.can_send(now, MTU).is_ok() {
                pacer.on_sent(MTU);
                pkts += 1;
            }
            pkts
        };
        let mut now = now + Duration::from_secs(1);
        // Two for the wait, and two because it was longer than it had to be.
        assert!(burst(&mut pacer, now) <= 4);
        now += Duration::from_secs(1);
        pacer.on_idle(now);
        assert_eq!(burst(&mut pacer, now), 10);
    }

    #[test]
    fn a_lower_rate_takes_back_what_the_higher_one_earned() {
        let begin = start();
        let mut pacer = drained(begin, 200_000_000);
        let now = begin + Duration::from_secs(1);
        pacer.can_send(now, MTU).unwrap();
        pacer.set_rate(1_000_000);
        let mut sent = 0;
        while pacer.can_send(now, MTU).is_ok() {
            pacer.on_sent(MTU);
            sent += MTU;
        }
        // The initial burst, doubled because the sender was waiting; not the 400 kB of before.
        assert!(sent <= 20 * MTU);
    }

    #[test]
    fn packets_that_do_not_ask_leave_a_bounded_debt() {
        let now = start();
        let mut pacer = drained(now, 1_000_000);
        for _ in 0..1000 {
            pacer.on_sent(MTU);
        }
        let wait = pacer.can_send(now, MTU).unwrap_err() - now;
        assert!(wait <= Duration::from_millis(17), "{wait:?}");
    }

    #[test]
    fn a_packet_larger_than_the_bucket_goes_when_it_is_full() {
        let now = start();
        let mut pacer = drained(now, 1_000_000);
        let at = pacer.can_send(now, 1_000_000).unwrap_err();
        assert_eq!(pacer.can_send(at, 1_000_000), Ok(()));
    }

    #[test]
    fn a_hopeless_rate_still_gives_a_deadline() {
        let now = start();
        let mut pacer = drained(now, 0);
        let at = pacer.can_send(now, MTU).unwrap_err();
        assert_eq!(at - now, Duration::from_secs(1452));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_rate_holds_from_kilobytes_to_a_hundred_gigabits(
            exponent in 3.0..10.09f64,
            size in 40..=MTU,
        ) {
            let rate = 10f64.powf(exponent) as u64;
            let begin = start();
            let mut now = begin;
            let mut pacer = drained(now, rate);
            let mut sent = 0;
            let mut burst = 0;
            // At least 20,000 packets, and always to the end of a wait.
            loop {
                match pacer.can_send(now, size) {
                    Ok(()) => {
                        pacer.on_sent(size);
                        sent += size;
                        burst += size;
                    }
                    Err(at) => {
                        prop_assert!(at > now);
                        prop_assert!(burst <= pacer.quantum() + size);
                        burst = 0;
                        if sent > 20_000 * size {
                            break;
                        }
                        now = at;
                    }
                }
            }
            let due = u128::from(rate) * (now - begin).as_nanos() / 1_000_000_000;
            let error = due.abs_diff(sent.into());
            prop_assert!(error * 1000 <= due, "{sent} of {due} at {rate} B/s");
        }
    }
}
