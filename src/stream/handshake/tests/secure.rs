//! The same link with TLS on it: flights of several datagrams, slow engines, peers that are refused.

use super::*;
use crate::crypto::tls::SecureMode;
use crate::crypto::tls::testing::{alice, anybody, bob, mallory, mode, modes, pinned};

fn configs() -> (Config, Config) {
    let (client, server) = modes();
    (config(client, 1), config(server, 2))
}

fn pair(seed: u64, faults: Faults) -> Pair {
    let (client, server) = configs();
    Pair::with(seed, faults, &client, server)
}

fn name(key: &crate::crypto::identity::PrivateKey) -> String {
    key.public().fingerprint().to_string()
}

#[test]
fn without_loss_both_sides_complete_in_two_round_trips_and_know_each_other() {
    let mut pair = pair(1, Faults::default());
    pair.run();
    assert_eq!(
        pair.log[..2],
        ["client INITIAL", "client INITIAL"],
        "the hello fills two"
    );
    assert_eq!(pair.log.last().expect("packets"), "server 1-RTT");
    assert!(
        pair.elapsed() <= 4 * ONE_WAY + 3 * pair.work_time,
        "{:?}",
        pair.elapsed()
    );
    assert!(pair.log.len() <= 12, "{:?}", pair.log);
    let (client, server) = pair.assert_established("no faults");
    let peer = |established: &Established| {
        let peer = established.peer_identity.as_ref().expect("it was proven");
        peer.fingerprint().to_string()
    };
    assert_eq!(peer(&client), name(&bob()));
    assert_eq!(peer(&server), name(&alice()));
    assert_eq!((client.dropped, server.dropped), (0, 0));
    assert_eq!(client.keys.sealer.tag_bytes(), 16);
}

#[test]
fn fifty_links_with_thirty_percent_loss_in_bursts_all_complete() {
    for seed in 0..50 {
        println!("seed {seed}");
        let faults = Faults {
            loss_pct: 30,
            burst: 1 + (seed % 3) as u32,
            ..Faults::default()
        };
        pair(seed, faults).assert_established(&format!("seed {seed}"));
    }
}

#[test]
fn fifty_links_with_thirty_percent_corruption_all_complete() {
    let mut dropped = 0;
    for seed in 100..150 {
        println!("seed {seed}");
        let faults = Faults {
            corrupt_pct: 30,
            ..Faults::default()
        };
        let (client, server) = pair(seed, faults).assert_established(&format!("seed {seed}"));
        dropped += client.dropped + server.dropped;
    }
    assert!(dropped > 0, "damaged packets are counted");
}

#[test]
fn fifty_links_with_everything_at_once_all_complete() {
    for seed in 200..250 {
        println!("seed {seed}");
        let faults = Faults {
            loss_pct: 15,
            corrupt_pct: 10,
            duplicate_pct: 30,
            jitter: ms(60),
            ..Faults::default()
        };
        pair(seed, faults).assert_established(&format!("seed {seed}"));
    }
}

#[test]
fn each_single_loss_costs_one_time_out() {
    let mut whole = pair(2, Faults::default());
    whole.run();
    let undisturbed = whole.elapsed();
    for (is_up, count) in [(true, whole.up.count), (false, whole.down.count)] {
        for ordinal in 0..count {
            let mut pair = pair(2, Faults::default());
            if is_up { &mut pair.up } else { &mut pair.down }.lose.push(ordinal);
            pair.run();
            let what = format!("up {is_up}, datagram {ordinal} lost");
            assert!(
                pair.elapsed() <= undisturbed + 2 * ONE_WAY + 2 * pair.work_time + PTO_INITIAL,
                "{what}: {:?} {:?}",
                pair.elapsed(),
                pair.log
            );
            pair.assert_established(&what);
        }
    }
}

