//! A live stream, three threads and a real carrier, whose peer wants to hurt it: a test that went through the handshake
//! honestly, holds the keys, and then sends what it likes.
//!
//! `recovery::hostile` does the same to the core alone. Here the point is what a program sees: the right error, no
//! hang, no thread left behind, and no memory.

use super::resources::{resident_bytes, stream_threads};
use super::*;
use crate::script::{ack_payload, payload};
use securestream::crypto::engine::{Mode, Sealer, Side};
use securestream::crypto::plain::PlainMode;
use securestream::subsystem::{Batch, Halves, PathId, Sent};
use securestream::testing::{Endpoint, Node, Options};
use securestream::wire::codec::Writer;
use securestream::wire::frame::{Frame, Frames, close_code};
use securestream::wire::packet::{self, ConnectionId, Decoded, PLAIN_TAG_BYTES, ShortForm};
use std::io::{Read, Write};

const SHORT_PN_OFFSET: usize = 9;
const PN_BYTES: usize = 4;
/// How long the attacker listens before it goes on.
const LOOK: Duration = Duration::from_millis(20);

/// The peer of the stream under attack.
struct Attacker {
    halves: Halves,
    path: PathId,
    sealer: Box<dyn Sealer>,
    /// How the victim wants to be called.
    victim: ConnectionId,
    next_pn: u64,
    /// Packet numbers of the victim.
    seen: Vec<u64>,
    /// What the victim closed with.
    closed: Option<u64>,
}

impl Attacker {
    /// Shakes hands as an honest `endpoint` does, and writes the byte `x`, until the victim's id is known.
    fn new(mut endpoint: Endpoint, subsystem: impl Subsystem + 'static) -> Self {
        let mut halves = Box::new(subsystem).split().expect("split");
        let mut path = PathId::ONLY;
        let (mut known, mut wrote, start) = (None, false, Instant::now());
        let (victim, pn) = loop {
            assert!(start.elapsed() < WATCHDOG, "{endpoint:?} stays alone");
            let now = Instant::now();
            if endpoint.is_established() && !wrote {
                wrote = endpoint.write(b"x").expect("open") == 1;
            }
            while let Some(datagram) = endpoint.poll_transmit(now) {
                if let Some((id, pn, _)) = short(&datagram.bytes) {
                    known = Some((id, pn));
                }
                let sent = halves.tx.send(Batch::single(datagram.bytes.into(), path));
                assert_eq!(sent.expect("the victim listens"), Sent::Taken);
            }
            // All was acknowledged: nothing is on its way, and the victim has the handshake behind it.
            if let Some(known) = known.filter(|_| endpoint.stats().acknowledged_bytes == 1) {
                break known;
            }
            let until = endpoint.next_timeout().map_or(now + LOOK, |at| at.min(now + LOOK));
            if let Some(mut batch) = halves.rx.recv(Some(until)).expect("receive") {
                path = batch.path;
                let now = Instant::now();
                for datagram in batch.iter_mut() {
                    endpoint.handle_datagram(now, datagram, 0);
                }
            }
        };
        Self {
            halves,
            path,
            sealer: PlainMode.initial_keys(Side::Client, &victim.0).sealer,
            victim,
            next_pn: pn + 1,
            seen: Vec::new(),
            closed: None,
        }
    }

    /// A packet with this payload, sealed as it should be. `false`: the carrier takes no more.
    fn send(&mut self, payload: &[u8]) -> bool {
        let packet = self.packet(payload);
        self.send_raw(packet)
    }

    fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let pn = self.next_pn;
        self.next_pn += 1;
        let header_bytes = SHORT_PN_OFFSET + PN_BYTES;
        let mut bytes = vec![0; header_bytes + payload.len() + PLAIN_TAG_BYTES];
        let mut writer = Writer::new(&mut bytes);
        packet::encode_short(&mut writer, ShortForm::Plain, self.victim, false, pn, PN_BYTES);
        writer.bytes(payload);
        self.sealer
            .seal(pn, &mut bytes, SHORT_PN_OFFSET, PN_BYTES)
            .expect("plain keys have no limit");
        bytes
    }

    fn send_raw(&mut self, packet: Vec<u8>) -> bool {
        let deadline = Some(Instant::now() + WATCHDOG);
        let taken = self.halves.tx.flush(deadline);
        taken.is_ok() && self.halves.tx.send(Batch::single(packet.into(), self.path)).is_ok()
    }

    /// Notes what the victim says, for at most `time`.
    fn listen(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while let Ok(Some(batch)) = self.halves.rx.recv(Some(deadline)) {
            for datagram in batch.iter() {
                let Some((_, pn, payload)) = short(datagram) else {
                    continue;
                };
                self.seen.push(pn);
                for frame in Frames::new(payload) {
                    if let Ok(Frame::ConnectionClose { code, .. }) = frame {
                        self.closed = Some(code);
                    }
                }
            }
            if self.closed.is_some() || Instant::now() >= deadline {
                return;
            }
        }
    }

    /// Sends these packets again and again until the victim closes; returns its code.
    fn until_closed(&mut self, mut packets: impl FnMut(u64) -> Vec<u8>) -> u64 {
        let start = Instant::now();
        let mut n = 0;
        loop {
            for _ in 0..50 {
                let packet = packets(n);
                n += 1;
                if !self.send(&packet) {
                    break;
                }
                self.listen(Duration::ZERO);
            }
            if let Some(code) = self.closed {
                return code;
            }
            assert!(start.elapsed() < WATCHDOG, "it is never too much");
            self.listen(LOOK);
        }
    }
}

/// Id, number and payload of a plain packet with a short header.
fn short(datagram: &[u8]) -> Option<(ConnectionId, u64, &[u8])> {
    let Ok(Decoded::Short(header)) = packet::decode(datagram) else {
        return None;
    };
    let pn_bytes = usize::from(datagram[0] & 3) + 1;
    let (number, rest) = datagram[header.pn_offset..].split_at(pn_bytes);
    let pn = number.iter().fold(0, |pn, byte| pn << 8 | u64::from(*byte));
    Some((header.destination_id, pn, &rest[..rest.len() - PLAIN_TAG_BYTES]))
}

/// An attacker that connected, and the accepted stream.
fn attacked_server(over: Over) -> (Attacker, Stream) {
    let endpoint = Endpoint::client(Options::default(), 1);
    let options = plain().linger(Some(Duration::ZERO));
    if over == Over::Memory {
        let (a, b) = memory::pair();
        let accepting = thread::spawn(move || options.accept_over(b).expect("accept"));
        return (Attacker::new(endpoint, a), accepting.join().expect("accepted"));
    }
    let listener = options.carrier(carrier(over)).bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("bound");
    let accepting = thread::spawn(move || listener.accept_timeout(WATCHDOG).expect("accept").0);
    let attacker = match over {
        Over::Udp => Attacker::new(endpoint, Udp::connect(addr).expect("connect")),
        _ => Attacker::new(endpoint, Tcp::connect(addr).expect("connect")),
    };
    (attacker, accepting.join().expect("accepted"))
}

/// An attacker that listened, and the stream that connected to it: over memory or UDP, for the hello of a client over
/// TCP is shorter than an [`Endpoint`] takes.
fn attacked_client(over: Over) -> (Attacker, Stream) {
    let endpoint = Endpoint::server(Options::default(), 1);
    let options = plain().linger(Some(Duration::ZERO));
    if over == Over::Memory {
        let (a, b) = memory::pair();
        let connecting = thread::spawn(move || options.connect_over(b).expect("connect"));
        return (Attacker::new(endpoint, a), connecting.join().expect("connected"));
    }
    let bound = Udp::bind("127.0.0.1:0").expect("bind");
    let addr = bound.local_addr().expect("bound");
    let connecting = thread::spawn(move || options.connect(addr).expect("connect"));
    (Attacker::new(endpoint, bound), connecting.join().expect("connected"))
}

fn piece(offset: u64, data: &[u8], fin: bool) -> Frame<'_> {
    Frame::Stream {
        channel: 0,
        offset,
        fin,
        data,
    }
}

fn reset(final_size: u64) -> Frame<'static> {
    Frame::Reset {
        channel: 0,
        code: 1,
        final_size,
    }
}

