//! The pipe: no byte is lost, nobody sleeps on, whoever waits sees the end.

use super::explore;
use super::mailbox::{Letters, Mailbox};
use super::patience::Patience;
use super::pipe::Pipe;
use super::sync::Receiver;
use crate::error::StreamError;
use crate::proto::recv_half::Sink;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

const WINDOW: u64 = 4;
const MAX_WINDOW: u64 = 8;
const TOTAL: u64 = 12;

struct Rig {
    pipe: Pipe,
    mailbox: Mailbox,
}

fn rig() -> (Arc<Rig>, Receiver<()>) {
    let (mailbox, doorbell) = Mailbox::new();
    let pipe = Pipe::new(WINDOW, MAX_WINDOW, None);
    (Arc::new(Rig { pipe, mailbox }), doorbell)
}

impl Rig {
    fn read(&self, buf: &mut [u8], patience: Patience) -> Result<Option<usize>, StreamError> {
        self.pipe.read(&mut [buf], patience, &self.mailbox)
    }

    /// One read, whose bytes must be those that follow `at`. Returns how many came.
    fn read_at(&self, at: u64, patience: Patience) -> Option<u64> {
        let mut buf = [0; 5];
        let n = self.read(&mut buf, patience).expect("nothing is wrong")?;
        assert_follows(at, &buf[..n]);
        Some(n as u64)
    }

    /// Reads to the end; every byte must be there, once, in order.
    fn read_all(&self, mut at: u64) {
        loop {
            match self.read_at(at, Patience::Forever) {
                Some(0) => break,
                n => at += n.expect("a patient reader waits"),
            }
        }
        assert_eq!(at, TOTAL);
    }

    /// The receive thread of a peer that sends what the window allows, and learns of a new limit by the doorbell.
    /// Returns the final size that the peer would be told.
    fn feed(&self, doorbell: &Receiver<()>, total: u64) -> Option<u64> {
        let mut sent = 0;
        let mut limit = self.pipe.limit();
        let mut consumed = None;
        while sent < total {
            if limit == sent {
                consumed = consumed.or(self.look(doorbell, &mut limit));
                continue;
            }
            let n = thread_rng().gen_range(1..=3).min(limit.min(total) - sent);
            self.deliver(sent, n);
            sent += n;
        }
        self.pipe.deliver(None, |sink| sink.end());
        while consumed.is_none() {
            consumed = self.look(doorbell, &mut limit);
        }
        consumed
    }

    /// A batch of the receive thread.
    fn deliver(&self, from: u64, n: u64) {
        self.pipe.deliver(None, |sink| sink.deliver(&bytes(from, n)));
        self.pipe.tell();
    }

    /// A round of the send thread.
    fn look(&self, doorbell: &Receiver<()>, limit: &mut u64) -> Option<u64> {
        doorbell.recv().expect("the mailbox lives");
        let mut letters = Letters::default();
        self.mailbox.take(&mut letters);
        *limit = (*limit).max(letters.advertise);
        assert!(
            self.pipe.limit() >= *limit,
            "the receiver knows a limit before the peer"
        );
        letters.consumed
    }
}

fn bytes(from: u64, n: u64) -> Vec<u8> {
    (from..from + n).map(|at| at as u8 + 1).collect()
}

fn assert_follows(at: u64, got: &[u8]) {
    assert_eq!(got, bytes(at, got.len() as u64), "after {at} bytes");
}

/// Starts a thread of the application.
fn start(rig: &Arc<Rig>, body: impl FnOnce(&Rig) + Send + 'static) -> thread::JoinHandle<()> {
    let rig = Arc::clone(rig);
    thread::spawn(move || body(&rig))
}

#[test]
fn every_byte_and_the_end_come_through_a_small_window() {
    explore(1, || {
        let (rig, doorbell) = rig();
        let reader = start(&rig, |rig| rig.read_all(0));
        assert_eq!(rig.feed(&doorbell, TOTAL), Some(TOTAL));
        reader.join().expect("read");
        let counts = rig.pipe.counts();
        assert_eq!((counts.delivered, counts.read, counts.held), (TOTAL, TOTAL, 0));
    });
}

#[test]
fn two_readers_share_the_bytes_and_both_see_the_end() {
    explore(2, || {
        let (rig, doorbell) = rig();
        let (tell, told) = std::sync::mpsc::channel();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let tell = tell.clone();
                start(&rig, move |rig| {
                    let mut buf = [0; 3];
                    loop {
                        let n = rig.read(&mut buf, Patience::Forever).expect("nothing is wrong");
                        match n.expect("a patient reader waits") {
                            0 => break,
                            n => tell.send(buf[..n].to_vec()).expect("the test listens"),
                        }
                    }
                })
            })
            .collect();
        drop(tell);
        assert_eq!(rig.feed(&doorbell, TOTAL), Some(TOTAL));
        for reader in readers {
            reader.join().expect("read");
        }
        let mut all: Vec<u8> = told.iter().flatten().collect();
        all.sort_unstable();
        assert_follows(0, &all);
    });
}

