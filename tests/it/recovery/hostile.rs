//! A peer that wants to hurt us: what it costs us is bounded, and where a rule is broken the connection closes.
//!
//! The bounds: the reassembler holds the window and two pages; an update holds 256 ranges of received packets and 64
//! ACK frames of 32 ranges; control frames to send are one bit each; one packet of ours answers a packet of the peer,
//! and one path frame beside it.

use crate::script::{Endpoint, PATH, Setup, Time, ack_payload, origin, payload};
use proptest::prelude::*;
use securestream::proto::Ended;
use securestream::proto::path::PathId;
use securestream::proto::reassembler::PAGE_BYTES;
use securestream::wire::frame::{Frame, close_code};
use std::time::{Duration, Instant};

const MAX_RECEIVED_RANGES: usize = 256;
const MAX_ACK_FRAMES: usize = 64;
const MAX_ACK_RANGES: usize = 32;

struct Attack {
    endpoint: Endpoint,
    now: Instant,
    pn: u64,
    window: u64,
    sent_packets: u64,
}

impl Attack {
    fn new() -> Self {
        let setup = Setup::default();
        let now = origin();
        Self {
            endpoint: Endpoint::new(&setup, now),
            now,
            pn: 0,
            window: setup.config.initial_window,
            sent_packets: 0,
        }
    }

    fn send(&mut self, payload: &[u8]) {
        self.send_on(PATH, payload);
    }

    fn send_on(&mut self, path: PathId, payload: &[u8]) {
        self.endpoint.handle_packet(self.now, self.pn, path, payload);
        self.pn += 1;
        self.sent_packets += self.endpoint.step(self.now).len() as u64;
        self.check_bounds();
    }

    fn check_bounds(&self) {
        let allocated = self.endpoint.recv.allocated_bytes();
        let window = self.window.max(self.endpoint.window.window());
        assert!(allocated <= window + 2 * PAGE_BYTES, "{allocated} bytes");
        let update = self.endpoint.update();
        assert!(update.received.len() <= MAX_RECEIVED_RANGES);
        assert!(update.acks.iter().count() <= MAX_ACK_FRAMES);
        let ranges: usize = update.acks.iter().map(|(_, ranges)| ranges.len()).sum();
        assert!(ranges <= MAX_ACK_FRAMES * MAX_ACK_RANGES);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.sent_packets += self.endpoint.step(self.now).len() as u64;
    }

    fn closed_with(&self) -> Option<u64> {
        match self.endpoint.send.ended() {
            Some(Ended::Violation(close)) => Some(close.code),
            _ => None,
        }
    }
}

fn piece(offset: u64, data: &[u8]) -> Frame<'_> {
    Frame::Stream {
        channel: 0,
        offset,
        fin: false,
        data,
    }
}

#[test]
fn single_bytes_with_gaps_are_bounded_and_refused_packets_are_not_acknowledged() {
    let mut attack = Attack::new();
    for n in 0..20_000 {
        attack.send(&payload(&[piece(2 * n + 1, b"x")]));
        attack.now += 10.us();
    }
    assert!(attack.endpoint.recv.buffered_bytes() <= 1024);
    assert_eq!(attack.endpoint.send.ended(), None, "it may still be repaired");
}

#[test]
fn bytes_spread_over_the_window_cost_no_more_than_the_window() {
    let mut attack = Attack::new();
    let window = attack.window;
    for n in 0..1000 {
        attack.send(&payload(&[piece(1 + n * 257 % (window - 1), b"x")]));
    }
    assert!(attack.endpoint.recv.allocated_bytes() <= window + 2 * PAGE_BYTES);
}

#[test]
fn far_offsets_close_and_cost_nothing() {
    for offset in [1 << 20, 1 << 32, 1 << 61, (1 << 62) - 2] {
        let mut attack = Attack::new();
        attack.send(&payload(&[piece(offset, b"x")]));
        assert_eq!(attack.closed_with(), Some(close_code::FLOW_CONTROL));
        assert_eq!(attack.endpoint.recv.allocated_bytes(), 0);
    }
}

/// The same frame again and again, ten times the rate that is allowed.
fn flood(frame: &Frame<'_>) {
    let mut attack = Attack::new();
    let packet = payload(&[*frame, Frame::Padding { bytes: 4 }]);
    let mut frames = 0;
    while attack.closed_with().is_none() {
        attack.send(&packet);
        attack.now += 100.us();
        frames += 1;
        assert!(frames < 2000, "{frame:?} is never too much");
    }
    assert_eq!(attack.closed_with(), Some(close_code::PROTOCOL_VIOLATION));
    assert!(frames > 1000, "a thousand at once are allowed");
    assert!(attack.sent_packets <= 2 * frames, "{}", attack.sent_packets);
}

