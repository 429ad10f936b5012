//! `stream-ctl watch`: what happens, line by line, until a signal.

use super::{Command, TOOL};
use crate::cli::exit::{Exit, Failure};
use crate::cli::signals::Signals;
use serde_json::Value;
use std::io::{self, Write};
use std::time::Duration;

/// How long one poll waits.
const POLL: Duration = Duration::from_secs(5);
/// Of ten samples a second one is shown.
const SHOWN_EVERY_MS: f64 = 1000.0;

pub(super) fn run(command: &Command<'_>) -> Result<Exit, Failure> {
    let signals = Signals::watch(command.console).map_err(|error| Failure::io("cannot watch for signals", &error))?;
    let start = command.ask(command.client.get("/v1/events"))?;
    let mut next = start["next"].as_u64().unwrap_or(0);
    let mut last_shown = f64::NEG_INFINITY;
    let mut out = io::stdout().lock();
    loop {
        let path = format!("/v1/events?since={next}&wait={}", POLL.as_secs());
        let answer = {
            // Nothing is under way: a signal may end it at once.
            let _waiting = signals.waiting();
            command.ask(command.client.get_within(&path, POLL + Duration::from_secs(5)))?
        };
        next = answer["next"].as_u64().unwrap_or(next);
        for event in answer["events"].as_array().into_iter().flatten() {
            let line = if command.options.json {
                Some(event.to_string())
            } else {
                words(event, &mut last_shown)
            };
            let Some(line) = line else { continue };
            match writeln!(out, "{line}").and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Success),
                Err(error) => {
                    return Err(Failure::io(
                        format!("{} cannot write to standard output", TOOL.name),
                        &error,
                    ));
                }
                Ok(()) => {}
            }
        }
    }
}

fn words(event: &Value, last_shown: &mut f64) -> Option<String> {
    let data = &event["data"];
    let at = data["t_ms"].as_f64().unwrap_or_default();
    match event["event"].as_str()? {
        "stats" => {
            if at - *last_shown < SHOWN_EVERY_MS {
                return None;
            }
            *last_shown = at;
            let sample = &data["sample"];
            Some(format!(
                "{:10.1} s  sender {}/{}  proxy {}/{}  receiver {}/{} packets sent/received",
                at / 1e3,
                sample["client_sent"],
                sample["client_recv"],
                sample["proxy_sent"],
                sample["proxy_recv"],
                sample["server_sent"],
                sample["server_recv"]
            ))
        }
        "mark" => Some(format!("{:10.1} s  {}", at / 1e3, data["text"].as_str()?)),
        "log" => Some(format!(
            "{:10.1} s  {}: {}",
            at / 1e3,
            data["source"].as_str()?,
            data["text"].as_str()?
        )),
        _ => None,
    }
}
