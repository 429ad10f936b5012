//! Packets as UDP datagrams (RFC 768): one each, in batches where the kernel can (GSO and GRO), with ECN marks.
//!
//! One socket serves one peer ([`Udp::connect`]) or many ([`Udp::bind`]). It knows no protocol above.

mod branch;
mod line;
mod rx;
mod socket;
mod tx;

use super::wait::{Wake, WakeBoth};
use super::{Batch, Halves, MAX_PACKET, PathId, Pool, Properties, SendLosses, Subsystem};
use line::Line;
use socket::Shared;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What every path across the internet carries (RFC 9000, section 14.1).
const INITIAL_PACKET: usize = 1200;
/// One send or receive call moves at most this much.
const BUFFER_BYTES: usize = 64 << 10;
/// Unused buffers kept: 2 MiB in each direction under load, given back when idle.
const POOL_BUFFERS: usize = 32;

/// A UDP socket as a subsystem. The socket closes when both halves, and all clones of the sending one, are gone.
///
/// A batch is handed to the kernel whole, which cuts it into datagrams (segmentation offload). Where that fails, the
/// packets are sent one by one from then on. Datagrams are never fragmented: those too large for the path are
/// dropped and counted in [`Udp::losses`], like all that the network does not take.
#[derive(Debug)]
pub struct Udp {
    shared: Arc<Shared>,
    only: Option<PathId>,
    /// The peer learns our address from our packets, so it may change.
    movable: bool,
    early: Option<Batch>,
}

impl Udp {
    /// A socket with just one peer. Datagrams of others do not come in. Nothing is sent.
    ///
    /// Tries every address; no answer is needed, so the first that the system has a route to wins.
    ///
    /// # Errors
    /// Name resolution, no route, or no free port.
    pub fn connect(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let (socket, peer) = first_that_works(addr, socket::connect)?;
        Ok(Self {
            shared: Arc::new(Shared::new(socket)?),
            only: Some(PathId::to(peer)),
            movable: true,
            early: None,
        })
    }

    /// A socket for many peers. Each received batch carries the path to its sender, and each sent one must carry
    /// such a path. `[::]` takes IPv4 peers as well; their addresses show as IPv4.
    ///
    /// # Errors
    /// Name resolution, or the address is in use or not ours.
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let socket = first_that_works(addr, socket::bind)?;
        Ok(Self {
            shared: Arc::new(Shared::new(socket)?),
            only: None,
            movable: false,
            early: None,
        })
    }

    /// Whether batches are handed to the kernel whole. On by default where the kernel can.
    #[must_use]
    pub fn gso(self, on: bool) -> Self {
        self.shared
            .gso
            .store(on && self.shared.max_gso_segments > 1, Ordering::Relaxed);
        self
    }

    /// Our own address.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr().map(socket::as_people_write)
    }

    /// Counts of packets that were not sent. Stays valid after [`Subsystem::split`].
    pub fn losses(&self) -> Arc<SendLosses> {
        Arc::clone(&self.shared.losses)
    }

    /// Sends an empty datagram: a server that waits for one learns our address.
    pub(super) fn introduce(&self) -> io::Result<()> {
        self.shared.send(&[], 1, self.only.unwrap_or_default(), None)
    }

    /// Waits for the first datagram and keeps to its sender from then on. An empty one is only an introduction;
    /// others will be received again.
    pub(super) fn adopt(mut self, timeout: Option<Duration>) -> io::Result<Self> {
        let deadline = timeout.map(super::wait::after);
        let mut rx = rx::Rx::new(
            Arc::clone(&self.shared),
            None,
            None,
            None,
            receive_pool(),
            Arc::default(),
        );
        let Some(mut first) = super::PacketRx::recv(&mut rx, deadline)? else {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no datagram arrived in time"));
        };
        // The socket stays unconnected: connecting would bind it to one of our addresses, perhaps not to the one
        // that the peer sends to.
        self.only = Some(first.path);
        first.path = PathId::ONLY;
        if !first.buffer.is_empty() {
            self.early = Some(first);
        }
        Ok(self)
    }
}

/// For whoever waits for several sockets at once; the halves do the reading and writing.
impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.as_fd()
    }
}

