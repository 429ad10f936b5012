//! Flow control of the receiving side: how far the peer may send, tuned to what the application reads.
//!
//! RFC 9000, section 4. The window stands where the application reads, beside the bytes it has read, so no message
//! from the sender to the receiver is needed: the limit is `read + window`.

use std::time::{Duration, Instant};

/// A window that holds less than is read in so many round trips is too small, on any path.
const ROUND_TRIPS: u32 = 2;
/// On a long path it must hold so many more. One round trip passes until the peer hears of a limit, and in that time a peer
/// that doubles its rate needs two of ours. A lost packet holds up all that comes behind it for one round trip more, and
/// that each time that it is lost again: at 10 % of losses some packet of a window is lost three times in a row.
const MORE_ROUND_TRIPS: u32 = 8;
/// What is no long path: there a window waits for threads rather than for packets, and a larger one only costs memory.
const SHORT_RTT: Duration = Duration::from_millis(2);
/// The pace is measured over so many round trips: a shorter time would take what comes in a lump, behind a lost packet, for
/// the pace.
const EPOCH_ROUND_TRIPS: u32 = 2;
/// Round trips shorter than this count as this long: on loopback the real ones are a few microseconds, while the time that
/// threads take to be woken is not. Windows of 512 KiB to 1 MiB are as fast there as larger ones, which only cost memory;
/// below that the threads wait for each other.
const MIN_RTT_FLOOR: Duration = Duration::from_micros(200);

/// The receive window of one stream.
#[derive(Debug)]
pub struct RecvWindow {
    window: u64,
    max_window: u64,
    read: u64,
    advertised: u64,
    epoch: Option<(Instant, u64)>,
}

impl RecvWindow {
    /// A window of `initial` bytes, already promised to the peer, that may grow to `max` bytes.
    pub fn new(initial: u64, max: u64) -> Self {
        Self {
            window: initial,
            max_window: max.max(initial),
            read: 0,
            advertised: initial,
            epoch: None,
        }
    }

    /// The application has read `n` more bytes. Says whether [`RecvWindow::next_limit`] should be told to the peer:
    /// when a quarter of the window has been freed.
    pub fn consumed(&mut self, n: u64) -> bool {
        self.read += n;
        self.read + self.window >= self.advertised + self.window / 4
    }

    /// The window that [`RecvWindow::next_limit`] would choose now, if it may, in bytes.
    pub fn wanted(&self, now: Instant, min_rtt: Duration) -> u64 {
        let Some((since, read_then)) = self.epoch else {
            return self.window;
        };
        let round_trip = min_rtt.max(MIN_RTT_FLOOR);
        let took = now.saturating_duration_since(since).max(EPOCH_ROUND_TRIPS * round_trip);
        let held = ROUND_TRIPS * round_trip + MORE_ROUND_TRIPS * round_trip.saturating_sub(SHORT_RTT);
        let needed = u128::from(self.read - read_then) * held.as_nanos() / took.as_nanos();
        let mut window = self.window;
        while u128::from(window) < needed {
            window = window.saturating_mul(2);
        }
        window
    }

    /// From now on the window grows to `max` bytes, and does not shrink.
    pub fn set_max_window(&mut self, max: u64) {
        self.max_window = max.max(self.window);
    }

    /// Tunes the window and moves the limit: the absolute offset up to which the peer may send. `min_rtt` is the
    /// lowest round-trip time known, not the smoothed one: queueing would feed the window that causes it.
    pub fn next_limit(&mut self, now: Instant, min_rtt: Duration) -> u64 {
        let (since, _) = *self.epoch.get_or_insert((now, self.read));
        self.window = self.wanted(now, min_rtt).min(self.max_window).max(self.window);
        let epoch = EPOCH_ROUND_TRIPS * min_rtt.max(MIN_RTT_FLOOR);
        if now.saturating_duration_since(since) >= epoch {
            self.epoch = Some((now, self.read));
        }
        self.advertised = self.advertised.max(self.read + self.window);
        self.advertised
    }

    /// Somebody wants to see `bytes` at once: the window grows to hold them. `false` if it may not grow so far.
    pub fn require(&mut self, bytes: u64) -> bool {
        let may_be = bytes <= self.max_window;
        if may_be {
            self.window = self.window.max(bytes);
        }
        may_be
    }

    /// The limit that the peer was told last.
    pub fn advertised(&self) -> u64 {
        self.advertised
    }

    /// Size of the window in bytes.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Bytes that the application has read.
    pub fn read(&self) -> u64 {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    /// Reads `bytes` in steps, `pause` apart, and tells every limit that is due.
    fn read(window: &mut RecvWindow, now: &mut Instant, bytes: u64, step: u64, pause: Duration) {
        for _ in 0..bytes / step {
            *now += pause;
            if window.consumed(step) {
                window.next_limit(*now, RTT);
            }
        }
    }

    #[test]
    fn a_required_window_is_granted_as_far_as_it_may_grow() {
        let mut window = RecvWindow::new(1000, 4000);
        assert!(!window.require(4001));
        assert_eq!(window.window(), 1000);
        assert!(window.require(4000));
        assert_eq!(window.next_limit(start(), RTT), 4000);
        // Less than a quarter was freed, which nobody was told of.
        assert!(!window.consumed(100));
        assert!(window.require(4000));
        assert_eq!(window.next_limit(start(), RTT), 4100);
    }

    #[test]
    fn the_limit_moves_when_a_quarter_of_the_window_was_read() {
        let mut window = RecvWindow::new(1000, 4000);
        assert!(!window.consumed(249));
        assert!(window.consumed(1));
        assert_eq!(window.next_limit(start(), RTT), 1250);
    }

    #[test]
    fn a_window_that_holds_few_round_trips_grows_up_to_its_cap() {
        let (mut window, mut now) = (RecvWindow::new(1000, 4000), start());
        read(&mut window, &mut now, 40_000, 250, RTT / 4);
        assert_eq!(window.window(), 4000);
    }

    #[test]
    fn a_window_holds_ten_round_trips_but_no_more_than_twice_that() {
        let (mut window, mut now) = (RecvWindow::new(1000, 1 << 30), start());
        // 4000 bytes in each round trip.
        read(&mut window, &mut now, 4_000_000, 100, RTT / 40);
        assert!((40_000..=80_000).contains(&window.window()), "{}", window.window());
    }

    #[test]
    fn on_a_short_path_it_holds_two() {
        let (mut window, mut now) = (RecvWindow::new(1000, 1 << 30), start());
        let rtt = Duration::from_millis(1);
        for _ in 0..10_000 {
            now += rtt / 40;
            if window.consumed(100) {
                window.next_limit(now, rtt);
            }
        }
        assert!((8000..=16_000).contains(&window.window()), "{}", window.window());
    }

    #[test]
    fn a_slow_reader_does_not_grow_the_window() {
        let (mut window, mut now) = (RecvWindow::new(1000, 4000), start());
        read(&mut window, &mut now, 40_000, 250, 4 * RTT);
        assert_eq!(window.window(), 1000);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the start of virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
