//! Subsystems: unreliable packets with boundaries kept, to and from the operating system.
//!
//! A subsystem moves opaque bytes. It may lose, duplicate and reorder packets, it never parses, merges or splits
//! them. It knows no protocol, no thread and no filter. Three come with the crate: [`udp`], [`tcp`] (packets framed
//! on a byte stream) and [`memory`]; users can write their own by implementing [`Subsystem`].
//!
//! ```text
//!   SEND THREAD --- Batch (moved) ---> PacketTx ---> wire
//!   RECV THREAD <-- Batch (moved) ---- PacketRx <--- wire        Waker ends a blocked recv or flush
//! ```
//!
//! Packets travel in [`Batch`]es: one pooled buffer holds many packets of equal size (UDP segmentation offload), and
//! moves by ownership. Dropping a batch gives its buffer back to its pool.
//!
//! A subsystem of your own, here over two channels:
//!
//! ```
//! use crossbeam_channel::{Receiver, Select, Sender, bounded};
//! use securestream::{Security, StreamBuilder};
//! use securestream::subsystem::{
//!     Batch, Halves, MAX_PACKET, PacketRx, PacketTx, PathId, Pool, Properties, Sent, Subsystem, Waker,
//! };
//! use std::io::{self, Read, Write};
//! use std::sync::Arc;
//! use std::thread;
//! use std::time::Instant;
//!
//! struct Channels {
//!     to_peer: Sender<Batch>,
//!     from_peer: Receiver<Batch>,
//! }
//!
//! impl Subsystem for Channels {
//!     fn split(self: Box<Self>) -> io::Result<Halves> {
//!         // One place: a wake that comes before `recv` waits there for it.
//!         let (bell, rung) = bounded(1);
//!         let pool = Pool::new(1 << 16, 8);
//!         Ok(Halves {
//!             tx: Box::new(Tx { to_peer: self.to_peer, pool }),
//!             rx: Box::new(Rx { from_peer: self.from_peer, rung }),
//!             waker: Arc::new(Bell(bell)),
//!         })
//!     }
//!
//!     fn properties(&self) -> Properties {
//!         Properties {
//!             max_packet: MAX_PACKET,
//!             initial_packet: 1200,
//!             max_segments: 54,
//!             reliable: false,
//!             local_addr: None,
//!             peer_addr: None,
//!         }
//!     }
//! }
//!
//! struct Tx {
//!     to_peer: Sender<Batch>,
//!     pool: Arc<Pool>,
//! }
//!
//! impl PacketTx for Tx {
//!     fn send(&mut self, batch: Batch) -> io::Result<Sent> {
//!         // A full channel loses packets, as a network does. Never block here.
//!         let _ = self.to_peer.try_send(batch);
//!         Ok(Sent::Taken)
//!     }
//!
//!     fn pool(&self) -> &Arc<Pool> {
//!         &self.pool
//!     }
//!
//!     fn max_segments(&self, packet_bytes: usize) -> usize {
//!         (self.pool.buffer_bytes() / packet_bytes).max(1)
//!     }
//! }
//!
//! struct Rx {
//!     from_peer: Receiver<Batch>,
//!     rung: Receiver<()>,
//! }
//!
//! impl PacketRx for Rx {
//!     fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
//!         // The bell stands first: it is answered even while packets keep coming.
//!         let mut select = Select::new_biased();
//!         let bell = select.recv(&self.rung);
//!         select.recv(&self.from_peer);
//!         let ready = match deadline {
//!             Some(deadline) => match select.select_deadline(deadline) {
//!                 Ok(ready) => ready,
//!                 Err(_) => return Ok(None),
//!             },
//!             None => select.select(),
//!         };
//!         if ready.index() == bell {
//!             let _ = ready.recv(&self.rung);
//!             return Ok(None);
//!         }
//!         ready.recv(&self.from_peer).map(Some).map_err(|_| io::ErrorKind::UnexpectedEof.into())
//!     }
//! }
//!
//! struct Bell(Sender<()>);
//!
//! impl Waker for Bell {
//!     fn wake(&self) {
//!         let _ = self.0.try_send(());
//!     }
//! }
//!
//! let (to_right, from_left) = bounded(64);
//! let (to_left, from_right) = bounded(64);
//! let mut left = Box::new(Channels { to_peer: to_right, from_peer: from_right }).split()?;
//! let mut right = Box::new(Channels { to_peer: to_left, from_peer: from_left }).split()?;
//!
//! // Three packets in one batch: two of 4 bytes, and a shorter last one.
//! let mut buffer = left.tx.pool().take();
//! buffer.extend_from_slice(b"one,two,3");
//! assert_eq!(left.tx.send(Batch { buffer, segment_bytes: 4, path: PathId::ONLY, ecn: None })?, Sent::Taken);
//! let batch = right.rx.recv(None)?.expect("nobody rings the bell");
//! assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"one,"[..], b"two,", b"3"]);
//!
//! // A wake ends the next `recv`, with or without packets.
//! right.waker.wake();
//! assert!(right.rx.recv(None)?.is_none());
//!
//! // That is all a stream needs.
//! let (to_right, from_left) = bounded(64);
//! let (to_left, from_right) = bounded(64);
//! let left = Channels { to_peer: to_right, from_peer: from_right };
//! let right = Channels { to_peer: to_left, from_peer: from_left };
//! let server = thread::spawn(move || -> io::Result<String> {
//!     let mut stream = StreamBuilder::new(Security::plain()).accept_over(right)?;
//!     let mut text = String::new();
//!     stream.read_to_string(&mut text)?;
//!     Ok(text)
//! });
//! let mut stream = StreamBuilder::new(Security::plain()).connect_over(left)?;
//! stream.write_all(b"over channels of our own")?;
//! drop(stream);
//! assert_eq!(server.join().expect("it does not panic")?, "over channels of our own");
//! # Ok::<(), io::Error>(())
//! ```

