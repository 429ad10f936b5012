//! `stream-lab --gui`: controller, proxy, receiver and sender in one process, and a transfer that goes on until somebody
//! has seen enough.
//!
//! ```text
//!   THREAD lab-sender --> Proxy (its own threads) --> THREAD lab-receiver
//!          |                      |                          |
//!          '------ agents --------+--------------------------'--> Controller (its own threads) --> page
//!   THREAD main: waits for a signal
//! ```

use super::super::console::Console;
use super::super::endpoint::{Mode, carrier_word};
use super::super::exit::{Exit, Failure};
use super::super::signals::Signals;
use super::Options;
use super::run::{Door, Ends, Line, Rhythm, Run, canned, receive, send};
use super::source::Source;
use crate::classic::Arq;
use crate::control::{Address, Controller, ControllerBuilder, EndpointAgent, ProxyAgent, Role};
use crate::filter::Spec;
use crate::proxy::{Proxy, ProxyBuilder, Side};
use crate::stream::Carrier;
use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The port of the original's controller.
pub(super) const PORT: u16 = 5000;
/// Long enough to play with the sliders, where the file is not given.
const TRANSFER_BYTES: u64 = 256 << 20;
/// What the line is like until somebody changes it: slow enough to see something.
const LINE: &str = "delay 20ms; rate 20mbit limit 200p";
/// The idle time-out ends a transfer that does not move, not this.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How often the receiver looks whether it is over, while nobody comes.
const LOOK: Duration = Duration::from_secs(1);
/// How soon the sender sees that the receiver is done.
const TURN: Duration = Duration::from_millis(5);
/// After a transfer that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What all threads of the lab know.
struct Stage {
    is_over: AtomicBool,
    /// Whether the sender has said all: some streams have no end mark.
    is_said: AtomicBool,
    /// What is to be aborted at the end: of the sender, and of the receiver.
    lines: [Mutex<Option<Line>>; 2],
    agents: [Mutex<Option<EndpointAgent>>; 2],
}

const SENDER: usize = 0;
const RECEIVER: usize = 1;

/// Runs until a signal.
pub(super) fn run(
    options: &Options,
    arq: Option<Arq>,
    faults: &Spec,
    seed: u64,
    console: &Console,
) -> Result<Exit, Failure> {
    let signals = Signals::watch(console).map_err(|error| Failure::io("cannot watch for signals", &error))?;
    let no_socket = |error: io::Error| Failure::io("cannot make a socket on the loopback interface", &error);
    let no_thread = |error: io::Error| Failure::io("cannot start a thread", &error);
    let port = options.port.map_or(PORT, |port| port.0);
    let builder = canned().fold(Controller::builder().port(port), ControllerBuilder::canned);
    let controller = builder
        .start()
        .map_err(|error| Failure::io(format!("cannot listen on port {port} (--port chooses another)"), &error))?;
    let address: Address = controller.url().parse().map_err(Failure::runtime)?;

    let carrier = options.carrier();
    let mode = Mode::new(options.plain, options.classic);
    let run = Run {
        mode,
        arq: arq.unwrap_or_default(),
        congestion: options.congestion.clone(),
        patience: PATIENCE,
        ..Run::usual("gui")
    };
    let ends = Ends::new([carrier; 2], &run)?;
    let (door, target, closer) = ends.open().map_err(no_socket)?;
    let proxy = Arc::new(start_proxy(target, carrier, faults, seed).map_err(no_socket)?);
    let _attached = ProxyAgent::start(&address, "lab", &proxy).map_err(no_thread)?;
    let agent = |role| EndpointAgent::start(&address, role, mode.word(), carrier_word(carrier)).map_err(no_thread);
    let stage = Stage {
        is_over: AtomicBool::new(false),
        is_said: AtomicBool::new(false),
        lines: Default::default(),
        agents: [
            Mutex::new(Some(agent(Role::Sender)?)),
            Mutex::new(Some(agent(Role::Receiver)?)),
        ],
    };
    let (over, is_over) = bounded::<()>(0);
    console.note(format_args!("listening on {} (http)", controller.local_addr()));
    console.note(format_args!("page {}", controller.url()));
    console.note("Ctrl-C ends it");
    thread::scope(|scope| {
        let (stage, door, ends) = (&stage, &door, &ends);
        let place = proxy.local_addr();
        let receiver = thread::Builder::new()
            .name("lab-receiver".to_owned())
            .spawn_scoped(scope, move || receive_all(stage, door));
        let sender = thread::Builder::new()
            .name("lab-sender".to_owned())
            .spawn_scoped(scope, move || {
                send_all(stage, ends, place, options, seed, &is_over, console);
            });
        if receiver.is_ok() && sender.is_ok() {
            wait(&signals);
        }
        stage.end();
        if let Some(closer) = closer {
            closer.close();
        }
        drop(over);
        receiver.and(sender).map(drop)
    })
    .map_err(no_thread)?;
    Ok(Exit::Success)
}

