//! `stream-proxy` as people use it: between the other tools, with good and bad command lines, files and signals.

use super::json::{assert_documented, object};
use super::tool::{Ended, Tool};
use std::fs;
use std::path::Path;

/// A proxy on a free port of 127.0.0.1 to that port, and its own.
fn proxy(target: &str, args: &[&str]) -> (Tool, String) {
    let mut all = vec!["--proxy-port", "0", "--bind", "127.0.0.1", "--target-port", target];
    all.extend(args);
    let mut proxy = Tool::start("stream-proxy", all);
    let port = proxy.port();
    (proxy, port)
}

/// Sends `bytes` through a proxy and says how all three ended.
fn transfer(bytes: usize, mode: &[&str], carrier: &[&str], args: &[&str]) -> Ended {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let payload: Vec<u8> = (0..bytes).map(|byte| (byte / 5) as u8).collect();
    fs::write(&from, &payload).unwrap();
    let output = ["--port", "0", "--bind", "127.0.0.1", "--output", to.to_str().unwrap()];
    let mut receiver = Tool::start("stream-receiver", [&output[..], mode, carrier].concat());
    let target = receiver.port();
    let (proxy, port) = proxy(&target, &[carrier, args].concat());
    let file = ["--target-port", &port, "--file", from.to_str().unwrap()];
    Tool::start("stream-sender", [&file[..], mode, carrier].concat())
        .end()
        .assert_code(0);
    receiver.end().assert_code(0);
    assert!(fs::read(&to).unwrap() == payload);
    proxy.signal("TERM");
    let ended = proxy.end();
    ended.assert_code(143);
    ended
}

#[test]
fn a_file_goes_through_a_bad_network_in_every_mode_and_on_every_carrier() {
    let classic = ["--classic", "--timeout", "100ms", "--idle-timeout", "3s"];
    for mode in [&["--plain"][..], &[], &classic] {
        for carrier in [&["--udp"][..], &[]] {
            let bytes = if mode == classic { 100_000 } else { 500_000 };
            let ended = transfer(bytes, mode, carrier, &["--impair", "loss 5%", "--seed", "7"]);
            let text = ended.stderr;
            assert!(text.contains("up   loss 5%") && text.contains("down loss 5%"), "{text}");
            assert!(text.contains("emulator healthy"), "{text}");
            assert!(!text.contains("drawn"), "{text}");
        }
    }
}

#[test]
fn a_drawn_seed_is_told_and_numbers_come_as_json() {
    let ended = transfer(200_000, &["--plain"], &["--udp"], &["--preset", "lossy-5", "--json"]);
    let object = object(&ended);
    assert!(
        ended.stderr.contains(&format!("--seed {} repeats", object["seed"])),
        "{}",
        ended.stderr
    );
    assert_documented(&object);
    let up = &object["proxies"][0]["up"];
    assert!(up["packets_dropped"].as_u64() > Some(0), "{object}");
    assert_eq!(up["rules"][0]["rule"], "loss");
    assert_eq!(up["rules"][0]["observed"][0]["configured"], 5.0);
    assert_eq!(object["exit_code"], 143);
}

#[test]
fn what_was_dropped_is_recorded_and_dropped_again() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("drops");
    let file = file.to_str().unwrap();
    let carrier = ["--udp"];
    transfer(
        300_000,
        &["--plain"],
        &carrier,
        &["--impair", "up: loss 5%", "--record-drops", file],
    );
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains("rules = \"up: drop "), "{text}");
    let ended = transfer(300_000, &["--plain"], &carrier, &["--replay-drops", file]);
    assert!(
        ended.stderr.contains("up   drop_list") || ended.stderr.contains("up   drop "),
        "{}",
        ended.stderr
    );
    let ended = Tool::run("stream-proxy", ["--replay-drops", "/nonexistent"]);
    ended.assert_code(1);
    assert_eq!(
        ended.stderr,
        "stream-proxy: cannot read /nonexistent: No such file or directory"
    );
}