/// What breaks a rule at once: a name, the packets, and the code of the close.
fn violations() -> Vec<(&'static str, Vec<Vec<u8>>, u64)> {
    use close_code::{CRYPTO_BUFFER_EXCEEDED, FINAL_SIZE, FLOW_CONTROL, FRAME_ENCODING, PROTOCOL_VIOLATION};
    let each = |frames: &[Frame<'_>]| -> Vec<Vec<u8>> { frames.iter().map(|frame| payload(&[*frame])).collect() };
    let crypto = Frame::Crypto {
        offset: 0,
        data: b"hello again",
    };
    let other_channel = Frame::Stream {
        channel: 1,
        offset: 0,
        fin: false,
        data: b"y",
    };
    let consumed = Frame::Consumed {
        channel: 0,
        final_size: 1 << 40,
    };
    let far = |offset| each(&[piece(offset, b"far", false)]);
    // The byte at offset 0 came with the handshake.
    vec![
        ("an empty packet", vec![Vec::new()], PROTOCOL_VIOLATION),
        ("an unknown frame", vec![vec![0x7f, 0xff, 1, 2, 3]], FRAME_ENCODING),
        (
            "a frame that was cut off",
            vec![vec![0x0a, 0x00, 0x05, 0x01]],
            FRAME_ENCODING,
        ),
        ("CRYPTO after the handshake", each(&[crypto]), CRYPTO_BUFFER_EXCEEDED),
        ("DATAGRAM", each(&[Frame::Datagram(b"dear sir")]), PROTOCOL_VIOLATION),
        ("a channel that is not open", each(&[other_channel]), PROTOCOL_VIOLATION),
        ("CONSUMED of what was never sent", each(&[consumed]), PROTOCOL_VIOLATION),
        ("an offset far off", far(1 << 40), FLOW_CONTROL),
        ("the last offset of all", far((1 << 62) - 4), FLOW_CONTROL),
        (
            "two final sizes",
            each(&[piece(4, b"end", true), piece(4, b"the end", true)]),
            FINAL_SIZE,
        ),
        (
            "data behind the end",
            each(&[piece(4, b"end", true), piece(7, b"!", false)]),
            FINAL_SIZE,
        ),
        (
            "an end before data",
            each(&[piece(9, b"data", false), piece(1, b"", true)]),
            FINAL_SIZE,
        ),
        (
            "RESET below data",
            each(&[piece(9, b"data", false), reset(3)]),
            FINAL_SIZE,
        ),
        (
            "RESET beyond the end",
            each(&[piece(4, b"end", true), reset(8)]),
            FINAL_SIZE,
        ),
        ("RESET beyond the window", each(&[reset(1 << 40)]), FLOW_CONTROL),
        (
            "ACK of what was never sent",
            vec![ack_payload(&[0..=100_000], Duration::ZERO)],
            PROTOCOL_VIOLATION,
        ),
        (
            "ACK of every number",
            vec![ack_payload(&[0..=(1 << 62) - 1], Duration::ZERO)],
            PROTOCOL_VIOLATION,
        ),
    ]
}

/// Frames that are no fault, until there are too many.
fn floods() -> Vec<(&'static str, Frame<'static>)> {
    vec![
        ("PING", Frame::Ping),
        ("MAX_DATA", Frame::MaxData { max: 7 }),
        ("DATA_BLOCKED", Frame::DataBlocked { limit: 1 }),
        ("PATH_CHALLENGE", Frame::PathChallenge([7; 8])),
        ("PATH_RESPONSE", Frame::PathResponse([7; 8])),
        ("an empty STREAM", piece(0, b"", false)),
    ]
}

/// What the program with the attacked stream sees: an error that names the peer, from every call.
fn assert_violated(what: &str, victim: &Stream) {
    until("the stream has ended", || !victim.is_open());
    let error = victim.take_error().expect("asked").expect("it did not end well");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: {error}");
    assert!(
        matches!(typed(&error), StreamError::Violation { .. }),
        "{what}: {error:?}"
    );
    let error = (&*victim).read_to_end(&mut Vec::new()).expect_err("no end was seen");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: {error}");
    let error = (&*victim).write_all(b"you there?").expect_err("it is over");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: {error}");
    victim.finish(WATCHDOG).expect_err("it is over");
}

/// Breaks one rule after the other, each on a stream of its own whose reader and writer are blocked.
fn break_every_rule(over: Over, attacked: fn(Over) -> (Attacker, Stream)) {
    for (what, packets, code) in violations() {
        let (mut attacker, victim) = attacked(over);
        for packet in &packets {
            attacker.send(packet);
        }
        let start = Instant::now();
        while attacker.closed.is_none() && start.elapsed() < WATCHDOG / 4 {
            attacker.listen(LOOK);
            // The close may have been lost; whoever closes answers with it.
            attacker.send(&payload(&[Frame::Ping]));
        }
        assert_eq!(attacker.closed, Some(code), "{over:?}, {what}");
        assert_violated(what, &victim);
        drop(victim);
    }
}

on_each_carrier! {
    rules_broken_against_a_server_close_with_the_right_error => |over| {
        break_every_rule(over, attacked_server);
        let (mut attacker, victim) = attacked_server(over);
        let code = attacker.until_closed(|_| payload(&[Frame::HandshakeDone]));
        assert_eq!(code, close_code::PROTOCOL_VIOLATION);
        assert_violated("HANDSHAKE_DONE", &victim);
    };

    blocked_calls_return_when_the_peer_breaks_a_rule => |over| {
        let (mut attacker, victim) = attacked_server(over);
        let (reader, writer) = (victim.try_clone().expect("clone"), victim.try_clone().expect("clone"));
        let reading = blocked(move || (&reader).read_to_end(&mut Vec::new()));
        // The attacker acknowledges nothing, so that the buffer fills.
        let writing = blocked(move || (&writer).write_all(&vec![1; 100 << 20]));
        attacker.send(&[]);
        assert_kind(reading.join().expect("it returns").0, io::ErrorKind::InvalidData);
        assert_kind(writing.join().expect("it returns").0, io::ErrorKind::InvalidData);
    };

    floods_close => |over| {
        for (what, frame) in floods() {
            let (mut attacker, victim) = attacked_server(over);
            let packet = payload(&[frame; 40]);
            let code = attacker.until_closed(|_| packet.clone());
            assert_eq!(code, close_code::PROTOCOL_VIOLATION, "{what}");
            assert_violated(what, &victim);
        }
    };

    what_is_odd_but_allowed_harms_nobody => |over| {
        let (mut attacker, victim) = attacked_server(over);
        (&victim).write_all(b"to nobody").expect("write");
        let odd = [
            payload(&[Frame::MaxData { max: 1 << 20 }, Frame::MaxData { max: 3 }]),
            payload(&[Frame::PathResponse([9; 8])]),
            payload(&[Frame::AckFrequency { sequence: 1, packets: 1 << 60, max_delay_us: 1 << 60 }]),
            // What came before, and other bytes in its place: the first ones count.
            payload(&[piece(0, b"y", false)]),
            ack_payload(&[0..=0], Duration::from_secs(1 << 30)),
            ack_payload(&[0..=0], Duration::ZERO),
        ];
        for payload in &odd {
            assert!(attacker.send(payload));
        }
        // Reserved bits, a packet that came before, a checksum that is wrong: dropped, and counted.
        let mut reserved = attacker.packet(&payload(&[Frame::Ping]));
        reserved[0] |= 0b100;
        let before = victim.stats();
        let good = attacker.packet(&payload(&[Frame::Ping]));
        let mut bad = attacker.packet(&payload(&[Frame::Ping]));
        *bad.last_mut().expect("a checksum") ^= 1;
        for packet in [reserved, good.clone(), good, bad] {
            assert!(attacker.send_raw(packet));
        }
        assert!(attacker.send(&payload(&[piece(1, b"yz", true)])));
        let mut text = String::new();
        (&victim).read_to_string(&mut text).expect("it lives");
        assert_eq!(text, "xyz");
        let after = victim.stats();
        assert_eq!(after.replays_rejected - before.replays_rejected, 1);
        // On UDP the port drops what it cannot read before any stream hears of it.
        let dropped = after.auth_failures - before.auth_failures;
        assert!(dropped == 2 || (over == Over::Udp && dropped == 1), "{dropped}");
        assert!(victim.is_open());
    };
}

#[test]
fn rules_broken_against_a_client_close_with_the_right_error() {
    within(WATCHDOG, || {
        for over in [Over::Memory, Over::Udp] {
            break_every_rule(over, attacked_client);
        }
    });
}

/// Bytes that the attacks below may leave in RAM: queues, pools and windows. Most send two million frames.
const ALLOWANCE: u64 = 8 << 20;
const PACKETS: u64 = 20_000;

/// Makes the packet with this ordinal, given numbers of packets of the victim.
type Make = fn(u64, &[u64]) -> Vec<u8>;

/// The attacks that no rule forbids, as many packets as shall be.
fn bombs() -> Vec<(&'static str, Make)> {
    fn gaps(n: u64, _: &[u64]) -> Vec<u8> {
        let pieces: Vec<_> = (0..100)
            .map(|k| piece(2 * (n * 100 + k) % 200_000 + 2, b"z", false))
            .collect();
        payload(&pieces)
    }
    fn scattered(n: u64, _: &[u64]) -> Vec<u8> {
        let pieces: Vec<_> = (0..100)
            .map(|k| piece(2 + (n * 100 + k) * 7919 % 200_000, b"z", false))
            .collect();
        payload(&pieces)
    }
    fn old_acks(_: u64, seen: &[u64]) -> Vec<u8> {
        ack_payload(&[seen[0]..=seen[0]], Duration::ZERO).repeat(100)
    }
    fn paddings(_: u64, _: &[u64]) -> Vec<u8> {
        payload(&[Frame::Padding { bytes: 900 }])
    }
    vec![
        ("gaps", gaps),
        ("scattered bytes", scattered),
        ("old ACKs", old_acks),
        ("padding", paddings),
    ]
}

fn bomb(over: Over) {
    for (what, make) in bombs() {
        let (mut attacker, victim) = attacked_server(over);
        (&victim).write_all(b"to be acknowledged").expect("write");
        while attacker.seen.is_empty() {
            attacker.listen(LOOK);
        }
        let seen = attacker.seen.clone();
        let (before, mut most) = (resident_bytes(), 0);
        for n in 0..PACKETS {
            assert!(attacker.send(&make(n, &seen)), "{over:?}, {what}: it lives");
            attacker.listen(Duration::ZERO);
            attacker.seen.clear();
            if n % 1000 == 0 {
                most = most.max(resident_bytes());
                let stats = victim.stats();
                assert!(stats.recv_buffer_bytes <= 256 << 10, "{what}: {stats:?}");
            }
        }
        let grown = most.max(resident_bytes()).saturating_sub(before);
        println!("{over:?}, {what}: {} KiB more", grown / 1024);
        assert!(grown <= ALLOWANCE, "{over:?}, {what}: {grown} bytes");
        // It would still serve an honest peer.
        assert!(victim.is_open(), "{over:?}, {what}: {:?}", victim.take_error());
        let mut first = [0; 1];
        (&victim).read_exact(&mut first).expect("what came in order");
        assert_eq!(&first, b"x");
        victim.abort();
    }
}

#[test]
fn bombs_cost_no_memory_and_no_attack_leaves_a_thread() {
    alone(
        "stream::hostile::bombs_cost_no_memory_and_no_attack_leaves_a_thread",
        || {
            within(3 * WATCHDOG, || {
                for over in [Over::Memory, Over::Udp, Over::Tcp] {
                    bomb(over);
                    // A peer that goes on after the close, while the application leaves.
                    let (mut attacker, victim) = attacked_server(over);
                    attacker.until_closed(|_| payload(&[Frame::HandshakeDone]));
                    let leaving = thread::spawn(move || drop(victim));
                    while !leaving.is_finished() {
                        attacker.send(&payload(&[Frame::Ping]));
                        attacker.listen(Duration::ZERO);
                    }
                    leaving.join().expect("left");
                    drop(attacker);
                    until("no thread is left", || stream_threads().is_empty());
                }
            });
        },
    );
}
