//! Real sockets and threads: whole files, ends, refusals, and the parts of the original's API.

use super::{arq, cryptors, ms, payload};
use crate::closed::Closed;
use securestream::classic::{Builder, RandomDrop, Scheme, Statistics, Stream, bridge, chain};
use securestream::filter::{Direction, Spec};
use securestream::impair::{Filtered, Impaired};
use securestream::subsystem::udp::Udp;
use securestream::subsystem::{TcpClient, TcpServerSingleRemote, UdpClient, UdpServerSingleRemote, memory};
use securestream::{Limit, Security, StreamBuilder, StreamError};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(100);

/// Writes everything in a thread of its own, waits for its acknowledgement, and closes.
fn send(mut stream: Stream, bytes: Vec<u8>) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        stream.write_all(&bytes)?;
        stream.finish(WATCHDOG)
    })
}

fn receive(mut stream: &Stream, bytes: usize) -> Vec<u8> {
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut received = vec![0; bytes];
    stream.read_exact(&mut received).unwrap();
    received
}

#[test]
fn four_mebibytes_are_whole_over_tcp_and_their_end_is_the_close() {
    for scheme in Scheme::ALL {
        let builder = Builder::new().arq(arq(scheme, 2000));
        let listener = builder.listen_tcp("127.0.0.1:0").unwrap();
        let bytes = payload(4 << 20);
        let stream = builder.connect_tcp(listener.local_addr().unwrap()).unwrap();
        let sender = send(stream, bytes.clone());
        let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        sender.join().unwrap().unwrap();
        assert!(received == bytes, "{scheme}");
        assert_eq!(stream.stats().auth_failures, 0);
    }
}

#[test]
fn a_quarter_of_a_mebibyte_is_whole_over_udp() {
    for scheme in Scheme::ALL {
        let builder = Builder::new().arq(arq(scheme, 2000));
        let listener = builder.listen_udp("127.0.0.1:0").unwrap();
        let bytes = payload(256 << 10);
        let stream = builder.connect_udp(listener.local_addr().unwrap()).unwrap();
        let sender = send(stream, bytes.clone());
        let stream = listener.accept(Some(WATCHDOG)).unwrap();
        assert!(receive(&stream, bytes.len()) == bytes, "{scheme}");
        sender.join().unwrap().unwrap();
    }
}

#[test]
fn textbook_rsa_works_over_both_carriers_and_both_directions_at_once() {
    let [alice, bob] = cryptors();
    let (client, server) = (Builder::new().cryptor(alice), Builder::new().cryptor(bob));
    for udp in [false, true] {
        let (listener, stream) = if udp {
            let listener = server.listen_udp("127.0.0.1:0").unwrap();
            let stream = client.connect_udp(listener.local_addr().unwrap()).unwrap();
            (listener, stream)
        } else {
            let listener = server.listen_tcp("127.0.0.1:0").unwrap();
            let stream = client.connect_tcp(listener.local_addr().unwrap()).unwrap();
            (listener, stream)
        };
        assert_eq!(stream.preferred_segment_size(), 116);
        let (up, down) = (payload(30_000), payload(20_000));
        let accepted = listener.accept(Some(WATCHDOG)).unwrap();
        let senders = [
            send(stream.try_clone().unwrap(), up.clone()),
            send(accepted.try_clone().unwrap(), down.clone()),
        ];
        assert!(receive(&accepted, up.len()) == up);
        assert!(receive(&stream, down.len()) == down);
        for sender in senders {
            sender.join().unwrap().unwrap();
        }
    }
}

#[test]
fn a_bad_link_in_memory_loses_nothing_in_the_end() {
    let spec: Spec = "loss 20%; delay 1ms".parse().unwrap();
    let (left, right) = memory::pair();
    let builder = Builder::new().arq(arq(Scheme::SelectiveRepeat, 20));
    let left = Impaired::new(left, spec.chain(3, Direction::Downstream));
    let right = Impaired::new(right, spec.chain(3, Direction::Upstream));
    let (left, right) = (builder.over(left).unwrap(), builder.over(right).unwrap());
    let bytes = payload(100_000);
    let sender = send(left, bytes.clone());
    assert!(receive(&right, bytes.len()) == bytes);
    sender.join().unwrap().unwrap();
}

