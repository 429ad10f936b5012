//! Both sides of a loan over the ends of a memory cable.
#![expect(
    clippy::unnecessary_wraps,
    reason = "deadlines have the form in which the trait takes them"
)]

use super::*;
use crate::subsystem::memory;
use crate::subsystem::{Halves, PathId, Sent, Subsystem};
use std::time::Duration;

const OURS: ConnectionId = ConnectionId(*b"the ours");
const OTHER: ConnectionId = ConnectionId(*b"another!");

/// So long only if something hangs.
fn watchdog() -> Option<Instant> {
    Some(crate::stream::sync::now() + Duration::from_secs(20))
}

fn past() -> Option<Instant> {
    Some(crate::stream::sync::now())
}

struct Rig {
    peer: Halves,
    lender: Lender,
    carrier: Arc<dyn Waker>,
}

fn rig() -> Rig {
    let (peer, ours) = memory::pair();
    let split = |end: memory::Memory| Box::new(end).split().expect("queues have no limits to meet");
    let (peer, ours) = (split(peer), split(ours));
    Rig {
        peer,
        lender: Lender::new(ours.rx, Arc::clone(&ours.waker)),
        carrier: ours.waker,
    }
}

/// The beginning of a packet with a short header.
fn packet(id: ConnectionId) -> Vec<u8> {
    [&[0x40][..], &id.0, b"sealed"].concat()
}

impl Rig {
    fn send(&mut self, packets: &[ConnectionId]) {
        let bytes: Vec<_> = packets.iter().map(|&id| packet(id)).collect();
        let batch = Batch {
            segment_bytes: bytes[0].len(),
            ..Batch::single(bytes.concat().into(), PathId::ONLY)
        };
        assert_eq!(self.peer.tx.send(batch).unwrap(), Sent::Taken);
    }

    fn lend(&mut self) -> Loan {
        self.lender.lend(OURS).expect("it is here")
    }
}

fn is_batch(found: &Found) -> bool {
    matches!(found, Found::Batch(_))
}

#[test]
fn a_borrower_gets_its_packets_and_nothing_at_a_deadline() {
    let mut rig = rig();
    let mut loan = rig.lend();
    assert!(rig.lender.lend(OURS).is_none(), "there is only one");
    rig.send(&[OURS, OURS]);
    assert!(is_batch(&loan.recv(watchdog())));
    assert!(matches!(loan.recv(past()), Found::Nothing));
    rig.send(&[OURS]);
    assert!(is_batch(&loan.recv(watchdog())), "a deadline does not end the loan");
}

#[test]
fn a_packet_for_another_goes_back_with_the_half_and_so_does_a_batch_for_both() {
    for strangers in [&[OTHER][..], &[OURS, OTHER], &[OTHER, OURS]] {
        let mut rig = rig();
        let mut loan = rig.lend();
        rig.send(strangers);
        assert!(matches!(loan.recv(watchdog()), Found::Returned));
        let batch = rig.lender.recv(watchdog()).unwrap().expect("it came with the half");
        assert_eq!(batch.packets(), strangers.len());
        // And the half reads.
        rig.send(&[OURS]);
        assert!(rig.lender.recv(watchdog()).unwrap().is_some());
    }
}

#[test]
fn whoever_wants_the_port_gets_the_half_back_at_once_or_at_the_next_look() {
    let mut rig = rig();
    let mut loan = rig.lend();
    let recall = rig.lender.recall();
    std::thread::scope(|scope| {
        let borrower = scope.spawn(|| matches!(loan.recv(watchdog()), Found::Returned));
        recall.wake();
        assert!(
            rig.lender.recv(watchdog()).unwrap().is_none(),
            "the port thread is to look around"
        );
        assert!(borrower.join().unwrap());
    });
    let mut loan = rig.lend();
    recall.wake();
    assert!(matches!(loan.recv(past()), Found::Returned));
}

#[test]
fn a_request_that_the_port_has_heard_ends_no_later_loan() {
    let mut rig = rig();
    rig.lender.recall().wake();
    assert!(rig.lender.recv(watchdog()).unwrap().is_none());
    let mut loan = rig.lend();
    assert!(matches!(loan.recv(past()), Found::Nothing));
    rig.send(&[OURS]);
    assert!(is_batch(&loan.recv(watchdog())));
}

#[test]
fn a_wake_that_is_for_the_stream_leaves_the_half_with_it() {
    let mut rig = rig();
    let mut loan = rig.lend();
    rig.carrier.wake();
    assert!(matches!(loan.recv(watchdog()), Found::Nothing));
    assert!(matches!(rig.lender.recv(past()), Ok(None)), "it is still lent");
    drop(loan);
    rig.send(&[OTHER]);
    assert!(rig.lender.recv(watchdog()).unwrap().is_none(), "it comes home");
    assert!(rig.lender.recv(watchdog()).unwrap().is_some(), "and reads again");
}

#[test]
fn a_port_thread_that_has_left_needs_nothing_back() {
    let mut rig = rig();
    let loan = rig.lend();
    drop(rig);
    drop(loan);
}