#[test]
fn a_blocked_reader_gets_what_came_and_then_the_error() {
    explore(3, || {
        let (rig, _doorbell) = rig();
        let reader = start(&rig, |rig| {
            let mut at = 0;
            let error = loop {
                let mut buf = [0; 2];
                match rig.read(&mut buf, Patience::Forever) {
                    Ok(n) => {
                        let n = n.expect("a patient reader waits");
                        assert!(n > 0, "cut, not ended");
                        assert_follows(at, &buf[..n]);
                        at += n as u64;
                    }
                    Err(error) => break error,
                }
            };
            assert_eq!(error, StreamError::Truncated { read: 3 });
            assert_eq!(at, 3);
        });
        rig.deliver(0, 3);
        rig.pipe.fail(|read| StreamError::Truncated { read });
        reader.join().expect("read");
    });
}

#[test]
fn a_blocked_reader_sees_a_reset() {
    explore(4, || {
        let (rig, _doorbell) = rig();
        let reader = start(&rig, |rig| {
            let error = rig.read(&mut [0; 2], Patience::Forever).expect_err("reset");
            assert!(matches!(error, StreamError::Reset { .. }));
        });
        rig.pipe.deliver(None, |sink| sink.reset(7));
        reader.join().expect("read");
    });
}

#[test]
fn closing_wakes_every_blocked_call_and_ends_reading_for_good() {
    explore(5, || {
        let (rig, _doorbell) = rig();
        let mut calls = Vec::new();
        calls.push(start(&rig, |rig| {
            let mut at = 0;
            while let Some(n @ 1..) = rig.read_at(at, Patience::Forever) {
                at += n;
            }
            assert_eq!(rig.read_at(at, Patience::None), Some(0), "it stays ended");
        }));
        calls.push(start(&rig, |rig| {
            let mut buf = [0; 8];
            let n = rig.pipe.read_at_least(&mut buf, 8, Patience::Forever, &rig.mailbox);
            assert_eq!(n, Ok(Some(0)));
        }));
        calls.push(start(&rig, |rig| rig.deliver(0, 4)));
        rig.pipe.stop();
        for buf in [&mut [0; 1][..], &mut [0; 9][..]] {
            assert_eq!(rig.read(buf, Patience::Forever), Ok(Some(0)), "after the call returned");
        }
        for call in calls {
            call.join().expect("returned");
        }
        assert_eq!(rig.pipe.counts().held, 0);
    });
}

#[test]
fn peeking_while_another_thread_reads_shows_what_comes_next() {
    explore(6, || {
        let (rig, doorbell) = rig();
        let reader = start(&rig, |rig| rig.read_all(0));
        let peeker = start(&rig, |rig| {
            let mut at_least = 0;
            loop {
                let before = rig.pipe.counts().read;
                let mut buf = [0; 3];
                let n = rig.pipe.peek(&mut buf, Patience::Forever, &rig.mailbox);
                let n = n.expect("nothing is wrong").expect("a patient reader waits");
                if n == 0 {
                    break;
                }
                assert_follows(u64::from(buf[0]) - 1, &buf[..n]);
                let first = u64::from(buf[0]) - 1;
                assert!(first >= before.max(at_least), "what was read is not shown again");
                assert!(first <= rig.pipe.counts().read);
                at_least = first;
                // It would find the same again for as long as nobody reads.
                thread::yield_now();
            }
        });
        assert_eq!(rig.feed(&doorbell, TOTAL), Some(TOTAL));
        reader.join().expect("read");
        peeker.join().expect("peeked");
    });
}

#[test]
fn whoever_wants_many_bytes_at_once_opens_the_window_for_them() {
    explore(7, || {
        let (rig, doorbell) = rig();
        let reader = start(&rig, |rig| {
            let mut buf = [0; 7];
            let n = rig.pipe.read_at_least(&mut buf, 7, Patience::Forever, &rig.mailbox);
            assert_eq!(n, Ok(Some(7)));
            assert_follows(0, &buf);
            rig.read_all(7);
        });
        assert_eq!(rig.feed(&doorbell, TOTAL), Some(TOTAL));
        reader.join().expect("read");
    });
}

#[test]
fn two_readers_that_want_many_bytes_each_get_as_many() {
    explore(8, || {
        let (rig, doorbell) = rig();
        let readers = [(); 2].map(|()| {
            start(&rig, |rig| {
                let mut buf = [0; 6];
                let n = rig.pipe.read_at_least(&mut buf, 6, Patience::Forever, &rig.mailbox);
                assert_eq!(n, Ok(Some(6)));
                assert_follows(u64::from(buf[0]) - 1, &buf);
            })
        });
        let last = start(&rig, |rig| {
            for reader in readers {
                reader.join().expect("read");
            }
            assert_eq!(rig.read_at(TOTAL, Patience::Forever), Some(0));
        });
        assert_eq!(rig.feed(&doorbell, TOTAL), Some(TOTAL));
        last.join().expect("read");
    });
}

#[test]
fn a_read_that_times_out_loses_nothing() {
    explore(9, || {
        let (rig, doorbell) = rig();
        let reader = start(&rig, |rig| {
            let mut at = 0;
            for _ in 0..4 {
                at += rig
                    .read_at(at, Patience::For(Duration::from_micros(20)))
                    .unwrap_or_default();
            }
            rig.read_all(at);
        });
        assert_eq!(rig.feed(&doorbell, TOTAL), Some(TOTAL));
        reader.join().expect("read");
    });
}
