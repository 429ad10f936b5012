//! The cases: who does what, beside whom, and what must come out.

use crate::bounds::Limit::{AtLeast, AtMost};
use crate::bounds::{Bound, Limit, Medians};
use crate::run::{self, Pair};
use crate::steal;
use crate::work::{Transport, Work};
use crate::{Fallible, Options, keys, table};
use std::path::Path;

/// One line of a table.
pub struct Entry {
    pub label: &'static str,
    pub transport: Transport,
    pub work: Work,
}

/// Entries that are measured in turn.
pub struct Case {
    pub name: &'static str,
    pub title: &'static str,
    pub kind: Kind,
    pub entries: Vec<Entry>,
    pub bounds: Vec<Bound>,
    /// At most so many rounds: some take long and vary little.
    max_rounds: usize,
}

/// Which columns say something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bulk,
    Ping,
    Handshakes,
    Idle,
    Fanout,
}

fn bound(what: &'static str, figure: fn(&[Medians]) -> f64, limit: Limit, stretch: Option<Limit>) -> Bound {
    Bound {
        what,
        figure,
        limit,
        stretch,
    }
}

/// Streams of the cases with many.
const MANY: u32 = 1000;
const MIB: u64 = 1 << 20;

fn all(bulk_bytes: u64) -> Vec<Case> {
    let bulk = Work::Bulk { bytes: bulk_bytes };
    let entry = |label, transport, work| Entry { label, transport, work };
    let memory = |cases: &mut Vec<Bound>| {
        let limits = || (AtMost(16.0), Some(AtMost(8.0)));
        let (limit, stretch) = limits();
        cases.push(bound(
            "memory of the sender, MiB",
            |m| m[0].client_mib.max(m[2].client_mib),
            limit,
            stretch,
        ));
        let (limit, stretch) = limits();
        cases.push(bound(
            "memory of the receiver, MiB",
            |m| m[0].server_mib.max(m[2].server_mib),
            limit,
            stretch,
        ));
    };
    let mut udp_1452 = vec![
        bound(
            "goodput, ours / quinn",
            |m| m[0].goodput / m[1].goodput,
            AtLeast(2.0),
            Some(AtLeast(2.5)),
        ),
        bound(
            "CPU of both sides for a byte, ours / quinn",
            |m| m[0].cpu_per_gb() / m[1].cpu_per_gb(),
            AtMost(0.5),
            Some(AtMost(0.4)),
        ),
    ];
    memory(&mut udp_1452);
    let mut udp = vec![bound(
        "goodput, ours / rustls over TCP",
        |m| m[0].goodput / m[1].goodput,
        AtLeast(0.8),
        Some(AtLeast(1.0)),
    )];
    memory(&mut udp);
    let mut tcp = vec![bound(
        "goodput, ours / rustls over TCP",
        |m| m[0].goodput / m[1].goodput,
        AtLeast(0.7),
        Some(AtLeast(0.9)),
    )];
    memory(&mut tcp);
    let ping = Work::Ping { count: 20_000 };
    let handshakes = Work::Handshakes {
        millis: 2000,
        at_a_time: 4,
    };
    let idle = Work::Idle {
        streams: MANY,
        millis: 10_000,
    };
    let fanout = Work::Fanout {
        streams: MANY,
        bytes: MIB,
    };
    vec![
        Case {
            name: "udp-1452",
            title: "one stream, secure, UDP, datagrams of 1,452 bytes",
            kind: Kind::Bulk,
            entries: vec![
                entry("securestream, UDP 1452", Transport::OwnedUdp1452, bulk),
                entry("quinn, tuned", Transport::Quinn, bulk),
                entry("securestream, Read and Write", Transport::OursUdp1452, bulk),
            ],
            bounds: udp_1452,
            max_rounds: usize::MAX,
        },
        Case {
            name: "udp-rustls",
            title: "one stream, secure, UDP with the MTU that it finds, beside TLS over TCP, which copies as the third row does",
            kind: Kind::Bulk,
            entries: vec![
                entry("securestream, UDP", Transport::OwnedUdp, bulk),
                entry("rustls over TCP", Transport::RustlsTcp, bulk),
                entry("securestream, Read and Write", Transport::OursUdp, bulk),
            ],
            bounds: udp,
            max_rounds: usize::MAX,
        },
        Case {
            name: "tcp-rustls",
            title: "one stream, secure, framed on TCP, beside TLS over TCP, which copies as the third row does",
            kind: Kind::Bulk,
            entries: vec![
                entry("securestream, TCP", Transport::OwnedTcp, bulk),
                entry("rustls over TCP", Transport::RustlsTcp, bulk),
                entry("securestream, Read and Write", Transport::OursTcp, bulk),
            ],
            bounds: tcp,
            max_rounds: usize::MAX,
        },
        Case {
            name: "ping",
            title: "64 bytes there and back",
            kind: Kind::Ping,
            entries: vec![
                entry("securestream, UDP", Transport::OursUdp1452, ping),
                entry("quinn, tuned", Transport::Quinn, ping),
                entry("blocking UDP, bare", Transport::RawUdp, ping),
                entry("rustls over TCP", Transport::RustlsTcp, ping),
            ],
            bounds: vec![
                bound(
                    "p50, ours / quinn",
                    |m| m[0].p50_us / m[1].p50_us,
                    AtMost(2.0),
                    Some(AtMost(1.3)),
                ),
                bound(
                    "p50, ours / bare UDP",
                    |m| m[0].p50_us / m[2].p50_us,
                    AtMost(5.0),
                    Some(AtMost(3.0)),
                ),
            ],
            max_rounds: usize::MAX,
        },
        Case {
            name: "handshakes",
            title: "handshake with RSA-3072 on both sides, one byte, close; four at a time",
            kind: Kind::Handshakes,
            entries: vec![
                entry("securestream, UDP", Transport::OursUdp, handshakes),
                entry("quinn", Transport::Quinn, handshakes),
            ],
            bounds: vec![bound(
                "per second, ours / quinn",
                |m| m[0].per_sec / m[1].per_sec,
                AtLeast(1.0),
                None,
            )],
            max_rounds: usize::MAX,
        },
        Case {
            name: "idle",
            title: "1,000 silent streams on one listener, without keep-alive",
            kind: Kind::Idle,
            entries: vec![entry("securestream, UDP", Transport::OursUdp, idle)],
            bounds: vec![
                bound("streams open at the end", |m| m[0].least_count, AtLeast(1000.0), None),
                bound(
                    "memory of the listening process, MiB",
                    |m| m[0].server_mib,
                    AtMost(150.0),
                    None,
                ),
                bound(
                    "its share of a core, percent",
                    |m| m[0].server_share * 100.0,
                    AtMost(1.0),
                    None,
                ),
            ],
            max_rounds: 1,
        },
        Case {
            name: "fanout",
            title: "1,000 streams, each sends 1 MiB at once, beside one stream with 1 GiB",
            kind: Kind::Fanout,
            entries: vec![
                entry("securestream, 1,000 x 1 MiB", Transport::OursUdp, fanout),
                entry(
                    "securestream, 1 x 1,000 MiB",
                    Transport::OursUdp,
                    Work::Bulk {
                        bytes: u64::from(MANY) * MIB,
                    },
                ),
            ],
            bounds: vec![
                bound("streams that were whole", |m| m[0].least_count, AtLeast(1000.0), None),
                bound(
                    "time, many / one",
                    |m| m[0].client_secs / m[1].client_secs,
                    AtMost(10.0),
                    Some(AtMost(3.0)),
                ),
            ],
            max_rounds: 3,
        },
        Case {
            name: "others",
            title: "one stream, the others, for orientation",
            kind: Kind::Bulk,
            entries: vec![
                entry("securestream, UDP 1452", Transport::OursUdp1452, bulk),
                entry("s2n-quic", Transport::S2n, bulk),
                entry("tokio_kcp, in clear", Transport::Kcp, bulk),
                entry("plain TCP", Transport::PlainTcp, bulk),
            ],
            bounds: Vec::new(),
            max_rounds: usize::MAX,
        },
    ]
}

