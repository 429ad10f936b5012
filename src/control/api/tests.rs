//! Every path by its plain function: what it does, and what it says to what makes no sense.

use crate::control::guard::Guard;
use crate::control::message::{Body, MAX_BODY_BYTES, Method, Request, Response};
use crate::control::router::answer;
use crate::control::state::State;
use crate::control::state::scenario::Canned;
use serde_json::{Value, json};

const SCENARIO: &str = "[[proxy]]\nimpair = \"up: loss 5%\"\n[[step]]\nat_ms = 0\nset = { name = \"loss\", direction = \"up\", \
                        type = \"loss\", pct = 7 }\n[expect]\n\"up.received_pkts\" = { min = 0 }\n";

fn state() -> State {
    let canned = Canned {
        name: "five".to_owned(),
        title: "Five".to_owned(),
        what: "losses".to_owned(),
        command: "stream-lab run five".to_owned(),
        toml: SCENARIO.to_owned(),
    };
    State::new(Guard::default(), vec![canned])
}

/// Asks as a browser or a tool on this machine would.
fn ask(state: &State, method: Method, target: &str, body: &str) -> Response {
    let mut request = Request::new(method, target).with_header("Host", "127.0.0.1:5000");
    if !body.is_empty() {
        request = request
            .with_header("Content-Type", "application/json")
            .with_body(body.into());
    }
    answer(state, request)
}

#[track_caller]
fn get(state: &State, target: &str) -> Value {
    let response = ask(state, Method::Get, target, "");
    assert_eq!(response.status, 200, "{target}: {response:?}");
    response.value()
}

#[track_caller]
fn post(state: &State, target: &str, body: &Value) -> Value {
    let response = ask(state, Method::Post, target, &body.to_string());
    assert!(response.status < 300, "{target} {body}: {}", response.value());
    response.value()
}

/// It must be refused so, with words, and with the key that is wrong.
#[track_caller]
fn refused(state: &State, method: Method, target: &str, body: &str, status: u16, field: Option<&str>) {
    let response = ask(state, method, target, body);
    assert_eq!(response.status, status, "{method:?} {target} {body}: {response:?}");
    let said = response.value();
    assert_eq!(said["status"], status);
    assert!(said["error"].as_str().unwrap().len() >= 10, "{said}");
    if let Some(field) = field {
        assert_eq!(said["field"], field, "{said}");
    }
}

fn attach(state: &State, rules: &Value) -> Value {
    let about = json!({
        "id": "main", "source": "p1", "listen": "127.0.0.1:6000", "target": "127.0.0.1:7000", "front": "udp",
        "back": "udp", "seed": 7, "rules": rules,
    });
    post(state, "/v1/proxies", &about)
}

