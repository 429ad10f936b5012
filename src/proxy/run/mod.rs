//! THREADS `proxy-up` and `proxy-down`: one for each direction, whatever the number of clients.
//!
//! The loop waits for one thing: the next packet, the next deadline of a rule, or a word from elsewhere. It never sleeps
//! for a packet's sake: a packet that has to wait stands in its client's link, with its time.
//!
//! ```text
//!   front socket(s) --> UP   arrive -> links -> depart --> a socket to the target for each client
//!   front socket(s) <-- DOWN depart <- links <- arrive <-- the same
//! ```
//!
//! Clients come in [`admit`] and go in [`end`].

mod admit;
mod arrive;
mod depart;
mod end;

use super::flow::Way;
use super::hub::{Command, Door, Hub, Notice, join};
use super::links::{Links, Passed};
use super::port::{Ends, Line, Outcome, Outlet, Side, Source};
use crate::filter::Direction;
use crate::subsystem::{Batch, MAX_PACKET, Pool};
use crossbeam_channel::Receiver;
use end::SWEEP;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

const STACK_BYTES: usize = 256 << 10;
const POOL_BUFFERS: usize = 64;

/// Where the packets of a direction leave.
pub(super) enum Outlets {
    /// One socket for all clients.
    Shared(Outlet),
    /// One for each.
    Own(HashMap<u64, Outlet>),
}

/// What the thread of a direction owns.
pub(super) struct Runner {
    hub: Arc<Hub>,
    direction: Direction,
    inbox: Receiver<Command>,
    bell: UnixStream,
    sources: Vec<Source>,
    outlets: Outlets,
    /// TCP clients come here; the thread upstream has it.
    listener: Option<TcpListener>,
    listener_ready: bool,
    accept_after: Option<Instant>,
    /// UDP clients by address; the thread upstream has them.
    clients: HashMap<SocketAddr, Arc<Way>>,
    /// Directions whose source has ended and whose packets are still under way.
    endings: Vec<Arc<Way>>,
    pool: Arc<Pool>,
    /// What has come through and is to be sent. Kept for its capacity; empty between calls.
    passed: Vec<Passed>,
    next_sweep: Instant,
    /// Any time that has gone: a deadline that only looks.
    past: Instant,
}

impl Runner {
    pub(super) fn new(hub: Arc<Hub>, direction: Direction, inbox: Receiver<Command>, bell: UnixStream) -> Self {
        let past = hub.start;
        Self {
            hub,
            direction,
            inbox,
            bell,
            sources: Vec::new(),
            outlets: Outlets::Own(HashMap::new()),
            listener: None,
            listener_ready: false,
            accept_after: None,
            clients: HashMap::new(),
            endings: Vec::new(),
            pool: Pool::new(MAX_PACKET, POOL_BUFFERS),
            passed: Vec::new(),
            next_sweep: past + SWEEP,
            past,
        }
    }

    /// Reads from the socket that all UDP clients share.
    pub(super) fn read_from(&mut self, source: Source) {
        self.sources.push(source);
    }

    /// Sends everything through the socket that all UDP clients share.
    pub(super) fn send_to(&mut self, outlet: Outlet) {
        self.outlets = Outlets::Shared(outlet);
    }

    /// Accepts TCP clients.
    pub(super) fn accept_from(&mut self, listener: TcpListener) {
        self.listener = Some(listener);
    }

    fn links(&self) -> &Links {
        self.hub.links(self.direction)
    }
}

/// The loop.
pub(super) fn run(mut runner: Runner) {
    while !runner.hub.is_over() {
        runner.obey();
        runner.release(now());
        runner.rebind_whose_time_has_come();
        runner.push();
        runner.end_what_has_ended();
        runner.sweep();
        let until = runner.next_deadline();
        runner.wait(until);
        runner.accept();
        runner.receive();
    }
}

impl Runner {
    /// Does what others asked for.
    fn obey(&mut self) {
        while let Ok(command) = self.inbox.try_recv() {
            if command
                .flow()
                .is_some_and(|id| !self.hub.flows.lock().contains_key(&id))
            {
                // It ended while its connection was made; the sockets go with the command.
                continue;
            }
            match command {
                Command::Source(source) => self.sources.push(source),
                Command::Instead(source) => {
                    let id = source.way.as_ref().map(|way| way.flow.id);
                    self.sources.retain(|old| old.way.as_ref().map(|way| way.flow.id) != id);
                    self.sources.push(source);
                }
                Command::Outlet(id, tx, line) => self.connect_outlet(id, tx, line),
                Command::Close(id) => self.forget(id),
                Command::Inject(flow, bytes) => {
                    let way = Way::of(&flow);
                    let batch = Batch::single(bytes.into(), flow.path);
                    self.send(&way, batch);
                }
                Command::Rebind => self.rebind(|_| true),
                Command::Look => {}
            }
        }
    }

