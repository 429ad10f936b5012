//! `/v1/proxies/{p}/rules`: what is done to packets, changed while they pass.

use super::{check_keys, form_of, text_of};
use crate::control::clock;
use crate::control::message::{Request, Response, wrong_field};
use crate::control::state::proxies::Proxy;
use crate::control::state::wanted::{Wanted, check_spec};
use crate::control::state::{Book, State};
use crate::filter::Spec;
use serde_json::{Value, json};

pub(in crate::control) fn list(state: &State, request: &Request) -> Response {
    let book = state.book();
    match book.proxies.get(&request.parts[0]) {
        Ok(proxy) => Response::json(&json!({"rules": values(proxy)})),
        Err(refused) => refused,
    }
}

fn values(proxy: &Proxy) -> Vec<Value> {
    proxy.rules().iter().map(Wanted::value).collect()
}

/// Changes the rules of a proxy, and tells everybody. `change` returns what to answer, and the words for a mark.
pub(super) fn change(
    state: &State,
    request: &Request,
    change: impl FnOnce(&mut Proxy) -> Result<(Response, String), Response>,
) -> Response {
    let id = &request.parts[0];
    let (answer, words, config) = {
        let mut book = state.book();
        let Book { proxies, config, .. } = &mut *book;
        let changed = proxies.get_mut(id).and_then(change);
        let (answer, words) = match changed {
            Ok(changed) => changed,
            Err(refused) => return refused,
        };
        let config = proxies.lead_config(id, config).then(|| config.value());
        (answer, words, config)
    };
    state.wake();
    if let Some(config) = config {
        state.feed.push("config", &config);
    }
    state.mark(words);
    tell(state);
    answer
}

/// Tells of the proxies whose rules have changed.
pub(in crate::control) fn tell(state: &State) {
    let news = state.book().proxies.take_news(clock::now());
    for proxy in news {
        state.feed.push("rules", &json!({"proxy": proxy}));
    }
}

pub(in crate::control) fn add(state: &State, request: &Request) -> Response {
    let form = match request.object().and_then(|object| form_of(&object)) {
        Ok(form) => form,
        Err(refused) => return refused,
    };
    change(state, request, |proxy| {
        let ids = proxy.add(&form)?;
        let rules = ids.iter().map(|id| Ok(proxy.rule(id)?.value()));
        let rules = rules.collect::<Result<Vec<_>, Response>>()?;
        let words = format!("added {}", words_of(proxy, &ids));
        Ok((Response::json_with(201, &json!({"rules": rules})), words))
    })
}

/// `up.loss "loss 5%"`.
fn words_of(proxy: &Proxy, ids: &[String]) -> String {
    let words = ids.iter().filter_map(|id| {
        let rule = proxy.rule(id).ok()?;
        Some(format!("{id} \"{}\"", rule.entry))
    });
    words.collect::<Vec<_>>().join(", ")
}

pub(in crate::control) fn one(state: &State, request: &Request) -> Response {
    let book = state.book();
    let found = book
        .proxies
        .get(&request.parts[0])
        .and_then(|proxy| proxy.rule(&request.parts[1]));
    found.map_or_else(|refused| refused, |rule| Response::json(&rule.value()))
}

pub(in crate::control) fn patch(state: &State, request: &Request) -> Response {
    let object = match request.object() {
        Ok(object) => object,
        Err(refused) => return refused,
    };
    let id = &request.parts[1];
    change(state, request, |proxy| {
        proxy.patch(id, &object)?;
        let words = words_of(proxy, std::slice::from_ref(id));
        Ok((Response::json(&proxy.rule(id)?.value()), words))
    })
}

pub(in crate::control) fn remove(state: &State, request: &Request) -> Response {
    let id = &request.parts[1];
    change(state, request, |proxy| {
        proxy.remove(id)?;
        Ok((Response::json(&json!({"removed": id})), format!("removed {id}")))
    })
}

pub(in crate::control) fn remove_all(state: &State, request: &Request) -> Response {
    change(state, request, |proxy| {
        let ids: Vec<_> = proxy.rules().iter().map(Wanted::id).collect();
        proxy.replace(&Spec::new());
        Ok((Response::json(&json!({"removed": ids})), "removed all rules".to_owned()))
    })
}

/// `{"name": PRESET}` or `{"spec": RULES}`: these rules and no others.
pub(in crate::control) fn preset(state: &State, request: &Request) -> Response {
    let wanted = request.object().and_then(|object| {
        check_keys(&object, &["name", "spec"])?;
        match (text_of(&object, "name")?, text_of(&object, "spec")?) {
            (Some(name), None) => {
                let preset = crate::proxy::preset(name).map_err(|error| Response::error_of(400, "name", error))?;
                Ok((preset.spec, format!("preset {name}")))
            }
            (None, Some(spec)) => {
                let spec: Spec = spec
                    .parse()
                    .map_err(|error| Response::error_of(400, "spec", format!("spec: {error}")))?;
                check_spec(&spec)?;
                let words = format!("rules are now \"{spec}\"");
                Ok((spec, words))
            }
            (None, None) => Err(wrong_field("name", "or spec is missing")),
            (Some(_), Some(_)) => Err(wrong_field("spec", "and name exclude each other")),
        }
    });
    let (spec, words) = match wanted {
        Ok(wanted) => wanted,
        Err(refused) => return refused,
    };
    change(state, request, |proxy| {
        proxy.replace(&spec);
        Ok((Response::json(&proxy.value(clock::now())), words))
    })
}
