//! A link whose rate was recorded, as mahimahi does it: each line of the file is a time in milliseconds at which the link
//! carries 1500 bytes. At its end the recording begins again.

use super::line::{Line, Pace, Waiting};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one opportunity carries.
const OPPORTUNITY_BYTES: u64 = 1500;
/// Packets that may wait. Recordings are of mobile links, whose queues are long.
const QUEUE_PKTS: u64 = 1000;
/// The most lines of a file: more would be many hours of a fast link.
const MAX_LINES: usize = 10_000_000;
/// The latest time in a file: a day.
const MAX_MILLIS: u64 = 86_400_000;

/// A recording, by the name of its file. It is empty until its text is [loaded](Trace::load), for a filter reads no files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    file: String,
    /// Milliseconds, rising; the last is the length of the recording.
    times: Arc<[u64]>,
}

/// What is wrong with the text of a recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TraceError {
    /// Which line; the first is 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

impl Trace {
    /// The recording in `file`, not yet loaded.
    pub fn named(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            times: Arc::new([]),
        }
    }

    /// The name of its file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether it carries anything.
    pub fn is_loaded(&self) -> bool {
        !self.times.is_empty()
    }

    /// Its mean rate in bits per second.
    pub fn bits_per_sec(&self) -> f64 {
        let millis = self.times.last().copied().unwrap_or(0);
        if millis == 0 {
            return 0.0;
        }
        self.times.len() as f64 * (OPPORTUNITY_BYTES * 8 * 1000) as f64 / millis as f64
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// The first line that is no time, or lies before the one above it; or there is none.
    pub fn load(&mut self, text: &str) -> Result<(), TraceError> {
        let mut times = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = |problem: String| TraceError {
                line: index + 1,
                problem,
            };
            let word = line.trim();
            if word.is_empty() || word.starts_with('#') {
                continue;
            }
            let millis = word.parse::<u64>().ok().filter(|millis| *millis <= MAX_MILLIS);
            let millis =
                millis.ok_or_else(|| wrong(format!("\"{word}\" is no time in whole milliseconds of at most a day")))?;
            if times.last().is_some_and(|last| *last > millis) {
                return Err(wrong(format!("{millis} lies before the time above it")));
            }
            if times.len() == MAX_LINES {
                return Err(wrong(format!("a recording has at most {MAX_LINES} lines")));
            }
            times.push(millis);
        }
        if times.last().is_none_or(|last| *last == 0) {
            return Err(TraceError {
                line: text.lines().count().max(1),
                problem: "the recording needs a time after 0".to_owned(),
            });
        }
        self.times = times.into();
        Ok(())
    }
}

/// Sends packets as the recording says, from the first packet on. One that is not loaded carries nothing.
pub type Traced<T> = Line<T, Recording>;

/// The pace of a [`Traced`] link.
#[derive(Debug)]
pub struct Recording {
    times: Arc<[u64]>,
    started: Option<Instant>,
    /// The opportunity in use, counted over all rounds, and what is left of it.
    current: u64,
    left_bytes: u64,
}

impl<T> Traced<T> {
    /// A link like `trace`.
    pub fn new(name: impl Into<String>, trace: &Trace) -> Self {
        let recording = Recording {
            times: Arc::clone(&trace.times),
            started: None,
            current: 0,
            left_bytes: OPPORTUNITY_BYTES,
        };
        Self::at(name, recording)
    }
}

impl Recording {
    /// When the opportunity comes, from the start.
    fn time_of(&self, opportunity: u64) -> Duration {
        let count = self.times.len() as u64;
        let round = self.times[self.times.len() - 1];
        let millis = opportunity / count * round + self.times[(opportunity % count) as usize];
        Duration::from_millis(millis)
    }

