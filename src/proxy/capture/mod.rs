//! What passes a proxy, into a file for Wireshark. It needs no privilege, and shows what no other capture can: each packet
//! on both sides of the network, linked by its number, with what the rules did to it.
//!
//! ```text
//!   links --(events, bounded)--> THREAD "proxy-capture" --> waits until the fate of a packet is known --> file
//! ```
//!
//! Addresses are made up where there are none to see: every packet is shown as UDP over IPv4, also where it travelled in
//! a frame on TCP, and towards the target it comes from the proxy's address with the client's port.

pub(in crate::proxy) mod pcapng;

use super::Proxy;
use super::tap::PacketEvent;
use crate::filter::{Direction, Verdict};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use pcapng::{Record, Writer};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

/// Events that may wait for the disk.
const QUEUE: usize = 1 << 16;
/// Packets, and bytes of them, whose fate may be open. Then the oldest is written as it is.
const MAX_OPEN: usize = 1 << 16;
const MAX_OPEN_BYTES: usize = 64 << 20;
/// What a quiet moment is: then everything is in the file, for whoever reads along.
const QUIET: Duration = Duration::from_millis(50);
const INTERFACES: [&str; 2] = ["client side", "server side"];
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;

/// A capture that is being written. Stop the proxy first, or [`Capture::finish`] loses what is still on its way.
pub struct Capture {
    thread: JoinHandle<io::Result<u64>>,
    stop: Sender<()>,
}

impl Capture {
    /// Writes all that passes `proxy` from now on.
    ///
    /// # Errors
    /// The file cannot be made, or no thread started.
    pub fn start(proxy: &Proxy, path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let (stop, stopped) = bounded(1);
        let mut scribe = Scribe::new(file, Places::of(proxy), wall_clock_of(proxy))?;
        scribe.writer.flush()?;
        let events = proxy.events(QUEUE);
        let thread = Builder::new()
            .name("proxy-capture".to_owned())
            .spawn(move || run(&mut scribe, &events, &stopped))?;
        Ok(Self { thread, stop })
    }

    /// Writes packets that were noted before, in the order of their events. `front` and `target` are the addresses of their
    /// proxy, and `began` is when it did, since 1970. Returns how many packets were written; each is there on both sides.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(
        out: impl Write,
        (front, target): (SocketAddr, SocketAddr),
        began: Duration,
        events: impl IntoIterator<Item = PacketEvent>,
    ) -> io::Result<u64> {
        let places = Places { front, target };
        let mut scribe = Scribe::new(out, places, began.as_nanos() as u64)?;
        events.into_iter().try_for_each(|event| scribe.note(event))?;
        scribe.finish()
    }

    /// Completes the file. Returns how many packets are in it.
    ///
    /// # Errors
    /// The disk was full, or the like.
    pub fn finish(self) -> io::Result<u64> {
        // It may have ended with the proxy.
        let _ = self.stop.try_send(());
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread that writes the capture failed")))
    }
}

fn run(scribe: &mut Scribe<BufWriter<File>>, events: &Receiver<PacketEvent>, stop: &Receiver<()>) -> io::Result<u64> {
    loop {
        match events.recv_timeout(QUIET) {
            Ok(event) => scribe.note(event)?,
            Err(RecvTimeoutError::Timeout) => scribe.writer.flush()?,
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if stop.try_recv().is_ok() {
            events.try_iter().try_for_each(|event| scribe.note(event))?;
            break;
        }
    }
    scribe.finish()
}

/// Where packets are said to be from.
struct Places {
    front: SocketAddr,
    target: SocketAddr,
}

impl Places {
    fn of(proxy: &Proxy) -> Self {
        let front = proxy.local_addr();
        let front = if front.ip().is_unspecified() {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), front.port())
        } else {
            front
        };
        Self {
            front,
            target: proxy.target()[0],
        }
    }

    /// From where to where on that interface.
    fn ends(&self, interface: u32, direction: Direction, client: SocketAddr) -> (SocketAddr, SocketAddr) {
        let (near, far) = if interface == 0 {
            (client, self.front)
        } else {
            (SocketAddr::new(self.front.ip(), client.port()), self.target)
        };
        match direction {
            Direction::Upstream => (near, far),
            Direction::Downstream => (far, near),
        }
    }
}