fn start_proxy(target: SocketAddr, carrier: Carrier, faults: &Spec, seed: u64) -> io::Result<Proxy> {
    let side = match carrier {
        Carrier::Udp => Side::Udp,
        Carrier::Tcp => Side::Tcp,
    };
    let usual: Spec = LINE.parse().expect("a test runs it");
    let rules = if faults.is_empty() { &usual } else { faults };
    ProxyBuilder::new(target)?
        .sides(side, side)
        .rules(rules)
        .seed(seed)
        .start((Ipv4Addr::LOCALHOST, 0))
}

/// Until a signal has come.
fn wait(signals: &Signals) {
    while signals.caught().is_none() {
        let mut asked = [PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN)];
        // Interrupted by a signal is what is waited for.
        let _ = poll(&mut asked, None);
    }
}

impl Stage {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Has this end watched while `then` runs.
    fn with<T>(&self, end: usize, line: &Line, then: impl FnOnce() -> T) -> T {
        *self.lines[end].lock() = line.try_clone().ok();
        if self.is_over() {
            line.abort();
        }
        let watched = self.agents[end]
            .lock()
            .as_ref()
            .zip(line.try_clone().ok())
            .map(|(agent, line)| agent.follow(move || line.stats()));
        let done = then();
        drop(watched);
        *self.lines[end].lock() = None;
        done
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        for line in &self.lines {
            line.lock().iter().for_each(Line::abort);
        }
        // A receiver that pauses for the controller's sake does so no more.
        for agent in &self.agents {
            drop(agent.lock().take());
        }
    }
}

fn receive_all(stage: &Stage, door: &Door) {
    let pace = stage.agents[RECEIVER]
        .lock()
        .as_ref()
        .map(EndpointAgent::pace)
        .unwrap_or_default();
    let rhythm = Rhythm {
        limit: &|most| pace.read_limit(most),
        after_read: &|| pace.after_read(),
    };
    while !stage.is_over() {
        // Nobody came within that time, or what came was no stream: somebody else will.
        if let Ok(line) = door.accept(LOOK) {
            stage.with(RECEIVER, &line, || receive(&line, &rhythm, PATIENCE, &stage.is_said));
        }
    }
}

fn send_all(
    stage: &Stage,
    ends: &Ends,
    place: SocketAddr,
    options: &Options,
    seed: u64,
    is_over: &Receiver<()>,
    console: &Console,
) {
    let mut number = 0;
    while !stage.is_over() {
        stage.is_said.store(false, Ordering::SeqCst);
        let problem = match source(options, seed.wrapping_add(number)) {
            Ok(mut source) => match ends.connect(place) {
                Ok(line) => stage
                    .with(SENDER, &line, || send(&line, &mut source, PATIENCE))
                    .ended
                    .err(),
                Err(error) => Some(error.to_string()),
            },
            Err(failure) => Some(failure.message),
        };
        number += 1;
        stage.is_said.store(true, Ordering::SeqCst);
        // The next stream is for a receiver that is done with this one.
        while stage.lines[RECEIVER].lock().is_some() && !stage.is_over() {
            let _ = is_over.recv_timeout(TURN);
        }
        if let Some(problem) = problem.filter(|_| !stage.is_over()) {
            console.warn(format_args!("transfer {number} failed: {problem}; another one begins"));
            // Nobody sends there: it is closed at the end.
            let _ = is_over.recv_timeout(PAUSE);
        }
    }
}

fn source(options: &Options, seed: u64) -> Result<Source, Failure> {
    match &options.file {
        Some(name) => Source::open(name),
        None => Ok(Source::generated(
            options.size.map_or(TRANSFER_BYTES, |size| size.0),
            seed,
        )),
    }
}
