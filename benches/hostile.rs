//! What a frame of a hostile peer costs: both halves, from the opened payload to the answer.
//!
//! `cargo bench --bench hostile` prints microseconds a frame; with `-- --check` it exits 1 when a figure misses its
//! bound of 20. Machines are noisy: the bound is for a release build.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tests/it/script/endpoint.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod endpoint;

use endpoint::{Endpoint, PATH, Setup, payload};
use securestream::proto::path::PathId;
use securestream::wire::codec::Writer;
use securestream::wire::frame::{Frame, Frames, encode_ack};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Microseconds a frame that `--check` allows.
const BOUND_US: f64 = 20.0;
/// Packets of an attack.
const PACKETS: u64 = 20_000;
/// Virtual time between two packets: the limit on control frames never ends the attack.
const STEP: Duration = Duration::from_millis(100);
/// Payload of a packet in bytes.
const PACKET: usize = 1200;

/// Makes the packet with this ordinal, given the numbers of all packets that came from the endpoint.
type Make = Box<dyn FnMut(u64, &[u64]) -> Vec<u8>>;

struct Attack {
    name: &'static str,
    step: Duration,
    /// Bytes in flight before it starts.
    in_flight: u64,
    /// Bytes that the application writes before each packet. Sending them is not what the attack costs, so the
    /// packets that go out are not measured then.
    writes: u64,
    paths: u64,
    make: Make,
}

fn attack(name: &'static str, make: impl FnMut(u64, &[u64]) -> Vec<u8> + 'static) -> Attack {
    Attack {
        name,
        step: STEP,
        in_flight: 0,
        writes: 0,
        paths: 1,
        make: Box::new(make),
    }
}

fn repeated(name: &'static str, frame: Frame<'static>) -> Attack {
    let fit = (PACKET / frame.encoded_bytes()).min(64);
    let packet = payload(&vec![frame; fit]);
    attack(name, move |_, _| packet.clone())
}

fn piece(offset: u64) -> Frame<'static> {
    Frame::Stream {
        channel: 0,
        offset,
        fin: false,
        data: b"x",
    }
}

fn ack(ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone) -> Vec<u8> {
    let mut bytes = vec![0; PACKET];
    let mut writer = Writer::new(&mut bytes);
    encode_ack(&mut writer, 0, ranges, None);
    let written = writer.position();
    bytes.truncate(written);
    bytes
}

fn attacks() -> Vec<Attack> {
    let gaps = |n: u64, _: &[u64]| {
        let frames: Vec<_> = (0..100).map(|k| piece(1 + (n * 100 + k) * 7919 % 200_000)).collect();
        payload(&frames)
    };
    vec![
        repeated("PING", Frame::Ping),
        repeated("MAX_DATA", Frame::MaxData { max: 1 }),
        repeated("DATA_BLOCKED", Frame::DataBlocked { limit: 1 }),
        repeated("PATH_CHALLENGE", Frame::PathChallenge([1; 8])),
        repeated("PATH_RESPONSE", Frame::PathResponse([1; 8])),
        repeated(
            "MAX_CHANNEL_DATA",
            Frame::MaxChannelData {
                channel: 0,
                max: 1 << 40,
            },
        ),
        repeated(
            "ACK_FREQUENCY",
            Frame::AckFrequency {
                sequence: 0,
                packets: 1 << 40,
                max_delay_us: 1 << 40,
            },
        ),
        repeated("STOP", Frame::Stop { channel: 0, code: 1 }),
        repeated(
            "RESET",
            Frame::Reset {
                channel: 0,
                code: 1,
                final_size: 9,
            },
        ),
        repeated("HANDSHAKE_DONE", Frame::HandshakeDone),
        repeated("the same byte", piece(0)),
        attack("single PING", |_, _| payload(&[Frame::Ping])),
        Attack {
            paths: 97,
            ..attack("PATH_CHALLENGE from many paths", |_, _| {
                payload(&[Frame::PathChallenge([1; 8])])
            })
        },
        Attack {
            step: Duration::from_micros(10),
            ..attack("one byte in each of 1024 gaps", gaps)
        },
        Attack {
            step: Duration::from_micros(10),
            in_flight: 1 << 20,
            ..attack("ACK of 32 ranges, nothing new", |_, sent| {
                ack(sent[..64].iter().rev().step_by(2).map(|pn| *pn..=*pn))
            })
        },
        Attack {
            step: Duration::from_millis(1),
            writes: 64 * 1000,
            ..attack("ACK of 32 ranges, each a hole", |_, sent| {
                // Every second of the newest: what lies between is lost.
                let ranges = sent.iter().rev().step_by(2).take(32).map(|pn| *pn..=*pn);
                ack(ranges)
            })
        },
        Attack {
            step: Duration::from_micros(10),
            ..attack("many small ACKs in a packet", |_, _| {
                ack(std::iter::once(0..=0)).repeat(100)
            })
        },
    ]
}

