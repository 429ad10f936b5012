//! The peer's address changes. RFC 9000, sections 8.2 and 9.

use crate::script::{PATH, Script, Time};
use securestream::proto::path::PathId;
use securestream::wire::frame::Frame;

const NEW: PathId = PathId(1);
const THIRD: PathId = PathId(2);

fn script() -> Script {
    Script::with(|setup| setup.config.packet_bytes = 1200)
}

/// A packet of the peer that is large enough for any answer.
fn large() -> [Frame<'static>; 2] {
    [Frame::Ping, Frame::Padding { bytes: 1000 }]
}

fn challenge_on(script: &mut Script, path: PathId) -> [u8; 8] {
    let sent = script.expect_packet().on(path).sent();
    let data = sent.frames().iter().find_map(|frame| match frame {
        Frame::PathChallenge(data) => Some(*data),
        _ => None,
    });
    data.expect("a packet on a path of its own carries a challenge")
}

/// The peer has moved to `NEW` and proved it.
fn moved() -> Script {
    let mut script = script();
    script.receive_on(NEW, &large());
    let data = challenge_on(&mut script, NEW);
    script.at(100.ms());
    while script.has_unseen() {
        script.expect_packet().on(PATH).only_ack();
    }
    script.receive_on(NEW, &[Frame::PathResponse(data)]);
    while script.has_unseen() {
        script.expect_packet().on(NEW).only_ack();
    }
    script.check("moved", |e| e.send.active_path() == NEW);
    script.at(150.ms());
    while script.has_unseen() {
        script.expect_packet().on(NEW).only_ack();
    }
    script
}

#[test]
fn a_new_path_is_challenged_with_a_full_packet_and_data_stays_on_the_old_one() {
    let mut script = script();
    script.receive_on(NEW, &large());
    let sent = script.expect_packet().on(NEW).sent();
    assert_eq!(sent.bytes, 1200);
    script.write(100);
    script.expect_packet().on(PATH).stream(0..100);
}

#[test]
fn the_path_changes_when_the_response_comes_from_it() {
    let mut script = moved();
    script.write(100);
    script.expect_packet().on(NEW).stream(0..100);
    script.check("the RTT is unknown", |e| !e.send.rtt().has_sample());
}

#[test]
fn what_is_known_of_the_network_holds_when_only_the_port_changes() {
    let mut script = script();
    script.only_ports_change();
    script.write(100);
    script.expect_packet().on(PATH);
    script
        .at(100.ms())
        .receive_numbered(0, PATH, &crate::script::ack_payload(&[0..=0], 0.ms()));
    let (rtt, window) = (
        script.endpoint().send.rtt().smoothed_rtt(),
        script.endpoint().send.controller().window(),
    );
    script.receive_on(NEW, &large());
    let data = challenge_on(&mut script, NEW);
    script.at(200.ms());
    while script.has_unseen() {
        script.expect_packet().on(PATH).only_ack();
    }
    script.receive_on(NEW, &[Frame::PathResponse(data)]);
    script.check("moved", |e| e.send.active_path() == NEW);
    script.check("the RTT holds", |e| e.send.rtt().smoothed_rtt() == rtt);
    script.check("and the window", |e| e.send.controller().window() == window);
    while script.has_unseen() {
        script.expect_packet().on(NEW).only_ack();
    }
}

/// Somebody beside the path sends copies that arrive first. He cannot answer, so nothing moves.
#[test]
fn copies_from_elsewhere_never_move_the_connection() {
    let mut script = script();
    for n in 0..50 {
        script.receive_numbered(n, NEW, &crate::script::payload(&large()));
        script.after(40.ms());
        while script.has_unseen() {
            script.expect_packet();
        }
        script.check("still the old path", |e| e.send.active_path() == PATH);
    }
    script.write(100);
    script.expect_packet().on(PATH).stream(0..100);
}

#[test]
fn a_response_from_the_wrong_path_changes_nothing() {
    let mut script = script();
    script.receive_on(NEW, &large());
    let data = challenge_on(&mut script, NEW);
    script.at(1.ms()).receive_on(PATH, &[Frame::PathResponse(data)]);
    script.expect_packet().on(PATH).only_ack();
    script.check("still the old path", |e| e.send.active_path() == PATH);
}

#[test]
fn a_wrong_response_changes_nothing() {
    let mut script = script();
    script.receive_on(NEW, &large());
    challenge_on(&mut script, NEW);
    script.at(1.ms()).receive_on(NEW, &[Frame::PathResponse([0; 8])]);
    script.expect_packet().on(PATH).only_ack();
    script.check("still the old path", |e| e.send.active_path() == PATH);
}

