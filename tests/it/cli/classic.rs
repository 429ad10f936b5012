//! The classic mode of the tools, as processes: whole files, ends that are none, keys, and peers of other modes.

use super::tool::{Ended, Tool};
use crate::closed::Closed;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

const UNKNOWN: &str = "completeness unknown: this protocol has no end mark";
const CARRIERS: [&[&str]; 2] = [&[], &["--udp"]];

fn receiver(args: &[&str]) -> (Tool, String) {
    let all = [&["--port", "0", "--bind", "127.0.0.1", "--classic"], args].concat();
    let mut receiver = Tool::start("stream-receiver", all);
    let port = receiver.port();
    (receiver, port)
}

fn sender(port: &str, args: &[&str]) -> Tool {
    let all = [&["--target-port", port, "--classic"], args].concat();
    Tool::start("stream-sender", all)
}

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 % 251) as u8).collect()
}

fn path(place: &Path, name: &str) -> String {
    place.join(name).to_str().unwrap().to_owned()
}

/// A pair of keys of that use in a directory of that name.
fn keys(place: &Path, name: &str, usage: &str) -> [String; 2] {
    let directory = path(place, name);
    let bits = if usage == "classic" { "1024" } else { "2048" };
    Tool::run(
        "stream-rsagen",
        ["--use", usage, "--bits", bits, "--out-dir", &directory, "-q"],
    )
    .assert_code(0);
    ["private.key", "public.key"].map(|file| format!("{directory}/{file}"))
}

#[track_caller]
fn assert_says(ended: &Ended, part: &str) {
    assert!(ended.stderr.contains(part), "no {part:?} in:\n{}", ended.stderr);
}

#[test]
fn a_file_arrives_and_both_sides_say_what_this_mode_is_worth() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (path(place.path(), "from"), path(place.path(), "to"));
    let sent = payload(300_001);
    fs::write(&from, &sent).unwrap();
    // Side by side, for over UDP each ends with a silence: longer than that of a sender that only waits for a processor.
    thread::scope(|scope| {
        for carrier in CARRIERS {
            for scheme in ["stop-and-wait", "go-back-n", "selective-repeat"] {
                let (from, to, sent) = (&from, format!("{to}-{}-{scheme}", carrier.concat()), &sent);
                scope.spawn(move || {
                    let options = ["--arq", scheme, "--timeout", "500ms", "--idle-timeout", "5s"];
                    let (receiver, port) = receiver(&[carrier, &options, &["--output", &to]].concat());
                    let sender = sender(&port, &[carrier, &options, &["--file", from]].concat()).end();
                    sender.assert_code(0);
                    assert_says(&sender, "sent 300,001 bytes");
                    assert_says(&sender, "warning: --classic is for teaching");
                    let receiver = receiver.end();
                    receiver.assert_code(0);
                    assert_says(&receiver, "received 300,001 bytes");
                    assert_says(&receiver, UNKNOWN);
                    assert!(fs::read(&to).unwrap() == *sent, "{carrier:?} {scheme}");
                });
            }
        }
    });
}

#[test]
fn every_line_typed_arrives_at_once_and_over_udp_a_signal_is_an_end() {
    for carrier in CARRIERS {
        let (mut receiver, port) = receiver(carrier);
        let mut sender = sender(&port, carrier);
        for line in ["first\n", "second\n"] {
            sender.input(line.as_bytes());
            assert_eq!(receiver.output(line.len()), line.as_bytes());
        }
        sender.end().assert_code(0);
        if carrier == ["--udp"] {
            receiver.signal("TERM");
        }
        let receiver = receiver.end();
        receiver.assert_code(0);
        assert_says(&receiver, UNKNOWN);
        assert!(receiver.stdout.is_empty());
    }
}

#[test]
fn a_file_of_a_udp_receiver_that_got_a_signal_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let to = path(place.path(), "to");
    let (receiver, port) = receiver(&["--udp", "--output", &to]);
    let mut sender = sender(&port, &["--udp"]);
    sender.input(b"all of it");
    sender.end().assert_code(0);
    receiver.signal("INT");
    let receiver = receiver.end();
    receiver.assert_code(0);
    assert_says(&receiver, UNKNOWN);
    assert_eq!(fs::read(&to).unwrap(), b"all of it");
}