#[test]
fn a_record_that_would_be_wrong_is_refused_before_the_run() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (scenario, drops) = (file("s.toml"), file("drops"));
    let proxy = |name: &str| format!("[[proxy]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\n");
    for (text, words) in [
        (proxy("one") + &proxy("two"), "this scenario has 2"),
        (
            proxy("one") + "[[step]]\nat_ms = 500\nimpair = \"loss 5%\"\n",
            "the rules of this scenario change after 500 ms",
        ),
    ] {
        fs::write(&scenario, text).unwrap();
        let ended = Tool::run("stream-proxy", ["--scenario", &scenario, "--record-drops", &drops]);
        ended.assert_code(2);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert!(!Path::new(&drops).exists());
    }
}

#[test]
fn a_capture_can_be_inspected() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("c.pcapng");
    let file = file.to_str().unwrap();
    let args = ["--impair", "loss 5%", "--seed", "1", "--capture", file];
    let ended = transfer(100_000, &["--plain"], &["--udp"], &args);
    assert!(ended.stderr.contains(&format!("packets in {file}")), "{}", ended.stderr);
    let ended = Tool::run("stream-proxy", ["inspect", file]);
    ended.assert_code(0);
    let text = String::from_utf8(ended.stdout).unwrap();
    for part in [
        "plain INITIAL",
        "STREAM 0+",
        "dropped by loss",
        "100000 bytes of the payload itself",
        "client side",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    // With somebody who reads only the start.
    let mut tool = Tool::start("stream-proxy", ["inspect", file]);
    drop(tool.stdout.take());
    tool.end().assert_code(0);
    // As it grows, until a signal.
    let tool = Tool::start("stream-proxy", ["inspect", file, "--follow"]);
    let mut tool = tool;
    drop(tool.output(100));
    tool.signal("INT");
    let ended = tool.end();
    ended.assert_code(0);
    assert!(String::from_utf8(ended.stdout).unwrap().contains("What a listener"));
    // A reader that has seen enough (`| head`) is noticed, though the file does not grow.
    let mut tool = Tool::start("stream-proxy", ["inspect", file, "--follow"]);
    drop(tool.output(100));
    drop(tool.stdout.take());
    tool.end().assert_code(0);
    for (words, code) in [
        (&["inspect", "/nonexistent"][..], 1),
        (&["inspect", "Cargo.toml"], 5),
        (&["inspect"], 2),
    ] {
        let ended = Tool::run("stream-proxy", words);
        ended.assert_code(code);
        assert!(ended.stderr.lines().count() <= 2, "{}", ended.stderr);
    }
}

const SCENARIO: &str = r#"
name = "a cut"
seed = 3

[[proxy]]
listen = "127.0.0.1:0"
target = "127.0.0.1:TARGET"
carrier = "udp"

[[proxy.rule]]
name = "cut"
direction = "up"
type = "loss"
pct = 0

[[step]]
at_ms = 50
set = { name = "cut", direction = "up", type = "loss", pct = 2 }

[[step]]
at_ms = 100
remove = "cut"

[expect]
"up.received_pkts" = { min = MINIMUM }
"#;

