//! How streams and connections end, and what keeps them alive. RFC 9000, sections 3, 4.5 and 10.

use crate::script::{Endpoint, FULL, PATH, Script, Setup, Time, ack_payload, origin, payload};
use securestream::proto::Ended;
use securestream::wire::frame::{Frame, close_code};

fn one_packet() -> Script {
    let mut script = Script::new();
    script.write(FULL);
    script.expect_packet().pn(0).stream(0..FULL);
    script
}

const RESET: Frame<'_> = Frame::Reset {
    channel: 0,
    code: 42,
    final_size: 20,
};
const STOP: Frame<'_> = Frame::Stop { channel: 0, code: 42 };
const CLOSE: Frame<'_> = Frame::ConnectionClose {
    code: close_code::NO_ERROR,
    reason: b"",
};

fn drain(script: &mut Script) {
    while script.has_unseen() {
        script.expect_packet();
    }
}

// --- Idle.

#[test]
fn silence_ends_an_idle_stream_without_a_word() {
    let mut script = Script::new();
    script.expect_timeout(40.s());
    script.at(40.s()).expect_nothing();
    script.check("idle", |e| e.send.is_closed() && e.send.ended() == Some(&Ended::Idle));
    script.expect_timeout(None);
}

#[test]
fn silence_ends_a_stream_with_data_in_flight() {
    let mut script = one_packet();
    script.at(39_999.ms());
    drain(&mut script);
    script.check("still there", |e| e.send.ended().is_none());
    script.at(40.s());
    script.check("idle", |e| e.send.ended() == Some(&Ended::Idle));
}

#[test]
fn any_authentic_packet_postpones_the_idle_end() {
    let mut script = Script::new();
    script.at(39.s()).receive(&[Frame::Padding { bytes: 4 }]);
    script.expect_timeout(79.s());
    script.at(79.s());
    script.check("idle", |e| e.send.ended() == Some(&Ended::Idle));
}

#[test]
fn keep_alive_pings_a_silent_peer_and_its_answer_keeps_the_stream() {
    let mut script = Script::with(|setup| setup.config.keep_alive = Some(10.s()));
    for n in 0..6 {
        script.expect_packet_at((10 + n * 10).s() + (n * 100).ms()).ping();
        script.after(100.ms()).ack(n..=n);
    }
    script.check("alive", |e| e.send.ended().is_none());
}

#[test]
fn keep_alive_does_not_keep_a_dead_peer() {
    let mut script = Script::with(|setup| setup.config.keep_alive = Some(10.s()));
    script.at(40.s());
    drain(&mut script);
    script.check("idle", |e| e.send.ended() == Some(&Ended::Idle));
}

// --- Our FIN.

#[test]
fn a_fin_rides_on_the_last_data() {
    let mut script = Script::new();
    script.event("write and finish", |e, _| {
        e.write(10);
        e.send.finish();
    });
    script.expect_packet().stream_end(0..10);
}

#[test]
fn a_fin_alone_is_sent_and_repeated_when_lost() {
    let mut script = one_packet();
    script.at(100.ms()).ack(0..=0);
    script.finish();
    script.expect_packet().pn(1).stream_end(FULL..FULL);
    let pto = script.endpoint().send.pto();
    script.expect_packet_at(100.ms() + pto).stream_end(FULL..FULL);
    script.after(100.ms()).ack(2..=2);
    script.check("finished", |e| e.send.progress().finished);
}

#[test]
fn an_empty_stream_ends_with_a_fin_alone() {
    let mut script = Script::new();
    script.finish();
    script.expect_packet().stream_end(0..0);
    script.at(100.ms()).ack(0..=0);
    script.check("finished", |e| e.send.progress().finished);
}

#[test]
fn a_fin_without_the_data_before_it_is_not_finished() {
    let mut script = one_packet();
    script.finish();
    script.expect_packet().pn(1).stream_end(FULL..FULL);
    script.at(100.ms()).ack(1..=1);
    script.check("one packet is missing", |e| {
        !e.send.progress().finished && e.send.progress().unacked_bytes == FULL
    });
}

// --- RESET and STOP.

#[test]
fn a_stop_is_answered_with_a_reset_that_is_repeated_and_data_is_not() {
    let mut script = one_packet();
    script.at(10.ms()).receive(&[STOP]);
    let reset = Frame::Reset {
        channel: 0,
        code: 42,
        final_size: FULL,
    };
    script.expect_packet().pn(1).no_stream().frame(&reset);
    script.expect_packet_at(335.ms()).no_stream().frame(&reset);
    script.expect_packet().ping();
    script.check("stopped", |e| e.send.progress().stopped == Some(42));
    script.write(10).finish();
    script.expect_nothing();
}

#[test]
fn a_stop_after_everything_was_acknowledged_changes_nothing() {
    let mut script = one_packet();
    script.finish();
    script.expect_packet().pn(1);
    script.at(100.ms()).ack(0..=1);
    script.receive(&[STOP]);
    script.at(1.s());
    script.expect_packet().only_ack();
    script.check("finished", |e| {
        e.send.progress().finished && e.send.progress().stopped.is_none()
    });
}

