//! How much time and memory this process took.

use crate::work::Report;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Runs from its creation.
pub struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    pub fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu(),
        }
    }

    /// What was spent since.
    pub fn stop(self) -> Report {
        let wall_secs = self.wall.elapsed().as_secs_f64();
        Report {
            wall_secs,
            cpu_secs: cpu().saturating_sub(self.cpu).as_secs_f64(),
            peak_bytes: status_bytes("VmHWM:"),
            resident_bytes: status_bytes("VmRSS:"),
            ..Report::default()
        }
    }
}

/// Processor time of all threads of this process, in user and kernel.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// A line of `/proc/self/status`; 0 where there is none.
fn status_bytes(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}

/// The middle one, and the one that 99 of 100 are not above.
pub fn percentiles(samples: &mut [Duration]) -> (f64, f64) {
    samples.sort_unstable();
    let at = |share: f64| {
        let index = ((samples.len() as f64 * share) as usize).min(samples.len().saturating_sub(1));
        samples.get(index).map_or(0.0, Duration::as_secs_f64)
    };
    (at(0.5), at(0.99))
}
