//! Listeners: closing them from elsewhere, strangers at the door, other versions.

use super::*;
use securestream::wire::codec::Writer;
use securestream::wire::packet::{self, ConnectionId, Decoded, LongType, VERSION_PLAIN, VERSION_SECURE};
use securestream::{Incident, Listener};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

fn listener(over: Over) -> (Listener, SocketAddr) {
    let listener = plain().carrier(carrier(over)).bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("bound");
    (listener, addr)
}

const BOTH: [Over; 2] = [Over::Udp, Over::Tcp];

/// The listener still does its work.
fn assert_works(over: Over, listener: &Listener) {
    let addr = listener.local_addr().expect("bound");
    let mut client = plain().carrier(carrier(over)).connect(addr).expect("connect");
    let (mut server, peer) = listener.accept_timeout(WATCHDOG).expect("accept");
    assert_eq!(peer, client.local_addr().ok());
    client.write_all(b"works").expect("write");
    drop(client);
    let mut text = String::new();
    server.read_to_string(&mut text).expect("read");
    assert_eq!(text, "works");
}

/// A first packet as a client of `version` sends it, as far as a listener of another version can tell.
fn foreign_hello(version: u32) -> Vec<u8> {
    let mut datagram = vec![0; 1200];
    let mut writer = Writer::new(&mut datagram);
    let header_bytes = 1 + 4 + 2 * 9 + 1 + 2;
    packet::encode_long(
        &mut writer,
        LongType::Initial,
        version,
        ConnectionId([1; 8]),
        ConnectionId([2; 8]),
        &[],
        1200 - header_bytes - 4,
        0,
    );
    datagram
}

#[test]
fn closing_from_another_thread_ends_a_blocked_accept() {
    within(WATCHDOG, || {
        for over in BOTH {
            let (listener, addr) = listener(over);
            let handle = listener.close_handle();
            let accepting = blocked(move || {
                let result = listener.accept().map(drop);
                (listener, result)
            });
            handle.close();
            let ((listener, result), _) = accepting.join().expect("it returns");
            assert_kind(result, io::ErrorKind::NotConnected);
            assert_kind(listener.accept(), io::ErrorKind::NotConnected);
            assert_kind(listener.accept_timeout(WATCHDOG), io::ErrorKind::NotConnected);
            assert_eq!(listener.incoming().count(), 0);
            handle.close();
            // New peers are turned away, one way or the other, and do not wait for ever.
            let error = plain()
                .carrier(carrier(over))
                .connect_timeout(Duration::from_secs(10))
                .connect(addr)
                .expect_err("closed");
            assert!(
                matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ),
                "{over:?}: {error:?}"
            );
        }
    });
}

#[test]
fn accepted_streams_outlive_their_listener() {
    within(WATCHDOG, || {
        for over in BOTH {
            let (listener, addr) = listener(over);
            let mut client = plain().carrier(carrier(over)).connect(addr).expect("connect");
            let (mut server, _) = listener.accept().expect("accept");
            drop(listener);
            client.write_all(&[1; 500_000]).expect("write");
            client.shutdown(std::net::Shutdown::Write).expect("shutdown");
            let mut all = Vec::new();
            server.read_to_end(&mut all).expect("read");
            assert_eq!(all.len(), 500_000);
        }
    });
}

