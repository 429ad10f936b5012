//! Transfers that end well.

use super::tool::{Tool, WATCHDOG, start_thread};
use crossbeam_channel::unbounded;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::Path;

/// The options of either carrier.
const CARRIERS: [&[&str]; 2] = [&[], &["--udp"]];

/// Bytes in which every position is different from its neighbours.
fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_arrives_whole_and_nothing_else_is_left() {
    for carrier in CARRIERS {
        let (place, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (place.path().join("from"), there.path().join("to"));
        let sent = payload(3_000_001);
        fs::write(&from, &sent).unwrap();
        let (receiver, port) = Tool::receiver(&[carrier, &["--output", to.to_str().unwrap()]].concat());
        let sender = Tool::sender(&port, &[carrier, &["--file", from.to_str().unwrap()]].concat()).end();
        sender.assert_code(0);
        assert!(sender.stderr.contains("sent 3,000,001 bytes"), "{}", sender.stderr);
        assert!(sender.stdout.is_empty());
        let receiver = receiver.end();
        receiver.assert_code(0);
        assert!(
            receiver.stderr.contains("received 3,000,001 bytes in "),
            "{}",
            receiver.stderr
        );
        assert!(receiver.stdout.is_empty());
        assert!(fs::read(&to).unwrap() == sent, "{carrier:?}");
        assert_eq!(names(there.path()), ["to"]);
    }
}

#[test]
fn every_line_typed_arrives_at_once_and_standard_output_has_nothing_but_payload() {
    for carrier in CARRIERS {
        let (mut receiver, port) = Tool::receiver(carrier);
        let mut sender = Tool::sender(&port, carrier);
        for line in ["first\n", "second, without an end", "\n"] {
            sender.input(line.as_bytes());
            // The next is written only when this has come out at the other side.
            assert_eq!(receiver.output(line.len()), line.as_bytes());
        }
        sender.end().assert_code(0);
        let receiver = receiver.end();
        receiver.assert_code(0);
        assert!(receiver.stdout.is_empty());
    }
}

#[test]
fn an_empty_input_is_an_empty_file() {
    for carrier in CARRIERS {
        let there = tempfile::tempdir().unwrap();
        let to = there.path().join("to");
        let (receiver, port) = Tool::receiver(&[carrier, &["--output", to.to_str().unwrap()]].concat());
        Tool::sender(&port, &[carrier, &["--file", "-"]].concat())
            .end()
            .assert_code(0);
        receiver.end().assert_code(0);
        assert_eq!(fs::read(&to).unwrap(), b"");
    }
}

#[test]
fn a_fifo_gets_the_payload_directly() {
    let there = tempfile::tempdir().unwrap();
    let fifo = there.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (receiver, port) = Tool::receiver(&["--output", fifo.to_str().unwrap()]);
    let mut sender = Tool::sender(&port, &[]);
    sender.input(b"through a pipe");
    let (give, take) = unbounded();
    start_thread("fifo", {
        let fifo = fifo.clone();
        move || drop(give.send(fs::read(fifo)))
    });
    sender.end().assert_code(0);
    receiver.end().assert_code(0);
    assert_eq!(take.recv_timeout(WATCHDOG).unwrap().unwrap(), b"through a pipe");
    assert_eq!(names(there.path()), ["fifo"]);
}

#[test]
fn a_directory_gets_a_numbered_file_and_keeps_what_it_has() {
    let there = tempfile::tempdir().unwrap();
    fs::write(there.path().join("stream-0001"), "mine").unwrap();
    let (receiver, port) = Tool::receiver(&["--output", there.path().to_str().unwrap()]);
    let mut sender = Tool::sender(&port, &[]);
    sender.input(b"new");
    sender.end().assert_code(0);
    receiver.end().assert_code(0);
    assert_eq!(names(there.path()), ["stream-0001", "stream-0002"]);
    assert_eq!(fs::read(there.path().join("stream-0001")).unwrap(), b"mine");
    assert_eq!(fs::read(there.path().join("stream-0002")).unwrap(), b"new");
}

#[test]
fn keep_open_serves_one_after_another_until_a_signal() {
    for carrier in CARRIERS {
        let there = tempfile::tempdir().unwrap();
        let place = there.path().join("incoming");
        let output = ["--keep-open", "--output", place.to_str().unwrap()];
        let (mut receiver, port) = Tool::receiver(&[carrier, &output].concat());
        for content in ["one", "two", "three"] {
            let mut sender = Tool::sender(&port, carrier);
            sender.input(content.as_bytes());
            sender.end().assert_code(0);
            receiver.line("received ");
        }
        receiver.signal("INT");
        receiver.end().assert_code(130);
        assert_eq!(names(&place), ["stream-0001", "stream-0002", "stream-0003"]);
        assert_eq!(fs::read(place.join("stream-0003")).unwrap(), b"three");
    }
}

#[test]
fn a_sender_that_dies_in_silence_keeps_no_other_one_waiting() {
    for carrier in CARRIERS {
        let there = tempfile::tempdir().unwrap();
        let place = there.path().join("incoming");
        // The place of the dead one would be free after far more than anybody waits here.
        let options = [
            "-v",
            "--keep-open",
            "--idle-timeout",
            "1h",
            "--output",
            place.to_str().unwrap(),
        ];
        let (mut receiver, port) = Tool::receiver(&[carrier, &options].concat());
        let idle = [carrier, &["--idle-timeout", "1h"]].concat();
        let mut dead = Tool::sender(&port, &idle);
        dead.input(b"half of it");
        receiver.line("is connected");
        // A slow one, too, is no reason to wait.
        let mut slow = Tool::sender(&port, &idle);
        slow.input(b"slow");
        receiver.line("is connected");
        dead.signal("KILL");
        for content in ["two", "three"] {
            let mut sender = Tool::sender(&port, carrier);
            sender.input(content.as_bytes());
            sender.end().assert_code(0);
        }
        slow.end().assert_code(0);
        receiver.signal("TERM");
        receiver.end().assert_code(143);
        let mut came: Vec<_> = names(&place)
            .iter()
            .map(|name| fs::read(place.join(name)).unwrap())
            .collect();
        came.sort();
        assert_eq!(came, [&b"slow"[..], b"three", b"two"]);
    }
}

#[test]
fn a_host_name_reaches_a_receiver_on_any_of_its_addresses() {
    let cases = [("127.0.0.1", "localhost"), ("::1", "localhost"), ("::1", "[::1]")];
    let localhost: Vec<_> = ("localhost", 0)
        .to_socket_addrs()
        .unwrap()
        .map(|found| found.ip().to_string())
        .collect();
    for (bind, target) in cases {
        if TcpListener::bind((bind, 0)).is_err() || (target == "localhost" && !localhost.contains(&bind.to_owned())) {
            // A machine without IPv6, or one whose localhost is not both.
            continue;
        }
        for carrier in CARRIERS {
            let options = ["--port", "0", "--bind", bind, "--plain"];
            let mut receiver = Tool::start("stream-receiver", [&options, carrier].concat());
            let port = receiver.port();
            let mut sender = Tool::sender(&port, &[carrier, &["--target", target]].concat());
            sender.input(b"hello");
            sender.end().assert_code(0);
            let receiver = receiver.end();
            receiver.assert_code(0);
            assert_eq!(receiver.stdout, b"hello");
        }
    }
}

#[test]
fn strangers_at_the_door_do_not_end_the_receiver() {
    // TCP: an empty connection, and one that speaks something else.
    let (mut receiver, port) = Tool::receiver(&[]);
    let number: u16 = port.parse().unwrap();
    drop(TcpStream::connect(("127.0.0.1", number)).unwrap());
    let mut stranger = TcpStream::connect(("127.0.0.1", number)).unwrap();
    stranger.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    receiver.line("was turned away");
    receiver.line("was turned away");
    let mut sender = Tool::sender(&port, &[]);
    sender.input(b"the real one");
    sender.end().assert_code(0);
    let receiver = receiver.end();
    receiver.assert_code(0);
    assert_eq!(receiver.stdout, b"the real one");

    // UDP: empty datagrams and noise.
    let (receiver, port) = Tool::receiver(&["--udp"]);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for noise in [&b""[..], b"x", &[0xc0; 1200]] {
        stranger.send_to(noise, ("127.0.0.1", port.parse().unwrap())).unwrap();
    }
    let mut sender = Tool::sender(&port, &["--udp"]);
    sender.input(b"the real one");
    sender.end().assert_code(0);
    let receiver = receiver.end();
    receiver.assert_code(0);
    assert_eq!(receiver.stdout, b"the real one");
}

#[test]
fn quiet_tools_say_nothing_when_all_goes_well() {
    let there = tempfile::tempdir().unwrap();
    // The port is known only if it is said: take one. Nobody else is given it, and the receiver may share it.
    let place = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    place.set_reuse_address(true).unwrap();
    place.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let addr = place.local_addr().unwrap().as_socket().unwrap();
    let port = addr.port().to_string();
    let to = there.path().join("to").to_str().unwrap().to_owned();
    let receiver = Tool::start(
        "stream-receiver",
        ["-q", "--plain", "--bind", "127.0.0.1", "--port", &port, "--output", &to],
    );
    // Nothing says when it listens: try until somebody does.
    let mut tries = 0..1000;
    let sender = loop {
        assert!(tries.next().is_some(), "nobody ever listened on port {port}");
        let mut sender = Tool::sender(&port, &["-q"]);
        // A sender that was refused reads no input.
        let _ = sender.stdin.as_mut().unwrap().write_all(b"hush");
        let sender = sender.end();
        if sender.code != Some(4) {
            break sender;
        }
    };
    sender.assert_code(0);
    assert_eq!(sender.stderr, "");
    let receiver = receiver.end();
    receiver.assert_code(0);
    assert_eq!(receiver.stderr, "");
    assert_eq!(fs::read(&to).unwrap(), b"hush");
}

#[test]
fn what_is_given_away_is_said() {
    let mut receiver = Tool::start("stream-receiver", ["--port", "0", "--plain"]);
    receiver.line("warning: --plain on all interfaces");
    receiver.signal("TERM");
    receiver.end().assert_code(143);
}

#[test]
fn options_come_from_the_environment_where_the_command_line_is_silent() {
    let env = [
        ("STREAM_PORT", "0"),
        ("STREAM_BIND", "127.0.0.1"),
        ("STREAM_UDP", "1"),
        ("STREAM_PLAIN", "0"),
    ];
    let mut receiver = Tool::start_with("stream-receiver", ["--plain"], &env);
    assert!(receiver.line("listening on 127.0.0.1:").ends_with("(udp)"));
}