#[test]
fn a_receiver_that_waits_for_its_peer_ends_at_the_first_signal() {
    for carrier in CARRIERS {
        let (receiver, _) = receiver(carrier);
        receiver.signal("INT");
        receiver.end().assert_code(130);
    }
}

#[test]
fn a_killed_sender_looks_like_one_that_has_finished_unless_a_packet_is_cut() {
    let (mut receiver, port) = receiver(&[]);
    let mut sender = sender(&port, &[]);
    sender.input(b"half of it");
    receiver.output(10);
    sender.signal("KILL");
    sender.end();
    let ended = receiver.end();
    ended.assert_code(0);
    assert_says(&ended, UNKNOWN);

    let place = tempfile::tempdir().unwrap();
    let to = path(place.path(), "to");
    let (receiver, port) = self::receiver(&["--output", &to]);
    let mut old = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    old.write_all(b"\x0e\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0\0hi\x0e\0\0\0\x0a")
        .unwrap();
    drop(old);
    let ended = receiver.end();
    ended.assert_code(5);
    assert_says(&ended, "truncated: 2 bytes came");
    assert!(!Path::new(&to).exists());
}

#[test]
fn a_receiver_that_goes_away_is_noticed_while_the_input_is_silent_and_while_it_is_not() {
    for bytes in [1, 3_000_000] {
        let (mut receiver, port) = receiver(&[]);
        // The second goes out when the first is acknowledged: so it was.
        let mut sender = sender(&port, &["--arq", "stop-and-wait"]);
        for byte in [b"1", b"2"] {
            sender.input(byte);
            receiver.output(1);
        }
        receiver.signal("KILL");
        receiver.end();
        sender.try_input(&payload(bytes));
        sender.line("the transfer failed");
        sender.end().assert_code(1);
    }
}

#[test]
fn keys_of_the_mode_work_and_one_that_others_can_read_is_only_warned_about() {
    let place = tempfile::tempdir().unwrap();
    let alice = keys(place.path(), "alice", "classic");
    let bob = keys(place.path(), "bob", "classic");
    fs::set_permissions(&bob[0], Permissions::from_mode(0o644)).unwrap();
    for carrier in CARRIERS {
        let own = ["--priv-key", &bob[0], "--pub-key", &alice[1], "--idle-timeout", "2s"];
        let (receiver, port) = receiver(&[carrier, &own].concat());
        let own = ["--priv-key", &alice[0], "--pub-key", &bob[1]];
        let mut sender = sender(&port, &[carrier, &own].concat());
        sender.input(&payload(5000));
        let sender = sender.end();
        sender.assert_code(0);
        assert_says(&sender, "textbook RSA protects nothing");
        assert!(!sender.stderr.contains("chmod"), "{}", sender.stderr);
        let receiver = receiver.end();
        receiver.assert_code(0);
        assert_says(&receiver, "warning: ");
        assert_says(&receiver, "is a private key that others can open");
        assert!(receiver.stdout == payload(5000));
    }
}

#[test]
fn a_key_of_one_mode_is_refused_in_the_other_with_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let classic = keys(place.path(), "classic", "classic");
    let identity = keys(place.path(), "identity", "identity");
    let cases: [(&[&str], &str); 5] = [
        (
            &["--classic", "--priv-key", &identity[0], "--pub-key", &classic[1]],
            "stream-rsagen --use classic --out-dir DIR",
        ),
        (
            &["--classic", "--priv-key", &classic[0], "--pub-key", &identity[1]],
            "stream-rsagen --use classic --out-dir DIR",
        ),
        (&["--priv-key", &classic[0]], "stream-rsagen --out-dir DIR"),
        (&["--pub-key", &classic[1]], "stream-rsagen --out-dir DIR"),
        (
            &["--classic", "--priv-key", &classic[1], "--pub-key", &classic[1]],
            "give your own private.key",
        ),
    ];
    for (options, cure) in cases {
        for (tool, more) in [
            ("stream-sender", &["--target-port", "1"][..]),
            ("stream-receiver", &["--port", "0", "--bind", "127.0.0.1"]),
        ] {
            let ended = Tool::run(tool, [options, more].concat());
            ended.assert_code(3);
            assert_says(&ended, cure);
        }
    }
}

