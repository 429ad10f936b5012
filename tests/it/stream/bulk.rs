//! Much data in both directions at once, through small windows, small calls and lost packets.

use super::*;
use securestream::Finished;
use std::io::{Read, Write};
use std::sync::Mutex;

/// What each side sends.
const BYTES_EACH_WAY: u64 = 100_000_000;
/// Far beyond what it takes: some seconds.
const PATIENCE: Duration = Duration::from_secs(600);

/// One at a time: each would starve the others on few cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const SEED: u64 = 5;

/// Sizes of calls from 1 to 8191 bytes, always the same.
struct Sizes(u64);

impl Iterator for Sizes {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some(((self.0 >> 33) as usize % 8191) + 1)
    }
}

fn write_pattern(mut stream: &Stream, sender: u8, total: u64) {
    let (mut offset, mut sizes, mut buf) = (0, Sizes(sender.into()), [0; 8192]);
    while offset < total {
        let n = sizes.next().expect("endless").min((total - offset) as usize);
        pattern(sender, offset, &mut buf[..n]);
        stream.write_all(&buf[..n]).expect("write");
        offset += n as u64;
    }
}

/// Reads to the end and returns the number of bytes, all of which were right.
fn read_pattern(mut stream: &Stream, sender: u8) -> u64 {
    let (mut offset, mut sizes) = (0, Sizes(u64::from(sender) + 77));
    let (mut buf, mut expected) = ([0; 8192], [0; 8192]);
    loop {
        let n = sizes.next().expect("endless");
        let n = stream.read(&mut buf[..n]).expect("read");
        if n == 0 {
            return offset;
        }
        pattern(sender, offset, &mut expected[..n]);
        assert!(buf[..n] == expected[..n], "wrong bytes after {offset}");
        offset += n as u64;
    }
}

/// Both sides write and read at once, each from two threads on one stream.
fn both_ways(client: &Stream, server: &Stream, total: u64) {
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for (stream, own, other) in [(client, 1, 2), (server, 2, 1)] {
            scope.spawn(move || {
                write_pattern(stream, own, total);
                assert_eq!(stream.finish(WATCHDOG).expect("finish"), Finished::Consumed);
            });
            readers.push(scope.spawn(move || read_pattern(stream, other)));
        }
        for reader in readers {
            assert_eq!(reader.join().expect("the reader lives"), total);
        }
    });
}

fn lossy_duplex(over: Over) {
    let _alone = ONE_AT_A_TIME.lock();
    within(PATIENCE, move || {
        let total = BYTES_EACH_WAY;
        let options = plain().max_window(64 * 1024);
        let (client, server) = lossy_pair(over, "loss 5%", SEED, &options);
        let start = Instant::now();
        both_ways(&client, &server, total);
        let (elapsed, stats) = (start.elapsed(), client.stats());
        println!(
            "{over:?}: {total} bytes each way in {elapsed:.1?}, {:.1} MB/s each; lost {} of {} packets, {} probes",
            total as f64 / 1e6 / elapsed.as_secs_f64(),
            stats.lost_packets,
            stats.packets_sent,
            stats.probe_timeouts,
        );
        assert!(stats.lost_packets > 0, "the link was bad: {stats:?}");
    });
}

// The watchdog of `on_each_carrier` is too short for this size.
#[test]
fn both_sides_write_at_once_with_small_windows_and_loss_over_memory() {
    lossy_duplex(Over::Memory);
}

#[test]
fn both_sides_write_at_once_with_small_windows_and_loss_over_udp() {
    lossy_duplex(Over::Udp);
}

#[test]
fn both_sides_write_at_once_with_small_windows_and_loss_over_tcp() {
    lossy_duplex(Over::Tcp);
}

on_each_carrier! {
    both_sides_write_at_once_on_a_good_link => |over| {
        let _alone = ONE_AT_A_TIME.lock();
        let (client, server) = pair(over);
        both_ways(&client, &server, 20_000_000);
    };

    reordered_doubled_and_damaged_packets_change_nothing => |over| {
        // A damaged packet on a reliable carrier is a broken peer.
        let rules = match over {
            Over::Tcp => "duplicate 3%; reorder 5% 2ms",
            _ => "loss 2%; duplicate 3%; reorder 5% 2ms; corrupt 1%",
        };
        let (client, server) = lossy_pair(over, rules, SEED, &plain());
        both_ways(&client, &server, 1_000_000);
    };

    a_slow_reader_costs_no_more_than_the_window => |over| {
        const WINDOW: u64 = 128 * 1024;
        let options = plain().max_window(WINDOW);
        let (client, server) = lossy_pair(over, "loss 5%", SEED, &options);
        let total = 2_000_000;
        thread::scope(|scope| {
            scope.spawn(|| write_pattern(&client, 1, total));
            // The reader does nothing until the writer is stuck.
            until("the window is full", || server.stats().delivered_bytes >= WINDOW);
            let (mut offset, mut buf, mut expected) = (0, [0; 1000], [0; 1000]);
            while offset < total {
                let held = server.stats().recv_buffer_bytes;
                assert!(held <= WINDOW + WINDOW / 10, "holds {held} bytes");
                let n = (&server).read(&mut buf).expect("read");
                assert!(n > 0, "ends after {offset}");
                pattern(1, offset, &mut expected[..n]);
                assert!(buf[..n] == expected[..n], "wrong bytes after {offset}");
                offset += n as u64;
            }
        });
        let stats = server.stats();
        assert_eq!((stats.read_bytes, stats.recv_buffer_bytes), (total, 0));
    };
}

/// The process holds the window of a reader that does not read, and no more than a tenth beyond it.
#[test]
fn the_memory_of_a_slow_reader_is_bounded() {
    alone("stream::bulk::the_memory_of_a_slow_reader_is_bounded", || {
        within(WATCHDOG, || {
            const WINDOW: u64 = 16 << 20;
            for over in [Over::Memory, Over::Udp, Over::Tcp] {
                // A window that starts small and would grow is not what we measure: read until it has grown.
                let options = plain().max_window(WINDOW);
                let (client, server) = pair_of(over, &options, &options);
                client.set_write_timeout(Some(Duration::from_secs(1))).expect("set");
                let before = resources::resident_bytes();
                let mut written = 0;
                let mut buf = vec![0; 64 * 1024];
                loop {
                    pattern(1, written, &mut buf);
                    match (&client).write(&buf) {
                        Ok(n) => written += n as u64,
                        Err(error) => {
                            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                            break;
                        }
                    }
                }
                let grown = resources::resident_bytes().saturating_sub(before);
                let (sender, receiver) = (client.stats(), server.stats());
                println!(
                    "{over:?}: wrote {written}, receiver holds {}, sender holds {}, process grew by {grown}",
                    receiver.recv_buffer_bytes, sender.send_buffer_bytes,
                );
                let window = receiver.delivered_bytes;
                assert!(window <= WINDOW);
                assert_eq!(receiver.recv_buffer_bytes, window);
                // Beside the window: what the sender keeps, and buffers of the carrier that do not grow with it.
                let rest = sender.send_buffer_bytes + (2 << 20);
                assert!(
                    grown <= window + window / 10 + rest,
                    "{grown} > {window} + 10 % + {rest}"
                );
                client.abort();
            }
        });
    });
}
