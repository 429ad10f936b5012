//! When we acknowledge, what we ask of the peer's acknowledgements, and what we do not believe.
//! RFC 9000, sections 13.1 and 13.2; draft-ietf-quic-ack-frequency.

use crate::script::{FULL, PATH, Script, Time, payload};
use securestream::wire::frame::{Frame, close_code};

fn ping() -> Vec<u8> {
    payload(&[Frame::Ping])
}

#[test]
fn every_second_packet_is_acknowledged_at_once() {
    let mut script = Script::new();
    script.receive_stream(0..10);
    script.expect_nothing();
    script.at(1.ms()).receive_stream(10..20);
    script.expect_packet().only_ack().acks(&[0..=1]);
    script.at(2.ms()).receive_stream(20..30);
    script.expect_nothing();
}

#[test]
fn a_single_packet_is_acknowledged_after_max_ack_delay() {
    let mut script = Script::new();
    script.at(10.ms()).receive_stream(0..10);
    script.expect_timeout(35.ms());
    script.expect_packet_at(35.ms()).only_ack().acks(&[0..=0]);
    script.at(39.s()).expect_nothing();
}

#[test]
fn a_packet_behind_a_gap_is_acknowledged_at_once_and_so_is_the_one_that_fills_it() {
    let mut script = Script::new();
    script.receive_stream(0..10).receive_stream(10..20);
    script.expect_packet().acks(&[0..=1]);
    script.receive_numbered(3, PATH, &ping());
    script.expect_packet().only_ack().acks(&[3..=3, 0..=1]);
    script.receive_numbered(2, PATH, &ping());
    script.expect_packet().only_ack().acks(&[0..=3]);
}

#[test]
fn an_acknowledgement_is_never_acknowledged() {
    let mut script = Script::new();
    script.write(FULL);
    script.expect_packet().pn(0);
    for at in 100..110 {
        script.at(at.ms()).ack(0..=0);
    }
    script.at(39.s()).expect_nothing();
}

#[test]
fn an_owed_acknowledgement_rides_on_data() {
    let mut script = Script::new();
    script.receive_stream(0..10);
    script.expect_nothing();
    script.at(1.ms()).write(10);
    script.expect_packet().stream(0..10).acks(&[0..=0]);
    script.at(200.ms()).ack(0..=0);
    script.at(1.s()).expect_nothing();
}

#[test]
fn what_the_peer_knows_to_be_acknowledged_is_not_said_again() {
    let mut script = Script::new();
    script.receive_numbered(0, PATH, &ping());
    script.receive_numbered(5, PATH, &ping());
    script.expect_packet().pn(0).acks(&[5..=5, 0..=0]);
    script.write(FULL);
    script.expect_packet().pn(1);
    script.receive_numbered(7, PATH, &ping());
    script.expect_packet().pn(2).acks(&[7..=7, 5..=5, 0..=0]);
    script.ack(0..=2);
    script.receive_numbered(10, PATH, &ping());
    script.expect_packet().acks(&[10..=10, 7..=8]);
}

#[test]
fn an_ack_has_at_most_32_ranges() {
    let mut script = Script::new();
    for n in 0..100 {
        script.receive_numbered(2 * n, PATH, &ping());
        if n == 99 {
            let ranges: Vec<_> = (68..100).rev().map(|n| 2 * n..=2 * n).collect();
            script.expect_packet().acks(&ranges);
        } else if script.has_unseen() {
            script.expect_packet().only_ack();
        }
    }
}

#[test]
fn ack_frequency_of_the_peer_is_obeyed() {
    let mut script = Script::new();
    script.receive(&[Frame::AckFrequency {
        sequence: 1,
        packets: 5,
        max_delay_us: 10_000,
    }]);
    for _ in 0..3 {
        script.receive(&[Frame::Ping]);
    }
    script.expect_nothing();
    script.receive(&[Frame::Ping]);
    script.expect_packet().only_ack().acks(&[0..=4]);
    script.at(1.ms()).receive(&[Frame::Ping]);
    script.expect_packet_at(11.ms()).only_ack();
    // An older request that was overtaken changes nothing.
    script.receive(&[Frame::AckFrequency {
        sequence: 0,
        packets: 2,
        max_delay_us: 1000,
    }]);
    script.receive(&[Frame::Ping]);
    script.expect_packet_at(21.ms()).only_ack();
}

