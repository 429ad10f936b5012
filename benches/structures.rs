//! What the structures on the way of a byte cost: range set, send buffer, reassembler, mailbox.
//!
//! `cargo bench --bench structures`; a word after `--` selects.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use securestream::proto::Update;
use securestream::proto::range_set::RangeSet;
use securestream::proto::reassembler::Reassembler;
use securestream::proto::send_buffer::SendBuffer;
use securestream::testing::Mailbox;
use std::hint::black_box;
use std::time::Instant;

/// Stream bytes in a packet of 1452.
const PAYLOAD: usize = 1400;
/// Packets of a round.
const PACKETS: u64 = 1000;
/// What an application writes at a time.
const CHUNK: usize = 256 * 1024;
const SEED: u64 = 7;

fn shuffled() -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..PACKETS).collect();
    numbers.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
    numbers
}

fn range_set(c: &mut Criterion) {
    let mut group = c.benchmark_group("range set");
    group.throughput(Throughput::Elements(PACKETS));
    let in_order: Vec<u64> = (0..PACKETS).collect();
    for (name, numbers) in [("in order", in_order), ("shuffled", shuffled())] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut set = RangeSet::default();
                for number in &numbers {
                    set.insert_one(black_box(*number));
                }
                set.len()
            });
        });
    }
    group.finish();
}

fn send_buffer(c: &mut Criterion) {
    let mut group = c.benchmark_group("send buffer");
    group.throughput(Throughput::Bytes(CHUNK as u64));
    let mut buffer = SendBuffer::new();
    let mut out = [0; PAYLOAD];
    let mut chunk = Some(vec![0x5a; CHUNK]);
    let mut ranges = Vec::new();
    group.bench_function("write, send and acknowledge 256 KiB", |b| {
        b.iter(|| {
            buffer.push(chunk.take().unwrap_or_else(|| vec![0x5a; CHUNK]));
            while let Some((range, _)) = buffer.next_range(PAYLOAD, u64::MAX) {
                buffer.copy_to(&range, &mut out[..range.len as usize]);
                ranges.push(range);
            }
            for range in ranges.drain(..) {
                buffer.acked(range);
            }
            chunk = buffer.poll_recycled().map(|mut chunk| {
                chunk.resize(CHUNK, 0);
                chunk
            });
        });
    });
    group.finish();
}

fn reassembler(c: &mut Criterion) {
    let mut group = c.benchmark_group("reassembler");
    group.throughput(Throughput::Bytes(PACKETS * PAYLOAD as u64));
    let payload = [0x5a; PAYLOAD];
    // The first packet is lost and comes last, as after a single loss; or everything is in disorder.
    let one_lost: Vec<u64> = (1..PACKETS).chain([0]).collect();
    for (name, numbers) in [("one lost", one_lost), ("shuffled", shuffled())] {
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                Reassembler::new,
                |reassembler| {
                    let mut delivered = 0;
                    for number in &numbers {
                        // Each opens a gap at most, and gaps are bounded.
                        let _ = reassembler.insert(number * PAYLOAD as u64, &payload);
                        while let Some(bytes) = reassembler.next_chunk(delivered).map(<[u8]>::len) {
                            delivered += bytes as u64;
                            reassembler.consume_to(delivered);
                        }
                    }
                    delivered
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn mailbox(c: &mut Criterion) {
    let mailbox = Mailbox::new();
    let mut update = Update::default();
    let now = Instant::now();
    let mut pn = 0;
    c.bench_function("mailbox: news of 45 packets, and its taking", |b| {
        b.iter(|| {
            for _ in 0..45 {
                update.received.insert_one(pn);
                pn += 1;
            }
            update.ack_eliciting += 45;
            update.largest_received = Some((pn, now));
            update.last_received = Some(now);
            mailbox.merge(&mut update);
            mailbox.take(|taken| taken.received.len())
        });
    });
}

criterion_group!(benches, range_set, send_buffer, reassembler, mailbox);
criterion_main!(benches);
