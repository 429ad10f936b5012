//! `stream-lab`: sender and receiver in one process, over real sockets on the loopback interface, with a bad link made
//! by filters between them.
//!
//! ```text
//!   file or seed --> THREAD main: stream ==> [socket ~~> Impaired: loss, delay] ==> stream: THREAD "lab-receiver"
//!                                        <== [Impaired: loss <~~ socket]        <==
//! ```
//!
//! Both ends take the SHA-256 of what passes; the same means that everything arrived.
//!
//! More jobs have their own folders: `bench` compares carriers, `doctor` says what limits a transfer, `run` plays scenarios.

mod bench;
mod classic;
mod doctor;
mod ends;
mod gui;
mod link;
mod report;
pub(crate) mod run;
mod source;

use super::args::{self, Tool, classic_tool_options};
use super::classic::arq;
use super::console::Console;
use super::endpoint::{Endpoint, IDLE_TIMEOUT, Mode};
use super::exit::{Exit, Failure};
use super::json;
use super::keys;
use super::quantity::{Bytes, Delay, Percent, Port};
use crate::filter::{Distribution, Rule, Scope, Spec};
use crate::stream::Carrier;
use ends::{End, receive, send};
use link::{Connected, Link};
use report::Report;
use rustix::time::{ClockId, clock_gettime};
use source::Source;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

const GENERATED_BYTES: u64 = 8 * 1024 * 1024;
const NO_CONGESTION: &str = "--classic has no congestion control: choose --arq, --window and --timeout instead";
/// What a lost packet costs in classic mode is counted in seconds.
const CLASSIC_BYTES: u64 = 256 * 1024;

classic_tool_options! {
    #[argh(
        description = "Send a file through a bad link to a receiver in the same process, and see what it takes.",
        help_triggers("-h", "--help"),
        example = "{command_name} README.md --loss 5",
        example = "{command_name} --classic --arq go-back-n --window 4 --timeout 50ms --loss 5",
        example = "{command_name} --tcp --loss 2 --delay 40 --seed 7",
        example = "{command_name} --gui",
        note = "More jobs, each with a --help of its own:\n  {command_name} run      scenarios with expectations\n  {command_name} bench    carriers side by side\n  {command_name} doctor   what limits a transfer, and what would help",
        error_code(0, "Everything arrived as it was sent; with --gui, a signal has ended it."),
        error_code(1, "It did not."),
        error_code(2, "The command line makes no sense.")
    )]
    struct Options {
        /// file to send (default: 8 MiB made from the seed; 256 KiB with --classic)
        #[argh(positional, arg_name = "FILE")]
        file: Option<String>,
        /// percentage of packets lost, in each direction (default: 0)
        #[argh(option, default = "Percent(0.0)", arg_name = "pct")]
        loss: Percent,
        /// milliseconds that packets take from sender to receiver (default: 0); the way back is free
        #[argh(option, default = "Delay(Duration::ZERO)", arg_name = "ms")]
        delay: Delay,
        /// packets over UDP (the default)
        #[argh(switch)]
        #[expect(dead_code, reason = "the default; it is there to be said, and to exclude --tcp")]
        udp: bool,
        /// packets framed on TCP
        #[argh(switch)]
        tcp: bool,
        /// packets in clear, to look at (default: encrypted, with keys made for this run)
        #[argh(switch)]
        plain: bool,
        /// number that decides which packets are lost and what is generated (default: drawn, and printed)
        #[argh(option, arg_name = "n")]
        seed: Option<u64>,
        /// bytes to generate instead of 8 MiB, where there is no FILE
        #[argh(option, arg_name = "bytes")]
        size: Option<Bytes>,
        /// show it in a browser, with sliders for the line between, over and over until a signal
        #[argh(switch)]
        gui: bool,
        /// port of the page of --gui (default: 5000; 0 takes a free one and says which)
        #[argh(option, arg_name = "port")]
        port: Option<Port>,
    }
}

impl Options {
    fn carrier(&self) -> Carrier {
        if self.tcp { Carrier::Tcp } else { Carrier::Udp }
    }
}

const TOOL: Tool = Tool {
    name: "stream-lab",
    operand_hint: None,
    exclusive: &[
        &["--quiet", "--verbose"],
        &["--udp", "--tcp"],
        &["--plain", "--classic"],
        &["--gui", "--json"],
    ],
};

/// Runs `stream-lab` with the arguments of this process.
pub fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let job = words.first().and_then(|word| word.to_str()).map(str::to_owned);
    // A file of that name is `./bench`.
    match job.as_deref() {
        Some("bench") => bench::main(words.split_off(1)),
        Some("doctor") => doctor::main(words.split_off(1)),
        Some("run") => run::main(words.split_off(1)),
        _ => args::run_words(&TOOL, words, start),
    }
}

