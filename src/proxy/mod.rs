//! The man in the middle: packets between clients and one target, through rules that lose, delay, damage and count them.
//!
//! A proxy relays opaque packets, datagrams or frames on TCP, on either side. It has no keys and keeps no state of any
//! protocol; what it knows of a packet is its size and the few bits that everybody sees. The rules are those of
//! [`crate::filter`], so that what a person does here to a live transfer is what the protocol is tested against.
//!
//! ```text
//!   clients <--> front socket(s) --- up:   a link [rule, rule, ...] for each client ---> a socket for each <--> target
//!                                <-- down: a link [rule, ...] for each client ----------
//! ```
//!
//! Each client has links of its own: what becomes of its packets does not depend on those of others, and a rate is a rate
//! for each. Rules concern all clients, and their reports sum up over them.
//!
//! One thread for each direction, however many clients there are, and no sleep in it: a packet that has to wait stands in a
//! queue with its time. Rules can be changed at any moment; what they hold stays held. Where no rule tells packets apart,
//! batches pass as they came from the kernel.
//!
//! ```
//! use securestream::filter::Direction;
//! use securestream::proxy::ProxyBuilder;
//! use std::net::UdpSocket;
//!
//! let target = UdpSocket::bind("127.0.0.1:0")?;
//! let proxy = ProxyBuilder::new(target.local_addr()?)?
//!     .rules(&"up: drop 2".parse().expect("a rule"))
//!     .start_local()?;
//!
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! for text in ["one", "two", "three"] {
//!     client.send_to(text.as_bytes(), proxy.local_addr())?;
//! }
//! let mut packet = [0; 9];
//! let (bytes, port_of_proxy) = target.recv_from(&mut packet)?;
//! assert_eq!(&packet[..bytes], b"one");
//! let (bytes, _) = target.recv_from(&mut packet)?;
//! assert_eq!(&packet[..bytes], b"three");
//! target.send_to(b"answer", port_of_proxy)?;
//! assert_eq!(client.recv(&mut packet)?, 6);
//!
//! let up = proxy.rules(Direction::Upstream);
//! assert_eq!((up[0].name.as_str(), up[0].counters.dropped), ("drop_list", 1));
//! proxy.remove_rule(Direction::Upstream, "drop_list").expect("it is there");
//! # Ok::<(), std::io::Error>(())
//! ```

mod builder;
mod capture;
mod due;
mod flow;
mod form;
mod hub;
pub mod inspect;
mod link;
mod links;
mod observation;
mod port;
mod ports;
mod preset;
mod record;
mod regroup;
mod replay;
mod rules;
mod run;
mod scenario;
mod status;
mod tap;

pub use builder::ProxyBuilder;
pub use capture::Capture;
pub use flow::Tag;
pub use form::{KeyError, MatchForm, QueueForm, RuleForm};
pub use hub::Notice;
pub use observation::Observation;
pub use port::Side;
pub use preset::{Preset, preset, presets};
pub use record::Recorded;
pub use replay::ReplayError;
pub use rules::{RuleError, RuleReport};
pub use scenario::{Change, Expect, ProxyPlan, Scenario, ScenarioError, Step, is_metric, metric_of, read_form};
pub use status::{Health, LinkStatus, Status};
pub use tap::PacketEvent;

use crate::filter::{Direction, Entry, Spec};
use crossbeam_channel::Receiver;
use hub::{Command, Hub};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// A running proxy. It ends when it is dropped; what its rules hold then is lost.
///
/// All methods may be called from any thread while packets pass.
pub struct Proxy {
    hub: Arc<Hub>,
    threads: Vec<JoinHandle<()>>,
    local: SocketAddr,
}

const BOTH: [Direction; 2] = [Direction::Upstream, Direction::Downstream];

impl Proxy {
    /// Where clients send to.
    pub fn local_addr(&self) -> SocketAddr {
        SocketAddr::new(self.local.ip().to_canonical(), self.local.port())
    }

    /// The addresses of the target, tried in this order.
    pub fn target(&self) -> &[SocketAddr] {
        &self.hub.target
    }

    /// What clients speak, and what the target does.
    pub fn sides(&self) -> (Side, Side) {
        (self.hub.front, self.hub.back)
    }

    /// The number that all dice are thrown with.
    pub fn seed(&self) -> u64 {
        self.hub.seed
    }

    /// When it began. Times of events count from here.
    pub fn started(&self) -> Instant {
        self.hub.start
    }

    /// The rules of one direction in order, with what they were asked for and what they were seen to do, to all clients
    /// together.
    pub fn rules(&self, direction: Direction) -> Vec<RuleReport> {
        self.hub.links(direction).core.lock().report()
    }

    /// Adds a rule for the directions of its scope, at the end. Returns its name: the one given, or its kind and a number.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_rule(&self, name: Option<&str>, entry: &Entry) -> Result<String, RuleError> {
        self.insert_rule(usize::MAX, name, entry)
    }

    /// As [`Proxy::add_rule`], before the rule at `index`.
    ///
    /// # Errors
    /// The name is taken.
    pub fn insert_rule(&self, index: usize, name: Option<&str>, entry: &Entry) -> Result<String, RuleError> {
        let concerned = || BOTH.into_iter().filter(|direction| entry.scope.covers(*direction));
        let name = if let Some(name) = name {
            name.to_owned()
        } else {
            // One name for both directions.
            let names = concerned().map(|direction| {
                let core = self.hub.links(direction).core.lock();
                core.free_name(entry.rule.kind())
            });
            names.max_by_key(|name| (name.len(), name.clone())).unwrap_or_default()
        };
        for direction in concerned() {
            self.hub.links(direction).core.lock().check_free(&name, direction)?;
        }
        for direction in concerned() {
            let mut core = self.hub.links(direction).core.lock();
            core.add(index, name.clone(), entry.clone());
        }
        self.look();
        Ok(name)
    }

    /// Gives a rule other settings. One that stays of its kind keeps what it holds and goes on counting packets; what was
    /// observed begins anew.
    ///
    /// # Errors
    /// No rule of that direction is called so.
    pub fn set_rule(&self, direction: Direction, name: &str, entry: Entry) -> Result<(), RuleError> {
        let mut core = self.hub.links(direction).core.lock();
        let index = core.find(name, direction)?;
        core.set(index, entry, run::now());
        drop(core);
        self.look();
        Ok(())
    }

    /// Takes a rule out. What it holds comes out in its time.
    ///
    /// # Errors
    /// No rule of that direction is called so.
    pub fn remove_rule(&self, direction: Direction, name: &str) -> Result<(), RuleError> {
        let mut core = self.hub.links(direction).core.lock();
        let index = core.find(name, direction)?;
        core.remove(index);
        drop(core);
        self.look();
        Ok(())
    }

    /// These rules and no others, in both directions. Rules that keep name and place go on as by [`Proxy::set_rule`].
    pub fn set_rules(&self, spec: &Spec) {
        for direction in BOTH {
            let mut core = self.hub.links(direction).core.lock();
            core.set_all(spec, run::now());
        }
        self.look();
    }

    /// The books of both directions, the clients, and whether the proxy itself keeps up.
    pub fn status(&self) -> Status {
        status::status(&self.hub)
    }

    /// Everything that happens to packets from now on, up to `capacity` events that nobody has taken yet; more are lost
    /// to the listener and counted. While somebody listens, packets are taken apart and copied: it costs speed.
    pub fn events(&self, capacity: usize) -> Receiver<PacketEvent> {
        self.hub.taps.listen(capacity)
    }

    /// What a person should know: clients that came and went, a target that cannot be reached. The last 256 that nobody
    /// has taken yet; all are logged too.
    pub fn notices(&self) -> Receiver<Notice> {
        self.hub.notices.clone()
    }

    /// The verdicts of one direction so far, but for `Pass`; empty without [`ProxyBuilder::record`].
    pub fn record(&self, direction: Direction) -> Vec<Recorded> {
        self.hub.links(direction).core.lock().record.verdicts.clone()
    }

    /// Rules that do to the same packets what was done in this run: what was dropped by chance or by a queue becomes a list
    /// of packets to drop, for each client. For a proxy with the same seed.
    ///
    /// # Errors
    /// The run was not recorded ([`ProxyBuilder::record`]), or cannot be done again: see [`ReplayError`].
    pub fn replay(&self) -> Result<Spec, ReplayError> {
        replay::replay(&self.hub)
    }

    /// Sends a packet to the target as if it were from `client`, or to `client` as if it were from the target, past all
    /// rules.
    ///
    /// # Errors
    /// `NotConnected` if there is no such client.
    pub fn inject(&self, direction: Direction, client: SocketAddr, packet: Vec<u8>) -> io::Result<()> {
        self.injector().inject(direction, client, packet)
    }

    /// A handle that injects, for filters of your own and other threads.
    pub fn injector(&self) -> Injector {
        Injector {
            hub: Arc::clone(&self.hub),
        }
    }

    /// Other ports towards the target for all clients, as after a NAT has forgotten the old ones. UDP targets only.
    pub fn rebind(&self) {
        self.hub.door(Direction::Upstream).ask(Command::Rebind);
    }

    /// Whether it runs. It ends by itself only when the socket of its clients breaks.
    pub fn is_running(&self) -> bool {
        !self.hub.is_over()
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self);
    }

    /// A deadline may have become earlier.
    fn look(&self) {
        self.hub.doors.iter().for_each(|door| door.ask(Command::Look));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.hub.end();
        for thread in self.threads.drain(..) {
            // A panic there has been printed.
            let _ = thread.join();
        }
        self.hub.taps.close();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("local", &self.local)
            .field("target", &self.hub.target)
            .finish_non_exhaustive()
    }
}

/// See [`Proxy::injector`].
#[derive(Clone)]
pub struct Injector {
    hub: Arc<Hub>,
}

impl Injector {
    /// As [`Proxy::inject`].
    ///
    /// # Errors
    /// `NotConnected` if there is no such client.
    pub fn inject(&self, direction: Direction, client: SocketAddr, packet: Vec<u8>) -> io::Result<()> {
        let flow = self.hub.flow_of(client).ok_or(io::ErrorKind::NotConnected)?;
        self.hub.door(direction).ask(Command::Inject(flow, packet));
        Ok(())
    }
}