#[test]
fn a_close_within_a_packet_or_behind_a_gap_is_known_to_be_a_cut() {
    let whole = b"\x0e\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0\0hi";
    let late = b"\x0e\0\0\0\x0a\0\0\0\0\0\0\0\x02\0\0\0ho";
    for (rest, is_cut) in [(&b""[..], false), (&whole[..7], true), (late, true)] {
        let listener = Builder::new().listen_tcp("127.0.0.1:0").unwrap();
        let mut old = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
        old.write_all(&[&whole[..], rest].concat()).unwrap();
        drop(old);
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes);
        assert_eq!(bytes, b"hi");
        match end {
            Ok(_) => assert!(!is_cut),
            Err(error) => {
                assert!(is_cut, "{error}");
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        }
    }
}

#[test]
fn an_old_sender_that_leaves_answers_unread_resets_the_connection_and_that_is_an_end_too() {
    let listener = Builder::new().listen_tcp("127.0.0.1:0").unwrap();
    let mut old = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
    old.write_all(b"\x0e\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0\0hi").unwrap();
    let mut bytes = [0; 2];
    stream.read_exact(&mut bytes).unwrap();
    // The answer is there, for it peeks, and stays unread.
    old.set_read_timeout(Some(WATCHDOG)).unwrap();
    old.peek(&mut [0; 1]).unwrap();
    drop(old);
    assert_eq!(stream.read(&mut bytes).unwrap(), 0);
}

#[test]
fn a_sender_hears_that_the_peer_closed_with_packets_under_way() {
    let old = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = Builder::new().connect_tcp(old.local_addr().unwrap()).unwrap();
    let (mut old, _) = old.accept().unwrap();
    stream.write_all(b"hello").unwrap();
    old.read_exact(&mut [0; 21]).unwrap();
    drop(old);
    let error = stream.finish(WATCHDOG).unwrap_err();
    let expected = StreamError::Unacknowledged {
        bytes: 5,
        reason: "connection reset by the peer: it closed the connection with 5 bytes that it has not acknowledged"
            .into(),
        timed_out: false,
    };
    assert_eq!(StreamError::of(&error), Some(&expected));
    assert!(stream.wait_closed(Some(WATCHDOG)) && !stream.is_open());
    assert!(stream.write(b"more").is_err());
}

#[test]
fn a_sender_to_nobody_is_told_so() {
    let nobody = Closed::port();
    let mut stream = Builder::new().connect_udp(nobody.addr).unwrap();
    let _ = stream.write(b"hello");
    let error = stream.finish(WATCHDOG).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");

    // Somebody who never answers.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let builder = Builder::new().connect_timeout(ms(50));
    let mut stream = builder.connect_udp(deaf.local_addr().unwrap()).unwrap();
    // Writing fails too, if the time is over before it begins.
    let told = stream.write_all(b"hello").and_then(|()| stream.finish(WATCHDOG));
    let error = told.unwrap_err();
    let is_about_connecting = matches!(
        StreamError::of(&error),
        Some(StreamError::TimedOut {
            limit: Limit::Connect,
            ..
        })
    );
    assert!(is_about_connecting, "{error}");
}

