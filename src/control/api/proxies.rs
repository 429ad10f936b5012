//! `/v1/proxies`: who is attached, and how proxies attach themselves and report.

use super::{check_keys, form, form_of, poll_of};
use crate::control::clock;
use crate::control::message::{Request, Response, wrong_field};
use crate::control::report::{Attach, PacketReport, ProxyReport, ThreadReport};
use crate::control::state::links::direction_of;
use crate::control::state::{Book, State};
use crate::filter::Direction;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::time::Instant;

/// Of a packet no more bytes are taken.
const MAX_SNAP_BYTES: usize = 4096;
const MAX_THREADS: usize = 256;
/// A proxy for any UDP program: nothing there is a packet of ours.
const RAW: &str = "raw";

pub(in crate::control) fn list(state: &State, _: &Request) -> Response {
    let (book, now) = (state.book(), clock::now());
    let proxies: Vec<_> = book.proxies.all().map(|proxy| proxy.value(now)).collect();
    Response::json(&json!({"proxies": proxies}))
}

pub(in crate::control) fn one(state: &State, request: &Request) -> Response {
    let id = &request.parts[0];
    let poll = match poll_of(request) {
        Ok(poll) => poll,
        Err(refused) => return refused,
    };
    let look = |book: &Book, since: Option<u64>| match book.proxies.get(id) {
        Ok(proxy) => (
            since != Some(proxy.revision),
            Response::json(&proxy.value(clock::now())),
        ),
        Err(refused) => (true, refused),
    };
    match poll {
        Some((since, wait)) => state.wait(wait, |book| look(book, Some(since))),
        None => look(&state.book(), None).1,
    }
}

/// A proxy presents itself.
pub(in crate::control) fn attach(state: &State, request: &Request) -> Response {
    let about = request
        .object()
        .and_then(|object| form::<Attach>(&object))
        .and_then(|about| {
            if (1..=64).contains(&about.source.len()) {
                Ok(about)
            } else {
                Err(wrong_field("source", "must be a text of 1 to 64 bytes"))
            }
        });
    let about = match about {
        Ok(about) => about,
        Err(refused) => return refused,
    };
    let (id, adopted, value, config) = {
        let mut book = state.book();
        let Book { proxies, config, .. } = &mut *book;
        let (before, now) = (config.revision, clock::now());
        let (id, adopted) = match proxies.attach(about, config, now) {
            Ok(attached) => attached,
            Err(refused) => return refused,
        };
        let value = proxies.get(&id).map(|proxy| proxy.value(now)).unwrap_or_default();
        let config = (config.revision != before).then(|| config.value());
        (id, adopted, value, config)
    };
    state.wake();
    if let Some(config) = config {
        state.feed.push("config", &config);
    }
    state.mark(format!("proxy {id} attached"));
    state.log(&id, "info", "proxy attached");
    super::rules::tell(state);
    let answer = json!({"id": id, "adopted": adopted, "instance": state.instance, "proxy": value});
    Response::json_with(201, &answer)
}

/// Ten times a second, what has happened.
pub(in crate::control) fn report(state: &State, request: &Request) -> Response {
    let report = match request.object().and_then(|object| form::<ProxyReport>(&object)) {
        Ok(report) => report,
        Err(refused) => return refused,
    };
    let id = &request.parts[0];
    let now = clock::now();
    let news = {
        let mut book = state.book();
        match take(&mut book, id, report, state.millis_of(now), now) {
            Ok(news) => news,
            Err(refused) => return refused,
        }
    };
    for (level, text) in news.lines {
        state.log(id, level, text);
    }
    if news.is_gone {
        state.mark(format!("proxy {id} ends"));
        super::rules::tell(state);
    }
    if !news.packets.is_empty() || news.missed > 0 {
        let event = json!({"missed": news.missed, "packets": news.packets});
        state.feed.push("packets", &event);
    }
    Response::json(&json!({"revision": news.revision, "instance": state.instance}))
}