#[test]
fn floods_of_control_frames_close() {
    flood(&Frame::Ping);
    flood(&Frame::MaxData { max: 1 << 31 });
    flood(&Frame::MaxChannelData {
        channel: 0,
        max: 1 << 31,
    });
    flood(&Frame::DataBlocked { limit: 4 });
    flood(&Frame::PathChallenge([1; 8]));
    flood(&Frame::PathResponse([1; 8]));
    flood(&Frame::HandshakeDone);
    flood(&Frame::AckFrequency {
        sequence: 0,
        packets: 1,
        max_delay_us: 1,
    });
    flood(&Frame::Stop { channel: 0, code: 0 });
    flood(&Frame::Reset {
        channel: 0,
        code: 0,
        final_size: 9,
    });
    flood(&piece(0, b""));
}

#[test]
fn limits_that_creep_are_a_flood_too() {
    let mut attack = Attack::new();
    for n in 0..3000 {
        attack.send(&payload(&[Frame::MaxData { max: (1 << 31) + n }]));
    }
    assert_eq!(attack.closed_with(), Some(close_code::PROTOCOL_VIOLATION));
}

#[test]
fn an_honest_rate_of_control_frames_never_closes() {
    let mut attack = Attack::new();
    for n in 0..20_000u64 {
        // A limit for each quarter of a small window at full loopback speed, and 500 other frames a second.
        attack.send(&payload(&[
            Frame::MaxData { max: n * 65_536 },
            Frame::DataBlocked { limit: n * 65_536 },
        ]));
        if n % 20 == 0 {
            attack.send(&payload(&[Frame::Ping]));
        }
        attack.pass(100.us());
    }
    assert_eq!(attack.endpoint.send.ended(), None);
}

#[test]
fn acks_with_32_ranges_each_time_are_bounded() {
    let mut attack = Attack::new();
    attack.endpoint.write(16_000);
    for n in 0..200 {
        attack.endpoint.write(1000);
        attack.pass(1.ms());
        attack.send(&ack_payload(&[0..=n % 8], 0.ms()));
    }
    let comb: Vec<_> = (0..32u64).rev().map(|n| 2 * n..=2 * n).collect();
    let packet = ack_payload(&comb, 0.ms());
    // The sender does not look for a while.
    for n in 0..10_000 {
        let (now, pn) = (attack.now, attack.pn + n);
        attack.endpoint.take_packet(now, pn, PATH, &packet);
        attack.check_bounds();
    }
    let now = attack.now;
    attack.endpoint.digest(now);
}

#[test]
fn optimistic_acks_close() {
    let mut attack = Attack::new();
    attack.endpoint.write(16_000);
    attack.pass(1.ms());
    attack.send(&ack_payload(&[0..=1000], 0.ms()));
    assert_eq!(attack.closed_with(), Some(close_code::PROTOCOL_VIOLATION));
    let mut attack = Attack::new();
    attack.endpoint.write(1);
    attack.pass(1.ms());
    attack.send(&ack_payload(&[0..=(1 << 62) - 1], 0.ms()));
    assert_eq!(attack.closed_with(), Some(close_code::PROTOCOL_VIOLATION));
}

#[test]
fn a_peer_that_sends_for_ever_and_acknowledges_nothing_is_closed() {
    let mut attack = Attack::new();
    attack.endpoint.write(1);
    let mut packets = 0;
    while attack.closed_with().is_none() {
        attack.send(&payload(&[piece(packets, b"x")]));
        attack.now += 10.us();
        packets += 1;
        assert!(packets < 200_000, "what we remember of our ACKs grows");
    }
    assert_eq!(attack.closed_with(), Some(close_code::PROTOCOL_VIOLATION));
}

#[test]
fn hopping_between_paths_costs_one_slot() {
    let mut attack = Attack::new();
    for n in 0..5000 {
        attack.send_on(PathId(n % 97), &payload(&[piece(n, b"x")]));
        attack.now += 1.ms();
    }
    assert!(attack.sent_packets <= 2 * 5000);
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, 0u64..4096, 0u64..1 << 18, 0u64..1 << 62]
}

