//! `stream-controller`: a page and a REST interface to watch and steer senders, receivers and proxies.

use super::args::{self, Tool, tool_options};
use super::console::Console;
use super::exit::{Exit, Failure};
use super::quantity::Port;
use super::signals::Signals;
use crate::control::{Controller, ControllerBuilder};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::net::IpAddr;
use std::process::ExitCode;

/// The port of the original.
const PORT: u16 = 5000;

tool_options! {
    #[argh(
        description = "Watch and steer senders, receivers and proxies, in a browser and over REST. They are told of it by \
                       --controller.",
        help_triggers("-h", "--help"),
        example = "{command_name}",
        example = "{command_name} --bind 0.0.0.0 --token s3cret --allow-host lab.example",
        error_code(0, "Never: it runs until a signal."),
        error_code(1, "Something failed, such as a port that is taken."),
        error_code(2, "The command line makes no sense."),
        error_code(128, "Plus the number of the signal that ended it.")
    )]
    struct Options {
        /// port to listen on (default: 5000; 0 takes a free one and says which)
        #[argh(option, default = "Port(PORT)", arg_name = "port")]
        port: Port,
        /// address to listen on (default: 127.0.0.1); one that others can reach needs --token
        #[argh(option, arg_name = "addr")]
        bind: Option<String>,
        /// word that everybody must show who asks or reports; it is part of the address that is printed
        #[argh(option, arg_name = "word")]
        token: Option<String>,
        /// name by which browsers may call this machine (may be given several times)
        #[argh(option, arg_name = "name")]
        allow_host: Vec<String>,
    }
}

const TOOL: Tool = Tool {
    name: "stream-controller",
    operand_hint: None,
    exclusive: &[&["--quiet", "--verbose"]],
};

/// Runs `stream-controller` with the arguments of this process.
pub fn main() -> ExitCode {
    args::run(&TOOL, run)
}

fn run(options: &Options, console: &Console) -> Result<Exit, Failure> {
    let signals = Signals::watch(console).map_err(|error| Failure::io("cannot watch for signals", &error))?;
    let builder = Controller::builder().bind(address(options)?).port(options.port.0);
    let builder = super::lab::run::canned().fold(builder, ControllerBuilder::canned);
    let builder = options.token.iter().fold(builder, ControllerBuilder::token);
    let builder = options.allow_host.iter().fold(builder, ControllerBuilder::allow_host);
    let controller = builder.start().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput if options.token.is_none() => Failure::usage(
            "an address that others can reach needs --token WORD: whoever reaches it can steer everything",
        ),
        io::ErrorKind::InvalidInput => Failure::usage(format!("--token: {error}")),
        _ => Failure::io(format!("cannot listen on port {}", options.port.0), &error),
    })?;
    console.note(format_args!("listening on {} (http)", controller.local_addr()));
    console.note(format_args!("page {}", controller.url()));
    loop {
        if let Some(exit) = signals.caught() {
            return Ok(exit);
        }
        let mut asked = [PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN)];
        // Interrupted by a signal is what is waited for.
        let _ = poll(&mut asked, None);
    }
}

fn address(options: &Options) -> Result<IpAddr, Failure> {
    match options.bind.as_deref() {
        None | Some("localhost") => Ok(IpAddr::from([127, 0, 0, 1])),
        Some(text) => {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            let ip = bare.parse();
            ip.map_err(|_| Failure::usage(format!("--bind takes an address of this machine, not '{text}'")))
        }
    }
}
