//! Two endpoints in the middle of a transfer, and somebody between them who drops, delays, repeats, changes and makes up
//! packets.
//!
//! Plain packets have a checksum and no secret, so whoever knows CRC-32C can *forge* one that counts. Then nothing can be
//! said about what is read, but memory stays bounded and both sides come to an end. As long as nothing is forged, all of
//! it is just a bad network: both sides read exactly what was written, to the end.

use super::script::Script;
use crate::error::StreamError;
use crate::proto::Config;
use crate::proto::reassembler::PAGE_BYTES;
use crate::testing::network::origin;
use crate::testing::{Datagram, Endpoint, Node, Options};
use crate::wire::packet::{Decoded, decode};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What somebody does, at most.
const MOST_STEPS: usize = 400;
/// The time that it takes, at most: far from all time-outs that end a connection.
const MEDDLING: Duration = Duration::from_secs(5);
/// A network without faults completes every transfer in this time, or a time-out has ended it.
const PEACE: Duration = Duration::from_secs(300);
/// From one side to the other, when nobody meddles.
const DELAY: Duration = Duration::from_millis(1);
const MOST_BYTES: usize = 48 << 10;
const INITIAL_WINDOW: u64 = 16 << 10;
const MAX_WINDOW: u64 = 64 << 10;
/// Old packets that can be sent again.
const REMEMBERED: usize = 32;
/// What one side may send at one moment.
const MOST_PACKETS: usize = 200;

/// Takes the input as a script: how much is transferred, and what happens to the packets.
///
/// # Panics
/// If a promise is broken.
pub fn live_pair(input: &[u8]) {
    let mut script = Script::new(input);
    let mut pair = Pair::new(&mut script);
    pair.go();
    for _ in 0..MOST_STEPS {
        if script.is_empty() {
            break;
        }
        pair.meddle(&mut script);
        pair.go();
    }
    pair.make_peace();
}

struct Pair {
    /// Client and server.
    sides: [Side; 2],
    start: Instant,
    now: Instant,
    /// Packets of both sides, the newest last.
    old: VecDeque<Vec<u8>>,
    is_forged: bool,
}

struct Side {
    endpoint: Endpoint,
    outgoing: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    is_at_end: bool,
    /// Reads what is there at once, or only in the end.
    is_eager: bool,
    failed: Option<StreamError>,
    /// Packets that it sent, on their way.
    way: VecDeque<Datagram>,
}

impl Side {
    fn new(endpoint: Endpoint, outgoing: Vec<u8>, is_eager: bool) -> Self {
        Self {
            endpoint,
            outgoing,
            written: 0,
            read: Vec::new(),
            is_at_end: false,
            is_eager,
            failed: None,
            way: VecDeque::new(),
        }
    }

    /// An application that writes all it has, and reads all it gets.
    fn work(&mut self) {
        if self.failed.is_none() {
            self.failed = self.write().and_then(|()| self.read()).err();
        }
    }

