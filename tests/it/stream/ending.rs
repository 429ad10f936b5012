//! How streams end: half-close, finish and its verdicts, drop and linger, abort, from any thread and in every state.

use super::*;
use securestream::Finished;
use std::io::{Read, Write};
use std::net::Shutdown;

/// Fits into the send buffer (256 KiB to begin with), not into [`NARROW`].
const MUCH: usize = 200_000;
const NARROW: u64 = 16 * 1024;

/// A pair whose server takes 16 KiB and no more until somebody reads.
fn narrow_pair(over: Over) -> (Stream, Stream) {
    pair_of(over, &plain(), &plain().max_window(NARROW))
}

/// A stream whose next write blocks.
fn with_a_full_buffer(over: Over) -> (Stream, Stream) {
    let (client, server) = narrow_pair(over);
    client.set_nonblocking(true).expect("set");
    while (&client).write(&[1; 50_000]).is_ok() {}
    client.set_nonblocking(false).expect("set");
    (client, server)
}

/// Everything of the client has arrived and the server has not read it.
fn wait_for_acknowledgement(client: &Stream) {
    until("acknowledged", || match client.finish(Duration::from_millis(1)) {
        Ok(verdict) => verdict == Finished::Acknowledged,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
            false
        }
    });
}

on_each_carrier! {
    /// The last frame that says so travels with the close.
    a_peer_that_reads_to_the_end_and_leaves_at_once_has_consumed => |over| {
        for _ in 0..20 {
            let (client, server) = pair(over);
            (&client).write_all(b"all of it").expect("write");
            let reader = blocked(move || {
                let mut text = String::new();
                (&server).read_to_string(&mut text).expect("read");
                text
            });
            let verdict = client.finish(Duration::from_secs(60)).expect("finish");
            assert_eq!(verdict, Finished::Consumed);
            assert_eq!(reader.join().expect("join").0, "all of it");
        }
    };
    after_a_half_close_the_other_direction_goes_on => |over| {
        for server_first in [false, true] {
            let (client, server) = pair(over);
            let (first, second) = if server_first { (&server, &client) } else { (&client, &server) };
            (&*first).write_all(b"question").expect("write");
            first.shutdown(Shutdown::Write).expect("shutdown");
            let mut text = String::new();
            (&*second).read_to_string(&mut text).expect("read");
            assert_eq!(text, "question");
            thread::scope(|scope| {
                scope.spawn(|| {
                    (&*second).write_all(&[5; 3_000_000]).expect("write");
                    assert_eq!(second.finish(WATCHDOG).expect("finish"), Finished::Consumed);
                });
                let mut all = Vec::new();
                (&*first).read_to_end(&mut all).expect("read");
                assert_eq!(all.len(), 3_000_000);
            });
            assert_eq!(first.finish(WATCHDOG).expect("finish"), Finished::Consumed);
        }
    };

    nothing_at_all_is_a_whole_stream_too => |over| {
        let (client, server) = pair(over);
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!((&server).read(&mut [0; 1]).expect("the end"), 0);
        server.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!((&client).read(&mut [0; 1]).expect("the end"), 0);
        assert_eq!(client.finish(WATCHDOG).expect("finish"), Finished::Consumed);
        assert_eq!(server.finish(WATCHDOG).expect("finish"), Finished::Consumed);
        // Both directions are over, so the connection is, and that is no error.
        until("closed", || !client.is_open() && !server.is_open());
        for stream in [&client, &server] {
            assert!(stream.take_error().expect("asked").is_none());
            assert_eq!((&*stream).read(&mut [0; 1]).expect("still the end"), 0);
            assert_kind((&*stream).write(b"x"), io::ErrorKind::BrokenPipe);
        }
    };

    finish_says_consumed_once_the_peer_has_read_to_the_end => |over| {
        let (client, server) = pair(over);
        (&client).write_all(b"abc").expect("write");
        let finishing = {
            let client = client.try_clone().expect("clone");
            thread::spawn(move || client.finish(WATCHDOG))
        };
        let mut text = String::new();
        (&server).read_to_string(&mut text).expect("read");
        assert_eq!(finishing.join().expect("finish").expect("finish"), Finished::Consumed);
        // Again, and without waiting: the verdict stays.
        assert_eq!(client.finish(Duration::from_millis(1)).expect("finish"), Finished::Consumed);
        assert_eq!(client.stats().acknowledged_bytes, 3);
    };

    finish_says_acknowledged_when_the_peer_leaves_without_reading => |over| {
        let (client, server) = pair(over);
        (&client).write_all(b"abc").expect("write");
        wait_for_acknowledgement(&client);
        assert_eq!(server.stats().delivered_bytes, 3);
        drop(server);
        assert_eq!(client.finish(WATCHDOG).expect("finish"), Finished::Acknowledged);
    };

    finish_counts_what_was_not_acknowledged_and_can_be_called_again => |over| {
        let (client, server) = narrow_pair(over);
        (&client).write_all(&[3; MUCH]).expect("write");
        let error = assert_kind(client.finish(Duration::from_millis(100)), io::ErrorKind::TimedOut);
        let StreamError::Unacknowledged { bytes, timed_out: true, .. } = typed(&error) else {
            panic!("{error:?}");
        };
        assert!((MUCH as u64 - NARROW..=MUCH as u64).contains(bytes), "{bytes}");
        assert!(client.is_open());
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut all = Vec::new();
                (&server).read_to_end(&mut all).expect("read");
                assert_eq!(all, vec![3; MUCH]);
            });
            assert_eq!(client.finish(WATCHDOG).expect("finish"), Finished::Consumed);
        });
    };

    finish_counts_what_a_leaving_peer_did_not_take => |over| {
        let (client, server) = narrow_pair(over);
        (&client).write_all(&[3; MUCH]).expect("write");
        until("the window is full", || server.stats().delivered_bytes == NARROW);
        let finishing = blocked(move || client.finish(WATCHDOG));
        drop(server);
        let (result, _) = finishing.join().expect("it returns");
        let error = assert_kind(result, io::ErrorKind::ConnectionReset);
        let StreamError::Unacknowledged { bytes, timed_out: false, .. } = typed(&error) else {
            panic!("{error:?}");
        };
        assert!((1..=MUCH as u64).contains(bytes), "{bytes}");
    };

    finish_does_not_wait_for_a_peer_that_has_stopped_reading => |over| {
        let (client, server) = narrow_pair(over);
        (&client).write_all(&[3; MUCH]).expect("write");
        until("the window is full", || server.stats().delivered_bytes == NARROW);
        let finishing = blocked(move || client.finish(2 * WATCHDOG));
        server.shutdown(Shutdown::Read).expect("shutdown");
        let (result, _) = finishing.join().expect("it returns");
        let error = result.expect_err("not everything arrived");
        assert!(matches!(typed(&error), StreamError::Unacknowledged { bytes: 1.., .. }), "{error:?}");
    };

    shutdown_of_the_own_reading_ends_reads_and_tells_the_peer => |over| {
        let (client, server) = pair(over);
        (&client).write_all(b"never read").expect("write");
        let reading = {
            let server = server.try_clone().expect("clone");
            until("it came", || server.peek(&mut [0; 10]).expect("peek") == 10);
            (&server).read_exact(&mut [0; 10]).expect("read");
            blocked(move || (&server).read(&mut [0; 1]))
        };
        server.shutdown(Shutdown::Read).expect("shutdown");
        let (result, _) = reading.join().expect("it returns");
        assert_eq!(result.expect("an end"), 0);
        assert_eq!((&server).read(&mut [0; 1]).expect("an end"), 0);
        // The peer hears of it.
        let error = loop {
            if let Err(error) = (&client).write(&[0; 1000]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
        // The other direction is whole.
        (&server).write_all(b"answer").expect("write");
        server.shutdown(Shutdown::Write).expect("shutdown");
        let mut text = String::new();
        (&client).read_to_string(&mut text).expect("read");
        assert_eq!(text, "answer");
    };

    shutdown_from_another_thread_ends_a_blocked_write => |over| {
        let (client, _server) = with_a_full_buffer(over);
        let writing = {
            let client = client.try_clone().expect("clone");
            blocked(move || (&client).write_all(&[1; 1_000_000]))
        };
        client.shutdown(Shutdown::Write).expect("shutdown");
        let (result, _) = writing.join().expect("it returns");
        assert_kind(result, io::ErrorKind::BrokenPipe);
        client.abort();
    };

    shutdown_of_both_ends_a_blocked_read_and_write => |over| {
        let (client, _server) = with_a_full_buffer(over);
        let handles = [client.try_clone().expect("clone"), client.try_clone().expect("clone")];
        let [reader, writer] = handles;
        let reading = blocked(move || (&reader).read(&mut [0; 1]));
        let writing = blocked(move || (&writer).write_all(&[1; 1_000_000]));
        client.shutdown(Shutdown::Both).expect("shutdown");
        let (read, _) = reading.join().expect("it returns");
        assert_eq!(read.expect("an end"), 0);
        let (written, _) = writing.join().expect("it returns");
        assert_kind(written, io::ErrorKind::BrokenPipe);
        client.abort();
    };

    abort_from_another_thread_ends_every_blocked_call => |over| {
        let (client, server) = with_a_full_buffer(over);
        let handle = || client.try_clone().expect("clone");
        let (a, b, c, d, e) = (handle(), handle(), handle(), handle(), handle());
        let calls = [
            blocked(move || (&a).read(&mut [0; 1]).map(drop)),
            blocked(move || b.peek(&mut [0; 1]).map(drop)),
            blocked(move || c.read_at_least(&mut [0; 9], 9, 2 * WATCHDOG).map(drop)),
            blocked(move || (&d).write_all(&[1; 1_000_000])),
        ];
        for (call, what) in calls.into_iter().zip(["read", "peek", "read_at_least", "write"]) {
            if what == "read" {
                client.abort();
            }
            let (result, _) = call.join().expect("it returns");
            let error = result.expect_err(what);
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{what}: {error}");
        }
        assert_kind((&client).write(b"x"), io::ErrorKind::ConnectionAborted);
        assert_kind((&client).read(&mut [0; 1]), io::ErrorKind::ConnectionAborted);
        let error = e.finish(WATCHDOG).expect_err("nothing more will be acknowledged");
        assert!(matches!(
            typed(&error),
            StreamError::Unacknowledged { bytes: 1.., timed_out: false, .. }
        ), "{error:?}");
        let error = client.take_error().expect("asked").expect("it was aborted");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(!client.is_open());
        // What came is delivered, and then the reset.
        let error = (&server).read_to_end(&mut Vec::new()).expect_err("no end mark");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    };

    abort_ends_a_blocked_finish => |over| {
        let (client, _server) = narrow_pair(over);
        (&client).write_all(&[3; MUCH]).expect("write");
        let finishing = {
            let client = client.try_clone().expect("clone");
            blocked(move || client.finish(2 * WATCHDOG))
        };
        client.abort();
        let (result, _) = finishing.join().expect("it returns");
        let error = result.expect_err("aborted");
        assert!(matches!(
            typed(&error),
            StreamError::Unacknowledged { bytes: 1.., timed_out: false, .. }
        ), "{error:?}");
    };

    an_abort_of_the_peer_ends_every_blocked_call_with_a_reset => |over| {
        let (client, server) = with_a_full_buffer(over);
        let handle = || client.try_clone().expect("clone");
        let (a, b, c) = (handle(), handle(), handle());
        let calls = [
            blocked(move || (&a).read(&mut [0; 1]).map(drop)),
            blocked(move || (&b).write_all(&[1; 1_000_000])),
            blocked(move || c.finish(2 * WATCHDOG).map(drop)),
        ];
        server.abort();
        for (call, what) in calls.into_iter().zip(["read", "write", "finish"]) {
            let (result, _) = call.join().expect("it returns");
            let error = result.expect_err(what);
            // The call to finish ended the direction of the blocked write, if it was first.
            let ended_here = what == "write" && error.kind() == io::ErrorKind::BrokenPipe;
            assert!(ended_here || error.kind() == io::ErrorKind::ConnectionReset, "{what}: {error}");
        }
        let error = client.take_error().expect("asked").expect("it was reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        // Unlike that of a socket it stays.
        assert!(client.take_error().expect("asked").is_some());
    };

    a_linger_of_zero_resets_the_peer_when_the_stream_is_dropped => |over| {
        let (client, server) = pair(over);
        (&client).write_all(b"abc").expect("write");
        until("it came", || server.stats().delivered_bytes == 3);
        client.set_linger(Some(Duration::ZERO)).expect("set");
        drop(client);
        let mut got = Vec::new();
        let error = (&server).read_to_end(&mut got).expect_err("no end mark");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        assert_eq!(got, b"abc");
        assert_kind((&server).write(b"x"), io::ErrorKind::ConnectionReset);
    };

    a_panic_while_holding_a_stream_aborts_it => |over| {
        let (client, server) = pair(over);
        let panicking = thread::Builder::new()
            .name("panics on purpose".into())
            .spawn(move || {
                (&client).write_all(b"half of").expect("write");
                until("it is on its way", || client.stats().acknowledged_bytes == 7);
                panic!("on purpose");
            })
            .expect("a thread");
        let mut got = Vec::new();
        let error = (&server).read_to_end(&mut got).expect_err("a part must not look whole");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        panicking.join().expect_err("it panicked");
    };

    drop_waits_until_everything_is_acknowledged => |over| {
        let (client, server) = lossy_pair(over, "delay 20ms; loss 5%", 11, &plain().linger(Some(WATCHDOG)));
        (&client).write_all(&[6; 100_000]).expect("write");
        drop(client);
        // Nobody has read, and the stack has it all.
        assert_eq!(server.stats().delivered_bytes, 100_000);
        let mut all = Vec::new();
        (&server).read_to_end(&mut all).expect("whole");
        assert_eq!(all, vec![6; 100_000]);
    };

    drop_gives_up_when_the_linger_time_is_over => |over| {
        let (client, server) = narrow_pair(over);
        (&client).write_all(&[3; MUCH]).expect("write");
        client.set_linger(Some(Duration::from_millis(200))).expect("set");
        let start = Instant::now();
        drop(client);
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert!(start.elapsed() < WATCHDOG / 2);
        let error = (&server).read_to_end(&mut Vec::new()).expect_err("not whole");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    };

    drop_is_quick_when_nothing_is_left_to_say => |over| {
        let (client, server) = pair_of(over, &plain().linger(Some(WATCHDOG)), &plain());
        (&client).write_all(b"abc").expect("write");
        let reading = thread::spawn(move || {
            (&server).read_to_end(&mut Vec::new()).expect("whole");
        });
        client.finish(WATCHDOG).expect("finish");
        reading.join().expect("read");
        let start = Instant::now();
        drop(client);
        assert!(start.elapsed() < WATCHDOG / 3, "{:?}", start.elapsed());
    };

    drop_of_one_side_does_not_wait_for_the_application_of_the_other => |over| {
        let (client, server) = pair_of(over, &plain().linger(Some(WATCHDOG)), &plain());
        (&client).write_all(b"abc").expect("write");
        let start = Instant::now();
        drop(client);
        assert!(start.elapsed() < WATCHDOG / 3, "{:?}", start.elapsed());
        let mut text = String::new();
        (&server).read_to_string(&mut text).expect("whole");
        assert_eq!(text, "abc");
    };

    drop_while_another_thread_drops_the_other_end => |over| {
        for _ in 0..5 {
            let (client, server) = pair(over);
            let other = thread::spawn(move || drop(server));
            drop(client);
            other.join().expect("dropped");
        }
    };

    drop_while_the_peer_floods => |over| {
        let (client, server) = pair(over);
        let flooding = thread::spawn(move || {
            loop {
                if let Err(error) = (&client).write(&[8; 10_000]) {
                    return error;
                }
            }
        });
        (&server).read_exact(&mut [0; 100_000]).expect("read");
        drop(server);
        let error = flooding.join().expect("it ends");
        assert!(
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{error}"
        );
    };
}
