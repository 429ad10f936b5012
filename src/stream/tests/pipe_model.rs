//! The pipe against a simple model: numbers, and bytes that follow from their offset.

use crate::error::StreamError;
use crate::proto::recv_half::Sink;
use crate::stream::mailbox::{Letters, Mailbox};
use crate::stream::patience::Patience;
use crate::stream::pipe::Pipe;
use crate::stream::sync::Receiver;
use crate::subsystem::Buffer;
use proptest::prelude::*;
use std::sync::Arc;

const WINDOW: u64 = 20_000;
const MAX_WINDOW: u64 = 200_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver(u64),
    Gapped(u64),
    Read(usize),
    /// Into two buffers.
    ReadVectored(usize, usize),
    ReadOwned,
    Peek(usize),
    ReadAtLeast(usize, usize),
    Trim,
    Stop,
    End,
    Reset,
    Fail,
}

fn any_step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![1usize..20, 1usize..3000, 1usize..80_000];
    prop_oneof![
        12 => prop_oneof![1u64..20, 1u64..3000, 1u64..80_000].prop_map(Step::Deliver),
        1 => (0u64..1000).prop_map(Step::Gapped),
        12 => size().prop_map(Step::Read),
        2 => (size(), size()).prop_map(|(a, b)| Step::ReadVectored(a, b)),
        3 => Just(Step::ReadOwned),
        3 => size().prop_map(Step::Peek),
        3 => (size(), prop_oneof![0usize..4, 0usize..30_000, 0usize..250_000]).prop_map(|(more, n)| Step::ReadAtLeast(n, n + more)),
        1 => Just(Step::Trim),
    ]
}

