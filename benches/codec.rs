//! What the bytes of packets cost: headers, STREAM and ACK frames, written and read.
//!
//! `cargo bench --bench codec`; a word after `--` selects.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use securestream::proto::packet_builder::{Header, PacketBuilder};
use securestream::proto::send_buffer::StreamRange;
use securestream::wire::codec::{Reader, Writer};
use securestream::wire::frame::{self, Frames};
use securestream::wire::packet::{self, ConnectionId, ShortForm};
use std::hint::black_box;
use std::ops::RangeInclusive;

/// What fits an Ethernet frame with room for tunnels.
const PACKET: usize = 1452;
const TAG: usize = 16;

const HEADER: Header = Header {
    form: ShortForm::Secure,
    destination_id: ConnectionId([7; 8]),
    key_phase: false,
    tag_bytes: TAG,
};

/// A full packet of stream data. Returns its length and where the payload begins.
fn build(buffer: &mut [u8], pn: u64, data: &[u8]) -> (usize, usize) {
    let mut builder = PacketBuilder::new(buffer, &HEADER, pn, Some(pn.saturating_sub(100)));
    let offset = pn * 1400;
    let room = builder.stream_room(0, offset).expect("an empty packet has room");
    let range = StreamRange {
        offset,
        len: room as u32,
        fin: false,
    };
    builder.write_stream(0, range, |out| out.copy_from_slice(&data[..out.len()]));
    let built = builder.finish();
    (built.bytes, built.pn_offset + built.pn_bytes)
}

fn packets(c: &mut Criterion) {
    let data = [0x5a; PACKET];
    let mut buffer = [0; PACKET];
    let mut group = c.benchmark_group("packet of 1452 bytes");
    group.throughput(Throughput::Bytes(PACKET as u64));
    let mut pn = 1_000_000;
    group.bench_function("build", |b| {
        b.iter(|| {
            pn += 1;
            build(black_box(&mut buffer), pn, &data)
        });
    });
    let (bytes, payload) = build(&mut buffer, pn, &data);
    group.bench_function("parse", |b| {
        b.iter(|| {
            let packet = black_box(&buffer[..bytes]);
            let decoded = packet::decode(packet).expect("a packet");
            let frames = Frames::new(&packet[payload..bytes - TAG]).flatten().count();
            (decoded, frames)
        });
    });
    group.finish();
}

fn acks(c: &mut Criterion) {
    let mut group = c.benchmark_group("ACK");
    for ranges in [1_u64, 32] {
        // Highest first, with gaps.
        let list: Vec<RangeInclusive<u64>> = (0..ranges).rev().map(|n| n * 100..=n * 100 + 60).collect();
        let mut buffer = [0; 1200];
        group.bench_function(format!("write {ranges} ranges"), |b| {
            b.iter(|| {
                let mut writer = Writer::new(black_box(&mut buffer));
                frame::encode_ack(&mut writer, 25, list.iter().cloned(), None);
                writer.position()
            });
        });
        let mut writer = Writer::new(&mut buffer);
        frame::encode_ack(&mut writer, 25, list.iter().cloned(), None);
        let bytes = writer.position();
        group.bench_function(format!("read {ranges} ranges"), |b| {
            b.iter(|| {
                let frame = Frames::new(black_box(&buffer[..bytes])).next();
                let Some(Ok(frame::Frame::Ack(ack))) = frame else {
                    unreachable!("it was written as one")
                };
                ack.ranges().map(|range| range.end() - range.start()).sum::<u64>()
            });
        });
    }
    group.finish();
}

fn varints(c: &mut Criterion) {
    let values = [37, 15_293, 494_878_333, 151_288_809_941_952_652];
    c.bench_function("varints of all four lengths, there and back", |b| {
        b.iter_batched_ref(
            || [0; 32],
            |buffer| {
                let mut writer = Writer::new(buffer);
                for value in values {
                    writer.varint(black_box(value));
                }
                let mut reader = Reader::new(buffer);
                (0..values.len())
                    .map(|_| reader.varint().expect("written"))
                    .sum::<u64>()
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, packets, acks, varints);
criterion_main!(benches);