fn scenario(place: &Path, target: &str, minimum: u64) -> String {
    let file = place.join("scenario.toml");
    let text = SCENARIO
        .replace("TARGET", target)
        .replace("MINIMUM", &minimum.to_string());
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_scenario_takes_its_steps_and_is_judged_at_its_end() {
    let place = tempfile::tempdir().unwrap();
    for (minimum, code) in [(0, 0), (1_000_000, 1)] {
        let file = scenario(place.path(), "9", minimum);
        let ended = Tool::run("stream-proxy", ["--scenario", &file]);
        ended.assert_code(code);
        assert!(
            ended.stderr.contains("after 50 ms: cut is now \"loss 2%\""),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("after 100 ms: removed cut"), "{}", ended.stderr);
        if code == 1 {
            let words = "not as expected: up.received_pkts is 0, expected at least 1000000";
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_wrong_scenario_is_one_line_with_file_line_and_key() {
    let place = tempfile::tempdir().unwrap();
    let file = scenario(place.path(), "9", 0);
    let good = Tool::run("stream-proxy", ["--check", &file]);
    good.assert_code(0);
    assert_eq!(
        good.stderr,
        format!("{file} is good: proxies 1, rules 1, steps 2, expectations 1")
    );
    let text = fs::read_to_string(&file).unwrap();
    for (from, to, words) in [
        (
            "pct = 0\n",
            "pct = 101\n",
            "line 14, pct: 101 is no percentage from 0 to 100",
        ),
        ("seed = 3", "speed = 3", "line 3, speed: unknown field"),
        ("carrier", "carier", "line 8, carier: unknown field"),
        ("at_ms = 50", "at_ms = \"soon\"", "line 17, at_ms: invalid type"),
    ] {
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        for option in ["--check", "--scenario"] {
            let ended = Tool::run("stream-proxy", [option, &file]);
            ended.assert_code(2);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            let first = ended.stderr.lines().next().unwrap();
            assert!(
                first.starts_with(&format!("stream-proxy: {file}, {words}")),
                "{}",
                ended.stderr
            );
        }
    }
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let cases: [(&[&str], &str); 10] = [
        (&["--impair", "los 5%"], "\"los\" in \"los 5%\" is wrong"),
        (&["--impair", "loss 101%"], "a percentage from 0% to 100%"),
        (&["--preset", "isdn"], "there is dsl, 3g, lte"),
        (&["--attack", "magic"], "bitflip, replay, forge-ack"),
        (&["--target-carrier", "ip"], "udp or tcp"),
        (&["--scenario", "a", "--impair", "loss 1%"], "exclude each other"),
        (&["watch"], "unexpected operand 'watch'"),
        (&["--follow"], "--follow is for inspect"),
        (
            &["--raw", "--impair", "loss 1% match form long"],
            "--raw says that there are none",
        ),
        (&["--target-port", "0"], "port 0"),
    ];
    for (args, words) in cases {
        let ended = Tool::run("stream-proxy", args);
        ended.assert_code(2);
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn usr1_prints_the_table_and_a_dead_target_is_said() {
    let (mut proxy, port) = proxy("9", &["--udp", "--seed", "1"]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
    socket.send(b"anybody?").unwrap();
    let line = proxy.line("cannot be reached");
    assert!(line.contains("is anything listening there?"), "{line}");
    proxy.signal("USR1");
    proxy.line("main: 1 clients, emulator healthy");
    proxy.signal("INT");
    proxy.end().assert_code(130);
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = Tool::run(
        "stream-proxy",
        ["--bind", "127.0.0.1", "--proxy-port", &port, "--seed", "1"],
    );
    ended.assert_code(1);
    assert_eq!(
        ended.stderr,
        format!("stream-proxy: cannot listen on port {port}: Address already in use")
    );
}

#[test]
fn swapped_keys_are_a_program_of_the_attacker() {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("to");
    let mut receiver = Tool::start(
        "stream-receiver",
        [
            "--udp",
            "--port",
            "0",
            "--bind",
            "127.0.0.1",
            "--output",
            to.to_str().unwrap(),
        ],
    );
    let target = receiver.port();
    let (mut attacker, port) = proxy(&target, &["--udp", "--attack", "key-swap"]);
    let mut sender = Tool::start("stream-sender", ["--udp", "--target-port", &port]);
    sender.input(b"the secret");
    sender.end().assert_code(0);
    receiver.end().assert_code(0);
    attacker.line("was fooled");
    attacker.signal("TERM");
    let ended = attacker.end();
    ended.assert_code(143);
    assert!(
        ended.stderr.contains("beginning with \"the secret\""),
        "{}",
        ended.stderr
    );
}

#[test]
fn help_names_every_rule_preset_and_attack() {
    let ended = Tool::run("stream-proxy", ["--help"]);
    ended.assert_code(0);
    let text = String::from_utf8(ended.stdout).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in [
        "loss P% [burst N]",
        "rebind T",
        "trace FILE",
        "codel",
        "wifi-bursty",
        "key-swap",
        "inspect",
    ] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    for shape in ["bash", "zsh", "fish", "man"] {
        Tool::run("stream-proxy", ["--generate", shape]).assert_code(0);
    }
}