impl Subsystem for Udp {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let wakes = WakeBoth {
            tx: Arc::default(),
            rx: Arc::default(),
        };
        let Self {
            shared,
            only,
            movable,
            early,
        } = *self;
        let line = movable.then(|| Arc::new(Line::new(Arc::clone(&shared))));
        let moving = line.clone().map(|line| tx::Moving {
            line,
            receiver: Arc::clone(&wakes.rx),
        });
        let pool = Pool::new(BUFFER_BYTES, POOL_BUFFERS);
        Ok(Halves {
            tx: Box::new(tx::Tx::new(
                Arc::clone(&shared),
                only,
                moving,
                pool,
                Arc::clone(&wakes.tx),
            )),
            rx: Box::new(rx::Rx::new(
                shared,
                line,
                only,
                early,
                receive_pool(),
                Arc::<Wake>::clone(&wakes.rx),
            )),
            waker: Arc::new(wakes),
        })
    }

    fn properties(&self) -> Properties {
        Properties {
            max_packet: MAX_PACKET,
            initial_packet: INITIAL_PACKET,
            max_segments: tx::max_segments(&self.shared, INITIAL_PACKET),
            reliable: false,
            local_addr: self.local_addr().ok(),
            peer_addr: self.only.and_then(PathId::remote),
        }
    }
}

fn receive_pool() -> Arc<Pool> {
    Pool::new(BUFFER_BYTES, POOL_BUFFERS)
}

