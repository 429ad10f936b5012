//! One run: a proxy with the scenario's rules, two ends, and somebody who watches.
//!
//! ```text
//!   THREAD main: sender --> [KeySwap] --> Proxy: rules, attack --> receiver: THREAD lab-receiver
//!                  '----- samples, steps: THREAD lab-watch ---'
//! ```

use super::super::super::endpoint::{Endpoint, IDLE_TIMEOUT, Mode};
use super::super::super::exit::Failure;
use super::super::super::proxy::take_step;
use super::super::source::Source;
use super::ends::{Door, End, Line, now, receive, send, slowed};
use super::plan::{Attacker, Plan, Run};
use super::seen::{Samples, Seen, add};
use crate::attack::KeySwap;
use crate::classic;
use crate::cli::console::Console;
use crate::cli::keys;
use crate::crypto::identity::PrivateKey;
use crate::crypto::trust::{Trust, Unauthenticated};
use crate::proxy::{Proxy, ProxyBuilder, Side, Step};
use crate::stats::Stats;
use crate::stream::{Carrier, CloseHandle, Security, StreamBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How often the sender is looked at.
const SAMPLE: Duration = Duration::from_millis(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// An identity that lives as long as a run.
const KEY_BITS: usize = 2048;

/// Runs it.
pub(super) fn run(plan: &Plan, run: &Run, seed: u64, console: &Console) -> Result<Seen, Failure> {
    let no_socket = |error: io::Error| Failure::io("cannot make a socket on the loopback interface", &error);
    let ends = Ends::new(plan.carriers, run)?;
    let (door, target, closer) = ends.open().map_err(no_socket)?;
    let proxy = start_proxy(plan, run, target, seed).map_err(no_socket)?;
    let swap = match run.attack {
        Some(Attacker::KeySwap) => {
            Some(KeySwap::start((Ipv4Addr::LOCALHOST, 0), proxy.local_addr(), plan.carriers[0]).map_err(no_socket)?)
        }
        _ => None,
    };
    let place = swap.as_ref().map_or(proxy.local_addr(), KeySwap::local_addr);
    let (watch, hear) = channel();
    let (samples, transfers) = thread::scope(|scope| {
        let (proxy, steps) = (&proxy, &plan.scenario.steps[..]);
        let watcher = thread::Builder::new()
            .name("lab-watch".to_owned())
            .spawn_scoped(scope, move || watch_over(proxy, steps, &hear, console));
        let watcher = watcher.map_err(|error| Failure::io("cannot start a thread", &error))?;
        let transfers: Result<Vec<_>, Failure> = (0..run.transfers)
            .map(|number| {
                // Each says something else.
                let source = Source::generated(run.bytes, seed.wrapping_add(u64::from(number)));
                transfer(run, &ends, &door, place, closer.as_ref(), source, &watch)
            })
            .collect();
        drop(watch);
        let samples = watcher
            .join()
            .map_err(|_| Failure::runtime("the watching thread failed"))?;
        Ok::<_, Failure>((samples, transfers?))
    })?;
    let loot_bytes = swap.map_or(0, |swap| swap.loot().len() as u64);
    Ok(judge(run.bytes, &transfers, samples, loot_bytes, &proxy))
}

fn start_proxy(plan: &Plan, run: &Run, target: SocketAddr, seed: u64) -> io::Result<Proxy> {
    let side = |carrier| match carrier {
        Carrier::Udp => Side::Udp,
        Carrier::Tcp => Side::Tcp,
    };
    let [front, back] = plan.carriers.map(side);
    let rules = plan.scenario.proxies[0].rules.iter().cloned();
    let more = run.rules.iter().map(|entry| (None, entry.clone()));
    let builder = ProxyBuilder::new(target)?.sides(front, back).seed(seed);
    let builder = rules
        .chain(more)
        .fold(builder, |builder, (name, entry)| builder.rule(name.as_deref(), entry));
    let Some(Attacker::OnPackets(attack)) = run.attack else {
        return builder.start_local();
    };
    let (builder, armed) = attack.arm(builder);
    let proxy = builder.start_local()?;
    armed.aim(&proxy);
    Ok(proxy)
}

/// How both ends shall speak.
pub(in crate::cli::lab) enum Ends {
    Streams {
        client: Box<StreamBuilder>,
        server: Box<StreamBuilder>,
    },
    Classic {
        builder: classic::Builder,
        carriers: [Carrier; 2],
    },
}

impl Ends {
    pub(in crate::cli::lab) fn new(carriers: [Carrier; 2], run: &Run) -> Result<Self, Failure> {
        if run.mode == Mode::Classic {
            let builder = classic::Builder::new()
                .arq(run.arq)
                .idle_timeout(run.patience.min(IDLE_TIMEOUT));
            return Ok(Self::Classic { builder, carriers });
        }
        let security = if run.mode == Mode::Plain || run.is_pinned {
            keys::strangers(run.mode == Mode::Plain)?
        } else {
            let key = || PrivateKey::ephemeral(KEY_BITS).map_err(|error| keys::unusable(&error));
            [key()?, key()?].map(|key| Security::secure(key, Trust::Unauthenticated(Unauthenticated)))
        };
        let end = |carrier, security| {
            let endpoint = Endpoint {
                carrier,
                gso: true,
                max_datagram: None,
                idle_timeout: run.patience.clamp(Duration::from_secs(5), IDLE_TIMEOUT),
                congestion: run.congestion.clone(),
            };
            let builder = endpoint.builder(security);
            builder.connect_timeout(run.patience.min(CONNECT_TIMEOUT))
        };
        let [of_client, of_server] = security;
        let (client, server) = (end(carriers[0], of_client), end(carriers[1], of_server));
        let server = match run.window_bytes {
            Some(bytes) => server.max_window(bytes),
            None => server,
        };
        Ok(Self::Streams {
            client: Box::new(client),
            server: Box::new(server),
        })
    }

    /// Where the receiver waits.
    pub(in crate::cli::lab) fn open(&self) -> io::Result<(Door, SocketAddr, Option<CloseHandle>)> {
        let any = (Ipv4Addr::LOCALHOST, 0);
        match self {
            Self::Streams { server, .. } => {
                let listener = server.bind(any)?;
                let (place, closer) = (listener.local_addr()?, listener.close_handle());
                Ok((Door::Stream(listener), place, Some(closer)))
            }
            Self::Classic { builder, carriers } => {
                let listener = match carriers[1] {
                    Carrier::Udp => builder.listen_udp(any)?,
                    Carrier::Tcp => builder.listen_tcp(any)?,
                };
                let place = listener.local_addr()?;
                Ok((Door::Classic(listener), place, None))
            }
        }
    }

    pub(in crate::cli::lab) fn connect(&self, place: SocketAddr) -> io::Result<Line> {
        match self {
            Self::Streams { client, .. } => client.connect(place).map(Line::Stream),
            Self::Classic { builder, carriers } => match carriers[0] {
                Carrier::Udp => builder.connect_udp(place).map(Line::Classic),
                Carrier::Tcp => builder.connect_tcp(place).map(Line::Classic),
            },
        }
    }
}

/// What the watcher is told: whom to look at now.
type Watched = Option<Line>;

fn transfer(
    run: &Run,
    ends: &Ends,
    door: &Door,
    place: SocketAddr,
    closer: Option<&CloseHandle>,
    mut source: Source,
    watch: &Sender<Watched>,
) -> Result<[End; 2], Failure> {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiver = thread::Builder::new()
            .name("lab-receiver".to_owned())
            .spawn_scoped(scope, || match door.accept(run.patience) {
                Ok(line) => slowed(run.read_delay, |rhythm| receive(&line, rhythm, run.patience, &is_done)),
                Err(error) => End::unheard(&error),
            });
        let receiver = receiver.map_err(|error| Failure::io("cannot start a thread", &error))?;
        let sent = match ends.connect(place) {
            Ok(line) => {
                // The watcher may have gone only if it failed, which is said elsewhere.
                let _ = watch.send(line.try_clone().ok());
                let sent = send(&line, &mut source, run.patience);
                let _ = watch.send(None);
                sent
            }
            Err(error) => {
                // Or else the receiver waits for its whole time.
                closer.into_iter().for_each(CloseHandle::close);
                End::unheard(&error)
            }
        };
        is_done.store(true, Ordering::SeqCst);
        let received = receiver
            .join()
            .map_err(|_| Failure::runtime("the receiver's thread failed"))?;
        Ok([sent, received])
    })
}

