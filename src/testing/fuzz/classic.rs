//! Two ends of the classic mode, and somebody between them who drops, delays, repeats, changes and makes up packets.
//!
//! These packets have neither checksum nor secret, and say not even which way they go. So once one was *forged*, nothing can
//! be said about what is read; but memory stays bounded, nothing panics, and no end wants to be called again at once and for
//! ever. As long as nothing is forged, all of it is just a bad network: both sides read what was written, in order, and
//! in the end all of it.

use super::script::Script;
use crate::classic::{Arq, CarrierEnd, Config, Endpoint, Scheme};
use crate::testing::network::origin;
use crate::wire::classic::{LENGTH_BYTES, MAX_DATA, MAX_WINDOW, Packet, frame, unframe};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What somebody does, at most.
const MOST_STEPS: usize = 400;
/// The time that it takes, at most: far from all time-outs that end a stream.
const MEDDLING: Duration = Duration::from_secs(5);
/// A network without faults completes every transfer in this time.
const PEACE: Duration = Duration::from_secs(900);
/// From one side to the other, when nobody meddles.
const DELAY: Duration = Duration::from_millis(1);
const MOST_BYTES: usize = 20_000;
/// Old packets of each side that can be sent again.
const REMEMBERED: usize = 32;
/// What one side may send at one moment: owed acknowledgements, and a window.
const MOST_PACKETS: usize = 4 * MAX_WINDOW as usize;
/// The queue, and what came before its turn.
const MOST_HELD: u64 = 2 * MAX_WINDOW as u64 * MAX_DATA as u64;

