//! Flow control and small writes. RFC 9000, section 4; RFC 9293, section 3.7.4.

use crate::script::{Endpoint, FULL, PATH, Pair, Script, Sent, Setup, Side, Time, payload};
use securestream::wire::frame::{Frame, close_code};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

fn blocked() -> Script {
    let mut script = Script::with(|setup| setup.settled.initial_max_data = 2 * FULL);
    script.write(4 * FULL);
    script.expect_packet().pn(0).stream(0..FULL);
    script.expect_packet().pn(1).stream(FULL..2 * FULL);
    script
        .expect_packet()
        .pn(2)
        .no_stream()
        .frame(&Frame::DataBlocked { limit: 2 * FULL });
    script.expect_nothing();
    script
}

#[test]
fn a_sender_stops_at_the_limit_and_says_so_once() {
    let mut script = blocked();
    script.at(100.ms()).ack(0..=2);
    script.at(30.s()).expect_nothing();
}

#[test]
fn a_higher_limit_lets_the_sender_go_on() {
    let mut script = blocked();
    script.at(100.ms()).ack(0..=2);
    script.at(101.ms()).receive(&[Frame::MaxData { max: 2500 }]);
    script.expect_packet().stream(2 * FULL..2500);
    script.expect_packet().frame(&Frame::DataBlocked { limit: 2500 });
    script.expect_nothing();
}

#[test]
fn a_lower_limit_is_ignored() {
    let mut script = blocked();
    script.at(100.ms()).ack(0..=2);
    script.at(101.ms()).receive(&[Frame::MaxData { max: 1 }]);
    script.at(102.ms()).receive(&[Frame::MaxData { max: 2500 }]);
    script.expect_packet().stream(2 * FULL..2500);
    script.expect_packet();
}

#[test]
fn data_blocked_is_repeated_when_it_was_lost() {
    let mut script = blocked();
    script.at(100.ms()).ack(0..=1);
    let pto = script.endpoint().send.pto();
    script
        .expect_packet_at(pto)
        .frame(&Frame::DataBlocked { limit: 2 * FULL });
}

/// A receiver whose application has just freed its whole window.
fn window_reopened() -> Script {
    let mut script = Script::with(|setup| {
        setup.config.initial_window = 2 * FULL;
        setup.config.max_window = 2 * FULL;
        setup.reads = false;
    });
    script.receive_stream(0..FULL).receive_stream(FULL..2 * FULL);
    script.expect_packet().pn(0).only_ack();
    script.at(10.ms()).event("the application reads", Endpoint::read);
    script.expect_packet().pn(1).frame(&Frame::MaxData { max: 4 * FULL });
    script
}

#[test]
fn a_lost_max_data_is_repeated_by_probe() {
    let mut script = window_reopened();
    script
        .expect_packet_at(335.ms())
        .pn(2)
        .frame(&Frame::MaxData { max: 4 * FULL });
}

#[test]
fn data_blocked_is_answered_with_the_newest_limit() {
    let mut script = window_reopened();
    script.at(110.ms()).ack(1..=1);
    script.at(120.ms()).receive(&[Frame::DataBlocked { limit: 2 * FULL }]);
    script.expect_packet().frame(&Frame::MaxData { max: 4 * FULL });
}

#[test]
fn a_limit_is_said_again_at_most_once_in_a_round_trip() {
    let mut script = window_reopened();
    script.at(110.ms()).ack(1..=1);
    let again = 120.ms() + script.endpoint().send.rtt().smoothed_rtt();
    script.at(120.ms()).receive(&[Frame::DataBlocked { limit: 2 * FULL }]);
    script.expect_packet().pn(2).frame(&Frame::MaxData { max: 4 * FULL });
    script.at(121.ms()).ack(2..=2);
    script.at(122.ms()).receive(&[Frame::DataBlocked { limit: 3 * FULL }]);
    script.expect_nothing();
    script.expect_packet_at(147.ms()).only_ack();
    script.at(again).receive(&[Frame::DataBlocked { limit: 3 * FULL }]);
    script.expect_packet().frame(&Frame::MaxData { max: 4 * FULL });
}

#[test]
fn a_small_window_may_close_ten_thousand_times_a_second() {
    let mut server = Setup::default();
    server.settled.server = true;
    server.config.initial_window = 4 * FULL;
    server.config.max_window = 4 * FULL;
    let mut client = Setup::default();
    client.settled.initial_max_data = 4 * FULL;
    let total = 20_000 * FULL;
    let mut pair = Pair::new(&client, &server, 50.us(), Box::new(|_, _, _| Some(0.ms())));
    pair.client.write(total);
    pair.run(60.s(), |pair| pair.server.received.bytes.len() as u64 == total);
}

#[test]
fn limits_that_overtake_each_other_are_no_flood() {
    let mut script = Script::new();
    // Each of them in a packet of its own, and of each two the second first.
    for n in (0..4000).step_by(2) {
        for pn in [n + 1, n] {
            let max = 1_000_000 + 2000 * pn;
            script.receive_numbered(pn, PATH, &payload(&[Frame::MaxData { max }]));
            while script.has_unseen() {
                script.expect_packet().only_ack();
            }
        }
    }
    script.check("the connection was closed", |endpoint| endpoint.send.ended().is_none());
}

#[test]
fn data_blocked_at_the_newest_limit_is_not_answered() {
    let mut script = window_reopened();
    script.at(110.ms()).ack(1..=1);
    script.at(120.ms()).receive(&[Frame::DataBlocked { limit: 4 * FULL }]);
    // Only acknowledged.
    script.expect_packet_at(145.ms()).only_ack();
}