/// Microseconds a frame, and whether the attack was cut off.
fn measure(attack: &mut Attack) -> (f64, u64, bool) {
    let mut setup = Setup::default();
    // Where losses are caused, what is sent again must not drown what is measured.
    let window = if attack.writes > 0 { 128 << 10 } else { 64 << 20 };
    setup.config.congestion = format!("fixed:{window}");
    let mut now = Instant::now();
    let mut endpoint = Endpoint::new(&setup, now);
    endpoint.write(attack.in_flight.max(1));
    let mut sent: Vec<u64> = endpoint.step(now).iter().map(|sent| sent.pn).collect();
    now += Duration::from_millis(1);
    let (mut spent, mut frames) = (Duration::ZERO, 0);
    for pn in 0..PACKETS {
        if attack.writes > 0 {
            if endpoint.send.progress().unacked_bytes < attack.writes {
                endpoint.write(attack.writes);
            }
            sent.extend(endpoint.step(now).iter().map(|sent| sent.pn));
        }
        let packet = (attack.make)(pn, &sent);
        frames += Frames::new(&packet).count() as u64;
        let path = PathId(PATH.0 + pn % attack.paths);
        // Every other number is missing: the peer also makes our list of ranges as long as it can.
        let started = Instant::now();
        endpoint.handle_packet(now, 2 * pn, path, &packet);
        if attack.writes == 0 {
            endpoint.step(now);
        }
        spent += started.elapsed();
        if endpoint.send.ended().is_some() {
            return (spent.as_secs_f64() * 1e6 / frames as f64, frames, true);
        }
        now += attack.step;
    }
    (spent.as_secs_f64() * 1e6 / frames as f64, frames, false)
}

/// Frames that break a rule at once: each ends its connection.
fn violations() -> Vec<(&'static str, Vec<u8>)> {
    let consumed = Frame::Consumed {
        channel: 0,
        final_size: 1 << 40,
    };
    let crypto = Frame::Crypto {
        offset: 0,
        data: b"hello",
    };
    vec![
        ("far offset", payload(&[piece(1 << 61)])),
        ("CRYPTO", payload(&[crypto])),
        ("CONSUMED of what was never sent", payload(&[consumed])),
        ("ACK of what was never sent", ack(std::iter::once(0..=(1 << 62) - 1))),
        ("unknown frame", vec![0x7f, 0xff]),
    ]
}

/// Microseconds from such a frame to the close, over many connections.
fn measure_violation(packet: &[u8]) -> f64 {
    const CONNECTIONS: u32 = 2000;
    let now = Instant::now();
    let mut spent = Duration::ZERO;
    for _ in 0..CONNECTIONS {
        let mut endpoint = Endpoint::new(&Setup::default(), now);
        endpoint.write(1);
        endpoint.step(now);
        let started = Instant::now();
        endpoint.handle_packet(now, 0, PATH, packet);
        endpoint.step(now);
        spent += started.elapsed();
        assert!(endpoint.send.ended().is_some(), "it breaks a rule");
    }
    spent.as_secs_f64() * 1e6 / f64::from(CONNECTIONS)
}

fn main() -> ExitCode {
    let check = std::env::args().any(|arg| arg == "--check");
    let mut missed = false;
    for mut attack in attacks() {
        let (us, frames, ended) = measure(&mut attack);
        let end = if ended { ", then closed" } else { "" };
        println!("{:36} {us:8.3} us a frame ({frames} frames{end})", attack.name);
        missed |= us > BOUND_US;
    }
    for (name, packet) in violations() {
        let us = measure_violation(&packet);
        println!("{name:36} {us:8.3} us to the close");
        missed |= us > BOUND_US;
    }
    ExitCode::from(u8::from(check && missed))
}
