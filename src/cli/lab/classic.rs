//! The two ends in classic mode, over the same bad link.

use super::super::console::Console;
use super::super::exit::{Failure, plain_words};
use super::ends::End;
use super::report::Report;
use super::source::Source;
use crate::classic::{Arq, Builder, Stream};
use crate::error::{Limit, StreamError};
use crate::filter::Direction;
use crate::impair::Impaired;
use crate::stream::Carrier;
use crate::subsystem::tcp::Tcp;
use crate::subsystem::{UdpClient, UdpServerSingleRemote};
use aws_lc_rs::digest::{Context, SHA256};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CHUNK_BYTES: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// The idle time-out ends a transfer that does not move, not this.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// The receiver looks that often whether the sender is done: the protocol has no way to say it.
const LOOK_AROUND: Duration = Duration::from_millis(20);

/// Sends all of `source`. Returns what the sender and the receiver saw.
pub(super) fn run(
    carrier: Carrier,
    arq: Arq,
    report: &mut Report,
    source: &mut Source,
    console: &Console,
) -> Result<[Result<End, Failure>; 2], Failure> {
    let no_socket = |error: io::Error| Failure::io("cannot make a socket on the loopback interface", &error);
    let builder = Builder::new().arq(arq);
    let chain = |direction| report.faults.chain(report.seed, direction);
    let (up, down) = (chain(Direction::Upstream), chain(Direction::Downstream));
    let (client, server, controls) = match carrier {
        Carrier::Udp => {
            let server = UdpServerSingleRemote::new((Ipv4Addr::LOCALHOST, 0)).map_err(no_socket)?;
            let port = server.local_addr().map_err(no_socket)?.port();
            let client = UdpClient::new("127.0.0.1", port).map_err(no_socket)?;
            client.introduce().map_err(no_socket)?;
            let server = server.accept(Some(CONNECT_TIMEOUT)).map_err(no_socket)?;
            let (server, there) = Impaired::with_control(server, up);
            let (client, back) = Impaired::with_control(client, down);
            (builder.over(client), builder.over(server), [there, back])
        }
        Carrier::Tcp => {
            let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_socket)?;
            let client = Tcp::connect(door.local_addr().map_err(no_socket)?).map_err(no_socket)?;
            let (server, _) = door.accept().map_err(no_socket)?;
            let (server, there) = Impaired::with_control(Tcp::from_stream(server).map_err(no_socket)?, up);
            let (client, back) = Impaired::with_control(client, down);
            (builder.over(client), builder.over(server), [there, back])
        }
    };
    let done = Arc::new(AtomicBool::new(false));
    let receiver = receive(server.map_err(no_socket)?, Arc::clone(&done))?;
    let sent = send(&client.map_err(no_socket)?, source, console);
    done.store(true, Ordering::SeqCst);
    let received = receiver
        .join()
        .unwrap_or_else(|_| Err(Failure::runtime("the receiver's thread failed")));
    report.filters = controls.map(|control| control.counters());
    Ok([sent, received])
}

fn send(mut stream: &Stream, source: &mut Source, console: &Console) -> Result<End, Failure> {
    let broken = |error: io::Error| Failure::runtime(format!("sending failed: {}", plain_words(&error)));
    let progress = console.progress(source.bytes());
    let mut digest = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let bytes = source.read(&mut chunk)?;
        if bytes == 0 {
            break;
        }
        digest.update(&chunk[..bytes]);
        stream.write_all(&chunk[..bytes]).map_err(broken)?;
        progress.advance(bytes);
    }
    stream.finish(PATIENCE).map_err(broken)?;
    Ok(End {
        bytes: progress.bytes(),
        digest: digest.finish(),
        elapsed: progress.elapsed(),
        stats: stream.stats(),
    })
}

/// Starts the receiving end, which stops when `done` is set and nothing more is there.
fn receive(stream: Stream, done: Arc<AtomicBool>) -> Result<JoinHandle<Result<End, Failure>>, Failure> {
    let body = move || {
        let broken = |error: io::Error| Failure::runtime(format!("receiving failed: {}", plain_words(&error)));
        stream.set_read_timeout(Some(LOOK_AROUND)).map_err(broken)?;
        let mut digest = Context::new(&SHA256);
        let mut bytes = 0;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let was_done = done.load(Ordering::SeqCst);
            match (&stream).read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => {
                    digest.update(&chunk[..read]);
                    bytes += read as u64;
                }
                Err(error) if is_early(&error) && !was_done => {}
                Err(error) if is_early(&error) => break,
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(End {
            bytes,
            digest: digest.finish(),
            elapsed: Duration::ZERO,
            stats: stream.stats(),
        })
    };
    let thread = thread::Builder::new().name("lab-receiver".to_owned()).spawn(body);
    thread.map_err(|error| Failure::io("cannot start a thread", &error))
}

/// Nothing has come for a while, which means nothing.
fn is_early(error: &io::Error) -> bool {
    matches!(
        StreamError::of(error),
        Some(StreamError::TimedOut { limit: Limit::Read, .. })
    )
}
