//! `--json`: objects on standard output, with the keys of `docs/tools.md` and no others.

use super::tool::{Ended, Tool};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const DOCUMENT: &str = include_str!("../../../docs/tools.md");

/// The keys that the document has for a tool.
fn documented(tool: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut is_about_it = false;
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            is_about_it = heading.contains(&format!("`{tool}`"));
        }
        if let Some(row) = line.strip_prefix("| `").filter(|_| is_about_it) {
            let (key, _) = row.split_once('`').expect("a key ends");
            assert!(keys.insert(key.to_owned()), "{key} stands there twice");
        }
    }
    keys
}

/// The keys of an object: `a.b` of one within, `a[].b` of a list of them.
fn keys(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                keys(value, &format!("{prefix}{dot}{key}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, &format!("{prefix}[]"), found)),
        _ => {
            found.insert(prefix.to_owned());
        }
    }
}

#[track_caller]
pub(super) fn assert_documented(object: &Value) {
    let tool = object["tool"].as_str().unwrap();
    let mut found = BTreeSet::new();
    keys(object, "", &mut found);
    assert_eq!(found, documented(tool), "{tool}: {object}");
}

/// The objects that a tool printed, one on each line.
#[track_caller]
fn objects(ended: &Ended) -> Vec<Value> {
    let text = std::str::from_utf8(&ended.stdout).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let parsed = text.lines().map(|line| serde_json::from_str(line).unwrap());
    parsed.collect()
}

#[track_caller]
pub(super) fn object(ended: &Ended) -> Value {
    let mut all = objects(ended);
    assert_eq!(all.len(), 1, "{ended:?}");
    all.remove(0)
}

#[test]
fn sender_and_receiver_count_what_was_in_the_file() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fs::write(&from, vec![7; 300_000]).unwrap();
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    for carrier in ["udp", "tcp"] {
        let options = if carrier == "udp" { &["--udp"][..] } else { &[] };
        let (receiver, port) = Tool::receiver(&[options, &["--json", "--output", to]].concat());
        let sender = Tool::sender(&port, &[options, &["--json", "--file", from]].concat()).end();
        let receiver = receiver.end();
        sender.assert_code(0);
        receiver.assert_code(0);
        assert!(sender.stderr.contains("sent 300,000 bytes"), "people are told as ever");
        let (sent, received) = (object(&sender), object(&receiver));
        for object in [&sent, &received] {
            assert_documented(object);
            assert_eq!(object["bytes"], 300_000);
            assert_eq!(object["carrier"], carrier);
            assert_eq!(object["exit_code"], 0);
            assert_eq!(object["error"], Value::Null);
            let number = |key: &str| object[key].as_f64().unwrap();
            let speed = number("bytes") / number("seconds");
            assert!((number("bytes_per_second") / speed - 1.0).abs() < 1e-6, "{object}");
            assert!(number("seconds") > 0.0 && number("rtt_seconds") > 0.0);
            assert!(object["packets_sent"].as_u64() > Some(0));
        }
        assert_eq!(sent["tool"], "stream-sender");
        assert_eq!(sent["file"], from);
        assert_eq!(sent["peer"], format!("127.0.0.1:{port}"));
        assert!(sent["packet_bytes_sent"].as_u64() > Some(300_000));
        assert_eq!(received["file"], to);
        assert_eq!(fs::metadata(to).unwrap().len(), 300_000);
    }
}

#[test]
fn a_receiver_that_stays_prints_a_line_for_each_peer() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("many");
    let (mut receiver, port) = Tool::receiver(&["--keep-open", "--json", "--output", directory.to_str().unwrap()]);
    let sizes = [5_usize, 0, 70_000];
    for bytes in sizes {
        let mut sender = Tool::sender(&port, &["--quiet"]);
        sender.input(&vec![1; bytes]);
        sender.end().assert_code(0);
        receiver.line("received ");
    }
    // One that goes away in the middle of it.
    let mut sender = Tool::sender(&port, &["-v"]);
    sender.input(b"half");
    sender.line("connected to");
    sender.signal("KILL");
    sender.end();
    receiver.line("truncated");
    receiver.signal("TERM");
    let ended = receiver.end();
    ended.assert_code(143);
    let objects = objects(&ended);
    assert_eq!(objects.len(), sizes.len() + 1);
    for (object, bytes) in objects.iter().zip(sizes) {
        assert_documented(object);
        assert_eq!(object["bytes"], bytes);
        assert_eq!(object["exit_code"], 0);
        let file = fs::metadata(object["file"].as_str().unwrap()).unwrap();
        assert_eq!(file.len(), bytes as u64);
    }
    let cut = &objects[sizes.len()];
    assert_documented(cut);
    assert_eq!(cut["exit_code"], 5);
    assert_eq!(cut["file"], Value::Null);
    assert!(cut["error"].as_str().unwrap().starts_with("truncated"), "{cut}");
}

