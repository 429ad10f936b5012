//! What each path does: plain functions from a request to a response, which know no socket.

pub(super) mod events;
pub(super) mod export;
pub(super) mod general;
pub(super) mod packets;
pub(super) mod proxies;
pub(super) mod rules;
pub(super) mod scenario;
pub(super) mod settings;

#[cfg(test)]
mod tests;

use super::message::{Request, Response, wrong_field};
use crate::proxy::RuleForm;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;

/// The longest wait of a long poll.
const MAX_WAIT: Duration = Duration::from_secs(25);

/// Where a long poll begins, and how long it may take: `?since=N&wait=SECONDS`.
fn poll_of(request: &Request) -> Result<Option<(u64, Duration)>, Response> {
    let since = request.number("since")?;
    let wait = match request.query("wait") {
        None => Duration::ZERO,
        Some(text) => {
            let seconds = text
                .parse::<f64>()
                .ok()
                .filter(|seconds| (0.0..=MAX_WAIT.as_secs_f64()).contains(seconds));
            let seconds = seconds.ok_or_else(|| wrong_field("wait", "must be a number of seconds from 0 to 25"))?;
            Duration::from_secs_f64(seconds)
        }
    };
    Ok(since.map(|since| (since, wait)))
}

/// Keys and values as a struct all of whose fields may be left out, and that knows no other ones. What is wrong is said
/// with its key.
fn form<T: DeserializeOwned>(keys: &Map<String, Value>) -> Result<T, Response> {
    let error = match serde_json::from_value(Value::Object(keys.clone())) {
        Ok(form) => return Ok(form),
        Err(error) => error.to_string(),
    };
    // Which one? That which alone does not do either.
    for (key, value) in keys {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<T>(Value::Object(alone)) {
            return Err(Response::error_of(400, key, format!("{key}: {error}")));
        }
    }
    Err(Response::error(400, error))
}

/// A rule of a request.
pub(super) fn form_of(keys: &Map<String, Value>) -> Result<RuleForm, Response> {
    form(keys)
}

/// Keys that an object may have.
fn check_keys(object: &Map<String, Value>, known: &[&str]) -> Result<(), Response> {
    let stray = object.keys().find(|key| !known.contains(&key.as_str()));
    stray.map_or(Ok(()), |key| {
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        Err(wrong_field(key, &format!("is no key of this; there is {known}")))
    })
}

/// A text among the keys of an object.
fn text_of<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, Response> {
    let value = object.get(key).filter(|value| !value.is_null());
    let text = value.map(|value| value.as_str().ok_or_else(|| wrong_field(key, "must be a text")));
    text.transpose()
}