#[test]
fn sides_whose_keys_do_not_belong_together_do_not_hang() {
    let place = tempfile::tempdir().unwrap();
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(|name| keys(place.path(), name, "classic"));
    let (mut receiver, port) = receiver(&["--priv-key", &bob[0], "--pub-key", &alice[1]]);
    let mut sender = sender(&port, &["--priv-key", &mallory[0], "--pub-key", &bob[1]]);
    sender.input(b"hello");
    let sender = sender.end();
    sender.assert_code(4);
    let line = receiver.line("was turned away");
    assert!(line.contains("--priv-key"), "{line}");
    receiver.signal("TERM");
    receiver.end().assert_code(143);
}

#[test]
fn peers_of_other_modes_are_turned_away_and_told_what_to_do() {
    const CURE: &str = "give --classic to both sides or to neither";
    for carrier in CARRIERS {
        // Secure to classic. The receiver goes on waiting.
        let (mut receiver, port) = receiver(carrier);
        let secure = Tool::run(
            "stream-sender",
            [carrier, &["--target-port", &port, "--file", "/dev/null"]].concat(),
        );
        secure.assert_code(4);
        assert_says(&secure, "the peer speaks the classic protocol, this side secure");
        assert_says(&secure, CURE);
        let line = receiver.line("was turned away");
        assert!(
            line.contains("the peer speaks secure, this side classic") && line.contains(CURE),
            "{line}"
        );
        let mut classic = sender(&port, carrier);
        classic.input(b"the right one");
        classic.end().assert_code(0);
        assert_eq!(receiver.output(13), b"the right one");
        if carrier == ["--udp"] {
            receiver.signal("TERM");
        }
        receiver.end().assert_code(0);

        // Classic to secure.
        let options = ["--port", "0", "--bind", "127.0.0.1"];
        let mut receiver = Tool::start("stream-receiver", [&options, carrier].concat());
        let port = receiver.port();
        let mut classic = sender(&port, &[carrier, &["--connect-timeout", "2s"]].concat());
        classic.input(b"hello");
        let line = receiver.line("was turned away");
        assert!(
            line.contains("the peer speaks the classic protocol, this side secure"),
            "{line}"
        );
        assert!(line.contains(CURE), "{line}");
        let classic = classic.end();
        classic.assert_code(4);
        assert_says(&classic, "does it have --classic");
        receiver.signal("TERM");
        receiver.end().assert_code(143);
    }
}

#[test]
fn nobody_there_is_said_as_in_the_other_modes() {
    for carrier in CARRIERS {
        let nobody = Closed::port();
        let port = nobody.addr.port().to_string();
        let mut sender = sender(&port, carrier);
        sender.try_input(b"hello");
        let sender = sender.end();
        sender.assert_code(4);
        assert_says(&sender, "cannot connect to 127.0.0.1:");
    }
}

#[test]
fn keep_open_serves_one_after_another_until_a_signal() {
    for carrier in CARRIERS {
        let place = tempfile::tempdir().unwrap();
        let output = path(place.path(), "incoming");
        let options = ["--keep-open", "--json", "--output", &output];
        // Over UDP a silence is the end, and behind the only packet of each it may be short.
        let idle: &[&str] = if carrier == ["--udp"] {
            &["--idle-timeout", "500ms"]
        } else {
            &[]
        };
        let (mut receiver, port) = receiver(&[carrier, &options, idle].concat());
        for content in ["one", "two"] {
            let mut sender = sender(&port, carrier);
            sender.input(content.as_bytes());
            sender.end().assert_code(0);
            receiver.line(UNKNOWN);
        }
        receiver.signal("INT");
        let receiver = receiver.end();
        receiver.assert_code(130);
        let objects = String::from_utf8(receiver.stdout).unwrap();
        let objects: Vec<Value> = objects
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(objects.len(), 2);
        for (object, content) in objects.iter().zip(["one", "two"]) {
            assert_eq!(fs::read(object["file"].as_str().unwrap()).unwrap(), content.as_bytes());
            assert_eq!(object["completeness"], "unknown");
        }
    }
}

