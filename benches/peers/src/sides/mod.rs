//! The children: one side each, of one transport, doing one work.
//!
//! They talk to the parent in lines: a server says `listening ADDR`, a side that must start together with the other says
//! `ready` and waits for `go`, a server without an end of its own waits for `stop`, and all end with `report {...}`.

mod kcp;
mod ours;
mod ping;
mod plain_tcp;
mod quic;
mod quinn;
mod raw_udp;
mod rustls_tcp;
mod s2n;
mod tcp;

use crate::Fallible;
use crate::work::{Report, Role, Task, Transport, Work};
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;

pub const LISTENING: &str = "listening ";
pub const READY: &str = "ready";
pub const GO: &str = "go";
pub const STOP: &str = "stop";
pub const REPORT: &str = "report ";

/// Runs the side that `task` describes in JSON.
pub fn child(task: &str) -> Fallible<()> {
    let task: Task = serde_json::from_str(task)?;
    let run = match task.transport {
        Transport::OursUdp1452 | Transport::OursUdp | Transport::OursTcp => ours::run,
        Transport::OwnedUdp1452 | Transport::OwnedUdp | Transport::OwnedTcp => ours::run,
        Transport::Quinn => quinn::run,
        Transport::S2n => s2n::run,
        Transport::Kcp => kcp::run,
        Transport::RustlsTcp => rustls_tcp::run,
        Transport::PlainTcp => plain_tcp::run,
        Transport::RawUdp => raw_udp::run,
    };
    run(&task)
}

impl Task {
    fn server(&self) -> Fallible<SocketAddr> {
        Ok(self.addr.ok_or("a client must be told where the server is")?)
    }

    fn is_server(&self) -> bool {
        self.role == Role::Server
    }

    /// This transport cannot do that.
    fn unknown(&self) -> Fallible<()> {
        Err(format!("{:?} has no {:?}", self.transport, self.work).into())
    }
}

/// A free port on loopback.
fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn say_listening(addr: SocketAddr) -> io::Result<()> {
    say(&format!("{LISTENING}{addr}"))
}

fn say_report(report: &Report) -> Fallible<()> {
    Ok(say(&format!("{REPORT}{}", serde_json::to_string(report)?))?)
}

/// Waits until the other side has come as far, too.
fn meet() -> io::Result<()> {
    say(READY)?;
    hear(GO)
}

/// Waits until the parent says `word`. A parent that is gone says everything.
fn hear(word: &str) -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    loop {
        match lines.next() {
            Some(Ok(line)) if line != word => {}
            Some(Err(error)) => return Err(error),
            _ => return Ok(()),
        }
    }
}

/// The bytes of a bulk transfer.
fn bulk_bytes(work: Work) -> Option<u64> {
    match work {
        Work::Bulk { bytes } => Some(bytes),
        _ => None,
    }
}

/// Fails unless all arrived.
fn check_whole(read: u64, expected: u64) -> Fallible<()> {
    if read == expected {
        Ok(())
    } else {
        Err(format!("{read} bytes came, and {expected} were sent").into())
    }
}
