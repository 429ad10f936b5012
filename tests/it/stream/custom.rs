//! A subsystem written by a user: all that is asked of it is to move packets now and then.

use super::*;
use securestream::Finished;
use securestream::subsystem::{Batch, Halves, PacketRx, PacketTx, PathId, Pool, Properties, Sent, Waker};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex};

const MAX_PACKET: usize = 1300;
const QUEUE: usize = 200;

/// One direction: a queue that a person would write first, with a lock and a condition variable.
#[derive(Default)]
struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    packets: VecDeque<Vec<u8>>,
    woken: bool,
}

impl Waker for Wire {
    fn wake(&self) {
        self.state.lock().expect("no panic").woken = true;
        self.changed.notify_all();
    }
}

struct End {
    out: Arc<Wire>,
    inbox: Arc<Wire>,
}

fn ends() -> (End, End) {
    let (up, down) = (Arc::new(Wire::default()), Arc::new(Wire::default()));
    let left = End {
        out: Arc::clone(&up),
        inbox: Arc::clone(&down),
    };
    (left, End { out: down, inbox: up })
}

impl Subsystem for End {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let waker = Arc::clone(&self.inbox);
        Ok(Halves {
            tx: Box::new(Tx {
                out: self.out,
                pool: Pool::new(MAX_PACKET, 4),
                sent: 0,
            }),
            rx: Box::new(Rx(self.inbox)),
            waker,
        })
    }

    fn properties(&self) -> Properties {
        Properties {
            max_packet: MAX_PACKET,
            initial_packet: MAX_PACKET,
            max_segments: 1,
            reliable: false,
            local_addr: None,
            peer_addr: None,
        }
    }
}

struct Tx {
    out: Arc<Wire>,
    pool: Arc<Pool>,
    sent: u64,
}

impl PacketTx for Tx {
    fn send(&mut self, batch: Batch) -> io::Result<Sent> {
        assert_eq!(batch.packets(), 1, "it asked for one at a time");
        assert!(batch.buffer.len() <= MAX_PACKET);
        self.sent += 1;
        let mut state = self.out.state.lock().expect("no panic");
        // Every 20th packet is lost, and so is what does not fit; every 7th comes twice, every 11th overtakes.
        let copies = if self.sent.is_multiple_of(20) {
            0
        } else {
            1 + usize::from(self.sent.is_multiple_of(7))
        };
        for _ in 0..copies {
            if state.packets.len() == QUEUE {
                break;
            }
            if self.sent.is_multiple_of(11) {
                state.packets.push_front(batch.buffer.to_vec());
            } else {
                state.packets.push_back(batch.buffer.to_vec());
            }
        }
        self.out.changed.notify_all();
        Ok(Sent::Taken)
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn max_segments(&self, _packet_bytes: usize) -> usize {
        1
    }
}

struct Rx(Arc<Wire>);

impl PacketRx for Rx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        let mut state = self.0.state.lock().expect("no panic");
        loop {
            if std::mem::take(&mut state.woken) {
                return Ok(None);
            }
            if let Some(packet) = state.packets.pop_front() {
                return Ok(Some(Batch::single(packet.into(), PathId::ONLY)));
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            state = match left {
                None => self.0.changed.wait(state).expect("no panic"),
                Some(Duration::ZERO) => return Ok(None),
                Some(left) => self.0.changed.wait_timeout(state, left).expect("no panic").0,
            };
        }
    }
}

#[test]
fn a_stream_runs_over_a_subsystem_of_the_user() {
    within(WATCHDOG, || {
        let (left, right) = ends();
        let (client, server) = join(&plain(), left, &plain(), right);
        let mut bytes = vec![0; 1_000_000];
        pattern(1, 0, &mut bytes);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut text = Vec::new();
                (&server).read_to_end(&mut text).expect("read");
                (&server).write_all(&text).expect("write");
                assert_eq!(server.finish(WATCHDOG).expect("finish"), Finished::Consumed);
            });
            scope.spawn(|| {
                let mut echo = Vec::new();
                (&client).read_to_end(&mut echo).expect("read");
                assert!(echo == bytes);
            });
            (&client).write_all(&bytes).expect("write");
            assert_eq!(client.finish(WATCHDOG).expect("finish"), Finished::Consumed);
        });
    });
}

/// A subsystem that fails for good ends the stream with its own words.
#[test]
fn an_error_of_the_subsystem_ends_the_stream() {
    struct Failing<S>(S, Arc<std::sync::atomic::AtomicBool>);

    impl<S: Subsystem> Subsystem for Failing<S> {
        fn split(self: Box<Self>) -> io::Result<Halves> {
            let Self(inner, fails) = *self;
            let halves = Box::new(inner).split()?;
            Ok(Halves {
                rx: Box::new(FailingRx(halves.rx, fails)),
                ..halves
            })
        }

        fn properties(&self) -> Properties {
            self.0.properties()
        }
    }

    struct FailingRx(Box<dyn PacketRx>, Arc<std::sync::atomic::AtomicBool>);

    impl PacketRx for FailingRx {
        fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
            let batch = self.0.recv(deadline)?;
            if self.1.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(io::Error::other("the cable was bitten through"));
            }
            Ok(batch)
        }
    }

    within(WATCHDOG, || {
        let fails = Arc::default();
        let (a, b) = memory::pair();
        let (client, server) = join(&plain(), Failing(a, Arc::clone(&fails)), &plain(), b);
        fails.store(true, std::sync::atomic::Ordering::SeqCst);
        (&server).write_all(b"wakes it").expect("write");
        let error = (&client).read(&mut [0; 1]).expect_err("the carrier failed");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(error.to_string().contains("bitten"), "{error}");
        server.abort();
    });
}

/// A subsystem that panics ends the stream with an error, never with a hang.
#[test]
fn a_panic_in_a_thread_of_the_stream_is_an_error_and_no_hang() {
    use securestream::impair::Filtered;
    within(WATCHDOG, || {
        for sending in [false, true] {
            let (a, b) = memory::pair();
            let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let bomb = {
                let armed = Arc::clone(&armed);
                move |_: &mut Vec<u8>| {
                    assert!(!armed.load(std::sync::atomic::Ordering::SeqCst), "on purpose");
                    true
                }
            };
            let a = if sending {
                Filtered::new(a).transmit(bomb)
            } else {
                Filtered::new(a).recv(bomb)
            };
            let (client, server) = join(&plain(), a, &plain(), b);
            armed.store(true, std::sync::atomic::Ordering::SeqCst);
            (&server).write_all(b"x").expect("write");
            let mut buf = [0; 1];
            let error = loop {
                match (&client).read(&mut buf) {
                    Ok(n) => assert_eq!(n, 1, "no end"),
                    Err(error) => break error,
                }
            };
            assert_eq!(typed(&error), &StreamError::Internal);
            assert_kind((&client).write(b"y"), io::ErrorKind::Other);
            drop(client);
            server.abort();
        }
    });
}
