//! Packets go through as they are: of any size, empty ones too, on both carriers and from one to the other.

use super::*;
use proptest::prelude::*;
use securestream::filter::Direction;
use securestream::identity::PrivateKey;
use securestream::trust::{Pinned, Trust};
use securestream::{Carrier, Finished, Security, StreamBuilder};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

#[test]
fn datagrams_of_any_size_pass_in_both_directions_and_empty_ones_too() {
    let (target, proxy) = udp_pair("");
    let client = socket();
    let mut back = None;
    for bytes in [0, 1, 3, 1200, 1472, 9000, 65_000] {
        let packet: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
        send(&client, proxy.local_addr(), &packet);
        let (came, from) = receive(&target);
        assert_eq!(came, packet);
        assert!(back.is_none_or(|back| back == from), "one client has one port");
        back = Some(from);
        send(&target, from, &packet);
        assert_eq!(receive(&client), (packet, proxy.local_addr()));
    }
    until("all are counted", || {
        proxy.status().links.iter().all(|link| link.sent_pkts == 7)
    });
    let status = proxy.status();
    for link in &status.links {
        assert_eq!(link.received_pkts, 7, "{:?}", link.direction);
        assert_eq!(link.received_bytes, link.sent_bytes);
    }
    assert!(status.health.is_good(), "{:?}", status.health);
}

/// Frames by hand: a little-endian length, and the packet. This is the framing of the original program, too.
fn frame(packet: &[u8]) -> Vec<u8> {
    let mut frame = (packet.len() as u32).to_le_bytes().to_vec();
    frame.extend(packet);
    frame
}

#[test]
fn frames_of_the_original_program_pass_untouched_however_they_are_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(listener.local_addr().unwrap(), (Side::Tcp, Side::Tcp), "delay 1ms");
    let mut client = TcpStream::connect(proxy.local_addr()).unwrap();
    let (mut target, _) = listener.accept().unwrap();
    // Recorded from it: window 2, read up to 890, data at 88; and one without data.
    let recorded = [
        b"\x02\0\0\0\x7a\x03\0\0\x58\0\0\0\xa6\x46\x79\xad\xe2\x4c".to_vec(),
        b"\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff".to_vec(),
        Vec::new(),
    ];
    let wire: Vec<u8> = recorded.iter().flat_map(|packet| frame(packet)).collect();
    for piece in wire.chunks(5) {
        client.write_all(piece).unwrap();
        client.flush().unwrap();
    }
    let mut came = vec![0; wire.len()];
    target.set_read_timeout(Some(WATCHDOG)).unwrap();
    target.read_exact(&mut came).unwrap();
    assert_eq!(came, wire);
    target.write_all(&wire).unwrap();
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    client.read_exact(&mut came).unwrap();
    assert_eq!(came, wire);
    until("all are counted", || {
        proxy.status().link(Direction::Upstream).sent_pkts == 3
    });
}

#[test]
fn classic_datagrams_pass_untouched() {
    let (target, proxy) = udp_pair("");
    let client = socket();
    let packet = frame(b"\x02\0\0\0\x7a\x03\0\0\x58\0\0\0data");
    send(&client, proxy.local_addr(), &packet);
    assert_eq!(receive(&target).0, packet);
}

#[test]
fn one_carrier_can_become_the_other() {
    // Datagrams from the client, frames to the target.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(listener.local_addr().unwrap(), (Side::Udp, Side::Tcp), "");
    let client = socket();
    send(&client, proxy.local_addr(), b"one");
    send(&client, proxy.local_addr(), b"");
    let (mut target, _) = listener.accept().unwrap();
    target.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut came = [0; 11];
    target.read_exact(&mut came).unwrap();
    assert_eq!(&came, b"\x03\0\0\0one\0\0\0\0");
    target.write_all(b"\x02\0\0\0ok").unwrap();
    assert_eq!(receive(&client).0, b"ok");
    // And the other way round.
    let target = socket();
    let proxy = proxy_to(target.local_addr().unwrap(), (Side::Tcp, Side::Udp), "");
    let mut client = TcpStream::connect(proxy.local_addr()).unwrap();
    client.write_all(b"\x03\0\0\0one").unwrap();
    let (packet, back) = receive(&target);
    assert_eq!(packet, b"one");
    send(&target, back, b"ok");
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut came = [0; 6];
    client.read_exact(&mut came).unwrap();
    assert_eq!(&came, b"\x02\0\0\0ok");
}