#[test]
fn a_challenge_without_answer_is_repeated_twice_and_given_up() {
    let mut script = script();
    script.receive_on(NEW, &[Frame::Ping, Frame::Padding { bytes: 1150 }]);
    let pto = script.endpoint().send.pto();
    challenge_on(&mut script, NEW);
    let mut challenges = 1;
    script.at(20.s());
    while script.has_unseen() {
        let sent = script.expect_packet().sent();
        challenges += usize::from(sent.path == NEW);
    }
    assert_eq!(challenges, 3, "with a PTO of {pto:?} between");
}

#[test]
fn three_times_what_came_from_the_new_path_goes_there() {
    let mut script = script();
    script.receive_on(NEW, &[Frame::Ping, Frame::Padding { bytes: 99 }]);
    let received = 100 + 11 + 4;
    script.at(20.s());
    let mut sent_there = 0;
    while script.has_unseen() {
        let sent = script.expect_packet().sent();
        if sent.path == NEW {
            sent_there += sent.bytes;
        }
    }
    assert!(sent_there > 0, "a small challenge is better than none");
    assert!(sent_there <= 3 * received, "{sent_there} bytes");
}

#[test]
fn a_peer_that_only_acknowledges_can_move() {
    let mut script = script();
    script.write(100);
    script.expect_packet().on(PATH);
    script
        .at(100.ms())
        .receive_numbered(0, NEW, &crate::script::ack_payload(&[0..=0], 0.ms()));
    let data = challenge_on(&mut script, NEW);
    script.at(200.ms()).receive_on(NEW, &[Frame::PathResponse(data)]);
    script.check("moved", |e| e.send.active_path() == NEW);
}

#[test]
fn traffic_after_a_move_is_not_validated_again() {
    let mut script = moved();
    for n in 0..10 {
        script.at((200 + 30 * n).ms()).receive_on(NEW, &large());
        script.after(25.ms());
        while script.has_unseen() {
            script.expect_packet().on(NEW).only_ack();
        }
    }
}

#[test]
fn the_peer_may_move_back_and_on() {
    let mut script = moved();
    for (at, path) in [(300, PATH), (500, THIRD), (700, NEW)] {
        script.at(at.ms());
        while script.has_unseen() {
            script.expect_packet();
        }
        script.receive_on(path, &large());
        let data = challenge_on(&mut script, path);
        script.after(50.ms());
        while script.has_unseen() {
            script.expect_packet();
        }
        script.receive_on(path, &[Frame::PathResponse(data)]);
        while script.has_unseen() {
            script.expect_packet();
        }
        script.check("moved", |e| e.send.active_path() == path);
    }
}

#[test]
fn a_late_packet_from_the_old_path_does_not_move_back() {
    let mut script = script();
    script.receive_numbered(5, NEW, &crate::script::payload(&large()));
    let data = challenge_on(&mut script, NEW);
    script.expect_packet().on(PATH).only_ack();
    script.at(50.ms()).receive_on(NEW, &[Frame::PathResponse(data)]);
    script.at(100.ms());
    while script.has_unseen() {
        script.expect_packet().on(NEW).only_ack();
    }
    script.receive_numbered(3, PATH, &crate::script::payload(&large()));
    while script.has_unseen() {
        script.expect_packet().on(NEW).only_ack();
    }
    script.check("stays", |e| e.send.active_path() == NEW);
}

#[test]
fn a_challenge_is_answered_on_the_path_it_came_from() {
    let mut script = script();
    script.receive(&[Frame::PathChallenge([9; 8])]);
    let sent = script
        .expect_packet()
        .on(PATH)
        .frame(&Frame::PathResponse([9; 8]))
        .sent();
    assert_eq!(sent.bytes, 1200);
}

#[test]
fn a_small_late_challenge_from_elsewhere_gets_a_small_answer() {
    let mut script = script();
    script.receive_numbered(5, PATH, &crate::script::payload(&large()));
    script.expect_packet().only_ack();
    let question = crate::script::payload(&[Frame::PathChallenge([9; 8])]);
    script.receive_numbered(3, THIRD, &question);
    let sent = script
        .expect_packet()
        .on(THIRD)
        .frame(&Frame::PathResponse([9; 8]))
        .sent();
    assert!(sent.bytes <= 38, "{} bytes", sent.bytes);
    script.expect_packet().on(PATH).only_ack();
}
