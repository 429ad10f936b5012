//! Options, and the ways to get a stream: connect, accept, listen. Long because each option is described where it is
//! set.

use super::acceptor;
use super::budget::LEAST_WINDOW;
use super::connection::{self, Setup};
use super::drive;
use super::handshake;
use super::limits::Limits;
use super::listener::Listener;
use super::port;
use super::security::Security;
use super::{DEFAULT_LINGER, Stream};
use crate::error::StreamError;
use crate::proto::{self, congestion};
use crate::subsystem::tcp::{Acceptor, Tcp};
use crate::subsystem::udp::Udp;
use crate::subsystem::{Halves, PathId, Properties, Subsystem};
use crate::wire::packet::ConnectionId;
use crate::wire::params::TransportParams;
use rand::TryRng;
use rand::rngs::SysRng;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Datagrams smaller than this cannot carry the handshake (RFC 9000, section 14).
const MIN_DATAGRAM: usize = 1200;
/// The search of the path MTU goes no further by itself. Four such packets fill a batch of 64 KiB with all headers; larger ones
/// gained nothing on loopback and cost more when one is lost.
const MAX_DATAGRAM: usize = 16_368;
/// Times beyond this are as good as no limit, and can still be added to the clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// A time-out that is over is still not zero.
const SHORTEST: Duration = Duration::from_millis(1);
/// Window bounds that make sense, in bytes.
const MIN_WINDOW: u64 = LEAST_WINDOW;

/// What carries the packets to an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// UDP datagrams.
    #[default]
    Udp,
    /// Packets framed on a TCP connection.
    Tcp,
}

/// Options of streams, with sensible defaults, and the ways to get one.
///
/// ```
/// use securestream::{Security, StreamBuilder};
/// use std::io::{Read, Write};
/// use std::thread;
///
/// let listener = StreamBuilder::new(Security::plain()).bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let client = thread::spawn(move || -> std::io::Result<()> {
///     let mut stream = StreamBuilder::new(Security::plain()).connect(addr)?;
///     stream.write_all(b"over UDP, whole and in order")?;
///     Ok(())
/// });
/// let (mut stream, _) = listener.accept()?;
/// let mut text = String::new();
/// stream.read_to_string(&mut text)?;
/// assert_eq!(text, "over UDP, whole and in order");
/// client.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StreamBuilder {
    security: Security,
    carrier: Carrier,
    gso: bool,
    pub(super) proto: proto::Config,
    limits: Limits,
    max_datagram: Option<usize>,
    connect_timeout: Duration,
    pub(super) linger: Option<Duration>,
    error: Option<StreamError>,
}

impl StreamBuilder {
    /// Defaults: UDP, connect time-out 20 s, idle time-out 40 s with keep-alive, linger 5 s, receive window tuned
    /// from 256 KiB up to 64 MiB.
    pub fn new(security: Security) -> Self {
        Self {
            security,
            carrier: Carrier::Udp,
            gso: true,
            proto: proto::Config::default(),
            limits: Limits::default(),
            max_datagram: None,
            connect_timeout: handshake::DEFAULT_CONNECT_TIMEOUT,
            linger: Some(DEFAULT_LINGER),
            error: None,
        }
    }

    /// Packets in UDP datagrams (the default).
    #[must_use]
    pub fn udp(self) -> Self {
        self.carrier(Carrier::Udp)
    }

    /// Packets framed on TCP.
    #[must_use]
    pub fn tcp(self) -> Self {
        self.carrier(Carrier::Tcp)
    }

    /// What carries the packets.
    #[must_use]
    pub fn carrier(mut self, carrier: Carrier) -> Self {
        self.carrier = carrier;
        self
    }

    /// Hands batches to the kernel whole, where it can take them (UDP segmentation offload). On by default; off
    /// costs most of the speed.
    #[must_use]
    pub fn gso(mut self, on: bool) -> Self {
        self.gso = on;
        self
    }

    /// Chooses the congestion controller by name; see [`congestion::names`].
    ///
    /// # Errors
    /// `InvalidInput` naming the ones there are.
    pub fn congestion(mut self, name: &str) -> io::Result<Self> {
        congestion::by_name(name, MIN_DATAGRAM as u64).map_err(|error| invalid(error.to_string()))?;
        name.clone_into(&mut self.proto.congestion);
        Ok(self)
    }

