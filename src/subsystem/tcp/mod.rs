//! Packets on a TCP connection: each is a little-endian `u32` of its length, then its bytes.
//!
//! It knows no protocol above. The connection delivers everything in order or fails, and slows its sender down
//! instead of losing packets.

mod acceptor;
pub(crate) mod frame;
pub(crate) mod inbox;
mod rx;
mod tx;

pub use acceptor::Acceptor;

use super::wait::{Wake, WakeBoth};
use super::{Halves, MAX_PACKET, Pool, Properties, Subsystem};
use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// A good size on TCP: the cost of a packet is spread, and one packet delays no other for long.
const INITIAL_PACKET: usize = 16 << 10;
/// Packets in one batch are at most this much.
const BATCH_BYTES: usize = 64 << 10;
/// Unused buffers kept in each direction.
const POOL_BUFFERS: usize = 32;
/// Bytes that the kernel takes before it has sent them. More would only be delay: what waits here cannot be
/// overtaken by an acknowledgement.
const NOTSENT_LOWAT: u32 = 128 << 10;
/// How much is read and forgotten when the connection closes.
const DRAIN_BYTES: usize = 1 << 20;

/// What is in the `UnexpectedEof` of a connection that the peer has closed within a frame: part of a packet is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithinFrame;

impl WithinFrame {
    /// Whether an error of a carrier says so.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<Self>)
    }
}

impl fmt::Display for WithinFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer closed within a frame")
    }
}

impl Error for WithinFrame {}

/// A TCP connection as a subsystem. It closes when both halves are gone.
///
/// Batches of any size are sent; a packet of more than 65,535 bytes is refused with `InvalidInput`, and a longer
/// length from the peer is `InvalidData`.
#[derive(Debug)]
pub struct Tcp {
    shared: Arc<Shared>,
}

/// The connection that both halves share.
#[derive(Debug)]
struct Shared {
    stream: TcpStream,
}