struct Scribe<W> {
    writer: Writer<W>,
    places: Places,
    /// Nanoseconds since 1970 at the start of the proxy.
    start: u64,
    /// In order of time. The first one waits for its fate.
    open: VecDeque<Open>,
    /// How many were written before the first one.
    first: u64,
    /// Arrivals by the number of the packet.
    by_id: HashMap<u64, u64>,
    open_bytes: usize,
    written: u64,
}

struct Open {
    record: Record,
    notes: Vec<String>,
    is_ready: bool,
    is_arrival: bool,
}

impl<W: Write> Scribe<W> {
    /// `start` is when the proxy began, in nanoseconds since 1970.
    fn new(out: W, places: Places, start: u64) -> io::Result<Self> {
        Ok(Self {
            writer: Writer::new(out, &INTERFACES)?,
            places,
            start,
            open: VecDeque::new(),
            first: 0,
            by_id: HashMap::new(),
            open_bytes: 0,
            written: 0,
        })
    }

    /// Writes what still waits for its fate.
    fn finish(&mut self) -> io::Result<u64> {
        while !self.open.is_empty() {
            self.write_first()?;
        }
        self.writer.flush()?;
        Ok(self.written)
    }

    fn note(&mut self, event: PacketEvent) -> io::Result<()> {
        match event {
            PacketEvent::Arrived {
                id,
                direction,
                client,
                at,
                bytes,
            } => {
                self.by_id.insert(id, self.first + self.open.len() as u64);
                let interface = u32::from(direction == Direction::Downstream);
                self.push(id, interface, direction, client, at, &bytes, true);
            }
            PacketEvent::Decided { id, rule, verdict } => {
                if let Some(open) = self.arrival(id) {
                    open.notes.push(words(&rule, verdict));
                    open.is_ready |= verdict == Verdict::Drop;
                }
            }
            PacketEvent::Overrun { id } => {
                if let Some(open) = self.arrival(id) {
                    open.notes.push("lost: the proxy could not keep up".to_owned());
                    open.is_ready = true;
                }
            }
            PacketEvent::Left {
                id,
                direction,
                client,
                at,
                bytes,
            } => {
                let mut notes = Vec::new();
                if let Some(open) = self.arrival(id) {
                    open.is_ready = true;
                    if open.notes.is_empty() {
                        open.notes.push("passed".to_owned());
                    }
                    notes.clone_from(&open.notes);
                }
                let interface = u32::from(direction == Direction::Upstream);
                self.push(id, interface, direction, client, at, &bytes, false);
                if let Some(last) = self.open.back_mut() {
                    last.notes = notes;
                }
            }
        }
        while self.open.front().is_some_and(|first| first.is_ready)
            || self.open.len() > MAX_OPEN
            || self.open_bytes > MAX_OPEN_BYTES
        {
            self.write_first()?;
        }
        Ok(())
    }

