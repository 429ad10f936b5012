//! `stream-controller` and `stream-ctl`, with the other tools attached.

use super::tool::{Ended, Tool, WATCHDOG};
use serde_json::Value;
use std::fs;
use std::time::Instant;

/// A controller on a free port, and its address.
fn controller(args: &[&str]) -> (Tool, String) {
    let mut controller = Tool::start("stream-controller", [&["--port", "0"][..], args].concat());
    let port = controller.port();
    (controller, format!("http://127.0.0.1:{port}"))
}

fn ctl(address: &str, words: &[&str]) -> Ended {
    Tool::run("stream-ctl", [words, &["--controller", address]].concat())
}

#[track_caller]
fn said(address: &str, words: &[&str]) -> String {
    let ended = ctl(address, words);
    ended.assert_code(0);
    String::from_utf8(ended.stdout).unwrap()
}

#[track_caller]
fn json(address: &str, words: &[&str]) -> Value {
    serde_json::from_str(&said(address, &[words, &["--json"]].concat())).unwrap()
}

/// Asks until it is so.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a watchdog over real programs")]
fn until(address: &str, words: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let value = json(address, words);
        if is_so(&value) {
            return value;
        }
        assert!(start.elapsed() < WATCHDOG, "{words:?} never came to that: {value}");
    }
}

fn count(value: &Value, name: &str) -> u64 {
    value["sample"][name].as_u64().unwrap()
}

#[test]
fn a_lesson_is_watched_and_steered() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let payload: Vec<u8> = (0..200_000_u32).map(|byte| (byte / 7) as u8).collect();
    fs::write(&from, &payload).unwrap();
    let (controller, address) = controller(&[]);
    for mode in [
        &["--plain", "--udp"][..],
        &["--udp"],
        &["--classic", "--udp", "--timeout", "200ms"],
        &["--plain"],
    ] {
        let told = [mode, &["--controller", &address]].concat();
        let output = ["--port", "0", "--bind", "127.0.0.1", "--output", to.to_str().unwrap()];
        let idle = if mode.contains(&"--classic") {
            &["--idle-timeout", "3s"][..]
        } else {
            &[]
        };
        let mut receiver = Tool::start("stream-receiver", [&output[..], &told, idle].concat());
        let target = receiver.port();
        let carrier: &[&str] = if mode.contains(&"--udp") { &["--udp"] } else { &[] };
        let listening = [
            "--proxy-port",
            "0",
            "--bind",
            "127.0.0.1",
            "--target-port",
            &target,
            "--controller",
            &address,
        ];
        let mut proxy = Tool::start("stream-proxy", [&listening[..], carrier].concat());
        let port = proxy.port();
        until(&address, &["status"], |state| {
            let proxies = state["proxies"].as_array().unwrap();
            proxies.iter().filter(|proxy| proxy["attached"] == true).count() == 1
        });
        ctl(&address, &["reset"]).assert_code(0);
        let file = ["--target-port", &port, "--file", from.to_str().unwrap()];
        Tool::start("stream-sender", [&file[..], &told].concat())
            .end()
            .assert_code(0);
        receiver.end().assert_code(0);
        assert!(fs::read(&to).unwrap() == payload, "{mode:?}");
        let counts = until(&address, &["stats"], |counts| {
            count(counts, "proxy_recv") >= count(counts, "client_sent") && count(counts, "server_sent") > 0
        });
        assert!(
            count(&counts, "client_sent") > 5 && count(&counts, "server_recv") > 5,
            "{mode:?}: {counts}"
        );
        proxy.signal("TERM");
        proxy.end().assert_code(143);
        until(&address, &["status"], |state| {
            let proxies = state["proxies"].as_array().unwrap();
            proxies.iter().all(|proxy| proxy["attached"] == false)
        });
    }
    let capture = place.path().join("lesson.pcapng");
    let ended = ctl(&address, &["capture", capture.to_str().unwrap()]);
    ended.assert_code(0);
    let shown = Tool::run("stream-proxy", ["inspect", capture.to_str().unwrap()]);
    shown.assert_code(0);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("client side"));
    controller.signal("TERM");
    controller.end().assert_code(143);
}