#[test]
fn programs_are_told_mode_scheme_and_completeness() {
    let place = tempfile::tempdir().unwrap();
    let to = path(place.path(), "to");
    let arq = ["--arq", "go-back-n", "--window", "4", "--timeout", "1500ms"];
    let (receiver, port) = receiver(&["--json", "--output", &to]);
    let mut sender = sender(&port, &[&["--json"][..], &arq].concat());
    sender.input(&payload(20_000));
    let (sender, receiver) = (sender.end(), receiver.end());
    let [sent, received] = [&sender, &receiver].map(|ended| {
        ended.assert_code(0);
        serde_json::from_slice::<Value>(&ended.stdout).unwrap()
    });
    assert_eq!(
        (&sent["mode"], &sent["completeness"]),
        (&"classic".into(), &"acknowledged".into())
    );
    assert_eq!(sent["arq"], "go-back-n");
    assert_eq!(
        (sent["window_packets"].as_u64(), sent["timeout_seconds"].as_f64()),
        (Some(4), Some(1.5))
    );
    assert_eq!(received["completeness"], "unknown");
    assert_eq!(
        (&received["arq"], &received["bytes"]),
        (&"selective-repeat".into(), &20_000.into())
    );
    assert!(received["packets_received"].as_u64() >= Some(10));
}

#[test]
fn command_lines_that_make_no_sense_end_with_2() {
    let cases: [(&str, &[&str], &str); 12] = [
        ("stream-sender", &["--arq", "go-back-n"], "add --classic"),
        ("stream-receiver", &["--window", "3"], "add --classic"),
        ("stream-lab", &["--timeout", "1s"], "add --classic"),
        ("stream-sender", &["--classic", "--window", "11"], "10 places"),
        ("stream-sender", &["--classic", "--window", "many"], "from 1 to 10"),
        (
            "stream-sender",
            &["--classic", "--arq", "stop-and-wait", "--window", "2"],
            "one packet under way",
        ),
        (
            "stream-sender",
            &["--classic", "--arq", "hope"],
            "stop-and-wait, go-back-n, selective-repeat",
        ),
        ("stream-sender", &["--classic", "--plain"], "exclude each other"),
        ("stream-lab", &["--classic", "--plain"], "exclude each other"),
        (
            "stream-receiver",
            &["--classic", "--port", "0", "--pub-key", "x"],
            "or neither",
        ),
        (
            "stream-sender",
            &["--classic", "--congestion", "cubic"],
            "no congestion control",
        ),
        (
            "stream-sender",
            &["--classic", "--known-peers", "x"],
            "no lists of peers",
        ),
    ];
    for (tool, args, words) in cases {
        let ended = Tool::run(tool, args);
        ended.assert_code(2);
        assert_says(&ended, words);
    }
}

#[test]
fn the_lab_runs_every_scheme_over_a_bad_link() {
    for carrier in ["--udp", "--tcp"] {
        for scheme in ["stop-and-wait", "go-back-n", "selective-repeat"] {
            let options = [
                "--classic",
                "--arq",
                scheme,
                "--timeout",
                "20ms",
                "--loss",
                "10",
                "--seed",
                "7",
            ];
            let ended = Tool::run("stream-lab", [&options[..], &[carrier, "--size", "128KiB"]].concat());
            ended.assert_code(0);
            let table = String::from_utf8(ended.stdout).unwrap();
            assert!(table.contains("the same at both ends"), "{table}");
            assert!(table.contains(&format!("classic ({scheme}, window")), "{table}");
        }
    }
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = Tool::run("stream-receiver", ["--classic", "--bind", "127.0.0.1", "--port", &port]);
    ended.assert_code(1);
    assert_says(&ended, "cannot listen");
}
