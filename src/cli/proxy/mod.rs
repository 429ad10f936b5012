//! `stream-proxy`: a bad network between clients and a target, and a man in the middle.
//!
//! ```text
//!   options --> plan --> Proxy (its own threads) <-- steps of a scenario, signals: THREAD main
//!                          '-- notices --> standard error      '-- capture --> file
//! ```

mod attack;
mod inspect;
mod plan;
mod show;
mod watch;

pub(super) use watch::take as take_step;

use super::args::{self, Tool, tool_options};
use super::console::Console;
use super::exit::{Exit, Failure};
use super::json;
use super::quantity::{Port, Span};
use super::signals::Signals;
use crate::control::Address;
use crate::filter::Spec;
use crate::proxy::{Preset, preset};
use attack::Attack;
use plan::Plan;
use show::Report;
use std::process::ExitCode;
use std::str::FromStr;

tool_options! {
    #[argh(
        description = "Stand between clients and a target: lose, delay, damage and show their packets. It has no keys. \
                       Rules are separated by ; and directions by |: loss P% [burst N], delay T [JITTER] \
                       [uniform|normal|pareto], reorder P% [T], duplicate P% [N], corrupt P% [bitflip|zero|truncate], \
                       rate R [burst B] [limit Np|NB] [codel], trace FILE, mtu B, blackhole, onoff T T, rebind T, \
                       drop N,N,..., next N; and behind any of them: match [form F] [size N-N] [nth N|every N|first N] [client N].",
        help_triggers("-h", "--help"),
        example = "{command_name} --udp --impair 'loss 5%'",
        example = "{command_name} --udp --impair 'up: delay 40ms 5ms; rate 2mbit limit 50p | down: loss 1%'",
        example = "{command_name} --udp --preset lte --capture lte.pcapng",
        example = "{command_name} inspect lte.pcapng",
        error_code(0, "It was asked to end, or the scenario came out as expected."),
        error_code(1, "Something failed, or the scenario did not come out as expected."),
        error_code(2, "The command line or a scenario makes no sense."),
        error_code(128, "Plus the number of the signal that ended it.")
    )]
    struct Options {
        /// inspect FILE: a capture in words, and what a listener has learnt
        #[argh(positional, arg_name = "inspect FILE")]
        words: Vec<String>,
        /// port for clients (default: 6000; 0 takes a free one and says which)
        #[argh(option, arg_name = "port")]
        proxy_port: Option<Port>,
        /// port of the target (default: 7000)
        #[argh(option, arg_name = "port")]
        target_port: Option<Port>,
        /// host of the target (default: 127.0.0.1)
        #[argh(option, arg_name = "host")]
        target: Option<String>,
        /// address for clients (default: all interfaces)
        #[argh(option, arg_name = "addr")]
        bind: Option<String>,
        /// packets over UDP instead of framed on TCP
        #[argh(switch)]
        udp: bool,
        /// what the target speaks, if that is another carrier: udp or tcp
        #[argh(option, arg_name = "carrier")]
        target_carrier: Option<Carrier>,
        /// any UDP program: nothing is taken for a packet of ours
        #[argh(switch)]
        raw: bool,
        /// rules, such as 'up: loss 5% | down: delay 40ms'
        #[argh(option, arg_name = "rules")]
        impair: Option<Spec>,
        /// rules by name: dsl, 3g, lte, satellite, wifi-bursty, bufferbloat or lossy-5
        #[argh(option, arg_name = "name")]
        preset: Option<Named>,
        /// file with proxies, rules, what changes when, and what is expected
        #[argh(option, arg_name = "file")]
        scenario: Option<String>,
        /// read a scenario, say what is wrong, and end
        #[argh(option, arg_name = "file")]
        check: Option<String>,
        /// end after so long (default: at a signal, or after the last step of a scenario with expectations)
        #[argh(option, arg_name = "time")]
        run_for: Option<Span>,
        /// number that all dice are thrown with (default: drawn, and printed)
        #[argh(option, arg_name = "n")]
        seed: Option<u64>,
        /// all that passes, for Wireshark
        #[argh(option, arg_name = "file")]
        capture: Option<String>,
        /// what was dropped, as rules that drop the same again
        #[argh(option, arg_name = "file")]
        record_drops: Option<String>,
        /// drop what such a file says
        #[argh(option, arg_name = "file")]
        replay_drops: Option<String>,
        /// show what an attacker could do: bitflip, replay, forge-ack, key-swap, truncate, spoof or downgrade
        #[argh(option, arg_name = "name")]
        attack: Option<Attack>,
        /// address of a stream-controller that watches and steers, as it prints it (default: none)
        #[argh(option, arg_name = "url")]
        controller: Option<Address>,
        /// inspect: go on as the file grows
        #[argh(switch)]
        follow: bool,
        /// print the result as one JSON object on standard output
        #[argh(switch)]
        json: bool,
    }
}

pub(super) const TOOL: Tool = Tool {
    name: "stream-proxy",
    operand_hint: None,
    exclusive: &[
        &["--quiet", "--verbose"],
        &["--scenario", "--check"],
        &["--scenario", "--replay-drops"],
        &["--scenario", "--impair"],
        &["--scenario", "--preset"],
        &["--scenario", "--attack"],
        &["--impair", "--replay-drops"],
        &["--preset", "--replay-drops"],
        &["--raw", "--attack"],
    ],
};

/// What the target speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Carrier(crate::proxy::Side);

impl FromStr for Carrier {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "udp" => Ok(Self(crate::proxy::Side::Udp)),
            "tcp" => Ok(Self(crate::proxy::Side::Tcp)),
            _ => Err("a carrier is udp or tcp".to_owned()),
        }
    }
}

/// A preset that exists.
#[derive(Clone, Debug)]
struct Named(Preset);

impl FromStr for Named {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        preset(name).map(Self)
    }
}

/// Runs `stream-proxy` with the arguments of this process.
pub fn main() -> ExitCode {
    args::run(&TOOL, run)
}

fn run(options: &Options, console: &Console) -> Result<Exit, Failure> {
    match &options.words[..] {
        [] => {}
        [word, file] if word == "inspect" => return inspect::run(file, options.follow, console),
        [word] if word == "inspect" => return Err(Failure::usage("inspect needs a FILE")),
        [word, ..] => return Err(Failure::usage(format!("unexpected operand '{word}'"))),
    }
    if options.follow {
        return Err(Failure::usage("--follow is for inspect FILE"));
    }
    if let Some(file) = &options.check {
        return plan::check(file, console);
    }
    if options.attack == Some(Attack::KeySwap) {
        return attack::swap_keys(options, console);
    }
    let plan = Plan::new(options)?;
    let mut report = Report::new(&plan);
    let ended = relay(options, &plan, console, &mut report);
    json::conclude(options.json, &TOOL, &report.facts(), ended)
}

fn relay(options: &Options, plan: &Plan, console: &Console, report: &mut Report) -> Result<Exit, Failure> {
    let signals = Signals::watch(console).map_err(|error| Failure::io("cannot watch for signals", &error))?;
    plan::raise_file_limit();
    let running = watch::start(options, plan, console)?;
    let ended = watch::watch(&running, options, plan, console, &signals);
    running.end(options, plan, console, report)?;
    let exit = ended?;
    let unmet = plan.judge(report);
    if unmet.is_empty() {
        return Ok(exit);
    }
    Err(Failure::runtime(format!("not as expected: {}", unmet.join("; "))))
}