/// Any frame that the codec can write, but the far ends of the channels are rare: they close at once.
fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    let channel = prop_oneof![30 => Just(0u64), 1 => any_number()];
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    (0u8..17, channel, any_number(), any_number(), bytes, any::<bool>()).prop_map(|(kind, channel, a, b, data, fin)| {
        let code = a;
        let mut eight = [0; 8];
        eight[..data.len().min(8)].copy_from_slice(&data[..data.len().min(8)]);
        let frame = match kind {
            0 => Frame::Ping,
            1 => Frame::Padding { bytes: data.len() + 1 },
            2..=4 => Frame::Stream {
                channel,
                offset: a.min((1 << 62) - 41),
                fin: fin && b % 8 == 0,
                data: &data,
            },
            5 => Frame::MaxData { max: a },
            6 => Frame::MaxChannelData { channel, max: a },
            7 => Frame::DataBlocked { limit: a },
            8 if fin => Frame::Reset {
                channel,
                code,
                final_size: b,
            },
            9 if fin => Frame::Stop { channel, code },
            10 if fin => Frame::Consumed { channel, final_size: b },
            11 => Frame::AckFrequency {
                sequence: a,
                packets: b,
                max_delay_us: a,
            },
            12 => Frame::PathChallenge(eight),
            13 => Frame::PathResponse(eight),
            14 if fin && b % 16 == 0 => Frame::ConnectionClose { code, reason: &data },
            15 => {
                let low = a % 64;
                let ranges = [low + 2 + b % 8..=low + 2 + b % 8, low / 2..=low];
                return ack_payload(&ranges, Duration::from_micros(b % 100_000));
            }
            16 => return ack_payload(&[0..=a % 32], Duration::ZERO),
            _ => Frame::HandshakeDone,
        };
        payload(&[frame])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_valid_frames_never_panic_and_stay_within_bounds(
        packets in prop::collection::vec((any_payload(), 0u64..4, 0u64..30_000, 0u64..3), 1..200),
    ) {
        let mut attack = Attack::new();
        attack.endpoint.write(20_000);
        for (payload, path, passed_us, skipped) in packets {
            attack.pass(Duration::from_micros(passed_us));
            attack.pn += skipped;
            attack.send_on(PathId(path / 3), &payload);
            if attack.endpoint.send.ended().is_none() {
                attack.endpoint.write(100);
            }
        }
        // The close is repeated a few times before all is over.
        for _ in 0..8 {
            attack.pass(Duration::from_secs(100));
        }
        prop_assert!(attack.endpoint.send.is_closed(), "silence ends everything");
    }

    #[test]
    fn random_bytes_never_panic(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..50),
    ) {
        let mut attack = Attack::new();
        for payload in packets {
            attack.send(&payload);
        }
    }
}

#[test]
fn a_peer_that_never_acknowledges_is_left_with_a_packet_that_every_path_carries() {
    const MOST_ACKS: usize = 1 << 16;
    let mut setup = Setup::default();
    (setup.config.packet_bytes, setup.config.max_packet_bytes) = (1200, 1452);
    setup.reads = false;
    let (mut now, mut buffer, mut pn) = (origin(), [0; 1452], 0);
    let mut endpoint = Endpoint::new(&setup, now);
    let mut hear = |endpoint: &mut Endpoint, now, payload: &[u8]| {
        endpoint.handle_packet(now, pn, PATH, payload);
        pn += 1;
    };
    // Packets become as large as they may.
    endpoint.write(12_000);
    let first = endpoint.send.poll_transmit(now, &mut buffer).expect("data");
    now += 100.ms();
    hear(&mut endpoint, now, &ack_payload(&[first.pn..=first.pn], 0.ms()));
    let probe = endpoint.send.poll_mtu_probe(now, &mut buffer).expect("a search");
    now += 100.ms();
    hear(&mut endpoint, now, &ack_payload(&[probe.pn..=probe.pn], 0.ms()));
    assert_eq!(endpoint.send.packet_bytes(), 1452);
    let mut last = probe.pn;
    while let Some(sent) = endpoint.send.poll_transmit(now, &mut buffer) {
        last = sent.pn;
    }
    now += 100.ms();
    hear(&mut endpoint, now, &ack_payload(&[0..=last], 0.ms()));
    // The peer goes on sending, and says nothing of the one packet that it gets.
    endpoint.write(10);
    endpoint.send.poll_transmit(now, &mut buffer).expect("data");
    let begin = pn;
    let mut acks = 0;
    while acks < MOST_ACKS {
        for _ in 0..2 {
            let piece = Frame::Stream {
                channel: 0,
                offset: pn - begin,
                data: b"x",
                fin: false,
            };
            let bytes = payload(&[piece]);
            endpoint.handle_packet(now, pn, PATH, &bytes);
            pn += 1;
        }
        acks += usize::from(endpoint.send.poll_transmit(now, &mut buffer).is_some());
        assert_eq!(endpoint.send.ended(), None, "after {acks} acknowledgements");
    }
    endpoint.send.set_timers(now);
    // Its time is over with the probe of the time-out, which is small.
    now = endpoint.send.next_timeout().expect("data is open");
    endpoint.send.handle_timeout(now);
    let close = endpoint.send.poll_transmit(now, &mut buffer).expect("a close");
    assert!(close.bytes <= 1200, "{close:?}");
    assert!(
        matches!(endpoint.send.ended(), Some(Ended::Violation(_))),
        "{:?}",
        endpoint.send.ended()
    );
}
