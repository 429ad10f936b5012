//! The sending half: bytes of the application in, numbered packets out; acknowledgements and `now` in.
//!
//! ```text
//!            base              base + sent.len()
//!   acked ... | sent, kept ...... | not sent yet (bytes)
//!             '-- `again`: to be sent again          `limit`: the peer has no place from here on
//! ```
//!
//! One timer for all schemes: it starts with the first packet under way, and again with every acknowledgement that is
//! news. When it fires, stop-and-wait and selective repeat send the oldest packet again, go-back-n all of them; and so
//! they do when a closed window opens, for what came before that found no place.

use super::arq::{Arq, Scheme};
use crate::stats::Stats;
use crate::wire::classic::{MAX_INDEX, MAX_WINDOW};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// A closed window holds the sender for that long; then it tries one packet. The original waits for up to three seconds,
/// and its receivers do not say when there is room again, so that to wait as long would mean to crawl.
const CLOSED_WINDOW_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Sender {
    arq: Arq,
    /// Bytes of a full packet.
    data_bytes: usize,
    unsent: VecDeque<u8>,
    sent: VecDeque<Sent>,
    sent_bytes: usize,
    /// Index of the oldest packet that is not acknowledged.
    base: u32,
    /// The first index that the peer has no place for, as far as it has said.
    limit: u32,
    again: Range<u32>,
    /// When packets are sent again.
    due: Option<Instant>,
    /// When a closed window is tried.
    reopen: Option<Instant>,
    /// Since when nothing that makes sense was heard, while packets are under way.
    unheard_since: Option<Instant>,
    /// What the peer asks for of late, though it has acknowledged it before.
    asked_for: Option<u32>,
    has_heard: bool,
}

#[derive(Debug)]
struct Sent {
    data: Vec<u8>,
    at: Instant,
    is_repeated: bool,
}

/// What an acknowledgement was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// It makes sense; perhaps it is news.
    Sane,
    /// Older than others, or of somebody who has lost something.
    Stale,
    /// Of packets that were never sent.
    Impossible,
}

/// Why the sender gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GaveUp {
    /// Nobody has ever answered.
    NobodyThere,
    /// Nobody answers any more.
    Silence,
    /// The peer asks for a packet that it has acknowledged, and which is gone here.
    Hole(u32),
}

impl Sender {
    pub(super) fn new(arq: Arq, data_bytes: usize) -> Self {
        Self {
            arq,
            data_bytes,
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            sent_bytes: 0,
            base: 0,
            // Every endpoint begins with an empty queue.
            limit: MAX_WINDOW,
            again: 0..0,
            due: None,
            reopen: None,
            unheard_since: None,
            asked_for: None,
            has_heard: false,
        }
    }

