//! `stream-lab bench`: every carrier carries everything. How fast is for benches to judge.

use super::json::{assert_documented, object};
use super::tool::Tool;

const CARRIERS: [&str; 6] = [
    "stream on UDP, secure",
    "stream on TCP, secure",
    "rustls on TCP",
    "stream on UDP, plain",
    "stream on TCP, plain",
    "TCP alone",
];

#[test]
fn all_carriers_stand_in_one_table() {
    let ended = Tool::run("stream-lab", ["bench", "--size", "300000", "--rounds", "1"]);
    ended.assert_code(0);
    let table = String::from_utf8(ended.stdout).unwrap();
    for name in CARRIERS {
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with(name)).collect();
        assert_eq!(rows.len(), 1, "{name} in\n{table}");
        assert!(rows[0].contains("B/s"), "{table}");
    }
    assert!(table.starts_with("300,000 bytes"), "{table}");
}

#[test]
fn programs_get_an_object_with_a_row_for_each_carrier() {
    let ended = Tool::run("stream-lab", ["bench", "--size", "100000", "--rounds", "2", "--json"]);
    ended.assert_code(0);
    assert!(ended.stderr.contains("rustls on TCP"), "the table is for people");
    let object = object(&ended);
    assert_documented(&object);
    assert_eq!(object["tool"], "stream-lab bench");
    assert_eq!((&object["bytes"], &object["rounds"]), (&100_000.into(), &2.into()));
    let transfers = object["transfers"].as_array().unwrap();
    let names: Vec<&str> = transfers.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, CARRIERS);
    for row in transfers {
        let number = |key: &str| row[key].as_f64().unwrap();
        assert!(number("seconds") > 0.0 && number("cpu_seconds") > 0.0, "{row}");
        let speed = 100_000.0 / number("seconds");
        assert!((number("bytes_per_second") / speed - 1.0).abs() < 1e-6, "{row}");
    }
}

#[test]
fn nothing_cannot_be_measured() {
    for args in [["bench", "--rounds", "0"], ["bench", "--size", "0"]] {
        let ended = Tool::run("stream-lab", args);
        ended.assert_code(2);
        assert!(ended.stderr.contains("at least 1"), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("Try 'stream-lab bench --help'"),
            "{}",
            ended.stderr
        );
    }
}
