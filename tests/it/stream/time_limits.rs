//! No call outlives its time-out, whatever the peer or the carrier does.

use super::*;
use securestream::error::Limit;
use securestream::impair::Filtered;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::mpsc::Receiver;

/// What is asked for, and what a busy machine may add.
const SHORT: Duration = Duration::from_millis(150);
const SLACK: Duration = Duration::from_secs(15);

/// The call fails with `TimedOut` because of `limit`, not before [`SHORT`] and not long after.
#[track_caller]
fn assert_times_out<T: std::fmt::Debug>(limit: Limit, call: impl FnOnce() -> io::Result<T>) {
    let start = Instant::now();
    assert_timed_out(limit, start, call());
}

/// The same of a call that began at `start`.
#[track_caller]
fn assert_timed_out<T: std::fmt::Debug>(limit: Limit, start: Instant, result: io::Result<T>) {
    let elapsed = start.elapsed();
    let error = assert_kind(result, io::ErrorKind::TimedOut);
    assert!(elapsed >= SHORT, "{limit:?} after only {elapsed:?}");
    assert!(elapsed < SHORT + SLACK, "{limit:?} after {elapsed:?}");
    assert!(
        matches!(
            (limit, typed(&error)),
            (_, StreamError::TimedOut { limit: fired, after: SHORT }) if *fired == limit
        ) || matches!(
            (limit, typed(&error)),
            (Limit::Finish, StreamError::Unacknowledged { timed_out: true, .. })
        ),
        "{error:?}"
    );
}

/// Writes until a write times out, which is to keep its time-out, and returns how much was written.
///
/// Another one may find room: on a busy machine the stream was not full, only late.
#[track_caller]
fn write_until_it_times_out(mut stream: &Stream) -> usize {
    let mut written = 0;
    loop {
        let start = Instant::now();
        match stream.write(&[1; 60_000]) {
            Ok(n) => written += n,
            end => {
                assert_timed_out(Limit::Write, start, end);
                return written;
            }
        }
    }
}

on_each_carrier! {
    reading_calls_keep_their_time_out => |over| {
        let (client, server) = pair(over);
        let mut buf = [0; 10];
        server.set_read_timeout(Some(SHORT)).expect("set");
        assert_times_out(Limit::Read, || (&server).read(&mut buf));
        assert_times_out(Limit::Read, || server.peek(&mut buf));
        assert_times_out(Limit::Read, || server.read_at_least(&mut buf, 1, SHORT));
        // The stream stays usable and nothing is lost.
        (&client).write_all(b"late").expect("write");
        server.set_read_timeout(None).expect("set");
        (&server).read_exact(&mut buf[..4]).expect("read");
        assert_eq!(&buf[..4], b"late");
    };

    writing_calls_keep_their_time_out => |over| {
        let (client, server) = pair_of(over, &plain(), &plain().max_window(16 * 1024));
        client.set_write_timeout(Some(SHORT)).expect("set");
        let written = write_until_it_times_out(&client);
        assert_times_out(Limit::Finish, || client.finish(SHORT));
        // What was reported as written arrives, and not a byte more.
        let mut all = Vec::new();
        (&server).read_to_end(&mut all).expect("read");
        assert_eq!(all.len(), written);
    };

    a_time_out_changed_meanwhile_counts_for_the_next_call => |over| {
        let (client, _server) = pair(over);
        client.set_read_timeout(Some(2 * WATCHDOG)).expect("set");
        client.set_read_timeout(Some(SHORT)).expect("set");
        assert_times_out(Limit::Read, || (&client).read(&mut [0; 1]));
    };

    an_endless_time_out_is_no_overflow => |over| {
        let (client, server) = pair(over);
        client.set_read_timeout(Some(Duration::MAX)).expect("set");
        client.set_linger(Some(Duration::MAX)).expect("set");
        (&server).write_all(b"x").expect("write");
        (&client).read_exact(&mut [0; 1]).expect("read");
        drop(server);
        client.finish(Duration::MAX).expect("finish");
    };

    /// The peer's carrier takes nothing any more: on TCP the socket is full and stays so.
    a_carrier_that_takes_nothing_holds_nobody => |over| {
        let (client, server, release) = with_a_stuck_receiver(over);
        client.set_write_timeout(Some(SHORT)).expect("set");
        write_until_it_times_out(&client);
        assert_times_out(Limit::Finish, || client.finish(SHORT));
        let reading = {
            let client = client.try_clone().expect("clone");
            blocked(move || (&client).read(&mut [0; 1]))
        };
        client.set_linger(Some(SHORT)).expect("set");
        client.abort();
        let (result, _) = reading.join().expect("it returns");
        assert_kind(result, io::ErrorKind::ConnectionAborted);
        let start = Instant::now();
        drop(client);
        assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
        drop(release);
        drop(server);
    };

    dropping_while_the_carrier_takes_nothing_ends_with_the_linger_time => |over| {
        let (client, server, release) = with_a_stuck_receiver(over);
        client.set_write_timeout(Some(SHORT)).expect("set");
        while (&client).write(&[1; 60_000]).is_ok() {}
        client.set_linger(Some(SHORT)).expect("set");
        let start = Instant::now();
        drop(client);
        assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
        drop(release);
        drop(server);
    };
}

