//! The bad link: real sockets on the loopback interface, with filters on both receiving ends.

use super::super::endpoint::Endpoint;
use super::super::exit::{Failure, plain_words};
use crate::filter::{Direction, Spec};
use crate::impair::{Control, Impaired};
use crate::stream::{Carrier, Listener, Security, Stream, StreamBuilder};
use crate::subsystem::Subsystem;
use crate::subsystem::tcp::Tcp;
use crate::subsystem::udp::Udp;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The bad link.
pub(super) struct Link {
    carrier: Carrier,
    sender: StreamBuilder,
    receiver: StreamBuilder,
    gso: bool,
    faults: Spec,
    seed: u64,
}

impl Link {
    /// `ends` is how sender and receiver protect what they send.
    pub(super) fn new(endpoint: &Endpoint, ends: [Security; 2], faults: Spec, seed: u64) -> Self {
        let [sender, receiver] = ends.map(|security| endpoint.builder(security).connect_timeout(CONNECT_TIMEOUT));
        Self {
            carrier: endpoint.carrier,
            sender,
            receiver,
            gso: endpoint.gso,
            faults,
            seed,
        }
    }

    /// Puts the faults of one direction before what `subsystem` receives.
    fn impaired<S: Subsystem + 'static>(&self, subsystem: S, direction: Direction) -> (Impaired<S>, Control) {
        Impaired::with_control(subsystem, self.faults.chain(self.seed, direction))
    }

    /// Starts the receiver, which `receive` makes of what accepts its stream, and connects to it.
    pub(super) fn connect<T>(&self, receive: impl FnOnce(Accept) -> Receiver<T>) -> Result<Connected<T>, Failure> {
        let no_socket = |error: io::Error| Failure::io("cannot make a socket on the loopback interface", &error);
        let not_connected = |error: io::Error| Failure::runtime(format!("cannot connect: {}", plain_words(&error)));
        match self.carrier {
            Carrier::Udp => {
                let server = Udp::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_socket)?.gso(self.gso);
                let place = server.local_addr().map_err(no_socket)?;
                let client = Udp::connect(place).map_err(no_socket)?.gso(self.gso);
                let (server, there) = self.impaired(server, Direction::Upstream);
                let listener = self.receiver.bind_over(server).map_err(no_socket)?;
                let closer = listener.close_handle();
                let receiver = receive(Box::new(move || accept(&listener)))?;
                let (client, back) = self.impaired(client, Direction::Downstream);
                let stream = self.sender.connect_over(client).map_err(|error| {
                    // Or else the receiver waits for its whole time.
                    closer.close();
                    not_connected(error)
                })?;
                Ok(Connected {
                    stream,
                    receiver,
                    there,
                    back,
                })
            }
            Carrier::Tcp => {
                let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_socket)?;
                let client = TcpStream::connect(door.local_addr().map_err(no_socket)?).map_err(no_socket)?;
                let (server, _) = door.accept().map_err(no_socket)?;
                let server = Tcp::from_stream(server).map_err(no_socket)?;
                let (server, there) = self.impaired(server, Direction::Upstream);
                let builder = self.receiver.clone();
                let receiver = receive(Box::new(move || builder.accept_over(server)))?;
                let client = Tcp::from_stream(client).map_err(no_socket)?;
                let (client, back) = self.impaired(client, Direction::Downstream);
                let stream = self.sender.connect_over(client).map_err(not_connected)?;
                Ok(Connected {
                    stream,
                    receiver,
                    there,
                    back,
                })
            }
        }
    }
}

/// Waits for the stream of the receiver.
pub(super) type Accept = Box<dyn FnOnce() -> io::Result<Stream> + Send>;

/// A receiver at work, or why it cannot be.
pub(super) type Receiver<T> = Result<JoinHandle<T>, Failure>;

/// Both ends at work, and the faults between them.
pub(super) struct Connected<T> {
    pub(super) stream: Stream,
    pub(super) receiver: JoinHandle<T>,
    pub(super) there: Control,
    pub(super) back: Control,
}

fn accept(listener: &Listener) -> io::Result<Stream> {
    listener.accept_timeout(CONNECT_TIMEOUT).map(|(stream, _)| stream)
}