pub fn names() -> Vec<&'static str> {
    all(1).iter().map(|case| case.name).collect()
}

/// Whether all that was demanded is met; without `--check` nothing is demanded.
pub fn run_all(options: &Options) -> Fallible<bool> {
    let mut cases = all(options.bulk_bytes);
    let chosen = |case: &Case| options.words.is_empty() || options.words.iter().any(|word| case.name.contains(word));
    cases.retain(chosen);
    if cases.is_empty() {
        return Err(format!("no case is called that; there are {}", names().join(", ")).into());
    }
    let folder = tempfile::tempdir()?;
    keys::make(folder.path())?;
    table::print_machine();
    let mut all_met = true;
    for case in &cases {
        let measured = measure(case, options, folder.path())?;
        let medians: Vec<Medians> = measured.iter().map(|rounds| Medians::of(rounds)).collect();
        table::print(case, &medians);
        for bound in &case.bounds {
            let (_, met, line) = bound.judge(&medians);
            println!("{line}");
            all_met &= met;
        }
        if options.json {
            println!("{}", table::json(case, &medians, &measured)?);
        }
    }
    Ok(all_met || !options.check)
}

/// Rounds of all entries, in turn, so that a busy moment of the machine meets all of them.
fn measure(case: &Case, options: &Options, keys: &Path) -> Fallible<Vec<Vec<Pair>>> {
    let mut measured = vec![Vec::new(); case.entries.len()];
    for round in 1..=options.rounds.min(case.max_rounds) {
        let pairs = calm_round(case, keys)?;
        for ((rounds, pair), entry) in measured.iter_mut().zip(pairs).zip(&case.entries) {
            if options.verbose {
                table::print_round(case, round, entry, &Medians::of(std::slice::from_ref(&pair)));
            }
            rounds.push(pair);
        }
    }
    Ok(measured)
}

/// One round of all entries, repeated while others take the processors away.
fn calm_round(case: &Case, keys: &Path) -> Fallible<Vec<Pair>> {
    steal::calmly(case.name, || {
        case.entries
            .iter()
            .map(|entry| run::run(entry.transport, entry.work, keys))
            .collect()
    })
}
