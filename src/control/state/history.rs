//! What has been, for pages that are opened later: samples, marks and the log, each with a bound.

use serde_json::{Value, json, value::RawValue};
use std::collections::VecDeque;

/// Five minutes, ten times a second.
const MAX_SAMPLES: usize = 3000;
const MAX_SAMPLE_BYTES: usize = 16 << 20;
const MAX_MARKS: usize = 1000;
const MAX_LINES: usize = 500;
/// Samples in which nothing has moved are kept that seldom.
const QUIET_SAMPLES: u32 = 10;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::control) struct History {
    samples: VecDeque<Box<RawValue>>,
    bytes: usize,
    /// What was in the last sample, without its time.
    last: Value,
    quiet: u32,
    marks: VecDeque<Value>,
    lines: VecDeque<Value>,
}

impl History {
    /// Keeps a sample. One that is as the one before is kept only now and then, so that a pause costs no history.
    pub(in crate::control) fn sample(&mut self, sample: &Value) {
        let now = json!([sample["sample"], sample["endpoints"], sample["proxies"]]);
        self.quiet = if now == self.last { self.quiet + 1 } else { 0 };
        if !self.quiet.is_multiple_of(QUIET_SAMPLES) {
            return;
        }
        self.last = now;
        let raw = serde_json::value::to_raw_value(sample).expect("its keys are strings");
        self.bytes += raw.get().len();
        self.samples.push_back(raw);
        while self.samples.len() > MAX_SAMPLES || self.bytes > MAX_SAMPLE_BYTES {
            let Some(oldest) = self.samples.pop_front() else { break };
            self.bytes -= oldest.get().len();
        }
    }

    pub(in crate::control) fn mark(&mut self, mark: Value) {
        keep(&mut self.marks, mark, MAX_MARKS);
    }

    pub(in crate::control) fn log(&mut self, line: Value) {
        keep(&mut self.lines, line, MAX_LINES);
    }

    pub(in crate::control) fn marks(&self) -> Value {
        self.marks.iter().cloned().collect()
    }

    /// All of it as JSON, in pieces that need no second copy as values.
    pub(in crate::control) fn text(&self) -> Vec<u8> {
        let mut text = String::with_capacity(self.bytes + 4096);
        text += "{\"stats\":[";
        for (index, sample) in self.samples.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text += sample.get();
        }
        text += "],\"marks\":";
        text += &self.marks().to_string();
        text += ",\"log\":";
        text += &self.lines.iter().cloned().collect::<Value>().to_string();
        text.push('}');
        text.into_bytes()
    }

    /// Samples that are kept, in order of time.
    pub(in crate::control) fn samples(&self) -> impl Iterator<Item = &RawValue> {
        self.samples.iter().map(|sample| &**sample)
    }

    pub(in crate::control) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn keep(row: &mut VecDeque<Value>, value: Value, most: usize) {
    row.push_back(value);
    if row.len() > most {
        row.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_costs_no_history() {
        let mut history = History::default();
        let sample = |time: u32, count: u32| json!({"t_ms": time, "sample": count, "endpoints": {}, "proxies": {}});
        for time in 0..100 {
            history.sample(&sample(time, 1));
        }
        assert_eq!(history.samples().count(), 10);
        history.sample(&sample(101, 2));
        assert_eq!(history.samples().count(), 11);
        let whole: Value = serde_json::from_slice(&history.text()).unwrap();
        assert_eq!(whole["stats"][10]["t_ms"], 101);
    }

    #[test]
    fn everything_has_a_bound() {
        let mut history = History::default();
        for number in 0..4000 {
            history.sample(&json!({"t_ms": number, "sample": number}));
            history.mark(json!(number));
            history.log(json!(number));
        }
        let whole: Value = serde_json::from_slice(&history.text()).unwrap();
        let lengths = ["stats", "marks", "log"].map(|key| whole[key].as_array().unwrap().len());
        assert_eq!(lengths, [MAX_SAMPLES, MAX_MARKS, MAX_LINES]);
        assert_eq!(whole["stats"][MAX_SAMPLES - 1]["t_ms"], 3999);
        let large = "x".repeat(1 << 20);
        for number in 0..40 {
            history.sample(&json!({"t_ms": number, "sample": format!("{large}{number}")}));
        }
        assert!(history.bytes <= MAX_SAMPLE_BYTES);
    }
}
