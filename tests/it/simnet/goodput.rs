//! Goodput over loss, RTT, buffer and controller, as a table that a person can judge.

use super::measure::{CONTROLLERS, Path, measure};
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
    let mut paths = Vec::new();
    for controller in CONTROLLERS {
        for loss in LOSS_PCT {
            for rtt in RTT_MS {
                paths.extend(BUFFER_BDPS.map(|buffer| (loss, rtt, buffer, controller)));
            }
        }
    }
    let cells = Mutex::new(vec![String::new(); paths.len()]);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(loss, rtt, buffer, controller)) = paths.get(index) else {
                        return;
                    };
                    let text = cell(loss, rtt, buffer, controller);
                    cells.lock().expect("nobody panics with it")[index] = text;
                }
            });
        }
    });
    let cells = cells.into_inner().expect("nobody panicked with it");
    insta::assert_snapshot!("goodput", table(&cells));
}

/// The cells in the order of the measurements: a block for each controller, a line for each loss.
fn table(cells: &[String]) -> String {
    let mut lines = vec![format!("Goodput in Mbit/s over a bottleneck of {MBIT_PER_SEC} Mbit/s")];
    let buffers: String = BUFFER_BDPS.iter().map(|buffer| right(&format!("{buffer}x"))).collect();
    let width = buffers.len();
    let mut cells = cells.chunks(BUFFER_BDPS.len());
    for controller in CONTROLLERS {
        let rtts = RTT_MS.map(|rtt| format!(" {:<1$}", format!("RTT {rtt} ms"), width));
        lines.push(String::new());
        lines.push(line(controller, &rtts));
        lines.push(line("buffer", &RTT_MS.map(|_| format!("{buffers} "))));
        for loss in LOSS_PCT {
            let groups = RTT_MS.map(|_| {
                let group = cells.next().expect("one for each RTT");
                group.iter().map(|cell| right(cell)).collect::<String>() + " "
            });
            lines.push(line(&format!("loss {loss}%"), &groups));
        }
    }
    lines.join("\n")
}

fn right(cell: &str) -> String {
    format!("{cell:>6}")
}

fn line(title: &str, groups: &[String]) -> String {
    format!("{title:10}|{}", groups.join("|")).trim_end().to_owned()
}