/// Takes the input as a script: what is transferred by which scheme, and what happens to the packets.
///
/// # Panics
/// If a promise is broken.
pub fn classic(input: &[u8]) {
    check_codec(input);
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

/// What can be read is written again in the same bytes, and nothing but its own length is a length.
fn check_codec(bytes: &[u8]) {
    if let Ok(packet) = Packet::decode(bytes) {
        let mut again = Vec::new();
        packet.encode(&mut again);
        assert_eq!(again, bytes);
    }
    let mut framed = bytes.to_vec();
    frame(&mut framed);
    assert_eq!(unframe(&framed), Ok(bytes));
    if let Ok(packet) = unframe(bytes) {
        assert_eq!(packet.len() + LENGTH_BYTES, bytes.len());
    }
}

struct Pair {
    sides: [Side; 2],
    start: Instant,
    now: Instant,
    is_forged: bool,
}

struct Side {
    endpoint: Endpoint,
    outgoing: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    /// Reads what is there at once, or only in the end.
    is_eager: bool,
    /// Packets that it sent, on their way.
    way: VecDeque<Vec<u8>>,
    /// Those of late, the newest last.
    old: VecDeque<Vec<u8>>,
}

impl Side {
    fn new(config: Config, now: Instant, outgoing: Vec<u8>, is_eager: bool) -> Self {
        Self {
            endpoint: Endpoint::new(config, now),
            outgoing,
            written: 0,
            read: Vec::new(),
            is_eager,
            way: VecDeque::new(),
            old: VecDeque::new(),
        }
    }

    /// An application that writes all it has, and reads all it gets.
    fn work(&mut self) {
        if self.written < self.outgoing.len() {
            // A stream that is over takes nothing, and says why.
            self.written += self.endpoint.write(&self.outgoing[self.written..]).unwrap_or(0);
            if self.written == self.outgoing.len() {
                self.endpoint.finish();
            }
        }
        let mut buffer = [0; 4096];
        while self.is_eager
            && let Ok(Some(n @ 1..)) = self.endpoint.read(&mut buffer)
        {
            self.read.extend_from_slice(&buffer[..n]);
        }
    }

    fn transmit(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        let mut packets = 0;
        while let Some(packet) = self.endpoint.poll_transmit(now) {
            packets += 1;
            assert!(packets <= MOST_PACKETS, "packets without end");
            assert!(Packet::decode(&packet).is_ok(), "we understand ourselves");
            if self.old.len() == REMEMBERED {
                self.old.pop_front();
            }
            self.old.push_back(packet.clone());
            self.way.push_back(packet);
        }
        let next = self.endpoint.next_timeout();
        assert!(next.is_none_or(|at| at > now), "it wants to be called for ever");
    }

    fn check_bounds(&self) {
        let stats = self.endpoint.stats();
        assert!(stats.recv_buffer_bytes <= MOST_HELD, "{stats:?}");
        assert!(stats.send_buffer_bytes <= self.written as u64, "{stats:?}");
        assert!(stats.read_bytes <= stats.delivered_bytes, "{stats:?}");
    }

    fn has_all_of(&self, peer: &Self) -> bool {
        self.read.len() == peer.outgoing.len() && peer.endpoint.is_acknowledged()
    }
}

impl Pair {
    fn new(script: &mut Script<'_>) -> Self {
        let scheme = Scheme::ALL[script.below(3)];
        let mut arq = Arq::new(scheme).timeout(Duration::from_millis(20 + u64::from(script.byte())));
        if scheme != Scheme::StopAndWait {
            let window = 1 + script.below(MAX_WINDOW as usize) as u32;
            arq = arq.window(window).expect("it is one");
        }
        let flags = script.byte();
        let config = Config {
            arq,
            data_bytes: [64, 116, 1000, MAX_DATA][script.below(4)],
            encrypted: flags & 1 != 0,
            reliable: flags & 2 != 0,
            ..Config::default()
        };
        let mut bytes = |of: u8| {
            let bytes = script.below(MOST_BYTES);
            let byte = |at: usize| (at % 251) as u8 ^ (at / 251) as u8 ^ of;
            (0..bytes).map(byte).collect::<Vec<_>>()
        };
        let [up, down] = [bytes(0x00), bytes(0xff)];
        let start = origin();
        Self {
            sides: [
                Side::new(config, start, up, flags & 4 == 0),
                Side::new(config, start, down, flags & 8 == 0),
            ],
            start,
            now: start,
            is_forged: false,
        }
    }

    /// Lets both sides do what they can do now.
    fn go(&mut self) {
        for side in &mut self.sides {
            side.work();
            side.transmit(self.now);
            side.check_bounds();
        }
        if !self.is_forged {
            for (reader, writer) in [(0, 1), (1, 0)] {
                let (reader, writer) = (&self.sides[reader], &self.sides[writer]);
                assert!(writer.outgoing.starts_with(&reader.read), "bytes that were never sent");
                assert!(!reader.endpoint.is_over(), "nothing was forged: {:?}", reader.endpoint);
            }
        }
    }

    /// One thing that somebody does.
    fn meddle(&mut self, script: &mut Script<'_>) {
        let what = script.byte();
        let from = usize::from(what >> 7);
        let to = 1 - from;
        match what & 0x0f {
            0..=4 => {
                // As it should be.
                for _ in 0..=script.byte() % 8 {
                    self.deliver_next(from);
                }
            }
            5 => drop(self.sides[from].way.pop_front()),
            6 => {
                let way = &mut self.sides[from].way;
                let places = script.below(way.len().max(1));
                way.rotate_left(places);
            }
            7 => {
                if let Some(packet) = self.pick(from, script) {
                    self.deliver(to, &packet);
                }
            }
            8 | 9 => {
                let until = self.now + Duration::from_millis(4 * u64::from(script.byte()));
                self.now = until.min(self.start + MEDDLING);
            }
            10 => {
                // Back to its sender.
                if let Some(packet) = self.pick(from, script) {
                    self.inject(from, &packet);
                }
            }
            11 => {
                if let Some(mut packet) = self.pick(from, script) {
                    let at = script.below(packet.len());
                    packet[at] ^= script.byte() | 1;
                    self.inject(to, &packet);
                }
            }
            12 => {
                // Any numbers, at the edges of their ranges too.
                let mut number = || match script.byte() {
                    n @ 0..200 => u32::from(n) % 24,
                    n => (i32::MAX as u32) - u32::from(255 - n),
                };
                let (read_offset, write_offset) = (number(), number());
                let recv_window_size = u32::from(script.byte()) % (MAX_WINDOW + 1);
                let mut packet = Vec::new();
                let bytes = script.below(MAX_DATA + 1);
                Packet {
                    recv_window_size,
                    read_offset,
                    write_offset: (script.byte() < 200).then_some(write_offset),
                    data: script.take(bytes),
                }
                .encode(&mut packet);
                self.inject(to, &packet);
            }
            13 => {
                let bytes = usize::from(script.byte());
                let packet = script.take(bytes);
                check_codec(packet);
                self.inject(to, packet);
            }
            14 => {
                let bytes = usize::from(script.byte());
                self.is_forged = true;
                self.sides[to].endpoint.handle_noise(script.take(bytes));
            }
            _ => {
                // Often enough one byte decides that the connection is over: let it take two.
                if script.byte() < 32 {
                    let end = [CarrierEnd::Closed, CarrierEnd::Cut][usize::from(script.byte() & 1)];
                    self.is_forged = true;
                    self.sides[to].endpoint.handle_carrier_end(end);
                }
            }
        }
    }

    fn deliver_next(&mut self, from: usize) {
        if let Some(packet) = self.sides[from].way.pop_front() {
            self.deliver(1 - from, &packet);
        }
    }

    fn deliver(&mut self, to: usize, packet: &[u8]) {
        self.sides[to].endpoint.handle_packet(packet, self.now);
    }

    fn inject(&mut self, to: usize, packet: &[u8]) {
        self.is_forged = true;
        self.deliver(to, packet);
    }

    fn pick(&self, from: usize, script: &mut Script<'_>) -> Option<Vec<u8>> {
        let old = &self.sides[from].old;
        let index = script.below(old.len().max(1));
        old.get(index).cloned()
    }

    /// Nobody meddles any more. If nothing was forged, everything arrives.
    fn make_peace(&mut self) {
        for side in &mut self.sides {
            side.is_eager = true;
        }
        let end = self.now + PEACE;
        loop {
            self.go();
            let [one, other] = &self.sides;
            if one.has_all_of(other) && other.has_all_of(one) {
                return;
            }
            if self.sides.iter().any(|side| !side.way.is_empty()) {
                self.now += DELAY;
                for from in [0, 1] {
                    for _ in 0..self.sides[from].way.len() {
                        self.deliver_next(from);
                    }
                }
            } else if let Some(next) = self.sides.iter().filter_map(|side| side.endpoint.next_timeout()).min() {
                self.now = next;
            } else {
                break;
            }
            if self.now > end {
                break;
            }
        }
        assert!(
            self.is_forged,
            "it does not complete: {:?}",
            self.sides.each_ref().map(|side| &side.endpoint)
        );
    }
}
