//! `stream-lab`: the main job in one process.

use super::tool::Tool;

/// 8 MiB, or as many bytes as `LAB_BYTES` says: 64 MiB before a release.
fn size() -> String {
    std::env::var("LAB_BYTES").unwrap_or_else(|_| "8MiB".to_owned())
}

#[test]
fn everything_arrives_whole_at_five_percent_loss() {
    for carrier in ["--udp", "--tcp"] {
        let ended = Tool::run("stream-lab", [carrier, "--loss", "5", "--seed", "7", "--size", &size()]);
        ended.assert_code(0);
        let table = String::from_utf8(ended.stdout).unwrap();
        assert!(table.contains("the same at both ends"), "{table}");
        for row in ["goodput", "RTT", "packets sent", "sent again", "CPU", "loss 5%"] {
            assert!(table.contains(row), "no {row} in\n{table}");
        }
        assert_eq!(ended.stderr, "", "a given seed is not told again");
    }
}

#[test]
fn a_file_and_a_drawn_seed_are_told() {
    let ended = Tool::run("stream-lab", ["Cargo.toml", "--delay", "5"]);
    ended.assert_code(0);
    assert!(ended.stderr.starts_with("seed "), "{}", ended.stderr);
    let table = String::from_utf8(ended.stdout).unwrap();
    assert!(table.contains("delay 5ms"), "{table}");
}

#[test]
fn a_link_that_lets_nothing_through_is_a_failure() {
    let ended = Tool::start_with("stream-lab", ["--loss", "100", "--seed", "1"], &[]).end();
    ended.assert_code(1);
    assert!(ended.stderr.contains("cannot connect"), "{}", ended.stderr);
    assert!(ended.stdout.is_empty());
}
