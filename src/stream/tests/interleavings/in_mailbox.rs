//! The mailbox: nothing merged is lost, whoever must look is rung for, and one round holds everything.

use super::explore;
use super::mailbox::{Letters, Mailbox};
use crate::proto::Update;
use crate::proto::update::Close;
use shuttle::thread;
use std::sync::Arc;

const PACKETS: u64 = 6;

/// What a packet with this number brings.
fn packet(pn: u64) -> Update {
    let now = super::sync::now();
    let mut update = Update {
        ack_eliciting: 1,
        largest_received: Some((pn, now)),
        last_received: Some(now),
        max_data: 100 + pn,
        ..Update::default()
    };
    update.received.insert_one(pn);
    update
}

/// As the receive thread does when nothing more is there.
fn tell(mailbox: &Mailbox, update: &mut Update) {
    if mailbox.merge(update) {
        mailbox.ring();
    }
}

fn close() -> Close {
    Close {
        code: 0,
        reason: String::new(),
    }
}

#[test]
fn nothing_is_lost_between_three_threads_and_the_sender_is_rung_for() {
    explore(11, || {
        let (mailbox, doorbell) = Mailbox::new();
        let mailbox = Arc::new(mailbox);
        let receiver = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for pn in 0..PACKETS {
                    let mut update = packet(pn);
                    tell(&mailbox, &mut update);
                    assert!(update.is_empty() && update.received.is_empty(), "it was taken over");
                }
            })
        };
        let reader = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for limit in 1..=3 {
                    mailbox.post(|letters| letters.advertise = letters.advertise.max(limit));
                }
                mailbox.post(|letters| letters.consumed = Some(9));
            })
        };
        let timer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.post(|letters| letters.expired = true))
        };
        let (mut received, mut eliciting, mut max_data) = (Vec::new(), 0, 0);
        let (mut advertise, mut consumed, mut expired) = (0, None, false);
        let mut letters = Letters::default();
        while received.len() < PACKETS as usize || consumed.is_none() || !expired {
            doorbell.recv().expect("the mailbox lives");
            mailbox.take(&mut letters);
            received.extend(letters.update.received.iter().flatten());
            eliciting += letters.update.ack_eliciting;
            max_data = max_data.max(letters.update.max_data);
            advertise = advertise.max(letters.advertise);
            consumed = consumed.or(letters.consumed);
            expired |= letters.expired;
            letters = Letters::default();
        }
        assert_eq!(received, (0..PACKETS).collect::<Vec<_>>());
        assert_eq!((eliciting, max_data), (PACKETS, 100 + PACKETS - 1));
        assert_eq!((advertise, consumed), (3, Some(9)));
        for thread in [receiver, reader, timer] {
            thread.join().expect("told all");
        }
    });
}

/// The last words of the receiver come after all the others, so the round that has them has everything.
#[test]
fn the_round_after_the_last_merge_holds_everything() {
    explore(12, || {
        let (mailbox, doorbell) = Mailbox::new();
        let mailbox = Arc::new(mailbox);
        let receiver = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for pn in 0..PACKETS {
                    tell(&mailbox, &mut packet(pn));
                }
                let mut last = packet(PACKETS);
                last.closed = Some(close());
                tell(&mailbox, &mut last);
            })
        };
        let (mut seen, mut letters) = (0, Letters::default());
        while letters.update.closed.is_none() {
            letters = Letters::default();
            doorbell.recv().expect("the mailbox lives");
            mailbox.take(&mut letters);
            seen += letters.update.ack_eliciting;
        }
        assert_eq!(seen, PACKETS + 1);
        assert!(doorbell.try_recv().is_err() || seen == PACKETS + 1);
        receiver.join().expect("told all");
    });
}

/// Plain data does not ring for every packet; what came while the sender changed its mind is judged anew.
#[test]
fn a_sender_that_wants_fewer_packets_at_once_is_rung_for_those_that_came() {
    explore(13, || {
        let (mailbox, doorbell) = Mailbox::new();
        let mailbox = Arc::new(mailbox);
        mailbox.set_look_after(100, true);
        let receiver = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for pn in 0..2 {
                    let mut update = packet(pn);
                    update.max_data = 0;
                    tell(&mailbox, &mut update);
                }
            })
        };
        let (mut seen, mut letters) = (0, Letters::default());
        loop {
            mailbox.take(&mut letters);
            seen += letters.update.ack_eliciting;
            letters = Letters::default();
            if seen == 2 {
                break;
            }
            // One packet, or two: the timer does not run, so that the first must be seen.
            mailbox.set_look_after(2, false);
            doorbell.recv().expect("the mailbox lives");
        }
        receiver.join().expect("told all");
    });
}
