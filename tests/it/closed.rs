//! Ports on which nobody listens, and which nobody else is given meanwhile.
//!
//! A port that is bound and given back may be another test's the moment after.

use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Refuses whoever comes, as long as it lives.
pub(crate) struct Closed {
    pub(crate) addr: SocketAddr,
    _udp: UdpSocket,
    _tcp: Socket,
}

impl Closed {
    /// A port of 127.0.0.1 that is closed on UDP and on TCP.
    pub(crate) fn port() -> Self {
        loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let addr = udp.local_addr().expect("bound");
            // One that is connected, if only to itself, takes nothing from others: the system refuses for it.
            udp.connect(addr).expect("itself");
            let tcp = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            // Bound, and not listening. That number may be taken on TCP.
            if tcp.bind(&addr.into()).is_ok() {
                return Self {
                    addr,
                    _udp: udp,
                    _tcp: tcp,
                };
            }
        }
    }
}
