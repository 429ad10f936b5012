//! Which packets count as lost, and when. RFC 9002, section 6.1.

use crate::script::{FULL, FULL_PACKET, Script, Time};

/// Six full packets leave at the start.
fn six_packets() -> Script {
    let mut script = Script::new();
    script.write(6 * FULL);
    for n in 0..6 {
        script.expect_packet().pn(n).stream(n * FULL..(n + 1) * FULL);
    }
    script.expect_nothing();
    script
}

#[test]
fn fast_retransmit_after_three_newer_packets_acked() {
    let mut script = six_packets();
    script.at(100.ms()).ack(1..=1);
    script.at(101.ms()).ack(1..=2);
    script.at(102.ms()).expect_nothing();
    script.at(102.ms()).ack(1..=3);
    script.expect_packet().pn(6).stream(0..FULL);
    script.expect_nothing();
    script.check("one loss", |e| e.send.counters().lost_packets == 1);
}

#[test]
fn two_newer_packets_are_not_enough_before_the_time_threshold() {
    let mut script = six_packets();
    script.at(100.ms()).ack_ranges(&[1..=2]);
    // 9/8 of the RTT of 100 ms after it was sent (RFC 9002, section 6.1.2).
    script.expect_timeout(112.ms() + 500.us());
    script.expect_packet_at(112.ms() + 500.us()).pn(6).stream(0..FULL);
    script.expect_nothing();
}

#[test]
fn reordering_of_two_packets_loses_nothing() {
    let mut script = six_packets();
    script.at(100.ms()).ack_ranges(&[2..=2]);
    script.at(101.ms()).ack_ranges(&[1..=2]);
    script.at(102.ms()).ack(0..=5);
    script.at(2000.ms()).expect_nothing();
    script.check("no loss", |e| e.send.counters().lost_packets == 0);
}

#[test]
fn what_was_lost_goes_out_before_new_data_and_the_lowest_first() {
    let mut script = Script::with(|setup| setup.config.congestion = format!("fixed:{}", 6 * FULL_PACKET));
    script.write(9 * FULL);
    for n in 0..6 {
        script.expect_packet().pn(n).stream(n * FULL..(n + 1) * FULL);
    }
    script.expect_nothing();
    script.at(100.ms()).ack_ranges(&[4..=5, 0..=0]);
    // Five may be in flight with packet 3, which was overtaken by two only.
    script.expect_packet().pn(6).stream(FULL..2 * FULL);
    script.expect_packet().pn(7).stream(2 * FULL..3 * FULL);
    script.expect_packet().pn(8).stream(6 * FULL..7 * FULL);
    script.expect_packet().pn(9).stream(7 * FULL..8 * FULL);
    script.expect_packet().pn(10).stream(8 * FULL..9 * FULL);
    script.expect_nothing();
}

#[test]
fn lost_acks_cost_nothing_when_a_later_one_says_the_same() {
    let mut script = six_packets();
    script.peer_packets_lost(3);
    script.at(110.ms()).ack(0..=5);
    script.at(5.s()).expect_nothing();
    script.expect_timeout(110.ms() + 40.s());
    script.check("all is acknowledged", |e| {
        e.send.progress().unacked_bytes == 0 && e.send.bytes_in_flight() == 0
    });
}

#[test]
fn the_packet_threshold_adapts_to_reordering() {
    let mut script = six_packets();
    script.at(100.ms()).ack(1..=3);
    script.expect_packet().pn(6).stream(0..FULL);
    script.at(105.ms()).ack(0..=5);
    script.check("one needless loss", |e| e.send.counters().spurious_losses == 1);
    script.at(200.ms()).ack(0..=6);
    script.write(4 * FULL);
    for n in 7..11 {
        script.expect_packet().pn(n);
    }
    script.at(300.ms()).ack_ranges(&[8..=10, 0..=6]);
    script.expect_nothing();
    script.at(301.ms()).ack(0..=10);
    script.at(1.s()).expect_nothing();
    script.check("no second loss", |e| e.send.counters().lost_packets == 1);
}

#[test]
fn the_time_threshold_adapts_to_reordering() {
    let mut script = six_packets();
    script.at(100.ms()).ack_ranges(&[1..=2]);
    script.expect_packet_at(112.ms() + 500.us()).pn(6).stream(0..FULL);
    script.at(120.ms()).ack(0..=5);
    script.check("one needless loss", |e| e.send.counters().spurious_losses == 1);
    script.at(220.ms()).ack(0..=6);
    script.write(2 * FULL);
    script.expect_packet().pn(7);
    script.expect_packet().pn(8);
    script.at(320.ms()).ack_ranges(&[8..=8, 0..=6]);
    let rtt = script.endpoint().send.rtt().smoothed_rtt().max(100.ms());
    script.expect_packet_at(220.ms() + rtt * 10 / 8).pn(9);
}

#[test]
fn a_needless_loss_is_undone() {
    let mut script = Script::with(|setup| setup.config.congestion = "new-reno".into());
    script.write(6 * FULL);
    for n in 0..6 {
        script.expect_packet().pn(n);
    }
    let before = script.endpoint().send.controller().window();
    script.at(100.ms()).ack(1..=3);
    script.expect_packet().pn(6).stream(0..FULL);
    script.check("the window was halved", |e| {
        e.send.controller().window() < before && e.send.controller().ssthresh() < u64::MAX
    });
    script.at(103.ms()).ack(0..=3);
    script.check("the window is what it was", |e| {
        e.send.controller().window() >= before && e.send.controller().ssthresh() == u64::MAX
    });
}

/// Nothing of the first three arrives; returns before the fourth probe time-out.
fn long_silence() -> Script {
    let mut script = Script::with(|setup| setup.config.congestion = "new-reno".into());
    script.write(FULL);
    script.expect_packet().pn(0);
    script.expect_packet_at(325.ms()).pn(1);
    script.expect_packet_at(975.ms()).pn(2);
    script.expect_packet().pn(3);
    script.expect_packet_at(1975.ms()).pn(4);
    script.expect_packet().pn(5);
    script
}

#[test]
fn losses_over_three_probe_timeouts_are_persistent_congestion() {
    let mut script = long_silence();
    script.expect_packet_at(2975.ms()).pn(6);
    script.expect_packet().pn(7);
    script.at(3075.ms()).ack(7..=7);
    script.at(3076.ms());
    script.check("the smallest window", |e| {
        // And the PING that was acknowledged.
        e.send.controller().window() < 2 * FULL_PACKET as u64 + FULL
    });
}

#[test]
fn one_arrival_among_the_losses_is_no_persistent_congestion() {
    let mut script = long_silence();
    script.at(2000.ms()).ack(2..=2);
    script.at(2100.ms()).ack_ranges(&[5..=5, 2..=2]);
    script.check("an ordinary reduction at most", |e| {
        e.send.controller().window() > 3 * FULL_PACKET as u64
    });
}
