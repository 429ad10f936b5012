//! A stream that never ended cleanly never looks whole, to either side.
//!
//! A link in memory that is cut, or loses certain packets, at every point of a short stream.

use super::*;
use securestream::Finished;
use securestream::impair::Filtered;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const BYTES: usize = 20_000;

/// Which packets are lost, counted from the moment at which [`Fate::begin`] was called.
#[derive(Clone, Default)]
struct Fate {
    begun: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
}

impl Fate {
    fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
    }

    /// A filter that drops the packets of whose number `lost` says so; the first is 0.
    fn filter(&self, lost: impl Fn(u64) -> bool + Send + 'static) -> impl FnMut(&mut Vec<u8>) -> bool + Send + 'static {
        let Self { begun, seen } = self.clone();
        move |_| {
            if !begun.load(Ordering::SeqCst) {
                return true;
            }
            !lost(seen.fetch_add(1, Ordering::SeqCst))
        }
    }
}

/// What both sides said in the end.
struct Outcome {
    read: io::Result<usize>,
    finish: io::Result<Finished>,
    delivered: u64,
}

/// The client sends [`BYTES`] and finishes, the server reads to the end. Whatever happens to the link, nobody is
/// told a lie.
fn transfer(client: &Stream, server: &Stream) -> Outcome {
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut all = Vec::new();
            let read = (&*server).read_to_end(&mut all);
            let mut expected = vec![0; all.len()];
            pattern(1, 0, &mut expected);
            assert!(all == expected, "wrong bytes");
            read
        });
        let mut bytes = vec![0; BYTES];
        pattern(1, 0, &mut bytes);
        let finish = (&*client).write_all(&bytes).and_then(|()| client.finish(WATCHDOG));
        Outcome {
            read: reading.join().expect("right bytes"),
            finish,
            delivered: server.stats().delivered_bytes,
        }
    })
}

fn assert_honest(outcome: &Outcome, case: &str) {
    if let Ok(n) = outcome.read {
        assert_eq!(n, BYTES, "{case}: a part looks whole");
    }
    match &outcome.finish {
        Ok(Finished::Consumed) => assert!(outcome.read.is_ok(), "{case}: not consumed"),
        Ok(Finished::Acknowledged) => assert_eq!(outcome.delivered, BYTES as u64, "{case}"),
        Err(error) => assert!(StreamError::of(error).is_some(), "{case}: {error:?}"),
    }
}

fn hasty() -> StreamBuilder {
    plain()
        .idle_timeout(Duration::from_millis(250))
        .linger(Some(Duration::ZERO))
}

/// A few cases at a time: most of each is waiting for the idle time-out.
fn in_parallel<T: Send + 'static>(cases: Vec<T>, run: impl Fn(T) + Send + Sync + 'static) {
    let (run, cases) = (Arc::new(run), Arc::new(std::sync::Mutex::new(cases)));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (run, cases) = (Arc::clone(&run), Arc::clone(&cases));
            thread::spawn(move || {
                loop {
                    let case = cases.lock().expect("nobody panics here").pop();
                    let Some(case) = case else { return };
                    run(case);
                }
            })
        })
        .collect();
    for worker in workers {
        if let Err(payload) = worker.join() {
            panic::resume_unwind(payload);
        }
    }
}

/// Directions in which a link is cut: (client to server, server to client).
const CUTS: [(bool, bool); 3] = [(true, false), (false, true), (true, true)];

#[test]
fn a_link_that_goes_dead_after_any_packet_makes_nothing_look_whole() {
    within(2 * WATCHDOG, || {
        let cases = CUTS.iter().flat_map(|&cut| (0..30).map(move |n| (cut, n))).collect();
        let (whole, cut) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let count = (Arc::clone(&whole), Arc::clone(&cut));
        in_parallel(cases, move |((up, down), n)| {
            let (a, b) = memory::pair();
            let (fate_up, fate_down) = (Fate::default(), Fate::default());
            let a = Filtered::new(a).transmit(fate_up.filter(move |seen| up && seen >= n));
            let b = Filtered::new(b).transmit(fate_down.filter(move |seen| down && seen >= n));
            let (client, server) = join(&hasty(), a, &hasty(), b);
            fate_up.begin();
            fate_down.begin();
            let outcome = transfer(&client, &server);
            assert_honest(&outcome, &format!("cut up {up}, down {down} from packet {n} on"));
            let counter = if outcome.read.is_ok() { &count.0 } else { &count.1 };
            counter.fetch_add(1, Ordering::Relaxed);
        });
        // The cuts reach from the first packet to behind the last.
        let counts = (whole.load(Ordering::Relaxed), cut.load(Ordering::Relaxed));
        assert!(counts.0 > 0 && counts.1 > 0, "{counts:?}");
    });
}

