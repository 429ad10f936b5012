//! How a proxy shall be, and its start.

use super::Proxy;
use super::flow::Tag;
use super::hub::{Beginning, Door, Hub};
use super::links::Links;
use super::port::{Ends, Outlet, Side, Source};
use super::rules::Maker;
use super::run::{Runner, now, start};
use crate::filter::{Direction, Entry, Filter, Spec};
use crate::subsystem::udp::Udp;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// Silence after which a UDP client is forgotten: longer than what ends a stream.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Clients at a time.
const MAX_CLIENTS: usize = 4096;

/// Options of a [`Proxy`].
#[must_use]
pub struct ProxyBuilder {
    target: Vec<SocketAddr>,
    front: Side,
    back: Side,
    rules: Vec<(Option<String>, Entry)>,
    own: Vec<(Direction, Maker)>,
    seed: u64,
    idle_timeout: Duration,
    max_clients: usize,
    is_recording: bool,
}

impl ProxyBuilder {
    /// A proxy to `target`, of which the first address that works is taken for each client. UDP on both sides, no rule,
    /// seed 0.
    ///
    /// # Errors
    /// The name has no address.
    pub fn new(target: impl ToSocketAddrs) -> io::Result<Self> {
        let target: Vec<_> = target.to_socket_addrs()?.collect();
        if target.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the target has no address"));
        }
        Ok(Self {
            target,
            front: Side::Udp,
            back: Side::Udp,
            rules: Vec::new(),
            own: Vec::new(),
            seed: 0,
            idle_timeout: IDLE_TIMEOUT,
            max_clients: MAX_CLIENTS,
            is_recording: false,
        })
    }

    /// What clients speak, and what the target does.
    pub fn sides(mut self, clients: Side, target: Side) -> Self {
        (self.front, self.back) = (clients, target);
        self
    }

    /// More rules to begin with, behind those given so far. Recordings (`trace`) must be loaded: see
    /// [`Spec::load_traces`].
    pub fn rules(mut self, spec: &Spec) -> Self {
        self.rules
            .extend(spec.entries().iter().map(|entry| (None, entry.clone())));
        self
    }

    /// One more rule, with a name of its own unless that is taken.
    pub fn rule(mut self, name: Option<&str>, entry: Entry) -> Self {
        self.rules.push((name.map(str::to_owned), entry));
        self
    }

    /// A filter of your own, behind the rules given so far in that direction. `make` is called for each client that comes,
    /// and once before, for the name.
    pub fn filter<F: Filter<Tag> + 'static>(
        mut self,
        direction: Direction,
        make: impl Fn() -> F + Send + 'static,
    ) -> Self {
        self.own.push((direction, Box::new(move || Box::new(make()))));
        self
    }

    /// The number that all dice are thrown with; later clients throw others, see [`crate::filter::seed_of_client`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Silence after which a UDP client is forgotten (two minutes).
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time;
        self
    }

    /// Clients at a time (4096). More are not served.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Keeps every verdict but `Pass`, for [`Proxy::record`] and [`Proxy::replay`].
    pub fn record(mut self) -> Self {
        self.is_recording = true;
        self
    }

    /// Listens, and starts the two threads. Port 0 takes a free one.
    ///
    /// # Errors
    /// The address is in use or not ours, or the system gives no sockets or threads.
    pub fn start(self, listen: impl ToSocketAddrs) -> io::Result<Proxy> {
        let (up_door, up_inbox, up_bell) = Door::new()?;
        let (down_door, down_inbox, down_bell) = Door::new()?;
        let hub = Arc::new(Hub::new(Beginning {
            target: self.target,
            front: self.front,
            back: self.back,
            idle_timeout: self.idle_timeout,
            max_clients: self.max_clients,
            seed: self.seed,
            start: now(),
            links: [Direction::Upstream, Direction::Downstream]
                .map(|direction| Links::new(direction, self.seed, self.is_recording)),
            doors: [up_door, down_door],
        }));
        for links in &hub.links {
            let mut core = links.core.lock();
            let direction = core.direction;
            for (name, entry) in self.rules.iter().filter(|(_, entry)| entry.scope.covers(direction)) {
                let name = core.free_name(name.as_deref().unwrap_or(entry.rule.kind()));
                core.add(usize::MAX, name, entry.clone());
            }
        }
        for (direction, make) in self.own {
            hub.links(direction).core.lock().add_own(make);
        }
        let mut up = Runner::new(Arc::clone(&hub), Direction::Upstream, up_inbox, up_bell);
        let mut down = Runner::new(Arc::clone(&hub), Direction::Downstream, down_inbox, down_bell);
        let local = match self.front {
            Side::Udp => {
                let udp = Udp::bind(listen)?;
                let local = udp.local_addr()?;
                let ends = Ends::udp(udp)?;
                up.read_from(Source::new(None, ends.rx, ends.line.clone()));
                down.send_to(Outlet::new(ends.tx, ends.line, self.back));
                hub.ports.open(local.port());
                local
            }
            Side::Tcp => {
                let listener = TcpListener::bind(&listen.to_socket_addrs()?.collect::<Vec<_>>()[..])?;
                listener.set_nonblocking(true)?;
                let local = listener.local_addr()?;
                up.accept_from(listener);
                local
            }
        };
        let mut threads = vec![start(up, "proxy-up")?];
        match start(down, "proxy-down") {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                hub.end();
                for thread in threads {
                    // It ends by itself now.
                    let _ = thread.join();
                }
                return Err(error);
            }
        }
        Ok(Proxy { hub, threads, local })
    }

    /// As [`ProxyBuilder::start`], on a free port of 127.0.0.1: for tests.
    ///
    /// # Errors
    /// As there.
    pub fn start_local(self) -> io::Result<Proxy> {
        self.start((Ipv4Addr::LOCALHOST, 0))
    }
}
