//! What a controller costs, and how soon it is obeyed, with real sockets on loopback.
//!
//! `cargo bench --bench controller` prints the figures; with `-- --check` it exits 1 when one misses its bound. The bounds are
//! for a release build on an idle machine with two cores. `SECONDS=n` shortens the minute for which events are followed.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use securestream::control::{Address, Client, Controller, EndpointAgent, ProxyAgent, Role};
use securestream::filter::Direction;
use securestream::proxy::ProxyBuilder;
use securestream::{Security, StreamBuilder};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CHANGES: u32 = 50;
const TRANSFER_BYTES: usize = 512 << 20;
/// A transfer takes a third of a second and differs from the next one by a tenth: medians of fewer say nothing.
const ROUNDS: usize = 25;
const FOLLOWERS: usize = 16;
const FOLLOW_SECONDS: u64 = 60;

struct Judge {
    missed: bool,
}

impl Judge {
    fn say(&mut self, what: &str, value: f64, unit: &str, bound: &str, met: bool) {
        self.missed |= !met;
        let verdict = if met { "met" } else { "MISSED" };
        println!("{what:60} {value:9.1} {unit:5} (bound {bound}: {verdict})");
    }
}

fn main() -> io::Result<ExitCode> {
    let check = std::env::args().any(|arg| arg == "--check");
    let mut judge = Judge { missed: false };
    changes(&mut judge)?;
    goodputs(&mut judge)?;
    followers(&mut judge)?;
    Ok(if check && judge.missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn refused(error: securestream::control::Refused) -> io::Error {
    io::Error::other(error)
}

fn address_of(controller: &Controller) -> Address {
    controller.url().parse().expect("it prints what it takes")
}

/// How soon a change of `/config` is in force at a proxy and at a receiver: the worst of many.
fn changes(judge: &mut Judge) -> io::Result<()> {
    let controller = Controller::builder().start()?;
    let address = address_of(&controller);
    let client = Client::new(&address);
    let proxy = Arc::new(ProxyBuilder::new("127.0.0.1:9")?.start_local()?);
    let _proxy_agent = ProxyAgent::start(&address, "main", &proxy)?;
    let agent = EndpointAgent::start(&address, Role::Receiver, "plain", "udp")?;
    while client.get("/v1/proxies/main").is_err() {
        thread::sleep(Duration::from_millis(10));
    }
    let pace = agent.pace();
    let (mut at_proxy, mut at_receiver) = (Duration::ZERO, Duration::ZERO);
    for number in 1..=CHANGES {
        let wanted = json!({"client_server_drop": number, "recv_delay": f64::from(number) / 1000.0});
        let start = Instant::now();
        client.post("/config", &wanted).map_err(refused)?;
        let (mut rule, mut delay) = (None, None);
        while rule.is_none() || delay.is_none() {
            let rules = proxy.rules(Direction::Upstream);
            let words = rules
                .first()
                .and_then(|rule| rule.entry.as_ref().map(ToString::to_string));
            if rule.is_none() && words == Some(format!("loss {number}%")) {
                rule = Some(start.elapsed());
            }
            if delay.is_none() && pace.delay() == Duration::from_millis(u64::from(number)) {
                delay = Some(start.elapsed());
            }
            if start.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other("a change never came"));
            }
            thread::sleep(Duration::from_micros(200));
        }
        at_proxy = at_proxy.max(rule.unwrap_or_default());
        at_receiver = at_receiver.max(delay.unwrap_or_default());
    }
    for (what, worst) in [("proxy", at_proxy), ("receiver", at_receiver)] {
        let ms = worst.as_secs_f64() * 1e3;
        judge.say(
            &format!("a change reaches the {what}: worst of {CHANGES}"),
            ms,
            "ms",
            "< 300",
            ms < 300.0,
        );
    }
    Ok(())
}

