//! The four ways to a subsystem by name: client or server, over UDP or TCP. Servers take just one remote.
//!
//! They are shorthands for [`Udp`] and [`Tcp`], for programs that speak of host and port.

use super::tcp::Tcp;
use super::udp::Udp;
use super::wait::{Waited, Wake, after, wait};
use super::{Halves, Properties, Subsystem};
use rustix::event::PollFlags;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

/// A UDP socket to one server.
#[derive(Debug)]
pub struct UdpClient(Udp);

impl UdpClient {
    /// A socket to `host` and `port`. Nothing is sent yet.
    ///
    /// # Errors
    /// As [`Udp::connect`].
    pub fn new(host: &str, port: u16) -> io::Result<Self> {
        Udp::connect((host, port)).map(Self)
    }

    /// Sends an empty datagram, so that a server that speaks first learns our address. It may be lost.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn introduce(&self) -> io::Result<()> {
        self.0.introduce()
    }
}

impl Subsystem for UdpClient {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        Box::new(self.0).split()
    }

    fn properties(&self) -> Properties {
        self.0.properties()
    }
}

/// A TCP connection to one server.
#[derive(Debug)]
pub struct TcpClient(Tcp);

impl TcpClient {
    /// Connects to `host` and `port`.
    ///
    /// # Errors
    /// As [`Tcp::connect`].
    pub fn new(host: &str, port: u16) -> io::Result<Self> {
        Tcp::connect((host, port)).map(Self)
    }
}

impl Subsystem for TcpClient {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        Box::new(self.0).split()
    }

    fn properties(&self) -> Properties {
        self.0.properties()
    }
}

/// A bound UDP socket that takes the first who sends to it as its only remote.
#[derive(Debug)]
pub struct UdpServerSingleRemote(Udp);

impl UdpServerSingleRemote {
    /// Binds. Port 0 takes a free one.
    ///
    /// # Errors
    /// As [`Udp::bind`].
    pub fn new(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Udp::bind(addr).map(Self)
    }

    /// The address that clients send to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits for the first datagram, without limit if `timeout` is `None`. Its sender is the remote from then on,
    /// all others are ignored. An empty first datagram is only an introduction; another one is the first that the
    /// subsystem receives.
    ///
    /// # Errors
    /// `TimedOut`, or what the operating system says.
    pub fn accept(self, timeout: Option<Duration>) -> io::Result<Udp> {
        self.0.adopt(timeout)
    }
}

/// A TCP listener that takes one connection.
#[derive(Debug)]
pub struct TcpServerSingleRemote(TcpListener);

impl TcpServerSingleRemote {
    /// Listens. Port 0 takes a free one.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn new(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// The address that clients connect to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits for the first connection, without limit if `timeout` is `None`, and listens no more.
    ///
    /// # Errors
    /// `TimedOut`, or what the operating system says.
    pub fn accept(self, timeout: Option<Duration>) -> io::Result<Tcp> {
        let deadline = timeout.map(after);
        let nobody = Wake::default();
        loop {
            match self.0.accept() {
                Ok((stream, _)) => return Tcp::from_stream(stream),
                // The last of these: the peer left between its connect and our accept.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => return Err(error),
            }
            if wait(&self.0, PollFlags::IN, &nobody, deadline)? == Waited::Expired {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody connected in time"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subsystem::testing::{at_once, batch_of, receive_packets};
    use crate::subsystem::{PathId, Sent};
    use std::net::Ipv4Addr;

    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(20));
    const BRIEF: Option<Duration> = Some(Duration::from_millis(5));

    fn udp_client(server: &UdpServerSingleRemote) -> (Halves, SocketAddr) {
        let client = UdpClient::new("127.0.0.1", server.local_addr().unwrap().port()).unwrap();
        let addr = client.properties().local_addr.unwrap();
        (Box::new(client).split().unwrap(), addr)
    }

    #[test]
    fn the_udp_server_keeps_to_its_first_remote_and_loses_nothing_of_it() {
        let server = UdpServerSingleRemote::new((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let (mut first, first_addr) = udp_client(&server);
        let (mut stranger, _) = udp_client(&server);
        assert_eq!(first.tx.send(batch_of(&[b"first".to_vec()])).unwrap(), Sent::Taken);
        assert_eq!(stranger.tx.send(batch_of(&[b"noise".to_vec()])).unwrap(), Sent::Taken);
        let server = server.accept(TIMEOUT).unwrap();
        assert_eq!(server.properties().peer_addr, Some(first_addr));
        let mut server = Box::new(server).split().unwrap();
        assert_eq!(stranger.tx.send(batch_of(&[b"noise".to_vec()])).unwrap(), Sent::Taken);
        assert_eq!(first.tx.send(batch_of(&[b"second".to_vec()])).unwrap(), Sent::Taken);
        let received = receive_packets(&mut *server.rx, 2);
        assert_eq!(received, [b"first".to_vec(), b"second".to_vec()]);
        assert!(server.rx.recv(at_once()).unwrap().is_none());
        let mut answer = batch_of(&[b"answer".to_vec()]);
        answer.path = PathId::ONLY;
        assert_eq!(server.tx.send(answer).unwrap(), Sent::Taken);
        assert_eq!(receive_packets(&mut *first.rx, 1), [b"answer"]);
        assert!(stranger.rx.recv(at_once()).unwrap().is_none());
    }

    #[test]
    fn an_empty_first_datagram_is_only_an_introduction() {
        let server = UdpServerSingleRemote::new((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = UdpClient::new("127.0.0.1", server.local_addr().unwrap().port()).unwrap();
        client.introduce().unwrap();
        let mut server = Box::new(server.accept(TIMEOUT).unwrap()).split().unwrap();
        assert!(server.rx.recv(at_once()).unwrap().is_none());
        assert_eq!(
            server.tx.send(batch_of(&[b"server first".to_vec()])).unwrap(),
            Sent::Taken
        );
        let mut client = Box::new(client).split().unwrap();
        assert_eq!(receive_packets(&mut *client.rx, 1), [b"server first"]);
    }

    #[test]
    fn the_tcp_server_takes_one_connection() {
        let server = TcpServerSingleRemote::new((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = TcpClient::new("127.0.0.1", port).unwrap();
        assert!(client.properties().reliable);
        let mut client = Box::new(client).split().unwrap();
        let mut server = Box::new(server.accept(TIMEOUT).unwrap()).split().unwrap();
        assert_eq!(client.tx.send(batch_of(&[b"hello".to_vec()])).unwrap(), Sent::Taken);
        assert_eq!(receive_packets(&mut *server.rx, 1), [b"hello"]);
        let refused = TcpClient::new("127.0.0.1", port).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn waiting_for_nobody_times_out() {
        let udp = UdpServerSingleRemote::new((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(udp.accept(BRIEF).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let tcp = TcpServerSingleRemote::new((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(tcp.accept(BRIEF).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
