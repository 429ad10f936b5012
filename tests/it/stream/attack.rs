//! What a listener does about strangers, seen from outside.

use super::*;
use securestream::identity::PrivateKey;
use securestream::trust::{Trust, Unauthenticated};
use securestream::{Limits, Listener};
use std::io::{Read, Write};
use std::net::{Shutdown, UdpSocket};

fn anybody() -> StreamBuilder {
    let key = PrivateKey::generate(2048).expect("a common size");
    StreamBuilder::new(Security::secure(key, Trust::Unauthenticated(Unauthenticated)))
}

fn echo_once(client: &Stream, server: Stream) {
    let serving = thread::spawn(move || {
        let mut text = Vec::new();
        (&server).read_to_end(&mut text).expect("read");
        (&server).write_all(&text).expect("write");
    });
    (&*client).write_all(b"ping").expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut text = Vec::new();
    (&*client).read_to_end(&mut text).expect("read");
    assert_eq!(text, b"ping");
    serving.join().expect("served");
}

#[test]
fn clients_follow_a_retry() {
    for options in [plain(), anybody()] {
        within(WATCHDOG, move || {
            let limits = Limits {
                retry_above: 0,
                ..Limits::default()
            };
            let listener = options.clone().limits(limits).bind("127.0.0.1:0").expect("bind");
            for _ in 0..3 {
                let client = options.connect(listener.local_addr().expect("bound")).expect("connect");
                let (server, _) = listener.accept_timeout(WATCHDOG).expect("accept");
                echo_once(&client, server);
            }
            let stats = listener.stats();
            assert!(stats.retries_sent >= 3, "{stats:?}");
            assert_eq!((stats.handshakes, stats.dropped_token), (3, 0));
        });
    }
}

#[test]
fn connections_beyond_the_limit_are_refused_until_there_is_room() {
    within(WATCHDOG, || {
        let limits = Limits {
            connections: 2,
            ..Limits::default()
        };
        let listener = plain().limits(limits).bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("bound");
        let connect = || plain().linger(Some(Duration::ZERO)).connect(addr);
        let (first, _second) = (connect().expect("connect"), connect().expect("connect"));
        let served: Vec<_> = (0..2).map(|_| listener.accept_timeout(WATCHDOG)).collect();
        assert_eq!(listener.stats().connections, 2);
        assert_kind(connect(), io::ErrorKind::ConnectionRefused);
        drop(first);
        until("its place is free", || listener.stats().connections < 2);
        connect().expect("there is room");
        drop(served);
    });
}

/// The windows of all streams together stay within the memory of the listener, however hard they are pushed.
#[test]
fn receive_memory_is_shared_by_all_streams() {
    within(2 * WATCHDOG, || {
        const MEMORY: u64 = 1 << 20;
        for over in [Over::Udp, Over::Tcp] {
            let limits = Limits {
                receive_memory: MEMORY,
                ..Limits::default()
            };
            let options = plain().carrier(carrier(over)).linger(Some(Duration::ZERO));
            let listener = options.clone().limits(limits).bind("127.0.0.1:0").expect("bind");
            let addr = listener.local_addr().expect("bound");
            let mut streams = Vec::new();
            // Each is given at least 16 KiB, so that some dozens fill it up.
            let refused = loop {
                match options.connect(addr) {
                    Ok(client) => streams.push((client, listener.accept_timeout(WATCHDOG).expect("accept").0)),
                    Err(error) => break error,
                }
                assert!(streams.len() <= 64, "{over:?}: more than there is memory for");
            };
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{over:?}: {refused}");
            assert!(streams.len() > 32, "{over:?}: {}", streams.len());
            for (client, _) in &streams {
                client.set_nonblocking(true).expect("set");
                while (&*client).write(&[7; 10_000]).is_ok() {}
            }
            until("what may come has come", || {
                let held = streams.iter().map(|(_, server)| server.stats().recv_buffer_bytes);
                let held: u64 = held.sum();
                assert!(held <= MEMORY, "{over:?}: {held} bytes");
                held >= MEMORY / 2
            });
            drop(streams);
            until("there is room again", || options.connect(addr).is_ok());
        }
    });
}

fn mismatch_at(client: &StreamBuilder, listener: &Listener) -> (String, String) {
    let addr = listener.local_addr().expect("bound");
    let error = assert_kind(client.connect(addr), io::ErrorKind::Unsupported);
    let incident = listener.incidents().recv_timeout(WATCHDOG).expect("people are told");
    let said = incident.to_string();
    let (_, reason) = said.split_once(": ").expect("who, and why");
    (error.to_string(), reason.to_owned())
}

#[test]
fn sides_of_different_modes_say_so_on_both_sides() {
    within(WATCHDOG, || {
        for over in [Over::Udp, Over::Tcp] {
            let (plain, secure) = (plain().carrier(carrier(over)), anybody().carrier(carrier(over)));
            let listener = secure.bind("127.0.0.1:0").expect("bind");
            let (client, server) = mismatch_at(&plain, &listener);
            assert_eq!(client, "the peer speaks secure, this side plain", "{over:?}");
            assert_eq!(server, "the peer speaks plain, this side secure", "{over:?}");
            let listener = plain.bind("127.0.0.1:0").expect("bind");
            let (client, server) = mismatch_at(&secure, &listener);
            assert_eq!(client, "the peer speaks plain, this side secure", "{over:?}");
            assert_eq!(server, "the peer speaks secure, this side plain", "{over:?}");
        }
    });
}

#[test]
fn a_flood_of_noise_is_counted_by_kind_and_does_no_harm() {
    within(WATCHDOG, || {
        let listener = anybody().bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("bound");
        let stranger = UdpSocket::bind("127.0.0.1:0").expect("bind");
        // A long header of secure mode: an INITIAL for `random--` from `client--`, without a token.
        let mut initial = [&[0xc3, 0x53, 0x53, 0, 1, 8][..], b"random--", &[8], b"client--", &[0]].concat();
        initial.extend([0x44, 0x98]);
        let length = 0x0498;
        initial.resize(initial.len() + length, 0x55);
        assert_eq!(initial.len(), 1202);
        let small = {
            let mut small = initial[..26].to_vec();
            small[24..26].copy_from_slice(&[0x40, 100]);
            small.resize(126, 0x55);
            small
        };
        let with_token = {
            let mut with_token = initial.clone();
            with_token[23] = 48;
            let end = initial.len() - 48;
            with_token.truncate(24);
            with_token.extend([9; 48]);
            with_token.extend((0x4000_u16 | (0x0498)).to_be_bytes());
            with_token.resize(24 + 48 + 2 + length, 0x55);
            assert!(end > 1000);
            with_token
        };
        let lost = [&[0x41][..], b"unknown-", &[7; 60]].concat();
        for datagram in [&b""[..], b"noise", &[0x80; 300], &initial, &small, &with_token, &lost] {
            stranger.send_to(datagram, addr).expect("loopback");
        }
        until("all were looked at", || {
            let stats = listener.stats();
            (
                stats.dropped_malformed,
                stats.dropped_small,
                stats.dropped_not_authentic,
                stats.dropped_token,
                stats.dropped_unknown,
                stats.resets_sent,
            ) == (3, 1, 1, 1, 1, 1)
        });
        assert_eq!(listener.stats().half_open, 0);
        let client = anybody().connect(addr).expect("connect");
        let (server, _) = listener.accept_timeout(WATCHDOG).expect("accept");
        echo_once(&client, server);
    });
}
