//! What all that runs on TCP shares: the same socket options, and blocking bulk and ping over `Read + Write`.

use super::{any_port, check_whole, ping, say_listening, say_report};
use crate::Fallible;
use crate::meter::Meter;
use crate::work::{CHUNK, Report, Work};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// The machine's default may be another one; all are measured with this.
const CONGESTION: &[u8] = b"cubic";

fn socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // Before there is a connection: one that began with another control keeps its pacing.
    socket.set_tcp_congestion(CONGESTION)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Listens, tells where, and waits for the one client.
pub fn accept() -> io::Result<TcpStream> {
    let socket = socket()?;
    socket.bind(&any_port().into())?;
    socket.listen(1)?;
    let listener = TcpListener::from(socket);
    say_listening(listener.local_addr()?)?;
    Ok(listener.accept()?.0)
}

pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket()?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
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
