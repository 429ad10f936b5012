//! What a listener is worth under attack: 50,000 bogus handshake packets a second, from 64 addresses, at a listener with
//! a running transfer and clients that want to connect.
//!
//! `cargo bench --bench attack` prints figures; with `-- --check` it exits 1 when one misses its bound. Attacker, clients
//! and listener share the machine, so the figures are lower than those of a server of its own.
//!
//! Clients come and go before the attack too, and then faster: during it one address begins 20 handshakes a second. So a
//! transfer in secure mode may be faster during the attack than before, for fewer signatures stand in its way.
//!
//! | figure | bound |
//! |---|---|
//! | rate of the transfer during the attack, against before | 70 % |
//! | connects within 5 s during the attack | 99 % |
//! | memory on top | 32 MiB |
//! | full handshakes a second in secure mode, both sides here | 300 |

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and starts threads"
)]

use securestream::crypto::engine::{Mode, Side};
use securestream::crypto::plain::PlainMode;
use securestream::crypto::tls::{SecureMode, SecureOptions};
use securestream::identity::PrivateKey;
use securestream::trust::{Trust, Unauthenticated};
use securestream::wire::codec::Writer;
use securestream::wire::frame::Frame;
use securestream::wire::packet::{ConnectionId, LONG_PN_BYTES, LongType, encode_long, long_header_bytes};
use securestream::{Security, Stream, StreamBuilder};
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Bogus packets a second.
const FLOOD_PER_SEC: u64 = 50_000;
/// Addresses that they come from.
const SOURCES: usize = 64;
/// Different packets of each kind.
const VARIANTS: u64 = 512;
/// Size of a client's first packet.
const INITIAL_BYTES: usize = 1200;
/// How long each thing is measured.
const MEASURED: Duration = Duration::from_secs(5);
/// A client that waits longer has given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Threads that connect, where handshakes are counted: enough that the processors are busy while some of them wait. With
/// four the figure is the latency of a handshake.
const CLIENTS: usize = 8;

const MIN_RATE_SHARE: f64 = 0.70;
const MIN_CONNECTED_SHARE: f64 = 0.99;
const MAX_MEMORY: u64 = 32 << 20;
const MIN_HANDSHAKES_PER_SEC: f64 = 300.0;

/// A first packet of a client, sealed as it should be: the keys are no secret. What it says is nonsense.
fn initial(mode: &dyn Mode, number: u64, token: &[u8]) -> Vec<u8> {
    let (to, from) = (
        ConnectionId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()),
        ConnectionId(number.to_be_bytes()),
    );
    let mut keys = mode.initial_keys(Side::Client, &to.0);
    let tag_bytes = keys.sealer.tag_bytes();
    let room = INITIAL_BYTES - long_header_bytes(LongType::Initial, token.len());
    let mut packet = vec![0; INITIAL_BYTES];
    let mut writer = Writer::new(&mut packet);
    let version = mode.version();
    let pn_offset = encode_long(&mut writer, LongType::Initial, version, to, from, token, room, 0);
    Frame::Crypto {
        offset: 0,
        data: &[1, 0, 4, 0, 7, 7, 7],
    }
    .encode(&mut writer);
    assert!(tag_bytes < room);
    keys.sealer
        .seal(0, &mut packet, pn_offset, LONG_PN_BYTES)
        .expect("fresh keys");
    packet
}

/// Garbage, first packets without a token, first packets with a bad one.
fn bogus(mode: &dyn Mode) -> Vec<Vec<u8>> {
    (0..VARIANTS)
        .flat_map(|number| {
            let mut garbage = initial(mode, number, &[]);
            for (at, byte) in garbage
                .iter_mut()
                .enumerate()
                .skip(if number % 2 == 0 { 0 } else { 26 })
            {
                *byte = (number.wrapping_mul(31) as usize + at * 7) as u8;
            }
            [
                garbage,
                initial(mode, 3 * number + 1, &[]),
                initial(mode, 3 * number + 2, &[number as u8; 48]),
            ]
        })
        .collect()
}

