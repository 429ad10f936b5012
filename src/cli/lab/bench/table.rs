//! Medians over the rounds: a table for people, an object for programs.

use super::super::super::endpoint::{Mode, carrier_word};
use super::super::super::quantity::{grouped, rate};
use super::carriers::{CARRIERS, Carrier};
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// One transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) elapsed: Duration,
    /// Of both ends.
    pub(super) cpu: Duration,
}

/// All transfers so far.
pub(super) struct Table {
    bytes: u64,
    rounds: u32,
    runs: Vec<(Carrier, Run)>,
}

impl Table {
    pub(super) fn new(bytes: u64, rounds: u32) -> Self {
        Self {
            bytes,
            rounds,
            runs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, carrier: Carrier, run: Run) {
        self.runs.push((carrier, run));
    }

    /// Medians of time and processor time.
    fn median(&self, carrier: Carrier) -> Option<Run> {
        let of = |value: fn(&Run) -> Duration| {
            let runs = self.runs.iter().filter(|(which, _)| *which == carrier);
            let mut values: Vec<Duration> = runs.map(|(_, run)| value(run)).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        Some(Run {
            elapsed: of(|run| run.elapsed)?,
            cpu: of(|run| run.cpu)?,
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} bytes over loopback, medians of {} rounds, AES-128-GCM where secure\n\n{:24}{:>12}{:>22}\n",
            grouped(self.bytes),
            self.rounds,
            "",
            "goodput",
            "CPU s/GB, both ends"
        );
        for carrier in CARRIERS {
            let Some(run) = self.median(carrier) else { continue };
            let per_gb = run.cpu.as_secs_f64() / (self.bytes as f64 / 1e9);
            let goodput = rate(self.bytes, run.elapsed);
            writeln!(text, "{:24}{goodput:>12}{per_gb:>22.3}", carrier.name()).expect("a String takes everything");
        }
        text
    }

    pub(super) fn facts(&self) -> Facts {
        let row = |carrier: Carrier| {
            let run = self.median(carrier)?;
            Some(Row {
                name: carrier.name(),
                carrier: carrier_word(carrier.packets()),
                mode: Mode::new(!carrier.is_secure(), false).word(),
                seconds: run.elapsed.as_secs_f64(),
                bytes_per_second: self.bytes as f64 / run.elapsed.as_secs_f64().max(1e-9),
                cpu_seconds: run.cpu.as_secs_f64(),
            })
        };
        Facts {
            bytes: self.bytes,
            rounds: self.rounds,
            transfers: CARRIERS.into_iter().filter_map(row).collect(),
        }
    }
}

/// The object of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    bytes: u64,
    rounds: u32,
    transfers: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    carrier: &'static str,
    mode: &'static str,
    seconds: f64,
    bytes_per_second: f64,
    cpu_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_three_rounds_counts_for_each_figure() {
        let mut table = Table::new(1_000_000, 3);
        for (elapsed, cpu) in [(3, 10), (1, 30), (2, 20)] {
            let [elapsed, cpu] = [elapsed, cpu].map(Duration::from_millis);
            table.add(CARRIERS[0], Run { elapsed, cpu });
        }
        let facts = table.facts();
        assert_eq!(facts.transfers.len(), 1, "what was not measured has no row");
        assert!((facts.transfers[0].seconds - 0.002).abs() < 1e-12);
        assert!((facts.transfers[0].cpu_seconds - 0.020).abs() < 1e-12);
        assert!(table.text().contains("500.0 MB/s"), "{}", table.text());
        assert!(table.text().contains("20.000"), "{}", table.text());
    }
}
