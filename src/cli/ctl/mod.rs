//! `stream-ctl`: steers a running controller, by the paths that its page uses too.

mod rules;
mod show;
mod watch;

use super::args::{self, Tool, print, tool_options};
use super::console::Console;
use super::exit::{Exit, Failure, plain_words};
use super::quantity::Span;
use crate::control::{Address, Client, Refused};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Where `stream-controller` listens if nothing else is said.
const ADDRESS: &str = "http://127.0.0.1:5000";
/// Longer than an agent waits: nothing stands still meanwhile, and a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

tool_options! {
    #[argh(
        description = "Steer a running stream-controller. Commands: status; stats; config [KEY=VALUE...]; rule add RULES; \
                       rule set ID RULE or KEY=VALUE...; rule rm ID; preset NAME or RULES; cut [up|down|both|off]; scenario \
                       play NAME or FILE; scenario stop; watch; capture FILE; reset.",
        help_triggers("-h", "--help"),
        example = "{command_name} rule add 'up: loss 5% | down: delay 40ms'",
        example = "{command_name} rule set up.loss pct=20",
        example = "{command_name} cut up --for 2s",
        example = "{command_name} scenario play lesson.toml",
        example = "{command_name} stats --json",
        error_code(0, "It was done."),
        error_code(1, "The controller did not do it, and says why."),
        error_code(2, "The command line makes no sense."),
        error_code(4, "No controller answers."),
        error_code(128, "Plus the number of the signal that ended it.")
    )]
    struct Options {
        /// what to do
        #[argh(positional, arg_name = "command")]
        words: Vec<String>,
        /// address of the controller (default: port 5000 of this machine)
        #[argh(option, arg_name = "url")]
        controller: Option<Address>,
        /// its token, if that is no part of the address
        #[argh(option, arg_name = "word")]
        token: Option<String>,
        /// which proxy (default: the only one, or main)
        #[argh(option, arg_name = "id")]
        proxy: Option<String>,
        /// rule add: what the rule is to be called
        #[argh(option, arg_name = "name")]
        name: Option<String>,
        /// cut: end the cut after so long
        #[argh(option, long = "for", arg_name = "time")]
        time: Option<Span>,
        /// print what the controller answers as JSON
        #[argh(switch)]
        json: bool,
    }
}

const TOOL: Tool = Tool {
    name: "stream-ctl",
    operand_hint: None,
    exclusive: &[&["--quiet", "--verbose"]],
};

/// Runs `stream-ctl` with the arguments of this process.
pub fn main() -> ExitCode {
    args::run(&TOOL, run)
}

/// One command, and whom it is for.
struct Command<'a> {
    options: &'a Options,
    client: Client,
    address: Address,
    console: &'a Console,
}

