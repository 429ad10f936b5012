//! Configured against observed: what a rule was asked for beside what it was seen to do, with a 95 % interval. When the
//! configured value lies outside of it, that happens by chance to one rule of twenty.

use crate::filter::{Distribution, Measured, Rule};

/// The 97.5th percentile of the normal distribution: 95 % lie within so many deviations.
const Z: f64 = 1.959_964;

/// Of fewer bursts nothing can be said of their mean.
const FEW_BURSTS: u64 = 10;

/// One property of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// What it is, with its unit: "loss %".
    pub what: &'static str,
    /// What was asked for.
    pub configured: f64,
    /// What was seen; `None` before there was anything to see.
    pub observed: Option<f64>,
    /// The interval around it that holds the true value in 95 of 100 cases.
    pub interval: Option<(f64, f64)>,
}

impl Observation {
    /// Whether what was asked for is what was seen, as far as can be known yet.
    pub fn agrees(&self) -> bool {
        self.interval.is_none_or(|(low, high)| {
            let slack = 1e-9 * self.configured.abs().max(1.0);
            (low - slack..=high + slack).contains(&self.configured)
        })
    }
}

/// What can be said of a rule.
pub(super) fn observe(rule: &Rule, seen: &Measured) -> Vec<Observation> {
    match rule {
        Rule::Loss { pct } => vec![share("loss %", *pct, seen.dropped, seen.seen)],
        Rule::Gilbert { loss_pct, mean_burst } => {
            // Losses come in bursts: so many independent samples are fewer than packets.
            let mut loss = share("loss %", *loss_pct, seen.dropped, seen.seen);
            loss.interval = loss.interval.map(|(low, high)| {
                let (middle, widen) = (loss.observed.unwrap_or(0.0), (2.0 * mean_burst - 1.0).max(1.0).sqrt());
                (
                    (middle - (middle - low) * widen).max(0.0),
                    (middle + (high - middle) * widen).min(100.0),
                )
            });
            vec![loss, burst(*mean_burst, seen)]
        }
        Rule::Reorder { pct, .. } => vec![share("held back %", *pct, seen.hit, seen.seen)],
        Rule::Duplicate { pct, .. } => vec![share("duplicated %", *pct, seen.hit, seen.seen)],
        Rule::Corrupt { pct, .. } => vec![share("corrupted %", *pct, seen.hit, seen.seen)],
        Rule::Blackhole => vec![share("loss %", 100.0, seen.dropped, seen.seen)],
        Rule::OnOff { on, off } => {
            let (on, off) = (on.as_secs_f64(), off.as_secs_f64());
            let configured = 100.0 * off / (on + off).max(1e-9);
            // Packets are no random sample of times: no interval.
            vec![Observation {
                interval: None,
                ..share("loss %", configured, seen.dropped, seen.seen)
            }]
        }
        Rule::Delay {
            delay,
            jitter,
            distribution,
        } => {
            let more = if *distribution == Distribution::Pareto {
                *jitter
            } else {
                std::time::Duration::ZERO
            };
            let mut hold = hold((*delay + more).as_secs_f64() * 1e3, seen);
            if !jitter.is_zero() {
                // Packets that would overtake wait, so the mean lies above what was asked for.
                hold.interval = None;
            }
            vec![hold]
        }
        Rule::Rate { bits_per_sec, .. } => vec![rate(*bits_per_sec as f64 / 1e3, seen)],
        Rule::Trace { trace } => vec![rate(trace.bits_per_sec() / 1e3, seen)],
        Rule::DropList { .. } | Rule::Next { .. } | Rule::Mtu { .. } | Rule::Rebind { .. } => Vec::new(),
    }
}

/// A share of packets, with the interval of Wilson (1927), which is right also near 0 and 100 %.
fn share(what: &'static str, configured: f64, hit: u64, seen: u64) -> Observation {
    if seen == 0 {
        return nothing(what, configured);
    }
    let (n, p) = (seen as f64, hit as f64 / seen as f64);
    let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Observation {
        what,
        configured,
        observed: Some(100.0 * p),
        interval: Some((100.0 * (middle - half).max(0.0), 100.0 * (middle + half).min(1.0))),
    }
}

/// The mean length of a burst. Lengths are geometric: their deviation is the root of `L (L - 1)`.
fn burst(configured: f64, seen: &Measured) -> Observation {
    let what = "burst packets";
    if seen.bursts == 0 {
        return nothing(what, configured);
    }
    let n = seen.bursts as f64;
    let mean = seen.dropped as f64 / n;
    let is_known = seen.bursts >= FEW_BURSTS;
    let half = Z * (mean * (mean - 1.0).max(0.0) / n).sqrt();
    Observation {
        what,
        configured,
        observed: Some(mean),
        interval: is_known.then(|| ((mean - half).max(1.0), mean + half)),
    }
}

/// The mean time for which packets were held.
fn hold(configured: f64, seen: &Measured) -> Observation {
    let what = "delay ms";
    if seen.seen == 0 {
        return nothing(what, configured);
    }
    let n = seen.seen as f64;
    let mean = seen.hold_nanos as f64 / n / 1e6;
    let squares = seen.hold_micros_squared as f64 / n / 1e6;
    let half = Z * ((squares - mean * mean).max(0.0) / n).sqrt();
    Observation {
        what,
        configured,
        observed: Some(mean),
        interval: Some((mean - half, mean + half)),
    }
}

/// The rate while there was something to send.
fn rate(configured: f64, seen: &Measured) -> Observation {
    let what = "rate kbit/s";
    if seen.busy_nanos == 0 {
        return nothing(what, configured);
    }
    Observation {
        what,
        configured,
        observed: Some(seen.served_bytes as f64 * 8e6 / seen.busy_nanos as f64),
        interval: None,
    }
}

fn nothing(what: &'static str, configured: f64) -> Observation {
    Observation {
        what,
        configured,
        observed: None,
        interval: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_is_right_at_the_ends() {
        let none = share("loss %", 5.0, 0, 100);
        let (low, high) = none.interval.unwrap();
        assert!(low.abs() < 1e-9 && (3.6..3.8).contains(&high), "{none:?}");
        assert!(!none.agrees());
        assert!(share("loss %", 0.0, 0, 100).agrees());
        assert!(share("loss %", 100.0, 100, 100).agrees());
        assert!(share("loss %", 50.0, 0, 0).agrees(), "nothing is known yet");
    }

    #[test]
    fn the_interval_of_a_share_is_that_of_the_books() {
        // Brown, Cai and DasGupta (2001): 10 of 100 gives 5.52 to 17.44 %.
        let (low, high) = share("loss %", 10.0, 10, 100).interval.unwrap();
        assert!((low - 5.52).abs() < 0.01 && (high - 17.44).abs() < 0.01, "{low} {high}");
    }
}
