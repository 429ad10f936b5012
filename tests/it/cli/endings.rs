//! Transfers that do not end well: one clear line each, the right exit code, and never a file that looks whole.

use super::tool::{Tool, start_thread};
use crate::closed::Closed;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::thread;

const CARRIERS: [&[&str]; 2] = [&[], &["--udp"]];
/// So that the death of a peer is noticed soon where the network does not tell.
const IDLE: [&str; 2] = ["--idle-timeout", "4s"];

#[test]
fn a_killed_sender_leaves_no_file_and_its_receiver_ends_with_5() {
    for carrier in CARRIERS {
        let there = tempfile::tempdir().unwrap();
        let to = there.path().join("to");
        fs::write(&to, "old").unwrap();
        let output = ["--output", to.to_str().unwrap(), "-v"];
        let (mut receiver, port) = Tool::receiver(&[carrier, &IDLE, &output].concat());
        let mut sender = Tool::sender(&port, &[carrier, &IDLE].concat());
        sender.input(b"the first half");
        receiver.line("is connected");
        sender.signal("KILL");
        assert_eq!(sender.end().code, None);
        let receiver = receiver.end();
        receiver.assert_code(5);
        assert!(receiver.stderr.contains("truncated: "), "{}", receiver.stderr);
        assert_eq!(fs::read(&to).unwrap(), b"old");
        assert_eq!(
            fs::read_dir(there.path()).unwrap().count(),
            1,
            "a temporary file is left"
        );
    }
}

#[test]
fn a_killed_receiver_fails_its_sender_even_while_the_input_is_silent() {
    for carrier in CARRIERS {
        let (mut receiver, port) = Tool::receiver(&[carrier, &IDLE].concat());
        let mut sender = Tool::sender(&port, &[carrier, &IDLE].concat());
        sender.input(b"hello");
        assert_eq!(receiver.output(5), b"hello");
        receiver.signal("KILL");
        // Its input stays open: it is the stream that ends.
        let stdin = sender.stdin.take();
        let sender = sender.end();
        drop(stdin);
        sender.assert_code(1);
        assert!(
            sender.stderr.contains("the transfer failed after 5 bytes"),
            "{}",
            sender.stderr
        );
    }
}

#[test]
fn an_output_whose_reader_goes_away_ends_both_sides() {
    for carrier in CARRIERS {
        let (mut receiver, port) = Tool::receiver(carrier);
        let sender = Tool::sender(&port, &[carrier, &["--file", "/dev/zero"]].concat());
        // As `| head -c 1` does.
        assert_eq!(receiver.output(1), [0]);
        drop(receiver.stdout.take());
        receiver.end().assert_code(141);
        sender.end().assert_code(1);
    }
}

#[test]
fn a_full_disk_fails_both_sides() {
    let (receiver, port) = Tool::receiver(&["--output", "/dev/full"]);
    let mut sender = Tool::sender(&port, &[]);
    sender.input(b"too much");
    let receiver = receiver.end();
    receiver.assert_code(1);
    assert!(
        receiver
            .stderr
            .contains("cannot write to /dev/full: No space left on device"),
        "{}",
        receiver.stderr
    );
    sender.end().assert_code(1);
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ports = [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()].map(|port| port.to_string());
    for (port, carrier, word) in [(&ports[0], CARRIERS[0], "tcp"), (&ports[1], CARRIERS[1], "udp")] {
        for bind in [&["--bind", "127.0.0.1"][..], &[]] {
            let options = ["-q", "--plain", "--port", port];
            let ended = Tool::run("stream-receiver", [&options, carrier, bind].concat());
            ended.assert_code(1);
            let line = format!("stream-receiver: cannot listen on port {port} ({word}): ");
            assert!(ended.stderr.starts_with(&line), "{}", ended.stderr);
            assert!(ended.stderr.contains("Address already in use"), "{}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        }
    }
}

#[test]
fn a_refused_connection_to_the_default_port_says_where_a_receiver_listens() {
    let Ok(free) = TcpListener::bind("127.0.0.1:6000") else {
        eprintln!("port 6000 is in use on this machine: not tried");
        return;
    };
    drop(free);
    for carrier in CARRIERS {
        let ended = Tool::run("stream-sender", [&["--plain"], carrier].concat());
        ended.assert_code(4);
        assert_eq!(
            ended.stderr,
            "stream-sender: nothing listens on 127.0.0.1:6000 (the proxy's port); \
             a receiver listens on 7000: --target-port 7000"
        );
    }
}

#[test]
fn nobody_there_and_no_such_host_end_with_4() {
    let nobody = Closed::port();
    let port = nobody.addr.port().to_string();
    let ended = Tool::run("stream-sender", ["--plain", "--target-port", &port]);
    ended.assert_code(4);
    assert!(
        ended.stderr.contains("cannot connect to 127.0.0.1:"),
        "{}",
        ended.stderr
    );
    let ended = Tool::run("stream-sender", ["--plain", "--target", "no-such-host.invalid"]);
    ended.assert_code(4);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn a_peer_that_never_answers_is_given_up_in_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let ended = Tool::sender(&port, &["--udp", "--connect-timeout", "500ms"]).end();
    ended.assert_code(4);
    assert!(ended.stderr.contains("timed out"), "{}", ended.stderr);
}

#[test]
fn a_signal_ends_a_receiver_that_waits_at_once() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let there = tempfile::tempdir().unwrap();
        let (receiver, _) = Tool::receiver(&["--output", there.path().join("to").to_str().unwrap()]);
        receiver.signal(signal);
        receiver.end().assert_code(code);
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0);
    }
}

