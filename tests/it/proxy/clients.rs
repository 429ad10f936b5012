//! Many clients, clients that vanish, targets that are down: nothing leaks, and what happens is said.

use super::*;
use crate::closed::Closed;
use securestream::filter::Direction;
use securestream::proxy::Notice;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream};

/// Open descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn a_thousand_clients_have_a_port_each_and_are_forgotten_when_they_are_silent() {
    const CLIENTS: usize = 1000;
    /// So many have a packet under way at a time: no queue overflows, and the delay is waited for seldom.
    const AT_A_TIME: usize = 50;
    let target = socket();
    let proxy = ProxyBuilder::new(target.local_addr().unwrap())
        .unwrap()
        .rules(&spec("delay 1ms"))
        // Far more than all of it takes, on a machine that is busy: nobody is to be forgotten before the end.
        .idle_timeout(Duration::from_secs(10))
        .start_local()
        .unwrap();
    let before = descriptors();
    let clients: Vec<_> = (0..CLIENTS).map(|_| socket()).collect();
    let mut ports = BTreeMap::new();
    let indices: Vec<_> = (0..CLIENTS as u32).collect();
    for some in indices.chunks(AT_A_TIME) {
        for index in some {
            send(&clients[*index as usize], proxy.local_addr(), &index.to_le_bytes());
        }
        for _ in some {
            let (packet, from) = receive(&target);
            let index = u32::from_le_bytes(packet.try_into().expect("one of ours"));
            assert!(some.contains(&index), "{index}");
            ports.insert(index, from);
        }
    }
    assert_eq!(ports.len(), CLIENTS);
    let distinct: BTreeSet<_> = ports.values().collect();
    assert_eq!(distinct.len(), CLIENTS);
    for some in indices.chunks(AT_A_TIME) {
        for index in some {
            send(&target, ports[index], &index.to_le_bytes());
        }
        for index in some {
            assert_eq!(receive(&clients[*index as usize]).0, index.to_le_bytes());
        }
    }
    drop(clients);
    until("all are forgotten", || proxy.status().clients.is_empty());
    // Other tests of this process have sockets too: far fewer than the clients had.
    until("their sockets are closed", || descriptors() < before + CLIENTS);
}

#[test]
fn tcp_clients_that_vanish_leave_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(listener.local_addr().unwrap(), (Side::Tcp, Side::Tcp), "");
    for _ in 0..50 {
        let client = TcpStream::connect(proxy.local_addr()).unwrap();
        let (target, _) = listener.accept().unwrap();
        // Half a frame, and gone.
        std::io::Write::write_all(&mut &client, b"\x09\0\0\0half").unwrap();
        drop(client);
        drop(target);
    }
    until("all are forgotten", || proxy.status().clients.is_empty());
}

#[test]
fn more_clients_than_allowed_are_not_served_and_that_is_said_once() {
    let target = socket();
    let proxy = ProxyBuilder::new(target.local_addr().unwrap())
        .unwrap()
        .max_clients(1)
        .start_local()
        .unwrap();
    let (one, two) = (socket(), socket());
    send(&one, proxy.local_addr(), b"one");
    assert_eq!(receive(&target).0, b"one");
    for _ in 0..3 {
        send(&two, proxy.local_addr(), b"two");
    }
    until("they were turned away", || proxy.status().turned_away == 3);
    send(&one, proxy.local_addr(), b"again");
    assert_eq!(receive(&target).0, b"again");
    let notices = proxy.notices();
    let full = notices
        .try_iter()
        .filter(|notice| matches!(notice, Notice::Full { .. }));
    assert_eq!(full.count(), 1);
}

#[test]
fn a_target_that_is_down_is_said_and_the_proxy_goes_on() {
    let gone = Closed::port();
    for side in [Side::Udp, Side::Tcp] {
        let proxy = proxy_to(gone.addr, (side, side), "");
        let notices = proxy.notices();
        if side == Side::Udp {
            let client = socket();
            until("the refusal is told", || {
                send(&client, proxy.local_addr(), b"hello?");
                notices
                    .try_iter()
                    .any(|notice| matches!(notice, Notice::NoTarget { .. }))
            });
        } else {
            let client = TcpStream::connect(proxy.local_addr()).unwrap();
            until("the refusal is told", || {
                notices
                    .try_iter()
                    .any(|notice| matches!(notice, Notice::NoTarget { .. }))
            });
            client.set_read_timeout(Some(WATCHDOG)).unwrap();
            let end = std::io::Read::read(&mut &client, &mut [0; 9]);
            assert!(matches!(end, Ok(0) | Err(_)), "the client hears of it");
            until("it is forgotten", || proxy.status().clients.is_empty());
        }
        assert!(proxy.is_running());
    }
}

#[test]
fn a_receiver_that_does_not_read_slows_a_tcp_sender_down_and_costs_no_packet() {
    use std::io::{Read, Write};
    const FRAMES: u64 = 2000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(listener.local_addr().unwrap(), (Side::Tcp, Side::Tcp), "");
    let mut client = TcpStream::connect(proxy.local_addr()).unwrap();
    let (mut target, _) = listener.accept().unwrap();
    let mut frame = 60_000_u32.to_le_bytes().to_vec();
    frame.resize(60_004, 7);
    let frame_bytes = frame.len() as u64;
    let sender = thread::spawn(move || {
        for _ in 0..FRAMES {
            client.write_all(&frame).unwrap();
        }
        client
    });
    // 120 MB do not fit into any buffer on the way.
    until("the first ones came", || {
        proxy.status().link(Direction::Upstream).received_pkts > 10
    });
    let mut left = FRAMES * frame_bytes;
    let mut chunk = vec![0; 1 << 20];
    while left > 0 {
        let read = target.read(&mut chunk).unwrap();
        assert!(read > 0, "{left} bytes are missing");
        left -= read as u64;
    }
    drop(sender.join().unwrap());
    until("all are counted", || {
        proxy.status().link(Direction::Upstream).sent_pkts == FRAMES
    });
    assert_eq!(proxy.status().health.overrun_pkts, 0);
}

#[test]
fn what_the_proxy_loses_itself_is_counted_apart_from_what_its_rules_drop() {
    // A target that takes nothing, behind a client that cannot be told to wait.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sides = (Side::Udp, Side::Tcp);
    let proxy = proxy_to(listener.local_addr().unwrap(), sides, "up: loss 0%; drop 1");
    let client = socket();
    until("something is lost", || {
        for _ in 0..10 {
            send(&client, proxy.local_addr(), &[0; 60_000]);
        }
        proxy.status().link(Direction::Upstream).overrun_pkts > 0
    });
    let status = proxy.status();
    assert_eq!(status.link(Direction::Upstream).dropped_pkts, 1, "by the rule");
    assert!(status.health.overrun_pkts >= status.link(Direction::Upstream).overrun_pkts);
    assert!(!status.health.is_good());
    drop(listener);
}

#[test]
fn a_client_that_sends_no_frames_is_cut_off_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(listener.local_addr().unwrap(), (Side::Tcp, Side::Tcp), "");
    let mut good = TcpStream::connect(proxy.local_addr()).unwrap();
    let (mut target, _) = listener.accept().unwrap();
    let mut bad = TcpStream::connect(proxy.local_addr()).unwrap();
    std::io::Write::write_all(&mut bad, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    until("the bad one is gone", || proxy.status().clients.len() == 1);
    std::io::Write::write_all(&mut good, b"\x04\0\0\0good").unwrap();
    target.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut came = [0; 8];
    std::io::Read::read_exact(&mut target, &mut came).unwrap();
    assert_eq!(&came[4..], b"good");
}