/// With the window closed at both ends, and more to send than the congestion window takes.
#[test]
fn a_probe_with_new_data_repeats_the_limit_that_nobody_acknowledged() {
    let mut script = Script::with(|setup| {
        setup.config.initial_window = 2 * FULL;
        setup.config.max_window = 2 * FULL;
        setup.config.congestion = "fixed:2042".into();
        setup.reads = false;
    });
    script.receive_stream(0..FULL).receive_stream(FULL..2 * FULL);
    script.expect_packet().pn(0).only_ack();
    script.at(10.ms()).event("the application reads", Endpoint::read);
    script.expect_packet().pn(1).frame(&Frame::MaxData { max: 4 * FULL });
    script.at(11.ms()).write(8 * FULL);
    script.expect_packet().pn(2).stream(0..FULL);
    script
        .expect_packet_at(336.ms())
        .pn(3)
        .frame(&Frame::MaxData { max: 4 * FULL });
    script.expect_packet().pn(4);
    script.expect_nothing();
}

#[test]
fn an_ack_of_an_older_limit_does_not_settle_the_newer_one() {
    let mut script = window_reopened();
    script.at(20.ms()).receive_stream(2 * FULL..3 * FULL);
    script.event("the application reads", Endpoint::read);
    script.expect_packet().pn(2).frame(&Frame::MaxData { max: 5 * FULL });
    script.at(110.ms()).ack(1..=1);
    for n in 0..3 {
        script.write(10);
        script.expect_packet().pn(3 + n);
    }
    script.at(220.ms()).ack_ranges(&[3..=5, 1..=1]);
    script.expect_packet().pn(6).frame(&Frame::MaxData { max: 5 * FULL });
}

#[test]
fn more_than_the_window_closes() {
    let mut script = Script::with(|setup| setup.config.initial_window = 2 * FULL);
    script.receive_stream(0..2 * FULL + 1);
    script.expect_packet().close(close_code::FLOW_CONTROL);
}

#[test]
fn one_byte_far_beyond_the_window_closes() {
    let mut script = Script::new();
    script.receive_stream((1 << 62) - 2..(1 << 62) - 1);
    script.expect_packet().close(close_code::FLOW_CONTROL);
}

#[test]
fn a_reset_beyond_the_window_closes() {
    let mut script = Script::with(|setup| setup.config.initial_window = 2 * FULL);
    script.receive(&[Frame::Reset {
        channel: 0,
        code: 0,
        final_size: 2 * FULL + 1,
    }]);
    script.expect_packet().close(close_code::FLOW_CONTROL);
}

/// The first `n` packets that carry a limit are lost; a transfer through a window of eight packets, while the receiver
/// sends `back` bytes of its own. Returns the longest time without progress.
fn transfer_with_lost_limits(n: usize, back: u64) -> Duration {
    let mut server = Setup::default();
    server.settled.server = true;
    server.config.initial_window = 8 * FULL;
    server.config.max_window = 8 * FULL;
    let mut client = Setup::default();
    client.settled.initial_max_data = 8 * FULL;
    let lost = Rc::new(Cell::new(0));
    let count = Rc::clone(&lost);
    let rule = move |side, _: usize, sent: &Sent| {
        let limit = |frame: &Frame<'_>| matches!(frame, Frame::MaxData { .. });
        if side == Side::Server && count.get() < n && sent.frames().iter().any(limit) {
            count.set(count.get() + 1);
            return None;
        }
        Some(0.ms())
    };
    let mut pair = Pair::new(&client, &server, 50.ms(), Box::new(rule));
    pair.client.write(100 * FULL);
    pair.server.write(back);
    let (mut read, mut at, mut longest) = (0, 0.s(), 0.s());
    pair.run(60.s(), |pair| {
        let now = pair.elapsed();
        if pair.server.received.bytes.len() > read {
            longest = longest.max(now - at);
            (read, at) = (pair.server.received.bytes.len(), now);
        }
        read as u64 == 100 * FULL
    });
    assert_eq!(lost.get(), n, "the test lost what it wanted to");
    longest
}

#[test]
fn a_closed_window_reopens_though_the_update_is_lost() {
    for n in 1..12 {
        transfer_with_lost_limits(n, 0);
    }
}

#[test]
fn a_closed_window_whose_update_was_lost_holds_nobody_up_for_long() {
    // With nothing to send back, with a little, and with more than the path takes.
    for back in [0, FULL, 10_000 * FULL] {
        for n in 1..=3 {
            let longest = transfer_with_lost_limits(n, back);
            assert!(longest < 3.s(), "{n} lost, {back} bytes back: {longest:?}");
        }
    }
}

#[test]
fn small_writes_go_out_at_once_by_default() {
    let mut script = Script::new();
    for n in 0..3 {
        script.write(10);
        script.expect_packet().stream(10 * n..10 * (n + 1));
    }
}

#[test]
fn without_nodelay_small_writes_wait_for_what_is_in_flight() {
    let mut script = Script::with(|setup| setup.config.nodelay = false);
    script.write(10);
    script.expect_packet().stream(0..10);
    script.at(1.ms()).write(10);
    script.at(2.ms()).write(10);
    script.expect_nothing();
    script.at(100.ms()).ack(0..=0);
    script.expect_packet().stream(10..30);
}

#[test]
fn without_nodelay_a_full_packet_goes_out_at_once_and_so_does_the_end() {
    let mut script = Script::with(|setup| setup.config.nodelay = false);
    script.write(10);
    script.expect_packet().stream(0..10);
    script.at(1.ms()).write(2 * FULL);
    script.expect_packet().stream(10..10 + FULL);
    script.expect_nothing();
    script.at(2.ms()).finish();
    script.expect_packet().stream_end(10 + FULL..10 + 2 * FULL);
}