fn rule_ids(state: &State) -> Vec<String> {
    let rules = get(state, "/v1/proxies/main/rules");
    let all = rules["rules"].as_array().unwrap().iter();
    all.map(|rule| rule["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_words_of_the_original_work_unchanged() {
    let state = state();
    let counted = ask(&state, Method::Post, "/statistics", "{\"client_sent\": 1}");
    assert_eq!(counted.status, 200);
    post(
        &state,
        "/statistics",
        &json!({"client_sent": 2, "server_recv": 3, "something_else": "x"}),
    );
    let statistics = get(&state, "/statistics");
    assert_eq!(
        statistics["sample"],
        json!({"client_sent": 3, "client_recv": 0, "proxy_sent": 0, "proxy_recv": 0, "server_sent": 0, "server_recv": 3})
    );
    let zeroed = ask(&state, Method::Delete, "/statistics", "");
    assert_eq!(zeroed.status, 200);
    assert_eq!(get(&state, "/statistics")["sample"]["client_sent"], 0);

    let config = post(
        &state,
        "/config",
        &json!({"client_server_drop": 5, "server_client_drop": 2.5, "recv_delay": 0.25}),
    );
    assert_eq!(config["client_server_drop"], 5);
    assert_eq!(config["server_client_drop"], 2.5);
    assert_eq!(get(&state, "/config"), config);
    let config = post(&state, "/config", &json!({"recv_delay": 60}));
    assert_eq!(
        (&config["recv_delay"], &config["client_server_drop"]),
        (&json!(60), &json!(5))
    );
    // What was got can be sent back.
    assert_eq!(post(&state, "/config", &config), config);
}

#[test]
fn settings_that_make_no_sense_change_nothing_and_are_named() {
    let state = state();
    let before = get(&state, "/config");
    for (body, status, field) in [
        ("{\"client_server_drop\": 101}", 400, Some("client_server_drop")),
        ("{\"client_server_drop\": -1}", 400, Some("client_server_drop")),
        ("{\"server_client_drop\": \"5\"}", 400, Some("server_client_drop")),
        ("{\"server_client_drop\": null}", 400, Some("server_client_drop")),
        ("{\"recv_delay\": 60.1}", 400, Some("recv_delay")),
        ("{\"recv_delay\": true}", 400, Some("recv_delay")),
        ("{\"recv_delay\": 1, \"client_drop\": 1}", 400, Some("client_drop")),
        (
            "{\"recv_delay\": 1, \"client_server_drop\": 1000}",
            400,
            Some("client_server_drop"),
        ),
        ("[1]", 400, None),
        ("{", 400, None),
    ] {
        refused(&state, Method::Post, "/config", body, status, field);
    }
    refused(&state, Method::Post, "/config", "", 400, None);
    refused(&state, Method::Get, "/config?since=x", "", 400, Some("since"));
    refused(&state, Method::Get, "/config?since=1&wait=26", "", 400, Some("wait"));
    assert_eq!(get(&state, "/config"), before);
}

#[test]
fn counts_that_make_no_sense_are_refused() {
    let state = state();
    for (body, field) in [
        ("{\"client_sent\": -1}", Some("client_sent")),
        ("{\"client_sent\": 1.5}", Some("client_sent")),
        ("{\"client_sent\": \"1\"}", Some("client_sent")),
        ("{\"source\": 1, \"seq\": 1}", Some("source")),
        ("{\"source\": \"\", \"seq\": 1}", Some("source")),
        ("{\"source\": \"a\"}", Some("seq")),
        ("{\"source\": \"a\", \"seq\": -1}", Some("seq")),
        ("{\"source\": \"a\", \"seq\": 1, \"deltas\": 3}", Some("deltas")),
        ("{\"source\": \"a\", \"seq\": 1, \"gauges\": []}", Some("gauges")),
        ("7", None),
    ] {
        refused(&state, Method::Post, "/statistics", body, 400, field);
    }
    assert_eq!(get(&state, "/statistics")["sample"]["client_sent"], 0);
}

#[test]
fn a_batch_counts_once_however_often_it_comes() {
    let state = state();
    let batch = |seq: u64, count: u64| json!({"source": "s", "seq": seq, "deltas": {"client_sent": count}});
    for (seq, count, sum) in [(1, 5, 5), (1, 5, 5), (2, 1, 6), (1, 5, 6), (2, 1, 6), (9, 4, 10)] {
        let answer = post(&state, "/statistics", &batch(seq, count));
        assert_eq!(answer["sample"]["client_sent"], sum, "batch {seq}");
        assert!(answer["instance"].is_string());
    }
    ask(&state, Method::Delete, "/statistics", "");
    assert_eq!(post(&state, "/statistics", &batch(9, 4))["sample"]["client_sent"], 0);
}

#[test]
fn an_endpoint_is_seen_with_its_gauges_until_it_leaves() {
    let state = state();
    let report = json!({
        "source": "client-1", "seq": 1, "role": "client", "mode": "plain", "carrier": "udp", "pid": 42,
        "deltas": {"client_sent": 7}, "gauges": {"cwnd_bytes": 14_520, "ssthresh_bytes": null, "state": "connected",
        "odd": 1, "mtu": {"no": 1}},
        "threads": [{"name": "send", "cpu_ms": 3, "switches": 9, "state": "running"}],
    });
    post(&state, "/statistics", &report);
    let snapshot = get(&state, "/v1/state");
    let endpoint = &snapshot["endpoints"]["client-1"];
    assert_eq!(
        endpoint["gauges"],
        json!({"cwnd_bytes": 14_520, "ssthresh_bytes": null, "state": "connected"})
    );
    assert_eq!(
        (&endpoint["role"], &endpoint["mode"], &endpoint["pid"]),
        (&json!("client"), &json!("plain"), &json!(42))
    );
    let threads = get(&state, "/v1/threads");
    assert_eq!(
        threads["threads"][0],
        json!({"source": "42", "name": "send", "cpu_ms": 3, "switches": 9, "state": "running"})
    );
    post(
        &state,
        "/statistics",
        &json!({"source": "client-1", "seq": 2, "gone": true}),
    );
    let snapshot = get(&state, "/v1/state");
    assert_eq!(snapshot["endpoints"], json!({}));
    let marks = snapshot["marks"].to_string();
    assert!(
        marks.contains("sender begins") && marks.contains("sender ends"),
        "{marks}"
    );
    let events = get(&state, "/v1/events?since=0");
    let of = |event: &Value| (event["event"].clone(), event["data"]["gone"].clone());
    let all: Vec<_> = events["events"].as_array().unwrap().iter().map(of).collect();
    assert!(all.contains(&(json!("endpoint"), json!(true))), "{all:?}");
}

#[test]
fn the_losses_of_the_original_are_rules_called_drop() {
    let state = state();
    post(&state, "/config", &json!({"client_server_drop": 5}));
    attach(&state, &json!([]));
    assert_eq!(rule_ids(&state), ["up.drop"]);
    post(
        &state,
        "/config",
        &json!({"client_server_drop": 0, "server_client_drop": 100}),
    );
    assert_eq!(rule_ids(&state), ["down.drop"]);
    let rule = get(&state, "/v1/proxies/main/rules/down.drop");
    assert_eq!((&rule["type"], &rule["pct"]), (&json!("loss"), &json!(100.0)));
    // And the other way round.
    let patched = ask(
        &state,
        Method::Patch,
        "/v1/proxies/main/rules/down.drop",
        "{\"pct\": 30}",
    );
    assert_eq!(patched.status, 200);
    assert_eq!(get(&state, "/config")["server_client_drop"], 30);
    ask(&state, Method::Delete, "/v1/proxies/main/rules/down.drop", "");
    assert_eq!(get(&state, "/config")["server_client_drop"], 0);
}

#[test]
fn rules_are_listed_added_changed_and_removed() {
    let state = state();
    let attached = attach(
        &state,
        &json!([{"name": "loss", "direction": "up", "type": "loss", "pct": 1}]),
    );
    assert_eq!((&attached["id"], &attached["adopted"]), (&json!("main"), &json!(true)));
    let proxy = get(&state, "/v1/proxies/main");
    assert_eq!(
        (&proxy["attached"], &proxy["listen"], &proxy["seed"]),
        (&json!(true), &json!("127.0.0.1:6000"), &json!(7))
    );
    let first = proxy["revision"].as_u64().unwrap();

    let added = post(
        &state,
        "/v1/proxies/main/rules",
        &json!({"type": "delay", "delay_ms": 20, "jitter_ms": 5}),
    );
    assert_eq!(added["rules"].as_array().unwrap().len(), 2);
    assert_eq!(rule_ids(&state), ["up.loss", "up.delay", "down.delay"]);
    let again = post(
        &state,
        "/v1/proxies/main/rules",
        &json!({"type": "delay", "delay_ms": 1, "direction": "down"}),
    );
    assert_eq!(again["rules"][0]["id"], "down.delay#2");
    refused(
        &state,
        Method::Post,
        "/v1/proxies/main/rules",
        "{\"type\": \"loss\", \"pct\": 1, \"name\": \"loss\"}",
        409,
        Some("name"),
    );

    let patched = ask(
        &state,
        Method::Patch,
        "/v1/proxies/main/rules/up.delay",
        "{\"jitter_ms\": null, \"delay_ms\": 40}",
    );
    assert_eq!(patched.value()["delay_ms"], 40.0);
    assert_eq!(patched.value()["jitter_ms"], 0.0);
    let next = post(
        &state,
        "/v1/proxies/main/rules",
        &json!({"name": "next", "type": "next", "n": 2, "direction": "up"}),
    );
    let armed = ask(&state, Method::Patch, "/v1/proxies/main/rules/up.next", "{\"n\": 2}").value();
    assert!(
        armed["version"].as_u64() > next["rules"][0]["version"].as_u64(),
        "armed again"
    );
    let kind = ask(
        &state,
        Method::Patch,
        "/v1/proxies/main/rules/up.next",
        "{\"type\": \"mtu\", \"bytes\": 1400}",
    )
    .value();
    assert_eq!(
        (&kind["type"], &kind["bytes"], &kind["n"]),
        (&json!("mtu"), &json!(1400), &Value::Null)
    );

    let removed = ask(&state, Method::Delete, "/v1/proxies/main/rules/down.delay%232", "");
    assert_eq!(removed.value(), json!({"removed": "down.delay#2"}));
    assert!(get(&state, "/v1/proxies/main")["revision"].as_u64().unwrap() > first);
    let preset = post(&state, "/v1/proxies/main/preset", &json!({"name": "lossy-5"}));
    assert!(preset["rules"].to_string().contains("\"pct\":5"), "{preset}");
    post(
        &state,
        "/v1/proxies/main/preset",
        &json!({"spec": "up: loss 2% burst 3 | down: blackhole"}),
    );
    assert_eq!(rule_ids(&state), ["up.gilbert", "down.blackhole"]);
    let whole = json!({"rules": [{"name": "a", "type": "loss", "pct": 3}, {"name": "b", "type": "blackhole", "direction": "up"}]});
    assert_eq!(
        ask(&state, Method::Patch, "/v1/proxies/main", &whole.to_string()).status,
        200
    );
    assert_eq!(rule_ids(&state), ["up.a", "up.b", "down.a"]);
    assert_eq!(ask(&state, Method::Delete, "/v1/proxies/main/rules", "").status, 200);
    assert!(rule_ids(&state).is_empty());
}

#[test]
fn rules_that_make_no_sense_are_refused_with_their_key() {
    let state = state();
    attach(
        &state,
        &json!([{"name": "loss", "direction": "up", "type": "loss", "pct": 1}]),
    );
    for (body, field) in [
        ("{}", Some("type")),
        ("{\"type\": \"lose\"}", Some("type")),
        ("{\"type\": \"loss\"}", Some("pct")),
        ("{\"type\": \"loss\", \"pct\": 101}", Some("pct")),
        ("{\"type\": \"loss\", \"pct\": \"5\"}", Some("pct")),
        ("{\"type\": \"loss\", \"pct\": 1, \"copies\": 2}", Some("copies")),
        ("{\"type\": \"loss\", \"pct\": 1, \"percent\": 2}", Some("percent")),
        (
            "{\"type\": \"loss\", \"pct\": 1, \"direction\": \"left\"}",
            Some("direction"),
        ),
        ("{\"type\": \"loss\", \"pct\": 1, \"name\": \"a/b\"}", Some("name")),
        ("{\"type\": \"loss\", \"pct\": 1, \"name\": \"\"}", Some("name")),
        ("{\"type\": \"trace\", \"file\": \"/etc/passwd\"}", Some("file")),
        ("[]", None),
    ] {
        refused(&state, Method::Post, "/v1/proxies/main/rules", body, 400, field);
    }
    let rule = "/v1/proxies/main/rules/up.loss";
    for (body, field) in [
        ("{\"id\": \"up.x\"}", "id"),
        ("{\"name\": \"x\"}", "name"),
        ("{\"direction\": \"down\"}", "direction"),
        ("{\"counters\": {}}", "counters"),
        ("{\"pct\": 200}", "pct"),
        ("{\"pct\": []}", "pct"),
        ("{\"burst\": 3}", "burst"),
        ("{\"type\": \"delay\"}", "delay_ms"),
    ] {
        refused(&state, Method::Patch, rule, body, 400, Some(field));
    }
    for (body, field) in [
        ("{\"name\": \"isdn\"}", "name"),
        ("{\"spec\": \"los 5%\"}", "spec"),
        ("{\"spec\": \"trace /etc/passwd\"}", "file"),
        ("{\"spec\": \"\", \"name\": \"lte\"}", "spec"),
        ("{}", "name"),
        ("{\"nam\": \"lte\"}", "nam"),
    ] {
        refused(&state, Method::Post, "/v1/proxies/main/preset", body, 400, Some(field));
    }
    refused(
        &state,
        Method::Patch,
        "/v1/proxies/main",
        "{\"rules\": 1}",
        400,
        Some("rules"),
    );
    refused(
        &state,
        Method::Patch,
        "/v1/proxies/main",
        "{\"rebind\": 1}",
        400,
        Some("rebind"),
    );
    refused(
        &state,
        Method::Patch,
        "/v1/proxies/main",
        "{\"rules\": [{\"type\": \"loss\", \"pct\": 1}]}",
        400,
        Some("name"),
    );
    refused(&state, Method::Get, "/v1/proxies/main/rules/up.none", "", 404, None);
    refused(
        &state,
        Method::Delete,
        "/v1/proxies/main/rules/sideways.loss",
        "",
        404,
        None,
    );
    refused(&state, Method::Get, "/v1/proxies/other", "", 404, None);
    refused(
        &state,
        Method::Post,
        "/v1/proxies/other/preset",
        "{\"name\": \"lte\"}",
        404,
        None,
    );
    refused(&state, Method::Delete, "/v1/proxies/main", "", 409, None);
    assert_eq!(rule_ids(&state), ["up.loss"]);
    assert_eq!(get(&state, rule)["pct"], 1.0);
}

#[test]
fn proxies_that_make_no_sense_are_refused() {
    let state = state();
    for (body, field) in [
        ("{\"id\": \"main\"}", "source"),
        ("{\"source\": \"p\", \"id\": \"\"}", "id"),
        ("{\"source\": \"p\", \"id\": \"a/b\"}", "id"),
        ("{\"source\": \"p\", \"id\": \"a\", \"port\": 1}", "port"),
        ("{\"source\": \"p\", \"id\": \"a\", \"seed\": -1}", "seed"),
        (
            "{\"source\": \"p\", \"id\": \"a\", \"rules\": [{\"type\": \"loss\", \"pct\": 1}]}",
            "direction",
        ),
        (
            "{\"source\": \"p\", \"id\": \"a\", \"rules\": [{\"type\": \"loss\", \"pct\": 1, \"direction\": \"up\"}]}",
            "name",
        ),
        (
            "{\"source\": \"p\", \"id\": \"a\", \"rules\": [{\"type\": \"loss\", \"pct\": 1, \"direction\": \"up\", \"name\": \"a/b\"}]}",
            "name",
        ),
    ] {
        refused(&state, Method::Post, "/v1/proxies", body, 400, Some(field));
    }
    let rule = json!({"name": "a", "direction": "up", "type": "loss", "pct": 1});
    let twice = json!({"source": "p", "id": "a", "rules": [rule, rule]}).to_string();
    refused(&state, Method::Post, "/v1/proxies", &twice, 409, Some("name"));
    attach(&state, &json!([]));
    let report = "/v1/proxies/main/report";
    refused(
        &state,
        Method::Post,
        report,
        "{\"source\": \"another\"}",
        404,
        Some("source"),
    );
    refused(
        &state,
        Method::Post,
        report,
        "{\"source\": \"p1\", \"clients\": -1}",
        400,
        Some("clients"),
    );
    refused(
        &state,
        Method::Post,
        report,
        "{\"source\": \"p1\", \"odd\": 1}",
        400,
        Some("odd"),
    );
    for packet in [
        json!({"direction": "left"}),
        json!({"direction": "up", "bytes": "*"}),
        json!({"direction": "up", "bytes": "AAAA", "size": 1}),
        json!({"direction": "up", "client": "x".repeat(65)}),
    ] {
        let body = json!({"source": "p1", "packets": [packet]}).to_string();
        refused(&state, Method::Post, report, &body, 400, Some("packets"));
    }
    assert_eq!(get(&state, "/v1/packets"), json!({"packets": []}));
    let link = json!({"packets_in": u64::MAX, "packets_out": u64::MAX});
    let most = json!({"source": "p1", "now_us": u64::MAX, "up": link, "down": link});
    post(&state, report, &most);
    post(&state, report, &most);
    let packet = json!({"at_us": u64::MAX, "direction": "up", "client": "1.2.3.4:5", "size": 3, "bytes": "AAAA"});
    post(&state, report, &json!({"source": "p1", "packets": [packet]}));
    assert_eq!(ask(&state, Method::Get, "/v1/capture.pcapng", "").status, 200);
}

#[test]
fn a_proxy_of_the_same_name_gets_another_and_one_that_comes_again_its_own() {
    let state = state();
    attach(
        &state,
        &json!([{"name": "loss", "direction": "up", "type": "loss", "pct": 1}]),
    );
    let other = json!({"id": "main", "source": "p2"});
    assert_eq!(post(&state, "/v1/proxies", &other)["id"], "main-2");
    ask(&state, Method::Delete, "/v1/proxies/main/rules", "");
    let again = attach(
        &state,
        &json!([{"name": "loss", "direction": "up", "type": "loss", "pct": 1}]),
    );
    assert_eq!((&again["id"], &again["adopted"]), (&json!("main"), &json!(false)));
    assert!(rule_ids(&state).is_empty(), "what is wanted counts, not what it had");
}

/// A report of a proxy with two packets, of which the second one was dropped.
fn report() -> Value {
    // The example of docs/protocol.md: ACK 7-8, and "hello" with the end of the stream.
    let plain = "IQECAwQFBgcIAAUCCEEsAAEPAAAFaGVsbG8dRvJ4";
    let secure = "QwECAwQFBgcIWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=";
    json!({
        "source": "p1", "now_us": 1_000_000, "clients": 1, "healthy": true, "health": "it keeps up",
        "up": {"packets_in": 10, "packets_out": 9, "dropped": 1, "dropped_by": {"loss": 1}},
        "down": {"packets_in": 3, "packets_out": 3},
        "rules": [{"id": "up.loss", "counters": {"seen": 10, "hit": 1, "dropped": 1},
                   "observations": [{"what": "loss %", "configured": 1, "observed": 10, "low": 1, "high": 40}]}],
        "packets": [
            {"at_us": 10_000, "left_us": 12_000, "direction": "up", "client": "127.0.0.1:4000", "size": 30, "bytes": plain,
             "verdict": "passed"},
            {"at_us": 20_000, "direction": "down", "client": "127.0.0.1:4000", "size": 32, "bytes": secure,
             "verdict": "dropped", "rule": "loss"},
        ],
        "missed": 11, "pid": 7,
        "threads": [{"name": "proxy-up", "cpu_ms": 1, "state": "waiting"}],
    })
}

#[test]
fn a_report_is_counted_once_and_its_packets_can_be_looked_at() {
    let state = state();
    attach(
        &state,
        &json!([{"name": "loss", "direction": "up", "type": "loss", "pct": 1}]),
    );
    for _ in 0..2 {
        post(&state, "/v1/proxies/main/report", &report());
    }
    let sample = get(&state, "/statistics")["sample"].clone();
    assert_eq!((&sample["proxy_sent"], &sample["proxy_recv"]), (&json!(12), &json!(13)));
    let proxy = get(&state, "/v1/proxies/main");
    assert_eq!(proxy["up"]["dropped_by"], json!({"loss": 1}));
    assert_eq!(proxy["rules"][0]["counters"]["seen"], 10);
    assert_eq!(proxy["rules"][0]["observations"][0]["high"], 40.0);

    let packets = get(&state, "/v1/packets?since=0&limit=2");
    let (plain, secure) = (&packets["packets"][0], &packets["packets"][1]);
    assert_eq!(
        (&plain["type"], &plain["number"], &plain["offset"]),
        (&json!("1-RTT"), &json!(5), &json!(0))
    );
    assert_eq!(
        (&plain["frames"], &plain["acked"]),
        (&json!("ACK STREAM"), &json!([[7, 8]]))
    );
    assert_eq!(
        (&secure["mode"], &secure["number"], &secure["verdict"]),
        (&json!("secure"), &Value::Null, &json!("dropped"))
    );
    assert!(plain["left_ms"].as_f64().unwrap() - plain["t_ms"].as_f64().unwrap() - 2.0 < 0.002);
    let id = plain["id"].as_u64().unwrap();
    let whole = get(&state, &format!("/v1/packets/{id}"));
    assert!(
        whole["decoded"].to_string().contains("STREAM offset 0, 5 bytes"),
        "{whole}"
    );
    assert_eq!(whole["hex"].as_str().unwrap().len(), 60);
    assert_eq!(whole["unseen"], json!([]));
    let sealed = get(&state, &format!("/v1/packets/{}", id + 1));
    assert!(sealed["unseen"].as_array().unwrap().len() > 2, "{sealed}");
    refused(&state, Method::Get, "/v1/packets/99", "", 404, None);
    refused(&state, Method::Get, "/v1/packets/x", "", 404, None);
    refused(&state, Method::Get, "/v1/packets?limit=x", "", 400, Some("limit"));
    let events = get(&state, "/v1/events?since=0");
    let of_packets = |event: &&Value| event["event"] == "packets";
    let event = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(of_packets)
        .unwrap()
        .clone();
    assert_eq!(
        (&event["data"]["missed"], &event["data"]["packets"][1]["rule"]),
        (&json!(11), &json!("loss"))
    );
}

#[test]
fn what_was_seen_can_be_taken_away_in_three_forms() {
    let state = state();
    attach(
        &state,
        &json!([{"name": "loss", "direction": "down", "type": "loss", "pct": 1}]),
    );
    post(&state, "/v1/proxies/main/report", &report());
    let body = |target: &str| match ask(&state, Method::Get, target, "").body {
        Body::Whole(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    let capture = body("/v1/capture.pcapng");
    let mut inspector = crate::proxy::inspect::Inspector::new(&capture[..]);
    let mut lines = Vec::new();
    while let Some(line) = inspector.next_line().unwrap() {
        lines.push(line.to_string());
    }
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].contains("client side") && lines[0].contains("STREAM 0+5 FIN"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("server side") && lines[1].contains("127.0.0.1:7000"),
        "{lines:?}"
    );
    assert!(lines[2].contains("dropped by loss"), "{lines:?}");
    refused(&state, Method::Get, "/v1/capture.pcapng?proxy=x", "", 404, None);

    let trace = String::from_utf8(body("/v1/trace.sqlog")).unwrap();
    let records: Vec<Value> = trace
        .split('\u{1e}')
        .skip(1)
        .map(|record| serde_json::from_str(record).unwrap())
        .collect();
    assert_eq!(
        (&records[0]["qlog_version"], &records[0]["qlog_format"]),
        (&json!("0.3"), &json!("JSON-SEQ"))
    );
    assert_eq!(records[0]["trace"]["vantage_point"]["type"], "network");
    let names: Vec<_> = records[1..]
        .iter()
        .map(|record| record["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "transport:packet_sent",
            "transport:packet_received",
            "transport:packet_dropped"
        ]
    );

    let metrics = String::from_utf8(body("/metrics")).unwrap();
    for line in [
        "securestream_packets_total{counter=\"proxy_recv\"} 13",
        "securestream_proxy_packets_in_total{proxy=\"main\",direction=\"up\"} 10",
        "securestream_rule_packets_total{proxy=\"main\",rule=\"down.loss\",what=\"seen\"} 0",
    ] {
        assert!(metrics.lines().any(|known| known == line), "no {line} in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn a_reset_zeroes_what_was_counted_and_keeps_the_rules() {
    let state = state();
    attach(
        &state,
        &json!([{"name": "loss", "direction": "up", "type": "loss", "pct": 1}]),
    );
    post(&state, "/v1/proxies/main/report", &report());
    let last = get(&state, "/v1/packets")["packets"][1]["id"].as_u64().unwrap();
    assert_eq!(ask(&state, Method::Post, "/v1/reset", "").status, 200);
    assert_eq!(get(&state, "/statistics")["sample"]["proxy_recv"], 0);
    assert_eq!(get(&state, "/v1/packets"), json!({"packets": []}));
    assert_eq!(get(&state, "/v1/history")["marks"].as_array().unwrap().len(), 1);
    assert_eq!(rule_ids(&state), ["up.loss"]);
    post(&state, "/v1/proxies/main/report", &report());
    assert!(
        get(&state, "/v1/packets")["packets"][0]["id"].as_u64().unwrap() > last,
        "numbers go on"
    );
    assert_eq!(
        get(&state, "/statistics")["sample"]["proxy_recv"],
        0,
        "and nothing counts twice"
    );
}

#[test]
fn scenarios_are_played_on_attached_proxies() {
    let state = state();
    refused(&state, Method::Post, "/v1/scenario", "{\"name\": \"five\"}", 409, None);
    attach(&state, &json!([]));
    for (body, field) in [
        ("{}", "name"),
        ("{\"name\": \"six\"}", "name"),
        ("{\"toml\": \"proxy\"}", "toml"),
        ("{\"toml\": \"[[proxy]]\\nimpair = 'trace x'\"}", "toml"),
        ("{\"tom\": \"x\"}", "tom"),
        ("{\"name\": 5}", "name"),
    ] {
        refused(&state, Method::Post, "/v1/scenario", body, 400, Some(field));
    }
    let playing = post(&state, "/v1/scenario", &json!({"name": "five"}));
    assert_eq!(playing["running"]["name"], "five");
    assert_eq!(playing["canned"][0]["command"], "stream-lab run five");
    assert_eq!(get(&state, "/v1/proxies/main/rules/up.loss")["pct"], 5.0);
    let start = crate::control::clock::now();
    crate::control::player::advance(&state, start);
    assert_eq!(get(&state, "/v1/proxies/main/rules/up.loss")["pct"], 7.0);
    crate::control::player::advance(&state, start + std::time::Duration::from_secs(1));
    let over = get(&state, "/v1/scenario");
    assert_eq!(over["running"], Value::Null);
    assert_eq!(over["last"], json!({"name": "five", "passed": true, "failures": []}));
    post(
        &state,
        "/v1/scenario",
        &json!({"toml": SCENARIO.replace("min = 0", "min = 9"), "name": "mine"}),
    );
    crate::control::player::advance(&state, start + std::time::Duration::from_secs(9));
    let last = get(&state, "/v1/scenario")["last"].clone();
    assert_eq!((&last["name"], &last["passed"]), (&json!("mine"), &json!(false)));
    let of_lab = SCENARIO.replace("up.received_pkts", "lab.seconds");
    post(&state, "/v1/scenario", &json!({"toml": of_lab, "name": "lab"}));
    crate::control::player::advance(&state, start + std::time::Duration::from_secs(19));
    let last = get(&state, "/v1/scenario")["last"].clone();
    assert_eq!(last, json!({"name": "lab", "passed": null, "failures": []}));
    post(&state, "/v1/scenario", &json!({"name": "five"}));
    assert_eq!(
        ask(&state, Method::Delete, "/v1/scenario", "").value()["running"],
        Value::Null
    );
}

#[test]
fn no_way_leads_to_more_rules_than_a_proxy_may_have() {
    let state = state();
    attach(&state, &json!([]));
    let many = format!("up: {}", vec!["loss 1%"; 129].join("; "));
    let preset = json!({"spec": many}).to_string();
    refused(&state, Method::Post, "/v1/proxies/main/preset", &preset, 409, None);
    let toml = format!("[[proxy]]\nimpair = \"\"\n[[step]]\nat_ms = 0\nimpair = \"{many}\"\n");
    let step = json!({"toml": toml}).to_string();
    refused(&state, Method::Post, "/v1/scenario", &step, 409, None);
    let rule = json!({"name": "a", "type": "loss", "pct": 1});
    let rules = json!({"rules": vec![rule; 129]}).to_string();
    refused(&state, Method::Patch, "/v1/proxies/main", &rules, 409, None);
    assert!(rule_ids(&state).is_empty());
}

#[test]
fn a_scenario_that_cannot_begin_changes_nothing_and_one_that_begins_tells_of_the_settings() {
    let state = state();
    attach(&state, &json!([]));
    post(&state, "/v1/proxies", &json!({"id": "other", "source": "p2"}));
    post(&state, "/config", &json!({"client_server_drop": 5}));
    let two = |second: &str| {
        let plan = |proxy: &str, rule: &str| {
            format!(
                "[[proxy]]\nname = \"{proxy}\"\n[[proxy.rule]]\nname = \"{rule}\"\ndirection = \"up\"\ntype = \"loss\"\npct = 7\n"
            )
        };
        plan("main", "drop") + &plan("other", second)
    };
    let wrong = json!({"toml": two("a/b")}).to_string();
    refused(&state, Method::Post, "/v1/scenario", &wrong, 400, None);
    assert_eq!(get(&state, "/v1/proxies/main/rules/up.drop")["pct"], 5.0);
    let before = get(&state, "/v1/events?since=0")["next"].clone();
    post(&state, "/v1/scenario", &json!({"toml": two("drop")}));
    assert_eq!(get(&state, "/v1/proxies/main/rules/up.drop")["pct"], 7.0);
    let events = get(&state, &format!("/v1/events?since={before}"));
    let mut all = events["events"].as_array().unwrap().iter();
    let config = all.rfind(|event| event["event"] == "config").unwrap();
    assert_eq!(config["data"]["client_server_drop"], 7);
}

#[test]
fn a_setting_that_stays_leaves_the_rules_of_each_proxy_alone() {
    let state = state();
    attach(
        &state,
        &json!([{"name": "drop", "direction": "up", "type": "loss", "pct": 1, "match": {"min_bytes": 100}}]),
    );
    let blackhole =
        json!({"id": "other", "source": "p2", "rules": [{"name": "drop", "direction": "up", "type": "blackhole"}]});
    post(&state, "/v1/proxies", &blackhole);
    let both = || ["main", "other"].map(|id| get(&state, &format!("/v1/proxies/{id}/rules/up.drop")));
    let before = both();
    post(&state, "/config", &json!({"recv_delay": 1, "server_client_drop": 3}));
    assert_eq!(both(), before);
    post(&state, "/config", &json!({"client_server_drop": 9}));
    let [main, other] = both();
    assert_eq!((&main["pct"], &main["match"]), (&json!(9.0), &before[0]["match"]));
    assert!(main["match"].is_object() && other == before[1]);
}

#[test]
fn a_proxy_that_is_forgotten_is_told_of() {
    let state = state();
    attach(&state, &json!([]));
    post(
        &state,
        "/v1/proxies/main/report",
        &json!({"source": "p1", "gone": true}),
    );
    assert_eq!(ask(&state, Method::Delete, "/v1/proxies/main", "").status, 200);
    let events = get(&state, "/v1/events?since=0");
    let told = json!({"proxy": {"id": "main", "gone": true}});
    assert!(
        events["events"]
            .as_array()
            .unwrap()
            .iter()
            .any(|event| event["data"] == told)
    );
}

#[test]
fn every_path_has_its_methods_and_no_others() {
    let state = state();
    attach(
        &state,
        &json!([{"name": "loss", "direction": "up", "type": "loss", "pct": 1}]),
    );
    for (path, allowed) in [
        ("/config", "GET, POST"),
        ("/statistics", "GET, POST, DELETE"),
        ("/v1/state", "GET"),
        ("/v1/history", "GET"),
        ("/v1/events", "GET"),
        ("/v1/proxies", "GET, POST"),
        ("/v1/proxies/main", "GET, PATCH, DELETE"),
        ("/v1/proxies/main/report", "POST"),
        ("/v1/proxies/main/preset", "POST"),
        ("/v1/proxies/main/rules", "GET, POST, DELETE"),
        ("/v1/proxies/main/rules/up.loss", "GET, PATCH, DELETE"),
        ("/v1/presets", "GET"),
        ("/v1/scenario", "GET, POST, DELETE"),
        ("/v1/packets", "GET"),
        ("/v1/packets/1", "GET"),
        ("/v1/capture.pcapng", "GET"),
        ("/v1/trace.sqlog", "GET"),
        ("/v1/threads", "GET"),
        ("/v1/health", "GET"),
        ("/v1/reset", "POST"),
        ("/metrics", "GET"),
        ("/app.js", "GET"),
    ] {
        for method in [Method::Get, Method::Post, Method::Patch, Method::Delete, Method::Other] {
            let response = ask(&state, method, path, "");
            let is_allowed = allowed.split(", ").any(|word| word == method.word());
            if is_allowed {
                assert!(
                    !matches!(response.status, 404 | 405) || path.ends_with("/1"),
                    "{method:?} {path}"
                );
            } else {
                assert_eq!(response.status, 405, "{method:?} {path}");
                assert_eq!(response.headers, [("Allow", allowed.to_owned())], "{path}");
                assert!(response.value()["error"].as_str().unwrap().contains(allowed), "{path}");
            }
            // Rules come back for the next one.
            if path.ends_with("up.loss") && method == Method::Delete {
                post(
                    &state,
                    "/v1/proxies/main/rules",
                    &json!({"name": "loss", "type": "loss", "pct": 1, "direction": "up"}),
                );
            }
            if path.ends_with("/rules") && method == Method::Delete {
                post(
                    &state,
                    "/v1/proxies/main/rules",
                    &json!({"name": "loss", "type": "loss", "pct": 1, "direction": "up"}),
                );
            }
        }
    }
    for path in [
        "/nothing",
        "/v1",
        "/v1/",
        "/config/",
        "//",
        "/v1/proxies/",
        "/v1/proxies//rules",
        "/../config",
    ] {
        refused(&state, Method::Get, path, "", 404, None);
    }
    let page = ask(&state, Method::Post, "/", "");
    assert_eq!((page.status, page.content_type), (200, "text/html; charset=utf-8"));
}

#[test]
fn a_large_body_is_refused_before_it_is_read() {
    let state = state();
    let body = format!("{{\"client_sent\": {}1}}", " ".repeat(MAX_BODY_BYTES));
    refused(&state, Method::Post, "/statistics", &body, 413, None);
}

#[test]
fn events_are_told_by_a_stream_and_by_polls_alike() {
    let state = state();
    post(&state, "/config", &json!({"recv_delay": 1}));
    let polled = get(&state, "/v1/events?since=0&wait=0");
    assert_eq!(polled["events"][0]["event"], "config");
    let next = polled["next"].as_u64().unwrap();
    assert_eq!(get(&state, &format!("/v1/events?since={next}"))["events"], json!([]));
    let streams: Vec<_> = (0..17).map(|_| ask(&state, Method::Get, "/v1/events", "")).collect();
    assert!(matches!(streams[0].body, Body::Events(_)));
    assert_eq!((streams[15].status, streams[16].status), (200, 503));
    assert!(streams[16].value()["error"].as_str().unwrap().contains("16"));
    let request = Request::new(Method::Get, "/v1/events")
        .with_header("Host", "localhost")
        .with_header("Accept", "application/json");
    assert_eq!(answer(&state, request).value()["events"], json!([]));
}

#[test]
fn a_long_poll_ends_when_something_changes() {
    let state = state();
    attach(&state, &json!([]));
    let revision = get(&state, "/config")["revision"].as_u64().unwrap();
    let of_rules = get(&state, "/v1/proxies/main")["revision"].as_u64().unwrap();
    std::thread::scope(|scope| {
        let config = scope.spawn(|| get(&state, &format!("/config?since={revision}&wait=25")));
        let rules = scope.spawn(|| get(&state, &format!("/v1/proxies/main?since={of_rules}&wait=25")));
        post(&state, "/config", &json!({"client_server_drop": 3}));
        assert_eq!(config.join().unwrap()["client_server_drop"], 3);
        assert_eq!(rules.join().unwrap()["rules"][0]["id"], "up.drop");
    });
    // From before a restart, or from another controller: told at once.
    assert!(get(&state, "/config?since=1&wait=25")["revision"].is_u64());
}