#[test]
fn a_reset_cuts_the_stream_and_never_looks_like_its_end() {
    let mut script = Script::new();
    script.receive_stream(0..10).receive(&[RESET]);
    script.expect_packet().only_ack();
    script.receive_stream_end(10..20);
    script.check("reset", |e| {
        e.received.reset == Some(42) && !e.received.ended && e.received.bytes.len() == 10
    });
}

#[test]
fn a_reset_after_the_whole_stream_changes_nothing() {
    let mut script = Script::new();
    script.receive_stream_end(0..20);
    drain(&mut script);
    script.receive(&[RESET]);
    script.check("whole", |e| e.received.ended && e.received.reset.is_none());
}

#[test]
fn a_reset_frees_what_waited_behind_a_gap() {
    let mut script = Script::new();
    script.receive_stream(10..20);
    script.receive(&[RESET]);
    script.check("freed", |e| e.recv.buffered_bytes() == 0);
}

// --- Final size.

fn final_size_violation(frames: &[Frame<'_>]) {
    let mut script = Script::new();
    for frame in frames {
        drain(&mut script);
        script.receive(&[*frame]);
    }
    script.expect_packet().close(close_code::FINAL_SIZE);
    script.check("a violation", |e| matches!(e.send.ended(), Some(Ended::Violation(_))));
}

fn data(offset: u64, bytes: &[u8], fin: bool) -> Frame<'_> {
    Frame::Stream {
        channel: 0,
        offset,
        fin,
        data: bytes,
    }
}

#[test]
fn the_final_size_never_changes() {
    final_size_violation(&[data(0, &[0; 20], true), data(0, &[0; 21], true)]);
    final_size_violation(&[data(0, &[0; 20], true), data(0, &[0; 19], true)]);
    final_size_violation(&[data(0, &[0; 20], true), data(20, &[0; 1], false)]);
    final_size_violation(&[data(5, &[0; 15], true), data(30, &[0; 1], false)]);
    final_size_violation(&[data(0, &[0; 30], false), RESET]);
    final_size_violation(&[data(10, &[0; 20], false), data(0, &[0; 5], true)]);
    final_size_violation(&[RESET, data(20, &[0; 1], false)]);
    final_size_violation(&[
        RESET,
        Frame::Reset {
            channel: 0,
            code: 42,
            final_size: 21,
        },
    ]);
}

// --- CONSUMED.

const CONSUMED: Frame<'_> = Frame::Consumed {
    channel: 0,
    final_size: 10,
};

#[test]
fn the_reader_tells_the_writer_that_it_read_to_the_end_and_repeats_it() {
    let mut script = Script::new();
    script.receive_stream_end(0..10);
    script.expect_packet().frame(&CONSUMED);
    script.expect_packet_at(325.ms()).frame(&CONSUMED);
}

#[test]
fn the_writer_learns_that_all_was_read() {
    let mut script = Script::new();
    script.write(10).expect_packet();
    script.finish().expect_packet();
    script.at(100.ms()).ack(0..=1);
    script.receive(&[CONSUMED]);
    script.check("consumed", |e| e.send.progress().consumed);
}

#[test]
fn nobody_consumes_what_was_not_finished() {
    let mut script = Script::new();
    script.write(10).expect_packet();
    script.at(100.ms()).receive(&[CONSUMED]);
    script.expect_packet().close(close_code::PROTOCOL_VIOLATION);
    script.check("not consumed", |e| !e.send.progress().consumed);
}

#[test]
fn nobody_consumes_another_size() {
    let mut script = Script::new();
    script.write(11).expect_packet();
    script.finish().expect_packet();
    script.at(100.ms()).receive(&[CONSUMED]);
    script.expect_packet().close(close_code::PROTOCOL_VIOLATION);
}

// --- Closing and draining.

#[test]
fn the_closing_state_answers_ever_more_rarely_and_ends() {
    let mut script = one_packet();
    script.event("abort", |e, now| e.send.abort(now));
    script.expect_packet().close(close_code::ABORTED);
    let mut answers = 0;
    for _ in 0..100 {
        script.receive(&[Frame::Ping]);
        if script.has_unseen() {
            script.expect_packet().close(close_code::ABORTED);
            answers += 1;
        }
    }
    assert_eq!(answers, 7, "to packets 1, 2, 4, 8, 16, 32 and 64");
    script.check("closing", |e| !e.send.is_closed());
    // Nobody answers: it is said again after 300 ms, 600 ms, 1.2 s, and 2.4 s later it is over.
    for repeat in [300, 900, 2100] {
        script.at(repeat.ms());
        script.expect_packet().close(close_code::ABORTED);
    }
    script.check("still closing", |e| !e.send.is_closed());
    script.at(4500.ms());
    script.check("closed", |e| {
        e.send.is_closed() && e.send.ended() == Some(&Ended::Aborted)
    });
    script.receive(&[Frame::Ping]).expect_nothing();
}

