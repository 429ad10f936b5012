//! Which path and method leads where: one table.

use super::api::{events, export, general, packets, proxies, rules, scenario, settings};
use super::message::{Method, Request, Response, decoded};
use super::pages;
use super::state::State;
use Method::{Delete, Get, Patch, Post};

type Handler = fn(&State, &Request) -> Response;

/// `*` stands for one part of a path.
const ROUTES: &[(Method, &str, Handler)] = &[
    (Get, "/config", settings::config),
    (Post, "/config", settings::set_config),
    (Get, "/statistics", settings::statistics),
    (Post, "/statistics", settings::add_statistics),
    (Delete, "/statistics", settings::zero_statistics),
    (Get, "/v1/state", general::state),
    (Get, "/v1/history", general::history),
    (Get, "/v1/events", events::events),
    (Get, "/v1/proxies", proxies::list),
    (Post, "/v1/proxies", proxies::attach),
    (Get, "/v1/proxies/*", proxies::one),
    (Patch, "/v1/proxies/*", proxies::patch),
    (Delete, "/v1/proxies/*", proxies::forget),
    (Post, "/v1/proxies/*/report", proxies::report),
    (Post, "/v1/proxies/*/preset", rules::preset),
    (Get, "/v1/proxies/*/rules", rules::list),
    (Post, "/v1/proxies/*/rules", rules::add),
    (Delete, "/v1/proxies/*/rules", rules::remove_all),
    (Get, "/v1/proxies/*/rules/*", rules::one),
    (Patch, "/v1/proxies/*/rules/*", rules::patch),
    (Delete, "/v1/proxies/*/rules/*", rules::remove),
    (Get, "/v1/presets", general::list_presets),
    (Get, "/v1/scenario", scenario::show),
    (Post, "/v1/scenario", scenario::play),
    (Delete, "/v1/scenario", scenario::stop),
    (Get, "/v1/packets", packets::list),
    (Get, "/v1/packets/*", packets::one),
    (Get, "/v1/capture.pcapng", export::capture),
    (Get, "/v1/trace.sqlog", export::trace),
    (Get, "/v1/threads", general::threads),
    (Get, "/v1/health", general::health),
    (Post, "/v1/reset", general::reset),
    (Get, "/metrics", export::metrics),
];

/// Answers a request, if it may be answered.
pub(super) fn answer(state: &State, mut request: Request) -> Response {
    let is_page = pages::is_part(&request.path);
    if let Err(refused) = state.guard.check(&request, is_page) {
        return refused;
    }
    if is_page {
        // Forms of old pages post to the root.
        let may_post = request.path == "/" && request.method == Post;
        return match request.method {
            Get => pages::part(state, &request),
            Post if may_post => pages::part(state, &request),
            _ => wrong_method("GET"),
        };
    }
    let path = request.path.clone();
    let mut allowed: Vec<&str> = Vec::new();
    for (method, pattern, handler) in ROUTES {
        let Some(parts) = fits(pattern, &path) else { continue };
        if *method == request.method {
            request.parts = parts;
            return handler(state, &request);
        }
        allowed.push(method.word());
    }
    if allowed.is_empty() {
        return Response::error(
            404,
            "nothing is there; docs/rest.md lists all paths, and / is the page for people",
        );
    }
    wrong_method(&allowed.join(", "))
}

fn wrong_method(allowed: &str) -> Response {
    let text = format!("that path has another method: {allowed}");
    Response::error(405, text).with_header("Allow", allowed)
}

/// The parts that stand for `*`, if the path is of that form.
fn fits(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut parts = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parts),
            (Some("*"), Some(part)) if !part.is_empty() => parts.push(decoded(part)),
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}
