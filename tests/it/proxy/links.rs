//! Each client has links of its own: what becomes of its packets does not depend on anybody else.

use super::*;
use securestream::filter::Direction;
use securestream::proxy::{Recorded, ReplayError};

const UP: Direction = Direction::Upstream;

/// Sends so many packets from each client in the order that `turns` says, and gives what was recorded, by client.
fn record(rules: &str, turns: &[usize]) -> (Vec<Vec<Recorded>>, Proxy) {
    let (_target, proxy) = udp_pair(rules);
    let clients = turns.iter().max().map_or(0, |last| last + 1);
    let clients: Vec<_> = (0..clients).map(|_| socket()).collect();
    // They come in this order; what they send afterwards is mixed.
    for (number, client) in clients.iter().enumerate() {
        send(client, proxy.local_addr(), b"hello");
        until("it is known", || proxy.status().clients.len() == number + 1);
    }
    for turn in turns {
        send(&clients[*turn], proxy.local_addr(), b"packet");
    }
    let all = (clients.len() + turns.len()) as u64;
    until("all are through", || {
        let status = proxy.status();
        let up = status.link(UP);
        up.received_pkts == all && up.sent_pkts + up.dropped_pkts == all + up.duplicated_pkts
    });
    let mut of_client = vec![Vec::new(); clients.len()];
    for recorded in proxy.record(UP) {
        of_client[recorded.client as usize - 1].push(recorded);
    }
    (of_client, proxy)
}

const RULES: &str = "up: loss 20%; duplicate 20%; corrupt 10%";

#[test]
fn the_verdicts_of_a_client_do_not_depend_on_when_others_send() {
    let one_by_one: Vec<_> = [[0; 60], [1; 60], [2; 60]].concat();
    let in_turn: Vec<_> = (0..180).map(|turn| turn % 3).collect();
    let (alone, _proxy) = record(RULES, &[0; 60]);
    let (separate, _proxy) = record(RULES, &one_by_one);
    let (mixed, _proxy) = record(RULES, &in_turn);
    assert!(alone[0].len() > 5, "{}", alone[0].len());
    assert_eq!(
        separate[0], alone[0],
        "the first client has the verdicts of a run with one client"
    );
    assert_eq!(separate, mixed);
    let words = |records: &[Recorded]| -> Vec<_> {
        records
            .iter()
            .map(|recorded| (recorded.rule.clone(), recorded.ordinal, recorded.verdict))
            .collect()
    };
    assert_ne!(words(&mixed[0]), words(&mixed[1]));
    assert_ne!(words(&mixed[1]), words(&mixed[2]));
}

#[test]
fn packets_are_counted_for_each_client_and_reports_sum_up() {
    let (target, proxy) = udp_pair("up: drop 2; loss 100% match client 3");
    let clients = [(); 3].map(|()| socket());
    for (number, client) in clients.iter().enumerate() {
        for text in [b"1", b"2", b"3"] {
            send(client, proxy.local_addr(), text);
        }
        until("all three came", || {
            proxy.status().link(UP).received_pkts == 3 * (number as u64 + 1)
        });
    }
    until("all are seen", || proxy.rules(UP)[0].counters.seen == 9);
    let came: Vec<_> = (0..4).map(|_| receive(&target)).collect();
    assert!(came.iter().all(|(text, _)| text == b"1" || text == b"3"));
    let [drops, third] = &proxy.rules(UP)[..] else {
        panic!("two rules");
    };
    assert_eq!((drops.counters.seen, drops.counters.dropped), (9, 3));
    assert_eq!((third.counters.seen, third.counters.dropped), (2, 2));
    assert_eq!(proxy.status().link(UP).dropped_pkts, 5);
}

#[test]
fn what_a_client_did_stays_in_the_books_when_it_has_gone() {
    let target = socket();
    let proxy = ProxyBuilder::new(target.local_addr().unwrap())
        .unwrap()
        .rules(&spec("up: drop 2; delay 60s match size 7-7"))
        // Long enough for three packets to come on a machine that is busy.
        .idle_timeout(Duration::from_secs(2))
        .start_local()
        .unwrap();
    for _ in 0..2 {
        let client = socket();
        for text in [&b"one"[..], b"two", b"delayed"] {
            send(&client, proxy.local_addr(), text);
        }
        assert_eq!(receive(&target).0, b"one");
        until("it is forgotten", || {
            let status = proxy.status();
            let up = status.link(UP);
            status.clients.is_empty() && up.received_pkts.is_multiple_of(3) && up.held_pkts == 0
        });
    }
    let rules = proxy.rules(UP);
    assert_eq!((rules[0].counters.seen, rules[0].counters.dropped), (6, 2));
    assert_eq!(rules[0].observations, [], "a list has nothing to observe");
    assert_eq!((rules[1].counters.seen, rules[1].counters.held), (2, 0));
    let status = proxy.status();
    let up = status.link(UP);
    assert_eq!((up.received_pkts, up.dropped_pkts, up.held_pkts), (6, 2, 0));
    assert_eq!(
        (up.sent_pkts, up.homeless_pkts),
        (2, 2),
        "what was held had nowhere to go"
    );
}

