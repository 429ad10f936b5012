//! The three settings of the original: the loss in each direction, and how long the receiver dawdles after each read.

use super::{fresh_number, number};
use crate::control::message::{Response, wrong_field};
use crate::filter::Direction;
use serde_json::{Map, Value, json};

/// The rule that the loss of a direction stands for.
pub(in crate::control) const DROP_RULE: &str = "drop";
pub(in crate::control) const MAX_DELAY_SECONDS: f64 = 60.0;
/// The names of the settings, and the largest value of each.
const KEYS: [(&str, f64); 3] = [
    ("client_server_drop", 100.0),
    ("server_client_drop", 100.0),
    ("recv_delay", MAX_DELAY_SECONDS),
];
/// What a whole answer has besides, and may be sent back unchanged.
const READ_ONLY: [&str; 1] = ["revision"];

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::control) struct Config {
    values: [f64; 3],
    pub(in crate::control) revision: u64,
}

impl Config {
    pub(in crate::control) fn new() -> Self {
        Self {
            values: [0.0; 3],
            revision: fresh_number(),
        }
    }

    /// The loss of one direction in percent.
    pub(in crate::control) fn drop_pct(&self, direction: Direction) -> f64 {
        self.values[place(direction)]
    }

    /// Notes that the loss is another one now. Returns whether it is.
    pub(in crate::control) fn set_drop_pct(&mut self, direction: Direction, pct: f64) -> bool {
        self.set(place(direction), pct)
    }

    pub(in crate::control) fn value(&self) -> Value {
        let pairs = KEYS
            .iter()
            .zip(self.values)
            .map(|((key, _), value)| ((*key).to_owned(), number(value)));
        let mut object: Map<String, Value> = pairs.collect();
        object.insert("revision".to_owned(), json!(self.revision));
        Value::Object(object)
    }

    /// Takes the settings of a request over, all or none. Returns what has changed, in words.
    pub(in crate::control) fn update(&mut self, wanted: &Map<String, Value>) -> Result<Vec<String>, Response> {
        let mut values = self.values;
        for (key, value) in wanted {
            if READ_ONLY.contains(&key.as_str()) {
                continue;
            }
            let Some(index) = KEYS.iter().position(|(known, _)| known == key) else {
                let known = KEYS.map(|(known, _)| known).join(", ");
                return Err(wrong_field(key, &format!("is no setting; there is {known}")));
            };
            let most = KEYS[index].1;
            let value = value.as_f64().ok_or_else(|| wrong_field(key, "must be a number"))?;
            if !(0.0..=most).contains(&value) {
                return Err(wrong_field(key, &format!("must be from 0 to {most}")));
            }
            values[index] = value;
        }
        let mut changes = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            if self.set(index, value) {
                changes.push(format!("{} = {}", KEYS[index].0, number(value)));
            }
        }
        Ok(changes)
    }

    #[expect(clippy::float_cmp, reason = "whether it is the very same number is what is asked")]
    fn set(&mut self, index: usize, value: f64) -> bool {
        if self.values[index] == value {
            return false;
        }
        self.values[index] = value;
        self.revision += 1;
        true
    }
}

fn place(direction: Direction) -> usize {
    match direction {
        Direction::Upstream => 0,
        Direction::Downstream => 1,
    }
}
