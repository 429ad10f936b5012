//! `/v1/events`: what happens, as it happens: a stream of events, or the same by long polls.

use super::poll_of;
use crate::control::feed::MAX_READERS;
use crate::control::message::{Body, Request, Response};
use crate::control::state::State;
use std::time::Duration;

pub(in crate::control) fn events(state: &State, request: &Request) -> Response {
    let poll = match poll_of(request) {
        Ok(poll) => poll,
        Err(refused) => return refused,
    };
    let wants_json = request
        .header("accept")
        .is_some_and(|accept| accept.contains("application/json"));
    match poll {
        Some((since, wait)) => {
            let place = state.place_to_wait();
            let wait = if place.is_some() { wait } else { Duration::ZERO };
            Response::json(&state.feed.poll(since, wait))
        }
        None if wants_json => {
            let last = state.feed.last_id();
            Response::json(&state.feed.poll(last, Duration::ZERO))
        }
        None => {
            // A browser that lost its connection says up to where it had read.
            let last = request.header("last-event-id").and_then(|id| id.parse().ok());
            match state.feed.reader(last) {
                Some(reader) => Response::new(200, "text/event-stream", Body::Events(reader)),
                None => Response::error(503, format!("{MAX_READERS} clients follow the events already")),
            }
        }
    }
}