#[test]
fn the_end_of_one_direction_comes_behind_its_packets_and_leaves_the_other_open() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(listener.local_addr().unwrap(), (Side::Tcp, Side::Tcp), "up: delay 20ms");
    let mut client = TcpStream::connect(proxy.local_addr()).unwrap();
    client.write_all(b"\x04\0\0\0last").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let (mut target, _) = listener.accept().unwrap();
    target.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut all = Vec::new();
    target.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"\x04\0\0\0last");
    target.write_all(b"\x02\0\0\0ok").unwrap();
    drop(target);
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"\x02\0\0\0ok");
    until("the flow is forgotten", || proxy.status().clients.is_empty());
}

fn modes() -> [(&'static str, Security, Security); 2] {
    let [one, other] = [(); 2].map(|()| PrivateKey::generate(2048).unwrap());
    let trust = |key: &PrivateKey| Trust::Pinned(Pinned::new(key.public().clone()));
    let (trust_one, trust_other) = (trust(&one), trust(&other));
    [
        ("plain", Security::plain(), Security::plain()),
        (
            "secure",
            Security::secure(one, trust_other),
            Security::secure(other, trust_one),
        ),
    ]
}

#[test]
fn streams_of_every_mode_pass_on_every_carrier_through_losses_and_delays() {
    let payload: Vec<u8> = (0..300_000_u32).map(|byte| (byte / 7) as u8).collect();
    for (mode, client, server) in modes() {
        for (front, back) in [
            (Side::Udp, Side::Udp),
            (Side::Tcp, Side::Tcp),
            (Side::Udp, Side::Tcp),
            // A server on UDP wants first packets of 1200 bytes, so they have that size on TCP as well.
            (Side::Tcp, Side::Udp),
        ] {
            let carrier = |side| if side == Side::Udp { Carrier::Udp } else { Carrier::Tcp };
            let listener = StreamBuilder::new(server.clone())
                .carrier(carrier(back))
                .bind("127.0.0.1:0")
                .unwrap();
            let rules = "loss 3%; delay 2ms 1ms";
            let proxy = proxy_to(listener.local_addr().unwrap(), (front, back), rules);
            let sender = thread::spawn({
                let (builder, payload, addr) = (
                    StreamBuilder::new(client.clone()).carrier(carrier(front)),
                    payload.clone(),
                    proxy.local_addr(),
                );
                move || {
                    let mut stream = builder.connect(addr).unwrap();
                    stream.write_all(&payload).unwrap();
                    stream.finish(WATCHDOG).unwrap()
                }
            });
            let (mut stream, _) = listener.accept().unwrap();
            let mut came = Vec::new();
            stream.read_to_end(&mut came).unwrap();
            assert!(came == payload, "{mode} {front:?} {back:?}");
            assert_eq!(sender.join().unwrap(), Finished::Consumed);
            let up = &proxy.rules(Direction::Upstream)[0];
            assert!(up.counters.dropped > 0, "{mode} {front:?} {back:?}: {up:?}");
        }
    }
}

#[test]
fn classic_streams_pass_on_both_carriers_through_losses_and_delays() {
    use crate::classic::{arq, cryptors, payload};
    use securestream::classic::{Builder, Scheme};
    let bytes = payload(60_000);
    let [alice, bob] = cryptors();
    let pairs = [
        (Builder::new(), Builder::new()),
        (Builder::new().cryptor(alice), Builder::new().cryptor(bob)),
    ];
    for ((client, server), scheme) in pairs.iter().flat_map(|pair| Scheme::ALL.map(|scheme| (pair, scheme))) {
        for side in [Side::Udp, Side::Tcp] {
            let (client, server) = (client.clone().arq(arq(scheme, 50)), server.clone());
            let listener = match side {
                Side::Udp => server.listen_udp("127.0.0.1:0"),
                Side::Tcp => server.listen_tcp("127.0.0.1:0"),
            };
            let listener = listener.unwrap();
            let rules = "loss 5%; delay 1ms 1ms";
            let proxy = proxy_to(listener.local_addr().unwrap(), (side, side), rules);
            let (addr, sent) = (proxy.local_addr(), bytes.clone());
            let sender = thread::spawn(move || {
                let mut stream = match side {
                    Side::Udp => client.connect_udp(addr),
                    Side::Tcp => client.connect_tcp(addr),
                }
                .unwrap();
                stream.write_all(&sent).unwrap();
                stream.finish(WATCHDOG).unwrap();
            });
            let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
            stream.set_read_timeout(Some(WATCHDOG)).unwrap();
            let mut came = vec![0; bytes.len()];
            stream.read_exact(&mut came).unwrap();
            assert!(came == bytes, "{scheme} {side:?}");
            sender.join().unwrap();
            let seen = proxy.rules(Direction::Upstream)[0].counters.seen;
            assert!(seen >= 30, "{scheme} {side:?}: {seen} packets");
        }
    }
}

/// Rules whose verdicts depend on numbers and dice only.
const TIMELESS: &str = "loss 20%; loss 5% burst 3; duplicate 10%; corrupt 10%; drop 5,9; loss 50% match size 100-200";

fn verdicts(rules: &str, seed: u64, sizes: &[usize], one_by_one: bool) -> Vec<(String, u64, String)> {
    let target = socket();
    let proxy = ProxyBuilder::new(target.local_addr().unwrap())
        .unwrap()
        .rules(&spec(rules))
        .seed(seed)
        .record()
        .start_local()
        .unwrap();
    let client = socket();
    for (index, bytes) in sizes.iter().enumerate() {
        send(&client, proxy.local_addr(), &vec![1; *bytes]);
        if one_by_one {
            until("it was seen", || {
                proxy.status().link(Direction::Upstream).received_pkts == index as u64 + 1
            });
        }
    }
    until("all are through", || {
        let status = proxy.status();
        let up = status.link(Direction::Upstream);
        up.received_pkts == sizes.len() as u64
            && up.sent_pkts + up.dropped_pkts == up.received_pkts + up.duplicated_pkts
    });
    let mut record: Vec<_> = proxy
        .record(Direction::Upstream)
        .into_iter()
        .map(|recorded| (recorded.rule, recorded.ordinal, format!("{:?}", recorded.verdict)))
        .collect();
    record.sort();
    record
}

#[test]
fn the_same_seed_gives_the_same_verdicts_however_packets_come() {
    let sizes: Vec<_> = (0..300_usize).map(|index| 50 + index * 37 % 300).collect();
    let slowly = verdicts(TIMELESS, 3, &sizes, true);
    assert!(slowly.len() > 50, "{}", slowly.len());
    assert_eq!(verdicts(TIMELESS, 3, &sizes, false), slowly);
    assert_ne!(verdicts(TIMELESS, 4, &sizes, false), slowly);
}

#[test]
fn another_rule_changes_no_verdict() {
    let sizes = [100; 200];
    let alone = verdicts("loss 20%; duplicate 10%", 3, &sizes, false);
    let more = verdicts(
        "delay 1ms; corrupt 50%; loss 20%; duplicate 10%; mtu 1400",
        3,
        &sizes,
        false,
    );
    let of_loss = |record: &[(String, u64, String)]| -> Vec<_> {
        record.iter().filter(|(rule, ..)| rule == "loss").cloned().collect()
    };
    assert_eq!(of_loss(&alone), of_loss(&more));
}

#[test]
fn a_recorded_run_replays_to_the_same_packets() {
    let run = |rules: &str| {
        let (target, proxy) = udp_pair(rules);
        let client = socket();
        // As many as fit into the buffer of a socket that nobody reads.
        for number in 0..200_u32 {
            send(&client, proxy.local_addr(), &number.to_le_bytes());
        }
        until("all were seen", || {
            proxy.status().link(Direction::Upstream).received_pkts == 200
        });
        until("all have left", || {
            let status = proxy.status();
            let up = status.link(Direction::Upstream);
            up.sent_pkts + up.dropped_pkts == 200 + up.duplicated_pkts
        });
        let sent = proxy.status().link(Direction::Upstream).sent_pkts;
        let came: Vec<_> = (0..sent).map(|_| receive(&target).0).collect();
        (came, proxy.replay().expect("recorded").to_string())
    };
    let (came, replay) = run("loss 10%; duplicate 10%; loss 20% burst 3; blackhole match nth 7");
    assert!(!replay.contains("loss") && !replay.contains("blackhole"), "{replay}");
    let (again, once_more) = run(&replay);
    assert_eq!(came, again);
    assert_eq!(replay, once_more);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn nothing_passes_at_100_percent_and_all_at_0(seed: u64, packets in 1..40_u64) {
        for (rules, passes) in [("loss 0%", true), ("loss 100%", false), ("blackhole", false)] {
            let target = socket();
            let proxy = ProxyBuilder::new(target.local_addr().unwrap()).unwrap();
            let proxy = proxy.rules(&spec(rules)).seed(seed).start_local().unwrap();
            let client = socket();
            (0..packets).for_each(|_| send(&client, proxy.local_addr(), b"packet"));
            until("all were seen", || {
                let rules = proxy.rules(Direction::Upstream);
                rules[0].counters.seen == packets
            });
            let dropped = proxy.rules(Direction::Upstream)[0].counters.dropped;
            prop_assert_eq!(dropped, if passes { 0 } else { packets });
        }
    }
}
