//! The command line itself: nothing here needs a connection.

use super::tool::Tool;
use securestream::proto::congestion;

const TOOLS: [&str; 3] = ["stream-sender", "stream-receiver", "stream-lab"];

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2_and_says_where_help_is() {
    let cases: [(&str, &[&str], &str); 18] = [
        ("stream-sender", &["--bogus"], "unknown option '--bogus'"),
        ("stream-sender", &["--target-prot", "1"], "did you mean --target-port?"),
        ("stream-sender", &["picture.jpg"], "did you mean --file picture.jpg?"),
        (
            "stream-sender",
            &["--target-port", "65536"],
            "a port is a number from 0 to 65535",
        ),
        ("stream-sender", &["--target-port", "0"], "nobody listens on port 0"),
        ("stream-sender", &["--connect-timeout", "0"], "longer than zero"),
        ("stream-sender", &["--file"], "needs a value"),
        ("stream-sender", &["--plain=yes"], "takes no value"),
        (
            "stream-receiver",
            &["picture.jpg"],
            "did you mean --output picture.jpg?",
        ),
        (
            "stream-receiver",
            &["--bind", "not an address"],
            "--bind takes an address",
        ),
        ("stream-receiver", &["-qv"], "exclude each other"),
        (
            "stream-receiver",
            &["--keep-open", "--output", "/dev/null"],
            "needs a directory",
        ),
        ("stream-lab", &["--loss", "101"], "a percentage from 0 to 100"),
        ("stream-lab", &["--udp", "--tcp"], "--udp and --tcp exclude each other"),
        ("stream-lab", &["one", "two"], "unexpected operand 'two'"),
        ("stream-lab", &["--generate", "perl"], "bash, zsh, fish or man"),
        (
            "stream-lab",
            &["--congestion", "vegas"],
            "use one of bbr, cubic, new-reno, fixed:BYTES",
        ),
        (
            "stream-receiver",
            &["--congestion", "fixed:0"],
            "use one of bbr, cubic, new-reno, fixed:BYTES",
        ),
    ];
    for (tool, args, words) in cases {
        let ended = Tool::run(tool, args);
        ended.assert_code(2);
        assert!(ended.stderr.contains(words), "{tool} {args:?} said: {}", ended.stderr);
        assert!(
            ended
                .stderr
                .ends_with(&format!("Try '{tool} --help' for more information.")),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn help_version_and_completions_go_to_standard_output() {
    for tool in TOOLS {
        for args in [["--help"], ["-h"]] {
            let ended = Tool::run(tool, args);
            ended.assert_code(0);
            let text = String::from_utf8(ended.stdout).unwrap();
            for part in [
                tool,
                "--help",
                "--version",
                "--quiet",
                "--verbose",
                "--generate",
                "--congestion",
                "--max-datagram",
            ]
            .iter()
            .chain(congestion::names())
            {
                assert!(text.contains(part), "{tool}: no {part} in\n{text}");
            }
            assert_eq!(ended.stderr, "");
        }
        let ended = Tool::run(tool, ["-V"]);
        ended.assert_code(0);
        assert_eq!(
            String::from_utf8(ended.stdout).unwrap(),
            format!("{tool} {}\n", env!("CARGO_PKG_VERSION"))
        );
        for shape in ["bash", "zsh", "fish", "man"] {
            let ended = Tool::run(tool, ["--generate", shape]);
            ended.assert_code(0);
            // A man page escapes its dashes.
            let text = String::from_utf8(ended.stdout).unwrap().replace("\\-", "-");
            assert!(text.contains(tool), "{tool} {shape}");
        }
    }
}

#[test]
fn completions_are_those_of_a_whole_program_and_manual_pages_of_its_jobs_too() {
    for job in ["bench", "doctor", "run"] {
        let ended = Tool::run("stream-lab", [job, "--generate", "zsh"]);
        ended.assert_code(2);
        assert!(ended.stderr.contains("stream-lab --generate zsh"), "{}", ended.stderr);
        Tool::run("stream-lab", [job, "--generate", "man"]).assert_code(0);
    }
}

#[test]
fn help_into_a_closed_pipe_is_no_failure() {
    let mut tool = Tool::start("stream-sender", ["--help"]);
    drop(tool.stdout.take());
    let ended = tool.end();
    ended.assert_code(0);
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_missing_input_is_one_clear_line() {
    for (tool, args) in [
        ("stream-sender", &["--file", "/nonexistent"][..]),
        ("stream-lab", &["/nonexistent"]),
    ] {
        let ended = Tool::run(tool, args);
        ended.assert_code(1);
        assert_eq!(
            ended.stderr,
            format!("{tool}: cannot open /nonexistent: No such file or directory")
        );
    }
    let ended = Tool::run("stream-sender", ["--file", "/"]);
    ended.assert_code(1);
    assert_eq!(ended.stderr, "stream-sender: cannot send /: it is a directory");
}

#[test]
fn a_place_that_cannot_be_written_is_known_before_anybody_connects() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("no/where").to_str().unwrap().to_owned();
    let ended = Tool::run("stream-receiver", ["--port", "0", "--plain", "--output", &output]);
    ended.assert_code(1);
    assert_eq!(
        ended.stderr,
        format!("stream-receiver: cannot write to {output}: No such file or directory")
    );
}

#[test]
fn a_wrong_variable_is_named() {
    let ended = Tool::start_with("stream-sender", [""; 0], &[("STREAM_TARGET_PORT", "many")]).end();
    ended.assert_code(2);
    assert!(
        ended.stderr.contains("from the environment: STREAM_TARGET_PORT"),
        "{}",
        ended.stderr
    );
}