    fn connect_outlet(&mut self, id: u64, tx: Box<dyn crate::subsystem::PacketTx>, line: Line) {
        let past = self.past;
        let Outlets::Own(outlets) = &mut self.outlets else {
            return;
        };
        // A flow that is not there was closed meanwhile; its socket goes with `tx`.
        let Some(outlet) = outlets.get_mut(&id) else {
            if self.direction == Direction::Downstream {
                outlets.insert(id, Outlet::new(tx, line, self.hub.back));
            }
            return;
        };
        if let Outcome::Broken(error) = outlet.connect(tx, line, past) {
            self.broken(id, &error);
        }
    }

    /// New ports towards the target, as after a NAT has forgotten the old ones. What is sent to those is lost.
    fn rebind(&self, is_meant: impl Fn(u64) -> bool) {
        if self.hub.back != Side::Udp {
            return;
        }
        let flows: Vec<_> = self.hub.flows.lock().values().map(Arc::clone).collect();
        for flow in flows.into_iter().filter(|flow| is_meant(flow.id)) {
            match Ends::dial(self.hub.back, &self.hub.target) {
                Ok(ends) => join(&self.hub, &flow, ends, true),
                Err(error) => self.hub.notice(Notice::Trouble {
                    why: format!("cannot take another port: {error}"),
                }),
            }
        }
    }

    /// Does what rules of this direction have asked for, before anything is waited for.
    fn rebind_whose_time_has_come(&self) {
        let rebinding = self.links().take_rebinding();
        if !rebinding.is_empty() {
            self.rebind(|client| rebinding.contains(&client));
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let has_flows = self.direction == Direction::Upstream && !self.hub.flows.lock().is_empty();
        let sweep = has_flows.then_some(self.next_sweep);
        let due = self.links().next_timeout();
        due.into_iter().chain(sweep).chain(self.accept_after).min()
    }

    /// Whether packets of this source would have nowhere to go now, so that its sender should wait.
    fn must_wait(&self, source: &Source) -> bool {
        if !source.can_wait() {
            return false;
        }
        let is_full = match (&self.outlets, &source.way) {
            (Outlets::Shared(outlet), _) => outlet.is_full(),
            (Outlets::Own(outlets), Some(way)) => outlets.get(&way.flow.id).is_some_and(Outlet::is_full),
            _ => false,
        };
        is_full || self.links().is_loaded()
    }

    /// Waits for the next thing.
    fn wait(&mut self, until: Option<Instant>) {
        let must_wait: Vec<bool> = self.sources.iter().map(|source| self.must_wait(source)).collect();
        let mut sockets = Vec::with_capacity(self.sources.len() + 3);
        sockets.push(PollFd::new(&self.bell, PollFlags::IN));
        let may_accept = self.accept_after.is_none_or(|at| at <= now());
        let listener = self.listener.as_ref().filter(|_| may_accept);
        if may_accept {
            self.accept_after = None;
        }
        sockets.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let first_source = sockets.len();
        let mut is_busy = false;
        let mut asked = Vec::with_capacity(self.sources.len());
        for (index, source) in self.sources.iter().enumerate() {
            if !must_wait[index] {
                is_busy |= source.is_ready;
                asked.push(index);
                sockets.push(PollFd::new(&source.line, PollFlags::IN));
            }
        }
        let blocked: Box<dyn Iterator<Item = &Line>> = match &self.outlets {
            Outlets::Shared(outlet) => Box::new(outlet.blocked_on().into_iter()),
            Outlets::Own(outlets) => Box::new(outlets.values().filter_map(Outlet::blocked_on)),
        };
        sockets.extend(blocked.map(|line| PollFd::new(line, PollFlags::OUT)));
        let left = if is_busy {
            Some(Duration::ZERO)
        } else {
            until.map(|until| until.saturating_duration_since(now()))
        };
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // An interrupted wait is a short one, and the sockets tell their errors when they are read.
        if poll(&mut sockets, timeout.as_ref()).is_err() {
            return;
        }
        let rang = !sockets[0].revents().is_empty();
        let listener_ready = first_source > 1 && !sockets[1].revents().is_empty();
        let ready: Vec<usize> = sockets[first_source..]
            .iter()
            .zip(asked)
            .filter(|(socket, _)| !socket.revents().is_empty())
            .map(|(_, index)| index)
            .collect();
        drop(sockets);
        if rang {
            Door::quiet(&self.bell);
        }
        self.listener_ready = listener_ready;
        for index in ready {
            self.sources[index].is_ready = true;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver of the chains")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Starts the thread.
pub(super) fn start(runner: Runner, name: &str) -> io::Result<std::thread::JoinHandle<()>> {
    Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || run(runner))
}
