//! Bytes that change hands: given away by the writer, taken where they are by the reader.

use super::*;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

const BYTES: usize = 5_000_000;

fn all() -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    pattern(1, 0, &mut bytes);
    bytes
}

/// What was given away, and a look at who still has it.
struct Watched(Arc<Vec<u8>>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

on_each_carrier! {
    /// Small and large, given away and copied, taken and copied, in one order.
    both_kinds_of_calls_see_one_stream => |over| {
        let (client, mut server) = pair(over);
        let writer = thread::spawn(move || {
            let all = all();
            let mut rest = &all[..];
            for (turn, size) in [1, 300_000, 17, 70_000, 1_000_000].into_iter().cycle().enumerate() {
                let (now, later) = rest.split_at(size.min(rest.len()));
                match turn % 3 {
                    0 => (&client).write_all(now).expect("copied"),
                    _ => client.write_owned(now.to_vec()).expect("given away"),
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            client.finish(WATCHDOG).expect("all of it arrives");
        });
        let (mut got, mut buf) = (Vec::new(), vec![0; 5000]);
        loop {
            let n = server.read(&mut buf).expect("read");
            got.extend_from_slice(&buf[..n]);
            let peeked = server.peek(&mut buf[..10]).expect("peek");
            let received = server.read_owned().expect("taken");
            assert!(received.slices().all(|slice| !slice.is_empty()));
            assert!(received.to_vec().starts_with(&buf[..peeked.min(received.len())]));
            received.slices().for_each(|slice| got.extend_from_slice(slice));
            if received.is_empty() {
                break;
            }
        }
        assert!(got == all(), "other bytes");
        assert!(server.read_owned().expect("the end stays").is_empty());
        writer.join().expect("it does not panic");
    };

    what_was_given_away_is_kept_until_the_peer_has_it_and_no_longer => |over| {
        let (client, server) = pair(over);
        let bytes = Arc::new(all());
        let reader = thread::spawn(move || {
            let mut read = 0;
            loop {
                let received = server.read_owned().expect("taken");
                if received.is_empty() {
                    return read;
                }
                read += received.len();
            }
        });
        client.write_owned(Watched(Arc::clone(&bytes))).expect("given away");
        client.finish(WATCHDOG).expect("all of it arrives");
        assert_eq!(reader.join().expect("it does not panic"), BYTES);
        until("nobody has the bytes any more", || Arc::strong_count(&bytes) == 1);
    };

    a_reader_that_takes_nothing_holds_a_giver_up_who_has_given_all_or_nothing => |over| {
        let (client, mut server) = pair(over);
        client.write_owned(vec![7; 5_000_000]).expect("there is room for the first");
        client.set_write_timeout(Some(Duration::from_millis(100))).expect("not zero");
        let bytes = Arc::new(vec![8; 100_000]);
        let error = client.write_owned(Watched(Arc::clone(&bytes))).expect_err("there is no room for another");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(Arc::strong_count(&bytes), 1, "nothing was taken");
        client.set_nonblocking(true).expect("it can");
        let error = client.write_owned(Watched(bytes)).expect_err("there is no room still");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        client.shutdown(Shutdown::Write).expect("it can");
        let mut got = Vec::new();
        server.read_to_end(&mut got).expect("whole");
        assert!(got == vec![7; 5_000_000]);
    };

    nothing_and_the_end_are_said_as_by_read_and_write => |over| {
        let (client, server) = pair(over);
        client.write_owned(Vec::new()).expect("nothing is easily written");
        server.set_nonblocking(true).expect("it can");
        assert_eq!(server.read_owned().expect_err("nothing is there").kind(), io::ErrorKind::WouldBlock);
        server.set_nonblocking(false).expect("it can");
        client.shutdown(Shutdown::Write).expect("it can");
        assert_eq!(client.write_owned(vec![1]).expect_err("it has ended").kind(), io::ErrorKind::BrokenPipe);
        assert!(server.read_owned().expect("the end").is_empty());
        client.abort();
        assert!(client.write_owned(vec![1]).is_err());
    };
}

/// Has fewer bytes than it said, once it was given away.
struct Shrinking(std::sync::atomic::AtomicBool);

impl AsRef<[u8]> for Shrinking {
    fn as_ref(&self) -> &[u8] {
        let is_given = std::thread::current()
            .name()
            .is_some_and(|name| name.starts_with("ss-"));
        self.0.fetch_or(is_given, std::sync::atomic::Ordering::SeqCst);
        if is_given { &[] } else { &[7; 50_000] }
    }
}

#[test]
fn bytes_that_are_no_more_there_end_the_stream_and_keep_no_place_in_the_listener() {
    within(WATCHDOG, || {
        let listener = plain().bind("127.0.0.1:0").expect("bind");
        let client = plain().connect(listener.local_addr().expect("bound")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        until("the stream has a place", || listener.stats().connections == 1);
        server.write_owned(Shrinking(false.into())).expect("it is taken");
        until("the stream has ended", || !server.is_open());
        let error = server.take_error().expect("it can").expect("there was one");
        assert!(
            matches!(StreamError::of(&error), Some(StreamError::Internal)),
            "{error}"
        );
        drop(server);
        until("its place is free", || listener.stats().connections == 0);
        client.abort();
    });
}