#[test]
fn who_leaves_before_its_close_went_out_says_it_once() {
    let mut script = one_packet();
    // The thread that sends hears of both in one go if it had to wait for a processor.
    script.event("abort and leave", |e, now| {
        e.send.abort(now);
        e.send.leave(now);
    });
    script.expect_packet().close(close_code::ABORTED);
    script.check("closed", |e| {
        e.send.is_closed() && e.send.ended() == Some(&Ended::Aborted)
    });
    script.receive(&[Frame::Ping]).expect_nothing();
}

#[test]
fn who_leaves_after_its_close_says_nothing_more() {
    let mut script = one_packet();
    script.event("abort", |e, now| e.send.abort(now));
    script.expect_packet().close(close_code::ABORTED);
    script.event("leave", |e, now| e.send.leave(now));
    script.check("closed", |e| e.send.is_closed());
    script.expect_nothing();
}

#[test]
fn a_last_word_that_no_carrier_takes_is_not_waited_for() {
    let mut endpoint = Endpoint::new(&Setup::default(), origin());
    endpoint.send.leave(origin());
    let at = endpoint.send.next_timeout().expect("it has a limit");
    assert!(at <= origin() + 100.ms());
    endpoint.send.handle_end_timeout(at);
    assert!(endpoint.send.is_closed());
}

#[test]
fn the_draining_state_answers_once() {
    let mut script = one_packet();
    script.receive(&[CLOSE]);
    script.expect_packet().close(close_code::NO_ERROR);
    script.check("closed", |e| e.send.is_closed());
    for _ in 0..10 {
        script.receive(&[Frame::Ping]).expect_nothing();
    }
    script.check("by the peer, not complete", |e| {
        matches!(e.send.ended(), Some(Ended::Peer(_)))
    });
}

#[test]
fn the_close_of_the_peer_ends_the_closing_state() {
    let mut script = one_packet();
    script.event("abort", |e, now| e.send.abort(now));
    script.expect_packet().close(close_code::ABORTED);
    script.receive(&[CLOSE]).expect_nothing();
    script.check("closed", |e| e.send.is_closed());
}

#[test]
fn a_close_counts_as_success_for_what_it_acknowledges() {
    let mut script = one_packet();
    script.receive_stream_end(0..10);
    script.expect_packet();
    script.finish();
    let fin = script.expect_packet().sent().pn;
    let mut last = ack_payload(&[0..=fin], 0.ms());
    last.extend(payload(&[CLOSE]));
    script.at(100.ms()).receive_numbered(9, PATH, &last);
    script.expect_packet().close(close_code::NO_ERROR);
    script.check("complete", |e| e.send.ended() == Some(&Ended::Complete));
}

#[test]
fn a_close_that_leaves_data_unacknowledged_is_not_complete() {
    let mut script = one_packet();
    script.receive_stream_end(0..10);
    script.expect_packet();
    script.finish();
    script.expect_packet();
    script.at(100.ms()).receive(&[CLOSE]);
    script.expect_packet();
    script.check("not complete", |e| {
        matches!(e.send.ended(), Some(Ended::Peer(_))) && e.send.progress().unacked_bytes == FULL
    });
}

#[test]
fn an_abandoned_stream_closes_when_the_peer_has_everything() {
    let mut script = one_packet();
    script.event("abandon", |e, now| e.send.abandon(now));
    let fin = script.expect_packet().stream_end(FULL..FULL).sent().pn;
    script.at(100.ms()).ack(0..=fin);
    script.expect_packet().close(close_code::APPLICATION_GONE);
}

// --- Frames that have no business here.

fn closes_with(code: u64, server: bool, payload: &[u8]) {
    let mut script = Script::with(|setup| setup.settled.server = server);
    script.at(1.ms());
    drain(&mut script);
    script.receive_numbered(0, PATH, payload);
    script.expect_packet().close(code);
}

#[test]
fn frames_in_wrong_states_close() {
    let violation = close_code::PROTOCOL_VIOLATION;
    closes_with(violation, true, &payload(&[Frame::HandshakeDone]));
    closes_with(violation, false, &payload(&[Frame::Datagram(b"hello")]));
    closes_with(violation, false, &[]);
    closes_with(close_code::FRAME_ENCODING, false, &[0x3f]);
    let crypto = Frame::Crypto {
        offset: 0,
        data: b"hello",
    };
    closes_with(close_code::CRYPTO_BUFFER_EXCEEDED, false, &payload(&[crypto]));
    for frame in [
        Frame::Stream {
            channel: 1,
            offset: 0,
            fin: false,
            data: b"x",
        },
        Frame::MaxChannelData { channel: 1, max: 9 },
        Frame::Reset {
            channel: 1,
            code: 0,
            final_size: 0,
        },
        Frame::Stop { channel: 1, code: 0 },
        Frame::Consumed {
            channel: 1,
            final_size: 0,
        },
    ] {
        closes_with(violation, false, &payload(&[frame]));
    }
}
