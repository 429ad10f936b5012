//! How exact and how fast the proxy is, with real sockets on loopback.
//!
//! `cargo bench --bench proxy` prints the figures; with `-- --check` it exits 1 when one misses its bound. The bounds are
//! for a release build on an idle machine with two cores.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use securestream::filter::Spec;
use securestream::proxy::{Proxy, ProxyBuilder};
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const DATAGRAM: usize = 1452;
/// Datagrams of one system call.
const BATCH: usize = 44;
/// Bytes that may be on their way before the sender waits: what socket buffers hold.
const WINDOW: u64 = 1 << 20;
const RUN: Duration = Duration::from_secs(3);
const PINGS: usize = 2000;

struct Judge {
    missed: bool,
}

impl Judge {
    fn say(&mut self, what: &str, value: f64, unit: &str, bound: &str, met: bool) {
        self.missed |= !met;
        let verdict = if met { "met" } else { "MISSED" };
        println!("{what:56} {value:9.3} {unit:5} (bound {bound}: {verdict})");
    }
}

fn main() -> io::Result<ExitCode> {
    let check = std::env::args().any(|arg| arg == "--check");
    let mut judge = Judge { missed: false };

    let direct = added_latency(None)?;
    let through = added_latency(Some(""))?;
    let added = 1e6 * (median(&through) - median(&direct)) / 2.0;
    judge.say("added latency one way, p50", added, "us", "<= 100", added <= 100.0);

    let delays = delay_errors(50)?;
    let middle = median(&delays);
    judge.say("delay 50 ms: median error", middle, "ms", "<= 0.5", middle.abs() <= 0.5);
    let worst = percentile(&delays, 0.99);
    judge.say("delay 50 ms: error p99", worst, "ms", "<= 3", worst <= 3.0);

    let mut bare = median_of(|| throughput("", None))?;
    judge.say(
        "forwarding without rules, 1452 bytes",
        bare / 1e9,
        "GB/s",
        ">= 1.0",
        bare >= 1e9,
    );
    println!(
        "{:56} {:9.3} GB/s",
        "  (the same sockets without a proxy)",
        median_of(throughput_direct)? / 1e9
    );
    // Offered at a steady pace, as much with delay as without: what comes through?
    bare = bare.min(1e9);
    let undelayed = median_of(|| throughput("", Some(bare)))?;
    let delayed = median_of(|| throughput("delay 50ms", Some(bare)))?;
    let share = 100.0 * delayed / undelayed;
    println!(
        "{:56} {:9.3} GB/s",
        "  (offered at a steady pace, without rules)",
        undelayed / 1e9
    );
    judge.say(
        "delay 50 ms: share of the undelayed throughput",
        share,
        "%",
        ">= 95",
        share >= 95.0,
    );
    let split = median_of(|| throughput("loss 0%", None))?;
    println!(
        "{:56} {:9.3} GB/s",
        "  (with a rule that takes batches apart)",
        split / 1e9
    );
    Ok(if check && judge.missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn proxy_to(target: SocketAddr, rules: &str) -> io::Result<Proxy> {
    let spec: Spec = rules.parse().expect("valid rules");
    ProxyBuilder::new(target)?.rules(&spec).start_local()
}

/// Round trips to an echo in seconds, directly or through a proxy.
fn added_latency(rules: Option<&str>) -> io::Result<Vec<f64>> {
    let echo = UdpSocket::bind("127.0.0.1:0")?;
    let addr = echo.local_addr()?;
    echo.set_read_timeout(Some(Duration::from_secs(1)))?;
    let echoing = thread::spawn(move || {
        let mut packet = [0; 2000];
        while let Ok((bytes, from)) = echo.recv_from(&mut packet) {
            let _ = echo.send_to(&packet[..bytes], from);
        }
    });
    let proxy = rules.map(|rules| proxy_to(addr, rules)).transpose()?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(proxy.as_ref().map_or(addr, Proxy::local_addr))?;
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut times = Vec::new();
    let mut packet = [0; DATAGRAM];
    for _ in 0..PINGS {
        let start = Instant::now();
        client.send(&packet)?;
        client.recv(&mut packet)?;
        times.push(start.elapsed().as_secs_f64());
    }
    drop(proxy);
    echoing.join().expect("it does not panic");
    Ok(times)
}

/// By how many milliseconds a delay was missed, for packets sent one every millisecond.
fn delay_errors(delay_ms: u64) -> io::Result<Vec<f64>> {
    let target = UdpSocket::bind("127.0.0.1:0")?;
    target.set_read_timeout(Some(Duration::from_secs(1)))?;
    let proxy = proxy_to(target.local_addr()?, &format!("up: delay {delay_ms}ms"))?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(proxy.local_addr())?;
    let start = Instant::now();
    let receiving = thread::spawn(move || {
        let mut errors = Vec::new();
        let mut packet = [0; 8];
        while let Ok(8) = target.recv(&mut packet) {
            let sent = Duration::from_nanos(u64::from_le_bytes(packet));
            let took = start.elapsed().saturating_sub(sent);
            errors.push(took.as_secs_f64() * 1e3 - delay_ms as f64);
        }
        errors
    });
    for number in 0..PINGS as u32 {
        let due = start + number * Duration::from_millis(1);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        client.send(&(start.elapsed().as_nanos() as u64).to_le_bytes())?;
    }
    let errors = receiving.join().expect("it does not panic");
    assert!(errors.len() > PINGS * 9 / 10, "only {} of {PINGS} came", errors.len());
    Ok(errors)
}

fn throughput(rules: &str, pace: Option<f64>) -> io::Result<f64> {
    measure(Some(rules), pace)
}

fn throughput_direct() -> io::Result<f64> {
    measure(None, None)
}

/// Bytes a second that arrive. Without a pace, the sender goes as fast as the receiver takes; with one, it sends so many
/// bytes a second whatever comes of them.
fn measure(rules: Option<&str>, pace: Option<f64>) -> io::Result<f64> {
    let target = UdpSocket::bind("127.0.0.1:0")?;
    let addr = target.local_addr()?;
    let proxy = rules.map(|rules| proxy_to(addr, rules)).transpose()?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    let to = proxy.as_ref().map_or(addr, Proxy::local_addr);
    let (came, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let receiver = thread::spawn({
        let (came, over) = (Arc::clone(&came), Arc::clone(&over));
        move || receive(&target, &came, &over)
    });
    let state = UdpSocketState::new(UdpSockRef::from(&client))?;
    let _ = state.set_send_buffer_size(UdpSockRef::from(&client), 4 << 20);
    let contents = vec![7; DATAGRAM * BATCH];
    let start = Instant::now();
    let (mut sent, mut lost, mut last) = (0_u64, 0_u64, (0, start));
    // What comes within the time counts, from when the first has come.
    let mut from = None;
    while start.elapsed() < RUN {
        let arrived = came.load(Ordering::Relaxed);
        if from.is_none() && arrived > 0 {
            from = Some((arrived, Instant::now()));
        }
        let may_send = match pace {
            Some(per_sec) => (sent as f64) < start.elapsed().as_secs_f64() * per_sec,
            None => sent - arrived - lost < WINDOW,
        };
        if may_send {
            let transmit = Transmit {
                destination: to,
                ecn: None,
                contents: &contents,
                segment_size: Some(DATAGRAM),
                src_ip: None,
            };
            if state.try_send(UdpSockRef::from(&client), &transmit).is_ok() {
                sent += contents.len() as u64;
            }
            continue;
        }
        if arrived != last.0 {
            last = (arrived, Instant::now());
        } else if pace.is_none() && last.1.elapsed() > Duration::from_millis(20) {
            // Nothing moves: what is missing was lost.
            lost = sent - arrived;
        }
        thread::yield_now();
    }
    let (base, since) = from.unwrap_or((0, start));
    let rate = (came.load(Ordering::Relaxed) - base) as f64 / since.elapsed().as_secs_f64();
    if let Some(proxy) = &proxy
        && std::env::var_os("BENCH_STATS").is_some()
    {
        eprintln!("{rules:?}: lost {lost} of {sent}, {:?}", proxy.status().health);
    }
    over.store(true, Ordering::Relaxed);
    drop(proxy);
    client.send_to(b"end", addr)?;
    receiver.join().expect("it does not panic")?;
    Ok(rate)
}

fn receive(socket: &UdpSocket, came: &AtomicU64, over: &AtomicBool) -> io::Result<()> {
    let state = UdpSocketState::new(UdpSockRef::from(socket))?;
    let _ = state.set_recv_buffer_size(UdpSockRef::from(socket), 4 << 20);
    let mut buffer = vec![0; 1 << 16];
    socket.set_nonblocking(true)?;
    while !over.load(Ordering::Relaxed) {
        let mut meta = [RecvMeta::default()];
        match state.recv(UdpSockRef::from(socket), &mut [IoSliceMut::new(&mut buffer)], &mut meta) {
            Ok(_) => {
                came.fetch_add(meta[0].len as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN)];
                let patience = rustix::event::Timespec {
                    tv_sec: 0,
                    tv_nsec: 10_000_000,
                };
                let _ = rustix::event::poll(&mut fds, Some(&patience));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn median_of(measure: impl Fn() -> io::Result<f64>) -> io::Result<f64> {
    let runs = (0..3).map(|_| measure()).collect::<io::Result<Vec<_>>>()?;
    Ok(median(&runs))
}

fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}