/// Bytes a second without a controller, and with one that is dead, or hangs.
fn goodputs(judge: &mut Judge) -> io::Result<()> {
    let hanging = TcpListener::bind("127.0.0.1:0")?;
    let dead: Address = "127.0.0.1:9".parse().expect("an address");
    let hangs: Address = hanging.local_addr()?.to_string().parse().expect("an address");
    let cases = [None, Some(&dead), Some(&hangs)];
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    goodput(None)?;
    // In turn, so that the machine's own moods meet all of them.
    for _ in 0..ROUNDS {
        for (rates, case) in rates.iter_mut().zip(cases) {
            rates.push(goodput(case)?);
        }
    }
    let [without, dead, hangs] = rates.map(|mut rates: Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    println!("{:60} {:9.1} MB/s", "goodput without a controller", without / 1e6);
    for (what, rate) in [("dead", dead), ("hanging", hangs)] {
        let share = 100.0 * rate / without;
        judge.say(
            &format!("goodput with a {what} controller"),
            share,
            "%",
            ">= 95",
            share >= 95.0,
        );
    }
    Ok(())
}

fn goodput(controller: Option<&Address>) -> io::Result<f64> {
    let listener = StreamBuilder::new(Security::plain()).bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    let receiving = thread::spawn({
        let controller = controller.cloned();
        move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let told = tell(controller.as_ref(), Role::Receiver, &stream)?;
            let pace = told.as_ref().map(|(agent, _)| agent.pace()).unwrap_or_default();
            let mut chunk = vec![0; 256 << 10];
            loop {
                let limit = pace.read_limit(chunk.len());
                if stream.read(&mut chunk[..limit])? == 0 {
                    return Ok(());
                }
                pace.after_read();
            }
        }
    });
    let mut stream = StreamBuilder::new(Security::plain()).connect(to)?;
    let told = tell(controller, Role::Sender, &stream)?;
    let chunk = vec![7; 256 << 10];
    let start = Instant::now();
    for _ in 0..TRANSFER_BYTES / chunk.len() {
        stream.write_all(&chunk)?;
    }
    stream.finish(Duration::from_secs(60))?;
    let elapsed = start.elapsed();
    drop(told);
    receiving.join().expect("it does not panic")?;
    Ok(TRANSFER_BYTES as f64 / elapsed.as_secs_f64())
}

type Told = (EndpointAgent, securestream::control::Followed);

fn tell(controller: Option<&Address>, role: Role, stream: &securestream::Stream) -> io::Result<Option<Told>> {
    let Some(address) = controller else { return Ok(None) };
    let agent = EndpointAgent::start(address, role, "plain", "udp")?;
    let stream = stream.try_clone()?;
    let followed = agent.follow(move || stream.stats());
    Ok(Some((agent, followed)))
}

/// Sixteen clients follow the events of a busy lesson: how late they are, and whether memory grows.
fn followers(judge: &mut Judge) -> io::Result<()> {
    let seconds = std::env::var("SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(FOLLOW_SECONDS);
    let controller = Controller::builder().start()?;
    let client = Client::new(&address_of(&controller));
    let about = json!({"id": "main", "source": "p", "listen": "127.0.0.1:1", "target": "127.0.0.1:2"});
    client.post("/v1/proxies", &about).map_err(refused)?;
    let (over, worst) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let start = Instant::now();
    // The clock of the controller is told by its state; half of the way there is its error.
    let before = start.elapsed().as_secs_f64() * 1e3;
    let state = client.get("/v1/state").map_err(refused)?;
    let after = start.elapsed().as_secs_f64() * 1e3;
    let offset = state["now_ms"].as_f64().unwrap_or_default() - f64::midpoint(before, after);
    let following: Vec<_> = (0..FOLLOWERS)
        .map(|_| {
            let (to, over, worst) = (controller.local_addr(), Arc::clone(&over), Arc::clone(&worst));
            thread::spawn(move || follow(to, start, offset, &over, &worst))
        })
        .collect();
    let packet = json!({"direction": "up", "client": "127.0.0.1:3", "size": 3, "bytes": "AAAA", "verdict": "passed"});
    let report = json!({"source": "p", "healthy": true, "packets": vec![packet; 30]});
    let mut settled = 0;
    let mut number = 0_u32;
    while start.elapsed() < Duration::from_secs(seconds) {
        let due = start + Duration::from_millis(100) * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        number += 1;
        client.post("/v1/proxies/main/report", &report).map_err(refused)?;
        // By half of the time all rings are full or have found their pace.
        if settled == 0 && start.elapsed() > Duration::from_secs(seconds) / 2 {
            settled = resident_bytes();
        }
    }
    let health = client.get("/v1/health").map_err(refused)?;
    let grown = resident_bytes().saturating_sub(settled) as f64 / f64::from(1 << 20);
    over.store(true, Ordering::Relaxed);
    drop(controller);
    for thread in following {
        thread.join().expect("it does not panic")?;
    }
    let there = health["sse_clients"].as_u64().unwrap_or(0);
    judge.say(
        "followers at the end",
        there as f64,
        "",
        "= 16",
        there == FOLLOWERS as u64,
    );
    let lag = worst.load(Ordering::Relaxed) as f64 / 1e3;
    judge.say("events reach followers: the worst", lag, "ms", "<= 500", lag <= 500.0);
    judge.say("memory grows in the second half", grown, "MiB", "<= 8", grown <= 8.0);
    Ok(())
}

fn follow(to: SocketAddr, start: Instant, offset: f64, over: &AtomicBool, worst: &AtomicU64) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    for line in BufReader::new(stream).lines() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let Ok(line) = line else { break };
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let now = start.elapsed().as_secs_f64() * 1e3 + offset;
        let value: Value = serde_json::from_str(data)?;
        if let Some(at) = value["t_ms"].as_f64() {
            let late = ((now - at).max(0.0) * 1e3) as u64;
            worst.fetch_max(late, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Memory of this process that is in use.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        << 10
}