fn run(options: &Options, console: &Console) -> Result<Exit, Failure> {
    let address = match &options.controller {
        Some(address) => address.clone(),
        None => ADDRESS.parse().expect("it is an address"),
    };
    let address = address.with_token(options.token.clone());
    let command = Command {
        options,
        client: Client::patient(&address, PATIENCE),
        address,
        console,
    };
    let words: Vec<_> = options.words.iter().map(String::as_str).collect();
    if options.name.is_some() && !words.starts_with(&["rule", "add"]) {
        return Err(Failure::usage("--name is for rule add"));
    }
    if options.time.is_some() && words.first() != Some(&"cut") {
        return Err(Failure::usage("--for is for cut"));
    }
    match &words[..] {
        [] => Err(Failure::usage(
            "a command is missing: status, stats, config, rule, preset, cut, scenario, watch, \
                                  capture or reset",
        )),
        ["status"] => Ok(command.say(&command.ask(command.client.get("/v1/state"))?, show::status)),
        ["stats"] => Ok(command.say(&command.ask(command.client.get("/statistics"))?, show::stats)),
        ["reset"] => {
            command.ask(command.client.post("/v1/reset", &json!({})))?;
            console.note("counters, packets and history are empty; rules stay");
            Ok(Exit::Success)
        }
        ["config", settings @ ..] => command.config(settings),
        ["rule", rest @ ..] => command.rule(rest),
        ["preset", what] => command.preset(what),
        ["cut"] => command.cut("both"),
        ["cut", way] => command.cut(way),
        ["scenario"] => Ok(command.say(&command.ask(command.client.get("/v1/scenario"))?, show::scenarios)),
        ["scenario", "play", what] => command.play(what),
        ["scenario", "stop"] => {
            let scenario = command.ask(command.client.delete("/v1/scenario"))?;
            Ok(command.say(&scenario, show::scenarios))
        }
        ["watch"] => watch::run(&command),
        ["capture", file] => command.capture(file),
        ["preset", ..] => Err(Failure::usage("preset takes the name of one, or rules in one word")),
        ["capture", ..] => Err(Failure::usage(
            "capture takes the name of a file, or - for standard output",
        )),
        ["scenario", ..] => Err(Failure::usage("scenario takes play NAME, play FILE or stop")),
        [word, ..] => Err(Failure::usage(format!(
            "'{}' is no command; there is status, stats, config, rule, preset, cut, scenario, watch, capture and reset",
            if words.len() > 1 {
                words.join(" ")
            } else {
                (*word).to_owned()
            }
        ))),
    }
}

impl Command<'_> {
    /// What the controller answered, or why it did not.
    fn ask<V>(&self, answer: Result<V, Refused>) -> Result<V, Failure> {
        answer.map_err(|refused| match refused.status {
            None => Failure::new(
                Exit::Connect,
                format!(
                    "no controller answers at {}: {}; is stream-controller running there?",
                    self.address, refused.text
                ),
            ),
            Some(401) => Failure::runtime(format!("{}; give --token", refused.text)),
            Some(_) => Failure::runtime(refused.text),
        })
    }

    /// Prints an answer, in words or as it is.
    fn say(&self, answer: &Value, words: fn(&Value) -> String) -> Exit {
        let text = if self.options.json {
            answer.to_string()
        } else {
            words(answer)
        };
        print(&TOOL, &text)
    }

    fn config(&self, settings: &[&str]) -> Result<Exit, Failure> {
        let answer = if settings.is_empty() {
            self.ask(self.client.get("/config"))?
        } else {
            self.ask(self.client.post("/config", &rules::keys_of(settings)?))?
        };
        Ok(self.say(&answer, show::config))
    }

    fn play(&self, what: &str) -> Result<Exit, Failure> {
        // A file is one that has the name of a file, or is there.
        let path = Path::new(what);
        let is_file = path.is_file() || path.extension().is_some() || what.contains('/');
        let body = if is_file {
            let text = fs::read_to_string(what).map_err(|error| Failure::io(format!("cannot read {what}"), &error))?;
            json!({"name": what, "toml": text})
        } else {
            json!({"name": what})
        };
        let answer = self.ask(self.client.post("/v1/scenario", &body))?;
        Ok(self.say(&answer, show::scenarios))
    }

    fn capture(&self, file: &str) -> Result<Exit, Failure> {
        let path = match &self.options.proxy {
            Some(id) => format!("/v1/capture.pcapng?proxy={}", rules::part_of_path(id)),
            None => "/v1/capture.pcapng".to_owned(),
        };
        let bytes = self.ask(self.client.download(&path))?;
        if file == "-" {
            let mut out = io::stdout().lock();
            let written = out.write_all(&bytes).and_then(|()| out.flush());
            return match written {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    Err(Failure::io("cannot write to standard output", &error))
                }
                _ => Ok(Exit::Success),
            };
        }
        fs::write(file, &bytes)
            .map_err(|error| Failure::runtime(format!("cannot write to {file}: {}", plain_words(&error))))?;
        self.console.note(format_args!("{} bytes in {file}", bytes.len()));
        Ok(Exit::Success)
    }
}
