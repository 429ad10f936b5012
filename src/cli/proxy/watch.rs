//! Running proxies, watched: steps are taken in their time, notices told, and one line kept up to date on a terminal.

use super::super::console::Console;
use super::super::exit::{Exit, Failure};
use super::super::signals::Signals;
use super::plan::{Plan, drops_text};
use super::show::{Report, status_line, table};
use super::{Options, attack};
use crate::control::ProxyAgent;
use crate::filter::{Direction, Scope};
use crate::proxy::{Capture, Change, Notice, Proxy, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::SIGUSR1;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the line on a terminal is made anew.
const REFRESH: Duration = Duration::from_millis(200);
/// How often notices are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// What runs.
pub(super) struct Running {
    proxies: Vec<Arc<Proxy>>,
    agents: Vec<ProxyAgent>,
    captures: Vec<(String, Capture)>,
    /// Becomes readable at SIGUSR1.
    asked: UnixStream,
}

pub(super) fn start(options: &Options, plan: &Plan, console: &Console) -> Result<Running, Failure> {
    if plan.is_seed_drawn {
        console.note(format_args!(
            "seed {} (drawn; --seed {} repeats the dice)",
            plan.seed, plan.seed
        ));
    }
    let mut proxies = Vec::new();
    for (index, (places, _)) in plan.places.iter().enumerate() {
        let mut builder = plan.builder(index)?;
        if options.record_drops.is_some() {
            builder = builder.record();
        }
        let (builder, arm) = match options.attack {
            Some(kind) => attack::arm(builder, kind),
            None => (builder, None),
        };
        let proxy = builder.start(&places[..]).map_err(|error| {
            let port = places[0].port();
            Failure::io(format!("cannot listen on port {port}"), &error)
        })?;
        if let Some(arm) = arm {
            arm.aim(&proxy);
        }
        proxies.push(Arc::new(proxy));
    }
    let captures = options.capture.iter().flat_map(|file| {
        let several = proxies.len() > 1;
        let name = move |index: usize| {
            if several {
                format!("{file}.{}", index + 1)
            } else {
                file.clone()
            }
        };
        proxies
            .iter()
            .enumerate()
            .map(move |(index, proxy)| (name(index), proxy))
    });
    let captures = captures
        .map(|(file, proxy)| {
            let capture = Capture::start(proxy, Path::new(&file));
            capture
                .map(|capture| (file.clone(), capture))
                .map_err(|error| Failure::io(format!("cannot write to {file}"), &error))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(file) = &options.record_drops {
        // A place that cannot be written should be known before the run.
        std::fs::write(file, "").map_err(|error| Failure::io(format!("cannot write to {file}"), &error))?;
    }
    // Now, when nothing can be missed any more.
    for (proxy, (_, target)) in proxies.iter().zip(&plan.places) {
        let (front, back) = proxy.sides();
        console.note(format_args!("listening on {} ({})", proxy.local_addr(), front.word()));
        console.note(format_args!("target {target} ({})", back.word()));
    }
    let named = plan.scenario.proxies.iter().zip(&proxies);
    let agents = options.controller.iter().flat_map(|address| {
        let named = named.clone();
        named.map(move |(plan, proxy)| {
            let start = if plan.raw {
                ProxyAgent::start_raw
            } else {
                ProxyAgent::start
            };
            start(address, &plan.name, proxy)
        })
    });
    let agents = agents.collect::<Result<Vec<_>, _>>();
    let agents = agents.map_err(|error| Failure::io("cannot start a thread for the controller", &error))?;
    let (asked, ask) = UnixStream::pair().map_err(|error| Failure::io("cannot make a pipe", &error))?;
    signal_hook::low_level::pipe::register(SIGUSR1, ask)
        .map_err(|error| Failure::io("cannot watch for SIGUSR1", &error))?;
    Ok(Running {
        proxies,
        agents,
        captures,
        asked,
    })
}

/// Until a signal, the end of a scenario, or the end of the time given.
pub(super) fn watch(
    running: &Running,
    options: &Options,
    plan: &Plan,
    console: &Console,
    signals: &Signals,
) -> Result<Exit, Failure> {
    let start = now();
    let mut steps = plan.scenario.steps.iter().peekable();
    let ends_by_itself = plan.has_scenario && !plan.scenario.expect.is_empty();
    let last_step = plan.scenario.steps.last().map(|step| step.at);
    let run_for = options.run_for.map(|span| span.0);
    let end = run_for.or_else(|| last_step.filter(|_| ends_by_itself));
    let live = console.live();
    let mut next_line = start;
    loop {
        let elapsed = now() - start;
        while let Some(step) = steps.next_if(|step| step.at <= elapsed) {
            take(step, &running.proxies[step.proxy], console);
        }
        tell(running, plan, console);
        if live.is_shown() && now() >= next_line {
            next_line = now() + REFRESH;
            live.set(&status_line(&running.proxies));
        }
        if let Some(exit) = signals.caught() {
            return Ok(exit);
        }
        if end.is_some_and(|end| elapsed >= end) {
            return Ok(Exit::Success);
        }
        if running.proxies.iter().any(|proxy| !proxy.is_running()) {
            tell(running, plan, console);
            return Err(Failure::runtime("a proxy has ended by itself"));
        }
        let until = steps.peek().map(|step| step.at).into_iter().chain(end).min();
        let left = until.map_or(LOOK, |until| until.saturating_sub(elapsed).min(LOOK));
        if wait(signals, &running.asked, left) {
            for (proxy, plan) in running.proxies.iter().zip(&plan.scenario.proxies) {
                console.note(table(&plan.name, proxy).trim_end());
            }
        }
    }
}

/// Whether the table was asked for.
fn wait(signals: &Signals, asked: &UnixStream, time: Duration) -> bool {
    let mut sockets = [
        PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN),
        PollFd::new(asked, PollFlags::IN),
    ];
    let time = Timespec::try_from(time).ok();
    let woken = poll(&mut sockets, time.as_ref());
    let is_asked = woken.is_ok() && !sockets[1].revents().is_empty();
    if is_asked {
        let _ = (&*asked).read(&mut [0; 64]);
    }
    is_asked
}

/// Takes a step of a scenario.
pub(in crate::cli) fn take(step: &Step, proxy: &Proxy, console: &Console) {
    let at = step.at.as_millis();
    let (words, done) = match &step.change {
        Change::Rules(spec) => {
            proxy.set_rules(spec);
            (format!("rules are now \"{spec}\""), Ok(()))
        }
        Change::Add(name, entry) => {
            let added = proxy.add_rule(name.as_deref(), entry);
            (format!("added \"{entry}\""), added.map(drop))
        }
        Change::Set(name, entry) => {
            let set = ways(entry.scope).try_for_each(|way| proxy.set_rule(way, name, entry.clone()));
            (format!("{name} is now \"{entry}\""), set)
        }
        Change::Remove(name, scope) => {
            let removed = ways(*scope).map(|way| proxy.remove_rule(way, name));
            // In both directions: in either of them will do.
            let removed = removed.reduce(Result::or).unwrap_or(Ok(()));
            (format!("removed {name}"), removed)
        }
        Change::Rebind => {
            proxy.rebind();
            ("other ports towards the target".to_owned(), Ok(()))
        }
    };
    match done {
        Ok(()) => console.note(format_args!("after {at} ms: {words}")),
        Err(error) => console.warn(format_args!("after {at} ms: {error}")),
    }
}

fn ways(scope: Scope) -> impl Iterator<Item = Direction> {
    let both = [Direction::Upstream, Direction::Downstream];
    both.into_iter().filter(move |direction| scope.covers(*direction))
}

fn tell(running: &Running, plan: &Plan, console: &Console) {
    for (proxy, (_, target)) in running.proxies.iter().zip(&plan.places) {
        for notice in proxy.notices().try_iter() {
            match notice {
                Notice::Came { .. } | Notice::Left { .. } => {}
                Notice::NoTarget { client, why } => console.warn(format_args!(
                    "{client}: the target {target} cannot be reached ({}); is anything listening there?",
                    without_number(&why)
                )),
                Notice::Full { client } => {
                    console.warn(format_args!("{client} and others are not served: too many clients"));
                }
                Notice::Trouble { why } => console.warn(without_number(&why)),
            }
        }
    }
}

/// Without the " (os error 111)" of the standard library.
fn without_number(words: &str) -> &str {
    words.split(" (os error ").next().unwrap_or(words)
}

impl Running {
    /// Takes the last look at the books, ends the proxies, and completes the files.
    pub(super) fn end(
        self,
        options: &Options,
        plan: &Plan,
        console: &Console,
        report: &mut Report,
    ) -> Result<(), Failure> {
        report.look(&self.proxies);
        if let Some(file) = &options.record_drops {
            let replay = self.proxies[0]
                .replay()
                .map_err(|error| Failure::runtime(format!("{file} is empty: {error}")))?;
            std::fs::write(file, drops_text(plan.seed, &replay))
                .map_err(|error| Failure::io(format!("cannot write to {file}"), &error))?;
        }
        if !options.json {
            for (proxy, plan) in self.proxies.iter().zip(&plan.scenario.proxies) {
                console.note(table(&plan.name, proxy).trim_end());
            }
        }
        // They let go of the proxies, which end then.
        drop(self.agents);
        drop(self.proxies);
        for (file, capture) in self.captures {
            let packets = capture
                .finish()
                .map_err(|error: io::Error| Failure::io(format!("cannot write to {file}"), &error))?;
            console.note(format_args!("{packets} packets in {file}"));
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "steps are taken at their times")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_error_helps_nobody() {
        assert_eq!(
            without_number("Connection refused (os error 111)"),
            "Connection refused"
        );
        assert_eq!(without_number("as it is"), "as it is");
    }

    #[test]
    fn a_live_line_is_for_terminals() {
        let live = Console::new("test", true).live();
        assert!(!live.is_shown());
        live.set("unseen");
    }
}
