//! securestream.

use super::{STOP, any_port, check_whole, hear, meet, ping, say_listening, say_report, tcp};
use crate::meter::Meter;
use crate::work::{CHUNK, Report, Task, Transport, Work};
use crate::{Fallible, keys};
use securestream::subsystem::tcp::Tcp;
use securestream::{Stream, StreamBuilder};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the last bytes may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What just happened is over before silence is measured.
const SETTLE: Duration = Duration::from_secs(2);
/// Stack of threads of the application in this benchmark.
const STACK: usize = 64 << 10;

pub fn run(task: &Task) -> Fallible<()> {
    let mut builder = StreamBuilder::new(keys::security(&task.keys, task.role)?);
    if matches!(task.transport, Transport::OursUdp1452 | Transport::OwnedUdp1452) {
        builder = builder.max_datagram(1452);
    }
    match task.work {
        Work::Bulk { .. } | Work::Ping { .. } => one(task, &builder),
        Work::Handshakes { millis, at_a_time } => {
            if task.is_server() {
                handshakes_server(&builder, at_a_time)
            } else {
                handshakes_client(task, &builder, Duration::from_millis(millis), at_a_time)
            }
        }
        Work::Idle { streams, millis } => {
            let quiet = builder.keep_alive(None).idle_timeout(Duration::from_secs(600));
            idle(task, &quiet, streams, Duration::from_millis(millis))
        }
        Work::Fanout { streams, bytes } => fanout(task, &builder, streams, bytes),
    }
}

/// One stream.
fn one(task: &Task, builder: &StreamBuilder) -> Fallible<()> {
    // The congestion control of TCP is that of the others, so the connection is made here.
    let mut stream = match (task.is_server(), task.transport) {
        (true, Transport::OursTcp | Transport::OwnedTcp) => builder.accept_over(Tcp::from_stream(tcp::accept()?)?)?,
        (false, Transport::OursTcp | Transport::OwnedTcp) => {
            builder.connect_over(Tcp::from_stream(tcp::connect(task.server()?)?)?)?
        }
        (true, _) => {
            let listener = builder.bind(any_port())?;
            say_listening(listener.local_addr()?)?;
            listener.accept()?.0
        }
        (false, _) => builder.connect(task.server()?)?,
    };
    if let (Work::Ping { count }, true) = (task.work, task.is_server()) {
        let report = ping::answer(&mut stream, count)?;
        return say_report(&report);
    }
    let done = if let (Work::Bulk { bytes }, true) = (task.work, task.transport.is_owned()) {
        owned(task, &stream, bytes)
    } else if task.is_server() {
        tcp::receive(&mut stream, task.work)
    } else {
        tcp::send(&mut stream, task.work, |stream| stream.finish(PATIENCE).map(|_| ()))
    };
    if std::env::var_os("BENCH_STATS").is_some() {
        eprintln!("{:?} {:#?}", task.role, stream.stats());
    }
    done
}

/// Bulk without copies of the application.
fn owned(task: &Task, stream: &Stream, bytes: u64) -> Fallible<()> {
    let meter = Meter::start();
    if task.is_server() {
        let mut read = 0;
        loop {
            let received = stream.read_owned()?;
            if received.is_empty() {
                break;
            }
            read += received.len() as u64;
        }
        let report = meter.stop();
        check_whole(read, bytes)?;
        return say_report(&Report { bytes, ..report });
    }
    let chunk = Shared(Arc::from(vec![0x5a; CHUNK]));
    let mut left = bytes;
    while left > 0 {
        let n = left.min(CHUNK as u64);
        if n == CHUNK as u64 {
            stream.write_owned(chunk.clone())?;
        } else {
            stream.write_owned(vec![0x5a; n as usize])?;
        }
        left -= n;
    }
    stream.finish(PATIENCE)?;
    say_report(&Report { bytes, ..meter.stop() })
}

