//! What the tests of this folder share.
#![expect(
    clippy::unnecessary_wraps,
    reason = "deadlines have the form in which the traits take them"
)]

use super::{Batch, Halves, PacketRx, PathId};
use std::io;
use std::time::{Duration, Instant};

/// A watchdog: far away, so that a test fails instead of hanging.
pub(super) fn watchdog() -> Option<Instant> {
    Some(super::wait::after(Duration::from_secs(20)))
}

/// Now: a call with this deadline only looks.
pub(super) fn at_once() -> Option<Instant> {
    Some(super::wait::after(Duration::ZERO))
}

/// `packets` packets of `bytes` each. Packet and position can be told from every byte.
pub(super) fn numbered(packets: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..packets)
        .map(|number| (0..bytes).map(|at| (number * 7 + at) as u8).collect())
        .collect()
}

/// Equal packets as one batch.
pub(super) fn batch_of(packets: &[Vec<u8>]) -> Batch {
    let segment_bytes = packets[0].len().max(1);
    let mut batch = Batch::single(packets.concat().into(), PathId::ONLY);
    batch.segment_bytes = segment_bytes;
    batch
}

/// Receives until there are `count` packets.
pub(super) fn receive_packets(rx: &mut dyn PacketRx, count: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while packets.len() < count {
        let batch = rx.recv(watchdog()).expect("carrier works").expect("in time");
        packets.extend(batch.iter().map(<[u8]>::to_vec));
    }
    packets
}

/// A wake is never lost, whether it comes before the receiver blocks, while it does so, or in between; and two
/// before one call are one.
pub(super) fn check_that_no_wake_of_recv_is_lost(halves: &mut Halves) {
    halves.waker.wake();
    halves.waker.wake();
    assert!(halves.rx.recv(watchdog()).expect("works").is_none());
    assert!(halves.rx.recv(at_once()).expect("works").is_none(), "nothing was sent");
    let (done, next) = crossbeam_channel::bounded(0);
    let Halves { rx, waker, .. } = halves;
    let rounds = 500;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..rounds {
                let before = watchdog();
                assert!(rx.recv(before).expect("works").is_none());
                assert!(!super::wait::is_past(before), "the wake was lost");
                let _ = done.send(());
            }
        });
        for _ in 0..rounds {
            waker.wake();
            if next.recv().is_err() {
                break;
            }
        }
    });
}

/// A deadline ends the wait, and not too early.
pub(super) fn check_that_a_deadline_ends_recv(rx: &mut dyn PacketRx) {
    let deadline = super::wait::after(Duration::from_millis(20));
    assert!(rx.recv(Some(deadline)).expect("works").is_none());
    assert!(super::wait::is_past(Some(deadline)));
}

/// The kind of error that `recv` fails with.
pub(super) fn failure(rx: &mut dyn PacketRx) -> io::ErrorKind {
    rx.recv(watchdog()).expect_err("should fail").kind()
}