#[test]
fn a_failure_has_its_words_and_its_exit_code() {
    let nobody = Tool::run("stream-sender", ["--plain", "--target-port", "1", "--json"]);
    nobody.assert_code(4);
    let missing = Tool::run("stream-sender", ["--file", "/nonexistent", "--json"]);
    missing.assert_code(1);
    let lost = Tool::start_with("stream-lab", ["--loss", "100", "--seed", "1", "--json"], &[]).end();
    lost.assert_code(1);
    let nowhere = Tool::run(
        "stream-receiver",
        ["--port", "0", "--output", "/nonexistent/file", "--json"],
    );
    nowhere.assert_code(1);
    for (ended, words) in [
        (nobody, "cannot connect to 127.0.0.1:1"),
        (missing, "cannot open /nonexistent"),
        (lost, "cannot connect"),
        (nowhere, "cannot write to /nonexistent/file"),
    ] {
        let object = object(&ended);
        assert_eq!(object["exit_code"], ended.code.unwrap());
        let error = object["error"].as_str().unwrap();
        assert!(error.contains(words), "{error}");
        assert!(
            ended.stderr.contains(error),
            "the same words for people: {}",
            ended.stderr
        );
        assert_eq!(object["bytes"], 0);
        assert_eq!(object["rtt_seconds"], Value::Null);
    }
}

#[test]
fn payload_and_objects_never_share_standard_output() {
    for output in [&[][..], &["--output", "-"], &["--output", "/dev/stdout"]] {
        let args = [&["--port", "0", "--plain", "--json"], output].concat();
        let ended = Tool::run("stream-receiver", &args);
        ended.assert_code(2);
        assert!(ended.stderr.contains("--json needs --output FILE"), "{}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
    // A device that is another place is welcome.
    let (receiver, port) = Tool::receiver(&["--json", "--output", "/dev/null"]);
    let mut sender = Tool::sender(&port, &[]);
    sender.input(b"into the void");
    sender.end().assert_code(0);
    let received = object(&receiver.end());
    assert_eq!(received["bytes"], 13);
    assert_eq!(received["file"], Value::Null);
}

#[test]
fn the_lab_accounts_for_every_direction() {
    // So much that some of the acknowledgements are lost too, however few there are.
    let args = ["--json", "--loss", "5", "--delay", "1", "--seed", "7", "--size", "8MiB"];
    let ended = Tool::run("stream-lab", args);
    ended.assert_code(0);
    assert!(
        ended.stderr.contains("the same at both ends"),
        "the table is for people: {}",
        ended.stderr
    );
    let object = object(&ended);
    assert_eq!(object["bytes"], 8 << 20);
    assert_eq!(object["seed"], 7);
    assert_eq!(object["faults"], "loss 5% | up: delay 1ms 0ms");
    assert_eq!(object["file"], Value::Null);
    let digest = object["sha256_sent"].as_str().unwrap();
    assert_eq!(digest.len(), 64);
    assert_eq!(object["sha256_received"], digest);
    for way in ["up", "down"] {
        let way = &object[way];
        let count = |key: &str| way[key].as_u64().unwrap();
        assert!(count("packets_dropped") > 0 && count("packets_dropped") < count("packets_sent"));
        assert!(count("packets_received") > 0 && count("packets_received") <= count("packets_sent"));
        let loss = &way["rules"][0];
        assert!(loss["rule"].as_str().unwrap().contains("loss"), "{loss}");
        assert_eq!(loss["packets_dropped"], way["packets_dropped"]);
    }
    assert_eq!(object["up"]["packets_sent"], object["packets_sent"]);
    // Down there is no second rule, but the first one has the same keys.
    assert_documented(&object);
}

#[test]
fn manual_pages_tell_every_key() {
    let tools = [
        "stream-sender",
        "stream-receiver",
        "stream-lab",
        "stream-lab bench",
        "stream-lab doctor",
        "stream-lab run",
    ];
    for tool in tools {
        let (program, job) = tool
            .split_once(' ')
            .map_or((tool, None), |(program, job)| (program, Some(job)));
        let ended = Tool::run(program, job.into_iter().chain(["--generate", "man"]));
        let page = String::from_utf8(ended.stdout).unwrap();
        let keys = documented(tool);
        assert!(keys.len() > 10, "{tool}: {keys:?}");
        // A manual page has a name of one word.
        let name = tool.replace(' ', "-");
        assert!(page.contains(&format!(".TH {} 1", name.to_uppercase())), "{page}");
        assert!(
            page.contains(&format!(".SH NAME\n{} ", name.replace('-', "\\-"))),
            "{page}"
        );
        for key in keys {
            assert!(page.contains(&key.replace('-', "\\-")), "{tool}: no {key}");
        }
    }
}