#[test]
fn the_first_signal_lets_a_transfer_end_and_the_second_does_not() {
    for carrier in CARRIERS {
        let there = tempfile::tempdir().unwrap();
        let to = there.path().join("to");
        let options = [carrier, &["-v", "--output", to.to_str().unwrap()]].concat();

        let (mut receiver, port) = Tool::receiver(&options);
        let mut sender = Tool::sender(&port, carrier);
        sender.input(b"half and ");
        receiver.line("is connected");
        receiver.signal("INT");
        receiver.line("interrupted");
        sender.input(b"half");
        sender.end().assert_code(0);
        receiver.end().assert_code(130);
        assert_eq!(fs::read(&to).unwrap(), b"half and half");
        fs::remove_file(&to).unwrap();

        let (mut receiver, port) = Tool::receiver(&options);
        let sender = Tool::sender(&port, &[carrier, &IDLE].concat());
        receiver.line("is connected");
        receiver.signal("INT");
        receiver.line("interrupted");
        receiver.signal("TERM");
        receiver.end().assert_code(143);
        assert_eq!(
            fs::read_dir(there.path()).unwrap().count(),
            0,
            "a temporary file is left"
        );
        sender.end().assert_code(1);
    }
}

#[test]
fn an_interrupted_input_never_looks_whole() {
    for carrier in CARRIERS {
        let (mut receiver, port) = Tool::receiver(carrier);
        let mut sender = Tool::sender(&port, carrier);
        sender.input(b"half");
        assert_eq!(receiver.output(4), b"half");
        sender.signal("INT");
        let stdin = sender.stdin.take();
        sender.end().assert_code(130);
        drop(stdin);
        receiver.end().assert_code(5);
    }
}

#[test]
fn an_input_without_end_ends_with_a_signal_too() {
    for carrier in CARRIERS {
        for mode in [&[][..], &["--classic"]] {
            let options = [carrier, mode, &IDLE].concat();
            let ports = ["--port", "0", "--bind", "127.0.0.1"];
            let mut receiver = Tool::start("stream-receiver", [&ports, &options[..]].concat());
            let port = receiver.port();
            let mut sender = Tool::start("stream-sender", [&["--target-port", &port], &options[..]].concat());
            let mut input = sender.stdin.take().unwrap();
            start_thread("input", move || while input.write_all(&[7; 4096]).is_ok() {});
            receiver.output(10_000);
            sender.signal("TERM");
            sender.end().assert_code(143);
            // The original's protocol has no word for it.
            receiver.end().assert_code(if mode.is_empty() { 5 } else { 0 });
        }
    }
}

#[test]
fn a_signal_ends_a_transfer_that_stands_still_and_the_peer_hears_of_it() {
    // Side by side, for each waits for 5 s.
    thread::scope(|scope| {
        for carrier in CARRIERS {
            for who in ["stream-receiver", "stream-sender"] {
                scope.spawn(move || stand_still(carrier, who));
            }
        }
    });
}

/// Its peer lives, and does nothing: one does not write, the other does not read.
fn stand_still(carrier: &[&str], who: &str) {
    let there = tempfile::tempdir().unwrap();
    let to = there.path().join("to").to_str().unwrap().to_owned();
    if who == "stream-receiver" {
        let (receiver, port) = Tool::receiver(&[carrier, &["-v", "--output", &to]].concat());
        let mut receiver = receiver;
        let mut sender = Tool::sender(&port, carrier);
        sender.input(b"half");
        receiver.line("is connected");
        let stdin = sender.stdin.take();
        receiver.signal("TERM");
        let receiver = receiver.end();
        receiver.assert_code(143);
        assert!(receiver.stderr.contains("nothing moved for 5 s"), "{}", receiver.stderr);
        assert_eq!(
            fs::read_dir(there.path()).unwrap().count(),
            0,
            "a temporary file is left"
        );
        let sender = sender.end();
        sender.assert_code(1);
        assert!(
            sender.stderr.contains("aborted by the application"),
            "{}",
            sender.stderr
        );
        drop(stdin);
    } else {
        // More than windows and pipes hold, and nobody reads it.
        let from = there.path().join("from");
        fs::File::create(&from).unwrap().set_len(64 << 20).unwrap();
        let (mut receiver, port) = Tool::receiver(carrier);
        let sender = Tool::sender(&port, &[carrier, &["--file", from.to_str().unwrap()]].concat());
        receiver.output(4);
        sender.signal("INT");
        let sender = sender.end();
        sender.assert_code(130);
        assert!(sender.stderr.contains("nothing moved for 5 s"), "{}", sender.stderr);
        receiver.end().assert_code(5);
    }
}