#[test]
fn every_wait_ends_by_its_time_out_or_by_abort() {
    let listener = Builder::new().listen_tcp("127.0.0.1:0").unwrap();
    let error = listener.accept(Some(ms(5))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let mut client = Builder::new().connect_tcp(listener.local_addr().unwrap()).unwrap();
    let mut server = listener.accept(Some(WATCHDOG)).unwrap();
    server.set_read_timeout(Some(ms(5))).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    server.set_read_timeout(Some(WATCHDOG)).unwrap();
    assert!(server.set_read_timeout(Some(Duration::ZERO)).is_err());

    // Nobody reads: the window closes, and so does the buffer behind it.
    client.set_write_timeout(Some(ms(50))).unwrap();
    let error = client.write_all(&payload(1 << 20)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let error = client.finish(ms(5)).unwrap_err();
    assert!(matches!(
        StreamError::of(&error),
        Some(StreamError::Unacknowledged { timed_out: true, .. })
    ));
    assert_eq!(client.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);

    let other = client.try_clone().unwrap();
    let reader = thread::spawn(move || (&other).read(&mut [0]));
    client.abort();
    assert_eq!(
        reader.join().unwrap().unwrap_err().kind(),
        io::ErrorKind::ConnectionAborted
    );
}

#[test]
fn a_udp_listener_serves_one_peer_after_the_other() {
    let listener = Builder::new().listen_udp("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    assert_eq!(
        listener.accept(Some(ms(5))).unwrap_err().kind(),
        io::ErrorKind::TimedOut
    );
    for text in [b"one", b"two"] {
        let mut client = Builder::new().connect_udp(addr).unwrap();
        client.write_all(text).unwrap();
        let stream = listener.accept(Some(WATCHDOG)).unwrap();
        assert_eq!(receive(&stream, 3), text);
        client.finish(WATCHDOG).unwrap();
        let error = listener.accept(Some(WATCHDOG)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "one at a time");
        let error = listener.accept(Some(WATCHDOG)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "one at a time");
    }
}

#[test]
fn a_stream_whose_beginning_nobody_heard_is_none() {
    let listener = Builder::new().listen_udp("127.0.0.1:0").unwrap();
    let old = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    old.send_to(b"\x0e\0\0\0\x0a\0\0\0\0\0\0\0\x0a\0\0\0hi", addr).unwrap();
    old.send_to(b"\x0c\0\0\0\x0a\0\0\0\x01\0\0\0\xff\xff\xff\xff", addr)
        .unwrap();
    let incidents = listener.incidents();
    let accepting = thread::spawn(move || listener.accept(Some(WATCHDOG)));
    for _ in 0..2 {
        let incident = incidents.recv_timeout(WATCHDOG).unwrap();
        assert!(incident.reason.contains("start its sender again"), "{incident:?}");
    }
    old.send_to(b"\x0e\0\0\0\x0a\0\0\0\0\0\0\0\x09\0\0\0hi", addr).unwrap();
    assert!(accepting.join().unwrap().is_ok(), "the first of its window may be lost");
}

#[test]
fn peers_of_other_modes_are_turned_away_with_a_sentence_that_says_what_to_do() {
    // UDP: the listener says it, and goes on waiting.
    let listener = Builder::new().listen_udp("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let plain = thread::spawn(move || StreamBuilder::new(Security::plain()).connect(addr));
    let incidents = listener.incidents();
    let accepting = thread::spawn(move || listener.accept(Some(WATCHDOG)));
    let incident = incidents.recv_timeout(WATCHDOG).unwrap();
    let expected = "the peer speaks plain, this side classic: give --classic to both sides or to neither";
    assert_eq!(incident.reason, expected);
    let error = plain.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
    assert!(
        error
            .to_string()
            .contains("the peer speaks the classic protocol, this side plain"),
        "{error}"
    );
    let mut late = Builder::new().connect_udp(addr).unwrap();
    late.write_all(b"at last").unwrap();
    assert_eq!(receive(&accepting.join().unwrap().unwrap(), 7), b"at last");

    // TCP: the stream says it.
    let listener = Builder::new().listen_tcp("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let plain = thread::spawn(move || {
        let builder = StreamBuilder::new(Security::plain()).carrier(securestream::Carrier::Tcp);
        builder.connect(addr)
    });
    let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.to_string(), expected);
    let error = plain.join().unwrap().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the peer speaks the classic protocol, this side plain"),
        "{error}"
    );
}

