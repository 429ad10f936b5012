//! `stream-lab --gui`: the page is there, something passes that can be watched and steered, and Ctrl-C is a good end.

use super::tool::Tool;
use securestream::control::{Address, Client};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);

fn lab(args: &[&str]) -> (Tool, Client) {
    let mut lab = Tool::start("stream-lab", [&["--gui", "--port", "0"][..], args].concat());
    let line = lab.line("page ");
    let url = line.rsplit_once("page ").unwrap().1.trim().to_owned();
    let address: Address = url.parse().unwrap();
    (lab, Client::patient(&address, WATCHDOG))
}

/// Asks until it is so.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a watchdog over a real program")]
fn until(what: &str, client: &Client, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let value = client.get(path).unwrap();
        if is_so(&value) {
            return value;
        }
        assert!(start.elapsed() < WATCHDOG, "{what}: {value}");
    }
}

fn count(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

#[test]
fn all_parts_are_attached_rules_can_be_set_and_a_signal_ends_it_well() {
    for mode in [&["--plain"][..], &["--classic", "--timeout", "100ms"]] {
        let (lab, client) = lab(&[mode, &["--seed", "1"]].concat());
        until("packets pass", &client, "/v1/state", |state| {
            let sample = |name: &str| count(state, &format!("/statistics/sample/{name}"));
            sample("client_sent") > 20 && sample("proxy_recv") > 20 && sample("server_recv") > 20
        });
        let state = client.get("/v1/state").unwrap();
        assert_eq!(state["proxies"][0]["id"], "lab", "{state}");
        assert_eq!(state["proxies"][0]["attached"], true, "{state}");
        let names: Vec<_> = state["proxies"][0]["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["id"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"up.delay") && names.contains(&"up.rate"), "{names:?}");
        // What a slider does.
        let rule = json!({"name": "drop", "type": "loss", "pct": 30, "direction": "up"});
        client.post("/v1/proxies/lab/rules", &rule).unwrap();
        until("some are lost", &client, "/v1/proxies/lab", |proxy| {
            count(proxy, "/up/dropped_by/drop") > 0
        });
        // The scenarios of the lab are there to be played.
        let scenario = client.get("/v1/scenario").unwrap();
        assert_eq!(scenario["canned"].as_array().unwrap().len(), 15, "{scenario}");
        lab.signal("INT");
        lab.end().assert_code(0);
    }
}

#[test]
fn one_transfer_follows_the_other() {
    let (lab, client) = lab(&["--plain", "--tcp", "--size", "100000", "--loss", "1"]);
    // Each is a client of the proxy: it takes several to send that much.
    until("several were sent", &client, "/v1/state", |state| {
        count(state, "/proxies/0/up/bytes_in") > 500_000
    });
    lab.signal("TERM");
    lab.end().assert_code(0);
}

#[test]
fn what_makes_no_sense_is_said() {
    for (args, words) in [
        (&["--gui", "--json"][..], "exclude each other"),
        (&["--port", "0"], "add --gui"),
        (&["--gui", "--port", "x"], "--port"),
    ] {
        let ended = Tool::run("stream-lab", args);
        ended.assert_code(2);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = Tool::run("stream-lab", ["--gui", "--port", &port]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("--port chooses another"), "{}", ended.stderr);
}
