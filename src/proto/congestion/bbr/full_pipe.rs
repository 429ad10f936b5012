//! Whether the pipe is full: the rate no longer grows though more is sent. draft-ietf-ccwg-bbr, section 5.3.1.2.

/// In Startup a rate that grows less than this has not grown.
const STARTUP_GROWTH: f64 = 1.25;
/// In a probe. Deviation: the draft wants 1.25 there too, which a round at 1.25 times the rate, less the pacing margin, can
/// not show.
const PROBE_GROWTH: f64 = 1.125;
/// Rounds without growth after which the pipe is full (`StartupFullBwCnt`).
const STARTUP_ROUNDS: u32 = 3;
/// In a probe. Deviation: the draft has three there too; each queues a quarter of a bandwidth-delay product.
const PROBE_ROUNDS: u32 = 2;

/// Looks for the end of growth.
#[derive(Clone, Copy, Debug)]
pub(super) struct FullPipe {
    growth: f64,
    enough_rounds: u32,
    reached: bool,
    now: bool,
    bw: u64,
    rounds: u32,
    grew: bool,
}

impl Default for FullPipe {
    fn default() -> Self {
        Self {
            growth: STARTUP_GROWTH,
            enough_rounds: STARTUP_ROUNDS,
            reached: false,
            now: false,
            bw: 0,
            rounds: 0,
            grew: false,
        }
    }
}

impl FullPipe {
    /// The pipe was full once: Startup is over.
    pub(super) fn is_reached(&self) -> bool {
        self.reached
    }

    /// The pipe is full since the last [`FullPipe::begin_probe`].
    pub(super) fn is_now(&self) -> bool {
        self.now
    }

    /// Rounds without growth so far.
    pub(super) fn flat_rounds(&self) -> u32 {
        self.rounds
    }

    /// The rate has grown in this probe, and goes on to.
    pub(super) fn is_growing(&self) -> bool {
        self.grew && self.rounds == 0
    }

    /// Looks anew, for the growth that a probe can show.
    pub(super) fn begin_probe(&mut self) {
        self.growth = PROBE_GROWTH;
        self.enough_rounds = PROBE_ROUNDS;
        self.restart();
    }

    fn restart(&mut self) {
        self.now = false;
        self.bw = 0;
        self.rounds = 0;
        self.grew = false;
    }

    /// It is known by other signs.
    pub(super) fn set_reached(&mut self) {
        self.reached = true;
    }

    /// A rate was measured that the application did not limit.
    pub(super) fn on_rate(&mut self, bytes_per_sec: u64, round_begins: bool) {
        if self.now {
            return;
        }
        if bytes_per_sec as f64 >= self.bw as f64 * self.growth {
            self.grew = self.bw > 0;
            self.bw = bytes_per_sec;
            self.rounds = 0;
            return;
        }
        if round_begins {
            self.rounds += 1;
            self.now = self.rounds >= self.enough_rounds;
            self.reached |= self.now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipe_is_full_after_three_rounds_that_grow_by_less_than_a_quarter() {
        let mut pipe = FullPipe::default();
        for (bw, rounds) in [(100, 0), (200, 0), (249, 1), (249, 2)] {
            pipe.on_rate(bw, true);
            assert_eq!(pipe.flat_rounds(), rounds, "{bw}");
            assert!(!pipe.is_reached());
        }
        pipe.on_rate(249, false);
        assert!(!pipe.is_now());
        pipe.on_rate(249, true);
        assert!(pipe.is_now() && pipe.is_reached());
    }

    #[test]
    fn a_probe_grows_with_an_eighth_and_forgets_that_it_did_when_it_stops() {
        let mut pipe = FullPipe::default();
        pipe.begin_probe();
        pipe.on_rate(1000, true);
        assert!(!pipe.is_growing());
        pipe.on_rate(1125, true);
        assert!(pipe.is_growing());
        pipe.on_rate(1200, true);
        assert!(!pipe.is_growing());
        assert_eq!(pipe.flat_rounds(), 1);
    }
}
