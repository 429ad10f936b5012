//! The UDP socket that both halves share: opening, buffer sizes, addresses, one send and one receive call.
//!
//! `quinn-udp` does the system calls. Its receive waits for *all* buffers on a blocking socket, so there is just one
//! buffer and the socket never blocks. It also forbids fragmentation (RFC 9000, section 14).

use super::super::{Ecn, PathId, SendLosses};
use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

/// Socket buffers that we would like, in bytes: 20 ms at 400 MB/s.
const BEST_BUFFER_BYTES: usize = 8 << 20;
/// Socket buffers that we ask for where the best is refused rather than cut down.
const GOOD_BUFFER_BYTES: usize = 4 << 20;
/// Below this, a burst of a fast sender overflows the buffer and looks like loss.
const POOR_BUFFER_BYTES: usize = 2 << 20;

/// What both halves share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) socket: UdpSocket,
    state: UdpSocketState,
    /// Addresses of this socket have the IPv6 form; those of IPv4 peers are mapped into it.
    ipv6: bool,
    /// Bound to a wildcard address: answers must name the address that the peer knows.
    wildcard: bool,
    /// Segmentation offload is wanted and has not failed.
    pub(super) gso: AtomicBool,
    pub(super) max_gso_segments: usize,
    pub(super) losses: Arc<SendLosses>,
}

/// What one receive call brought.
pub(super) struct Received {
    pub(super) bytes: usize,
    pub(super) segment_bytes: usize,
    pub(super) path: PathId,
    pub(super) ecn: Option<Ecn>,
}

impl Shared {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        ask_for_buffers(&socket);
        // This also makes the socket non-blocking.
        let state = UdpSocketState::new((&socket).into())?;
        let local = socket.local_addr()?;
        let max_gso_segments = state.max_gso_segments();
        Ok(Self {
            ipv6: local.is_ipv6(),
            wildcard: local.ip().is_unspecified(),
            gso: AtomicBool::new(max_gso_segments > 1),
            max_gso_segments,
            losses: Arc::default(),
            socket,
            state,
        })
    }

    /// The same with another socket.
    pub(super) fn moved_to(&self, socket: UdpSocket) -> io::Result<Self> {
        let fresh = Self::new(socket)?;
        fresh.gso.store(self.uses_gso(), Ordering::Relaxed);
        Ok(Self {
            losses: Arc::clone(&self.losses),
            ..fresh
        })
    }

    /// Sends `contents` as datagrams of `segment_bytes`, in one system call.
    pub(super) fn send(&self, contents: &[u8], segment_bytes: usize, path: PathId, ecn: Option<Ecn>) -> io::Result<()> {
        let Some(remote) = path.remote() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a bound socket needs the peer's address",
            ));
        };
        let transmit = Transmit {
            destination: self.as_socket_wants(remote),
            ecn: ecn.map(|ecn| match ecn {
                Ecn::Ect0 => EcnCodepoint::Ect0,
                Ecn::Ect1 => EcnCodepoint::Ect1,
                Ecn::Ce => EcnCodepoint::Ce,
            }),
            contents,
            segment_size: (contents.len() > segment_bytes).then_some(segment_bytes),
            src_ip: path.local(),
        };
        self.state.try_send((&self.socket).into(), &transmit)
    }

    /// Receives datagrams of one sender, in one system call.
    pub(super) fn recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut meta = [RecvMeta::default()];
        self.state
            .recv((&self.socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta)?;
        let [meta] = meta;
        let local = if self.wildcard {
            meta.dst_ip.filter(|&ip| can_be_source(ip))
        } else {
            None
        };
        Ok(Received {
            bytes: meta.len,
            segment_bytes: meta.stride.clamp(1, meta.len.max(1)),
            path: PathId::to(as_people_write(meta.addr)).answered_from(local),
            ecn: meta.ecn.map(|ecn| match ecn {
                EcnCodepoint::Ect0 => Ecn::Ect0,
                EcnCodepoint::Ect1 => Ecn::Ect1,
                EcnCodepoint::Ce => Ecn::Ce,
            }),
        })
    }

    /// Bound to all of our addresses.
    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    pub(super) fn uses_gso(&self) -> bool {
        self.gso.load(Ordering::Relaxed)
    }

    /// An address in the family of this socket.
    pub(super) fn as_socket_wants(&self, remote: SocketAddr) -> SocketAddr {
        match remote {
            SocketAddr::V4(v4) if self.ipv6 => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
            other => other,
        }
    }
}