#[test]
fn rules_are_set_from_the_command_line() {
    let (_controller, address) = controller(&[]);
    let listening = [
        "--proxy-port",
        "0",
        "--bind",
        "127.0.0.1",
        "--udp",
        "--controller",
        &address,
    ];
    let mut proxy = Tool::start("stream-proxy", listening);
    proxy.port();
    until(&address, &["status"], |state| {
        state["proxies"].as_array().is_some_and(|all| !all.is_empty())
    });
    let text = said(&address, &["rule", "add", "up: loss 5% | delay 40ms 5ms"]);
    for line in [
        "up.loss          loss 5%",
        "up.delay         delay 40ms 5ms",
        "down.delay",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    assert!(said(&address, &["rule", "set", "up.loss", "pct=20"]).contains("loss 20%"));
    assert!(said(&address, &["rule", "set", "up.delay", "delay 1s"]).contains("delay 1s"));
    assert!(said(&address, &["rule", "rm", "down.delay"]).contains("removed"));
    assert!(said(&address, &["rule", "add", "blackhole", "--name", "hole"]).contains("down.hole"));
    assert!(said(&address, &["status"]).contains("proxy main: 127.0.0.1:"));
    assert!(said(&address, &["preset", "lossy-5"]).contains("loss 5%"));
    assert!(said(&address, &["config", "client_server_drop=7"]).contains("client_server_drop 7 %"));
    ctl(&address, &["cut", "up"]).assert_code(0);
    assert_eq!(
        json(&address, &["status"])["proxies"][0]["rules"]
            .to_string()
            .matches("blackhole")
            .count(),
        1
    );
    ctl(&address, &["cut", "off"]).assert_code(0);
    ctl(&address, &["cut", "--for", "50ms"]).assert_code(0);
    assert!(
        !json(&address, &["status"])["proxies"][0]["rules"]
            .to_string()
            .contains("blackhole")
    );
    for (words, code, part) in [
        (
            &["rule", "rm", "up.nothing"][..],
            1,
            "no rule of that proxy is called so",
        ),
        (&["rule", "set", "up.drop", "pct=200"], 1, "no percentage"),
        (&["rule", "add", "los 5%"], 2, "\"los\""),
        (&["preset", "isdn"], 2, "no preset"),
        (&["config", "x=1"], 1, "is no setting"),
        (&["scenario", "play", "nothing"], 1, "no scenario of this controller"),
        (&["scenario", "play", "/nonexistent.toml"], 1, "cannot read"),
        (&["cut", "left"], 2, "up, down, both or off"),
        (&["dance"], 2, "no command"),
        (&[], 2, "a command is missing"),
        (&["status", "--proxy", "x", "--name", "y"], 2, "--name is for rule add"),
        (
            &["rule", "rm", "up.drop", "--proxy", "other"],
            1,
            "no proxy is called so",
        ),
    ] {
        let ended = ctl(&address, words);
        ended.assert_code(code);
        assert!(ended.stderr.contains(part), "{words:?}: {}", ended.stderr);
    }
    let scenario = "[[proxy]]\nimpair = \"loss 1%\"\n[[step]]\nat_ms = 10\nimpair = \"loss 2%\"\n[expect]\n\
                    \"up.received_pkts\" = { min = 0 }\n";
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("lesson.toml");
    fs::write(&file, scenario).unwrap();
    ctl(&address, &["scenario", "play", file.to_str().unwrap()]).assert_code(0);
    until(&address, &["scenario"], |scenario| scenario["last"]["passed"] == true);
    assert!(said(&address, &["scenario"]).contains("as expected"));
}

#[test]
fn a_controller_says_what_is_wrong_with_its_options() {
    for (args, code, part) in [
        (&["--bind", "0.0.0.0"][..], 2, "needs --token"),
        (&["--bind", "nonsense"], 2, "--bind takes an address"),
        (&["--token", "a b", "--port", "0"], 2, "letters, digits"),
        (&["--port", "65536"], 2, "a port is a number"),
    ] {
        let ended = Tool::run("stream-controller", args);
        ended.assert_code(code);
        assert!(ended.stderr.contains(part), "{args:?}: {}", ended.stderr);
    }
    let (first, address) = controller(&["--token", "s3cret", "--allow-host", "lab.example"]);
    let (_, port) = address.rsplit_once(':').unwrap();
    let second = Tool::run("stream-controller", ["--port", port]);
    second.assert_code(1);
    assert!(
        second.stderr.contains(&format!("cannot listen on port {port}")),
        "{}",
        second.stderr
    );
    let ended = ctl(&address, &["status"]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("token"), "{}", ended.stderr);
    ctl(&address, &["status", "--token", "s3cret"]).assert_code(0);
    ctl(&format!("{address}/?token=s3cret"), &["status"]).assert_code(0);
    first.signal("INT");
    first.end().assert_code(130);
    let ended = ctl(&address, &["status"]);
    ended.assert_code(4);
    assert!(
        ended.stderr.contains("is stream-controller running there?"),
        "{}",
        ended.stderr
    );
    let ended = ctl("ftp://x", &["status"]);
    ended.assert_code(2);
}

#[test]
fn watching_goes_on_until_a_signal() {
    let (_controller, address) = controller(&[]);
    let mut watch = Tool::start("stream-ctl", ["watch", "--json", "--controller", &address]);
    let first = watch.output(20);
    assert!(first.starts_with(b"{"));
    watch.signal("TERM");
    watch.end().assert_code(143);
}

#[test]
fn a_controller_that_is_not_there_changes_nothing() {
    let (mut receiver, port) = Tool::receiver(&["--controller", "http://127.0.0.1:9"]);
    Tool::sender(&port, &["--controller", "http://127.0.0.1:9", "--file", "README.md"])
        .end()
        .assert_code(0);
    let copy = receiver.output(fs::read("README.md").unwrap().len());
    assert!(copy == fs::read("README.md").unwrap());
    receiver.end().assert_code(0);
}

#[test]
fn help_completions_and_manual_pages_are_there() {
    for (tool, words) in [
        (
            "stream-controller",
            &["--allow-host", "--token", "--bind", "--port"][..],
        ),
        ("stream-ctl", &["--proxy", "--for", "--json", "rule add", "scenario"]),
    ] {
        let ended = Tool::run(tool, ["--help"]);
        ended.assert_code(0);
        let text = String::from_utf8(ended.stdout).unwrap();
        for word in words {
            assert!(text.contains(word), "{tool}: no {word} in {text}");
        }
        for shape in ["bash", "zsh", "fish", "man"] {
            let ended = Tool::run(tool, ["--generate", shape]);
            ended.assert_code(0);
            assert!(
                String::from_utf8(ended.stdout)
                    .unwrap()
                    .replace("\\-", "-")
                    .contains(tool),
                "{shape}"
            );
        }
        let ended = Tool::run(tool, ["--version"]);
        assert_eq!(
            String::from_utf8(ended.stdout).unwrap(),
            format!("{tool} {}\n", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn a_controller_that_is_killed_and_started_anew_has_the_whole_count() {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("to");
    let (mut killed, address) = controller(&[]);
    let (_, port) = address.rsplit_once(':').unwrap();
    // Told by the environment, as the other tools of a lesson may be.
    let env = [("STREAM_CONTROLLER", address.as_str())];
    let common = ["--plain", "--udp", "--json"];
    let output = ["--port", "0", "--bind", "127.0.0.1", "--output", to.to_str().unwrap()];
    let mut receiver = Tool::start_with("stream-receiver", [&output[..], &common].concat(), &env);
    let target = receiver.port();
    let mut sender = Tool::start_with(
        "stream-sender",
        [&["--target-port", &target][..], &common].concat(),
        &env,
    );
    let part: Vec<u8> = (0..100_000_u32).map(|byte| (byte / 3) as u8).collect();
    sender.input(&part);
    until(&address, &["stats"], |counts| {
        count(counts, "client_sent") > 20 && count(counts, "server_recv") > 20
    });
    killed.signal("KILL");
    drop(killed.stdin.take());
    assert_eq!(killed.end().code, None);
    // Nobody is told, and nobody minds.
    sender.input(&part);
    let mut again = Tool::start("stream-controller", ["--port", port]);
    // Who ends has a second to tell, and not the time that a controller takes to start on a busy machine, or that it takes
    // to find one again.
    again.line("listening on");
    sender.input(&part);
    until(&address, &["stats"], |counts| {
        count(counts, "client_sent") > 20 && count(counts, "server_recv") > 20
    });
    let sent = super::json::object(&sender.end());
    let received = super::json::object(&receiver.end());
    assert_eq!(fs::read(&to).unwrap().len(), 3 * part.len());
    let near = |counted: u64, told: &Value| {
        let told = told.as_u64().unwrap();
        // A last acknowledgement may come between the last look and the end.
        counted <= told && counted + 5 >= told
    };
    until(&address, &["stats"], |counts| {
        near(count(counts, "client_sent"), &sent["packets_sent"])
            && near(count(counts, "client_recv"), &sent["packets_received"])
            && near(count(counts, "server_sent"), &received["packets_sent"])
            && near(count(counts, "server_recv"), &received["packets_received"])
    });
}
