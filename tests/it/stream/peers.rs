//! Many peers at one listener.

use super::*;
use securestream::Finished;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// 64 peers send at once; the application of one stream never reads, the others finish all the same.
#[test]
fn of_64_peers_one_that_is_not_read_holds_up_no_other() {
    const PEERS: u8 = 64;
    const BYTES: u64 = 300_000;
    within(2 * WATCHDOG, || {
        let listener = plain().max_window(64 * 1024).bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("bound");
        let clients: Vec<_> = (0..PEERS)
            .map(|id| {
                thread::spawn(move || {
                    let client = plain().linger(Some(Duration::ZERO)).connect(addr).expect("connect");
                    (&client).write_all(&[id]).expect("write");
                    let (mut offset, mut buf) = (0, [0; 10_000]);
                    while offset < BYTES {
                        pattern(id, offset, &mut buf);
                        match (&client).write_all(&buf) {
                            Ok(()) => offset += buf.len() as u64,
                            Err(error) if id == 0 => return (id, Err(error)),
                            Err(error) => panic!("{id}: {error}"),
                        }
                    }
                    (id, client.finish(2 * WATCHDOG))
                })
            })
            .collect();
        let (unread, kept) = mpsc::channel();
        let servers: Vec<_> = (0..PEERS)
            .map(|_| {
                let (server, _) = listener.accept_timeout(WATCHDOG).expect("accept");
                let unread = unread.clone();
                thread::spawn(move || {
                    let mut id = [0];
                    (&server).read_exact(&mut id).expect("its number");
                    if id[0] == 0 {
                        unread.send(server).expect("the test lives");
                        return;
                    }
                    let (mut offset, mut buf, mut expected) = (0, [0; 4096], [0; 4096]);
                    loop {
                        let n = (&server).read(&mut buf).expect("read");
                        if n == 0 {
                            break;
                        }
                        pattern(id[0], offset, &mut expected[..n]);
                        assert!(buf[..n] == expected[..n], "{}: wrong after {offset}", id[0]);
                        offset += n as u64;
                    }
                    assert_eq!(offset, BYTES, "{}", id[0]);
                })
            })
            .collect();
        for server in servers {
            server.join().expect("served");
        }
        let unread = kept.recv().expect("one was put aside");
        assert!(unread.stats().recv_buffer_bytes > 0);
        unread.abort();
        for client in clients {
            let (id, verdict) = client.join().expect("sent");
            if id == 0 {
                assert_kind(verdict, io::ErrorKind::ConnectionReset);
            } else {
                assert_eq!(verdict.expect("finish"), Finished::Consumed, "{id}");
            }
        }
    });
}

#[test]
fn clients_beyond_the_backlog_are_refused_and_do_not_hang() {
    const BACKLOG: usize = 128;
    const CLIENTS: usize = BACKLOG + 40;
    within(2 * WATCHDOG, || {
        for over in [Over::Udp, Over::Tcp] {
            let options = plain().carrier(carrier(over)).linger(Some(Duration::ZERO));
            let listener = options.bind("127.0.0.1:0").expect("bind");
            let addr = listener.local_addr().expect("bound");
            let next = Arc::new(AtomicUsize::new(0));
            let workers: Vec<_> = (0..16)
                .map(|_| {
                    let (next, options) = (Arc::clone(&next), options.clone());
                    thread::spawn(move || {
                        let mut results = Vec::new();
                        while next.fetch_add(1, Ordering::Relaxed) < CLIENTS {
                            results.push(options.connect(addr));
                        }
                        results
                    })
                })
                .collect();
            let results: Vec<_> = workers
                .into_iter()
                .flat_map(|worker| worker.join().expect("tried"))
                .collect();
            let (connected, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            // The last handshakes at once may find the door closing between their first packet and their last.
            assert!(connected.len() >= BACKLOG, "{over:?}: {}", connected.len());
            assert!(!refused.is_empty(), "{over:?}: nobody was refused");
            for error in refused.into_iter().map(Result::unwrap_err) {
                assert!(
                    matches!(typed(&error), StreamError::Refused { .. }),
                    "{over:?}: {error:?}"
                );
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            }
            // Those that wait can be accepted and used; then there is room again.
            for _ in 0..BACKLOG {
                let (server, _) = listener.accept_timeout(WATCHDOG).expect("accept");
                server.abort();
            }
            let one_more = listener.accept_timeout(Duration::from_millis(100)).map(drop);
            assert_kind(one_more, io::ErrorKind::TimedOut);
            drop(connected);
            let client = options.connect(addr).expect("there is room");
            listener.accept_timeout(WATCHDOG).expect("accept");
            drop(client);
        }
    });
}

#[test]
fn peers_come_and_go_at_one_listener() {
    within(WATCHDOG, || {
        for over in [Over::Udp, Over::Tcp] {
            let options = plain().carrier(carrier(over));
            let listener = options.bind("127.0.0.1:0").expect("bind");
            let addr = listener.local_addr().expect("bound");
            let handle = listener.close_handle();
            let serving = thread::spawn(move || {
                listener
                    .incoming()
                    .map(|server| {
                        let mut server = server.expect("accept");
                        thread::spawn(move || {
                            let mut text = Vec::new();
                            server.read_to_end(&mut text).expect("read");
                            server.write_all(&text).expect("write");
                        })
                    })
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|served| served.join().expect("served"));
            });
            let clients: Vec<_> = (0..4_u8)
                .map(|id| {
                    let options = options.clone();
                    thread::spawn(move || {
                        for round in 0..10 {
                            let mut client = options.connect(addr).expect("connect");
                            let text = [id, round].repeat(1000);
                            client.write_all(&text).expect("write");
                            client.shutdown(std::net::Shutdown::Write).expect("shutdown");
                            let mut echo = Vec::new();
                            client.read_to_end(&mut echo).expect("read");
                            assert_eq!(echo, text);
                        }
                    })
                })
                .collect();
            for client in clients {
                client.join().expect("all rounds");
            }
            handle.close();
            serving.join().expect("ended");
        }
    });
}