mod batch;
mod factories;
mod losses;
mod pool;
#[cfg(test)]
mod testing;
mod wait;

pub mod memory;
pub mod tcp;
pub mod udp;

pub use batch::{Batch, Ecn, PathId};
pub use factories::{TcpClient, TcpServerSingleRemote, UdpClient, UdpServerSingleRemote};
pub use losses::SendLosses;
pub use pool::{Buffer, Pool};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// The largest packet that any subsystem carries, in bytes (a UDP payload over IPv4 is 65,507).
pub const MAX_PACKET: usize = 65_507;

/// A way to move packets. Consumed by [`Subsystem::split`] into the two halves that the threads of a stream own.
pub trait Subsystem: Send {
    /// Splits into sending half, receiving half and the means to wake either from another thread.
    ///
    /// # Errors
    /// What the operating system says, for example when a descriptor cannot be duplicated.
    fn split(self: Box<Self>) -> io::Result<Halves>;

    /// What the subsystem is like. The answer does not change.
    fn properties(&self) -> Properties;
}

/// What [`Subsystem::split`] returns.
pub struct Halves {
    /// Puts packets on the wire. Used by one thread.
    pub tx: Box<dyn PacketTx>,
    /// Takes packets from the wire. Used by one thread.
    pub rx: Box<dyn PacketRx>,
    /// Ends a blocked [`PacketRx::recv`] or [`PacketTx::flush`] from any thread.
    pub waker: Arc<dyn Waker>,
}

/// Facts about a subsystem that the protocol above needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    /// The largest packet in bytes that [`PacketTx::send`] takes.
    pub max_packet: usize,
    /// The packet size in bytes to begin with, before any search of the path: 1200 for UDP across the internet.
    pub initial_packet: usize,
    /// How many equal packets one batch may hold when its packets have `initial_packet` bytes; at least 1.
    pub max_segments: usize,
    /// The carrier delivers everything or fails (TCP): malformed input is an error of the stream rather than noise,
    /// and handshake packets need no padding.
    pub reliable: bool,
    /// Our own address, where there is one.
    pub local_addr: Option<SocketAddr>,
    /// The peer's address, where there is just one.
    pub peer_addr: Option<SocketAddr>,
}

/// Whether the operating system has taken a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// Taken. The next batch may come.
    Taken,
    /// Not taken whole (a full socket buffer, or half a frame on TCP). The subsystem holds the rest: call
    /// [`PacketTx::flush`] until it says `Taken`, and send nothing before.
    Pending,
}

