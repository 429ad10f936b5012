//! What each scheme achieves, measured in virtual time and compared with the formulas of `docs/classic.md`.

use super::{ms, network, payload, transfer};
use securestream::classic::{Arq, Scheme};
use std::time::Duration;

const RTT: Duration = Duration::from_millis(40);
const BITS_PER_SEC: f64 = 2e6;
/// Data of a full packet.
const DATA_BYTES: f64 = 2048.0;
/// With its header and the length in front.
const PACKET_BYTES: f64 = DATA_BYTES + 16.0;
const PACKETS: usize = 2500;
const SEEDS: u64 = 3;
/// Measured and computed differ by no more.
const TOLERANCE: f64 = 0.10;

struct Case {
    scheme: Scheme,
    window: u32,
    timeout: Duration,
    loss_pct: f64,
}

/// Seconds for each packet, as the text derives them.
fn computed(case: &Case) -> f64 {
    let p = case.loss_pct / 100.0;
    let q = 1.0 - (1.0 - p) * (1.0 - p);
    let t = PACKET_BYTES * 8.0 / BITS_PER_SEC;
    let (rtt, timeout) = (RTT.as_secs_f64(), case.timeout.as_secs_f64());
    let n = f64::from(case.window);
    let spacing = t.max((rtt + t) / n);
    match case.scheme {
        Scheme::StopAndWait => t + rtt + q / (1.0 - q) * timeout,
        Scheme::GoBackN => (1.0 - p) * spacing + p * (rtt + t + timeout / (1.0 - p)),
        Scheme::SelectiveRepeat => {
            let lost = p * (rtt + t + timeout / (1.0 - q));
            let shadow_ends = p * (1.0 - p).powf(n - 1.0) * (rtt + t - spacing);
            (1.0 - p).powf(n) * spacing + lost + shadow_ends
        }
    }
}

/// Seconds for each packet: the mean of some runs.
fn measured(case: &Case) -> f64 {
    let arq = Arq::new(case.scheme).window(case.window).unwrap().timeout(case.timeout);
    let loss = case.loss_pct;
    let spec = format!("up: loss {loss}%; rate 2mbit limit 1000p; delay 20ms | down: loss {loss}%; delay 20ms");
    let bytes = payload(PACKETS * DATA_BYTES as usize);
    let runs = (1..=SEEDS).map(|seed| {
        let mut network = network(&spec, seed, arq, None);
        transfer(&mut network, &bytes, ms(10_000_000)).as_secs_f64()
    });
    runs.sum::<f64>() / (SEEDS as f64 * PACKETS as f64)
}

#[track_caller]
fn check(scheme: Scheme, windows: &[u32]) {
    let mut faults = Vec::new();
    for &window in windows {
        for timeout in [ms(200), ms(1000)] {
            for loss_pct in [1.0, 5.0, 20.0] {
                let case = Case {
                    scheme,
                    window,
                    timeout,
                    loss_pct,
                };
                let (is, should) = (measured(&case), computed(&case));
                let goodput = |seconds: f64| DATA_BYTES / seconds / 1000.0;
                let line = format!(
                    "{scheme}, window {window}, time-out {timeout:?}, loss {loss_pct}%, seeds 1 to {SEEDS}: {:.2} kB/s, \
                     computed {:.2} kB/s",
                    goodput(is),
                    goodput(should)
                );
                println!("{line}");
                if (is / should - 1.0).abs() > TOLERANCE {
                    faults.push(line);
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn stop_and_wait_achieves_what_the_formula_says() {
    check(Scheme::StopAndWait, &[1]);
}

#[test]
fn go_back_n_achieves_what_the_formula_says() {
    check(Scheme::GoBackN, &[10, 4]);
}

#[test]
fn selective_repeat_achieves_what_the_formula_says() {
    check(Scheme::SelectiveRepeat, &[10, 4]);
}

#[test]
fn selective_repeat_saves_what_go_back_n_sends_again() {
    let again = |scheme| {
        let arq = Arq::new(scheme).timeout(ms(200));
        let mut network = network("loss 5%; delay 20ms", 9, arq, None);
        transfer(&mut network, &payload(1 << 20), ms(10_000_000));
        network.client.endpoint.stats().retransmitted_bytes
    };
    let (go_back_n, selective) = (again(Scheme::GoBackN), again(Scheme::SelectiveRepeat));
    println!("sent again: {go_back_n} bytes and {selective} bytes");
    assert!(go_back_n > 5 * selective, "{go_back_n} and {selective}");
}
