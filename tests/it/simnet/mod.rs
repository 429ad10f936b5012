//! Whole connections through a simulated network: random faults by seed, and in every run the same promises.
//!
//! Each seed runs in plain and in secure mode. `SIM_SEEDS=n` runs so many seeds (2,000 by default); `SIM_SEED=n` repeats
//! one and prints what happened.

mod ecn;
mod extremes;
mod figure;
mod goodput;
mod holes;
mod link_table;
mod links;
mod lte;
mod measure;
mod near_limit;
mod path_mtu;
mod reduction;
mod run;
mod scenario;
mod transcript;
mod within_a_machine;

use run::{Mode, Outcome, run};
use scenario::{FAULTS, Scenario};
use securestream::proto::Config;
use securestream::testing::Options;
use std::env;
use std::fmt::Write;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use transcript::Transcript;

/// An end with this controller, whose packets have one size from the first on.
fn packets_of_one_size(controller: &str) -> Options {
    Options {
        config: Config {
            congestion: controller.into(),
            packet_bytes: links::PACKET_BYTES,
            max_packet_bytes: links::PACKET_BYTES,
            ..Config::default()
        },
        ..Options::default()
    }
}

const SEEDS: u64 = 2000;
const MODES: [Mode; 2] = [Mode::Plain, Mode::Secure];
/// Lines shown of a run that failed.
const LAST_LINES: usize = 60;
/// After so many failures the rest would only take time.
const MOST_FAILURES: usize = 10;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs it, a panic being one more way to fail.
fn attempt(scenario: &Scenario, mode: Mode, transcript: Option<&Transcript>) -> Result<Outcome, String> {
    panic::catch_unwind(AssertUnwindSafe(|| run(scenario, mode, transcript))).unwrap_or_else(|_| Err("a panic".into()))
}

#[test]
fn whatever_the_network_does_streams_are_whole_and_bounded_and_go_on() {
    if let Some(seed) = number("SIM_SEED") {
        let scenario = Scenario::of(seed);
        for mode in MODES {
            let transcript = Transcript::new(1_000_000);
            let result = attempt(&scenario, mode, Some(&transcript));
            println!("{}{scenario}", transcript.text());
            println!("{mode:?}: {result:?}");
            assert!(result.is_ok(), "seed {seed} {mode:?}");
        }
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let total = Mutex::new((Duration::ZERO, 0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let which = next.fetch_add(1, Ordering::Relaxed);
                    let (seed, mode) = (which / 2, MODES[which as usize % 2]);
                    let failed = failures.lock().expect("nobody panics with it").len();
                    if seed >= seeds || failed >= MOST_FAILURES {
                        return;
                    }
                    match attempt(&Scenario::of(seed), mode, None) {
                        Ok(outcome) => {
                            let mut total = total.lock().expect("nobody panics with it");
                            total.0 += outcome.virtual_time;
                            total.1 += outcome.packets;
                        }
                        Err(error) => {
                            let mut failures = failures.lock().expect("nobody panics with it");
                            failures.push((seed, mode, error));
                        }
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("nobody panicked with it");
    failures.sort();
    let (virtual_time, packets) = *total.lock().expect("nobody panicked with it");
    println!("{seeds} seeds in both modes, {packets} packets, {virtual_time:?} of virtual time");
    let mut report = String::new();
    for (index, (seed, mode, error)) in failures.iter().enumerate() {
        let scenario = Scenario::of(*seed);
        writeln!(report, "{scenario}  {mode:?}: {error}").expect("a string takes everything");
        if index == 0 {
            let transcript = Transcript::new(LAST_LINES);
            let _ = attempt(&scenario, *mode, Some(&transcript));
            report.push_str(&transcript.text());
        }
    }
    assert!(failures.is_empty(), "\n{report}SIM_SEED=n repeats one");
}

#[test]
fn every_fault_is_met_often_and_in_company() {
    let scenarios: Vec<_> = (0..SEEDS).map(Scenario::of).collect();
    for fault in FAULTS {
        let met = scenarios
            .iter()
            .filter(|scenario| scenario.faults.contains(&fault))
            .count();
        assert!(met >= 100, "{fault:?} in {met} of {SEEDS}");
    }
    let in_company = scenarios.iter().filter(|scenario| scenario.faults.len() >= 3).count();
    assert!(2 * in_company >= scenarios.len(), "{in_company}");
}