    /// Takes bytes of the application.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.unsent.extend(bytes);
    }

    /// Bytes that nobody has acknowledged.
    pub(super) fn held_bytes(&self) -> usize {
        self.unsent.len() + self.sent_bytes
    }

    /// The header has no number for another packet.
    pub(super) fn is_used_up(&self) -> bool {
        self.next() >= MAX_INDEX && !self.unsent.is_empty()
    }

    /// The next packet to send, if there is one now.
    pub(super) fn poll(&mut self, now: Instant, stats: &mut Stats) -> Option<(u32, &[u8])> {
        if self.due.is_some_and(|due| due <= now) {
            self.handle_timeout(now, stats);
        }
        if self.again.is_empty() {
            self.send_new(now)?;
        }
        let index = self.again.start;
        self.again.start += 1;
        let sent = &mut self.sent[(index - self.base) as usize];
        if sent.is_repeated {
            stats.retransmitted_bytes += sent.data.len() as u64;
        }
        sent.at = now;
        Some((index, &sent.data))
    }

    fn handle_timeout(&mut self, now: Instant, stats: &mut Stats) {
        stats.probe_timeouts += 1;
        self.again = self.again_from_base();
        self.due = Some(now + self.arq.timeout_after());
    }

    /// What the scheme sends again when the oldest packet is missing.
    fn again_from_base(&mut self) -> Range<u32> {
        let end = match self.arq.scheme() {
            Scheme::GoBackN => self.next(),
            Scheme::StopAndWait | Scheme::SelectiveRepeat => self.base + 1,
        };
        let again = self.base..end;
        for sent in self.sent.iter_mut().take(again.len()) {
            sent.is_repeated = true;
        }
        again
    }

    /// Makes a packet of what the application wrote, if it may go now, and has it sent.
    fn send_new(&mut self, now: Instant) -> Option<()> {
        let (under_way, next) = (self.sent.len(), self.next());
        if self.unsent.is_empty() || under_way >= self.arq.window_pkts() as usize || next >= MAX_INDEX {
            return None;
        }
        if next >= self.limit {
            // With packets under way the timer tries.
            let reopen = (under_way == 0).then(|| *self.reopen.get_or_insert(now + CLOSED_WINDOW_PAUSE))?;
            if now < reopen {
                return None;
            }
        }
        self.reopen = None;
        let bytes = self.unsent.len().min(self.data_bytes);
        self.sent_bytes += bytes;
        self.sent.push_back(Sent {
            data: self.unsent.drain(..bytes).collect(),
            at: now,
            is_repeated: false,
        });
        if under_way == 0 {
            self.due = Some(now + self.arq.timeout_after());
            self.unheard_since = Some(now);
        }
        self.again = next..next + 1;
        Some(())
    }

    /// The peer expects `read_offset` next, and has so many free places.
    pub(super) fn handle_ack(&mut self, read_offset: u32, window: u32, now: Instant, stats: &mut Stats) -> Ack {
        if read_offset > self.next() {
            return Ack::Impossible;
        }
        if read_offset < self.base {
            self.asked_for = Some(read_offset);
            return Ack::Stale;
        }
        self.has_heard = true;
        self.asked_for = None;
        let news = read_offset - self.base;
        // Packets that came while there was no place were dropped, and now there is one.
        if news == 0 && read_offset + window > self.limit && !self.sent.is_empty() {
            self.again = self.again_from_base();
        }
        self.limit = self.limit.max(read_offset + window);
        if news > 0 {
            let acked = self.sent.drain(..news as usize);
            let (mut bytes, mut rtt) = (0, None);
            for packet in acked {
                bytes += packet.data.len();
                // Karn: of a packet that was sent twice nobody knows which one is answered.
                rtt = (!packet.is_repeated).then(|| now.saturating_duration_since(packet.at));
            }
            self.sent_bytes -= bytes;
            stats.acknowledged_bytes += bytes as u64;
            if let Some(rtt) = rtt {
                note_rtt(stats, rtt);
            }
            self.base = read_offset;
            self.again.start = self.again.start.max(read_offset);
            self.due = (!self.sent.is_empty()).then(|| now + self.arq.timeout_after());
        }
        self.unheard_since = (!self.sent.is_empty()).then_some(now);
        if self.next() < self.limit {
            self.reopen = None;
        }
        Ack::Sane
    }

    /// When `poll` has something to do, if nothing comes before.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.due, self.reopen].into_iter().flatten().min()
    }

    /// When it gives up, if nothing comes before: `first` after the first packet while nobody has answered yet, and
    /// `later` after the last answer.
    pub(super) fn give_up_at(&self, first: Duration, later: Duration) -> Option<Instant> {
        let after = if self.has_heard || self.asked_for.is_some() {
            later
        } else {
            first
        };
        self.unheard_since.and_then(|since| since.checked_add(after))
    }

    /// Why, when it does.
    pub(super) fn why_give_up(&self) -> GaveUp {
        match self.asked_for {
            Some(index) => GaveUp::Hole(index),
            None if self.has_heard => GaveUp::Silence,
            None => GaveUp::NobodyThere,
        }
    }

    pub(super) fn in_flight_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// What the peer's window still allows, in packets.
    pub(super) fn allowed_pkts(&self) -> u32 {
        self.limit.saturating_sub(self.next())
    }

    /// Index of the next new packet.
    fn next(&self) -> u32 {
        self.base + self.sent.len() as u32
    }
}

