//! `stream-lab doctor`: runs a transfer, looks at it while it runs, and says what limits it and what would help.
//!
//! ```text
//!   THREAD doctor-writer: stream ==> link with faults ==> stream: THREAD doctor-reader
//!                           ^ looked at by main, every 2 ms ^
//! ```
//!
//! With `--target` the reader is a `stream-receiver` somewhere else, and only our side is seen.

mod diagnosis;
mod kernel;
mod load;
mod report;
mod samples;

use super::super::args::{self, Tool, print, stream_tool_options};
use super::super::console::Console;
use super::super::endpoint::{Endpoint, IDLE_TIMEOUT};
use super::super::exit::{Exit, Failure, plain_words};
use super::super::json;
use super::super::keys::{self, KeyOptions, Protection};
use super::super::quantity::{Bytes, Delay, Percent, Port, Span};
use super::cpu_time;
use super::faults;
use super::link::{Connected, Link};
use crate::stats::BlockedBy;
use crate::stream::{Carrier, Stream};
use crossbeam_channel::bounded;
use diagnosis::Seen;
use kernel::{Drops, Thread};
use load::{broken, now, pause};
use report::Report;
use samples::{PERIOD, Samples};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

stream_tool_options! {
    #[argh(
        description = "Run a transfer, see what it waits for, and say what limits it and what would help.",
        help_triggers("-h", "--help"),
        example = "{command_name}",
        example = "{command_name} --delay 40 --loss 1",
        example = "{command_name} --target 192.0.2.7 --target-port 7000",
        note = "At the other end of --target: stream-receiver --udp --output /dev/null. What is sent are made-up bytes.",
        error_code(0, "It is known what limits the transfer."),
        error_code(1, "The transfer failed."),
        error_code(2, "The command line makes no sense."),
        error_code(4, "No connection.")
    )]
    struct Options {
        /// how long to look (default: 3s)
        #[argh(option, default = "Span(Duration::from_secs(3))", arg_name = "time")]
        time: Span,
        /// a stream-receiver to send to, instead of this process
        #[argh(option, arg_name = "host")]
        target: Option<String>,
        /// its port (default: 7000)
        #[argh(option, default = "Port(7000)", arg_name = "port")]
        target_port: Port,
        /// percentage of packets lost, in each direction (default: 0)
        #[argh(option, default = "Percent(0.0)", arg_name = "pct")]
        loss: Percent,
        /// milliseconds that packets take from sender to receiver (default: 0)
        #[argh(option, default = "Delay(Duration::ZERO)", arg_name = "ms")]
        delay: Delay,
        /// bytes a second that the sending program writes (default: as fast as it can)
        #[argh(option, arg_name = "bytes")]
        write_rate: Option<Bytes>,
        /// bytes a second that the receiving program reads (default: as fast as it can)
        #[argh(option, arg_name = "bytes")]
        read_rate: Option<Bytes>,
        /// packets over UDP (the default)
        #[argh(switch)]
        #[expect(dead_code, reason = "the default; it is there to be said, and to exclude --tcp")]
        udp: bool,
        /// packets framed on TCP
        #[argh(switch)]
        tcp: bool,
        /// packets in clear (default: encrypted, with keys made for this run)
        #[argh(switch)]
        plain: bool,
    }
}

const TOOL: Tool = Tool {
    name: "stream-lab doctor",
    operand_hint: Some("--target"),
    exclusive: &[&["--quiet", "--verbose"], &["--udp", "--tcp"]],
};

/// For the receiver to have its stream, once the sender has its own.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `stream-lab doctor` with these arguments.
pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    args::run_words(&TOOL, words, run)
}

fn run(options: &Options, console: &Console) -> Result<Exit, Failure> {
    let carrier = if options.tcp { Carrier::Tcp } else { Carrier::Udp };
    let mut report = Report::new(carrier, options.plain);
    let ended = examine(options, carrier, console, &mut report).map(|()| {
        let text = report.text();
        if options.json {
            console.note(text.trim_end());
            Exit::Success
        } else {
            print(&TOOL, &text)
        }
    });
    json::conclude(options.json, &TOOL, &report.facts(), ended)
}

