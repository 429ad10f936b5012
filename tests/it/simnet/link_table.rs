//! The links of the table "near the limit on bad links", each with the figures that it must show. Virtual time: the same
//! figures on every machine.

use super::figure::{Figure, at_least, at_most};
use super::links::{Flow, Link, Report, limit, run, spec};
use super::lte::lte;
use std::time::Duration;

/// A line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// It takes long to compute.
    #[allow(dead_code, reason = "the benchmark computes all")]
    pub(crate) is_large: bool,
    /// Measures it with a controller and a seed.
    pub(crate) measure: fn(&'static str, u64) -> Vec<Figure>,
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn link(controller: &'static str, faults: &str, time: Duration) -> Link {
    Link {
        faults: vec![(Duration::ZERO, spec(faults))],
        flows: vec![flow(controller, 0)],
        bytes: None,
        time,
    }
}

fn flow(controller: &'static str, starts_secs: u64) -> Flow {
    Flow {
        controller,
        starts: secs(starts_secs),
    }
}

/// The share of `limit` in the second half and over all of it.
fn shares(report: &Report, time: Duration, limit: f64) -> [f64; 2] {
    [
        report.mbit_per_sec(0, time / 2, time) / limit,
        report.mbit_per_sec(0, Duration::ZERO, time) / limit,
    ]
}

fn lossy(controller: &'static str, seed: u64, loss: f64, halves: [f64; 2]) -> Vec<Figure> {
    let time = secs(10);
    let faults = format!("rate 100mbit limit 625000B; loss {}%; delay 25ms", loss * 100.0);
    let report = run(&link(controller, &faults, time), seed);
    let [second, all] = shares(&report, time, limit(100.0, loss));
    vec![
        at_least("second half", second, halves[0]),
        at_least("all", all, halves[1]),
        at_most("sent / needed", report.waste(loss), 1.03),
        at_most("queueing ms", report.mean_queueing_ms(), 10.0),
    ]
}

/// One figure: the share of the limit over all of the time.
fn plain(controller: &'static str, seed: u64, faults: &str, time: Duration, limit: f64, bound: f64) -> Vec<Figure> {
    let report = run(&link(controller, faults, time), seed);
    let [_, all] = shares(&report, time, limit);
    vec![at_least("all", all, bound)]
}

fn bufferbloat(controller: &'static str, seed: u64, bdps: u64) -> Vec<Figure> {
    let time = secs(10);
    let faults = format!("rate 10mbit limit {}B; delay 50ms", 125_000 * bdps);
    let report = run(&link(controller, &faults, time), seed);
    let [_, all] = shares(&report, time, limit(10.0, 0.0));
    vec![
        at_least("all", all, 0.93),
        at_most("queueing ms", report.mean_queueing_ms(), 20.0),
    ]
}

/// Two flows, the second 2 s later; judged in the second half of a minute.
fn two_flows(controllers: [&'static str; 2], seed: u64, bound: f64) -> Vec<Figure> {
    let (from, to) = (secs(30), secs(60));
    let mut link = link(controllers[0], "rate 50mbit limit 250000B; delay 20ms", to);
    link.flows.push(flow(controllers[1], 2));
    let report = run(&link, seed);
    let rates = [0, 1].map(|flow| report.mbit_per_sec(flow, from, to));
    vec![
        at_least("Jain", report.fairness(from, to), bound),
        at_least("first Mbit/s", rates[0], 5.0),
        at_least("second Mbit/s", rates[1], 5.0),
    ]
}

fn fresh_mebibyte(controller: &'static str, seed: u64) -> Vec<Figure> {
    let time = |controller| {
        let link = Link {
            bytes: Some(1 << 20),
            ..link(controller, "rate 100mbit limit 625000B; delay 25ms", secs(10))
        };
        run(&link, seed).completed[0].expect("it completes").as_secs_f64()
    };
    vec![at_most("time / cubic's", time(controller) / time("cubic"), 1.25)]
}

fn shallow(controller: &'static str, seed: u64) -> Vec<Figure> {
    let time = secs(10);
    let report = run(&link(controller, "rate 100mbit limit 20p; delay 25ms", time), seed);
    let [_, all] = shares(&report, time, limit(100.0, 0.0));
    vec![at_least("all", all, 0.85), at_most("own loss", report.loss(), 0.05)]
}

fn steps(controller: &'static str, seed: u64) -> Vec<Figure> {
    let at = |mbit: u64| spec(&format!("rate {mbit}mbit limit 625000B; delay 25ms"));
    let link = Link {
        faults: vec![
            (Duration::ZERO, at(100)),
            (secs(5), at(10)),
            (secs(10), at(100)),
            (secs(15), at(10)),
        ],
        ..link(controller, "rate 100mbit limit 625000B; delay 25ms", secs(20))
    };
    let report = run(&link, seed);
    let share = |from, to, mbit| report.mbit_per_sec(0, secs(from), secs(to)) / limit(mbit, 0.0);
    vec![
        at_least("10 Mbit/s, 2 s later", share(7, 10, 10.0), 0.8),
        at_least("100 Mbit/s, 2 s later", share(12, 15, 100.0), 0.8),
    ]
}

fn mobile(controller: &'static str, seed: u64) -> Vec<Figure> {
    let time = secs(60);
    let (faults, mean) = lte(seed, time.as_secs());
    let link = Link {
        faults: vec![(Duration::ZERO, faults)],
        ..link(controller, "", time)
    };
    let report = run(&link, seed);
    let [_, all] = shares(&report, time, limit(mean, 0.0));
    vec![
        at_least("all", all, 0.8),
        at_most("p95 queueing ms", report.p95_queueing_ms(), 150.0),
    ]
}

/// In the order of the issue.
pub(crate) fn rows() -> Vec<Row> {
    macro_rules! row {
        ($name:literal, $measure:expr) => {
            Row {
                name: $name,
                is_large: $name.starts_with("1 Gbit/s"),
                measure: $measure,
            }
        };
    }
    vec![
        row!("100 Mbit/s, 50 ms, loss 0", |c, s| lossy(c, s, 0.0, [0.95, 0.9])),
        row!("100 Mbit/s, 50 ms, loss 0.1 %", |c, s| lossy(c, s, 0.001, [0.95, 0.9])),
        row!("100 Mbit/s, 50 ms, loss 1 %", |c, s| lossy(c, s, 0.01, [0.95, 0.9])),
        row!("100 Mbit/s, 50 ms, loss 2 %", |c, s| lossy(c, s, 0.02, [0.95, 0.9])),
        row!("100 Mbit/s, 50 ms, loss 5 %", |c, s| lossy(c, s, 0.05, [0.95, 0.9])),
        row!("100 Mbit/s, 50 ms, loss 10 %", |c, s| lossy(c, s, 0.1, [0.88, 0.82])),
        row!("1 Gbit/s, 20 ms, loss 1 %", |c, s| plain(
            c,
            s,
            "rate 1000mbit limit 2500000B; loss 1%; delay 10ms",
            secs(10),
            limit(1000.0, 0.01),
            0.85
        )),
        row!("20 Mbit/s, 200 ms, bursts 1 %", |c, s| plain(
            c,
            s,
            "rate 20mbit limit 500000B; loss 1% burst 3; delay 100ms",
            secs(20),
            limit(20.0, 0.01),
            0.9
        )),
        row!("10 Mbit/s, 100 ms, queue 1 BDP", |c, s| bufferbloat(c, s, 1)),
        row!("10 Mbit/s, 100 ms, queue 10 BDP", |c, s| bufferbloat(c, s, 10)),
        row!("1 Gbit/s, 200 ms, 20 s", |c, s| plain(
            c,
            s,
            "rate 1000mbit limit 25000000B; delay 100ms",
            secs(20),
            limit(1000.0, 0.0),
            0.85
        )),
        row!("1 MiB, fresh, 100 Mbit/s, 50 ms", fresh_mebibyte),
        row!("two flows, 50 Mbit/s, 40 ms", |c, s| two_flows([c, c], s, 0.95)),
        row!("two flows, second cubic", |c, s| two_flows([c, "cubic"], s, 0.75)),
        row!("two flows, first cubic", |c, s| two_flows(["cubic", c], s, 0.75)),
        row!("queue of 20 packets", shallow),
        row!("reordering 10 % by up to 20 ms", |c, s| plain(
            c,
            s,
            "rate 100mbit limit 625000B; reorder 5% 20ms; reorder 5% 8ms; delay 25ms",
            secs(10),
            limit(100.0, 0.0),
            0.8
        )),
        row!("jitter 0-20 ms", |c, s| plain(
            c,
            s,
            "rate 100mbit limit 625000B; delay 35ms 10ms uniform",
            secs(10),
            limit(100.0, 0.0),
            0.8
        )),
        row!("ACK path loses 20 %", |c, s| plain(
            c,
            s,
            "up: rate 100mbit limit 625000B | down: loss 20% | both: delay 25ms",
            secs(10),
            limit(100.0, 0.0),
            0.9
        )),
        row!("ACK path of 2 Mbit/s", |c, s| plain(
            c,
            s,
            "up: rate 100mbit limit 625000B | down: rate 2mbit | both: delay 25ms",
            secs(10),
            limit(100.0, 0.0),
            0.9
        )),
        row!("steps 100, 10, 100 Mbit/s", steps),
        row!("made-up LTE trace", mobile),
    ]
}