/// The last packets are those with the FIN, the word that the peer has read it, and the close. Each direction loses
/// any of the first four after the application said that it has finished.
#[test]
fn the_last_packets_lost_in_every_combination_still_end_well() {
    within(2 * WATCHDOG, || {
        let cases = (0..16_u64)
            .flat_map(|up| (0..16_u64).map(move |down| (up, down)))
            .collect();
        in_parallel(cases, |(up, down)| {
            let case = format!("up {up:04b}, down {down:04b}");
            let (a, b) = memory::pair();
            let (fate_up, fate_down) = (Fate::default(), Fate::default());
            let lost = |mask: u64| move |seen: u64| seen < 4 && mask >> seen & 1 == 1;
            let a = Filtered::new(a).transmit(fate_up.filter(lost(up)));
            let b = Filtered::new(b).transmit(fate_down.filter(lost(down)));
            // Whoever hears nothing more has nothing to wait for, so this is the longest that a case can take.
            let options = plain().idle_timeout(Duration::from_secs(5));
            let (client, server) = join(&options, a, &options, b);
            (&client).write_all(b"all but the end").expect("write");
            until("it arrived", || client.stats().acknowledged_bytes == 15);
            fate_up.begin();
            fate_down.begin();
            let reading = thread::spawn(move || {
                let mut text = String::new();
                (&server).read_to_string(&mut text).expect("whole");
                assert_eq!(text, "all but the end");
                // Its end is a drop.
            });
            assert_eq!(client.finish(WATCHDOG).expect(&case), Finished::Consumed, "{case}");
            assert_eq!((&client).read(&mut [0; 1]).expect(&case), 0, "{case}");
            reading.join().expect(&case);
            until("closed", || !client.is_open());
            let error = client.take_error().expect("asked");
            assert!(error.is_none(), "{case}: {error:?} {:?}", client.stats());
        });
    });
}

/// The peer's program is killed, or leaves, at any moment of a transfer.
#[test]
fn a_peer_that_aborts_at_any_moment_makes_nothing_look_whole() {
    within(2 * WATCHDOG, || {
        let cases = (0..=10_u64)
            .flat_map(|tenths| [(tenths, true), (tenths, false)])
            .collect();
        in_parallel(cases, |(tenths, client_aborts)| {
            let (client, server) = pair(Over::Udp);
            let (client, server) = (Arc::new(client), Arc::new(server));
            let aborting = {
                let (client, server) = (Arc::clone(&client), Arc::clone(&server));
                thread::spawn(move || {
                    let mark = BYTES as u64 * tenths / 10;
                    until("so far", || server.stats().delivered_bytes >= mark || !client.is_open());
                    if client_aborts { client.abort() } else { server.abort() }
                })
            };
            let outcome = transfer(&client, &server);
            aborting.join().expect("aborted");
            assert_honest(&outcome, &format!("{tenths}/10, client aborts: {client_aborts}"));
        });
    });
}

/// A TCP connection that is cut after any number of bytes.
#[test]
fn a_tcp_connection_cut_anywhere_makes_nothing_look_whole() {
    use std::net::{Shutdown, TcpListener, TcpStream};
    within(2 * WATCHDOG, || {
        in_parallel((0..40_u64).collect(), |n| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let a = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
            let (b, _) = listener.accept().expect("accept");
            let wire = a.try_clone().expect("clone");
            let fate = Fate::default();
            let mut count = fate.filter(move |seen| seen >= n);
            let a = Filtered::new(Tcp::from_stream(a).expect("a carrier")).transmit(move |packet| {
                // The packet on the way is cut off in the middle of its frame, at times.
                if !count(packet) {
                    let _ = wire.shutdown(Shutdown::Both);
                }
                true
            });
            let options = plain().max_datagram(1200);
            let (client, server) = join(&options, a, &options, Tcp::from_stream(b).expect("a carrier"));
            fate.begin();
            let outcome = transfer(&client, &server);
            assert_honest(&outcome, &format!("cut after {n} packets"));
        });
    });
}
