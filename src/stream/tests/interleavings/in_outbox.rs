//! The outbox: a writer that waits for room gets it, or the reason why not.

use super::explore;
use super::outbox::{Outbox, Released};
use super::patience::Patience;
use super::sync::{Receiver, bounded};
use crate::error::StreamError;
use shuttle::thread;
use std::collections::VecDeque;
use std::sync::Arc;

const ROOM: u64 = 8;

/// What the send thread does next.
enum Next {
    Sleep,
    GoOn,
    /// The application has finished.
    End,
}

/// A round of the send thread, whose peer acknowledges everything at once. If it is not hungry, something of the peer wakes
/// it.
fn take(outbox: &Outbox, got: &mut Vec<u8>, hungry: bool) -> Next {
    let mut chunks = VecDeque::new();
    let finished = outbox.take(&mut chunks).finished;
    let before = got.len();
    got.extend(chunks.iter().flat_map(|chunk| chunk.iter()));
    let may_sleep = outbox.released(
        Released {
            acked: (got.len() - before) as u64,
            limit: ROOM,
            quiet: true,
            hungry,
        },
        &mut Vec::new(),
    );
    if finished {
        Next::End
    } else if may_sleep && hungry {
        Next::Sleep
    } else {
        Next::GoOn
    }
}

fn small() -> Arc<Outbox> {
    let outbox = Outbox::new();
    outbox.released(
        Released {
            acked: 0,
            limit: ROOM,
            quiet: true,
            hungry: true,
        },
        &mut Vec::new(),
    );
    Arc::new(outbox)
}

#[test]
fn a_writer_through_a_small_buffer_is_woken_each_time_and_loses_nothing() {
    explore(21, || {
        let outbox = small();
        let (ring, doorbell): (_, Receiver<()>) = bounded(1);
        let bytes: Vec<u8> = (0..20).collect();
        let writer = {
            let (outbox, bytes) = (Arc::clone(&outbox), bytes.clone());
            thread::spawn(move || {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let n = outbox
                        .write(&rest[..rest.len().min(5)], Patience::Forever)
                        .expect("open");
                    rest = &rest[n.expect("a patient writer waits")..];
                    if outbox.is_ring_due() {
                        let _ = ring.try_send(());
                    }
                }
                outbox.finish();
                let _ = ring.try_send(());
            })
        };
        let (mut got, mut hungry) = (Vec::new(), true);
        loop {
            let next = take(&outbox, &mut got, hungry);
            assert!(outbox.held() <= ROOM);
            match next {
                Next::Sleep => doorbell.recv().expect("the writer rings before it leaves"),
                Next::GoOn => {}
                Next::End => break,
            }
            hungry = !hungry;
        }
        assert_eq!(got, bytes);
        writer.join().expect("written");
    });
}

#[test]
fn a_writer_without_room_is_woken_by_the_end() {
    explore(22, || {
        let outbox = small();
        let writer = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                let error = loop {
                    if let Err(error) = outbox.write(&[1; 5], Patience::Forever) {
                        break error;
                    }
                };
                assert_eq!(error, StreamError::Aborted);
            })
        };
        outbox.fail(StreamError::Aborted);
        writer.join().expect("told");
    });
}