/// Sends bogus packets until told to stop.
fn flood(packets: &[Vec<u8>], to: SocketAddr, sent: &AtomicU64, over: &AtomicBool) {
    let sources: Vec<_> = (0..SOURCES)
        .map(|n| UdpSocket::bind((format!("127.0.{}.1", n + 1), 0)).expect("all of 127.0.0.0/8 is ours"))
        .collect();
    let start = Instant::now();
    let mut done = 0_u64;
    while !over.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * FLOOD_PER_SEC as f64) as u64;
        while done < due {
            let n = done as usize;
            let _ = sources[n / 7 % SOURCES].send_to(&packets[n % packets.len()], to);
            done += 1;
        }
        sent.store(done, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// A transfer that goes on until the end of the bench; its bytes are counted.
fn transfer(client: Stream, server: Stream, over: &Arc<AtomicBool>) -> Arc<AtomicU64> {
    let read = Arc::new(AtomicU64::new(0));
    let (count, over) = (Arc::clone(&read), Arc::clone(over));
    thread::spawn(move || {
        let chunk = vec![7; 256 << 10];
        while !over.load(Ordering::Relaxed) && (&client).write_all(&chunk).is_ok() {}
        client.abort();
    });
    thread::spawn(move || {
        let mut chunk = vec![0; 256 << 10];
        while let Ok(n @ 1..) = (&server).read(&mut chunk) {
            count.fetch_add(n as u64, Ordering::Relaxed);
        }
    });
    read
}

fn megabytes_per_sec(read: &AtomicU64, time: Duration) -> f64 {
    let (before, start) = (read.load(Ordering::Relaxed), Instant::now());
    thread::sleep(time);
    let bytes = read.load(Ordering::Relaxed) - before;
    bytes as f64 / 1e6 / start.elapsed().as_secs_f64()
}

/// Connects again and again. Returns how often that was tried, how often it worked in time, and the longest time.
fn connect_all_the_time(options: &StreamBuilder, addr: SocketAddr, over: &AtomicBool) -> (u64, u64, Duration) {
    let options = options.clone().connect_timeout(PATIENCE).linger(Some(Duration::ZERO));
    let (mut tried, mut connected, mut longest) = (0, 0, Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        tried += 1;
        match options.connect(addr) {
            Ok(_) => connected += 1,
            Err(error) => eprintln!("not connected: {error}"),
        }
        longest = longest.max(start.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    (tried, connected, longest)
}

/// Whether all bounds hold.
fn attack(name: &str, mode: &dyn Mode, security: &Security) -> bool {
    let options = StreamBuilder::new(security.clone());
    let listener = options.bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("bound");
    let client = options.connect(addr).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    let (ends, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let read = transfer(client, server, &ends);
    let packets = bogus(mode);
    let sent = AtomicU64::new(0);
    let (before, during, memory, (tried, connected, longest)) = thread::scope(|scope| {
        scope.spawn(|| while listener.accept().is_ok() {});
        // Both are measured with clients that come and go.
        let first = scope.spawn(|| connect_all_the_time(&options, addr, &over));
        thread::sleep(Duration::from_secs(1));
        let before = megabytes_per_sec(&read, MEASURED);
        over.store(true, Ordering::Relaxed);
        first.join().expect("connected");
        over.store(false, Ordering::Relaxed);
        let resting = resident();
        scope.spawn(|| flood(&packets, addr, &sent, &over));
        let clients = scope.spawn(|| connect_all_the_time(&options, addr, &over));
        let peak = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = resident().max(peak);
                thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        thread::sleep(Duration::from_secs(1));
        let during = megabytes_per_sec(&read, 2 * MEASURED);
        over.store(true, Ordering::Relaxed);
        let memory = peak.join().expect("looked").saturating_sub(resting);
        let connects = clients.join().expect("connected");
        ends.store(true, Ordering::Relaxed);
        println!("{name:8} {:?}", listener.stats());
        listener.close_handle().close();
        (before, during, memory, connects)
    });
    let flooded = sent.load(Ordering::Relaxed) as f64 / (2 * MEASURED + Duration::from_secs(1)).as_secs_f64();
    let share = during / before;
    let in_time = connected as f64 / tried as f64;
    println!("{name:8} attack      {flooded:8.0} packets/s");
    println!(
        "{name:8} transfer    {before:8.1} MB/s before, {during:.1} during: {:.0} %",
        share * 100.0
    );
    println!("{name:8} connects    {connected:8} of {tried}, the longest took {longest:.0?}");
    println!(
        "{name:8} memory      {:8.1} MiB on top",
        memory as f64 / f64::from(1 << 20)
    );
    share >= MIN_RATE_SHARE && in_time >= MIN_CONNECTED_SHARE && memory <= MAX_MEMORY
}

/// Full handshakes a second, both sides on this machine.
fn handshakes(name: &str, security: &Security) -> f64 {
    let options = StreamBuilder::new(security.clone()).linger(Some(Duration::ZERO));
    let listener = options.bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("bound");
    let start = Instant::now();
    let per_sec = thread::scope(|scope| {
        scope.spawn(|| while listener.accept().is_ok() {});
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut connected = 0_u64;
                    while start.elapsed() < MEASURED {
                        connected += u64::from(options.connect(addr).is_ok());
                    }
                    connected
                })
            })
            .collect();
        let connected: u64 = clients
            .into_iter()
            .map(|client| client.join().expect("connected"))
            .sum();
        let per_sec = connected as f64 / start.elapsed().as_secs_f64();
        listener.close_handle().close();
        per_sec
    });
    println!("{name:8} handshakes  {per_sec:8.0} a second");
    per_sec
}

fn main() -> ExitCode {
    let check = std::env::args().any(|arg| arg == "--check");
    let key = PrivateKey::generate(3072).expect("a common size");
    let trust = || Trust::Unauthenticated(Unauthenticated);
    let verifier = Arc::new(Unauthenticated);
    let mode = SecureMode::new(key.clone(), verifier, &SecureOptions::default()).expect("the defaults");
    let secure = Security::secure(key, trust());
    let mut holds = attack("plain", &PlainMode, &Security::plain());
    holds &= attack("secure", &mode, &secure);
    handshakes("plain", &Security::plain());
    holds &= handshakes("secure", &secure) >= MIN_HANDSHAKES_PER_SEC;
    if !holds {
        println!("a bound was missed");
    }
    ExitCode::from(u8::from(check && !holds))
}
