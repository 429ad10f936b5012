//! Probe time-outs: asking when nothing comes back. RFC 9002, section 6.2.
//!
//! The scripts start with an RTT of 100 ms: smoothed 100, variation 50, so a PTO is 100 + 4 x 50 + 25 = 325 ms.

use crate::script::{FULL, Script, Time};

#[test]
fn a_lost_tail_is_probed_with_its_own_data() {
    let mut script = Script::new();
    script.write(FULL);
    script.expect_packet().pn(0).stream(0..FULL);
    script.expect_timeout(325.ms());
    script.expect_packet_at(325.ms()).pn(1).stream(0..FULL);
    script.at(425.ms()).ack(1..=1);
    script.at(5.s()).expect_nothing();
    script.check("all is acknowledged", |e| e.send.progress().unacked_bytes == 0);
}

#[test]
fn two_probes_repeat_the_two_oldest_packets() {
    let mut script = Script::new();
    script.write(3 * FULL);
    for n in 0..3 {
        script.expect_packet().pn(n);
    }
    script.expect_packet_at(325.ms()).pn(3).stream(0..FULL);
    script.expect_packet().pn(4).stream(FULL..2 * FULL);
    script.expect_nothing();
}

#[test]
fn a_probe_prefers_new_data() {
    let mut script = Script::with(|setup| setup.config.congestion = "fixed:2042".into());
    script.write(5 * FULL);
    script.expect_packet().pn(0).stream(0..FULL);
    script.expect_packet().pn(1).stream(FULL..2 * FULL);
    script.expect_packet_at(325.ms()).pn(2).stream(2 * FULL..3 * FULL);
    script.expect_packet().pn(3).stream(3 * FULL..4 * FULL);
    // The window is full: what is not a probe waits.
    script.expect_nothing();
}

#[test]
fn a_probe_allowance_that_was_not_used_is_not_kept() {
    let mut script = Script::with(|setup| setup.config.congestion = "fixed:2042".into());
    script.write(FULL);
    script.expect_packet().pn(0);
    script.expect_packet_at(325.ms()).pn(1).stream(0..FULL);
    script.expect_packet_at(975.ms()).pn(2).stream(0..FULL);
    script.expect_packet().pn(3);
    script.at(1000.ms()).ack(0..=3);
    script.write(4 * FULL);
    script.expect_packet().pn(4);
    script.expect_packet().pn(5);
    script.expect_nothing();
}

#[test]
fn probes_back_off_up_to_one_second() {
    let mut script = Script::new();
    script.write(FULL);
    script.expect_packet().pn(0);
    let mut pn = 1;
    // 325 ms, twice, four times, and then the ceiling instead of eight times.
    for (at, probes) in [(325, 1), (975, 2), (1975, 2), (2975, 2), (3975, 2), (4975, 2)] {
        script.expect_packet_at(at.ms()).pn(pn).stream(0..FULL);
        if probes == 2 {
            script.expect_packet().pn(pn + 1);
        }
        pn += probes;
    }
}

#[test]
fn a_path_slower_than_the_ceiling_is_probed_every_two_round_trips() {
    let mut script = Script::with(|setup| setup.settled.rtt = Some(1.s()));
    script.write(FULL);
    script.expect_packet().pn(0);
    script.expect_packet_at(2000.ms()).pn(1);
    script.expect_packet_at(4000.ms()).pn(2);
    script.expect_packet().pn(3);
    script.expect_packet_at(6000.ms()).pn(4);
}

#[test]
fn an_acknowledgement_ends_the_back_off() {
    let mut script = Script::new();
    script.write(FULL);
    script.expect_packet().pn(0);
    script.expect_packet_at(325.ms()).pn(1);
    script.expect_packet_at(975.ms()).pn(2);
    script.expect_packet().pn(3);
    script.at(1075.ms()).ack(2..=3);
    script.write(FULL);
    script.expect_packet().pn(4);
    let pto = script.endpoint().send.pto();
    assert!(pto < 400.ms(), "one PTO without back-off, not {pto:?}");
    script.expect_packet_at(1075.ms() + pto).pn(5);
}

#[test]
fn a_probe_while_the_window_is_full_is_not_held_back() {
    let mut script = Script::with(|setup| setup.config.congestion = "fixed:2042".into());
    script.write(2 * FULL);
    script.expect_packet().pn(0);
    script.expect_packet().pn(1);
    script.expect_packet_at(325.ms()).pn(2).stream(0..FULL);
    script.expect_packet().pn(3).stream(FULL..2 * FULL);
}

#[test]
fn an_acknowledgement_alone_is_never_probed() {
    let mut script = Script::new();
    script.receive_stream(0..10).receive_stream(10..20);
    script.expect_packet().only_ack();
    script.at(39.s()).expect_nothing();
}

#[test]
fn after_thirty_seconds_of_blackness_the_next_probe_is_two_seconds_away_at_most() {
    let mut script = Script::new();
    script.write(FULL);
    script.at(30.s());
    let next = script.endpoint().send.next_timeout();
    script.check("soon", |_| next.is_some());
    while script.endpoint().send.counters().packets_sent > 0 && script.has_unseen() {
        script.expect_packet();
    }
    let before = script.endpoint().send.counters().probe_timeouts;
    script.at(32.s());
    script.check("probed again", |e| e.send.counters().probe_timeouts > before);
}