/// Takes the steps of the scenario in their time, and looks at the sender, until nobody is left.
fn watch_over(proxy: &Proxy, steps: &[Step], hear: &Receiver<Watched>, console: &Console) -> Samples {
    let start = now();
    let mut steps = steps.iter().peekable();
    let (mut samples, mut watched) = (Samples::default(), None);
    loop {
        match hear.recv_timeout(SAMPLE) {
            Ok(other) => watched = other,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return samples,
        }
        while let Some(step) = steps.next_if(|step| start + step.at <= now()) {
            take_step(step, proxy, console);
        }
        if let Some(line) = &watched {
            samples.add(&line.stats());
        }
    }
}

fn judge(bytes: u64, transfers: &[[End; 2]], samples: Samples, loot_bytes: u64, proxy: &Proxy) -> Seen {
    let all = |is_so: fn(&[End; 2]) -> bool| transfers.iter().all(is_so);
    let sum = |of: fn(&[End; 2]) -> u64| transfers.iter().map(of).sum();
    let stats = |end: usize| {
        let mut all = transfers.iter().rev().map(|ends| ends[end].stats);
        let mut last: Stats = all.next().unwrap_or_default();
        all.for_each(|earlier| add(&mut last, &earlier));
        last
    };
    let problem = transfers.iter().find_map(|[sent, received]| {
        let said = |who: &str, ended: &Result<(), String>| ended.as_ref().err().map(|why| format!("{who}: {why}"));
        said("receiver", &received.ended).or_else(|| said("sender", &sent.ended))
    });
    Seen {
        sent_bytes: sum(|[sent, _]| sent.bytes),
        received_bytes: sum(|[_, received]| received.bytes),
        is_whole: transfers
            .iter()
            .all(|[sent, received]| [sent.bytes, received.bytes] == [bytes; 2] && sent.digest == received.digest),
        is_acknowledged: all(|[sent, _]| sent.ended.is_ok()),
        has_ended: all(|[_, received]| received.ended.is_ok()),
        elapsed: transfers.iter().map(|[sent, _]| sent.elapsed).sum(),
        sender: stats(0),
        receiver: stats(1),
        samples,
        loot_bytes,
        proxy: proxy.status(),
        problem,
    }
}
