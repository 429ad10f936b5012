//! Which error a program sees: the table of the API, row by row.

use super::*;
use crate::closed::Closed;
use securestream::Finished;
use securestream::error::Limit;
use securestream::filter::Chain;
use securestream::impair::Control;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};

/// A pair, and the means to cut the link: the packets of memory and UDP vanish, the TCP connection ends.
fn with_a_cut(over: Over, options: &StreamBuilder) -> (Stream, Stream, Box<dyn FnOnce() + Send>) {
    let vanish = |controls: [Control; 2]| -> Box<dyn FnOnce() + Send> {
        Box::new(move || {
            for control in controls {
                let hole: Chain<_> = spec("blackhole").chain(1, Direction::Upstream);
                control.replace(hole);
            }
        })
    };
    match over {
        Over::Memory => {
            let (a, b) = memory::pair();
            let (a, cut_a) = Impaired::with_control(a, Chain::new());
            let (b, cut_b) = Impaired::with_control(b, Chain::new());
            let (client, server) = join(options, a, options, b);
            (client, server, vanish([cut_a, cut_b]))
        }
        Over::Udp => {
            let bound = Udp::bind("127.0.0.1:0").expect("bind");
            let addr = bound.local_addr().expect("bound");
            let (bound, cut_b) = Impaired::with_control(bound, Chain::new());
            let listener = options.bind_over(bound).expect("listen");
            let udp = Udp::connect(addr).expect("a socket");
            let (udp, cut_a) = Impaired::with_control(udp, Chain::new());
            let client = options.connect_over(udp).expect("connect");
            let (server, _) = listener.accept_timeout(WATCHDOG).expect("accept");
            (client, server, vanish([cut_a, cut_b]))
        }
        Over::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let addr = listener.local_addr().expect("bound");
            let a = TcpStream::connect(addr).expect("connect");
            let (b, _) = listener.accept().expect("accept");
            let wire = a.try_clone().expect("clone");
            let (client, server) = join(
                options,
                Tcp::from_stream(a).expect("a carrier"),
                options,
                Tcp::from_stream(b).expect("a carrier"),
            );
            let cut = Box::new(move || wire.shutdown(Shutdown::Both).expect("connected"));
            (client, server, cut)
        }
    }
}

/// Gives up soon, and not while the machine is only busy.
fn hasty() -> StreamBuilder {
    plain().idle_timeout(Duration::from_secs(3))
}

on_each_carrier! {
    a_cut_link_is_an_error_and_never_an_end => |over| {
        let (client, server, cut) = with_a_cut(over, &hasty());
        (&client).write_all(b"first part").expect("write");
        until("it came", || server.stats().delivered_bytes == 10);
        cut();
        for stream in [&client, &server] {
            let mut got = Vec::new();
            let error = (&*stream).read_to_end(&mut got).expect_err("not an end");
            if over == Over::Tcp {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
                assert!(matches!(typed(&error), StreamError::Truncated { .. }), "{error:?}");
            } else {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
                assert!(
                    matches!(typed(&error), StreamError::TimedOut { limit: Limit::Idle, .. }),
                    "{error:?}"
                );
            }
            // What came before the cut can be read.
            assert!(got == b"first part" || std::ptr::eq(stream, &raw const client), "{got:?}");
            let taken = stream.take_error().expect("asked").expect("there was one");
            assert_eq!(taken.kind(), error.kind());
            assert!(!stream.is_open());
            let again = (&*stream).read(&mut [0; 1]).expect_err("it stays");
            assert_eq!(again.kind(), error.kind());
            let writing = (&*stream).write(b"x").expect_err("writing is over too");
            let gone = if over == Over::Tcp { io::ErrorKind::ConnectionReset } else { error.kind() };
            assert_eq!(writing.kind(), gone);
        }
    };

    finish_over_a_cut_link_says_how_much_nobody_knows_about => |over| {
        let (client, _server, cut) = with_a_cut(over, &hasty());
        cut();
        // On TCP the stream may have noticed already.
        if (&client).write_all(&[1; 5000]).is_err() {
            assert_eq!(over, Over::Tcp);
            return;
        }
        let error = client.finish(WATCHDOG).expect_err("nobody is there");
        assert!(
            matches!(typed(&error), StreamError::Unacknowledged { bytes: 5000, timed_out: false, .. }),
            "{error:?}"
        );
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    };

    a_clean_end_leaves_no_error => |over| {
        let (client, server) = pair(over);
        assert!(client.take_error().expect("asked").is_none());
        client.shutdown(Shutdown::Write).expect("shutdown");
        (&server).read_to_end(&mut Vec::new()).expect("read");
        assert!(client.take_error().expect("asked").is_none());
        drop(server);
        (&client).read_to_end(&mut Vec::new()).expect("read");
        until("over", || !client.is_open());
        assert!(client.take_error().expect("asked").is_none());
    };

    writing_after_the_own_end_is_a_broken_pipe => |over| {
        let (client, server) = pair(over);
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert_kind((&client).write(b"x"), io::ErrorKind::BrokenPipe);
        assert_kind((&client).write(b""), io::ErrorKind::BrokenPipe);
        drop(server);
        assert_eq!(client.finish(WATCHDOG).expect("nothing was lost"), Finished::Acknowledged);
    };

    writing_after_the_peer_has_left_is_an_error => |over| {
        let (client, server) = pair(over);
        drop(server);
        let error = loop {
            if let Err(error) = (&client).write(&[0; 1000]) {
                break error;
            }
        };
        assert!(
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{error}"
        );
        // Its end was whole.
        assert_eq!((&client).read(&mut [0; 1]).expect("its FIN came"), 0);
    };

    reading_after_an_abort_is_an_error_on_both_sides => |over| {
        let (client, server) = pair(over);
        client.abort();
        let error = assert_kind((&client).read(&mut [0; 1]), io::ErrorKind::ConnectionAborted);
        assert_eq!(typed(&error), &StreamError::Aborted);
        let error = assert_kind((&server).read(&mut [0; 1]), io::ErrorKind::ConnectionReset);
        assert!(matches!(typed(&error), StreamError::Reset { .. }), "{error:?}");
    };
}

