//! `/v1/scenario`: what is played on the proxies.

use super::{check_keys, text_of};
use crate::control::clock;
use crate::control::message::{Request, Response, wrong_field};
use crate::control::player;
use crate::control::state::State;

pub(in crate::control) fn show(state: &State, _: &Request) -> Response {
    Response::json(&state.book().playing.value(&state.canned, clock::now()))
}

pub(in crate::control) fn play(state: &State, request: &Request) -> Response {
    let played = request.object().and_then(|object| {
        check_keys(&object, &["name", "toml"])?;
        match (text_of(&object, "name")?, text_of(&object, "toml")?) {
            (name, Some(toml)) => player::play(state, name.unwrap_or("of your own"), toml),
            (Some(name), None) => {
                let canned = state.canned.iter().find(|canned| canned.name == name);
                let canned = canned.ok_or_else(|| {
                    let names: Vec<_> = state.canned.iter().map(|canned| canned.name.as_str()).collect();
                    let text = format!("is no scenario of this controller; there is {}", names.join(", "));
                    wrong_field("name", &text)
                })?;
                player::play(state, &canned.name, &canned.toml)
            }
            (None, None) => Err(wrong_field("name", "or toml is missing")),
        }
    });
    match played {
        Ok(()) => show(state, request),
        Err(refused) => refused,
    }
}

pub(in crate::control) fn stop(state: &State, request: &Request) -> Response {
    player::stop(state);
    show(state, request)
}