/// The same bytes again and again, as those of quinn are.
#[derive(Clone)]
struct Shared(Arc<[u8]>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn handshakes_client(task: &Task, builder: &StreamBuilder, time: Duration, at_a_time: u32) -> Fallible<()> {
    let addr = task.server()?;
    let count = AtomicU64::new(0);
    let meter = Meter::start();
    let end = Instant::now() + time;
    thread::scope(|scope| -> Fallible<()> {
        let clients: Vec<_> = (0..at_a_time)
            .map(|_| {
                scope.spawn(|| -> Fallible<()> {
                    while Instant::now() < end {
                        let mut stream = builder.connect(addr)?;
                        stream.write_all(&[1])?;
                        stream.finish(PATIENCE)?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(|_| "a client panicked")?)
    })?;
    say_report(&Report {
        count: count.into_inner(),
        ..meter.stop()
    })
}

fn handshakes_server(builder: &StreamBuilder, at_a_time: u32) -> Fallible<()> {
    let listener = builder.bind(any_port())?;
    let closer = listener.close_handle();
    let count = AtomicU64::new(0);
    let meter = Meter::start();
    say_listening(listener.local_addr()?)?;
    thread::scope(|scope| -> Fallible<()> {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Ok((mut stream, _)) = listener.accept() {
                    let mut rest = Vec::new();
                    if stream.read_to_end(&mut rest).is_ok_and(|n| n == 1) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        hear(STOP)?;
        say_report(&Report {
            count: count.load(Ordering::Relaxed),
            ..meter.stop()
        })?;
        closer.close();
        Ok(())
    })
}

/// Many streams, all connected.
fn many(task: &Task, builder: &StreamBuilder, streams: u32) -> Fallible<Vec<Stream>> {
    if task.is_server() {
        let listener = builder.bind(any_port())?;
        say_listening(listener.local_addr()?)?;
        let accepted: Result<Vec<_>, _> = (0..streams)
            .map(|_| listener.accept().map(|(stream, _)| stream))
            .collect();
        Ok(accepted?)
    } else {
        let addr = task.server()?;
        let connected: Result<Vec<_>, _> = (0..streams).map(|_| builder.connect(addr)).collect();
        Ok(connected?)
    }
}

fn idle(task: &Task, builder: &StreamBuilder, streams: u32, time: Duration) -> Fallible<()> {
    let all = many(task, builder, streams)?;
    meet()?;
    thread::sleep(SETTLE);
    let meter = Meter::start();
    thread::sleep(time);
    let report = meter.stop();
    let open = all.iter().filter(|stream| stream.is_open()).count();
    say_report(&Report {
        count: open as u64,
        ..report
    })?;
    // Not before the other side has counted them too.
    hear(STOP)?;
    // Politeness of a thousand streams is not what is measured.
    all.iter().for_each(Stream::abort);
    Ok(())
}

fn fanout(task: &Task, builder: &StreamBuilder, streams: u32, bytes: u64) -> Fallible<()> {
    let all = many(task, builder, streams)?;
    meet()?;
    let meter = Meter::start();
    let whole = AtomicU64::new(0);
    let chunk = vec![0x5a; bytes as usize];
    thread::scope(|scope| -> Fallible<()> {
        let sides: Vec<_> = all
            .into_iter()
            .map(|mut stream| {
                let (whole, chunk) = (&whole, &chunk);
                let side = move || -> Fallible<()> {
                    if task.is_server() {
                        let mut buffer = vec![0; CHUNK.min(chunk.len())];
                        let mut read = 0;
                        loop {
                            match stream.read(&mut buffer)? {
                                0 => break,
                                n => read += n as u64,
                            }
                        }
                        check_whole(read, bytes)?;
                    } else {
                        stream.write_all(chunk)?;
                        stream.finish(PATIENCE * 5)?;
                    }
                    whole.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                thread::Builder::new().stack_size(STACK).spawn_scoped(scope, side)
            })
            .collect::<Result<_, _>>()?;
        for side in sides {
            if let Err(error) = side.join().map_err(|_| "a side panicked")? {
                eprintln!("{:?}: {error}", task.role);
            }
        }
        Ok(())
    })?;
    let count = whole.into_inner();
    say_report(&Report {
        count,
        bytes: count * bytes,
        ..meter.stop()
    })
}