#[test]
fn a_server_takes_the_parts_of_a_hello_in_any_order() {
    let start = epoch();
    let (client_config, server_config) = configs();
    let mut client = Client::new(&client_config, LOCAL, FIRST, start).expect("good");
    let mut hello: Vec<_> = std::iter::from_fn(|| client.poll_transmit(start)).collect();
    assert_eq!(hello.len(), 2);
    hello.reverse();
    let decoded = Hello::decode(&hello[0], &server_config).expect("the second half of a hello");
    let mut server = Server::new(&server_config, REMOTE, &decoded, &hello[0], start).expect("authentic");
    assert!(server.poll_work().is_none(), "there is nothing to read yet");
    server.handle_datagram(&hello[1], start);
    let work = server.poll_work().expect("a whole hello");
    server.handle_done(work.run(), start);
    let flight: Vec<_> = std::iter::from_fn(|| server.poll_transmit(start)).collect();
    let kinds: Vec<_> = flight.iter().map(|datagram| Pair::kind(datagram)).collect();
    assert!(kinds.contains(&"INITIAL") && kinds.contains(&"HANDSHAKE"), "{kinds:?}");
    // HANDSHAKE before the INITIAL that brings its keys.
    for datagram in flight.iter().rev() {
        client.handle_datagram(datagram, start);
    }
    let answer: Vec<_> = std::iter::from_fn(|| client.poll_transmit(start)).collect();
    assert!(answer.iter().any(|datagram| Pair::kind(datagram) == "HANDSHAKE"));
}

/// Who refuses whom, and what both are told.
fn refusals() -> Vec<(&'static str, SecureMode, SecureMode, Vec<String>)> {
    vec![
        (
            "a man in the middle with a key of its own",
            mode(alice(), pinned(bob().public())),
            mode(mallory(), anybody()),
            vec![name(&mallory()), name(&bob())],
        ),
        (
            "a client that nobody knows",
            mode(mallory(), anybody()),
            mode(bob(), pinned(alice().public())),
            vec![name(&mallory()), name(&alice())],
        ),
    ]
}

#[test]
fn whoever_is_refused_hears_why_whatever_is_lost() {
    for seed in 0..20 {
        for (what, client, server, names) in refusals() {
            println!("seed {seed}, {what}");
            let faults = Faults {
                loss_pct: if seed == 0 { 0 } else { 30 },
                ..Faults::default()
            };
            let mut pair = Pair::with(seed, faults, &config(client, 1), config(server, 2));
            pair.run();
            let outcomes = [pair.client_outcome.take(), pair.server_outcome.take()];
            for outcome in outcomes {
                let error = outcome.expect("an outcome").expect_err("a refusal");
                let StreamError::Identity { reason } = &error else {
                    panic!("{what}: {error}; {:?}", pair.log);
                };
                for name in &names {
                    assert!(reason.contains(name), "{what}: {reason}");
                }
            }
        }
    }
}

/// Everything that a line may do to one datagram: each bit flipped, every truncation, 1 to 64 bytes more.
fn damaged(datagram: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flips = (0..datagram.len() * 8).map(|bit| {
        let mut copy = datagram.to_vec();
        copy[bit / 8] ^= 1 << (bit % 8);
        copy
    });
    let cuts = (0..datagram.len()).map(|bytes| datagram[..bytes].to_vec());
    let longer = (1..=64).map(|more| {
        let mut copy = datagram.to_vec();
        copy.resize(copy.len() + more, 0x5a);
        copy
    });
    flips.chain(cuts).chain(longer)
}