    /// How long a handshake may take. 20 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.note_zero(timeout, "the connect time-out");
        self.connect_timeout = timeout.min(LONGEST);
        self
    }

    /// A stream that hears nothing from its peer for this long ends with `TimedOut`, data in flight or not. The
    /// smaller value of both sides counts. 40 s by default; the keep-alive follows with a third of it.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.note_zero(timeout, "the idle time-out");
        self.proto.idle_timeout = timeout.min(LONGEST);
        if self.proto.keep_alive.is_some() {
            self.proto.keep_alive = Some(self.proto.idle_timeout / 3);
        }
        self
    }

    /// How often a silent peer is asked for a sign of life. `None`: never, and a stream without traffic ends after
    /// the idle time-out. A third of the idle time-out by default.
    #[must_use]
    pub fn keep_alive(mut self, every: Option<Duration>) -> Self {
        if let Some(every) = every {
            self.note_zero(every, "the keep-alive interval");
        }
        self.proto.keep_alive = every.map(|every| every.min(LONGEST));
        self
    }

    /// See [`Stream::set_linger`].
    #[must_use]
    pub fn linger(mut self, linger: Option<Duration>) -> Self {
        self.linger = linger;
        self
    }

    /// The receive window never grows beyond this many bytes: the bound for what one stream keeps in memory for its
    /// reader. 64 MiB by default, at least 16 KiB.
    #[must_use]
    pub fn max_window(mut self, bytes: u64) -> Self {
        let bytes = bytes.max(MIN_WINDOW);
        self.proto.max_window = bytes;
        self.proto.initial_window = self.proto.initial_window.min(bytes);
        self
    }

    /// The largest packets in bytes, at least 1200. On UDP packets of 1200 bytes are sent first, and a search finds how
    /// large they may be on the path (RFC 8899), up to this. 16,368 by default, which only the loopback interface and
    /// networks with jumbo frames carry. On TCP and other reliable carriers packets have this size from the beginning; by
    /// default that which the carrier likes best, on TCP 16 KiB.
    #[must_use]
    pub fn max_datagram(mut self, bytes: usize) -> Self {
        if bytes < MIN_DATAGRAM {
            let reason = format!("datagrams of {bytes} bytes are too small: at least {MIN_DATAGRAM}");
            self.error = Some(StreamError::Invalid { reason });
        }
        self.max_datagram = Some(bytes);
        self
    }

    /// What a listener takes from strangers, and from all its peers together.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub(super) fn limits_of_listeners(&self) -> Limits {
        self.limits
    }

    fn note_zero(&mut self, timeout: Duration, what: &str) {
        if timeout.is_zero() {
            self.error = Some(StreamError::Invalid {
                reason: format!("{what} must not be zero"),
            });
        }
    }

    fn check(&self) -> io::Result<()> {
        self.error.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Connects to `addr` over the chosen carrier. Every address that it resolves to is tried, the connect time-out
    /// counts for each.
    ///
    /// # Errors
    /// `InvalidInput` for an option that cannot be; that of the last address otherwise: `ConnectionRefused`,
    /// `TimedOut`, `PermissionDenied` (identity), `Unsupported` (mode or version), or what the system says.
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<Stream> {
        self.check()?;
        let mut last = invalid("the address resolves to nothing".into());
        for addr in addr.to_socket_addrs()? {
            match self.connect_to(addr) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn connect_to(&self, addr: SocketAddr) -> io::Result<Stream> {
        let start = now();
        match self.carrier {
            Carrier::Udp => self.connect_over(Udp::connect(addr)?.gso(self.gso)),
            Carrier::Tcp => {
                let tcp = Tcp::connect_timeout(&addr, self.connect_timeout).map_err(|error| match error.kind() {
                    io::ErrorKind::ConnectionRefused => StreamError::Refused {
                        reason: format!("nothing listens on {addr}"),
                    }
                    .into(),
                    io::ErrorKind::TimedOut => StreamError::TimedOut {
                        limit: crate::error::Limit::Connect,
                        after: self.connect_timeout,
                    }
                    .into(),
                    _ => error,
                })?;
                // What the carrier took is gone from the time for the handshake.
                let left = self.connect_timeout.saturating_sub(start.elapsed());
                let rest = self.clone().connect_timeout(left.max(SHORTEST));
                rest.connect_over(tcp).map_err(|error| match StreamError::of(&error) {
                    Some(StreamError::TimedOut { limit, .. }) => StreamError::TimedOut {
                        limit: *limit,
                        after: self.connect_timeout,
                    }
                    .into(),
                    _ => error,
                })
            }
        }
    }

    /// Connects over any subsystem that has one peer.
    ///
    /// # Errors
    /// As [`StreamBuilder::connect`].
    pub fn connect_over(&self, subsystem: impl Subsystem + 'static) -> io::Result<Stream> {
        self.check()?;
        let (properties, mut halves) = split(Box::new(subsystem))?;
        let config = self.handshake_config(&properties);
        let established = drive::connect(&config, &mut halves, &properties, random_id()?, random_id()?)?;
        self.start(established, halves, properties, PathId::ONLY)
    }

    /// Accepts the one peer of a subsystem.
    ///
    /// # Errors
    /// `TimedOut` if nobody connects within the connect time-out, or why the peer was refused.
    pub fn accept_over(&self, subsystem: impl Subsystem + 'static) -> io::Result<Stream> {
        self.check()?;
        let (properties, mut halves) = split(Box::new(subsystem))?;
        let config = self.handshake_config(&properties);
        let (established, path) = drive::accept(&config, &mut halves, random_id()?, &|| false, false)?;
        self.start(established, halves, properties, path)
    }

    /// Listens on `addr` over the chosen carrier. Port 0 lets the system choose; see [`Listener::local_addr`].
    ///
    /// # Errors
    /// `InvalidInput` for an option that cannot be, or what the system says: `AddrInUse`, `PermissionDenied`.
    pub fn bind(&self, addr: impl ToSocketAddrs) -> io::Result<Listener> {
        self.check()?;
        match self.carrier {
            Carrier::Udp => self.bind_over(Udp::bind(addr)?.gso(self.gso)),
            Carrier::Tcp => acceptor::listen(self.clone(), Acceptor::bind(addr)?),
        }
    }

    /// Listens on any subsystem whose batches carry the path to each peer, such as [`Udp::bind`] or one with
    /// filters in front.
    ///
    /// # Errors
    /// `InvalidInput` if its sending half cannot be cloned for many peers, or what the system says.
    pub fn bind_over(&self, subsystem: impl Subsystem + 'static) -> io::Result<Listener> {
        self.check()?;
        let (properties, halves) = split(Box::new(subsystem))?;
        port::listen(self.clone(), properties, halves)
    }

    pub(super) fn handshake_config(&self, properties: &Properties) -> handshake::Config {
        let params = TransportParams {
            max_idle_timeout: self.proto.idle_timeout,
            initial_max_data: self.proto.initial_window,
            max_ack_delay: self.proto.max_ack_delay,
            max_packet_bytes: properties.max_packet as u64,
            ..TransportParams::default()
        };
        handshake::Config {
            reliable: properties.reliable,
            connect_timeout: self.connect_timeout,
            ..handshake::Config::new(Arc::clone(self.security.mode()), params)
        }
    }

    fn proto_config(&self, properties: &Properties) -> proto::Config {
        // TCP takes any size: nothing is to be searched for there.
        let initial = properties.initial_packet.min(properties.max_packet);
        let default = if properties.reliable {
            initial
        } else {
            initial.max(MAX_DATAGRAM)
        };
        let largest = self.max_datagram.unwrap_or(default).min(properties.max_packet);
        let packet_bytes = if properties.reliable {
            largest
        } else {
            initial.min(largest)
        };
        proto::Config {
            packet_bytes,
            max_packet_bytes: largest,
            ..self.proto.clone()
        }
    }

    fn start(
        &self,
        established: handshake::Established,
        halves: Halves,
        properties: Properties,
        path: PathId,
    ) -> io::Result<Stream> {
        let setup = self.setup(established, halves, properties, path)?;
        let (connection, send_thread) = connection::start(setup, now())?;
        Ok(Stream::new(
            connection,
            send_thread,
            self.linger,
            self.proto.nodelay,
            None,
        ))
    }

    /// All that the threads of a stream need.
    pub(super) fn setup(
        &self,
        established: handshake::Established,
        halves: Halves,
        properties: Properties,
        path: PathId,
    ) -> io::Result<Setup> {
        Ok(Setup {
            established,
            halves,
            config: self.proto_config(&properties),
            path,
            peer_addr: path.remote().or(properties.peer_addr),
            properties,
            local_identity: self.security.mode().local_identity().cloned(),
            form: self.security.form(),
            seed: u64::from_be_bytes(random_id()?.0),
            queue_drops: Arc::new(AtomicU64::new(0)),
            share: None,
            tell_port: None,
        })
    }
}

fn split(subsystem: Box<dyn Subsystem>) -> io::Result<(Properties, Halves)> {
    let properties = subsystem.properties();
    Ok((properties, subsystem.split()?))
}

fn invalid(reason: String) -> io::Error {
    StreamError::Invalid { reason }.into()
}

/// Eight unpredictable bytes.
pub(super) fn random_id() -> io::Result<ConnectionId> {
    random_bytes().map(ConnectionId)
}

/// Unpredictable bytes.
pub(super) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    // Not from aws-lc: its generator takes tens of milliseconds to start, and these bytes are no keys.
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| io::Error::other("the system has no randomness to give"))?;
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "a stream starts now")]
fn now() -> Instant {
    Instant::now()
}