/// An end of each kind after all the rest, and what is done after it.
fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![Just(Step::Stop), Just(Step::End), Just(Step::Reset), Just(Step::Fail)];
    let part = || prop::collection::vec(any_step(), 0..40);
    let ends = prop::collection::vec((end, prop::collection::vec(any_step(), 0..8)), 1..4);
    (part(), ends).prop_map(|(mut steps, ends)| {
        for (end, after) in ends {
            steps.push(end);
            steps.extend(after);
        }
        steps
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Reset,
    Failed,
}

struct Checked {
    pipe: Pipe,
    mailbox: Mailbox,
    bell: Receiver<()>,
    delivered: u64,
    read: u64,
    gapped: u64,
    limit: u64,
    end: Option<End>,
    stopped: bool,
    /// How often the peer was told that all was read.
    consumed: u32,
}

fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn bytes(from: u64, n: u64) -> Vec<u8> {
    (from..from + n).map(byte).collect()
}

impl Checked {
    fn new() -> Self {
        let (mailbox, bell) = Mailbox::new();
        Self {
            pipe: Pipe::new(WINDOW, MAX_WINDOW, None),
            mailbox,
            bell,
            delivered: 0,
            read: 0,
            gapped: 0,
            limit: WINDOW,
            end: None,
            stopped: false,
            consumed: 0,
        }
    }

    fn unread(&self) -> u64 {
        self.delivered - self.read
    }

    /// What a read that finds nothing to take must say. `None`: that nothing came.
    fn expect_nothing(&self, result: &Result<Option<usize>, StreamError>) {
        match (self.stopped, self.end) {
            (true, _) | (_, Some(End::Whole)) => assert_eq!(*result, Ok(Some(0))),
            (_, Some(End::Reset)) => assert!(matches!(result, Err(StreamError::Reset { .. })), "{result:?}"),
            (_, Some(End::Failed)) => assert!(matches!(result, Err(StreamError::Truncated { .. })), "{result:?}"),
            (_, None) => assert_eq!(*result, Ok(None)),
        }
    }

    /// Checks what a call brought that wanted `least` bytes and had room for `most`. Returns how many came.
    fn expect(&self, result: &Result<Option<usize>, StreamError>, got: &[u8], least: u64, most: u64) -> u64 {
        let enough = self.unread() >= least.max(1) || (self.unread() > 0 && self.end == Some(End::Whole));
        if self.stopped || !enough {
            if !self.stopped && self.end.is_none() && least == 0 {
                assert_eq!(*result, Ok(Some(0)));
            } else {
                self.expect_nothing(result);
            }
            return 0;
        }
        let n = match result {
            Ok(Some(n)) => *n as u64,
            other => panic!("{} bytes are there, and it says {other:?}", self.unread()),
        };
        assert!(
            n >= least.min(self.unread()) && n <= most.min(self.unread()),
            "{n} bytes"
        );
        assert!(got[..n as usize] == bytes(self.read, n), "others than at {}", self.read);
        n
    }

    fn take(&mut self, step: Step) {
        let Self { pipe, mailbox, .. } = self;
        match step {
            Step::Deliver(n) => {
                // What the peer may send, and nothing after the end.
                let n = n.min(self.limit - self.delivered);
                if self.end.is_none() && n > 0 {
                    // Bytes that stand in the buffer of a carrier, and such that had to wait elsewhere.
                    let mut bytes = bytes(self.delivered, n);
                    let elsewhere = bytes.split_off(bytes.len() / 2);
                    let buffer = Arc::new(Buffer::from(bytes));
                    let (first, second) = buffer.split_at(buffer.len() / 3);
                    pipe.deliver((n % 3 > 0).then_some(&buffer), |sink| {
                        sink.deliver(first);
                        sink.deliver(second);
                        sink.deliver(&elsewhere);
                    });
                    self.delivered += n;
                }
            }
            Step::Gapped(n) => {
                pipe.deliver(None, |sink| sink.set_gapped(n));
                self.gapped = n;
            }
            Step::Read(n) => {
                let mut buf = vec![0; n];
                let result = pipe.read(&mut [&mut buf], Patience::None, mailbox);
                self.read += self.expect(&result, &buf, 1, n as u64);
            }
            Step::ReadVectored(a, b) => {
                let mut buf = vec![0; a + b];
                let (first, second) = buf.split_at_mut(a);
                let result = pipe.read(&mut [first, second], Patience::None, mailbox);
                self.read += self.expect(&result, &buf, 1, (a + b) as u64);
            }
            Step::ReadOwned => {
                let mut received = None;
                let result = pipe.read_owned(&mut received, Patience::None, mailbox);
                let got = received.unwrap_or_default();
                assert_eq!(got.slices().map(<[u8]>::len).sum::<usize>(), got.len());
                self.read += self.expect(&result, &got.to_vec(), 1, u64::MAX);
            }
            Step::Peek(n) => {
                let mut buf = vec![0; n];
                let result = pipe.peek(&mut buf, Patience::None, mailbox);
                self.expect(&result, &buf, 1, n as u64);
            }
            Step::ReadAtLeast(n, room) => {
                let mut buf = vec![0; room];
                let result = pipe.read_at_least(&mut buf, n, Patience::None, mailbox);
                if n as u64 > MAX_WINDOW {
                    assert!(matches!(result, Err(StreamError::Invalid { .. })), "{result:?}");
                } else {
                    // The peer may send what the call wanted. What comes after that may wait for a larger step.
                    assert!(self.pipe.limit() >= self.read + n as u64 || self.end.is_some() || self.stopped);
                    self.read += self.expect(&result, &buf, n as u64, room as u64);
                }
            }
            Step::Trim => pipe.trim(),
            Step::Stop => {
                pipe.stop();
                self.stopped = true;
            }
            Step::End => {
                pipe.deliver(None, |sink| sink.end());
                self.end.get_or_insert(End::Whole);
            }
            Step::Reset => {
                pipe.deliver(None, |sink| sink.reset(1));
                self.end.get_or_insert(End::Reset);
            }
            Step::Fail => {
                pipe.fail(|read| StreamError::Truncated { read });
                self.end.get_or_insert(End::Failed);
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let counts = self.pipe.counts();
        assert_eq!((counts.delivered, counts.read), (self.delivered, self.read));
        let unread = if self.stopped { 0 } else { self.unread() };
        assert_eq!(counts.held, unread + self.gapped);
        // The limit only grows, holds what it promised, and a move of it is told.
        let limit = self.pipe.limit();
        assert!(limit >= self.limit && limit <= self.read + MAX_WINDOW.max(WINDOW));
        let mut letters = Letters::default();
        self.mailbox.take(&mut letters);
        let told = limit > self.limit || letters.consumed.is_some();
        assert!(!told || self.bell.try_recv().is_ok(), "news without the bell");
        if limit > self.limit {
            assert_eq!(letters.advertise, limit);
        }
        if let Some(size) = letters.consumed {
            assert_eq!((size, self.end), (self.delivered, Some(End::Whole)));
            self.consumed += 1;
        }
        assert!(self.consumed <= 1, "told twice");
        self.limit = limit;
        // Whoever has read all, has left room for more.
        assert!(self.unread() > 0 || self.limit > self.delivered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_pipe_does_what_its_model_does(steps in any_steps()) {
        let mut checked = Checked::new();
        for step in steps {
            checked.take(step);
        }
    }
}

/// A wide window, read as fast as it is filled: new limits travel with acknowledgements. One that runs out is told at once.
#[test]
fn only_a_peer_that_may_run_out_of_credit_is_told_of_more_at_once() {
    const WIDE: u64 = 4 << 20;
    let (mailbox, bell) = Mailbox::new();
    let pipe = Pipe::new(WIDE, WIDE, None);
    let mut buf = vec![0; WIDE as usize];
    let mut take = |bytes: u64| {
        pipe.deliver(None, |sink| sink.deliver(&vec![0; bytes as usize]));
        let read = pipe.read(&mut [&mut buf], Patience::None, &mailbox);
        assert_eq!(read, Ok(Some(bytes as usize)));
        let mut letters = Letters::default();
        mailbox.take(&mut letters);
        (letters.advertise, bell.try_recv().is_ok())
    };
    assert_eq!(take(WIDE / 4), (WIDE + WIDE / 4, false));
    assert_eq!(take(WIDE), (2 * WIDE + WIDE / 4, true));
}

/// The window moves in steps of a part of it, so the last bytes read need not have moved it.
#[test]
fn a_read_of_both_sides_pages_leaves_the_limit_where_the_call_needed_it() {
    let mut checked = Checked::new();
    for step in [
        Step::Deliver(11_905),
        Step::Read(1),
        Step::Deliver(4_093),
        Step::ReadAtLeast(15_908, 15_997),
    ] {
        checked.take(step);
    }
}

#[test]
fn a_reader_with_pages_at_hand_reads_nothing_after_it_stopped() {
    let mut checked = Checked::new();
    for step in [
        Step::Deliver(100),
        Step::Read(10),
        Step::Stop,
        Step::Read(10),
        Step::Peek(1),
    ] {
        checked.take(step);
    }
}
