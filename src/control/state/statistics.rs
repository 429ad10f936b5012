//! The six counters of the original. They count packets, in every mode.

use super::Book;
use crate::control::message::{Response, wrong_field};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// The counters, in the order of the original.
pub(in crate::control) const COUNTERS: [&str; 6] = [
    "client_sent",
    "client_recv",
    "proxy_sent",
    "proxy_recv",
    "server_sent",
    "server_recv",
];
/// Sources whose last number is remembered; then that which came first is forgotten.
const MAX_SOURCES: usize = 4096;

/// What is added to the counters, in the order of [`COUNTERS`].
pub(in crate::control) type Deltas = [u64; 6];

/// See the module.
#[derive(Debug, Default)]
pub(in crate::control) struct Statistics {
    sample: Deltas,
    /// The number of the last batch of each source.
    last: HashMap<String, u64>,
    order: VecDeque<String>,
}

impl Statistics {
    pub(in crate::control) fn sample(&self) -> Deltas {
        self.sample
    }

    pub(in crate::control) fn add(&mut self, deltas: Deltas) {
        for (sum, delta) in self.sample.iter_mut().zip(deltas) {
            *sum = sum.saturating_add(delta);
        }
    }

    /// Adds a batch unless it was there before. Returns whether it was new.
    pub(in crate::control) fn add_once(&mut self, source: &str, seq: u64, deltas: Deltas) -> bool {
        match self.last.get_mut(source) {
            Some(last) if *last >= seq => return false,
            Some(last) => *last = seq,
            None => {
                if self.order.len() >= MAX_SOURCES
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.last.remove(&oldest);
                }
                self.order.push_back(source.to_owned());
                self.last.insert(source.to_owned(), seq);
            }
        }
        self.add(deltas);
        true
    }

    /// Zeroes the counters. What was counted once is not counted again.
    pub(in crate::control) fn zero(&mut self) {
        self.sample = Deltas::default();
    }

    pub(in crate::control) fn value(&self) -> Value {
        let pairs = COUNTERS.iter().zip(self.sample);
        Value::Object(pairs.map(|(name, count)| ((*name).to_owned(), json!(count))).collect())
    }
}

/// The deltas of an object. Keys that are no counters mean nothing here, as in the original.
pub(in crate::control) fn deltas(object: &Map<String, Value>) -> Result<Deltas, Response> {
    let mut deltas = Deltas::default();
    for (name, delta) in COUNTERS.iter().zip(&mut deltas) {
        if let Some(value) = object.get(*name) {
            let count = value.as_u64();
            *delta = count.ok_or_else(|| wrong_field(name, "must be a whole number of packets"))?;
        }
    }
    Ok(deltas)
}

/// The answer to `GET /statistics`.
pub(in crate::control) fn value(book: &Book, now: Instant) -> Value {
    json!({"sample": book.statistics.value(), "endpoints": book.endpoints.value(now)})
}
