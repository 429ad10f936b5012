//! What all that runs on TCP shares: the same socket options, and blocking bulk and ping over `Read + Write`.

use super::{check_whole, ping, say_report};
use crate::Fallible;
use crate::meter::Meter;
use crate::work::{CHUNK, Report, Work};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The machine's default may be another one; all are measured with this.
const CONGESTION: &[u8] = b"cubic";

/// Sets what all have.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_congestion(CONGESTION)
}

/// Sends: `end` says that this was all, and returns when the peer has it.
pub fn send<S: Read + Write>(stream: &mut S, work: Work, end: impl FnOnce(&mut S) -> io::Result<()>) -> Fallible<()> {
    match work {
        Work::Bulk { bytes } => {
            let chunk = vec![0x5a; CHUNK];
            let meter = Meter::start();
            let mut left = bytes;
            while left > 0 {
                let n = left.min(CHUNK as u64) as usize;
                stream.write_all(&chunk[..n])?;
                left -= n as u64;
            }
            end(stream)?;
            say_report(&Report { bytes, ..meter.stop() })
        }
        Work::Ping { count } => {
            say_report(&ping::ask(stream, count)?)?;
            // The other side has answered the last question, and may be gone.
            let _ = end(stream);
            Ok(())
        }
        _ => Err("this carrier only knows bulk and ping".into()),
    }
}

/// Receives until the end, or answers.
pub fn receive<S: Read + Write>(stream: &mut S, work: Work) -> Fallible<()> {
    match work {
        Work::Bulk { bytes } => {
            let mut buffer = vec![0; CHUNK];
            let meter = Meter::start();
            let mut read = 0;
            loop {
                match stream.read(&mut buffer)? {
                    0 => break,
                    n => read += n as u64,
                }
            }
            let report = meter.stop();
            check_whole(read, bytes)?;
            say_report(&Report { bytes, ..report })
        }
        Work::Ping { count } => say_report(&ping::answer(stream, count)?),
        _ => Err("this carrier only knows bulk and ping".into()),
    }
}
