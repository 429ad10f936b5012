//! `stream-lab bench`: the same bytes over each carrier, in turn, in one table.
//!
//! Both ends are threads of this process, so its processor time is that of both.

mod carriers;
mod table;
mod tls;

use super::super::args::{self, Tool, print, tool_options};
use super::super::console::Console;
use super::super::exit::{Exit, Failure};
use super::super::json;
use super::super::quantity::Bytes;
use super::cpu_time;
use carriers::{CARRIERS, Ends};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;
use table::{Run, Table};

const TRANSFER_BYTES: u64 = 256 << 20;
const ROUNDS: u32 = 3;

tool_options! {
    #[argh(
        description = "Send the same bytes over each carrier, in turn, and compare.",
        help_triggers("-h", "--help"),
        example = "{command_name}",
        example = "{command_name} --size 1GiB --rounds 7 --json",
        note = "Secure is TLS 1.3 with AES-128-GCM everywhere, TCP has the congestion control of the system. Both ends run in this process, over the loopback interface.",
        error_code(0, "Everything arrived over every carrier."),
        error_code(1, "It did not."),
        error_code(2, "The command line makes no sense.")
    )]
    struct Options {
        /// bytes of a transfer (default: 256 MiB)
        #[argh(option, default = "Bytes(TRANSFER_BYTES)", arg_name = "bytes")]
        size: Bytes,
        /// transfers over each carrier (default: 3); the medians are shown
        #[argh(option, default = "ROUNDS", arg_name = "n")]
        rounds: u32,
        /// print the result as one JSON object on standard output
        #[argh(switch)]
        json: bool,
    }
}

const TOOL: Tool = Tool {
    name: "stream-lab bench",
    operand_hint: None,
    exclusive: &[&["--quiet", "--verbose"]],
};

/// Runs `stream-lab bench` with these arguments.
pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    args::run_words(&TOOL, words, run)
}

fn run(options: &Options, console: &Console) -> Result<Exit, Failure> {
    if options.rounds == 0 || options.size.0 == 0 {
        return Err(Failure::usage("--rounds and --size must be at least 1"));
    }
    let mut table = Table::new(options.size.0, options.rounds);
    let ended = compare(options, console, &mut table);
    let ended = ended.map(|()| {
        if options.json {
            console.note(table.text().trim_end());
            Exit::Success
        } else {
            print(&TOOL, &table.text())
        }
    });
    json::conclude(options.json, &TOOL, &table.facts(), ended)
}

fn compare(options: &Options, console: &Console, table: &mut Table) -> Result<(), Failure> {
    let ends = Ends::new()?;
    let _spinner = console.spinner("measuring".to_owned());
    // In turn, so that a busy moment of the machine meets all of them.
    for _ in 0..options.rounds {
        for carrier in CARRIERS {
            let began = cpu_time();
            let elapsed: Duration = carrier
                .transfer(&ends, options.size.0)
                .map_err(|error| Failure::io(format!("{}: no transfer", carrier.name()), &error))?;
            let cpu = cpu_time().saturating_sub(began);
            table.add(carrier, Run { elapsed, cpu });
        }
    }
    Ok(())
}
