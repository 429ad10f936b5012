//! Goodput of one stream between two threads of this process, over loopback.
//!
//! `cargo bench --bench transfer_walltime` prints medians of several rounds; with `-- --check` it exits 1 when a
//! figure misses its bound. Machines are noisy: the bounds are for a release build on two cores. A share of another case is
//! taken in each round, where one runs right after the other, and its median counts; a round in which the hypervisor gave
//! processor time to others is repeated.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use securestream::identity::PrivateKey;
use securestream::trust::{Pinned, Trust};
use securestream::{Security, StreamBuilder};
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

#[allow(unreachable_pub, reason = "a module of the package beside this one")]
#[path = "peers/src/steal.rs"]
mod steal;

/// Bytes of one transfer.
const TRANSFER: u64 = 1 << 30;
/// Transfers of each kind; the median counts.
const ROUNDS: usize = 9;
/// What an application hands over at a time.
const CHUNK: usize = 256 * 1024;

/// What `--check` demands of a median.
#[derive(Clone, Copy)]
enum Bound {
    None,
    /// The share of the case with this name is shown.
    Beside(&'static str),
    /// Megabytes a second.
    AtLeast(f64),
    /// A share of the case with this name, unless that one is slow itself: then it is not the mode that limits.
    ShareOf(&'static str, f64),
}

/// Below this rate of the case that it is compared with, in megabytes a second, a share says nothing.
const COMPARABLE: f64 = 600.0;
const PLAIN_UDP: &str = "plain, UDP, 1452 bytes";
/// With the largest packets that the search finds on loopback.
const PLAIN_SEARCHED: &str = "plain, UDP";
const PLAIN_TCP: &str = "plain, TCP";

struct Case {
    name: &'static str,
    client: StreamBuilder,
    server: StreamBuilder,
    bytes: u64,
    bound: Bound,
    /// Megabytes a second of each round.
    rates: Vec<f64>,
}

impl Case {
    fn new(name: &'static str, [client, server]: [StreamBuilder; 2], bound: Bound) -> Self {
        Self {
            name,
            client,
            server,
            bytes: TRANSFER,
            bound,
            rates: Vec::new(),
        }
    }

    fn median(&self) -> f64 {
        median(self.rates.clone())
    }

    /// Of the case beside this one, in the same round.
    fn share_of(&self, other: &Case) -> f64 {
        median(
            self.rates
                .iter()
                .zip(&other.rates)
                .map(|(ours, of)| ours / of)
                .collect(),
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Both ends with keys of the size that `stream-rsagen` makes.
fn secure() -> [StreamBuilder; 2] {
    let [one, other] = [(); 2].map(|()| PrivateKey::generate(3072).expect("there is randomness"));
    let trust = |key: &PrivateKey| Trust::Pinned(Pinned::new(key.public().clone()));
    let (trust_one, trust_other) = (trust(&one), trust(&other));
    [
        StreamBuilder::new(Security::secure(one, trust_other)),
        StreamBuilder::new(Security::secure(other, trust_one)),
    ]
}

fn plain() -> [StreamBuilder; 2] {
    [(); 2].map(|()| StreamBuilder::new(Security::plain()))
}

fn main() -> io::Result<ExitCode> {
    let check = std::env::args().any(|arg| arg == "--check");
    // Words select the cases whose name holds one of them; cargo itself adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let udp = |ends: [StreamBuilder; 2]| ends.map(|end| end.udp().max_datagram(1452));
    let tcp = |ends: [StreamBuilder; 2]| ends.map(StreamBuilder::tcp);
    let one_by_one = udp(plain()).map(|end| end.gso(false));
    let mut cases = vec![
        Case::new(PLAIN_UDP, udp(plain()), Bound::AtLeast(600.0)),
        // Each packet costs AES anew, so at this size plain is well ahead. What users get by default is below.
        Case::new("secure, UDP, 1452 bytes", udp(secure()), Bound::Beside(PLAIN_UDP)),
        Case::new(PLAIN_SEARCHED, plain(), Bound::AtLeast(600.0)),
        Case::new("secure, UDP", secure(), Bound::ShareOf(PLAIN_SEARCHED, 0.8)),
        Case::new(PLAIN_TCP, tcp(plain()), Bound::None),
        Case::new("secure, TCP", tcp(secure()), Bound::ShareOf(PLAIN_TCP, 0.8)),
        Case {
            bytes: TRANSFER / 4,
            ..Case::new("plain, UDP, 1452 bytes, --no-gso", one_by_one, Bound::None)
        },
    ];
    cases.retain(|case| words.is_empty() || words.iter().any(|word| case.name.contains(word)));
    for _ in 0..ROUNDS {
        let rates = steal::calmly("transfer_walltime", || round(&cases))?;
        for (case, rate) in cases.iter_mut().zip(rates) {
            case.rates.push(rate);
        }
    }
    let mut missed = false;
    for case in &cases {
        let median = case.median();
        let mut judge = |what: String, met: bool| {
            missed |= !met;
            format!("{what}: {}", if met { "met" } else { "MISSED" })
        };
        let verdict = match case.bound {
            Bound::None => "no bound".to_string(),
            Bound::Beside(name) => match cases.iter().find(|other| other.name == name) {
                Some(of) => format!("{:.0}% of {name}, no bound", 100.0 * case.share_of(of)),
                None => "no bound".to_string(),
            },
            Bound::AtLeast(bound) => judge(format!("bound {bound:.0}"), median >= bound),
            Bound::ShareOf(name, share) => match cases.iter().find(|other| other.name == name) {
                Some(of) if of.median() >= COMPARABLE => {
                    let is = case.share_of(of);
                    judge(
                        format!("{:.0}% of {name}, bound {:.0}%", 100.0 * is, 100.0 * share),
                        is >= share,
                    )
                }
                _ => format!("not compared: {name} is below {COMPARABLE:.0} or left out"),
            },
        };
        let (min, max) = case
            .rates
            .iter()
            .fold((f64::MAX, 0.0_f64), |(min, max), rate| (min.min(*rate), max.max(*rate)));
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

/// Megabytes a second of each case, in turn, so that a busy moment of the machine meets all of them.
fn round(cases: &[Case]) -> io::Result<Vec<f64>> {
    let rate = |case: &Case| {
        let elapsed = transfer(&case.client, &case.server, case.bytes)?;
        Ok(case.bytes as f64 / elapsed.as_secs_f64() / 1e6)
    };
    cases.iter().map(rate).collect()
}

fn transfer(client: &StreamBuilder, server: &StreamBuilder, bytes: u64) -> io::Result<Duration> {
    let listener = server.bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let sender = {
        let builder = client.clone();
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