    fn write(&mut self) -> Result<(), StreamError> {
        if self.written < self.outgoing.len() {
            self.written += self.endpoint.write(&self.outgoing[self.written..])?;
        }
        if self.written == self.outgoing.len() {
            self.endpoint.finish();
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), StreamError> {
        let mut buffer = [0; 4096];
        while self.is_eager
            && !self.is_at_end
            && let Some(n) = self.endpoint.read(&mut buffer)?
        {
            self.read.extend_from_slice(&buffer[..n]);
            self.is_at_end = n == 0;
        }
        Ok(())
    }

    fn transmit(&mut self, now: Instant, old: &mut VecDeque<Vec<u8>>) {
        let mut packets = 0;
        while let Some(datagram) = self.endpoint.poll_transmit(now) {
            packets += 1;
            assert!(packets <= MOST_PACKETS, "packets without end");
            if old.len() == REMEMBERED {
                old.pop_front();
            }
            old.push_back(datagram.bytes.clone());
            self.way.push_back(datagram);
        }
    }

    fn check_bounds(&self) {
        let stats = self.endpoint.stats();
        let (held, window) = (stats.recv_buffer_bytes, self.endpoint.window());
        assert!(
            held <= window && window <= MAX_WINDOW,
            "{held} bytes wait, the window is {window}"
        );
        let allocated = self.endpoint.reassembly_bytes();
        assert!(allocated <= MAX_WINDOW + 2 * PAGE_BYTES, "{allocated} bytes allocated");
        assert!(stats.send_buffer_bytes <= self.outgoing.len() as u64);
    }

    /// The application has all it waits for, or knows that it will not get it.
    fn is_over(&self) -> bool {
        self.failed.is_some() || self.endpoint.ended().is_some() || (self.is_at_end && self.endpoint.is_finished())
    }
}

impl Pair {
    fn new(script: &mut Script<'_>) -> Self {
        let options = Options {
            config: Config {
                initial_window: INITIAL_WINDOW,
                max_window: MAX_WINDOW,
                // Who waits for what will never come ends by the idle time-out.
                keep_alive: None,
                ..Config::default()
            },
            ..Options::default()
        };
        let seed = u64::from(script.byte());
        let mut bytes = |of: u8| {
            let bytes = script.below(MOST_BYTES);
            let byte = |at: usize| (at % 251) as u8 ^ (at / 251) as u8 ^ of;
            (0..bytes).map(byte).collect::<Vec<_>>()
        };
        let outgoing = [bytes(0x00), bytes(0xff)];
        let eager = script.byte();
        let [up, down] = outgoing;
        let start = origin();
        Self {
            sides: [
                Side::new(Endpoint::client(options.clone(), seed), up, eager & 1 == 0),
                Side::new(Endpoint::server(options, seed), down, eager & 2 == 0),
            ],
            start,
            now: start,
            old: VecDeque::new(),
            is_forged: false,
        }
    }

    /// Lets both sides do what they can do now.
    fn go(&mut self) {
        for side in &mut self.sides {
            side.work();
            side.transmit(self.now, &mut self.old);
            side.check_bounds();
        }
        if !self.is_forged {
            for (reader, writer) in [(0, 1), (1, 0)] {
                let (reader, writer) = (&self.sides[reader], &self.sides[writer]);
                assert!(writer.outgoing.starts_with(&reader.read), "bytes that were never sent");
                assert!(
                    !reader.is_at_end || reader.read.len() == writer.outgoing.len(),
                    "an early end"
                );
                let is_broken = reader.failed.is_some() || matches!(reader.endpoint.ended(), Some(Err(_)));
                assert!(!is_broken, "nothing was forged: {:?}", reader.endpoint);
            }
        }
    }

    /// One thing that somebody does.
    fn meddle(&mut self, script: &mut Script<'_>) {
        let what = script.byte();
        let from = usize::from(what >> 7);
        let to = 1 - from;
        match what & 0x0f {
            0..=3 => {
                // As it should be.
                for _ in 0..=script.byte() % 8 {
                    self.deliver_next(from, 0);
                }
            }
            4 => {
                self.sides[from].way.pop_front();
            }
            5 => {
                let way = &mut self.sides[from].way;
                let places = script.below(way.len().max(1));
                way.rotate_left(places);
            }
            6 => self.replay(to, script),
            7 => {
                // To its own sender, or the other.
                let to = usize::from(script.byte() & 1);
                self.replay(to, script);
            }
            8 | 9 => self.inject_changed(to, script, |bytes, script| {
                let at = script.below(bytes.len());
                bytes[at] ^= script.byte() | 1;
            }),
            10 => self.inject_changed(to, script, |bytes, script| bytes.truncate(script.below(bytes.len()))),
            11 => self.inject_changed(to, script, |bytes, script| {
                let more = usize::from(script.byte());
                bytes.extend_from_slice(script.take(more));
            }),
            12 => {
                let bytes = usize::from(script.byte());
                let datagram = script.take(bytes).to_vec();
                self.inject(to, datagram);
            }
            13 => {
                let until = self.now + Duration::from_millis(4 * u64::from(script.byte()));
                self.now = until.min(self.start + MEDDLING);
            }
            14 => self.inject_changed(to, script, |bytes, script| {
                let at = script.below(bytes.len());
                bytes[at] ^= script.byte() | 1;
                seal_again(bytes);
            }),
            _ => {
                // The NAT of the client has forgotten it, and the answers come to the new address.
                let path = u64::from(script.byte() % 4);
                self.deliver_next(from, path);
            }
        }
    }