#[test]
fn a_closed_port_refuses() {
    within(WATCHDOG, || {
        let nobody = Closed::port();
        let addr = nobody.addr;
        let error = assert_kind(plain().connect(addr), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
        let error = assert_kind(plain().tcp().connect(addr), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
        assert!(matches!(typed(&error), StreamError::Refused { .. }), "{error:?}");
    });
}

#[test]
fn every_address_is_tried() {
    within(WATCHDOG, || {
        for over in [Over::Udp, Over::Tcp] {
            let options = plain().carrier(carrier(over));
            let listener = options.bind("127.0.0.1:0").expect("bind");
            let nobody = Closed::port();
            let addrs = [nobody.addr, listener.local_addr().expect("bound")];
            let client = options.connect(&addrs[..]).expect("the second answers");
            assert_eq!(client.peer_addr().expect("addr"), addrs[1]);
        }
        let nothing: &[std::net::SocketAddr] = &[];
        assert_kind(plain().connect(nothing), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_port_in_use_says_so() {
    for over in [Over::Udp, Over::Tcp] {
        let options = plain().carrier(carrier(over));
        let listener = options.bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("bound");
        assert_kind(options.bind(addr), io::ErrorKind::AddrInUse);
    }
}

#[test]
fn a_tcp_server_that_speaks_something_else_is_told_apart() {
    within(WATCHDOG, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("bound");
        let serving = thread::spawn(move || {
            let (mut other, _) = listener.accept().expect("accept");
            other.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("write");
            // Keeps the connection until the client gives up.
            let _ = other.read_to_end(&mut Vec::new());
        });
        assert_kind(plain().tcp().connect(addr), io::ErrorKind::InvalidData);
        serving.join().expect("served");
    });
}

#[test]
fn a_tcp_server_that_hangs_up_is_an_error_at_once() {
    within(WATCHDOG, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("bound");
        let serving = thread::spawn(move || drop(listener.accept().expect("accept")));
        let error = plain().tcp().connect(addr).expect_err("it hung up");
        assert!(
            matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ),
            "{error:?}"
        );
        serving.join().expect("served");
    });
}

/// The words of an ICMP message prove nothing once the peer was heard: anybody can send one.
#[test]
fn garbage_does_not_end_a_stream_over_udp() {
    within(WATCHDOG, || {
        let (client, server) = pair(Over::Udp);
        let stranger = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let target = client.peer_addr().expect("addr");
        for size in [0, 1, 9, 30, 1200] {
            for first in [0x00, 0x20, 0x40, 0xc0, 0xff] {
                stranger.send_to(&vec![first; size], target).expect("send");
            }
        }
        (&client).write_all(b"unmoved").expect("write");
        client.shutdown(Shutdown::Write).expect("shutdown");
        let mut text = String::new();
        (&server).read_to_string(&mut text).expect("read");
        assert_eq!(text, "unmoved");
    });
}
