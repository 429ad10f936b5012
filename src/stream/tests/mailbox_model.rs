//! The mailbox against a simple model: sets, maxima, and a bell that is pulled or not.

use crate::proto::Update;
use crate::proto::update::Close;
use crate::stream::mailbox::{Letters, Mailbox};
use crate::wire::codec::Writer;
use crate::wire::frame::{Frame, Frames, encode_ack};
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// ACK frames that are kept apart at most.
const MAX_ACKS: usize = 64;

#[derive(Clone, Debug)]
enum Step {
    /// News of the receive thread: packet numbers, how many want an acknowledgement, ACKs of so much, MAX_DATA, and
    /// whether the peer closed.
    Merge(Vec<u64>, u64, Vec<u64>, u64, bool),
    Advertise(u64),
    Expired,
    LookAfter(u64, bool),
    Take,
}

fn any_step() -> impl Strategy<Value = Step> {
    let numbers = prop::collection::vec(0u64..300, 1..6);
    let acks = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0u64..1000, 1..12)];
    let max_data = prop_oneof![3 => Just(0u64), 1 => 1u64..1000];
    prop_oneof![
        8 => (numbers, 0u64..3, acks, max_data, prop::bool::weighted(0.05))
            .prop_map(|(pns, want, acks, max, closed)| Step::Merge(pns, want, acks, max, closed)),
        1 => (0u64..1000).prop_map(Step::Advertise),
        1 => Just(Step::Expired),
        1 => (1u64..6, any::<bool>()).prop_map(|(after, runs)| Step::LookAfter(after, runs)),
        1 => Just(Step::Take),
    ]
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Model {
    received: BTreeSet<u64>,
    eliciting: u64,
    acks: VecDeque<u64>,
    max_data: u64,
    closed: bool,
    advertise: u64,
    expired: bool,
}

impl Model {
    fn is_urgent(&self, ack_after: u64, timer_runs: bool) -> bool {
        !self.acks.is_empty()
            || self.max_data > 0
            || self.closed
            || self.eliciting >= ack_after
            || (self.eliciting > 0 && !timer_runs)
    }
}

fn update(pns: &[u64], eliciting: u64, acks: &[u64], max_data: u64, closed: bool, now: Instant) -> Update {
    let mut update = Update {
        ack_eliciting: eliciting,
        last_received: Some(now),
        max_data,
        closed: closed.then(|| Close {
            code: 0,
            reason: "enough".into(),
        }),
        ..Update::default()
    };
    for pn in pns {
        update.received.insert_one(*pn);
    }
    for largest in acks {
        let mut bytes = [0; 64];
        let mut writer = Writer::new(&mut bytes);
        encode_ack(&mut writer, 0, std::iter::once(0..=*largest), None);
        let written = writer.position();
        match Frames::new(&bytes[..written]).next() {
            Some(Ok(Frame::Ack(ack))) => update.acks.push(&ack, now),
            other => panic!("not an ACK: {other:?}"),
        }
    }
    update
}

/// What the sender finds in the letters.
fn found(letters: &Letters) -> Model {
    let update = &letters.update;
    Model {
        received: update.received.iter().flatten().collect(),
        eliciting: update.ack_eliciting,
        acks: update.acks.iter().map(|(_, ranges)| *ranges[0].end()).collect(),
        max_data: update.max_data,
        closed: update.closed.is_some(),
        advertise: letters.advertise,
        expired: letters.expired,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_mailbox_does_what_its_model_does(steps in prop::collection::vec(any_step(), 1..120)) {
        let (mailbox, bell) = Mailbox::new();
        let mut model = Model::default();
        let (mut ack_after, mut timer_runs) = (1, false);
        let (mut rung, mut now) = (false, start());
        for step in steps {
            now += Duration::from_millis(1);
            match step {
                Step::Merge(pns, eliciting, acks, max_data, closed) => {
                    let mut news = update(&pns, eliciting, &acks, max_data, closed, now);
                    if mailbox.merge(&mut news) {
                        mailbox.ring();
                    }
                    prop_assert!(news.is_empty() && news.received.is_empty() && news.acks.is_empty());
                    model.received.extend(pns);
                    model.eliciting += eliciting;
                    for ack in acks {
                        if model.acks.len() == MAX_ACKS {
                            model.acks.drain(..MAX_ACKS / 2);
                        }
                        model.acks.push_back(ack);
                    }
                    model.max_data = model.max_data.max(max_data);
                    model.closed |= closed;
                    rung |= model.is_urgent(ack_after, timer_runs);
                }
                Step::Advertise(limit) => {
                    mailbox.post(|letters| letters.advertise = letters.advertise.max(limit));
                    model.advertise = model.advertise.max(limit);
                    rung = true;
                }
                Step::Expired => {
                    mailbox.post(|letters| letters.expired = true);
                    model.expired = true;
                    rung = true;
                }
                Step::LookAfter(after, runs) => {
                    mailbox.set_look_after(after, runs);
                    (ack_after, timer_runs) = (after, runs);
                    rung |= model.is_urgent(after, runs);
                }
                Step::Take => {
                    prop_assert_eq!(bell.try_recv().is_ok(), rung, "{:?}", model);
                    rung = false;
                    let mut letters = Letters::default();
                    mailbox.take(&mut letters);
                    prop_assert_eq!(found(&letters), model);
                    model = Model::default();
                }
            }
            prop_assert_eq!(!bell.is_empty(), rung, "{:?}", model);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the start of virtual time"
)]
fn start() -> Instant {
    Instant::now()
}