/// The sending half. After the peer or the socket has gone, `send` returns the error of the operating system.
pub trait PacketTx: Send {
    /// Sends the packets of `batch` to `batch.path`. Never blocks.
    ///
    /// # Errors
    /// An error of the carrier. On UDP a full network or an unreachable peer is *not* an error here: the packet is
    /// lost, as packets are; `ConnectionRefused` (an ICMP port unreachable) is reported once each time it arrives.
    fn send(&mut self, batch: Batch) -> io::Result<Sent>;

    /// Goes on with a pending batch. Blocks until it is taken, the deadline has passed, or the waker was used;
    /// `Ok(Pending)` in the last two cases. Without a pending batch it returns `Ok(Taken)` at once.
    ///
    /// # Errors
    /// As `send`.
    fn flush(&mut self, deadline: Option<Instant>) -> io::Result<Sent> {
        let _ = deadline;
        Ok(Sent::Taken)
    }

    /// The pool from which the caller takes the buffers of its batches.
    fn pool(&self) -> &Arc<Pool>;

    /// How many packets of `packet_bytes` each one batch may hold, at least 1.
    fn max_segments(&self, packet_bytes: usize) -> usize;

    /// Another sender on the same socket, for the streams of a listener. `None` where one peer owns the carrier.
    fn try_clone(&self) -> Option<Box<dyn PacketTx>> {
        None
    }

    /// The size in bytes of a packet that was larger than our own system sends, since this was last asked. It is lost, as
    /// packets are, and a hint for the search of the path MTU. `None` where no such thing is known.
    fn take_oversize(&mut self) -> Option<usize> {
        None
    }

    /// Whether a send failed of late in a way that another local address may cure: the interface or the route has gone.
    fn is_stranded(&self) -> bool {
        false
    }

    /// Goes on from another local address, and wakes the receiving half, which follows. `Ok(false)` where the carrier
    /// has no such thing: on TCP, and on sockets that peers know by their address. What is on the way to the old
    /// address is lost, as packets are.
    ///
    /// # Errors
    /// What the operating system says; everything stays as it was.
    fn rebind(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    /// Ends a blocked [`PacketTx::flush`] of this very sender. [`Halves::waker`] does not reach the senders that
    /// [`PacketTx::try_clone`] makes; each has its own. `None` where `flush` never blocks.
    fn waker(&self) -> Option<Arc<dyn Waker>> {
        None
    }
}

/// The receiving half.
pub trait PacketRx: Send {
    /// Waits for packets. Blocks until some arrive, the deadline passes, or the waker is used; `Ok(None)` in the last
    /// two cases. `None` as deadline waits without limit; a deadline in the past polls. Precise to well under a
    /// millisecond.
    ///
    /// # Errors
    /// `UnexpectedEof` when the carrier has ended (TCP closed by the peer), `InvalidData` for broken framing,
    /// `ConnectionRefused` for an ICMP port unreachable (later calls go on), or what the operating system says.
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>>;

    /// A receiving half for one of many peers: from now on its packets come there, and all others here. A few of others may
    /// come there, and those of the peer that are here already stay here. `None` where the carrier has no such thing, or
    /// has enough of them. When it is dropped, the packets come here again.
    ///
    /// # Errors
    /// What the operating system says; everything stays as it was.
    fn branch(&mut self, path: PathId) -> io::Result<Option<Branch>> {
        let _ = path;
        Ok(None)
    }
}

/// What [`PacketRx::branch`] returns.
pub struct Branch {
    /// Takes the packets of one peer, and perhaps a few of others.
    pub rx: Box<dyn PacketRx>,
    /// Ends a blocked call of `rx` from any thread.
    pub waker: Arc<dyn Waker>,
}

/// Ends blocked calls from another thread.
pub trait Waker: Send + Sync {
    /// The blocked, or else the next, `recv` returns `Ok(None)` and the blocked, or else the next, `flush` returns
    /// `Ok(Pending)` if anything is pending. Cheap, never blocks.
    fn wake(&self);
}
