//! The receiving half: packets in, bytes in order out; and what to say about them in every packet that leaves.
//!
//! ```text
//!   read ... | queue: in order, unread | next | early: came before their turn |
//!            '------------- ten places: nothing behind them is kept ----------'
//! ```
//!
//! The original keeps any packet that comes too early, whatever its number, so that a stranger can fill its memory. Here
//! ten places are ten places.

use super::arq::Scheme;
use crate::wire::classic::MAX_WINDOW;
use std::collections::VecDeque;

/// Acknowledgements that are owed while the carrier takes nothing. More of them would say nothing new.
const MAX_OWED: u32 = 2 * MAX_WINDOW;
/// A window that was closed is announced again when so many places are free.
const REOPENED: u32 = MAX_WINDOW / 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Receiver {
    scheme: Scheme,
    /// A window of zero cannot be said: the announced one is never below one.
    never_zero: bool,
    queue: VecDeque<Vec<u8>>,
    /// Bytes of the first packet of the queue that were read.
    read_bytes: usize,
    /// Index of the next packet in order.
    next: u32,
    /// Packets with the indices from `next + 1` on. The last place is never empty.
    early: VecDeque<Option<Vec<u8>>>,
    owed: u32,
    said_closed: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// So many bytes are in order now.
    Delivered(usize),
    /// It waits for those before it.
    Kept,
    /// It was there already.
    Duplicate,
    /// There is no place for it, or the scheme keeps nothing out of order.
    Dropped,
}

impl Receiver {
    pub(super) fn new(scheme: Scheme, never_zero: bool) -> Self {
        Self {
            scheme,
            never_zero,
            queue: VecDeque::new(),
            read_bytes: 0,
            next: 0,
            early: VecDeque::new(),
            owed: 0,
            said_closed: false,
        }
    }

    /// Takes a packet. Each is answered, whatever it is worth: the answer to an earlier copy may have been lost.
    pub(super) fn handle_packet(&mut self, index: u32, data: &[u8]) -> Verdict {
        self.owed = (self.owed + 1).min(MAX_OWED);
        if index < self.next {
            return Verdict::Duplicate;
        }
        let ahead = index - self.next;
        if ahead >= self.free() {
            return Verdict::Dropped;
        }
        if ahead == 0 {
            return Verdict::Delivered(self.deliver(data.to_vec()));
        }
        if !self.scheme.keeps_out_of_order() {
            return Verdict::Dropped;
        }
        let place = ahead as usize - 1;
        if self.early.len() <= place {
            self.early.resize(place + 1, None);
        }
        if self.early[place].is_some() {
            return Verdict::Duplicate;
        }
        self.early[place] = Some(data.to_vec());
        Verdict::Kept
    }

    /// Appends the packet, and those that waited for it. Returns their bytes.
    fn deliver(&mut self, data: Vec<u8>) -> usize {
        let mut bytes = 0;
        let mut turn = Some(data);
        while let Some(data) = turn {
            bytes += data.len();
            self.next += 1;
            if !data.is_empty() {
                self.queue.push_back(data);
            }
            turn = self.early.pop_front().flatten();
        }
        bytes
    }

