//! The links, each with what it must show: the table of `docs/congestion.md`. The same rows are measured in virtual time by
//! `transfer_simulated`.

use super::bottleneck::Bottleneck;
use super::figure::{Figure, at_least, at_most};
use super::lte::lte;
use super::run::{PAYLOAD_SHARE, Run};
use securestream::filter::Spec;
use std::time::Duration;

/// What a row says of a run.
type Judge = Box<dyn Fn(&Run) -> Vec<Figure>>;

/// Who sends over the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flows {
    One,
    /// The second comes later. They share a queue.
    TwoAlike,
    SecondCubic,
    FirstCubic,
}

impl Flows {
    /// The controller of each.
    pub(crate) fn controllers(self, controller: &'static str) -> Vec<&'static str> {
        match self {
            Self::One => vec![controller],
            Self::TwoAlike => vec![controller; 2],
            Self::SecondCubic => vec![controller, "cubic"],
            Self::FirstCubic => vec!["cubic", controller],
        }
    }

    /// Whether that controller would only be measured against itself once more.
    pub(crate) fn is_same_again(self, controller: &str) -> bool {
        matches!(self, Self::SecondCubic | Self::FirstCubic) && controller == "cubic"
    }
}

/// The link from so long on.
pub(crate) struct Change {
    pub(crate) from: Duration,
    pub(crate) rules: Spec,
    /// The rate of the bottleneck towards the reader. Without one, the delays of single packets tell of the queue.
    pub(crate) rate_mbit: Option<f64>,
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) changes: Vec<Change>,
    pub(crate) time: Duration,
    pub(crate) flows: Flows,
    /// Each flow ends after so many bytes, or goes on for ever.
    pub(crate) bytes: Option<u64>,
    /// The controller that it is held against.
    pub(crate) reference: Option<&'static str>,
    pub(crate) judge: Judge,
}

/// The queue that two flows share: 1 BDP.
const SHARED: (f64, u64) = (50.0, 250_000);

impl Row {
    fn new(name: &str, rules: &str, rate_mbit: f64, secs: u64, judge: impl Fn(&Run) -> Vec<Figure> + 'static) -> Self {
        Self {
            name: name.into(),
            changes: vec![change(0, rules, rate_mbit)],
            time: Duration::from_secs(secs),
            flows: Flows::One,
            bytes: None,
            reference: None,
            judge: Box::new(judge),
        }
    }

    pub(crate) fn bottleneck(&self) -> Option<Bottleneck> {
        (self.flows != Flows::One).then(|| Bottleneck::new(SHARED.0, SHARED.1))
    }
}

fn spec(text: &str) -> Spec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn change(from: u64, rules: &str, rate_mbit: f64) -> Change {
    Change {
        from: secs(from),
        rules: spec(rules),
        rate_mbit: Some(rate_mbit),
    }
}