/// A bound socket. An IPv6 wildcard takes IPv4 as well, whatever the default of the system is.
pub(super) fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// A socket with one peer, and that peer's address as the system sees it.
pub(super) fn connect(addr: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let addr = as_people_write(addr);
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.connect(&addr.into())?;
    let socket = UdpSocket::from(socket);
    // Not `addr`: connecting to 0.0.0.0 means 127.0.0.1.
    let peer = as_people_write(socket.peer_addr()?);
    Ok((socket, peer))
}

/// IPv4 addresses as such, not mapped into IPv6, and without a flow label: equal peers have equal addresses.
pub(super) fn as_people_write(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(_) => addr,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        },
    }
}

fn can_be_source(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    }
}

/// Errors that tell of the network rather than of the socket: a packet was lost.
pub(super) fn is_network_trouble(error: &io::Error) -> bool {
    const ALSO_OF_THE_DEVICE: [Errno; 5] = [
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::INVAL,
        Errno::IO,
    ];
    may_be_belated(error) || Errno::from_io_error(error).is_some_and(|errno| ALSO_OF_THE_DEVICE.contains(&errno))
}

/// Errors that a socket with another local address may not have: the interface, its address or the route has gone.
pub(super) fn may_need_another(error: &io::Error) -> bool {
    const OF_THE_ADDRESS: [Errno; 4] = [Errno::NETUNREACH, Errno::NETDOWN, Errno::ADDRNOTAVAIL, Errno::NODEV];
    Errno::from_io_error(error).is_some_and(|errno| OF_THE_ADDRESS.contains(&errno))
}

/// Errors that may stem from an ICMP message about an earlier packet. The system tells each once.
pub(super) fn may_be_belated(error: &io::Error) -> bool {
    const FROM_ICMP: [Errno; 10] = [
        Errno::CONNREFUSED,
        Errno::MSGSIZE,
        Errno::NETUNREACH,
        Errno::HOSTUNREACH,
        Errno::NETDOWN,
        Errno::HOSTDOWN,
        Errno::NOPROTOOPT,
        Errno::PROTO,
        Errno::PERM,
        Errno::ACCESS,
    ];
    Errno::from_io_error(error).is_some_and(|errno| FROM_ICMP.contains(&errno))
}

/// A datagram larger than the interface, or the path as far as known, takes.
pub(super) fn is_oversize(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::MSGSIZE)
}

/// Errors of a device or a kernel that refuses segmentation offload.
pub(super) fn is_gso_refusal(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::INVAL))
}

fn ask_for_buffers(socket: &UdpSocket) {
    static WARNED: Once = Once::new();
    let socket = SockRef::from(socket);
    // Linux cuts the request down to its limit, other systems refuse it.
    if socket.set_recv_buffer_size(BEST_BUFFER_BYTES).is_err() {
        let _ = socket.set_recv_buffer_size(GOOD_BUFFER_BYTES);
    }
    if socket.set_send_buffer_size(BEST_BUFFER_BYTES).is_err() {
        let _ = socket.set_send_buffer_size(GOOD_BUFFER_BYTES);
    }
    let granted = |bytes: io::Result<usize>| {
        // Linux reports twice what it grants: half is for its own records.
        bytes.unwrap_or(0) / if cfg!(target_os = "linux") { 2 } else { 1 }
    };
    let (receive, send) = (granted(socket.recv_buffer_size()), granted(socket.send_buffer_size()));
    log::debug!("socket buffers: {receive} bytes to receive, {send} to send");
    if receive.min(send) < POOR_BUFFER_BYTES {
        let cure = if cfg!(target_os = "linux") {
            format!("sysctl -w net.core.rmem_max={BEST_BUFFER_BYTES} net.core.wmem_max={BEST_BUFFER_BYTES}")
        } else {
            format!("sysctl -w kern.ipc.maxsockbuf={}", 2 * BEST_BUFFER_BYTES)
        };
        WARNED.call_once(|| {
            log::warn!(
                "small UDP socket buffers ({} KiB to receive, {} KiB to send) will lose packets at high rates; \
                 the administrator can raise the limit: {cure}",
                receive >> 10,
                send >> 10
            );
        });
    }
}