fn first_that_works<T>(addr: impl ToSocketAddrs, open: fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for addr in addr.to_socket_addrs()? {
        match open(addr) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subsystem::testing::{
        at_once, batch_of, check_that_a_deadline_ends_recv, check_that_no_wake_of_recv_is_lost, failure, numbered,
        receive_packets, watchdog,
    };
    use crate::subsystem::{Ecn, PacketTx, Sent};
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

    /// A client and the many-peer socket it is connected to.
    fn client_and_server(gso: bool) -> (Udp, Udp) {
        let server = Udp::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = Udp::connect(server.local_addr().unwrap()).unwrap();
        (client.gso(gso), server.gso(gso))
    }

    fn split(udp: Udp) -> Halves {
        Box::new(udp).split().unwrap()
    }

    fn send_all(tx: &mut dyn PacketTx, batch: Batch) {
        let mut sent = tx.send(batch).unwrap();
        while sent == Sent::Pending {
            sent = tx.flush(watchdog()).unwrap();
        }
    }

    fn check_forty_packets(gso: bool) {
        let (client, server) = client_and_server(gso);
        let (mut client, mut server) = (split(client), split(server));
        let mut packets = numbered(40, 1452);
        packets[39].truncate(100);
        for round in 0..5 {
            send_all(&mut *client.tx, batch_of(&packets));
            assert_eq!(receive_packets(&mut *server.rx, 40), packets, "round {round}");
        }
    }

    #[test]
    fn forty_packets_in_one_batch_arrive_whole_and_in_order() {
        check_forty_packets(true);
    }

    #[test]
    fn forty_packets_one_by_one_arrive_whole_and_in_order() {
        check_forty_packets(false);
    }

    /// Loopback has a limit of its own, in bytes with all headers, beyond which it cuts a batch into packets.
    #[test]
    fn a_full_batch_of_any_size_of_packets_arrives_in_one_piece() {
        let (client, server) = client_and_server(true);
        if !client.shared.uses_gso() || client.shared.max_gso_segments < 45 {
            println!("skipped: no offload here");
            return;
        }
        let (mut client, mut server) = (split(client), split(server));
        for packet_bytes in [1452, 8952, 16_368, 32_736] {
            let packets = numbered(client.tx.max_segments(packet_bytes), packet_bytes);
            send_all(&mut *client.tx, batch_of(&packets));
            let batch = server.rx.recv(watchdog()).unwrap().expect("a batch");
            assert_eq!(batch.packets(), packets.len(), "packets of {packet_bytes} bytes");
        }
    }

    #[test]
    fn a_batch_beyond_the_limits_of_one_call_goes_in_several() {
        let (client, server) = client_and_server(true);
        let (mut client, mut server) = (split(client), split(server));
        let packets = numbered(150, 1000);
        send_all(&mut *client.tx, batch_of(&packets));
        assert_eq!(receive_packets(&mut *server.rx, 150), packets);
    }

    #[test]
    fn a_refused_offload_falls_back_to_single_packets_and_stays_there() {
        let (client, server) = client_and_server(true);
        let Some(mut shared) = Arc::into_inner(client.shared) else {
            unreachable!("not split yet");
        };
        if !shared.uses_gso() {
            return;
        }
        // More segments than any kernel takes, which it refuses like a missing offload.
        shared.max_gso_segments = 1000;
        let shared = Arc::new(shared);
        let mut client = split(Udp {
            shared: Arc::clone(&shared),
            ..client
        });
        let mut server = split(server);
        let packets = numbered(200, 10);
        send_all(&mut *client.tx, batch_of(&packets));
        assert_eq!(receive_packets(&mut *server.rx, 200), packets);
        assert!(!shared.uses_gso());
        assert_eq!(shared.losses.dropped_pkts(), 0);
    }

    #[test]
    fn segments_are_limited_by_the_datagram_and_by_the_kernel() {
        let (client, _server) = client_and_server(true);
        let client = split(client);
        assert_eq!(client.tx.max_segments(40_000), 1);
        assert_eq!(client.tx.max_segments(100_000), 1);
        assert_eq!(client.tx.max_segments(1452), 65_474 / 1452);
        assert!(client.tx.max_segments(1) <= 128);
    }

    #[test]
    fn an_empty_datagram_is_a_packet() {
        let (client, server) = client_and_server(true);
        let (mut client, mut server) = (split(client), split(server));
        send_all(&mut *client.tx, batch_of(&[Vec::new()]));
        send_all(&mut *client.tx, batch_of(&[b"x".to_vec()]));
        assert_eq!(receive_packets(&mut *server.rx, 2), [b"".to_vec(), b"x".to_vec()]);
    }

    #[test]
    fn the_largest_datagram_passes_and_a_larger_one_is_counted() {
        let (client, server) = client_and_server(true);
        let losses = client.losses();
        let (mut client, mut server) = (split(client), split(server));
        send_all(&mut *client.tx, batch_of(&numbered(1, MAX_PACKET + 1)));
        let largest = numbered(1, MAX_PACKET);
        send_all(&mut *client.tx, batch_of(&largest));
        assert_eq!(receive_packets(&mut *server.rx, 1), largest);
        assert_eq!((losses.oversize_pkts(), losses.dropped_pkts()), (1, 0));
        // On Linux the error comes again, as an ICMP message to ourselves, and must not hit the next batch.
        send_all(&mut *client.tx, batch_of(&numbered(1, MAX_PACKET + 1)));
        let packets = numbered(40, 1452);
        send_all(&mut *client.tx, batch_of(&packets));
        assert_eq!(receive_packets(&mut *server.rx, 40), packets);
    }

    #[test]
    fn ecn_marks_arrive() {
        let (client, server) = client_and_server(true);
        let (mut client, mut server) = (split(client), split(server));
        for ecn in [None, Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ce)] {
            let mut batch = batch_of(&numbered(1, 50));
            batch.ecn = ecn;
            send_all(&mut *client.tx, batch);
            let received = server.rx.recv(watchdog()).unwrap().unwrap();
            assert_eq!(received.ecn, ecn);
        }
    }

    #[test]
    fn ecn_marks_of_datagrams_that_come_together_arrive() {
        let (client, server) = client_and_server(true);
        let (mut client, mut server) = (split(client), split(server));
        for ecn in [Ecn::Ect0, Ecn::Ce] {
            let mut batch = batch_of(&numbered(20, 1200));
            batch.ecn = Some(ecn);
            send_all(&mut *client.tx, batch);
            let mut packets = 0;
            while packets < 20 {
                let received = server.rx.recv(watchdog()).unwrap().unwrap();
                packets += received.iter().count();
                assert_eq!(received.ecn, Some(ecn), "of {} together", received.iter().count());
            }
        }
    }

    #[test]
    fn many_remotes_are_told_apart_and_answered_by_clones() {
        let server = Udp::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server_addr = server.local_addr().unwrap();
        assert_eq!(server.properties().peer_addr, None);
        let mut server = split(server);
        let mut clients = Vec::new();
        for number in 0..5_u8 {
            let client = Udp::connect(server_addr).unwrap();
            let client_addr = client.local_addr().unwrap();
            let mut client = split(client);
            assert!(client.tx.try_clone().is_none());
            send_all(&mut *client.tx, batch_of(&[vec![number]]));
            clients.push((client, client_addr));
        }
        for _ in 0..clients.len() {
            let asked = server.rx.recv(watchdog()).unwrap().unwrap();
            let (_, client_addr) = clients[usize::from(asked.buffer[0])];
            assert_eq!(asked.path, PathId::to(client_addr));
            let mut answer = batch_of(&[vec![asked.buffer[0] + 100]]);
            answer.path = asked.path;
            send_all(&mut *server.tx.try_clone().unwrap(), answer);
        }
        for (number, (client, _)) in (0..).zip(&mut clients) {
            let answer = client.rx.recv(watchdog()).unwrap().unwrap();
            assert_eq!(answer.path, PathId::ONLY);
            assert_eq!(answer.buffer[..], [number + 100]);
        }
    }

    #[test]
    fn a_bound_sender_without_a_path_is_told_so() {
        let (_, server) = client_and_server(true);
        let error = split(server).tx.send(batch_of(&[vec![1]])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    fn ask_and_answer(server: Udp, client: Udp) {
        let client_addr = client.local_addr().unwrap();
        let (mut client, mut server) = (split(client), split(server));
        send_all(&mut *client.tx, batch_of(&numbered(3, 100)));
        let asked = server.rx.recv(watchdog()).unwrap().unwrap();
        assert_eq!(asked.path.remote(), Some(client_addr));
        let mut answer = batch_of(&[b"answer".to_vec()]);
        answer.path = asked.path;
        send_all(&mut *server.tx, answer);
        assert_eq!(receive_packets(&mut *client.rx, 1), [b"answer"]);
    }

    #[test]
    fn an_ipv6_wildcard_takes_ipv4_peers_and_shows_them_as_such() {
        let Ok(server) = Udp::bind((Ipv6Addr::UNSPECIFIED, 0)) else {
            eprintln!("skipped: no IPv6 here");
            return;
        };
        let port = server.local_addr().unwrap().port();
        ask_and_answer(server, Udp::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    }

    #[test]
    fn ipv6_works() {
        let Ok(server) = Udp::bind((Ipv6Addr::LOCALHOST, 0)) else {
            eprintln!("skipped: no IPv6 here");
            return;
        };
        let client = Udp::connect(server.local_addr().unwrap()).unwrap();
        ask_and_answer(server, client);
    }

    /// Only Linux has all of 127.0.0.0/8 on loopback.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_answer_leaves_from_the_address_that_was_asked() {
        for wildcard in ["0.0.0.0:0", "[::]:0"] {
            let Ok(server) = Udp::bind(wildcard) else {
                eprintln!("skipped: no IPv6 here");
                continue;
            };
            let port = server.local_addr().unwrap().port();
            ask_and_answer(server, Udp::connect(("127.0.0.2", port)).unwrap());
        }
    }

    #[test]
    fn a_client_goes_on_from_another_port_and_hears_the_answer_there() {
        let (client, server) = client_and_server(true);
        let losses = client.losses();
        let before = client.local_addr().unwrap();
        let (mut client, mut server) = (split(client), split(server));
        for round in 0..3 {
            send_all(&mut *client.tx, batch_of(&[b"asked".to_vec()]));
            let asked = server.rx.recv(watchdog()).unwrap().unwrap();
            assert_eq!(asked.path.remote() == Some(before), round == 0);
            let mut answer = batch_of(&[b"answer".to_vec()]);
            answer.path = asked.path;
            send_all(&mut *server.tx, answer);
            assert_eq!(receive_packets(&mut *client.rx, 1), [b"answer"]);
            assert!(!client.tx.is_stranded());
            assert!(client.tx.rebind().unwrap());
            assert!(client.rx.recv(watchdog()).unwrap().is_none(), "the receiver is woken");
        }
        assert_eq!(losses.dropped_pkts(), 0);
        assert!(!server.tx.rebind().unwrap(), "peers know this address");
    }

    #[test]
    fn a_receiver_that_waits_follows_to_the_new_socket() {
        let (client, server) = client_and_server(true);
        let (mut client, mut server) = (split(client), split(server));
        let mut rx = client.rx;
        let (told, woken) = crossbeam_channel::bounded(0);
        let waiting = std::thread::Builder::new()
            .spawn(move || {
                while rx.recv(watchdog()).unwrap().is_none() {
                    told.send(()).unwrap();
                }
            })
            .unwrap();
        assert!(client.tx.rebind().unwrap());
        woken.recv().unwrap();
        send_all(&mut *client.tx, batch_of(&[b"asked".to_vec()]));
        let mut answer = server.rx.recv(watchdog()).unwrap().unwrap();
        answer.segment_bytes = answer.buffer.len();
        send_all(&mut *server.tx, answer);
        waiting.join().unwrap();
    }

    #[test]
    fn no_wake_is_lost() {
        let (client, _server) = client_and_server(true);
        check_that_no_wake_of_recv_is_lost(&mut split(client));
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let (client, _server) = client_and_server(true);
        check_that_a_deadline_ends_recv(&mut *split(client).rx);
    }

    #[test]
    fn a_wake_without_a_pending_batch_changes_nothing() {
        let (client, _server) = client_and_server(true);
        let mut client = split(client);
        client.waker.wake();
        assert_eq!(client.tx.flush(None).unwrap(), Sent::Taken);
    }

    #[test]
    fn a_closed_port_refuses_once_for_each_packet_and_goes_on() {
        let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = closed.local_addr().unwrap();
        drop(closed);
        let mut client = split(Udp::connect(addr).unwrap());
        for _ in 0..2 {
            send_all(&mut *client.tx, batch_of(&[vec![1]]));
            assert_eq!(failure(&mut *client.rx), io::ErrorKind::ConnectionRefused);
            assert!(client.rx.recv(at_once()).unwrap().is_none());
        }
        // The sending half is told if it is the first to ask.
        send_all(&mut *client.tx, batch_of(&[vec![1]]));
        let error = client.tx.send(batch_of(&[vec![1]])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(client.tx.flush(None).unwrap(), Sent::Taken);
    }
}
