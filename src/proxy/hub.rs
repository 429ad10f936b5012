//! What both directions of a proxy share: who its clients are, how to reach the other direction, and who listens.

use super::flow::{Flow, Way};
use super::links::Links;
use super::port::{Line, Side, Source};
use super::ports::Ports;
use super::tap::Taps;
use crate::filter::Direction;
use crate::subsystem::{PacketTx, PathId};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Notices kept for whoever looks; more are only logged.
const MAX_NOTICES: usize = 256;

/// Something that a person who runs a proxy should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A client came.
    Came {
        /// Who.
        client: SocketAddr,
    },
    /// A client is gone, or was silent for too long.
    Left {
        /// Who.
        client: SocketAddr,
        /// Why.
        why: String,
    },
    /// The target cannot be reached; the proxy goes on.
    NoTarget {
        /// The client that wanted to.
        client: SocketAddr,
        /// What the system says.
        why: String,
    },
    /// Too many clients: this one is not served.
    Full {
        /// Who.
        client: SocketAddr,
    },
    /// The proxy itself has trouble, such as too many open files.
    Trouble {
        /// What the system says.
        why: String,
    },
}

/// What one direction, or a thread that made a connection, asks of the thread of a direction.
pub(super) enum Command {
    /// Reads from here too.
    Source(Source),
    /// Reads from here in place of the source that this flow had.
    Instead(Source),
    /// Sends what is for this flow there.
    Outlet(u64, Box<dyn PacketTx>, Line),
    /// Forgets the flow.
    Close(u64),
    /// Sends this now, as if it had come through.
    Inject(Arc<Flow>, Vec<u8>),
    /// Connects every client anew.
    Rebind,
    /// Only a look around: rules have changed.
    Look,
}

impl Command {
    /// The flow that must be there for it.
    pub(super) fn flow(&self) -> Option<u64> {
        match self {
            Self::Source(source) | Self::Instead(source) => source.way.as_ref().map(|way| way.flow.id),
            Self::Outlet(id, ..) => Some(*id),
            Self::Close(_) | Self::Inject(..) | Self::Rebind | Self::Look => None,
        }
    }
}

/// How to reach the thread of a direction.
pub(super) struct Door {
    commands: Sender<Command>,
    bell: UnixStream,
}

impl Door {
    /// A door, and what stands behind it: the queue, and a socket that becomes readable.
    pub(super) fn new() -> std::io::Result<(Self, Receiver<Command>, UnixStream)> {
        let (commands, inbox) = crossbeam_channel::unbounded();
        let (hear, bell) = UnixStream::pair()?;
        hear.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        Ok((Self { commands, bell }, inbox, hear))
    }

    pub(super) fn ask(&self, command: Command) {
        // A thread that has ended needs nothing more.
        let _ = self.commands.send(command);
        self.ring();
    }

    pub(super) fn ring(&self) {
        // A full pipe is readable, which is all that matters.
        let _ = (&self.bell).write(&[1]);
    }

    pub(super) fn quiet(hear: &UnixStream) {
        let _ = (&*hear).read(&mut [0; 256]);
    }
}

/// See the module.
pub(super) struct Hub {
    pub(super) target: Vec<SocketAddr>,
    pub(super) front: Side,
    pub(super) back: Side,
    pub(super) idle_timeout: Duration,
    pub(super) max_clients: usize,
    pub(super) seed: u64,
    pub(super) start: Instant,
    pub(super) flows: Mutex<HashMap<u64, Arc<Flow>>>,
    pub(super) links: [Links; 2],
    pub(super) doors: [Door; 2],
    pub(super) taps: Taps,
    next_flow: AtomicU64,
    next_packet: AtomicU64,
    is_over: AtomicBool,
    tell: Sender<Notice>,
    pub(super) notices: Receiver<Notice>,
    pub(super) turned_away: AtomicU64,
    pub(super) ports: Ports,
    /// Held while a flow is connected to the target.
    joining: Mutex<()>,
}

/// How a hub begins.
pub(super) struct Beginning {
    pub(super) target: Vec<SocketAddr>,
    pub(super) front: Side,
    pub(super) back: Side,
    pub(super) idle_timeout: Duration,
    pub(super) max_clients: usize,
    pub(super) seed: u64,
    pub(super) start: Instant,
    pub(super) links: [Links; 2],
    pub(super) doors: [Door; 2],
}