/// RFC 6298, section 2.
fn note_rtt(stats: &mut Stats, rtt: Duration) {
    stats.latest_rtt = rtt;
    if stats.smoothed_rtt.is_zero() {
        (stats.smoothed_rtt, stats.rttvar, stats.min_rtt) = (rtt, rtt / 2, rtt);
        return;
    }
    stats.rttvar = (stats.rttvar * 3 + stats.smoothed_rtt.abs_diff(rtt)) / 4;
    stats.smoothed_rtt = (stats.smoothed_rtt * 7 + rtt) / 8;
    stats.min_rtt = stats.min_rtt.min(rtt);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, origin};
    use super::*;

    const DATA: usize = 4;

    struct Bench {
        sender: Sender,
        stats: Stats,
        start: Instant,
    }

    impl Bench {
        /// A sender with `packets` packets to send and a time-out of 100 ms.
        fn new(scheme: Scheme, window: u32, packets: usize) -> Self {
            let arq = Arq::new(scheme).window(window).unwrap().timeout(ms(100));
            let mut sender = Sender::new(arq, DATA);
            sender.push(&vec![7; packets * DATA]);
            Self {
                sender,
                stats: Stats::default(),
                start: origin(),
            }
        }

        /// The packets that it sends at that moment.
        fn sends(&mut self, at: u64) -> Vec<u32> {
            let now = self.start + ms(at);
            let mut sent = Vec::new();
            while let Some((index, data)) = self.sender.poll(now, &mut self.stats) {
                assert!((1..=DATA).contains(&data.len()));
                sent.push(index);
            }
            sent
        }

        fn ack(&mut self, at: u64, read_offset: u32, window: u32) -> Ack {
            let now = self.start + ms(at);
            self.sender.handle_ack(read_offset, window, now, &mut self.stats)
        }

        fn due(&self) -> Option<u64> {
            let due = self.sender.next_timeout()?;
            Some((due - self.start).as_millis() as u64)
        }
    }

    #[test]
    fn stop_and_wait_has_one_packet_under_way() {
        let mut bench = Bench::new(Scheme::StopAndWait, 1, 3);
        assert_eq!(bench.sends(0), [0]);
        assert_eq!(bench.due(), Some(100));
        assert_eq!(bench.sends(99), [0; 0]);
        assert_eq!(bench.sends(100), [0]);
        assert_eq!(bench.ack(130, 1, 10), Ack::Sane);
        assert_eq!(bench.sends(130), [1]);
        assert_eq!(bench.ack(140, 2, 10), Ack::Sane);
        assert_eq!(bench.sends(140), [2]);
        assert_eq!(bench.due(), Some(240));
        bench.ack(150, 3, 10);
        assert_eq!(
            (bench.sends(9999), bench.due(), bench.sender.held_bytes()),
            (vec![], None, 0)
        );
        assert_eq!(bench.stats.retransmitted_bytes, DATA as u64);
        assert_eq!(
            bench.stats.latest_rtt,
            ms(10),
            "no sample of the packet that was sent twice"
        );
    }

    #[test]
    fn go_back_n_sends_the_whole_window_again() {
        let mut bench = Bench::new(Scheme::GoBackN, 4, 6);
        assert_eq!(bench.sends(0), [0, 1, 2, 3]);
        bench.ack(10, 1, 10);
        assert_eq!(bench.sends(10), [4]);
        assert_eq!(bench.due(), Some(110), "news start the timer again");
        bench.ack(50, 1, 10);
        assert_eq!(bench.due(), Some(110), "repetitions do not");
        assert_eq!(bench.sends(110), [1, 2, 3, 4]);
        bench.ack(120, 3, 10);
        assert_eq!(bench.sends(120), [5]);
    }

    #[test]
    fn go_back_n_skips_what_is_acknowledged_while_it_sends_again() {
        let mut bench = Bench::new(Scheme::GoBackN, 4, 4);
        bench.sends(0);
        let now = bench.start + ms(100);
        assert_eq!(
            bench.sender.poll(now, &mut bench.stats).map(|(index, _)| index),
            Some(0)
        );
        bench.ack(100, 3, 10);
        assert_eq!(bench.sends(100), [3]);
    }

    #[test]
    fn selective_repeat_sends_only_the_oldest_again() {
        let mut bench = Bench::new(Scheme::SelectiveRepeat, 4, 8);
        assert_eq!(bench.sends(0), [0, 1, 2, 3]);
        assert_eq!(bench.sends(100), [0]);
        assert_eq!(bench.sends(200), [0]);
        // All four were there but the first.
        bench.ack(210, 4, 10);
        assert_eq!(bench.sends(210), [4, 5, 6, 7]);
        assert_eq!(bench.due(), Some(310));
    }

    #[test]
    fn the_window_of_the_peer_is_respected_and_a_closed_one_is_tried_after_a_pause() {
        let mut bench = Bench::new(Scheme::SelectiveRepeat, 10, 8);
        assert_eq!(bench.sends(0).len(), 8);
        bench.ack(1, 8, 0);
        bench.sender.push(&[1; 8 * DATA]);
        assert_eq!(bench.sends(2), [8, 9], "the first news allowed ten");
        bench.ack(3, 10, 0);
        assert_eq!(bench.sends(3), [0; 0]);
        assert_eq!(bench.due(), Some(103));
        assert_eq!(bench.sends(102), [0; 0]);
        assert_eq!(bench.sends(103), [10]);
        assert_eq!(bench.sends(203), [10], "and from then on as any packet");
        bench.ack(210, 11, 2);
        assert_eq!(bench.sends(210), [11, 12]);
        bench.ack(220, 13, 0);
        assert_eq!(bench.sends(220), [0; 0]);
        bench.ack(230, 13, 5);
        assert_eq!(bench.sends(230), [13, 14, 15], "an update opens it");
    }

    #[test]
    fn what_found_no_place_goes_again_as_soon_as_there_is_one() {
        for (scheme, again) in [
            (Scheme::SelectiveRepeat, vec![10, 12, 13]),
            (Scheme::GoBackN, vec![10, 11, 12, 13]),
        ] {
            let mut bench = Bench::new(scheme, 10, 14);
            bench.sends(0);
            bench.ack(1, 10, 2);
            assert_eq!(bench.sends(1), [10, 11]);
            bench.ack(2, 10, 0);
            assert_eq!(bench.sends(2), [0; 0]);
            bench.ack(3, 10, 10);
            assert_eq!(bench.sends(3), again);
        }
    }

    #[test]
    fn acknowledgements_that_cannot_be_change_nothing() {
        let mut bench = Bench::new(Scheme::SelectiveRepeat, 4, 8);
        bench.sends(0);
        assert_eq!(bench.ack(1, 5, 10), Ack::Impossible);
        assert_eq!(bench.ack(1, MAX_INDEX, 10), Ack::Impossible);
        bench.ack(1, 2, 10);
        assert_eq!(bench.ack(2, 1, 10), Ack::Stale);
        assert_eq!(bench.sends(3), [4, 5]);
        assert_eq!(bench.sender.held_bytes(), 6 * DATA);
    }

    #[test]
    fn it_gives_up_when_nothing_sane_is_heard_and_says_why() {
        let give_up = |bench: &Bench| {
            let at = bench.sender.give_up_at(ms(500), ms(900));
            at.map(|at| ((at - bench.start).as_millis(), bench.sender.why_give_up()))
        };
        let mut bench = Bench::new(Scheme::SelectiveRepeat, 4, 4);
        assert_eq!(give_up(&bench), None);
        bench.sends(0);
        bench.sends(100);
        assert_eq!(give_up(&bench), Some((500, GaveUp::NobodyThere)));
        bench.ack(200, 3, 10);
        assert_eq!(give_up(&bench), Some((1100, GaveUp::Silence)));
        bench.ack(300, 1, 10);
        assert_eq!(give_up(&bench), Some((1100, GaveUp::Hole(1))));
        bench.ack(310, 4, 10);
        assert_eq!(give_up(&bench), None, "nothing is under way");
    }
}