fn limit(mbit_per_sec: f64, loss: f64) -> f64 {
    mbit_per_sec * (1.0 - loss) * PAYLOAD_SHARE
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn lossy(loss_pct: f64, second_half: f64, all: f64) -> Row {
    let loss = loss_pct / 100.0;
    let limit = limit(100.0, loss);
    Row::new(
        &format!("100 Mbit/s, 50 ms, loss {loss_pct} %"),
        &format!("rate 100mbit limit 625000B; loss {loss_pct}%; delay 25ms"),
        100.0,
        10,
        move |run| {
            let needed = 1.0 / PAYLOAD_SHARE / (1.0 - loss);
            vec![
                at_least(
                    "second half",
                    run.mbit_per_sec(0, secs(5), secs(10)) / limit,
                    second_half,
                ),
                at_least("all", run.mbit_per_sec(0, Duration::ZERO, secs(10)) / limit, all),
                at_most("sent / needed", run.sent_per_delivered() / needed, 1.03),
                at_most("queueing ms", run.mean_queueing_ms(), 10.0),
            ]
        },
    )
}

/// One figure: the share of the limit.
fn share(name: &str, rules: &str, rate_mbit: f64, loss: f64, seconds: u64, bound: f64) -> Row {
    let limit = limit(rate_mbit, loss);
    Row::new(name, rules, rate_mbit, seconds, move |run| {
        let all = run.mbit_per_sec(0, Duration::ZERO, secs(seconds));
        vec![at_least("all", all / limit, bound)]
    })
}

fn bufferbloat(bdps: u64) -> Row {
    Row::new(
        &format!("10 Mbit/s, 100 ms, queue {bdps} BDP"),
        &format!("rate 10mbit limit {}B; delay 50ms", 125_000 * bdps),
        10.0,
        10,
        |run| {
            let share = run.mbit_per_sec(0, Duration::ZERO, secs(10)) / limit(10.0, 0.0);
            vec![
                at_least("all", share, 0.93),
                at_most("queueing ms", run.mean_queueing_ms(), 20.0),
            ]
        },
    )
}

fn shallow() -> Row {
    let rules = "rate 100mbit limit 20p; delay 25ms";
    Row::new("queue of 20 packets", rules, 100.0, 10, |run| {
        let share = run.mbit_per_sec(0, Duration::ZERO, secs(10)) / limit(100.0, 0.0);
        vec![at_least("all", share, 0.85), at_most("own loss", run.loss, 0.05)]
    })
}

/// Judged in the second half.
fn two_flows(name: &str, flows: Flows, bound: f64) -> Row {
    let time = secs(40);
    let judge = move |run: &Run| {
        let [one, other] = [0, 1].map(|flow| run.mbit_per_sec(flow, time / 2, time));
        let jain = (one + other).powi(2) / (2.0 * (one * one + other * other));
        vec![
            at_least("Jain", jain, bound),
            at_least("first Mbit/s", one, 5.0),
            at_least("second Mbit/s", other, 5.0),
        ]
    };
    Row {
        flows,
        ..Row::new(name, "delay 20ms", SHARED.0, time.as_secs(), judge)
    }
}

fn fresh_mebibyte() -> Row {
    let rules = "rate 100mbit limit 625000B; delay 25ms";
    let judge = |run: &Run| {
        let secs = |took: Option<Duration>| took.map_or(f64::INFINITY, |took| took.as_secs_f64());
        vec![at_most(
            "time / cubic's",
            secs(run.took) / secs(run.reference_took),
            1.25,
        )]
    };
    Row {
        bytes: Some(1 << 20),
        reference: Some("cubic"),
        ..Row::new("1 MiB, fresh, 100 Mbit/s, 50 ms", rules, 100.0, 10, judge)
    }
}

fn steps() -> Row {
    let at = |mbit: f64| format!("rate {mbit}mbit limit 625000B; delay 25ms");
    let judge = |run: &Run| {
        let share = |from, to, mbit| run.mbit_per_sec(0, secs(from), secs(to)) / limit(mbit, 0.0);
        vec![
            at_least("10 Mbit/s, 2 s later", share(7, 10, 10.0), 0.8),
            at_least("100 Mbit/s, 2 s later", share(12, 15, 100.0), 0.8),
        ]
    };
    let mut row = Row::new("steps 100, 10, 100 Mbit/s", &at(100.0), 100.0, 20, judge);
    let later = [(5, 10.0), (10, 100.0), (15, 10.0)];
    row.changes
        .extend(later.map(|(from, mbit)| change(from, &at(mbit), mbit)));
    row
}

fn mobile() -> Row {
    let time = secs(60);
    let (rules, mean) = lte(1, time.as_secs());
    let judge = move |run: &Run| {
        let all = run.mbit_per_sec(0, Duration::ZERO, time) / limit(mean, 0.0);
        vec![
            at_least("all", all, 0.8),
            at_most("p95 queueing ms", run.p95_queueing_ms(), 150.0),
        ]
    };
    Row {
        changes: vec![Change {
            from: Duration::ZERO,
            rules,
            rate_mbit: None,
        }],
        ..Row::new("made-up LTE trace", "delay 20ms", mean, time.as_secs(), judge)
    }
}

/// In the order of the table.
pub(crate) fn rows() -> Vec<Row> {
    let slow_acks = "up: rate 100mbit limit 625000B | down: rate 2mbit | both: delay 25ms";
    let lost_acks = "up: rate 100mbit limit 625000B | down: loss 20% | both: delay 25ms";
    let reordering = "rate 100mbit limit 625000B; reorder 5% 20ms; reorder 5% 8ms; delay 25ms";
    let jitter = "rate 100mbit limit 625000B; delay 35ms 10ms uniform";
    let wide = "rate 1000mbit limit 2500000B; loss 1%; delay 10ms";
    let long = "rate 1000mbit limit 25000000B; delay 100ms";
    let bursts = "rate 20mbit limit 500000B; loss 1% burst 3; delay 100ms";
    vec![
        lossy(0.0, 0.95, 0.9),
        lossy(0.1, 0.95, 0.9),
        lossy(1.0, 0.95, 0.9),
        lossy(2.0, 0.95, 0.9),
        lossy(5.0, 0.95, 0.9),
        lossy(10.0, 0.88, 0.82),
        share("1 Gbit/s, 20 ms, loss 1 %", wide, 1000.0, 0.01, 10, 0.85),
        share("20 Mbit/s, 200 ms, bursts 1 %", bursts, 20.0, 0.01, 20, 0.9),
        bufferbloat(1),
        bufferbloat(10),
        share("1 Gbit/s, 200 ms, 20 s", long, 1000.0, 0.0, 20, 0.85),
        fresh_mebibyte(),
        two_flows("two flows, 50 Mbit/s, 40 ms", Flows::TwoAlike, 0.95),
        two_flows("two flows, second cubic", Flows::SecondCubic, 0.75),
        two_flows("two flows, first cubic", Flows::FirstCubic, 0.75),
        shallow(),
        share("reordering 10 % by up to 20 ms", reordering, 100.0, 0.0, 10, 0.8),
        share("jitter 0-20 ms", jitter, 100.0, 0.0, 10, 0.8),
        share("ACK path loses 20 %", lost_acks, 100.0, 0.0, 10, 0.9),
        share("ACK path of 2 Mbit/s", slow_acks, 100.0, 0.0, 10, 0.9),
        steps(),
        mobile(),
    ]
}
