//! Goodput over loss, RTT, buffer and controller, as a table that a person can judge.

use super::measure::{CONTROLLERS, Path, measure};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const MBIT_PER_SEC: u64 = 50;
const LOSS_PCT: [f64; 5] = [0.0, 0.1, 1.0, 5.0, 20.0];
const RTT_MS: [u64; 4] = [1, 20, 100, 200];
const BUFFER_BDPS: [f64; 3] = [0.1, 1.0, 4.0];
/// Dice decide where there is loss: the mean of so many runs.
const SEEDS: u64 = 2;

/// A transfer lasts so long: many round trips, and many packets where these are short.
fn time(rtt: Duration) -> Duration {
    (100 * rtt).max(Duration::from_secs(2))
}

/// Mbit/s in steps that small changes seldom cross.
fn rounded(mbit_per_sec: f64) -> String {
    let step = match mbit_per_sec {
        x if x >= 20.0 => 2.0,
        x if x >= 10.0 => 1.0,
        x if x >= 2.0 => 0.5,
        _ => 0.1,
    };
    let rounded = (mbit_per_sec / step).round() * step;
    let digits = usize::from(rounded < 9.99);
    format!("{rounded:.digits$}")
}

fn cell(loss_pct: f64, rtt_ms: u64, buffer_bdps: f64, controller: &str) -> String {
    let path = Path {
        mbit_per_sec: MBIT_PER_SEC,
        rtt: Duration::from_millis(rtt_ms),
        loss_pct,
        buffer_bdps,
    };
    let seeds = if loss_pct > 0.0 { SEEDS } else { 1 };
    let sum: f64 = (0..seeds)
        .map(|seed| measure(&path, controller, time(path.rtt), seed, || Duration::ZERO).mbit_per_sec())
        .sum();
    rounded(sum / seeds as f64)
}

#[test]
fn goodput_is_what_it_was() {
    let mut cells = Vec::new();
    for controller in CONTROLLERS {
        for loss in LOSS_PCT {
            for rtt in RTT_MS {
                cells.extend(BUFFER_BDPS.map(|buffer| (loss, rtt, buffer, controller)));
            }
        }
    }
    let texts = Mutex::new(vec![String::new(); cells.len()]);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&(loss, rtt, buffer, controller)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let text = cell(loss, rtt, buffer, controller);
                    let index = cells
                        .iter()
                        .position(|cell| *cell == (loss, rtt, buffer, controller))
                        .expect("it is one of them");
                    texts.lock().expect("nobody panics with it")[index] = text;
                }
            });
        }
    });
    let texts = texts.into_inner().expect("nobody panicked with it");
    insta::assert_snapshot!("goodput", table(&texts));
}

/// The cells in the order of the measurements: a block for each controller, a line for each loss.
fn table(cells: &[String]) -> String {
    let mut cells = cells.iter();
    let mut text = format!("Goodput in Mbit/s over a bottleneck of {MBIT_PER_SEC} Mbit/s\n");
    for controller in CONTROLLERS {
        write!(text, "\n{controller:10}").expect("a string takes everything");
        for rtt in RTT_MS {
            write!(
                text,
                "| {:<width$}",
                format!("RTT {rtt} ms"),
                width = 6 * BUFFER_BDPS.len()
            )
            .expect("a string takes everything");
        }
        write!(text, "\n{:10}", "buffer").expect("a string takes everything");
        for _ in RTT_MS {
            text.push('|');
            for buffer in BUFFER_BDPS {
                write!(text, "{:>6}", format!("{buffer}x")).expect("a string takes everything");
            }
            text.push(' ');
        }
        for loss in LOSS_PCT {
            write!(text, "\n{:10}", format!("loss {loss}%")).expect("a string takes everything");
            for _ in RTT_MS {
                text.push('|');
                for _ in BUFFER_BDPS {
                    write!(text, "{:>6}", cells.next().expect("one for each")).expect("a string takes everything");
                }
                text.push(' ');
            }
        }
        text.push('\n');
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}