impl Tcp {
    /// Connects; tries every address.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub fn connect(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Self::from_stream(TcpStream::connect(addr)?)
    }

    /// Connects within `timeout`.
    ///
    /// # Errors
    /// As [`TcpStream::connect_timeout`].
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<Self> {
        Self::from_stream(TcpStream::connect_timeout(addr, timeout)?)
    }

    /// Takes a connection over, for example an accepted one.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn from_stream(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // Packets are sent in batches already; each is wanted now.
        stream.set_nodelay(true)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(NOTSENT_LOWAT) {
            log::debug!("no limit on unsent data: {error}");
        }
        Ok(Self {
            shared: Arc::new(Shared { stream }),
        })
    }

    /// Our own address.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.stream.local_addr()
    }

    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected` if the peer has gone already.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.stream.peer_addr()
    }
}

impl Subsystem for Tcp {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let wakes = WakeBoth {
            tx: Arc::default(),
            rx: Arc::default(),
        };
        Ok(Halves {
            tx: Box::new(tx::Tx::new(Arc::clone(&self.shared), Arc::clone(&wakes.tx))),
            rx: Box::new(rx::Rx::new(self.shared, Arc::<Wake>::clone(&wakes.rx))),
            waker: Arc::new(wakes),
        })
    }

    fn properties(&self) -> Properties {
        let shown = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Properties {
            max_packet: MAX_PACKET,
            initial_packet: INITIAL_PACKET,
            max_segments: max_segments(INITIAL_PACKET),
            reliable: true,
            local_addr: self.local_addr().ok().map(shown),
            peer_addr: self.peer_addr().ok().map(shown),
        }
    }
}

impl Drop for Shared {
    /// Closing with unread bytes makes the kernel reset the connection and forget what it had still to send. So the
    /// end is told first and what has come is read.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        let mut scratch = [0; 4096];
        let mut read_bytes = 0;
        while read_bytes < DRAIN_BYTES {
            match self.stream.read(&mut scratch) {
                Ok(bytes) if bytes > 0 => read_bytes += bytes,
                _ => break,
            }
        }
    }
}

fn pool() -> Arc<Pool> {
    Pool::new(BATCH_BYTES, POOL_BUFFERS)
}

fn max_segments(packet_bytes: usize) -> usize {
    (BATCH_BYTES / packet_bytes.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subsystem::Sent;
    use crate::subsystem::testing::{
        at_once, batch_of, check_that_a_deadline_ends_recv, check_that_no_wake_of_recv_is_lost, failure, numbered,
        receive_packets, watchdog,
    };
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener};

    /// Two ends of a connection: a plain socket, and a subsystem.
    fn raw_and_halves() -> (TcpStream, Halves) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let tcp = Tcp::connect(listener.local_addr().unwrap()).unwrap();
        let (raw, _) = listener.accept().unwrap();
        raw.set_nodelay(true).unwrap();
        assert_eq!(tcp.properties().peer_addr, raw.local_addr().ok());
        (raw, Box::new(tcp).split().unwrap())
    }

    fn two_halves() -> (Halves, Halves) {
        let (raw, halves) = raw_and_halves();
        (Box::new(Tcp::from_stream(raw).unwrap()).split().unwrap(), halves)
    }

    #[test]
    fn frames_that_come_byte_by_byte_are_put_together() {
        let (mut raw, mut halves) = raw_and_halves();
        for byte in b"\x03\0\0\0abc\0\0\0\0\x01\0\0\0" {
            raw.write_all(&[*byte]).unwrap();
            // Some of these looks see a part of a frame.
            if *byte == b'b' {
                assert!(halves.rx.recv(at_once()).unwrap().is_none());
            }
        }
        assert_eq!(receive_packets(&mut *halves.rx, 2), [b"abc".to_vec(), Vec::new()]);
        assert!(halves.rx.recv(at_once()).unwrap().is_none());
        raw.write_all(b"x").unwrap();
        assert_eq!(receive_packets(&mut *halves.rx, 1), [b"x"]);
    }

    #[test]
    fn equal_frames_that_came_together_are_one_batch() {
        let (mut raw, mut halves) = raw_and_halves();
        raw.write_all(b"\x02\0\0\0ab\x02\0\0\0cd\x01\0\0\0e\x01\0\0\0f")
            .unwrap();
        let batch = halves.rx.recv(watchdog()).unwrap().unwrap();
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"ab"[..], b"cd", b"e"]);
        assert_eq!(receive_packets(&mut *halves.rx, 1), [b"f"]);
    }

    #[test]
    fn the_longest_frame_passes() {
        let (mut left, mut right) = two_halves();
        let packet = numbered(1, frame::MAX_FRAMED);
        let mut sent = left.tx.send(batch_of(&packet)).unwrap();
        let received = std::thread::scope(|scope| {
            let received = scope.spawn(|| receive_packets(&mut *right.rx, 1));
            while sent == Sent::Pending {
                sent = left.tx.flush(watchdog()).unwrap();
            }
            received.join().unwrap()
        });
        assert_eq!(received, packet);
    }

    #[test]
    fn a_longer_length_is_invalid_data_and_stays_so() {
        let (mut raw, mut halves) = raw_and_halves();
        raw.write_all(&65_536_u32.to_le_bytes()).unwrap();
        assert_eq!(failure(&mut *halves.rx), io::ErrorKind::InvalidData);
        assert_eq!(failure(&mut *halves.rx), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_end_of_the_connection_is_an_unexpected_end_also_within_a_frame() {
        for wire in [&b""[..], b"\x03\0", b"\x03\0\0\0ab"] {
            let (mut raw, mut halves) = raw_and_halves();
            raw.write_all(b"\x01\0\0\0x").unwrap();
            raw.write_all(wire).unwrap();
            drop(raw);
            assert_eq!(receive_packets(&mut *halves.rx, 1), [b"x"]);
            for _ in 0..2 {
                let error = halves.rx.recv(None).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                assert_eq!(WithinFrame::is_in(&error), !wire.is_empty(), "{error}");
            }
        }
    }

    #[test]
    fn what_was_sent_before_the_close_arrives_though_the_closer_had_unread_bytes() {
        let (mut left, mut right) = two_halves();
        assert_eq!(right.tx.send(batch_of(&[b"unread".to_vec()])).unwrap(), Sent::Taken);
        assert_eq!(left.tx.send(batch_of(&[b"last".to_vec()])).unwrap(), Sent::Taken);
        drop(left);
        assert_eq!(receive_packets(&mut *right.rx, 1), [b"last"]);
        assert_eq!(failure(&mut *right.rx), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_full_connection_is_pending_and_goes_on_where_it_stopped() {
        let (mut left, mut right) = two_halves();
        let packets = numbered(8, 8000);
        let mut batches = 0;
        // Until the buffers of both sides are full.
        while left.tx.send(batch_of(&packets)).unwrap() == Sent::Taken {
            batches += 1;
        }
        batches += 1;
        assert_eq!(left.tx.flush(at_once()).unwrap(), Sent::Pending);
        left.waker.wake();
        assert_eq!(left.tx.flush(None).unwrap(), Sent::Pending);
        let error = left.tx.send(batch_of(&packets)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let received = std::thread::scope(|scope| {
            let received = scope.spawn(|| receive_packets(&mut *right.rx, batches * packets.len()));
            assert_eq!(left.tx.flush(watchdog()).unwrap(), Sent::Taken);
            received.join().unwrap()
        });
        assert!(received.iter().eq(packets.iter().cycle().take(batches * packets.len())));
    }

    #[test]
    fn a_wake_ends_a_blocked_flush() {
        let (mut left, _right) = two_halves();
        while left.tx.send(batch_of(&numbered(8, 8000))).unwrap() == Sent::Taken {}
        std::thread::scope(|scope| {
            let flushed = scope.spawn(|| left.tx.flush(watchdog()).unwrap());
            left.waker.wake();
            assert_eq!(flushed.join().unwrap(), Sent::Pending);
        });
    }

    #[test]
    fn no_wake_is_lost() {
        check_that_no_wake_of_recv_is_lost(&mut two_halves().0);
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        check_that_a_deadline_ends_recv(&mut *two_halves().0.rx);
    }

    #[test]
    fn sending_after_the_peer_has_gone_fails() {
        let (mut left, right) = two_halves();
        drop(right);
        assert_eq!(failure(&mut *left.rx), io::ErrorKind::UnexpectedEof);
        let deadline = watchdog();
        // The first bytes are answered by a reset, the next fail.
        let error = loop {
            assert!(!crate::subsystem::wait::is_past(deadline));
            match left.tx.send(batch_of(&[vec![1]])) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        ));
    }
}