/// What to tell of a report.
#[derive(Default)]
struct News {
    lines: Vec<(&'static str, String)>,
    packets: Vec<Value>,
    missed: u64,
    revision: u64,
    is_gone: bool,
}

fn take(book: &mut Book, id: &str, mut report: ProxyReport, now_ms: f64, now: Instant) -> Result<News, Response> {
    let Book {
        proxies,
        packets,
        statistics,
        endpoints,
        ..
    } = book;
    let proxy = proxies.get_mut(id)?;
    if proxy.about.source != report.source {
        // Another one of that name: it has to attach itself first.
        return Err(Response::error_of(
            404,
            "source",
            "no proxy of that name and source is attached",
        ));
    }
    let mut news = News {
        missed: report.missed,
        is_gone: report.gone,
        ..News::default()
    };
    // Reports are late and never early: the least lateness so far is the nearest to the truth.
    let began = now_ms - report.now_us as f64 / 1e3;
    let clock_ms = proxy.clock_ms.map_or(began, |known| known.min(began));
    proxy.clock_ms = Some(clock_ms);
    for packet in std::mem::take(&mut report.packets) {
        let (direction, bytes) = check_packet(&packet)?;
        let is_ours = proxy.about.front != RAW;
        news.packets
            .push(packets.add((id, is_ours), direction, packet, bytes, clock_ms));
    }
    let threads: Vec<ThreadReport> = std::mem::take(&mut report.threads);
    if !threads.is_empty() {
        let pid = Some(u64::from(report.pid));
        let values = threads.iter().take(MAX_THREADS);
        let values = values.map(|thread| super::settings::thread_value(id, pid, thread));
        endpoints.set_threads(&report.pid.to_string(), values.collect(), now);
    }
    if proxy.last.healthy != report.healthy {
        let level = if report.healthy { "info" } else { "warn" };
        news.lines.push((level, format!("emulator: {}", report.health)));
    }
    if proxy.last.clients != report.clients {
        news.lines.push(("info", format!("clients: {}", report.clients)));
    }
    let (sent, received) = proxy.report(report, now);
    news.revision = proxy.revision;
    statistics.add([0, 0, sent, received, 0, 0]);
    Ok(news)
}

fn check_packet(packet: &PacketReport) -> Result<(Direction, Vec<u8>), Response> {
    let wrong = |problem: &str| wrong_field("packets", problem);
    let direction = direction_of(&packet.direction).ok_or_else(|| wrong("go up or down"))?;
    let bytes = STANDARD.decode(&packet.bytes).ok();
    let bytes = bytes.filter(|bytes| bytes.len() <= MAX_SNAP_BYTES && bytes.len() as u64 <= packet.size);
    let bytes = bytes.ok_or_else(|| wrong("have bytes in base64, at most 4096 and no more than their size"))?;
    if packet.client.len() > 64 || packet.verdict.len() > 16 || packet.rule.as_ref().is_some_and(|rule| rule.len() > 64)
    {
        return Err(wrong("have short words for client, verdict and rule"));
    }
    Ok((direction, bytes))
}

/// `{"rules": [RULE, ...]}`: these and no others, and with `"adopt": true` the proxy has them already, for it is the one that
/// says so; `{"rebind": true}`: other ports towards the target.
pub(in crate::control) fn patch(state: &State, request: &Request) -> Response {
    let object = match request.object() {
        Ok(object) => object,
        Err(refused) => return refused,
    };
    if let Err(refused) = check_keys(&object, &["rules", "rebind", "adopt"]) {
        return refused;
    }
    let forms = match forms_of(&object) {
        Ok(forms) => forms,
        Err(refused) => return refused,
    };
    let switch = |key: &str| match object.get(key) {
        None | Some(Value::Bool(false)) => Ok(false),
        Some(Value::Bool(true)) => Ok(true),
        Some(_) => Err(wrong_field(key, "must be true or false")),
    };
    let (rebind, is_adopted) = match (switch("rebind"), switch("adopt")) {
        (Ok(rebind), Ok(is_adopted)) => (rebind, is_adopted),
        (Err(refused), _) | (_, Err(refused)) => return refused,
    };
    super::rules::change(state, request, |proxy| {
        let mut words = Vec::new();
        if let Some(forms) = &forms {
            if is_adopted {
                proxy.adopt(forms)?;
            } else {
                proxy.replace_forms(forms)?;
            }
            words.push("rules replaced");
        }
        if rebind {
            proxy.rebind();
            words.push("other ports towards the target");
        }
        Ok((Response::json(&proxy.value(clock::now())), words.join("; ")))
    })
}

fn forms_of(object: &Map<String, Value>) -> Result<Option<Vec<crate::proxy::RuleForm>>, Response> {
    let list = match object.get("rules") {
        None => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong_field("rules", "must be a list")),
    };
    let forms = list.iter().map(|rule| match rule {
        Value::Object(keys) => form_of(keys),
        _ => Err(wrong_field("rules", "must be a list of objects")),
    });
    forms.collect::<Result<Vec<_>, _>>().map(Some)
}

pub(in crate::control) fn forget(state: &State, request: &Request) -> Response {
    let id = &request.parts[0];
    if let Err(refused) = state.book().proxies.forget(id) {
        return refused;
    }
    state.feed.push("rules", &json!({"proxy": {"id": id, "gone": true}}));
    state.mark(format!("proxy {id} forgotten"));
    Response::json(&json!({"removed": id}))
}