    fn deliver_next(&mut self, from: usize, path: u64) {
        if let Some(mut datagram) = self.sides[from].way.pop_front() {
            // Only the address of the client can change.
            let path = if from == 0 { path } else { 0 };
            let endpoint = &mut self.sides[1 - from].endpoint;
            endpoint.handle_datagram(self.now, &mut datagram.bytes, path);
        }
    }

    fn pick(&self, script: &mut Script<'_>) -> Option<Vec<u8>> {
        let index = script.below(self.old.len().max(1));
        self.old.get(index).cloned()
    }

    fn replay(&mut self, to: usize, script: &mut Script<'_>) {
        if let Some(mut datagram) = self.pick(script) {
            self.sides[to].endpoint.handle_datagram(self.now, &mut datagram, 0);
        }
    }

    fn inject_changed(
        &mut self,
        to: usize,
        script: &mut Script<'_>,
        change: impl FnOnce(&mut Vec<u8>, &mut Script<'_>),
    ) {
        if let Some(mut datagram) = self.pick(script) {
            let before = datagram.clone();
            change(&mut datagram, script);
            if datagram != before {
                self.inject(to, datagram);
            }
        }
    }

    fn inject(&mut self, to: usize, mut datagram: Vec<u8>) {
        self.is_forged |= passes_for_real(&datagram);
        self.sides[to].endpoint.handle_datagram(self.now, &mut datagram, 0);
    }

    /// Nobody meddles any more. Both sides must come to an end, a good one if nothing was forged.
    fn make_peace(&mut self) {
        for side in &mut self.sides {
            side.is_eager = true;
        }
        self.run_until(Side::is_over);
        for side in &self.sides {
            assert!(side.is_over(), "it neither completes nor fails: {:?}", side.endpoint);
        }
        for side in &mut self.sides {
            side.endpoint.close();
        }
        self.run_until(|side| side.endpoint.is_closed());
        for side in &self.sides {
            assert!(side.endpoint.is_closed(), "it does not close: {:?}", side.endpoint);
        }
    }

    fn run_until(&mut self, is_done: impl Fn(&Side) -> bool) {
        let end = self.now + PEACE;
        loop {
            self.go();
            if self.sides.iter().all(&is_done) {
                return;
            }
            if self.sides.iter().any(|side| !side.way.is_empty()) {
                self.now += DELAY;
                for from in [0, 1] {
                    for _ in 0..self.sides[from].way.len() {
                        self.deliver_next(from, 0);
                    }
                }
                continue;
            }
            let next = self.sides.iter().filter_map(|side| side.endpoint.next_timeout()).min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => return,
            }
        }
    }
}

/// Whether an endpoint may take it for a packet of its peer: its checksum is right, or it is of the one kind that has
/// none.
fn passes_for_real(datagram: &[u8]) -> bool {
    let is_sealed = datagram
        .split_last_chunk::<4>()
        .is_some_and(|(covered, tag)| crc32c::crc32c(covered).to_be_bytes() == *tag);
    is_sealed || matches!(decode(datagram), Ok(Decoded::VersionNegotiation { .. }))
}

fn seal_again(datagram: &mut [u8]) {
    if let Some((covered, tag)) = datagram.split_last_chunk_mut::<4>() {
        *tag = crc32c::crc32c(covered).to_be_bytes();
    }
}