#[test]
fn no_request_delays_an_acknowledgement_beyond_a_second() {
    let mut script = Script::new();
    script.receive(&[Frame::AckFrequency {
        sequence: 1,
        packets: 1_000_000,
        max_delay_us: 3_600_000_000,
    }]);
    script.expect_packet_at(1.s()).only_ack();
}

#[test]
fn a_sender_with_a_large_window_asks_for_fewer_acknowledgements() {
    let mut script = Script::with(|setup| setup.config.congestion = "fixed:1000000".into());
    script.write(FULL);
    script.expect_packet().pn(0);
    script.at(100.ms()).ack(0..=0);
    script.expect_packet().pn(1).frame(&Frame::AckFrequency {
        sequence: 1,
        packets: 122,
        max_delay_us: 25_000,
    });
    script.at(200.ms()).ack(0..=1);
    script.at(5.s()).expect_nothing();
}

#[test]
fn a_lost_request_is_repeated_and_its_delay_counts_once_it_is_acknowledged() {
    let mut script = Script::with(|setup| {
        setup.settled.rtt = Some(4.ms());
        setup.settled.peer_max_ack_delay = 25.ms();
    });
    script.write(FULL);
    script.expect_packet().pn(0);
    script.at(4.ms()).ack(0..=0);
    let request = Frame::AckFrequency {
        sequence: 1,
        packets: 2,
        max_delay_us: 1000,
    };
    script.expect_packet().pn(1).frame(&request);
    // Smoothed 4 ms, variation 1.5 ms: the peer may still wait for 25 ms.
    script.expect_packet_at(39.ms()).pn(2).frame(&request);
    script.at(43.ms()).ack(2..=2);
    script.check("the PTO reckons with 1 ms", |e| e.send.pto() < 20.ms());
}

#[test]
fn an_ack_of_an_unsent_packet_closes() {
    let mut script = Script::new();
    script.write(FULL);
    script.expect_packet().pn(0);
    script.at(100.ms()).ack(0..=1);
    script.expect_packet().close(close_code::PROTOCOL_VIOLATION);
}

#[test]
fn an_ack_before_anything_was_sent_closes() {
    let mut script = Script::new();
    script.ack(0..=0);
    script.expect_packet().close(close_code::PROTOCOL_VIOLATION);
}

#[test]
fn an_ack_of_a_skipped_packet_closes() {
    let mut script = Script::with(|setup| setup.config.congestion = "fixed:100000000".into());
    let mut expected = 0;
    let skipped = loop {
        script.write(1);
        let pn = script.expect_packet().sent().pn;
        if pn != expected {
            assert_eq!(pn, expected + 1, "one number is left out at a time");
            break expected;
        }
        assert!(pn < 1100, "no number was skipped");
        expected += 1;
    };
    script
        .at(100.ms())
        .ack_ranges(&[skipped + 1..=skipped + 1, 0..=skipped - 1]);
    while script.has_unseen() {
        script.expect_packet();
    }
    script.check("an honest ACK is fine", |e| e.send.ended().is_none());
    script.at(101.ms()).ack(0..=skipped + 1);
    script.expect_packet().close(close_code::PROTOCOL_VIOLATION);
}

#[test]
fn an_optimistic_ack_of_all_that_was_sent_is_caught_by_the_skipped_number() {
    let mut script = Script::with(|setup| setup.config.congestion = "fixed:100000000".into());
    let (mut sent, mut last) = (0, 0);
    while script.endpoint().send.ended().is_none() {
        script.write(1);
        while script.has_unseen() {
            last = script.expect_packet().sent().pn;
        }
        script.after(1.ms()).ack(0..=last);
        while script.has_unseen() && script.endpoint().send.ended().is_none() {
            last = script.expect_packet().sent().pn;
        }
        sent += 1;
        assert!(sent < 1100, "never caught");
    }
    script.expect_packet().close(close_code::PROTOCOL_VIOLATION);
}
