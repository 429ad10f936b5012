//! Addresses that change while a stream is in use, and listeners that have forgotten it.

use super::relay::{Relay, socket};
use super::*;
use securestream::Listener;
use securestream::identity::PrivateKey;
use securestream::trust::{Pinned, Trust, Unauthenticated};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::OnceLock;

const BYTES: u64 = 8 << 20;

fn key(which: usize) -> PrivateKey {
    static KEYS: [OnceLock<PrivateKey>; 2] = [const { OnceLock::new() }; 2];
    let make = || PrivateKey::generate(2048).expect("a common size");
    KEYS[which].get_or_init(make).clone()
}

/// A client's and a server's options in secure mode.
fn secure() -> (StreamBuilder, StreamBuilder) {
    let trust = |key: &PrivateKey| Trust::Pinned(Pinned::new(key.public().clone()));
    let (client, server) = (key(0), key(1));
    let (to_server, to_client) = (trust(&server), trust(&client));
    (
        StreamBuilder::new(Security::secure(client, to_server)),
        StreamBuilder::new(Security::secure(server, to_client)),
    )
}

/// Both modes: what they are called, and the options of both sides.
fn modes() -> [(&'static str, StreamBuilder, StreamBuilder); 2] {
    let (client, server) = secure();
    [("plain", plain(), plain()), ("secure", client, server)]
}

/// A client behind a relay, its stream at the listener, the relay, and the listener.
fn behind_a_relay(client: &StreamBuilder, server: &StreamBuilder) -> (Stream, Stream, Relay, Listener) {
    let listener = server.bind("127.0.0.1:0").expect("bind");
    let relay = Relay::to(listener.local_addr().expect("bound"));
    let client = client.connect(relay.addr).expect("connect");
    let (server, _) = listener.accept_timeout(WATCHDOG).expect("accept");
    (client, server, relay, listener)
}

/// Sends [`BYTES`] from client to server and calls `midway` somewhere in the middle. The server reads to the end.
fn transfer(client: Stream, server: Stream, midway: impl FnOnce()) -> Stream {
    let reader = thread::spawn(move || {
        let (mut offset, mut buf, mut expected) = (0, vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            let n = (&server).read(&mut buf).expect("read");
            if n == 0 {
                break;
            }
            pattern(1, offset, &mut expected[..n]);
            assert!(buf[..n] == expected[..n], "wrong after {offset}");
            offset += n as u64;
        }
        assert_eq!(offset, BYTES);
        server
    });
    let mut midway = Some(midway);
    let (mut offset, mut buf) = (0, vec![0; 64 << 10]);
    while offset < BYTES {
        if offset >= BYTES / 2
            && let Some(midway) = midway.take()
        {
            midway();
        }
        pattern(1, offset, &mut buf);
        (&client).write_all(&buf).expect("write");
        offset += buf.len() as u64;
    }
    client.finish(WATCHDOG).expect("finish");
    drop(client);
    reader.join().expect("read it all")
}

#[test]
fn a_port_that_changes_midway_costs_no_second_handshake() {
    for (mode, client, server) in modes() {
        within(WATCHDOG, move || {
            println!("{mode}");
            let (client, server, relay, listener) = behind_a_relay(&client, &server);
            let server = transfer(client, server, || relay.change_ports());
            drop(server);
            assert_eq!(listener.stats().handshakes, 1);
        });
    }
}

#[test]
fn the_server_goes_on_sending_to_the_new_port() {
    within(WATCHDOG, || {
        let (client, server) = secure();
        // Only the client's packets tell of its new port: it must have something to say.
        let client = client.keep_alive(Some(Duration::from_millis(50)));
        let (client, server, relay, _listener) = behind_a_relay(&client, &server);
        transfer(server, client, || relay.change_ports());
    });
}

#[test]
fn a_client_whose_nat_has_died_goes_on_from_another_port() {
    for (mode, client, server) in modes() {
        within(WATCHDOG, move || {
            println!("{mode}");
            let (client, server, relay, listener) = behind_a_relay(&client, &server);
            transfer(client, server, || relay.forget_clients());
            assert_eq!(listener.stats().handshakes, 1);
        });
    }
}

/// Somebody beside the path copies the client's packets and is always a little faster.
#[test]
fn copies_from_elsewhere_do_not_move_the_stream() {
    within(WATCHDOG, || {
        let (client, server) = secure();
        let (client, server, relay, listener) = behind_a_relay(&client, &server);
        let thief = socket();
        relay.tap(thief.try_clone().expect("clone"));
        let server = transfer(client, server, || {});
        drop((server, listener));
        let (mut buffer, mut packets) = (vec![0; 65536], 0);
        while thief.recv(&mut buffer).is_ok() {
            packets += 1;
        }
        // Challenges and what was on the way, but no stream.
        assert!(packets < 1000, "{packets} packets went to the thief");
    });
}

#[test]
fn a_restarted_listener_resets_the_streams_that_it_has_forgotten() {
    within(WATCHDOG, || {
        let (client, server) = secure();
        let (client, before, relay, _listener) = behind_a_relay(&client, &server);
        (&client).write_all(b"hello").expect("write");
        until("it came", || before.stats().delivered_bytes == 5);
        // Another program with the same key.
        let restarted = server.bind("127.0.0.1:0").expect("bind");
        relay.retarget(restarted.local_addr().expect("bound"));
        let start = Instant::now();
        let _ = (&client).write_all(b"still there?");
        let error = assert_kind((&client).read(&mut [0; 1]), io::ErrorKind::ConnectionReset);
        assert_eq!(
            error.to_string(),
            "connection reset by the peer: the peer has lost its state: it was restarted, or has forgotten this \
             connection"
        );
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it did not wait for the idle limit"
        );
        // It counts after it has sent.
        until("it was counted", || restarted.stats().resets_sent >= 1);
        before.abort();
    });
}

#[test]
fn a_restarted_listener_with_another_key_resets_nothing() {
    within(WATCHDOG, || {
        let (client, server) = secure();
        let (client, before, relay, _listener) = behind_a_relay(&client, &server);
        let stranger = PrivateKey::generate(2048).expect("a common size");
        let stranger = StreamBuilder::new(Security::secure(stranger, Trust::Unauthenticated(Unauthenticated)));
        let restarted = stranger.bind("127.0.0.1:0").expect("bind");
        relay.retarget(restarted.local_addr().expect("bound"));
        (&client).write_all(b"still there?").expect("write");
        until("it was answered", || restarted.stats().resets_sent >= 1);
        until("it was refused", || client.stats().auth_failures >= 1);
        assert!(client.is_open());
        before.abort();
        client.abort();
    });
}

#[test]
fn forged_resets_do_nothing() {
    within(WATCHDOG, || {
        let (client, server) = secure();
        let (client, server, relay, _listener) = behind_a_relay(&client, &server);
        let server = {
            (&client).write_all(b"x").expect("write");
            until("it came", || server.stats().delivered_bytes == 1);
            let genuine = relay.last_down();
            for bytes in [0, 1, 16, 20, 21, 22, 42, 43, 100, 1200] {
                relay.inject(&vec![0x41; bytes]);
                relay.inject(&genuine[..genuine.len().min(bytes)]);
            }
            until("they came", || client.stats().auth_failures >= 6);
            server
        };
        assert!(client.is_open());
        (&client).write_all(b"yz").expect("write");
        client.shutdown(Shutdown::Write).expect("shutdown");
        let mut text = String::new();
        (&server).read_to_string(&mut text).expect("whole");
        assert_eq!(text, "xyz");
    });
}
