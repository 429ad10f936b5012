//! One stream over simulated paths: what it makes of them, and what the protocol costs for each packet.
//!
//! `cargo bench --bench transfer_simulated` prints first the table of bad links, each figure beside its bound
//! (`docs/congestion.md` tells of it), and then a line for each path and controller; words select those whose name holds one
//! of them, `seed=N` throws other dice. Goodput, retransmissions and packets are in virtual time and the same on every machine; the cost
//! is in real time. With `-- --check` it exits 1 when a figure misses its bound.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tests/it/simnet/figure.rs"]
mod figure;
#[path = "../tests/it/simnet/link_table.rs"]
mod link_table;
#[path = "../tests/it/simnet/links.rs"]
mod links;
#[path = "../tests/it/simnet/lte.rs"]
mod lte;
#[path = "../tests/it/simnet/measure.rs"]
mod measure;

use measure::{CONTROLLERS, Path, measure};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Virtual time of a transfer.
const TIME: Duration = Duration::from_secs(20);
/// Nanoseconds of real time for a packet at one end that `--check` allows: a release build, on a machine that does
/// something else as well.
const MAX_NANOS_PER_PACKET: f64 = 4000.0;

/// The default first.
const LINK_CONTROLLERS: [&str; 3] = ["bbr", "cubic", "new-reno"];

struct Case {
    name: &'static str,
    path: Path,
    /// Mbit/s that `--check` demands of each controller.
    min_mbit_per_sec: f64,
    /// Payload sent again, in percent, that it allows.
    max_retransmitted_pct: f64,
}

fn path(mbit_per_sec: u64, rtt_ms: u64, loss_pct: f64, buffer_bdps: f64) -> Path {
    Path {
        mbit_per_sec,
        rtt: Duration::from_millis(rtt_ms),
        loss_pct,
        buffer_bdps,
    }
}

fn cases() -> [Case; 6] {
    let case = |name, path, min_mbit_per_sec, max_retransmitted_pct| Case {
        name,
        path,
        min_mbit_per_sec,
        max_retransmitted_pct,
    };
    [
        case("lan: 1 Gbit/s, 1 ms", path(1000, 1, 0.0, 4.0), 900.0, 0.5),
        case("city: 100 Mbit/s, 20 ms", path(100, 20, 0.0, 1.0), 90.0, 0.5),
        case("shallow buffer: 50 Mbit/s, 20 ms", path(50, 20, 0.0, 0.1), 34.0, 0.5),
        // The slow start of cubic overshoots here by as much as the receive window lets it.
        case("ocean: 100 Mbit/s, 200 ms", path(100, 200, 0.0, 1.0), 80.0, 5.0),
        case("radio: 50 Mbit/s, 20 ms, 1 % loss", path(50, 20, 1.0, 1.0), 4.5, 2.0),
        case(
            "bad: 50 Mbit/s, 100 ms, 20 % loss",
            path(50, 100, 20.0, 1.0),
            0.12,
            25.0,
        ),
    ]
}

fn stopwatch() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// The table of links. `--check` judges the default controller; the others are there to compare with.
fn links(words: &[String], seed: u64) -> bool {
    let mut missed = false;
    for row in link_table::rows() {
        for controller in LINK_CONTROLLERS {
            let name = format!("{}, {controller}", row.name);
            if !words.is_empty() && !words.iter().any(|word| name.contains(word)) {
                continue;
            }
            let figures = (row.measure)(controller, seed);
            let text: Vec<String> = figures.iter().map(ToString::to_string).collect();
            println!("{name:46} {}", text.join(", "));
            missed |= controller == LINK_CONTROLLERS[0] && !figures.iter().all(figure::Figure::holds);
        }
    }
    missed
}

fn main() -> ExitCode {
    let check = std::env::args().any(|arg| arg == "--check");
    // Cargo itself adds `--bench`.
    let mut words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let mut seed = 1;
    words.retain(|word| match word.strip_prefix("seed=") {
        Some(number) => {
            seed = number.parse().expect("seed=N, a number");
            false
        }
        None => true,
    });
    let mut missed = links(&words, seed);
    let (mut spent, mut packets) = (Duration::ZERO, 0);
    for case in cases() {
        for controller in CONTROLLERS {
            let name = format!("{}, {controller}", case.name);
            if !words.is_empty() && !words.iter().any(|word| name.contains(word)) {
                continue;
            }
            let measured = measure(&case.path, controller, TIME, 1, stopwatch);
            let (goodput, again, nanos) = (
                measured.mbit_per_sec(),
                measured.retransmitted_pct(),
                measured.nanos_per_packet(),
            );
            println!(
                "{name:46} {goodput:7.1} Mbit/s, {again:5.2} % sent again, {:9} packets, {nanos:5.0} ns each",
                measured.handled_pkts
            );
            spent += measured.spent;
            packets += measured.handled_pkts;
            let bounds = [
                (
                    goodput < case.min_mbit_per_sec,
                    format!("goodput below {} Mbit/s", case.min_mbit_per_sec),
                ),
                (
                    again > case.max_retransmitted_pct,
                    format!("more than {} % sent again", case.max_retransmitted_pct),
                ),
            ];
            for (_, what) in bounds.iter().filter(|(missed, _)| *missed) {
                println!("    MISSED: {what}");
                missed = true;
            }
        }
    }
    // Judged over all: a transfer of few packets is over before the machine has settled.
    let nanos = spent.as_nanos() as f64 / packets.max(1) as f64;
    println!("{:46} {nanos:.0} ns a packet", "all");
    if nanos > MAX_NANOS_PER_PACKET {
        println!("    MISSED: more than {MAX_NANOS_PER_PACKET} ns a packet");
        missed = true;
    }
    ExitCode::from(u8::from(check && missed))
}
