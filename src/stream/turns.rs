//! Who runs when a stream is fast: its threads let each other finish.
//!
//! A stream is a chain of threads that wake each other, and Linux lets a thread that was woken interrupt the one that runs.
//! For a thread that waits for a person or a packet that is right. In a bulk transfer it takes the processor from a thread
//! in the middle of a batch, whose data leave the cache, for one that would have found more to do a little later. So while a
//! stream moves much, its threads run under `SCHED_BATCH` (sched(7)): they interrupt nobody, and everything else stays as
//! it was. Threads of the application are never touched.
//!
//! A stream that is slow, or slowed down by others that use the processors, runs as all threads do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};

/// A stream is fast from this rate on, and slow below half of it.
const FAST_BYTES_PER_SEC: u64 = 250_000_000;
/// The rate is taken over so many bytes, or so long.
const SPAN_BYTES: u64 = 4 << 20;
const SPAN: Duration = Duration::from_millis(50);
/// Stands for niceness 0, see `ThreadPriority::to_posix`: what the threads of an ordinary process have, and keep.
#[cfg(target_os = "linux")]
const ORDINARY: u8 = 47;

/// How fast one thread moves bytes.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    since: Option<Instant>,
    bytes: u64,
    is_fast: bool,
}

impl Pace {
    /// So many bytes more have passed. Returns whether they pass fast.
    pub(crate) fn note(&mut self, bytes: u64, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        self.bytes += bytes;
        let took = now.saturating_duration_since(since);
        if self.bytes >= SPAN_BYTES || took >= SPAN {
            let per_sec = u128::from(self.bytes) * 1_000_000_000 / took.as_nanos().max(1);
            let least = if self.is_fast {
                FAST_BYTES_PER_SEC / 2
            } else {
                FAST_BYTES_PER_SEC
            };
            self.is_fast = per_sec >= u128::from(least);
            self.since = Some(now);
            self.bytes = 0;
        }
        self.is_fast
    }
}

/// Whether a stream is fast in either direction.
#[derive(Debug, Default)]
pub(crate) struct Fast {
    sending: AtomicBool,
    receiving: AtomicBool,
}

impl Fast {
    pub(crate) fn set_sending(&self, is_fast: bool) {
        self.sending.store(is_fast, Ordering::Relaxed);
    }

    pub(crate) fn set_receiving(&self, is_fast: bool) {
        self.receiving.store(is_fast, Ordering::Relaxed);
    }

    pub(crate) fn is_any(&self) -> bool {
        self.sending.load(Ordering::Relaxed) || self.receiving.load(Ordering::Relaxed)
    }
}

/// How the calling thread takes its turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    is_patient: bool,
    /// The system refused, or the process is no ordinary one.
    is_fixed: bool,
}

impl Turns {
    /// Of a fast stream, or not. Cheap where nothing changes.
    pub(crate) fn set(&mut self, is_fast: bool) {
        if self.is_patient == is_fast || self.is_fixed {
            return;
        }
        match take_turns(is_fast) {
            Ok(()) => self.is_patient = is_fast,
            Err(reason) => {
                log::debug!("threads of a fast stream interrupt each other as all do: {reason}");
                self.is_fixed = true;
            }
        }
    }
}

/// Only where the system decides by itself: whoever has chosen a policy or a niceness for this process keeps it. The call
/// below sets the niceness too.
#[cfg(target_os = "linux")]
fn take_turns(is_patient: bool) -> Result<(), String> {
    let niceness = rustix::process::getpriority_process(None).map_err(|error| error.to_string())?;
    if niceness != 0 {
        return Err(format!("the niceness of this process is {niceness}, not 0"));
    }
    let (before, policy) = if is_patient {
        (NormalThreadSchedulePolicy::Other, NormalThreadSchedulePolicy::Batch)
    } else {
        (NormalThreadSchedulePolicy::Batch, NormalThreadSchedulePolicy::Other)
    };
    let found = thread_schedule_policy().map_err(|error| format!("{error:?}"))?;
    if found != ThreadSchedulePolicy::Normal(before) {
        return Err(format!("the policy of this thread is {found:?}"));
    }
    let priority = ThreadPriorityValue::try_from(ORDINARY)?;
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        ThreadSchedulePolicy::Normal(policy),
    )
    .map_err(|error| format!("{error:?}"))
}

#[cfg(not(target_os = "linux"))]
fn take_turns(_: bool) -> Result<(), String> {
    Err("there is no such policy here".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::sync;
    use std::thread;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_transfer_is_fast_once_some_megabytes_have_passed_in_little_time_and_slow_when_it_slows_down() {
        let (mut pace, mut now) = (Pace::default(), sync::now());
        let mut pass = |pace: &mut Pace, bytes, millis| {
            now += Duration::from_millis(millis);
            pace.note(bytes, now)
        };
        assert!(!pass(&mut pace, MIB, 1));
        let started = (0..5).map(|_| pass(&mut pace, MIB, 1)).collect::<Vec<_>>();
        assert_eq!(started, [false, false, true, true, true]);
        // Half of that is fast enough to stay so, less is not.
        assert!((0..20).all(|_| pass(&mut pace, MIB, 6)));
        assert!((0..20).map(|_| pass(&mut pace, MIB, 12)).any(|is_fast| !is_fast));
        assert!((0..20).all(|_| !pass(&mut pace, MIB, 6)));
    }

    #[test]
    fn a_pause_ends_it_with_the_first_packet_after() {
        let (mut pace, start) = (Pace::default(), sync::now());
        let at = |millis| start + Duration::from_millis(millis);
        pace.note(0, at(0));
        assert!(pace.note(8 * MIB, at(4)));
        assert!(!pace.note(1200, at(1000)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_patient_thread_has_another_policy_and_the_same_niceness() {
        if rustix::process::getpriority_process(None).unwrap() != 0 {
            println!("skipped: this process has a niceness of its own");
            return;
        }
        let look = || {
            let mut turns = Turns::default();
            let mut after = |is_fast| {
                turns.set(is_fast);
                assert_eq!(rustix::process::getpriority_process(None).unwrap(), 0);
                thread_schedule_policy().unwrap()
            };
            [after(true), after(true), after(false)]
        };
        let policies = thread::scope(|scope| scope.spawn(look).join().unwrap());
        let normal = ThreadSchedulePolicy::Normal;
        assert_eq!(
            policies,
            [
                normal(NormalThreadSchedulePolicy::Batch),
                normal(NormalThreadSchedulePolicy::Batch),
                normal(NormalThreadSchedulePolicy::Other),
            ]
        );
    }
}