#[test]
fn no_damaged_datagram_of_a_handshake_is_taken_and_none_disturbs() {
    let start = epoch();
    let (client_config, server_config) = configs();
    let mut client = Client::new(&client_config, LOCAL, FIRST, start).expect("good");
    let hello: Vec<_> = std::iter::from_fn(|| client.poll_transmit(start)).collect();
    for datagram in damaged(&hello[0]) {
        let server = Hello::decode(&datagram, &server_config)
            .and_then(|hello| Server::new(&server_config, REMOTE, &hello, &datagram, start));
        assert!(server.is_err(), "a damaged hello makes no state");
    }
    let decoded = Hello::decode(&hello[0], &server_config).expect("a hello");
    let mut server = Server::new(&server_config, REMOTE, &decoded, &hello[0], start).expect("authentic");

    // To the server: each datagram damaged in every way, then as it was sent.
    let deliver_up = |server: &mut Server, datagram: &[u8]| {
        while server.poll_transmit(start).is_some() {}
        let before = (server.next_timeout(), server.poll_work().is_none());
        for bad in damaged(datagram) {
            server.handle_datagram(&bad, start);
            assert!(server.poll_transmit(start).is_none() && server.poll_outcome().is_none());
            assert_eq!((server.next_timeout(), server.poll_work().is_none()), before);
        }
        server.handle_datagram(datagram, start);
    };
    let work = |server: &mut Server| {
        while let Some(work) = server.poll_work() {
            server.handle_done(work.run(), start);
        }
    };
    work(&mut server);
    deliver_up(&mut server, &hello[1]);
    work(&mut server);
    let flight: Vec<_> = std::iter::from_fn(|| server.poll_transmit(start)).collect();
    assert!(flight.len() >= 2);

    let mut dropped = 0;
    let deliver_down = |client: &mut Client, datagram: &[u8], dropped: &mut u64| {
        let before = client.next_timeout();
        for bad in damaged(datagram) {
            client.handle_datagram(&bad, start);
            *dropped += 1;
            assert!(client.poll_transmit(start).is_none() && client.poll_outcome().is_none());
            assert_eq!(client.next_timeout(), before);
        }
        assert_eq!(client.dropped(), *dropped, "each of them was counted");
        client.handle_datagram(datagram, start);
    };
    let mut answers = Vec::new();
    for datagram in &flight {
        deliver_down(&mut client, datagram, &mut dropped);
        answers.extend(std::iter::from_fn(|| client.poll_transmit(start)));
    }
    let finished: Vec<_> = answers
        .iter()
        .filter(|datagram| Pair::kind(datagram) == "HANDSHAKE")
        .collect();
    assert!(!finished.is_empty());
    for datagram in finished {
        deliver_up(&mut server, datagram);
        work(&mut server);
    }
    let mut established = server.poll_outcome().expect("an outcome").expect("established");
    let done = short_packet(&mut established.keys, LOCAL, 0, &Frame::HandshakeDone);
    deliver_down(&mut client, &done, &mut dropped);
    let established = client.poll_outcome().expect("an outcome").expect("established");
    assert_eq!(
        established.unread.len(),
        1,
        "the packet with HANDSHAKE_DONE, and no other"
    );
}

#[test]
fn of_early_packets_eight_are_kept_and_forged_ones_do_not_disturb() {
    let mut pair = pair(5, Faults::default());
    // Just before the client's Finished arrives.
    while !pair.log.iter().any(|line| line == "client HANDSHAKE") {
        assert!(pair.step(), "{:?}", pair.log);
    }
    let now = pair.now;
    let server = pair.server.as_mut().expect("it has answered");
    for which in 0..20u8 {
        let mut packet = vec![0x41];
        packet.extend_from_slice(&REMOTE.0);
        packet.extend_from_slice(&[which; 30]);
        server.handle_datagram(&packet, now);
    }
    let (_, server) = pair.assert_established("noise");
    assert_eq!(server.unread.len(), MAX_EARLY_DATAGRAMS);
    assert_eq!(server.dropped, 20 - MAX_EARLY_DATAGRAMS as u64);
}

#[test]
fn two_copies_of_each_datagram_change_nothing() {
    let faults = Faults {
        duplicate_pct: 100,
        ..Faults::default()
    };
    let mut whole = pair(6, Faults::default());
    whole.run();
    let mut pair = pair(6, faults);
    pair.run();
    assert_eq!(pair.elapsed(), whole.elapsed());
    let (client, _) = pair.assert_established("duplicates");
    assert_eq!(client.unread.len(), 1);
}
