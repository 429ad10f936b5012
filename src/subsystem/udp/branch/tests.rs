//! Branches of real sockets on loopback.

use super::super::Udp;
use super::{DESCRIPTORS, MOST, Place};
use crate::subsystem::testing::{at_once, batch_of, receive_packets, watchdog};
use crate::subsystem::{Branch, Halves, PathId, Sent, Subsystem};
use rustix::net::sockopt::set_socket_reuseport;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

fn split(udp: Udp) -> Halves {
    Box::new(udp).split().unwrap()
}

fn say(client: &mut Halves, word: &str) {
    assert_eq!(client.tx.send(batch_of(&[word.into()])).unwrap(), Sent::Taken);
}

struct Rig {
    server: Halves,
    addr: SocketAddr,
    client: Halves,
    path: PathId,
    branch: Branch,
}

/// A client at `host` that has said "hello" to a server bound to `bound`, which has a branch for it.
fn rig(bound: impl Into<std::net::IpAddr>, host: impl Into<std::net::IpAddr>) -> Option<Rig> {
    let Ok(server) = Udp::bind(SocketAddr::new(bound.into(), 0)) else {
        println!("skipped: no such address here");
        return None;
    };
    let addr = SocketAddr::new(host.into(), server.local_addr().unwrap().port());
    let (mut client, mut server) = (split(Udp::connect(addr).unwrap()), split(server));
    say(&mut client, "hello");
    let path = server.rx.recv(watchdog()).unwrap().expect("a batch").path;
    let branch = server.rx.branch(path).unwrap().expect("Linux has branches");
    Some(Rig {
        server,
        addr,
        client,
        path,
        branch,
    })
}

#[test]
fn a_peer_with_a_branch_is_heard_there_and_all_others_where_they_were() {
    for bound in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
        let mut rig = rig(bound, Ipv4Addr::LOCALHOST).expect("IPv4");
        let mut other = split(Udp::connect(rig.addr).unwrap());
        say(&mut rig.client, "first");
        say(&mut other, "other");
        let batch = rig.branch.rx.recv(watchdog()).unwrap().expect("a batch");
        assert_eq!((&batch.buffer[..], batch.path), (&b"first"[..], rig.path));
        assert_eq!(
            batch.path.local(),
            rig.path.local(),
            "answers leave from the same address"
        );
        assert_eq!(receive_packets(&mut *rig.server.rx, 1), [b"other"]);
        assert!(rig.branch.rx.recv(at_once()).unwrap().is_none());
        drop(rig.branch);
        say(&mut rig.client, "again");
        assert_eq!(receive_packets(&mut *rig.server.rx, 1), [b"again"]);
    }
}

#[test]
fn sockets_of_ipv6_have_branches_for_both_kinds_of_peers() {
    let both = Ipv6Addr::UNSPECIFIED;
    let hosts: [(Ipv6Addr, std::net::IpAddr); 3] = [
        (both, Ipv4Addr::new(127, 0, 0, 2).into()),
        (both, Ipv6Addr::LOCALHOST.into()),
        (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST.into()),
    ];
    for (bound, host) in hosts {
        let Some(mut rig) = rig(bound, host) else {
            continue;
        };
        say(&mut rig.client, "first");
        assert_eq!(receive_packets(&mut *rig.branch.rx, 1), [b"first"], "{bound} {host}");
        assert!(rig.server.rx.recv(at_once()).unwrap().is_none());
    }
}

#[test]
fn nobody_else_can_listen_at_the_same_address() {
    let rig = rig(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST).expect("IPv4");
    let refused = Udp::bind(rig.addr).expect_err("it is taken");
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    let refused = Udp::bind((Ipv4Addr::UNSPECIFIED, rig.addr.port())).expect_err("it is taken");
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    // Nor one that would share it.
    for host in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
        let intruder = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        intruder.set_reuse_address(true).unwrap();
        set_socket_reuseport(&intruder, true).unwrap();
        let refused = intruder
            .bind(&SocketAddr::from((host, rig.addr.port())).into())
            .unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }
}

#[test]
fn a_wake_ends_the_wait_for_a_branch_and_a_branch_has_no_branches() {
    let mut rig = rig(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST).expect("IPv4");
    rig.branch.waker.wake();
    assert!(rig.branch.rx.recv(None).unwrap().is_none());
    assert!(rig.branch.rx.branch(rig.path).unwrap().is_none());
    assert!(rig.client.rx.branch(PathId::ONLY).unwrap().is_none());
}

#[test]
fn many_peers_have_one_each() {
    let Rig { mut server, addr, .. } = rig(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST).expect("IPv4");
    let mut clients: Vec<_> = (0..20).map(|_| split(Udp::connect(addr).unwrap())).collect();
    let mut branches = Vec::new();
    for client in &mut clients {
        say(client, "hello");
        let path = server.rx.recv(watchdog()).unwrap().expect("a batch").path;
        branches.push(server.rx.branch(path).unwrap().expect("there are descriptors enough"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        say(client, &number.to_string());
    }
    for (number, branch) in branches.iter_mut().enumerate() {
        assert_eq!(receive_packets(&mut *branch.rx, 1), [number.to_string().into_bytes()]);
    }
    assert!(server.rx.recv(at_once()).unwrap().is_none());
}

#[test]
fn branches_leave_half_of_the_descriptors_to_the_program() {
    static BRANCHES: AtomicU64 = AtomicU64::new(0);
    let take = |limit| Place::within(limit, &BRANCHES);
    let places: Vec<_> = std::iter::from_fn(|| take(60)).collect();
    assert_eq!(places.len() as u64 * DESCRIPTORS, 30);
    drop(places);
    assert_eq!(BRANCHES.load(Ordering::Relaxed), 0, "they come back");
    let places: Vec<_> = std::iter::from_fn(|| take(u64::MAX)).collect();
    assert_eq!(places.len() as u64, MOST);
}