/// A pair whose server stops taking packets once data comes, until the returned value is dropped.
fn with_a_stuck_receiver(over: Over) -> (Stream, Stream, mpsc::Sender<()>) {
    let (release, stuck) = mpsc::channel::<()>();
    let filter = hold(stuck);
    let (client, server) = match over {
        Over::Memory => {
            let (a, b) = memory::pair();
            join(&plain(), a, &plain(), Filtered::new(b).recv(filter))
        }
        Over::Udp => {
            let server = Udp::bind("127.0.0.1:0").expect("bind");
            let addr = server.local_addr().expect("bound");
            let client = Udp::connect(addr).expect("a socket");
            join(&plain(), client, &plain(), Filtered::new(server).recv(filter))
        }
        Over::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let client = Tcp::connect(listener.local_addr().expect("bound")).expect("connect");
            let (server, _) = listener.accept().expect("accept");
            let server = Tcp::from_stream(server).expect("a carrier");
            join(&plain(), client, &plain(), Filtered::new(server).recv(filter))
        }
    };
    (client, server, release)
}

/// Lets the handshake and other small packets pass, and then blocks.
fn hold(stuck: Receiver<()>) -> impl FnMut(&mut Vec<u8>) -> bool + Send + 'static {
    const HANDSHAKE: usize = 4;
    let mut seen = 0;
    move |packet| {
        seen += 1;
        if seen > HANDSHAKE && packet.len() > 1000 {
            // An error says that the test is over.
            let _ = stuck.recv();
        }
        true
    }
}

#[test]
fn accepting_keeps_its_time_out() {
    within(WATCHDOG, || {
        for over in [Over::Udp, Over::Tcp] {
            let listener = plain().carrier(carrier(over)).bind("127.0.0.1:0").expect("bind");
            assert_times_out(Limit::Accept, || listener.accept_timeout(SHORT));
            assert_kind(listener.accept_timeout(Duration::ZERO), io::ErrorKind::InvalidInput);
            listener.set_nonblocking(true).expect("set");
            assert_kind(listener.accept(), io::ErrorKind::WouldBlock);
        }
        let (_silent, end) = memory::pair();
        assert_times_out(Limit::Connect, || plain().connect_timeout(SHORT).accept_over(end));
    });
}

#[test]
fn connecting_to_silence_keeps_its_time_out() {
    within(WATCHDOG, || {
        let options = plain().connect_timeout(SHORT);
        let silent = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let addr = silent.local_addr().expect("bound");
        assert_times_out(Limit::Connect, || options.connect(addr));
        assert_times_out(Limit::Connect, || {
            Stream::connect_timeout(&addr, Security::plain(), SHORT)
        });
        assert_kind(
            Stream::connect_timeout(&addr, Security::plain(), Duration::ZERO),
            io::ErrorKind::InvalidInput,
        );
        let silent = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = silent.local_addr().expect("bound");
        assert_times_out(Limit::Connect, || options.clone().tcp().connect(addr));
        let (end, _silent) = memory::pair();
        assert_times_out(Limit::Connect, || options.connect_over(end));
    });
}

/// A client that never says a word costs a listener one thread for the connect time-out, and no accept.
#[test]
fn a_silent_tcp_client_holds_up_nobody() {
    within(WATCHDOG, || {
        let listener = plain().tcp().bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("bound");
        let silent: Vec<_> = (0..10)
            .map(|_| std::net::TcpStream::connect(addr).expect("connect"))
            .collect();
        let client = plain().tcp().connect(addr).expect("connect");
        let (server, peer) = listener.accept().expect("accept");
        assert_eq!(peer, client.local_addr().ok());
        drop((client, server));
        // Dropping the listener does not wait for the silent ones either.
        let start = Instant::now();
        drop(listener);
        assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
        drop(silent);
    });
}