pub(super) fn place(direction: Direction) -> usize {
    match direction {
        Direction::Upstream => 0,
        Direction::Downstream => 1,
    }
}

impl Hub {
    pub(super) fn new(beginning: Beginning) -> Self {
        let (tell, notices) = bounded(MAX_NOTICES);
        Self {
            target: beginning.target,
            front: beginning.front,
            back: beginning.back,
            idle_timeout: beginning.idle_timeout,
            max_clients: beginning.max_clients,
            seed: beginning.seed,
            start: beginning.start,
            flows: Mutex::default(),
            links: beginning.links,
            doors: beginning.doors,
            taps: Taps::default(),
            next_flow: AtomicU64::new(1),
            next_packet: AtomicU64::new(1),
            is_over: AtomicBool::new(false),
            tell,
            notices,
            turned_away: AtomicU64::new(0),
            joining: Mutex::new(()),
            ports: Ports::default(),
        }
    }

    pub(super) fn links(&self, direction: Direction) -> &Links {
        &self.links[place(direction)]
    }

    pub(super) fn door(&self, direction: Direction) -> &Door {
        &self.doors[place(direction)]
    }

    /// A number for a packet.
    pub(super) fn number(&self) -> u64 {
        self.next_packet.fetch_add(1, Ordering::Relaxed)
    }

    /// Clients that there have been.
    pub(super) fn clients_ever(&self) -> u64 {
        self.next_flow.load(Ordering::Relaxed) - 1
    }

    /// A flow and a pair of links for a new client, if there is room for one. Clients are numbered as they come.
    pub(super) fn open(&self, client: SocketAddr, path: PathId, age: Duration) -> Option<Arc<Flow>> {
        let mut flows = self.flows.lock();
        if flows.len() >= self.max_clients {
            drop(flows);
            if self.turned_away.fetch_add(1, Ordering::Relaxed) == 0 {
                self.notice(Notice::Full { client });
            }
            return None;
        }
        let id = self.next_flow.fetch_add(1, Ordering::Relaxed);
        let flow = Flow::new(id, client, path, age);
        flows.insert(id, Arc::clone(&flow));
        drop(flows);
        self.links.iter().for_each(|links| links.open(id));
        self.notice(Notice::Came { client });
        Some(flow)
    }

    /// Ends a flow in both directions, and its links with what they hold.
    pub(super) fn close(&self, flow: &Flow, why: &str) {
        if self.flows.lock().remove(&flow.id).is_none() {
            return;
        }
        flow.take_port().into_iter().for_each(|port| self.ports.close(port));
        self.links.iter().for_each(|links| links.close(flow.id));
        self.doors.iter().for_each(|door| door.ask(Command::Close(flow.id)));
        self.notice(Notice::Left {
            client: flow.client,
            why: why.to_owned(),
        });
    }

    pub(super) fn notice(&self, notice: Notice) {
        match &notice {
            Notice::Came { client } => log::info!("{client} came"),
            Notice::Left { client, why } => log::info!("{client} left: {why}"),
            Notice::NoTarget { client, why } => log::info!("{client} cannot be served: {why}"),
            Notice::Full { client } => log::info!("{client} is one client too many"),
            Notice::Trouble { why } => log::info!("{why}"),
        }
        let _ = self.tell.try_send(notice);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.doors.iter().for_each(Door::ring);
    }

    /// The flow of a client.
    pub(super) fn flow_of(&self, client: SocketAddr) -> Option<Arc<Flow>> {
        let flows = self.flows.lock();
        flows.values().find(|flow| flow.client == client).map(Arc::clone)
    }
}

/// Connects a flow to the target: its packets upstream leave there, and those downstream come from there.
pub(super) fn join(hub: &Hub, flow: &Arc<Flow>, ends: super::port::Ends, again: bool) {
    // Both threads may rebind the same flow, and its two ways must lead to the same port.
    let _one_at_a_time = hub.joining.lock();
    flow.take_port().into_iter().for_each(|port| hub.ports.close(port));
    if let Some(port) = ends.udp_port {
        hub.ports.open(port);
        flow.set_port(port);
    }
    let source = Source::new(Some(Way::of(flow)), ends.rx, ends.line.clone());
    let command = if again {
        Command::Instead(source)
    } else {
        Command::Source(source)
    };
    hub.door(Direction::Downstream).ask(command);
    hub.door(Direction::Upstream)
        .ask(Command::Outlet(flow.id, ends.tx, ends.line));
}