    /// Reads in order; 0 if nothing is there.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> usize {
        let mut n = 0;
        while let Some(first) = self.queue.front()
            && n < buf.len()
        {
            let rest = &first[self.read_bytes..];
            let taken = rest.len().min(buf.len() - n);
            buf[n..n + taken].copy_from_slice(&rest[..taken]);
            n += taken;
            self.read_bytes += taken;
            if taken == rest.len() {
                self.queue.pop_front();
                self.read_bytes = 0;
            }
        }
        if self.said_closed && self.free() >= REOPENED {
            // Nobody has to find it out by trying.
            self.said_closed = false;
            self.owed = (self.owed + 1).min(MAX_OWED);
        }
        n
    }

    /// Takes one of the acknowledgements that are owed.
    pub(super) fn take_ack(&mut self) -> bool {
        let is_owed = self.owed > 0;
        self.owed = self.owed.saturating_sub(1);
        is_owed
    }

    /// `recv_window_size` and `read_offset` of a packet that leaves now.
    pub(super) fn announce(&mut self) -> (u32, u32) {
        let free = self.free();
        self.said_closed = free == 0;
        (free.max(u32::from(self.never_zero)), self.next)
    }

    /// Whether something is known to be missing: later packets are here.
    pub(super) fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    pub(super) fn has_bytes(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Bytes that are held, in order or not.
    pub(super) fn held_bytes(&self) -> usize {
        let early = self.early.iter().flatten().map(Vec::len);
        self.queue.iter().map(Vec::len).chain(early).sum::<usize>() - self.read_bytes
    }

    fn free(&self) -> u32 {
        MAX_WINDOW - self.queue.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn receiver(scheme: Scheme) -> Receiver {
        Receiver::new(scheme, false)
    }

    fn read(receiver: &mut Receiver) -> Vec<u8> {
        let mut buf = [0; 4096];
        let n = receiver.read(&mut buf);
        buf[..n].to_vec()
    }

    #[test]
    fn packets_come_out_in_order_and_each_is_answered() {
        let mut receiver = receiver(Scheme::SelectiveRepeat);
        assert_eq!(receiver.handle_packet(1, b"b"), Verdict::Kept);
        assert_eq!(receiver.announce(), (10, 0));
        assert_eq!(receiver.handle_packet(1, b"x"), Verdict::Duplicate);
        assert_eq!(receiver.handle_packet(3, b"d"), Verdict::Kept);
        assert!(receiver.has_gap());
        assert_eq!(receiver.handle_packet(0, b"a"), Verdict::Delivered(2));
        assert_eq!(receiver.announce(), (8, 2));
        assert_eq!(receiver.handle_packet(2, b"c"), Verdict::Delivered(2));
        assert_eq!(receiver.handle_packet(0, b"x"), Verdict::Duplicate);
        assert!(!receiver.has_gap());
        assert_eq!(read(&mut receiver), b"abcd");
        assert_eq!(receiver.announce(), (10, 4));
        assert_eq!((0..9).filter(|_| receiver.take_ack()).count(), 6);
    }

    #[test]
    fn go_back_n_and_stop_and_wait_keep_nothing_out_of_order() {
        for scheme in [Scheme::GoBackN, Scheme::StopAndWait] {
            let mut receiver = receiver(scheme);
            assert_eq!(receiver.handle_packet(1, b"b"), Verdict::Dropped);
            assert_eq!(receiver.handle_packet(0, b"a"), Verdict::Delivered(1));
            assert_eq!(receiver.announce(), (9, 1));
            assert_eq!(receiver.held_bytes(), 1);
        }
    }

    #[test]
    fn ten_places_are_ten_places() {
        let mut receiver = receiver(Scheme::SelectiveRepeat);
        for index in [10, 11, 1 << 20, 0x7fff_ffff] {
            assert_eq!(receiver.handle_packet(index, b"far"), Verdict::Dropped);
        }
        for index in (0..10).rev() {
            assert_ne!(receiver.handle_packet(index, &[index as u8]), Verdict::Dropped);
        }
        assert_eq!(receiver.announce(), (0, 10));
        assert_eq!(receiver.handle_packet(10, b"no place"), Verdict::Dropped);
        assert_eq!(receiver.held_bytes(), 10);
    }

    #[test]
    fn a_window_that_was_closed_is_announced_when_it_opens() {
        let mut receiver = receiver(Scheme::SelectiveRepeat);
        (0..10).for_each(|index| assert_eq!(receiver.handle_packet(index, b"x"), Verdict::Delivered(1)));
        while receiver.take_ack() {}
        receiver.announce();
        let mut one = [0];
        for _ in 0..4 {
            receiver.read(&mut one);
            assert!(!receiver.take_ack());
        }
        receiver.read(&mut one);
        assert!(receiver.take_ack());
        assert_eq!(receiver.announce(), (5, 10));
        receiver.read(&mut one);
        assert!(!receiver.take_ack(), "once is enough");
    }

    #[test]
    fn where_zero_cannot_be_said_one_is() {
        let mut receiver = Receiver::new(Scheme::SelectiveRepeat, true);
        (0..10).for_each(|index| assert_eq!(receiver.handle_packet(index, b"x"), Verdict::Delivered(1)));
        assert_eq!(receiver.announce(), (1, 10));
        assert_eq!(receiver.handle_packet(10, b"no place"), Verdict::Dropped);
    }

    #[test]
    fn empty_packets_count_and_take_no_place() {
        let mut receiver = receiver(Scheme::SelectiveRepeat);
        (0..30).for_each(|index| assert_eq!(receiver.handle_packet(index, b""), Verdict::Delivered(0)));
        assert_eq!(receiver.announce(), (10, 30));
        assert!(!receiver.has_bytes());
    }

    proptest! {
        #[test]
        fn whatever_comes_the_bytes_are_in_order_and_the_memory_is_bounded(
            indices in prop::collection::vec(0_u32..40, 0..300),
            reads in prop::collection::vec(any::<bool>(), 300),
            keeps: bool,
        ) {
            let scheme = if keeps { Scheme::SelectiveRepeat } else { Scheme::GoBackN };
            let mut receiver = receiver(scheme);
            let mut out = Vec::new();
            for (index, reads) in indices.into_iter().zip(reads) {
                let limit = { let (window, next) = receiver.announce(); next + window };
                let verdict = receiver.handle_packet(index, &[index as u8; 2]);
                if index >= limit {
                    prop_assert_eq!(verdict, Verdict::Dropped);
                }
                prop_assert!(receiver.held_bytes() <= 2 * MAX_WINDOW as usize);
                if reads {
                    out.extend(read(&mut receiver));
                }
            }
            out.extend(read(&mut receiver));
            let next = receiver.announce().1;
            let whole: Vec<u8> = (0..next as u8).flat_map(|index| [index; 2]).collect();
            prop_assert_eq!(out, whole);
        }
    }
}
