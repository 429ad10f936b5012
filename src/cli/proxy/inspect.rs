//! `stream-proxy inspect FILE`: a line for each packet, and what a listener has learnt.

use super::super::args;
use super::super::console::Console;
use super::super::exit::{Exit, Failure, plain_words};
use super::super::signals::Signals;
use super::TOOL;
use crate::proxy::inspect::Inspector;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

/// How often a file that grows is looked at.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn run(name: &str, follow: bool, console: &Console) -> Result<Exit, Failure> {
    let cannot = |error: &io::Error| Failure::io(format!("cannot read {name}"), error);
    let file = File::open(name).map_err(|error| cannot(&error))?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(Failure::runtime(format!("cannot read {name}: it is a directory")));
    }
    let signals = follow.then(|| Signals::watch(console)).transpose();
    let signals = signals.map_err(|error| Failure::io("cannot watch for signals", &error))?;
    let mut inspector = Inspector::new(file);
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        let line = inspector.next_line().map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => {
                Failure::new(Exit::Integrity, format!("cannot read {name}: {}", plain_words(&error)))
            }
            _ => cannot(&error),
        })?;
        let written = match (&line, &signals) {
            (Some(line), _) => writeln!(out, "{line}"),
            (None, None) => break,
            (None, Some(signals)) => out.flush().and_then(|()| wait(signals)),
        };
        match written {
            Ok(()) => {}
            // A reader that has gone (`| head`) wants no more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Success),
            Err(error) => return Err(Failure::io("cannot write to standard output", &error)),
        }
        if signals.as_ref().is_some_and(|signals| signals.caught().is_some()) {
            break;
        }
    }
    if out.flush().is_err() {
        return Ok(Exit::Success);
    }
    drop(out);
    if inspector.is_cut() {
        console.warn(format_args!(
            "{name} ends within a packet: is it still being written? --follow reads on"
        ));
    }
    Ok(args::print(&TOOL, &inspector.learnt()))
}

/// Until the file may have grown. A reader of ours that goes away meanwhile is an error, though nothing is written.
fn wait(signals: &Signals) -> io::Result<()> {
    let out = io::stdout();
    let mut places = [
        PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(out.as_fd(), PollFlags::empty()),
    ];
    // Early is as good as late.
    let _ = poll(&mut places, Timespec::try_from(LOOK).ok().as_ref());
    if places[1].revents().contains(PollFlags::ERR) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}
