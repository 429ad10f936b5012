//! `stream-lab doctor`: a transfer that is made slow in a known way is called by that name.

use super::json::{assert_documented, object};
use super::tool::Tool;
use serde_json::Value;

#[track_caller]
fn examined(args: &[&str]) -> Value {
    let ended = Tool::run("stream-lab", [&["doctor", "--json"], args].concat());
    ended.assert_code(0);
    let object = object(&ended);
    assert_documented(&object);
    assert_eq!(object["tool"], "stream-lab doctor");
    object
}

#[track_caller]
fn assert_bottleneck(object: &Value, name: &str) {
    assert_eq!(object["bottleneck"], name, "{object}");
    let shares = object["shares"].as_object().unwrap();
    let all: f64 = shares.values().map(|share| share.as_f64().unwrap()).sum();
    assert!((all - 1.0).abs() < 1e-9, "{object}");
    assert!(object["bytes"].as_u64() > Some(0), "{object}");
}

#[test]
fn a_program_that_writes_slowly_is_the_bottleneck() {
    for carrier in ["--udp", "--tcp"] {
        let object = examined(&[carrier, "--time", "600ms", "--write-rate", "200kB"]);
        assert_bottleneck(&object, "application");
        assert!(object["why"].as_str().unwrap().contains("was sent"), "{object}");
    }
}

#[test]
fn a_fixed_window_on_a_long_path_is_the_bottleneck() {
    let object = examined(&["--time", "800ms", "--delay", "30", "--congestion", "fixed:20000"]);
    assert_bottleneck(&object, "cwnd");
    assert_eq!(object["cwnd_bytes"], 20_000);
    assert!(object["rtt_seconds"].as_f64() >= Some(0.03), "{object}");
}

#[test]
fn a_program_that_reads_slowly_is_the_bottleneck() {
    let object = examined(&[
        "--time",
        "800ms",
        "--read-rate",
        "50kB",
        "--congestion",
        "fixed:1000000",
    ]);
    assert_bottleneck(&object, "rwnd");
    let advice = object["advice"].as_str().unwrap();
    assert!(advice.contains("read faster"), "{advice}");
}

#[test]
fn people_get_a_name_a_reason_and_the_counters_of_the_kernel() {
    let ended = Tool::run(
        "stream-lab",
        ["doctor", "--time", "300ms", "--write-rate", "100kB", "--plain"],
    );
    ended.assert_code(0);
    let table = String::from_utf8(ended.stdout).unwrap();
    assert!(table.starts_with("bottleneck        application\nwhy "), "{table}");
    for row in ["goodput", "waited for", "CPU", "kernel drops"] {
        assert!(table.contains(row), "no {row} in\n{table}");
    }
}

#[test]
fn a_receiver_somewhere_else_can_be_the_other_end() {
    let (receiver, port) = Tool::receiver(&["--udp", "--output", "/dev/null"]);
    let to_it = ["--target", "127.0.0.1", "--target-port", &port, "--plain"];
    let object = examined(&[&to_it[..], &["--time", "500ms", "--write-rate", "200kB"]].concat());
    assert_bottleneck(&object, "application");
    receiver.end().assert_code(0);
}

#[test]
fn nobody_at_the_other_end_and_nonsense_are_told_apart() {
    let nobody = Tool::run(
        "stream-lab",
        [
            "doctor",
            "--tcp",
            "--plain",
            "--target",
            "127.0.0.1",
            "--target-port",
            "1",
        ],
    );
    nobody.assert_code(4);
    assert!(
        nobody.stderr.contains("cannot connect to 127.0.0.1:1"),
        "{}",
        nobody.stderr
    );
    for args in [
        &["doctor", "--target", "127.0.0.1", "--delay", "5"][..],
        &["doctor", "--write-rate", "0"],
        &["doctor", "--time", "0"],
    ] {
        Tool::run("stream-lab", args).assert_code(2);
    }
}