#[test]
fn a_rule_that_changes_does_so_for_clients_that_are_there_and_for_later_ones() {
    let (target, proxy) = udp_pair("up: loss 100%");
    let clients = [(); 2].map(|()| socket());
    for client in &clients {
        send(client, proxy.local_addr(), b"lost");
    }
    until("both were lost", || proxy.rules(UP)[0].counters.dropped == 2);
    proxy.set_rules(&spec("up: loss 0%"));
    let later = socket();
    for client in clients.iter().chain([&later]) {
        send(client, proxy.local_addr(), b"passes");
        assert_eq!(receive(&target).0, b"passes");
    }
    let rule = &proxy.rules(UP)[0];
    assert_eq!((rule.counters.seen, rule.counters.dropped), (5, 2));
    assert_eq!(rule.observations[0].observed, Some(0.0));
    proxy.set_rules(&spec(""));
    assert!(proxy.rules(UP).is_empty());
}

#[test]
fn the_next_packets_are_the_next_of_whoever_sends() {
    let (target, proxy) = udp_pair("up: next 2");
    let clients = [(); 2].map(|()| socket());
    for client in &clients {
        send(client, proxy.local_addr(), b"lost");
    }
    until("both were lost", || proxy.rules(UP)[0].counters.dropped == 2);
    // A client that comes later is none of the next.
    send(&socket(), proxy.local_addr(), b"passes");
    assert_eq!(receive(&target).0, b"passes");
    proxy.set_rule(UP, "next", spec("next 1").entries()[0].clone()).unwrap();
    send(&socket(), proxy.local_addr(), b"lost");
    until("it was lost", || proxy.rules(UP)[0].counters.dropped == 3);
    send(&clients[0], proxy.local_addr(), b"passes too");
    assert_eq!(receive(&target).0, b"passes too");
}

#[test]
fn a_rebinding_rule_moves_only_the_client_whose_time_has_come() {
    let (target, proxy) = udp_pair("up: rebind 10ms match client 2");
    let [one, two] = [(); 2].map(|()| socket());
    let talk = |client: &UdpSocket| {
        send(client, proxy.local_addr(), b"?");
        receive(&target).1
    };
    let (first, second) = (talk(&one), talk(&two));
    until("the second has another port", || talk(&two) != second);
    assert_eq!(talk(&one), first);
}

#[test]
fn a_record_of_several_clients_replays_for_each_of_them() {
    let turns: Vec<_> = (0..120).map(|turn| turn % 2).collect();
    let (_, proxy) = record("up: loss 20%; duplicate 20%", &turns);
    let replay = proxy.replay().unwrap().to_string();
    assert!(
        replay.contains("match client 1") && replay.contains("match client 2"),
        "{replay}"
    );
    let drops = |proxy: &Proxy| {
        let dropped = |recorded: &Recorded| {
            (recorded.verdict == securestream::filter::Verdict::Drop).then_some((recorded.client, recorded.ordinal))
        };
        let mut drops: Vec<_> = proxy.record(UP).iter().filter_map(dropped).collect();
        drops.sort_unstable();
        drops
    };
    let (_, again) = record(&replay, &turns);
    assert_eq!(drops(&proxy), drops(&again));
    assert_eq!(again.replay().unwrap().to_string(), replay);
}

#[test]
fn a_run_that_cannot_be_done_again_is_refused_and_not_done_roughly() {
    let target = socket();
    let silent = ProxyBuilder::new(target.local_addr().unwrap())
        .unwrap()
        .start_local()
        .unwrap();
    assert_eq!(silent.replay(), Err(ReplayError::NotRecorded));
    let (target, proxy) = udp_pair("up: loss 0%");
    proxy.set_rules(&spec("up: loss 1%"));
    assert!(proxy.replay().is_ok(), "nothing had passed");
    send(&socket(), proxy.local_addr(), b"a packet");
    until("it was seen", || proxy.rules(UP)[0].counters.seen == 1);
    proxy.set_rules(&spec("up: loss 2%"));
    assert_eq!(proxy.replay(), Err(ReplayError::RulesChanged));
    let named = ProxyBuilder::new(target.local_addr().unwrap())
        .unwrap()
        .rule(Some("doubles"), spec("duplicate 10%").entries()[0].clone())
        .record()
        .start_local()
        .unwrap();
    assert_eq!(
        named.replay(),
        Err(ReplayError::Named {
            name: "doubles".to_owned()
        })
    );
}
