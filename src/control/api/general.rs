//! Everything about the controller itself, and all of it at once.

use crate::control::clock;
use crate::control::message::{Body, Request, Response};
use crate::control::state::{State, presets};
use serde_json::json;
use std::sync::atomic::Ordering;

pub(in crate::control) fn state(state: &State, _: &Request) -> Response {
    Response::json(&state.snapshot())
}

pub(in crate::control) fn history(state: &State, _: &Request) -> Response {
    let text = state.book().history.text();
    Response::new(200, "application/json", Body::Whole(text))
}

pub(in crate::control) fn list_presets(_: &State, _: &Request) -> Response {
    Response::json(&json!({"presets": presets()}))
}

pub(in crate::control) fn threads(state: &State, _: &Request) -> Response {
    let threads = state.book().endpoints.threads();
    Response::json(&json!({"threads": threads}))
}

pub(in crate::control) fn health(state: &State, _: &Request) -> Response {
    let (endpoints, proxies) = {
        let book = state.book();
        let attached = book.proxies.all().filter(|proxy| proxy.is_attached).count();
        (book.endpoints.len(), attached)
    };
    Response::json(&json!({
        "ok": true,
        "version": env!("CARGO_PKG_VERSION"),
        "instance": state.instance,
        "uptime_ms": state.millis_of(clock::now()) as u64,
        "sse_clients": state.feed.readers(),
        "last_event": state.feed.last_id(),
        "connections": state.counts.connections.load(Ordering::Relaxed),
        "turned_away": state.counts.turned_away.load(Ordering::Relaxed),
        "sources": endpoints + proxies,
    }))
}

pub(in crate::control) fn reset(state: &State, _: &Request) -> Response {
    state.reset();
    Response::json(&json!({"ok": true}))
}