#[test]
fn servers_of_other_modes_say_that_the_peer_speaks_classic_and_what_to_do() {
    for carrier in [securestream::Carrier::Udp, securestream::Carrier::Tcp] {
        let builder = StreamBuilder::new(Security::plain()).carrier(carrier);
        let listener = builder.bind("127.0.0.1:0").unwrap();
        let incidents = listener.incidents();
        let addr = listener.local_addr().unwrap();
        let client = Builder::new();
        let mut stream = match carrier {
            securestream::Carrier::Udp => client.connect_udp(addr),
            securestream::Carrier::Tcp => client.connect_tcp(addr),
        }
        .unwrap();
        stream.set_linger(Some(Duration::ZERO)).unwrap();
        let _ = stream.write(b"hello");
        let securestream::Incident::Refused { reason, .. } = incidents.recv_timeout(WATCHDOG).unwrap() else {
            panic!("somebody was refused");
        };
        assert!(reason.contains("the peer speaks the classic protocol"), "{reason}");
        assert!(reason.contains("--classic"), "{reason}");
    }
}

#[test]
fn sides_with_other_keys_or_only_one_of_them_are_told() {
    let [alice, _] = cryptors();
    let listener = Builder::new().cryptor(alice).listen_tcp("127.0.0.1:0").unwrap();
    let mut client = Builder::new().connect_tcp(listener.local_addr().unwrap()).unwrap();
    client.set_linger(Some(Duration::ZERO)).unwrap();
    client.write_all(b"in clear").unwrap();
    let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert!(error.to_string().contains("--priv-key"), "{error}");
}

#[test]
fn the_bridge_of_the_original_moves_packets_between_carriers_and_counts_and_drops() {
    let receiver = Builder::new()
        .arq(arq(Scheme::SelectiveRepeat, 30))
        .listen_tcp("127.0.0.1:0")
        .unwrap();
    let door = TcpServerSingleRemote::new("127.0.0.1:0").unwrap();
    let door_addr = door.local_addr().unwrap();
    let client = Builder::new()
        .arq(arq(Scheme::SelectiveRepeat, 30))
        .connect_tcp(door_addr)
        .unwrap();
    let a = door.accept(Some(WATCHDOG)).unwrap();
    let b = TcpClient::new("127.0.0.1", receiver.local_addr().unwrap().port()).unwrap();
    let (seen, kept, back) = (Statistics::new(), Statistics::new(), Statistics::new());
    let there = chain([
        seen.filter(),
        RandomDrop::new(20.0, 11, Direction::Upstream).filter(),
        kept.filter(),
    ]);
    let bridge = bridge(a, b, there, back.filter()).unwrap();
    let mut stream = receiver.accept(Some(WATCHDOG)).unwrap();
    let bytes = payload(100_000);
    let sender = send(client, bytes.clone());
    assert!(receive(&stream, bytes.len()) == bytes);
    sender.join().unwrap().unwrap();
    // The client's end comes through.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    bridge.wait().unwrap();
    assert!(
        seen.packets() > kept.packets() && kept.packets() >= 49,
        "{seen:?} {kept:?}"
    );
    assert!(back.packets() > 0);
}

#[test]
fn a_bridge_over_udp_relays_introductions_and_falls_when_closed() {
    let receiver = Builder::new().listen_udp("127.0.0.1:0").unwrap();
    let door = UdpServerSingleRemote::new("127.0.0.1:0").unwrap();
    let mut client = Builder::new().connect_udp(door.local_addr().unwrap()).unwrap();
    let a: Udp = door.accept(Some(WATCHDOG)).unwrap();
    let b = UdpClient::new("127.0.0.1", receiver.local_addr().unwrap().port()).unwrap();
    let bridge = bridge(a, b, chain([]), chain([])).unwrap();
    client.write_all(b"over the bridge").unwrap();
    let stream = receiver.accept(Some(WATCHDOG)).unwrap();
    assert_eq!(receive(&stream, 15), b"over the bridge");
    client.finish(WATCHDOG).unwrap();
    bridge.close().unwrap();
}

#[test]
fn filters_of_the_original_work_around_any_subsystem_of_a_stream() {
    let (left, right) = memory::pair();
    let counted = Statistics::new();
    let left = Filtered::new(left).transmit(counted.filter());
    let (mut left, right) = (Builder::new().over(left).unwrap(), Builder::new().over(right).unwrap());
    left.write_all(b"counted").unwrap();
    assert_eq!(receive(&right, 7), b"counted");
    left.finish(WATCHDOG).unwrap();
    assert_eq!((counted.packets(), counted.bytes()), (1, 4 + 12 + 7));
}
