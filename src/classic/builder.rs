//! Options of classic streams, and the ways to connect, accept and listen.

use super::arq::Arq;
use super::carrier::Wrapping;
use super::endpoint::{Config, Endpoint};
use super::listener::Listener;
use super::rsa::Cryptor;
use super::shared::Shared;
use super::stream::Stream;
use super::worker::Worker;
use crate::error::StreamError;
use crate::subsystem::tcp::{Acceptor, Tcp};
use crate::subsystem::udp::Udp;
use crate::subsystem::{Batch, Halves, PathId, Properties, Subsystem};
use crossbeam_channel::Sender;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The thread computes RSA, and numbers live on the heap.
const STACK_BYTES: usize = 128 << 10;

/// How a classic endpoint shall speak. Clones are equal; one builder makes any number of streams.
///
/// ```
/// use securestream::classic::Builder;
/// use std::io::{self, Read, Write};
/// use std::time::Duration;
///
/// let listener = Builder::new().listen_tcp("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let sender = std::thread::spawn(move || -> io::Result<()> {
///     let mut stream = Builder::new().connect_tcp(addr)?;
///     stream.write_all(b"as in the old days")?;
///     stream.finish(Duration::from_secs(5))
/// });
/// let mut text = String::new();
/// listener.accept(None)?.read_to_string(&mut text)?; // up to the close; that it is whole, nobody knows
/// assert_eq!(text, "as in the old days");
/// sender.join().unwrap()?;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    arq: Arq,
    cryptor: Option<Cryptor>,
    connect_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
}

impl Builder {
    /// Packets in clear, and the default scheme.
    pub fn new() -> Self {
        Self::default()
    }

    /// How packets are sent again. The two sides need not agree.
    #[must_use]
    pub fn arq(self, arq: Arq) -> Self {
        Self { arq, ..self }
    }

    /// Textbook RSA on every packet, in both directions. The two sides must agree.
    #[must_use]
    pub fn cryptor(self, cryptor: Cryptor) -> Self {
        Self {
            cryptor: Some(cryptor),
            ..self
        }
    }

    /// How long connecting, and then the first answer, may take (20 s).
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self {
            connect_timeout: Some(timeout),
            ..self
        }
    }

    /// How long the peer may be silent while packets are under way; over UDP also how long a silence ends reading (40 s).
    #[must_use]
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        Self {
            idle_timeout: Some(timeout),
            ..self
        }
    }

    /// Connects over TCP; every address of a name is tried.
    ///
    /// # Errors
    /// As [`std::net::TcpStream::connect_timeout`]. Whether the other side speaks classic turns out later.
    pub fn connect_tcp(&self, addr: impl ToSocketAddrs) -> io::Result<Stream> {
        let timeout = self.config(false).connect_timeout;
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
        for addr in addr.to_socket_addrs()? {
            match Tcp::connect_timeout(&addr, timeout) {
                Ok(tcp) => return self.over(tcp),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A stream to a UDP server. It gets an empty datagram first, from which it learns our address. Whether anybody is
    /// there turns out later.
    ///
    /// # Errors
    /// As [`Udp::connect`].
    pub fn connect_udp(&self, addr: impl ToSocketAddrs) -> io::Result<Stream> {
        let udp = Udp::connect(addr)?;
        let properties = udp.properties();
        let mut halves = Box::new(udp).split()?;
        let introduction = Batch::single(Vec::new().into(), PathId::ONLY);
        // It may be lost, as any datagram: the first packet says the same.
        let _ = halves.tx.send(introduction)?;
        self.start(halves, &properties, Peer::only())
    }

    /// A stream over any subsystem that has one peer. On a reliable one packets go as they are, else with their length in
    /// front.
    ///
    /// # Errors
    /// What the system says.
    pub fn over(&self, subsystem: impl Subsystem + 'static) -> io::Result<Stream> {
        let properties = subsystem.properties();
        let halves = Box::new(subsystem).split()?;
        self.start(halves, &properties, Peer::only())
    }

    /// Listens for TCP connections. Port 0 takes a free one.
    ///
    /// # Errors
    /// As [`std::net::TcpListener::bind`].
    pub fn listen_tcp(&self, addr: impl ToSocketAddrs) -> io::Result<Listener> {
        Ok(Listener::tcp(self.clone(), Acceptor::bind(addr)?))
    }

    /// Listens on a UDP port, for one peer at a time. Port 0 takes a free one.
    ///
    /// # Errors
    /// As [`Udp::bind`].
    pub fn listen_udp(&self, addr: impl ToSocketAddrs) -> io::Result<Listener> {
        Listener::udp(self.clone(), Udp::bind(addr)?)
    }

    pub(super) fn wrapping(&self, is_framed: bool) -> Wrapping {
        Wrapping {
            is_framed,
            cryptor: self.cryptor.clone(),
        }
    }

    fn config(&self, reliable: bool) -> Config {
        let usual = Config::default();
        Config {
            arq: self.arq,
            data_bytes: self.cryptor.as_ref().map_or(usual.data_bytes, Cryptor::data_bytes),
            encrypted: self.cryptor.is_some(),
            reliable,
            connect_timeout: self.connect_timeout.unwrap_or(usual.connect_timeout),
            idle_timeout: self.idle_timeout.unwrap_or(usual.idle_timeout),
        }
    }

    /// Starts the thread.
    pub(super) fn start(&self, halves: Halves, properties: &Properties, peer: Peer) -> io::Result<Stream> {
        let Peer { path, early, home } = peer;
        let endpoint = Endpoint::new(self.config(properties.reliable), now());
        let shared = Arc::new(Shared::new(endpoint, halves.waker));
        let worker = Worker {
            shared: Arc::clone(&shared),
            tx: halves.tx,
            rx: halves.rx,
            wrapping: self.wrapping(!properties.reliable),
            peer: path,
            early,
            home,
            is_pending: false,
            is_deaf: false,
        };
        let thread = thread::Builder::new()
            .name("classic".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || worker.run())
            .map_err(|error| StreamError::os("cannot start a thread", &error))?;
        let peer_addr: Option<SocketAddr> = path.remote().or(properties.peer_addr);
        Ok(Stream::new(shared, thread, properties.local_addr, peer_addr))
    }
}

/// With whom a stream begins.
pub(super) struct Peer {
    pub(super) path: PathId,
    /// What it has sent already.
    pub(super) early: Vec<Batch>,
    /// Where the carrier goes when the stream is over, if anybody wants it.
    pub(super) home: Option<Sender<Halves>>,
}

impl Peer {
    /// The only one of a carrier.
    fn only() -> Self {
        Self {
            path: PathId::ONLY,
            early: Vec::new(),
            home: None,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a stream begins at some moment")]
fn now() -> Instant {
    Instant::now()
}
