//! `stream-lab run`: every scenario that comes with the program passes, and what is wrong or unexpected is said in one line.
//!
//! The scenarios expect counts, shares and ratios, which do not depend on the speed of the machine.

use super::json::{assert_documented, object};
use super::tool::Tool;
use std::fs;

/// These compare the times of two runs, or change the network for 60 ms. A machine that stands still for a moment in the
/// middle of it makes another network of that, which does not happen each time.
const NEEDS_THE_TIME: [&str; 4] = ["stop-and-wait", "bufferbloat", "burst-loss", "delay-spike"];
const ATTEMPTS: usize = 3;

#[track_caller]
fn assert_passes(name: &str) {
    let attempts = if NEEDS_THE_TIME.contains(&name) { ATTEMPTS } else { 1 };
    let mut said = Vec::new();
    for _ in 0..attempts {
        let ended = Tool::run("stream-lab", ["run", name]);
        if ended.code == Some(0) {
            assert!(ended.stderr.contains("as expected ("), "{}", ended.stderr);
            return;
        }
        said.push(format!("ended with {:?}:\n{}", ended.code, ended.stderr));
    }
    panic!("{name} failed {attempts} times; it\n{}", said.join("\n"));
}

/// A test for each, so that they run side by side.
macro_rules! passes {
    ($($test:ident = $name:literal),* $(,)?) => {
        const TESTED: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                assert_passes($name);
            }
        )*
    };
}

passes! {
    stop_and_wait_is_slower_than_a_window = "stop-and-wait",
    one_lost_packet_is_sent_again_fast = "fast-retransmit",
    a_lost_tail_needs_a_timer = "lost-tail",
    lost_acknowledgements_cost_nothing = "lost-ack",
    probes_in_a_black_hole_back_off = "black-hole",
    a_delay_spike_looks_like_loss = "delay-spike",
    packets_out_of_order_look_lost = "reordering",
    slow_start_overshoots = "slow-start-overshoot",
    codel_keeps_the_queue_short = "bufferbloat",
    a_slow_reader_closes_the_window = "closed-window",
    bursts_are_easier_to_bear_than_single_losses = "burst-loss",
    a_thin_way_back_carries_enough = "thin-ack-path",
    flipped_bits_stay_unnoticed_in_plain_only = "bit-flips",
    replays_are_accepted_in_plain_only = "replay",
    swapped_keys_fool_strangers_only = "key-swap",
}

#[test]
fn the_list_has_all_of_them_with_their_titles() {
    let ended = Tool::run("stream-lab", ["run", "--list"]);
    ended.assert_code(0);
    let text = String::from_utf8(ended.stdout).unwrap();
    let names: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, TESTED);
    assert!(text.lines().all(|line| line.split_whitespace().count() > 2), "{text}");
    // Each is a file of the project, and each file is one of them.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/scenarios");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut tested: Vec<_> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    files.sort();
    tested.sort();
    assert_eq!(files, tested);
}

const SMALL: &str =
    "seed = 1\n[[proxy]]\nimpair = \"up: loss 5%\"\n[[run]]\nmode = \"plain\"\nbytes = 100_000\n[expect]\n";

/// Runs a scenario of that text.
fn run(text: &str, args: &[&str]) -> super::tool::Ended {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("s.toml");
    fs::write(&file, text).unwrap();
    let words = [&["run", file.to_str().unwrap()], args].concat();
    Tool::run("stream-lab", words)
}

#[test]
fn each_failed_expectation_is_a_line_and_the_exit_code_is_1() {
    let text = SMALL.to_owned()
        + "\"lab.whole\" = { min = 1 }\n\
           \"up.dropped_pkts\" = { max = 0 }\n\
           \"lab.received_bytes\" = { min = 2, of = \"lab.sent_bytes\" }\n";
    let ended = run(&text, &[]);
    ended.assert_code(1);
    let lines: Vec<_> = ended
        .stderr
        .lines()
        .filter(|line| line.contains("expected at"))
        .collect();
    assert_eq!(lines.len(), 2, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("lab.received_bytes is 1 of lab.sent_bytes, 100000 of 100000, expected at least 2"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("up.dropped_pkts is "), "{}", ended.stderr);
    assert!(ended.stderr.contains("not as expected: 2 times"), "{}", ended.stderr);
}

#[test]
fn a_transfer_that_is_not_whole_fails_without_being_expected_to_be() {
    let text = "seed = 1\n[[proxy]]\nimpair = \"blackhole\"\n[[run]]\nmode = \"plain\"\npatience_ms = 300\n";
    let ended = run(text, &[]);
    ended.assert_code(1);
    assert!(
        ended.stderr.contains("plain: what arrived is not what was sent ("),
        "{}",
        ended.stderr
    );
}

#[test]
fn numbers_come_as_json() {
    let text = SMALL.to_owned() + "\"lab.whole\" = { min = 1 }\n\"lab.lost_packets\" = { max = 0 }\n";
    let ended = run(&text, &["--json", "--seed", "9"]);
    ended.assert_code(1);
    let object = object(&ended);
    assert_documented(&object);
    assert_eq!(object["tool"], "stream-lab run");
    assert_eq!(object["seed"], 9);
    let metrics = &object["runs"][0]["metrics"];
    assert_eq!(metrics["received_bytes"], 100_000.0);
    assert_eq!(metrics["whole"], 1.0);
    assert_eq!(object["failures"].as_array().unwrap().len(), 1);
}

#[test]
fn a_scenario_that_makes_no_sense_is_one_line_with_file_line_and_key() {
    for (from, to, words) in [
        ("bytes = 100_000", "bites = 1", "s.toml, line 6, bites: unknown field"),
        (
            "mode = \"plain\"",
            "mode = \"clear\"",
            "s.toml, line 5, mode: must be secure",
        ),
        ("up: loss 5%", "up: loss", "s.toml, line 3, impair: "),
        (
            "[expect]",
            "[expect]\n\"lab.hight\" = { min = 1 }",
            "s.toml, line 8, lab.hight: ",
        ),
    ] {
        let ended = run(&SMALL.replace(from, to), &["--check"]);
        ended.assert_code(2);
        let said: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(said.len(), 1, "{}", ended.stderr);
        assert!(said[0].contains(words), "{}", ended.stderr);
    }
    let good = run(SMALL, &["--check"]);
    good.assert_code(0);
    assert!(good.stderr.contains("is good: runs 1, steps 0"), "{}", good.stderr);
    for (args, words) in [
        (&["run"][..], "which scenario?"),
        (&["run", "no-such-thing"], "no scenario is called \"no-such-thing\""),
        (&["run", "--list", "replay"], "leave out the one"),
    ] {
        let ended = Tool::run("stream-lab", args);
        ended.assert_code(2);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    Tool::run("stream-lab", ["run", "./missing.toml"]).assert_code(1);
}