#[test]
fn streams_that_nobody_accepted_are_reset_with_their_listener() {
    within(WATCHDOG, || {
        for over in BOTH {
            let (listener, addr) = listener(over);
            let mut client = plain().carrier(carrier(over)).connect(addr).expect("connect");
            drop(listener);
            assert_kind(client.read(&mut [0; 1]), io::ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn the_address_is_free_again_after_the_listener() {
    within(WATCHDOG, || {
        for over in BOTH {
            let (first, addr) = listener(over);
            assert_works(over, &first);
            drop(first);
            // A stream that ended may answer late packets for a moment more.
            until("the address is free", || {
                plain().carrier(carrier(over)).bind(addr).is_ok()
            });
        }
    });
}

#[test]
fn noise_over_udp_is_no_business_of_the_listener() {
    within(WATCHDOG, || {
        let (listener, addr) = listener(Over::Udp);
        let stranger = UdpSocket::bind("127.0.0.1:0").expect("bind");
        for size in [0, 1, 4, 8, 20, 100, 1199, 1200, 1500, 9000] {
            for first in [0x00, 0x21, 0x41, 0xc0, 0xe1, 0xf0, 0xff] {
                let mut datagram = vec![0x5a; size];
                datagram.iter_mut().take(1).for_each(|byte| *byte = first);
                stranger.send_to(&datagram, addr).expect("send");
            }
        }
        assert_works(Over::Udp, &listener);
    });
}

/// Our version, a broken body: nobody must be fooled, and nothing stays behind that hurts.
#[test]
fn a_hello_with_a_broken_checksum_is_no_stream() {
    within(WATCHDOG, || {
        let (listener, addr) = listener(Over::Udp);
        let stranger = UdpSocket::bind("127.0.0.1:0").expect("bind");
        for _ in 0..100 {
            stranger.send_to(&foreign_hello(VERSION_PLAIN), addr).expect("send");
        }
        assert_works(Over::Udp, &listener);
        assert_kind(
            listener.accept_timeout(Duration::from_millis(50)),
            io::ErrorKind::TimedOut,
        );
    });
}

#[test]
fn a_client_of_another_version_is_answered_and_reported() {
    within(WATCHDOG, || {
        let (listener, addr) = listener(Over::Udp);
        let incidents = listener.incidents();
        let stranger = UdpSocket::bind("127.0.0.1:0").expect("bind");
        stranger.set_read_timeout(Some(WATCHDOG)).expect("set");
        stranger.send_to(&foreign_hello(VERSION_SECURE), addr).expect("send");
        let mut answer = [0; 2000];
        let n = stranger.recv(&mut answer).expect("an answer");
        let Ok(Decoded::VersionNegotiation { .. }) = packet::decode(&answer[..n]) else {
            panic!("no version negotiation: {:?}", &answer[..n]);
        };
        let Incident::Refused { peer, reason } = incidents.recv_timeout(WATCHDOG).expect("told") else {
            panic!("another incident");
        };
        assert_eq!(peer, stranger.local_addr().ok());
        assert!(reason.contains("secure") && reason.contains("plain"), "{reason}");
        assert_works(Over::Udp, &listener);
    });
}

#[test]
fn a_client_learns_that_the_listener_speaks_another_version() {
    within(WATCHDOG, || {
        let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let addr = server.local_addr().expect("bound");
        let serving = thread::spawn(move || {
            let mut datagram = [0; 2000];
            let (n, client) = server.recv_from(&mut datagram).expect("a hello");
            let Ok(Decoded::Long(header)) = packet::decode(&datagram[..n]) else {
                panic!("not a hello");
            };
            assert_eq!(header.version, VERSION_PLAIN);
            assert!(n >= 1200, "RFC 9000, section 14.1");
            let mut answer = [0; 64];
            let mut writer = Writer::new(&mut answer);
            packet::encode_version_negotiation(&mut writer, header.source_id, header.destination_id, &[VERSION_SECURE]);
            let n = writer.position();
            server.send_to(&answer[..n], client).expect("answer");
        });
        let error = assert_kind(plain().connect(addr), io::ErrorKind::Unsupported);
        assert!(
            matches!(
                typed(&error),
                StreamError::Mismatch {
                    ours: VERSION_PLAIN,
                    theirs: VERSION_SECURE,
                    ..
                }
            ),
            "{error:?}"
        );
        serving.join().expect("served");
    });
}

#[test]
fn probes_and_foreign_protocols_over_tcp_are_reported() {
    within(WATCHDOG, || {
        let (listener, addr) = listener(Over::Tcp);
        let incidents = listener.incidents();
        let expect = |probe: SocketAddr| {
            let incident = incidents.recv_timeout(WATCHDOG).expect("told");
            let Incident::Refused { peer, reason } = &incident else {
                panic!("another incident: {incident}");
            };
            assert_eq!(*peer, Some(probe), "{incident}");
            assert!(!reason.is_empty());
        };
        // Connects and hangs up.
        let probe = TcpStream::connect(addr).expect("connect");
        let from = probe.local_addr().expect("connected");
        drop(probe);
        expect(from);
        // Speaks HTTP.
        let mut browser = TcpStream::connect(addr).expect("connect");
        browser.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
        expect(browser.local_addr().expect("connected"));
        // Frames well, but what is in the frame is none of ours.
        let mut garbage = TcpStream::connect(addr).expect("connect");
        garbage.write_all(&[5, 0, 0, 0, 1, 2, 3, 4, 5]).expect("write");
        expect(garbage.local_addr().expect("connected"));
        // Another version.
        let mut foreign = TcpStream::connect(addr).expect("connect");
        let hello = foreign_hello(VERSION_SECURE);
        foreign.write_all(&(hello.len() as u32).to_le_bytes()).expect("write");
        foreign.write_all(&hello).expect("write");
        expect(foreign.local_addr().expect("connected"));
        assert_works(Over::Tcp, &listener);
    });
}

#[test]
fn incidents_that_nobody_reads_do_not_grow() {
    within(WATCHDOG, || {
        let (listener, addr) = listener(Over::Tcp);
        for _ in 0..200 {
            drop(TcpStream::connect(addr).expect("connect"));
        }
        assert_works(Over::Tcp, &listener);
        assert!(listener.incidents().len() <= 64);
    });
}

/// Moves so much from `from` to `to` that the only busy stream of a port reads the socket itself by then.
fn keep_busy(mut from: &Stream, mut to: &Stream) {
    const BYTES: usize = 10_000_000;
    thread::scope(|scope| {
        scope.spawn(|| from.write_all(&vec![7; BYTES]).expect("write"));
        let mut buf = vec![0; 100_000];
        let mut left = BYTES;
        while left > 0 {
            let most = left.min(buf.len());
            left -= to.read(&mut buf[..most]).expect("read");
        }
    });
}

/// A listener, and both ends of a stream that has its port for itself.
fn busy_port() -> (Listener, Stream, Stream) {
    let (listener, addr) = listener(Over::Udp);
    let busy = plain().connect(addr).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    keep_busy(&busy, &server);
    (listener, busy, server)
}

#[test]
fn others_come_in_while_one_stream_has_the_port_for_itself() {
    within(WATCHDOG, || {
        let (listener, busy, mut server) = busy_port();
        let addr = listener.local_addr().expect("bound");
        for _ in 0..3 {
            // A stranger, then another client, and both streams go on.
            let stranger = UdpSocket::bind("127.0.0.1:0").expect("bind");
            stranger.send_to(b"what is this?", addr).expect("send");
            assert_works(Over::Udp, &listener);
            keep_busy(&busy, &server);
        }
        drop(listener);
        keep_busy(&busy, &server);
        drop(busy);
        assert_eq!(server.read(&mut [0]).expect("the end"), 0);
    });
}

#[test]
fn a_listener_is_closed_while_one_stream_has_the_port_for_itself() {
    within(WATCHDOG, || {
        let (listener, busy, server) = busy_port();
        let addr = listener.local_addr().expect("bound");
        listener.close_handle().close();
        let error = plain()
            .connect_timeout(WATCHDOG)
            .connect(addr)
            .expect_err("it is closed");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        keep_busy(&busy, &server);
        // The last of them take the port along: the address is free again.
        drop((busy, listener, server));
        plain().bind(addr).expect("bind");
    });
}
