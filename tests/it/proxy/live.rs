//! Rules change while packets pass, and what is held stays held.

use super::*;
use securestream::filter::{Direction, Entry, Match, Rule, Scope};
use securestream::proxy::RuleError;

const UP: Direction = Direction::Upstream;

fn entry(scope: Scope, rules: &str) -> Entry {
    let spec = spec(rules);
    Entry {
        scope,
        ..spec.entries()[0].clone()
    }
}

#[test]
fn rules_are_added_set_and_removed_by_name() {
    let (target, proxy) = udp_pair("");
    let client = socket();
    let talk = |text: &[u8]| send(&client, proxy.local_addr(), text);
    talk(b"first");
    assert_eq!(receive(&target).0, b"first");
    assert_eq!(
        proxy.add_rule(Some("drop"), &entry(Scope::Both, "loss 100%")),
        Ok("drop".into())
    );
    assert_eq!(proxy.add_rule(None, &entry(Scope::Up, "loss 0%")), Ok("loss".into()));
    assert_eq!(
        proxy.add_rule(None, &entry(Scope::Both, "loss 0%")),
        Ok("loss#2".into())
    );
    talk(b"lost");
    until("it was dropped", || proxy.rules(UP)[0].counters.dropped == 1);
    proxy.set_rule(UP, "drop", entry(Scope::Both, "loss 0%")).unwrap();
    talk(b"passes");
    assert_eq!(receive(&target).0, b"passes");
    let rule = &proxy.rules(UP)[0];
    assert_eq!(
        (rule.counters.seen, rule.counters.dropped),
        (2, 1),
        "it goes on counting"
    );
    assert_eq!(rule.observations[0].observed, Some(0.0), "what is observed begins anew");
    proxy.remove_rule(UP, "drop").unwrap();
    let names = |way| -> Vec<_> { proxy.rules(way).into_iter().map(|rule| rule.name).collect() };
    assert_eq!(names(UP), ["loss", "loss#2"]);
    assert_eq!(names(Direction::Downstream), ["drop", "loss#2"]);
}

#[test]
fn wrong_names_are_said() {
    let (_target, proxy) = udp_pair("up: loss 5%");
    let unknown = proxy.remove_rule(UP, "drop").unwrap_err();
    assert_eq!(unknown.to_string(), "no rule is called \"drop\" (up); there is loss");
    let taken = proxy.add_rule(Some("loss"), &entry(Scope::Both, "mtu 9")).unwrap_err();
    assert!(matches!(taken, RuleError::Taken { .. }));
    assert!(proxy.rules(Direction::Downstream).is_empty(), "nothing is half done");
}

#[test]
fn what_a_rule_holds_comes_out_when_the_rule_is_removed_or_another_takes_its_place() {
    // Long enough to be seen while it is held, on a machine that is busy. So they are held side by side.
    let scenes = ["remove", "set", "all"].map(|change| {
        let (target, proxy) = udp_pair("up: delay 4s; loss 0%");
        send(&socket(), proxy.local_addr(), b"held");
        until("it is held", || proxy.status().link(UP).held_pkts == 1);
        match change {
            "remove" => proxy.remove_rule(UP, "delay").unwrap(),
            "set" => proxy.set_rule(UP, "delay", entry(Scope::Up, "blackhole")).unwrap(),
            _ => proxy.set_rules(&spec("loss 0%")),
        }
        (change, target, proxy)
    });
    for (change, target, _proxy) in scenes {
        let (packet, _) = receive(&target);
        assert_eq!(packet, b"held", "{change}");
    }
}

#[test]
fn an_earlier_deadline_counts_at_once() {
    const BYTES: usize = 20_000;
    let (target, proxy) = udp_pair("up: rate 1kbit");
    let client = socket();
    // At this rate it would come after more than twice the time for which the target waits.
    send(&client, proxy.local_addr(), &[7; BYTES]);
    until("it is held", || proxy.status().link(UP).held_pkts == 1);
    proxy.set_rule(UP, "rate", entry(Scope::Up, "rate 100mbit")).unwrap();
    assert_eq!(receive(&target).0, [7; BYTES]);
}

#[test]
fn whole_batches_are_held_too_and_keep_their_order_when_the_delay_goes() {
    // Long enough for all of them to come before the first one leaves, on a machine that is busy.
    let (target, proxy) = udp_pair("up: delay 4s");
    let client = socket();
    for number in 0..50_u8 {
        send(&client, proxy.local_addr(), &[number]);
    }
    until("all are held", || proxy.status().link(UP).held_pkts == 50);
    proxy.remove_rule(UP, "delay").unwrap();
    send(&client, proxy.local_addr(), &[50]);
    let came: Vec<_> = (0..51).map(|_| receive(&target).0[0]).collect();
    assert!(came.is_sorted(), "{came:?}");
}

