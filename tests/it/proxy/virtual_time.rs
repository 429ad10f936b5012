//! The rules over 100,000 packets in virtual time: what was asked for is what is seen.

use securestream::filter::{Chain, Direction, Measured, Packet, Spec};
use std::time::{Duration, Instant};

const PACKETS: u64 = 100_000;

/// Feeds the rules with packets of that size, one every `gap`, and says what the first of them was seen to do.
fn measured(rules: &str, seed: u64, bytes: usize, gap: Duration) -> (Measured, Duration) {
    let spec: Spec = rules.parse().expect(rules);
    let mut chain: Chain<u64> = spec.chain(seed, Direction::Upstream);
    let start = Instant::now();
    let (mut now, mut out) = (start, Vec::new());
    for number in 0..PACKETS {
        now += gap;
        let packet = Packet {
            bytes: vec![0; bytes],
            tag: number,
        };
        chain.handle(packet, now, &mut out);
        out.clear();
    }
    while let Some(at) = chain.next_timeout() {
        now = at;
        chain.poll(now, &mut out);
        out.clear();
    }
    (chain.counters().rules[0].measured, now - start)
}

/// So that a seed that is off by chance does not fail the test: of 20 seeds 95 % should agree, fewer than 16 happen once
/// in 400 tries.
fn mostly(what: &str, mut agrees: impl FnMut(u64) -> bool) {
    let good = (1..=20).filter(|seed| agrees(*seed)).count();
    assert!(good >= 16, "{what}: {good} of 20 seeds");
}

#[test]
fn loss_lies_within_its_interval() {
    for pct in [0.1, 1.0, 5.0, 30.0] {
        mostly("loss", |seed| {
            let (seen, _) = measured(&format!("loss {pct}%"), seed, 100, Duration::from_micros(10));
            assert_eq!(seen.seen, PACKETS);
            let expected = PACKETS as f64 * pct / 100.0;
            let deviation = (expected * (1.0 - pct / 100.0)).sqrt();
            (seen.dropped as f64 - expected).abs() <= 1.96 * deviation
        });
    }
    assert_eq!(measured("loss 0%", 1, 9, Duration::ZERO).0.dropped, 0);
    assert_eq!(measured("loss 100%", 1, 9, Duration::ZERO).0.dropped, PACKETS);
}

#[test]
fn bursts_have_the_length_asked_for_within_5_percent() {
    for (pct, burst) in [(5.0, 3.0), (10.0, 5.0), (20.0, 2.0)] {
        mostly("bursts", |seed| {
            let (seen, _) = measured(
                &format!("loss {pct}% burst {burst}"),
                seed,
                100,
                Duration::from_micros(10),
            );
            let mean = seen.dropped as f64 / seen.bursts as f64;
            (mean / burst - 1.0).abs() < 0.05
        });
    }
}

#[test]
fn a_rate_is_kept_within_1_percent() {
    for (rules, bits_per_sec) in [
        ("rate 10mbit limit 50p", 10e6),
        ("rate 2mbit burst 16KiB limit 64KiB", 2e6),
        ("rate 10mbit codel", 10e6),
    ] {
        // Twice as much as fits.
        let gap = Duration::from_secs_f64(1200.0 * 8.0 / bits_per_sec / 2.0);
        let (seen, elapsed) = measured(rules, 1, 1200, gap);
        let carried = (seen.seen - seen.dropped) as f64 * 1200.0 * 8.0 / elapsed.as_secs_f64();
        assert!((carried / bits_per_sec - 1.0).abs() < 0.01, "{rules}: {carried}");
    }
}

#[test]
fn delays_and_their_jitter_have_the_mean_asked_for() {
    // Far enough apart that nobody waits for the one before.
    let (seen, _) = measured("delay 40ms 10ms normal", 1, 100, Duration::from_millis(100));
    let mean = seen.hold_nanos as f64 / PACKETS as f64 / 1e6;
    assert!((mean - 40.0).abs() < 0.2, "{mean}");
    let (seen, _) = measured("delay 40ms", 1, 100, Duration::from_micros(10));
    assert_eq!(seen.hold_nanos, u128::from(PACKETS) * 40_000_000);
}