fn start(options: &Options, console: &Console) -> Result<Exit, Failure> {
    let mut report = Report {
        carrier: options.carrier(),
        mode: Mode::new(options.plain, options.classic),
        arq: None,
        // 32 bits are easy to type again.
        seed: options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        file: options.file.clone(),
        faults: faults(options.loss, options.delay),
        filters: Default::default(),
        sent: None,
        received: None,
        cpu: Duration::ZERO,
    };
    let ended = experiment(options, console, &mut report);
    json::conclude(options.json, &TOOL, &report.facts(), ended)
}

/// Loss in each direction, delay from sender to receiver.
fn faults(loss: Percent, delay: Delay) -> Spec {
    let mut faults = Spec::new();
    if loss.0 > 0.0 {
        faults.push(Scope::Both, Rule::Loss { pct: loss.0 });
    }
    if !delay.0.is_zero() {
        let distribution = Distribution::Uniform;
        faults.push(
            Scope::Up,
            Rule::Delay {
                delay: delay.0,
                jitter: Duration::ZERO,
                distribution,
            },
        );
    }
    faults
}

/// Sends the file over the link, and says how that went.
fn experiment(options: &Options, console: &Console, report: &mut Report) -> Result<Exit, Failure> {
    if options.file.is_some() && options.size.is_some() {
        return Err(Failure::usage(
            "--size is for generated bytes: leave out FILE or --size",
        ));
    }
    let arq = arq(options.classic, options.arq, options.window, options.timeout)?;
    report.arq = arq;
    let seed = report.seed;
    if options.gui {
        if options.classic && options.congestion.is_some() {
            return Err(Failure::usage(NO_CONGESTION));
        }
        return gui::run(options, arq, &report.faults, seed, console);
    }
    if options.port.is_some() {
        return Err(Failure::usage("--port is of the page: add --gui, or leave it out"));
    }
    let usual_bytes = if options.classic {
        CLASSIC_BYTES
    } else {
        GENERATED_BYTES
    };
    let mut source = match &options.file {
        Some(name) => Source::open(name)?,
        None => Source::generated(options.size.map_or(usual_bytes, |size| size.0), seed),
    };
    if options.seed.is_none() {
        console.note(format_args!("seed {seed} (drawn; --seed {seed} repeats the losses)"));
    }
    if let Some(arq) = arq {
        if options.congestion.is_some() {
            return Err(Failure::usage(NO_CONGESTION));
        }
        let began = cpu_time();
        let [sent, received] = classic::run(options.carrier(), arq, report, &mut source, console)?;
        report.cpu = cpu_time().saturating_sub(began);
        return conclude(options, console, report, sent, received);
    }
    let endpoint = Endpoint {
        carrier: options.carrier(),
        gso: !options.no_gso,
        max_datagram: options.max_datagram,
        idle_timeout: IDLE_TIMEOUT,
        congestion: options.congestion.clone(),
    };
    let link = Link::new(&endpoint, keys::strangers(options.plain)?, report.faults.clone(), seed);
    let began = cpu_time();
    let Connected {
        stream,
        receiver,
        there,
        back,
    } = link.connect(receive)?;
    let sent = send(&stream, &mut source, console);
    if sent.is_err() {
        stream.abort();
    }
    let received = receiver
        .join()
        .unwrap_or_else(|_| Err(Failure::runtime("the receiver's thread failed")));
    report.cpu = cpu_time().saturating_sub(began);
    report.filters = [there, back].map(|control| control.counters());
    conclude(options, console, report, sent, received)
}

/// Says what both ends saw.
fn conclude(
    options: &Options,
    console: &Console,
    report: &mut Report,
    sent: Result<End, Failure>,
    received: Result<End, Failure>,
) -> Result<Exit, Failure> {
    let failures = [keep(&mut report.sent, sent), keep(&mut report.received, received)];
    match failures {
        [None, None] => {}
        // Whose failure came first? The receiver's tells more than the reset that it causes here.
        [Some(sender), Some(receiver)] => {
            return Err(Failure::runtime(format!(
                "sender: {}; receiver: {}",
                sender.message, receiver.message
            )));
        }
        [Some(failure), None] | [None, Some(failure)] => return Err(failure),
    }
    let table = report.table().expect("both ends are there");
    let said = if options.json {
        console.note(table.trim_end());
        Exit::Success
    } else {
        args::print(&TOOL, &table)
    };
    if report.is_whole() {
        Ok(said)
    } else {
        Err(Failure::runtime("what arrived is not what was sent"))
    }
}

/// Keeps what an end saw, or returns why it failed.
fn keep(end: &mut Option<End>, result: Result<End, Failure>) -> Option<Failure> {
    result.map(|saw| *end = Some(saw)).err()
}

/// What this process has used of the processors so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