#[test]
fn a_rule_may_be_for_some_packets_only() {
    let (target, proxy) = udp_pair("");
    let rule = Entry {
        scope: Scope::Up,
        rule: Rule::Blackhole,
        only: Match {
            size: Some((100, 200)),
            ..Match::default()
        },
    };
    proxy.add_rule(None, &rule).unwrap();
    let client = socket();
    for bytes in [99, 100, 150, 200, 201] {
        send(&client, proxy.local_addr(), &vec![0; bytes]);
    }
    assert_eq!(receive(&target).0.len(), 99);
    assert_eq!(receive(&target).0.len(), 201);
    let counters = proxy.rules(UP)[0].counters;
    assert_eq!((counters.seen, counters.dropped), (3, 3));
}

#[test]
fn rebinding_changes_the_port_towards_the_target_and_nothing_else() {
    for by_rule in [true, false] {
        let (target, proxy) = udp_pair(if by_rule { "up: rebind 0ms match nth 3" } else { "" });
        let client = socket();
        let talk = |text: &[u8]| {
            send(&client, proxy.local_addr(), text);
            receive(&target).1
        };
        let before = talk(b"1");
        assert_eq!(talk(b"2"), before);
        if by_rule {
            talk(b"3");
        } else {
            proxy.rebind();
        }
        let mut after = before;
        until("another port is used", || {
            after = talk(b"4");
            after != before
        });
        // The answer finds the client.
        send(&target, after, b"answer");
        assert_eq!(receive(&client).0, b"answer");
        assert_eq!(talk(b"5"), after, "once");
    }
}

#[test]
fn a_rule_for_the_way_down_rebinds_at_once_and_waits_for_no_packet_from_the_client() {
    // Seldom enough work for the other direction that it would be late each time, by about a second.
    const ROUNDS: u32 = 12;
    const IN_ALL: Duration = Duration::from_secs(6);
    for rules in [
        "down: rebind 0ms",
        "up: delay 20ms; rebind 0ms | down: delay 20ms; rebind 0ms",
    ] {
        let (target, proxy) = udp_pair(rules);
        let client = socket();
        let mut waited = Duration::ZERO;
        for round in 0..ROUNDS {
            send(&client, proxy.local_addr(), b"?");
            let port = receive(&target).1;
            let entry = spec("down: rebind 0ms").entries()[0].clone();
            proxy.set_rule(Direction::Downstream, "rebind", entry).unwrap();
            let start = Instant::now();
            send(&target, port, b"answer");
            until("the old port is given back", || UdpSocket::bind(port).is_ok());
            waited += start.elapsed();
            assert!(waited < IN_ALL, "{rules}: {round} rounds took {waited:?}");
            // The answer itself may have come too late for its port.
        }
    }
}

#[test]
fn events_tell_the_fate_of_every_packet() {
    use securestream::proxy::PacketEvent;
    let (target, proxy) = udp_pair("up: drop 2; duplicate 100%");
    let events = proxy.events(1000);
    let client = socket();
    for text in [b"a", b"b"] {
        send(&client, proxy.local_addr(), text);
    }
    assert_eq!(receive(&target).0, b"a");
    until("both were seen", || proxy.rules(UP)[0].counters.seen == 2);
    until("and told of", || events.len() >= 6);
    let told: Vec<_> = events.try_iter().collect();
    let words: Vec<_> = told
        .iter()
        .map(|event| match event {
            PacketEvent::Arrived {
                bytes, client: from, ..
            } => {
                assert_eq!(*from, client.local_addr().unwrap());
                format!("{} arrived", bytes.escape_ascii())
            }
            PacketEvent::Decided { rule, .. } => rule.clone(),
            PacketEvent::Left { bytes, .. } => format!("{} left", bytes.escape_ascii()),
            PacketEvent::Overrun { .. } => "overrun".to_owned(),
        })
        .collect();
    assert_eq!(
        words,
        ["a arrived", "duplicate", "a left", "a left", "b arrived", "drop_list"]
    );
    assert_eq!(told[0].id(), told[2].id());
    // A listener that takes nothing costs events, and no packets.
    let lazy = proxy.events(1);
    for _ in 0..5 {
        send(&client, proxy.local_addr(), b"c");
    }
    (0..6).for_each(|_| drop(receive(&target)));
    until("some were missed", || proxy.status().missed_events > 0);
    drop(lazy);
}
