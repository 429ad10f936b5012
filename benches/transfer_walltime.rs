//! Goodput of one stream between two threads of this process, over loopback.
//!
//! `cargo bench --bench transfer_walltime` prints medians of several rounds; with `-- --check` it exits 1 when a
//! figure misses its bound. Machines are noisy: the bound is for a release build on two cores.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use securestream::{Security, StreamBuilder};
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of one transfer.
const TRANSFER: u64 = 1 << 30;
/// Transfers of each kind; the median counts.
const ROUNDS: usize = 5;
/// What an application hands over at a time.
const CHUNK: usize = 256 * 1024;

struct Case {
    name: &'static str,
    builder: StreamBuilder,
    bytes: u64,
    /// Megabytes a second that `--check` demands.
    bound: Option<f64>,
}

fn main() -> io::Result<ExitCode> {
    let check = std::env::args().any(|arg| arg == "--check");
    // Words select the cases whose name holds one of them; cargo itself adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let plain = || StreamBuilder::new(Security::plain()).max_datagram(1452);
    let cases = [
        Case {
            name: "plain, UDP, 1452 bytes",
            builder: plain(),
            bytes: TRANSFER,
            bound: Some(600.0),
        },
        Case {
            name: "plain, UDP, 1452 bytes, --no-gso",
            builder: plain().gso(false),
            bytes: TRANSFER / 4,
            bound: None,
        },
        Case {
            name: "plain, TCP",
            builder: StreamBuilder::new(Security::plain()).tcp(),
            bytes: TRANSFER,
            bound: None,
        },
    ];
    let mut missed = false;
    let selected = |case: &Case| words.is_empty() || words.iter().any(|word| case.name.contains(word));
    for case in cases.into_iter().filter(selected) {
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let elapsed = transfer(&case.builder, case.bytes)?;
            rates.push(case.bytes as f64 / elapsed.as_secs_f64() / 1e6);
        }
        rates.sort_by(f64::total_cmp);
        let (median, min, max) = (rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1]);
        let verdict = match case.bound {
            None => "no bound".to_string(),
            Some(bound) if median >= bound => format!("bound {bound:.0}: met"),
            Some(bound) => {
                missed = true;
                format!("bound {bound:.0}: MISSED")
            }
        };
        println!(
            "{:34} {median:7.0} MB/s (min {min:.0}, max {max:.0}; {verdict})",
            case.name
        );
    }
    Ok(if check && missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn transfer(builder: &StreamBuilder, bytes: u64) -> io::Result<Duration> {
    let listener = builder.bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let sender = {
        let builder = builder.clone();
        thread::Builder::new()
            .name("bench-sender".into())
            .spawn(move || -> io::Result<()> {
                let mut stream = builder.connect(addr)?;
                let chunk = vec![0x5a; CHUNK];
                for _ in 0..bytes / CHUNK as u64 {
                    stream.write_all(&chunk)?;
                }
                stream.finish(Duration::from_secs(60))?;
                if std::env::var_os("BENCH_STATS").is_some() {
                    eprintln!("{:#?}", stream.stats());
                }
                Ok(())
            })?
    };
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; CHUNK];
    let start = Instant::now();
    let mut read = 0;
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        read += n as u64;
    }
    let elapsed = start.elapsed();
    if std::env::var_os("BENCH_STATS").is_some() {
        eprintln!("receiver {:#?}", stream.stats());
    }
    drop(stream);
    sender.join().map_err(|_| io::Error::other("the sender panicked"))??;
    assert_eq!(read, bytes, "every byte must arrive");
    Ok(elapsed)
}
