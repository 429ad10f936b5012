//! A socket of its own for one of the many peers of a bound socket: same local address, connected to the peer.
//!
//! The system hands a datagram to the socket that fits best, so those of the peer come here and all others still come to
//! the bound socket. A stream then reads for itself, into a buffer of the kernel that it shares with nobody.

use super::super::PathId;
use super::socket::{Shared, as_people_write};
use rustix::net::sockopt::set_socket_reuseport;
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};

/// Descriptors that a branch takes: its socket, and two to wake whoever waits for it.
const DESCRIPTORS: u64 = 3;
/// Branches of a process at most. The kernel looks through all of a port for a packet of a stranger, and on Linux before 6.13
/// for every packet.
const MOST: u64 = 1024;

/// Branches of this process.
static BRANCHES: AtomicU64 = AtomicU64::new(0);

/// The right to one branch: all together leave half of the descriptors to the program.
#[derive(Debug)]
pub(super) struct Place(&'static AtomicU64);

impl Place {
    /// `None`: enough are taken.
    pub(super) fn take() -> Option<Self> {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::within(limit, &BRANCHES)
    }

    /// Of so many descriptors that the process may have, and so many branches that there are.
    fn within(limit: u64, branches: &'static AtomicU64) -> Option<Self> {
        let taken = branches.fetch_add(1, Ordering::Relaxed);
        // Given back when it is dropped, refused or not.
        let place = Self(branches);
        (taken < MOST.min(limit / 2 / DESCRIPTORS)).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A branch of `trunk` for `path`. `None` where our own address is not known, or the system has no such thing.
///
/// Datagrams of others that come between the two calls that make it stay in its buffer.
pub(super) fn open(trunk: &Shared, path: PathId) -> io::Result<Option<Shared>> {
    let Some(remote) = path.remote().filter(|_| cfg!(target_os = "linux")) else {
        return Ok(None);
    };
    let bound = trunk.socket.local_addr()?;
    let ip = match path.local() {
        Some(ip) => ip,
        None if trunk.is_wildcard() => return Ok(None),
        None => bound.ip(),
    };
    let local = trunk.as_socket_wants(as_people_write(SocketAddr::new(ip, bound.port())));
    // Link-local addresses mean nothing without their interface.
    if let (SocketAddr::V6(local), SocketAddr::V6(remote)) = (local, remote)
        && (local.ip().is_unicast_link_local() || remote.scope_id() != 0)
    {
        return Ok(None);
    }
    let socket = Socket::new(Domain::for_address(bound), Type::DGRAM, Some(Protocol::UDP))?;
    if bound.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Branches share the address with each other by SO_REUSEADDR, and with the trunk by SO_REUSEPORT, which is for our own user
    // only, and for this one moment. So a second listener is an error as ever, and nobody can come between.
    socket.set_reuse_address(true)?;
    set_socket_reuseport(&socket, true)?;
    set_socket_reuseport(&trunk.socket, true)?;
    let is_bound = socket.bind(&local.into());
    set_socket_reuseport(&trunk.socket, false)?;
    is_bound?;
    set_socket_reuseport(&socket, false)?;
    socket.connect(&trunk.as_socket_wants(remote).into())?;
    trunk.moved_to(UdpSocket::from(socket)).map(Some)
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