    /// Goes on to the first opportunity that is not over.
    fn skip_to(&mut self, running: Duration) {
        if self.time_of(self.current) >= running {
            return;
        }
        let round = u128::from(self.times[self.times.len() - 1]) * 1_000_000;
        let (rounds, rest) = (running.as_nanos() / round, running.as_nanos() % round);
        let within = self
            .times
            .partition_point(|millis| u128::from(*millis) * 1_000_000 < rest);
        self.current = rounds as u64 * self.times.len() as u64 + within as u64;
        self.left_bytes = OPPORTUNITY_BYTES;
    }
}

impl Pace for Recording {
    fn has_room(&self, _: u64, waiting: Waiting) -> bool {
        !self.times.is_empty() && waiting.packets < QUEUE_PKTS
    }

    fn book(&mut self, bytes: u64, now: Instant) -> Duration {
        let running = now.saturating_duration_since(*self.started.get_or_insert(now));
        self.skip_to(running);
        let mut bytes = bytes;
        while bytes > self.left_bytes {
            bytes -= self.left_bytes;
            self.current += 1;
            self.left_bytes = OPPORTUNITY_BYTES;
        }
        self.left_bytes -= bytes;
        let carried = self.time_of(self.current);
        if self.left_bytes == 0 {
            self.current += 1;
            self.left_bytes = OPPORTUNITY_BYTES;
        }
        carried.saturating_sub(running)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, origin};
    use super::super::{Filter, Packet, Verdict};
    use super::*;

    fn link(text: &str) -> Traced<u64> {
        let mut trace = Trace::named("a file");
        trace.load(text).expect("a good recording");
        Traced::new("trace", &trace)
    }

    fn packet(bytes: usize) -> Packet<u64> {
        Packet {
            bytes: vec![0; bytes],
            tag: 0,
        }
    }

    #[test]
    fn packets_leave_when_the_recording_says_and_it_begins_again_at_its_end() {
        let (start, mut out) = (origin(), Vec::new());
        let mut link = link("10\n20\n100\n");
        let mut send = |at, bytes| link.handle(packet(bytes), start + ms(at), &mut out);
        // The clock starts with the first packet.
        assert_eq!(send(0, 1500), Verdict::Delay(ms(10)));
        assert_eq!(send(0, 1500), Verdict::Delay(ms(20)));
        assert_eq!(send(0, 1500), Verdict::Delay(ms(100)));
        assert_eq!(send(0, 1500), Verdict::Delay(ms(110)));
        // An opportunity that nobody used is gone.
        assert_eq!(send(195, 1500), Verdict::Delay(ms(5)));
        assert_eq!(send(1005, 1500), Verdict::Delay(ms(5)));
    }

    #[test]
    fn small_packets_share_an_opportunity_and_large_ones_take_several() {
        let (start, mut out) = (origin(), Vec::new());
        let mut link = link("10\n20\n30\n40\n");
        let mut send = |bytes| link.handle(packet(bytes), start, &mut out);
        assert_eq!(send(700), Verdict::Delay(ms(10)));
        assert_eq!(send(700), Verdict::Delay(ms(10)));
        assert_eq!(send(700), Verdict::Delay(ms(20)));
        assert_eq!(send(2500), Verdict::Delay(ms(40)));
    }

    #[test]
    fn a_recording_that_makes_no_sense_is_refused_by_line() {
        let error = |text| Trace::named("t").load(text).expect_err(text).to_string();
        assert!(error("1\nx\n").starts_with("line 2: \"x\" is no time"));
        assert!(error("5\n4\n").starts_with("line 2: 4 lies before"));
        assert!(error("# nothing\n").contains("needs a time"));
        assert!(error("0\n0\n").contains("needs a time"));
        assert!(error("").starts_with("line 1"));
    }

    #[test]
    fn a_recording_that_was_not_loaded_carries_nothing() {
        let mut link = Traced::new("trace", &Trace::named("nowhere"));
        assert_eq!(link.handle(packet(1), origin(), &mut Vec::new()), Verdict::Drop);
    }

    #[test]
    fn the_mean_rate_is_told() {
        let mut trace = Trace::named("t");
        trace.load("1\n2\n3\n4\n").expect("good");
        assert!((trace.bits_per_sec() - 12e6).abs() < 1.0);
    }
}
