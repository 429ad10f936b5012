//! `/v1/packets`: the last packets that were seen.

use crate::control::message::{Request, Response};
use crate::control::state::State;
use serde_json::json;

const DEFAULT_LIMIT: u64 = 500;
const MAX_LIMIT: u64 = 5000;

pub(in crate::control) fn list(state: &State, request: &Request) -> Response {
    let (since, limit) = match (request.number("since"), request.number("limit")) {
        (Ok(since), Ok(limit)) => (since, limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)),
        (Err(refused), _) | (_, Err(refused)) => return refused,
    };
    let packets = state.book().packets.after(since, limit as usize);
    Response::json(&json!({"packets": packets}))
}

pub(in crate::control) fn one(state: &State, request: &Request) -> Response {
    let Ok(id) = request.parts[0].parse() else {
        return Response::error(404, "packets have numbers");
    };
    let book = state.book();
    book.packets.get(id).map_or_else(
        || Response::error(404, "that packet is not known, or not any more: the last 5000 are"),
        |packet| Response::json(&packet.whole_value()),
    )
}
