//! Alarm, pipe, mailbox, outbox and monitor, compiled once more against [`sync`], whose threads interleave as a seeded
//! scheduler likes.
//!
//! A failing run prints its seed and its schedule; `SHUTTLE_RANDOM_SEED=n` repeats it. `INTERLEAVINGS=n` tries so
//! many in each test. A hang is found, for the scheduler sees that nobody can go on.

mod sync;

mod in_alarm;
mod in_mailbox;
mod in_outbox;
mod in_pipe;

macro_rules! again {
    ($($path:literal $name:ident)+) => {$(
        #[allow(
            unreachable_pub,
            dead_code,
            clippy::duplicate_mod,
            reason = "the same source, against another `sync`; not all of it is tried here"
        )]
        #[path = $path]
        mod $name;
    )+};
}

again! {
    "../../alarm.rs" alarm
    "../../budget.rs" budget
    "../../mailbox.rs" mailbox
    "../../monitor.rs" monitor
    "../../outbox.rs" outbox
    "../../patience.rs" patience
    "../../pipe/mod.rs" pipe
}

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

/// Interleavings of each kind that a test tries.
const TRIES: usize = 1000;
/// Changes of priority in one execution: faults that need more are not found by priorities.
const DEPTH: usize = 4;
/// An execution that takes more steps runs in circles. All of them need a few hundred.
const MAX_STEPS: usize = 20_000;

/// Runs `body` again and again, each time with another interleaving: random ones, and such as starve a thread.
fn explore(seed: u64, body: fn()) {
    let tries = std::env::var("INTERLEAVINGS").ok().and_then(|n| n.parse().ok());
    let tries = tries.unwrap_or(TRIES);
    println!("seed {seed}, {tries} random interleavings, as many by priorities");
    run(RandomScheduler::new_from_seed(seed, tries), body);
    run(PctScheduler::new_from_seed(seed, DEPTH, tries), body);
}

fn run(scheduler: impl Scheduler + 'static, body: fn()) {
    let mut config = Config::new();
    // Atomics are sequentially consistent here; those of the pipe carry no more than one number each.
    config.silence_warnings = true;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    Runner::new(scheduler, config).run(move || {
        sync::restart_clock();
        body();
    });
}
