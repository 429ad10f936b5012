//! When a writer that waits for room is woken.

use crate::error::StreamError;
use crate::stream::outbox::{INITIAL_LIMIT, Outbox, Released, Taken, WAKE_ROOM};
use crate::stream::patience::Patience;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// A writer that waits for room, and what it wrote in the end.
fn waiting_writer(outbox: &Arc<Outbox>) -> mpsc::Receiver<Option<usize>> {
    while outbox.write(&[0; 8192], Patience::None).expect("open").is_some() {}
    let (wrote, result) = mpsc::channel();
    let writer = Arc::clone(outbox);
    thread::Builder::new()
        .spawn(move || {
            let n = writer.write(&[0; 8192], Patience::For(LONG)).expect("open");
            wrote.send(n).expect("the test waits");
        })
        .expect("a thread");
    while !outbox.is_awaited() {
        thread::yield_now();
    }
    result
}

#[test]
fn little_room_is_enough_when_no_more_will_come_soon() {
    let outbox = Arc::new(Outbox::new());
    let result = waiting_writer(&outbox);
    // Not worth waking anybody while more acknowledgements are on their way.
    outbox.released(
        Released {
            acked: 100,
            limit: INITIAL_LIMIT,
            quiet: false,
            hungry: true,
        },
        &mut Vec::new(),
    );
    assert!(outbox.is_awaited());
    // The last packet in flight freed nothing more.
    outbox.released(
        Released {
            acked: 0,
            limit: INITIAL_LIMIT,
            quiet: true,
            hungry: true,
        },
        &mut Vec::new(),
    );
    assert_eq!(result.recv_timeout(LONG), Ok(Some(100)));
}

#[test]
fn much_room_wakes_at_once() {
    let outbox = Arc::new(Outbox::new());
    let result = waiting_writer(&outbox);
    outbox.released(
        Released {
            acked: WAKE_ROOM,
            limit: INITIAL_LIMIT,
            quiet: false,
            hungry: true,
        },
        &mut Vec::new(),
    );
    assert_eq!(result.recv_timeout(LONG), Ok(Some(8192)));
}

#[test]
fn a_part_of_what_was_written_never_looks_finished() {
    let mut chunks = VecDeque::new();
    let outbox = Outbox::new();
    assert_eq!(outbox.write(b"taken", Patience::None), Ok(Some(5)));
    outbox.take(&mut chunks);
    assert_eq!(outbox.write(b"not taken", Patience::None), Ok(Some(9)));
    // Another thread aborts between the last write and the finish.
    outbox.fail(StreamError::Aborted);
    outbox.finish();
    chunks.clear();
    let taken = Taken {
        finished: false,
        cut: true,
    };
    assert_eq!(outbox.take(&mut chunks), taken);
    assert!(chunks.is_empty());
}

#[test]
fn what_was_taken_whole_before_an_abort_may_still_be_finished() {
    let mut chunks = VecDeque::new();
    let outbox = Outbox::new();
    assert_eq!(outbox.write(b"taken", Patience::None), Ok(Some(5)));
    outbox.take(&mut chunks);
    outbox.fail(StreamError::Aborted);
    outbox.finish();
    chunks.clear();
    let taken = Taken {
        finished: true,
        cut: false,
    };
    assert_eq!(outbox.take(&mut chunks), taken);
}