    fn arrival(&mut self, id: u64) -> Option<&mut Open> {
        let place = self.by_id.get(&id)?.checked_sub(self.first)?;
        self.open.get_mut(place as usize)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an event, in their order")]
    fn push(
        &mut self,
        id: u64,
        interface: u32,
        direction: Direction,
        client: SocketAddr,
        at: Duration,
        bytes: &[u8],
        is_arrival: bool,
    ) {
        let (from, to) = self.places.ends(interface, direction, client);
        let packet = datagram(from, to, bytes);
        self.open_bytes += packet.len();
        self.open.push_back(Open {
            record: Record {
                interface,
                // A time that somebody made up is the end of time at most.
                nanos: self.start.saturating_add(at.as_nanos() as u64),
                original_bytes: (bytes.len() + IPV4_BYTES + UDP_BYTES) as u32,
                bytes: packet,
                is_outbound: !is_arrival,
                packet_id: Some(id),
                comment: None,
            },
            notes: Vec::new(),
            is_ready: !is_arrival,
            is_arrival,
        });
    }

    fn write_first(&mut self) -> io::Result<()> {
        let Some(Open {
            mut record,
            notes,
            is_ready,
            is_arrival,
        }) = self.open.pop_front()
        else {
            return Ok(());
        };
        self.first += 1;
        self.open_bytes -= record.bytes.len();
        if is_arrival && let Some(id) = record.packet_id {
            // Copies may still leave.
            if self.by_id.len() > 2 * MAX_OPEN {
                self.by_id.remove(&id);
            }
        }
        let mut notes = notes.join("; ");
        if !is_ready {
            let gap = if notes.is_empty() { "" } else { "; " };
            notes += gap;
            notes += "not yet left";
        }
        record.comment = (!notes.is_empty()).then_some(notes);
        self.writer.packet(&record)?;
        self.written += 1;
        Ok(())
    }
}

fn words(rule: &str, verdict: Verdict) -> String {
    match verdict {
        Verdict::Pass | Verdict::Skip => "passed".to_owned(),
        Verdict::Drop => format!("dropped by {rule}"),
        Verdict::Delay(hold) => format!("held by {rule} for {:.3} ms", hold.as_secs_f64() * 1e3),
        Verdict::Duplicate(copies) => format!("copied by {rule} ({copies} more)"),
        Verdict::Corrupt => format!("changed by {rule}"),
        Verdict::Rebind => format!("moved to another port by {rule}"),
    }
}

/// A packet as UDP over IPv4. What does not fit is cut off.
fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(usize::from(u16::MAX) - IPV4_BYTES - UDP_BYTES)];
    let udp_bytes = (UDP_BYTES + payload.len()) as u16;
    let mut packet = Vec::with_capacity(IPV4_BYTES + usize::from(udp_bytes));
    packet.extend([0x45, 0]);
    packet.extend((IPV4_BYTES as u16 + udp_bytes).to_be_bytes());
    // No identification; never cut; 64 hops; UDP; the checksum follows.
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(ipv4(from.ip()).octets());
    packet.extend(ipv4(to.ip()).octets());
    let words = packet
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(udp_bytes.to_be_bytes());
    // Zero: no checksum (RFC 768).
    packet.extend([0, 0]);
    packet.extend_from_slice(payload);
    packet
}

/// IPv6 addresses get one of 198.18.0.0/15, which is for tests (RFC 2544).
fn ipv4(ip: IpAddr) -> Ipv4Addr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) if v6.is_loopback() => Ipv4Addr::LOCALHOST,
        IpAddr::V6(v6) => {
            let hash = crc32c::crc32c(&v6.octets());
            Ipv4Addr::from_bits(0xc612_0000 | hash & 0x0001_ffff)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a capture says what time it was")]
fn wall_clock_of(proxy: &Proxy) -> u64 {
    let age = super::run::now() - proxy.started();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(age).as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_header_has_the_right_checksum() {
        // RFC 1071: the sum over a header with its checksum is all ones.
        let packet = datagram("10.0.0.1:5".parse().unwrap(), "10.0.0.2:6".parse().unwrap(), b"hello");
        let words = packet[..20]
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum: u32 = words.sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_eq!(packet.len(), 33);
        assert_eq!(&packet[28..], b"hello");
    }

    #[test]
    fn a_packet_that_is_too_long_is_cut() {
        let any = "127.0.0.1:5".parse().unwrap();
        assert_eq!(datagram(any, any, &vec![0; 65_535]).len(), 65_535);
    }
}
