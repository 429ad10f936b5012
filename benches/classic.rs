//! How many packets a second textbook RSA takes: private operations by way of the primes (CRT), and public ones.
//!
//! `cargo bench --bench classic` prints operations a second; with `-- --check` it exits 1 when a figure misses its bound:
//! 1,500 private operations at 1024 bits, 250 at 2048. Machines are noisy: the bounds are for a release build.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use securestream::classic::{Builder, RawPrivate, RawPublic, build_cryptor};
use securestream::identity::{RsaPrivate, generate_classic};
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Bits, and the private operations a second that `--check` wants.
const SIZES: [(usize, f64); 2] = [(1024, 1500.0), (2048, 250.0)];
const TIME: Duration = Duration::from_millis(1500);
/// The best of some: another program may be in the way of one.
const ROUNDS: usize = 3;
const TRANSFER_BYTES: usize = 128 << 10;

/// Operations a second.
fn rate(mut operation: impl FnMut(&[u8]) -> Option<Vec<u8>>, packet: &[u8]) -> f64 {
    let once = || {
        let (began, mut count) = (Instant::now(), 0_u32);
        while began.elapsed() < TIME {
            std::hint::black_box(operation(std::hint::black_box(packet)));
            count += 1;
        }
        f64::from(count) / began.elapsed().as_secs_f64()
    };
    std::iter::repeat_with(once).take(ROUNDS).fold(0.0, f64::max)
}

/// Bytes a second of a whole transfer over loopback TCP, both ends on this machine.
fn transfer(key: &RsaPrivate) -> f64 {
    let builder = Builder::new().cryptor(build_cryptor(key, key.public()).expect("there is room"));
    let listener = builder.listen_tcp("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let began = Instant::now();
    let sender = std::thread::spawn({
        let builder = builder.clone();
        move || {
            let mut stream = builder.connect_tcp(addr).expect("it listens");
            stream.write_all(&vec![7; TRANSFER_BYTES]).expect("it takes everything");
            stream
                .finish(Duration::from_secs(100))
                .expect("it acknowledges everything");
        }
    });
    let mut stream = listener.accept(None).expect("it comes");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("it ends");
    sender.join().expect("it does not panic");
    assert_eq!(received.len(), TRANSFER_BYTES);
    TRANSFER_BYTES as f64 / began.elapsed().as_secs_f64()
}

fn main() -> ExitCode {
    let check = std::env::args().any(|arg| arg == "--check");
    let mut missed = false;
    for (bits, bound) in SIZES {
        let key = generate_classic(bits).expect("a common size");
        let packet = [&[10][..], &vec![0xa5; bits / 8 - 1]].concat();
        let private = RawPrivate::new(&key);
        let public = RawPublic::new(key.public());
        let made = rate(|packet| private.apply(packet), &packet);
        let read = rate(|packet| public.apply(packet), &packet);
        println!("{bits} bits: {made:8.0} private operations/s (bound {bound:.0}), {read:8.0} public operations/s");
        println!(
            "{bits} bits: {:8.1} kB/s over TCP, both ends here",
            transfer(&key) / 1000.0
        );
        missed |= made < bound;
    }
    ExitCode::from(u8::from(check && missed))
}