fn examine(options: &Options, carrier: Carrier, console: &Console, report: &mut Report) -> Result<(), Failure> {
    check(options)?;
    let Ends { stream, reader } = Ends::begin(options, carrier, console)?;
    let reading = reader.as_ref().map(|(stream, _)| stream);
    // Where the kernel may drop datagrams.
    let places: Vec<SocketAddr> = [Some(&stream), reading]
        .into_iter()
        .flatten()
        .filter_map(|stream| stream.local_addr().ok())
        .filter(|_| carrier == Carrier::Udp)
        .collect();

    let stop = Arc::new(AtomicBool::new(false));
    let looked_at = stream.try_clone().map_err(|error| broken("looking", &error))?;
    let write_rate = options.write_rate.map(|bytes| bytes.0);
    let before = Moment::now(&places);
    let writer = load::write(stream, write_rate, Arc::clone(&stop))?;
    let spinner = console.spinner("looking".to_owned());
    let mut samples = Samples::default();
    let begin = now();
    while now() - begin < options.time.0 && looked_at.is_open() {
        samples.look(&looked_at.stats(), reading.map(Stream::stats).as_ref());
        pause(PERIOD);
    }
    let elapsed = now() - begin;
    let sender = looked_at.stats();
    let after = Moment::now(&places);
    drop(spinner);

    let failed = looked_at.take_error().unwrap_or_else(Some);
    let is_left = !looked_at.is_open();
    stop.store(true, Ordering::Relaxed);
    if sender.blocked_by == BlockedBy::ReceiveWindow {
        // A writer that waits for a reader that takes its time would wait with it.
        looked_at.abort();
    }
    drop(looked_at);
    // It is told to stop in the middle: how it ends says nothing.
    let _ = writer.join();
    if let Some((stream, thread)) = reader {
        drop(stream);
        let _ = thread.join();
    }
    if let Some(error) = failed {
        return Err(broken("the transfer", &error));
    }
    if is_left {
        return Err(Failure::runtime("the receiver left before the time was over"));
    }
    report.tell(
        Seen {
            carrier,
            gso: !options.no_gso,
            samples,
            sender,
            cpu: after.cpu.saturating_sub(before.cpu).as_secs_f64() / elapsed.as_secs_f64(),
            processors: std::thread::available_parallelism().map_or(1.0, |number| number.get() as f64),
            busiest: busiest(&before.threads, &after.threads, elapsed),
            drops: after.drops.since(before.drops),
            socket_drops: after.socket_drops.saturating_sub(before.socket_drops),
            largest_buffers: kernel::largest_buffers(),
        },
        elapsed,
    );
    Ok(())
}

/// The stream that is looked at, and the reader where it is in this process: its stream and its thread.
struct Ends {
    stream: Stream,
    reader: Option<(Stream, JoinHandle<io::Result<u64>>)>,
}

impl Ends {
    fn begin(options: &Options, carrier: Carrier, console: &Console) -> Result<Self, Failure> {
        if let Some(host) = &options.target {
            let stream = connect(options, host, carrier, console)?;
            return Ok(Self { stream, reader: None });
        }
        let link = Link::new(
            &endpoint(options, carrier),
            keys::strangers(options.plain)?,
            faults(options.loss, options.delay),
            0,
        );
        let (tell, told) = bounded(1);
        let read_rate = options.read_rate.map(|bytes| bytes.0);
        let Connected { stream, receiver, .. } = link.connect(|accept| load::read(accept, read_rate, tell))?;
        let reading = told
            .recv_timeout(PATIENCE)
            .map_err(|_| Failure::runtime("the receiver did not get its stream"))?;
        let reader = Some((reading, receiver));
        Ok(Self { stream, reader })
    }
}

/// The sender, and the receiver where it is in this process.
fn endpoint(options: &Options, carrier: Carrier) -> Endpoint {
    Endpoint {
        carrier,
        gso: !options.no_gso,
        max_datagram: options.max_datagram,
        idle_timeout: IDLE_TIMEOUT,
        congestion: options.congestion.clone(),
    }
}

fn check(options: &Options) -> Result<(), Failure> {
    if options.target.is_some() && (options.read_rate.is_some() || options.loss.0 > 0.0 || !options.delay.0.is_zero()) {
        let reason = "--loss, --delay and --read-rate are for a receiver in this process: leave out --target";
        return Err(Failure::usage(reason));
    }
    let is_zero = |rate: Option<Bytes>| rate.is_some_and(|rate| rate.0 == 0);
    if is_zero(options.write_rate) || is_zero(options.read_rate) {
        return Err(Failure::usage("a rate must be at least 1 byte a second"));
    }
    Ok(())
}

/// Connects to a receiver somewhere else.
fn connect(options: &Options, host: &str, carrier: Carrier, console: &Console) -> Result<Stream, Failure> {
    // Made-up bytes may go to anybody.
    let protection = Protection::new(options.plain, &KeyOptions::default(), host, console)?;
    let builder = endpoint(options, carrier).builder(protection.security);
    builder.connect((host, options.target_port.0)).map_err(|error| {
        let place = format!("{host}:{}", options.target_port.0);
        Failure::new(
            Exit::Connect,
            format!("cannot connect to {place}: {}", plain_words(&error)),
        )
    })
}

/// What is counted from the start of process and machine.
struct Moment {
    cpu: Duration,
    threads: Vec<Thread>,
    drops: Drops,
    socket_drops: u64,
}

impl Moment {
    fn now(places: &[SocketAddr]) -> Self {
        Self {
            cpu: cpu_time(),
            threads: kernel::threads(),
            drops: Drops::now().unwrap_or_default(),
            socket_drops: kernel::socket_drops(places),
        }
    }
}

/// The thread that worked most, and its share of a processor.
fn busiest(before: &[Thread], after: &[Thread], elapsed: Duration) -> Option<(String, f64)> {
    let worked = after.iter().map(|thread| {
        let earlier = before.iter().find(|other| other.id == thread.id);
        let cpu = thread
            .cpu
            .saturating_sub(earlier.map_or(Duration::ZERO, |other| other.cpu));
        (thread.name.clone(), cpu.as_secs_f64() / elapsed.as_secs_f64())
    });
    worked.max_by(|(_, one), (_, other)| one.total_cmp(other))
}
