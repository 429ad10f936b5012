//! `/config` and `/statistics`: what the original has too, in its words.

use super::poll_of;
use crate::control::clock;
use crate::control::message::{Request, Response, wrong_field};
use crate::control::report::ThreadReport;
use crate::control::state::endpoints::Facts;
use crate::control::state::statistics::{COUNTERS, deltas, value};
use crate::control::state::{Book, State};
use serde_json::{Map, Value, json};

const MAX_THREADS: usize = 256;

pub(in crate::control) fn config(state: &State, request: &Request) -> Response {
    let poll = match poll_of(request) {
        Ok(poll) => poll,
        Err(refused) => return refused,
    };
    let config = match poll {
        // Another number, and not a higher one: after a restart they begin anew.
        Some((since, wait)) => state.wait(wait, |book| (book.config.revision != since, book.config.value())),
        None => state.book().config.value(),
    };
    Response::json(&config)
}

pub(in crate::control) fn set_config(state: &State, request: &Request) -> Response {
    let object = match request.object() {
        Ok(object) => object,
        Err(refused) => return refused,
    };
    let (changes, config) = {
        let mut book = state.book();
        let Book { config, proxies, .. } = &mut *book;
        let before = config.clone();
        let changes = match config.update(&object) {
            Ok(changes) => changes,
            Err(refused) => return refused,
        };
        if !changes.is_empty() {
            proxies.follow_config(&before, config);
        }
        (changes, config.value())
    };
    if !changes.is_empty() {
        state.wake();
        state.feed.push("config", &config);
        state.mark(changes.join(", "));
        super::rules::tell(state);
    }
    Response::json(&config)
}

pub(in crate::control) fn statistics(state: &State, _: &Request) -> Response {
    Response::json(&value(&state.book(), clock::now()))
}

/// One of two: `{"client_sent": 1}`, or `{"source", "seq", "deltas", "gauges", ...}`.
pub(in crate::control) fn add_statistics(state: &State, request: &Request) -> Response {
    let done = request.object().and_then(|object| match object.get("source") {
        None => {
            let deltas = deltas(&object)?;
            state.book().statistics.add(deltas);
            Ok(())
        }
        Some(source) => report(state, source, &object),
    });
    if let Err(refused) = done {
        return refused;
    }
    let sample = state.book().statistics.value();
    Response::json(&json!({"sample": sample, "instance": state.instance}))
}

/// A batch of an agent.
fn report(state: &State, source: &Value, object: &Map<String, Value>) -> Result<(), Response> {
    let named = source.as_str().filter(|source| (1..=64).contains(&source.len()));
    let source = named.ok_or_else(|| wrong_field("source", "must be a text of 1 to 64 bytes"))?;
    let seq = object.get("seq").and_then(Value::as_u64);
    let seq = seq.ok_or_else(|| wrong_field("seq", "must be a whole number that grows with every batch"))?;
    let object_at = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(found)) => Ok(Some(found)),
        Some(_) => Err(wrong_field(key, "must be an object")),
    };
    let batch = object_at("deltas")?.map(deltas).transpose()?.unwrap_or_default();
    let gauges = object_at("gauges")?;
    let now = clock::now();
    let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_gone = object.get("gone").and_then(Value::as_bool) == Some(true);
    let mut told = None;
    {
        let mut book = state.book();
        book.statistics.add_once(source, seq, batch);
        if is_gone {
            told = book.endpoints.leave(source, now);
        } else if let Some(gauges) = gauges {
            let facts = Facts {
                role: text("role").unwrap_or_else(|| role_of(object)),
                mode: text("mode"),
                carrier: text("carrier"),
                pid: object.get("pid").and_then(Value::as_u64),
            };
            told = book.endpoints.report(source, facts, gauges, now);
        }
        if let Some(threads) = object.get("threads").and_then(Value::as_array) {
            let pid = object.get("pid").and_then(Value::as_u64);
            set_threads(&mut book, source, pid, threads);
        }
    }
    if let Some(endpoint) = told {
        tell(state, &endpoint);
    }
    Ok(())
}

/// An endpoint came or went.
pub(in crate::control) fn tell(state: &State, endpoint: &Value) {
    let role = match endpoint["role"].as_str() {
        Some("client") => "sender",
        Some("server") => "receiver",
        Some(other) => other,
        None => "endpoint",
    };
    let is_gone = endpoint["gone"] == true;
    state.feed.push("endpoint", endpoint);
    let text = format!("{role} {}", if is_gone { "ends" } else { "begins" });
    state.mark(text.clone());
    state.log(endpoint["id"].as_str().unwrap_or_default(), "info", text);
}

fn role_of(object: &Map<String, Value>) -> String {
    let deltas = object.get("deltas").and_then(Value::as_object);
    let first = COUNTERS
        .iter()
        .find(|name| deltas.is_some_and(|deltas| deltas.contains_key(**name)));
    let role = first.and_then(|name| name.split('_').next());
    role.unwrap_or("client").to_owned()
}

fn set_threads(book: &mut Book, source: &str, pid: Option<u64>, threads: &[Value]) {
    let threads = threads.iter().take(MAX_THREADS).filter_map(|thread| {
        let thread = serde_json::from_value::<ThreadReport>(thread.clone()).ok()?;
        Some(thread_value(source, pid, &thread))
    });
    let process = pid.map_or_else(|| source.to_owned(), |pid| pid.to_string());
    book.endpoints.set_threads(&process, threads.collect(), clock::now());
}

/// A thread of a process, which is called by its number.
pub(in crate::control) fn thread_value(source: &str, pid: Option<u64>, thread: &ThreadReport) -> Value {
    let source = pid.map_or_else(|| source.to_owned(), |pid| pid.to_string());
    json!({
        "source": source,
        "name": thread.name,
        "cpu_ms": thread.cpu_ms,
        "switches": thread.switches,
        "state": thread.state,
    })
}

pub(in crate::control) fn zero_statistics(state: &State, _: &Request) -> Response {
    let sample = {
        let mut book = state.book();
        book.statistics.zero();
        book.statistics.value()
    };
    state.mark("statistics zeroed");
    Response::json(&json!({"sample": sample, "instance": state.instance}))
}
