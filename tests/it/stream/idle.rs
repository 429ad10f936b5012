//! A stream on which nothing happens.

use super::*;
use std::io::{Read, Write};

on_each_carrier! {
    an_idle_stream_wakes_up_at_most_twice_a_second => |over| {
        const WATCHED: Duration = Duration::from_secs(10);
        let (client, server) = pair(over);
        (&client).write_all(b"one").expect("write");
        let mut buf = [0; 3];
        (&server).read_exact(&mut buf).expect("read");
        until("quiet", || {
            let stats = client.stats();
            (stats.in_flight_bytes, stats.send_buffer_bytes) == (0, 0)
        });
        // Let timers that were armed before fire for the last time.
        assert_kind(server.read_at_least(&mut buf, 1, Duration::from_millis(500)), io::ErrorKind::TimedOut);
        let before = (client.stats().wakeups, server.stats().wakeups);
        assert!(before.0 > 0 && before.1 > 0, "wake-ups are counted");
        // The wait itself is a read that nobody answers.
        assert_kind(server.read_at_least(&mut buf, 1, WATCHED), io::ErrorKind::TimedOut);
        let woken = (client.stats().wakeups - before.0, server.stats().wakeups - before.1);
        let allowed = 2 * WATCHED.as_secs();
        assert!(woken.0 <= allowed && woken.1 <= allowed, "{woken:?} wake-ups in {WATCHED:?}");
    };

    keep_alive_holds_an_idle_stream_open => |over| {
        // A keep-alive after each third of it: the stream would end if this process got no processor for the other two.
        const IDLE: Duration = Duration::from_secs(6);
        let options = plain().idle_timeout(IDLE);
        let (client, server) = pair_of(over, &options, &options);
        let mut buf = [0; 1];
        assert_kind(server.read_at_least(&mut buf, 1, IDLE * 3 / 2), io::ErrorKind::TimedOut);
        (&client).write_all(b"x").expect("write");
        (&server).read_exact(&mut buf).expect("the stream lives");
    };

    without_keep_alive_an_idle_stream_ends => |over| {
        let options = plain().idle_timeout(Duration::from_millis(300)).keep_alive(None);
        let (client, server) = pair_of(over, &options, &options);
        for (stream, other) in [(&client, &server), (&server, &client)] {
            let error = (&*stream).read(&mut [0; 1]).expect_err("nobody spoke");
            let idle = matches!(
                typed(&error),
                StreamError::TimedOut { limit: securestream::error::Limit::Idle, .. }
            );
            // On TCP the side that was first hangs up, which the other may see before its own time is over.
            let cut = over == Over::Tcp && error.kind() == io::ErrorKind::UnexpectedEof && !other.is_open();
            assert!(idle || cut, "{error:?}");
            assert!(!stream.is_open());
        }
    };

    the_smaller_idle_time_out_of_both_sides_counts => |over| {
        let hasty = plain().idle_timeout(Duration::from_millis(300)).keep_alive(None);
        let calm = plain().keep_alive(None);
        let (client, server) = pair_of(over, &hasty, &calm);
        for stream in [&client, &server] {
            let error = (&*stream).read(&mut [0; 1]).expect_err("nobody spoke");
            let idle = matches!(typed(&error), StreamError::TimedOut { after, .. } if after.as_millis() == 300);
            // On TCP the side that was first hangs up, which the other may see before its own time is over.
            let cut = over == Over::Tcp && error.kind() == io::ErrorKind::UnexpectedEof;
            assert!(idle || cut, "{error:?}");
        }
    };
}
