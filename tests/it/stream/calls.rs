//! The calls one by one: what `std::net::TcpStream` has, and the few beyond it.

use super::*;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;

on_each_carrier! {
    a_reader_gets_what_another_reader_has_only_seen => |over| {
        let (client, server) = pair(over);
        let server = std::sync::Arc::new(server);
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let server = std::sync::Arc::clone(&server);
                blocked(move || {
                    let mut byte = [0];
                    if reader == 0 {
                        server.peek(&mut byte).expect("peek");
                    }
                    (&*server).read(&mut byte).expect("read")
                })
            })
            .collect();
        (&client).write_all(b"ab").expect("write");
        for reader in readers {
            assert_eq!(reader.join().expect("join").0, 1);
        }
    };

    a_fixed_window_of_less_than_a_packet_still_moves => |over| {
        let narrow = plain().congestion("fixed:1000").expect("it is a name");
        let (client, server) = pair_of(over, &narrow, &narrow);
        (&client).write_all(&[7; 20_000]).expect("write");
        client.shutdown(Shutdown::Write).expect("shutdown");
        let mut all = Vec::new();
        (&server).read_to_end(&mut all).expect("read");
        assert_eq!(all.len(), 20_000);
    };

    peek_leaves_the_bytes_and_read_takes_them => |over| {
        let (client, server) = pair(over);
        (&client).write_all(b"abc").expect("write");
        let mut buf = [0; 8];
        until("three bytes", || server.peek(&mut buf).expect("peek") == 3);
        assert_eq!(&buf[..3], b"abc");
        assert_eq!(server.peek(&mut buf[..2]).expect("peek"), 2);
        assert_eq!((&server).read(&mut buf).expect("read"), 3);
        assert_eq!(&buf[..3], b"abc");
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(server.peek(&mut buf).expect("the end"), 0);
        assert_eq!((&server).read(&mut buf).expect("the end"), 0);
    };

    vectored_calls_move_several_buffers => |over| {
        let (client, server) = pair(over);
        let parts = [IoSlice::new(b""), IoSlice::new(b"one "), IoSlice::new(b"two "), IoSlice::new(b"three")];
        assert_eq!((&client).write_vectored(&parts).expect("write"), 13);
        let mut all = [0; 13];
        until("all of it", || server.peek(&mut all).expect("peek") == 13);
        let (mut first, mut second) = ([0; 5], [0; 20]);
        let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut []), IoSliceMut::new(&mut second)];
        assert_eq!((&server).read_vectored(&mut bufs).expect("read"), 13);
        assert_eq!((&first[..], &second[..8]), (&b"one t"[..], &b"wo three"[..]));
        assert_eq!((&server).read_vectored(&mut []).expect("nothing asked"), 0);
        assert_eq!((&client).write_vectored(&[]).expect("nothing given"), 0);
    };

    empty_buffers_return_at_once => |over| {
        let (client, server) = pair(over);
        assert_eq!((&server).read(&mut []).expect("read"), 0);
        assert_eq!((&client).write(&[]).expect("write"), 0);
        (&client).flush().expect("flush");
    };

    nonblocking_calls_say_would_block => |over| {
        let (client, server) = pair_of(over, &plain(), &plain().max_window(16 * 1024));
        server.set_nonblocking(true).expect("set");
        assert_kind((&server).read(&mut [0; 1]), io::ErrorKind::WouldBlock);
        assert_kind(server.peek(&mut [0; 1]), io::ErrorKind::WouldBlock);
        client.set_nonblocking(true).expect("set");
        let mut written = 0;
        let error = loop {
            match (&client).write(&[7; 10_000]) {
                Ok(n) => written += n,
                Err(error) => break error,
            }
            assert!(written < 10_000_000, "the buffer is bounded");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        client.set_nonblocking(false).expect("set");
        server.set_nonblocking(false).expect("set");
        thread::scope(|scope| {
            scope.spawn(|| client.shutdown(Shutdown::Write));
            let mut all = Vec::new();
            (&server).read_to_end(&mut all).expect("read");
            assert_eq!(all.len(), written);
        });
    };

    settings_are_kept_and_shared_by_all_handles => |over| {
        let (client, _server) = pair(over);
        assert_eq!(client.read_timeout().expect("get"), None);
        assert_eq!(client.write_timeout().expect("get"), None);
        assert!(client.nodelay().expect("get"), "the default");
        let other = client.try_clone().expect("clone");
        let second = Duration::from_secs(1);
        other.set_read_timeout(Some(second)).expect("set");
        other.set_write_timeout(Some(2 * second)).expect("set");
        other.set_nodelay(false).expect("set");
        other.set_linger(Some(3 * second)).expect("set");
        assert_eq!(client.read_timeout().expect("get"), Some(second));
        assert_eq!(client.write_timeout().expect("get"), Some(2 * second));
        assert!(!client.nodelay().expect("get"));
        assert_eq!(client.linger().expect("get"), Some(3 * second));
    };

    a_zero_time_out_is_invalid => |over| {
        let (client, _server) = pair(over);
        let zero = Some(Duration::ZERO);
        assert_kind(client.set_read_timeout(zero), io::ErrorKind::InvalidInput);
        assert_kind(client.set_write_timeout(zero), io::ErrorKind::InvalidInput);
        assert_kind(client.read_at_least(&mut [0; 1], 1, Duration::ZERO), io::ErrorKind::InvalidInput);
        assert_eq!(client.read_timeout().expect("get"), None);
    };

    without_nodelay_everything_arrives_all_the_same => |over| {
        let (client, server) = pair(over);
        client.set_nodelay(false).expect("set");
        for _ in 0..100 {
            (&client).write_all(b"little by little; ").expect("write");
        }
        // No FIN pushes it out.
        let mut all = vec![0; 1800];
        (&server).read_exact(&mut all).expect("read");
        assert!(all.chunks(18).all(|part| part == b"little by little; "));
    };

    read_at_least_waits_for_as_many_as_it_was_asked => |over| {
        let (client, server) = pair(over);
        let mut buf = [0; 10];
        assert_kind(server.read_at_least(&mut buf, 11, WATCHDOG), io::ErrorKind::InvalidInput);
        (&client).write_all(b"12").expect("write");
        // Too few in time: nothing is lost.
        assert_kind(server.read_at_least(&mut buf, 5, Duration::from_millis(50)), io::ErrorKind::TimedOut);
        thread::scope(|scope| {
            scope.spawn(|| {
                (&client).write_all(b"34").expect("write");
                (&client).write_all(b"567").expect("write");
            });
            let n = server.read_at_least(&mut buf, 5, WATCHDOG).expect("read");
            assert!(n >= 5, "{n}");
            assert_eq!(&buf[..n], &b"1234567"[..n]);
            let rest = 7 - n;
            if rest > 0 {
                assert_eq!(server.read_at_least(&mut buf, rest, WATCHDOG).expect("read"), rest);
            }
        });
        // Fewer only at the end.
        (&client).write_all(b"89").expect("write");
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(server.read_at_least(&mut buf, 5, WATCHDOG).expect("read"), 2);
        assert_eq!(server.read_at_least(&mut buf, 5, WATCHDOG).expect("the end"), 0);
    };

    read_at_least_takes_as_much_as_the_window_may_hold => |over| {
        const MOST: usize = 1 << 20;
        let (client, server) = pair_of(over, &plain(), &plain().max_window(MOST as u64));
        let mut buf = vec![0; MOST + 1];
        // More could never come: nothing is taken from the stream while too little is there.
        assert_kind(server.read_at_least(&mut buf, MOST + 1, WATCHDOG), io::ErrorKind::InvalidInput);
        thread::scope(|scope| {
            scope.spawn(|| (&client).write_all(&[9; MOST]));
            assert_eq!(server.read_at_least(&mut buf, MOST, WATCHDOG).expect("read"), MOST);
            assert!(buf[..MOST].iter().all(|&byte| byte == 9));
        });
    };

    clones_share_one_stream_and_the_last_one_ends_it => |over| {
        let (client, server) = pair(over);
        let other = client.try_clone().expect("clone");
        (&client).write_all(b"a").expect("write");
        drop(client);
        (&other).write_all(b"b").expect("write");
        assert!(other.is_open());
        drop(other);
        let mut all = String::new();
        (&server).read_to_string(&mut all).expect("read");
        assert_eq!(all, "ab");
    };

    addresses_are_those_of_the_sockets => |over| {
        let (client, server) = pair(over);
        if over == Over::Memory {
            assert_kind(client.peer_addr(), io::ErrorKind::NotConnected);
            assert_kind(client.local_addr(), io::ErrorKind::NotConnected);
            return;
        }
        assert_eq!(client.peer_addr().expect("addr"), server.local_addr().expect("addr"));
        assert_eq!(client.local_addr().expect("addr"), server.peer_addr().expect("addr"));
    };

    the_segment_size_fills_a_packet => |over| {
        let (client, _server) = pair(over);
        let size = client.preferred_segment_size();
        let packet = client.stats().pmtu_bytes as usize;
        // The figures are published when the sender has looked around for the first time.
        assert!(packet == 0 || (size < packet && size > packet * 9 / 10), "{size} of {packet}");
    };

    one_stream_is_used_by_many_threads => |over| {
        let (client, server) = pair(over);
        thread::scope(|scope| {
            for byte in 0..8 {
                let client = &client;
                scope.spawn(move || (&*client).write_all(&[byte; 10_000]).expect("write"));
            }
            let readers: Vec<_> = (0..4).map(|_| {
                let server = &server;
                scope.spawn(move || {
                    let (mut counts, mut buf) = ([0_usize; 8], [0; 777]);
                    loop {
                        let n = (&*server).read(&mut buf).expect("read");
                        if n == 0 {
                            return counts;
                        }
                        for &byte in &buf[..n] {
                            counts[usize::from(byte)] += 1;
                        }
                    }
                })
            }).collect();
            until("all was written", || client.stats().written_bytes == 80_000);
            client.shutdown(Shutdown::Write).expect("shutdown");
            let mut counts = [0; 8];
            for reader in readers {
                for (sum, n) in counts.iter_mut().zip(reader.join().expect("read")) {
                    *sum += n;
                }
            }
            assert_eq!(counts, [10_000; 8]);
        });
    };
}

#[test]
fn options_that_cannot_be_are_refused_before_anything_happens() {
    let zero = Duration::ZERO;
    for builder in [
        plain().connect_timeout(zero),
        plain().idle_timeout(zero),
        plain().keep_alive(Some(zero)),
        plain().max_datagram(100),
    ] {
        assert_kind(builder.connect("127.0.0.1:9"), io::ErrorKind::InvalidInput);
        assert_kind(builder.bind("127.0.0.1:0"), io::ErrorKind::InvalidInput);
        let (end, _other) = memory::pair();
        assert_kind(builder.connect_over(end), io::ErrorKind::InvalidInput);
        let (end, _other) = memory::pair();
        assert_kind(builder.accept_over(end), io::ErrorKind::InvalidInput);
    }
    let error = assert_kind(plain().congestion("warp"), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("new-reno"), "{error}");
}
