//! A capture in words: a line for each packet, and at the end what somebody who only listens has learnt.

mod look;

pub use look::{Look, Mode, look};

use super::capture::pcapng::{LINKTYPE_RAW, Reader, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of payload shown at the end.
const SAMPLE_BYTES: usize = 64;
/// Pieces of payload remembered, to know how much of the stream was read.
const MAX_PIECES: usize = 1 << 16;

/// Reads a capture: those of [`super::Capture`], and others of UDP on Ethernet, loopback or raw IP.
pub struct Inspector<R> {
    reader: Reader<R>,
    first_nanos: Option<u64>,
    number: u64,
    learnt: Learnt,
}

/// One packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its place in the file; the first is 1.
    pub number: u64,
    /// Nanoseconds since the first one.
    pub nanos: u64,
    /// On which interface.
    pub interface: String,
    /// From where to where.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// Its size in bytes, without headers of the network.
    pub bytes: usize,
    /// What can be seen of it.
    pub look: Look,
    /// The number that the proxy gave it: the same on both sides.
    pub id: Option<u64>,
    /// What became of it.
    pub verdict: Option<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            nanos,
            interface,
            bytes,
            look,
            ..
        } = self;
        write!(f, "{number:>6} {:>12.6} {interface:<11} ", *nanos as f64 / 1e9)?;
        match self.ends {
            Some((from, to)) => write!(f, "{from} > {to} ")?,
            None => write!(f, "- ")?,
        }
        write!(f, "{bytes:>5} {} {}", look.mode.word(), look.form)?;
        if let Some(number) = look.number {
            write!(f, " #{number}")?;
        }
        if !look.text.is_empty() {
            write!(f, " {}", look.text)?;
        }
        if let Some(id) = self.id {
            write!(f, " [packet {id}")?;
            if let Some(verdict) = &self.verdict {
                write!(f, ": {verdict}")?;
            }
            write!(f, "]")?;
        }
        Ok(())
    }
}

/// What a listener has learnt of all packets so far.
#[derive(Debug, Default)]
struct Learnt {
    of_mode: BTreeMap<Mode, OfMode>,
}

/// From where to where.
type Ends = (SocketAddr, SocketAddr);

#[derive(Debug, Default)]
struct OfMode {
    packets: u64,
    bytes: u64,
    ends: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Pieces of the application's bytes: which ends, where, how many.
    pieces: BTreeSet<(Option<Ends>, u64, usize)>,
    sample: Vec<u8>,
}

impl<R: Read> Inspector<R> {
    /// Nothing is read yet.
    pub fn new(input: R) -> Self {
        Self {
            reader: Reader::new(input),
            first_nanos: None,
            number: 0,
            learnt: Learnt::default(),
        }
    }

    /// The next packet; `None` at the end. It may be asked again when the file has grown.
    ///
    /// # Errors
    /// The file cannot be read, or is none or damaged (`InvalidData`).
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let Some(record) = self.reader.next()? else {
            return Ok(None);
        };
        self.number += 1;
        let first = *self.first_nanos.get_or_insert(record.nanos);
        let interface = &self.reader.interfaces[record.interface as usize];
        let name = match interface.name.as_str() {
            "" => format!("if {}", record.interface),
            name => name.to_owned(),
        };
        let (ends, payload) = match udp_of(interface.link_type, &record.bytes) {
            Some((from, to, payload)) => (Some((from, to)), payload),
            None => (None, &record.bytes[..]),
        };
        let line = Line {
            number: self.number,
            nanos: record.nanos.saturating_sub(first),
            interface: name,
            ends,
            bytes: payload.len(),
            look: look(payload),
            id: record.packet_id,
            verdict: record.comment.clone(),
        };
        self.learnt.add(&line, &record);
        Ok(Some(line))
    }

    /// Whether the file ended within a packet.
    pub fn is_cut(&self) -> bool {
        self.reader.is_cut()
    }

    /// What somebody has learnt who saw these packets and has no keys, in sentences for each mode.
    pub fn learnt(&self) -> String {
        self.learnt.words()
    }
}

impl OfMode {
    /// Bytes of payload, each counted once however often it was sent.
    fn readable_bytes(&self) -> u64 {
        let (mut sum, mut known) = (0, (None, 0));
        // In order: of one direction, and by offset.
        for (ends, offset, bytes) in &self.pieces {
            if known.0 != Some(*ends) {
                known = (Some(*ends), 0);
            }
            let end = offset + *bytes as u64;
            sum += end.saturating_sub(known.1.max(*offset));
            known.1 = known.1.max(end);
        }
        sum
    }
}

impl Learnt {
    fn add(&mut self, line: &Line, record: &Record) {
        // Captures of ours have each packet twice.
        if record.is_outbound {
            return;
        }
        let seen = self.of_mode.entry(line.look.mode).or_default();
        seen.packets += 1;
        seen.bytes += line.bytes as u64;
        seen.ends.extend(line.ends);
        for (offset, data) in &line.look.payload {
            if seen.pieces.len() < MAX_PIECES {
                seen.pieces.insert((line.ends, *offset, data.len()));
            }
            if seen.sample.len() < SAMPLE_BYTES {
                let room = SAMPLE_BYTES - seen.sample.len();
                seen.sample.extend(&data[..data.len().min(room)]);
            }
        }
    }

    fn words(&self) -> String {
        let mut text = String::from("What a listener without keys has learnt\n");
        if self.of_mode.is_empty() {
            text += "  nothing: there was no packet\n";
        }
        for (mode, seen) in &self.of_mode {
            let ways = seen.ends.len();
            let _ = writeln!(
                text,
                "  {}: {} packets of {} bytes on {ways} ways between addresses; who talks to whom, when, and how much",
                mode.word(),
                seen.packets,
                seen.bytes
            );
            let readable = seen.readable_bytes();
            match mode {
                Mode::Plain | Mode::Classic if readable > 0 => {
                    let _ = writeln!(
                        text,
                        "    and {readable} bytes of the payload itself, beginning with \"{}\"",
                        seen.sample.escape_ascii()
                    );
                }
                Mode::Plain => text += "    and every frame: acknowledgements, windows, the end\n",
                Mode::Classic => text += "    and the form of packets; their contents are encrypted, or empty\n",
                Mode::Secure => {
                    text += "    not: the payload, packet numbers, acknowledgements, windows, the identities\n";
                }
                Mode::Unknown => text += "    and bytes that are none of ours\n",
            }
        }
        text
    }
}

const ETHERNET: u16 = 1;
const NULL: u16 = 0;
const LOOP: u16 = 108;
const IPV4: u16 = 228;
const IPV6: u16 = 229;
const LINUX_COOKED: u16 = 113;
const LINUX_COOKED_2: u16 = 276;

/// The UDP datagram in a packet of that link.
fn udp_of(link_type: u16, bytes: &[u8]) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    let ip = match link_type {
        ETHERNET => bytes.get(14..)?,
        NULL | LOOP => bytes.get(4..)?,
        LINUX_COOKED => bytes.get(16..)?,
        LINUX_COOKED_2 => bytes.get(20..)?,
        LINKTYPE_RAW | IPV4 | IPV6 => bytes,
        _ => return None,
    };
    let (from, to, udp) = match ip.first()? >> 4 {
        4 if *ip.get(9)? == 17 => {
            let address = |at: usize| Some(Ipv4Addr::from(*ip.get(at..)?.first_chunk::<4>()?).into());
            let header_bytes = usize::from(ip[0] & 15) * 4;
            (address(12)?, address(16)?, ip.get(header_bytes..)?)
        }
        6 if *ip.get(6)? == 17 => {
            let address = |at: usize| Some(Ipv6Addr::from(*ip.get(at..)?.first_chunk::<16>()?).into());
            (address(8)?, address(24)?, ip.get(40..)?)
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(*udp.get(at..)?.first_chunk()?));
    let length = usize::from(port(4)?);
    let payload = udp.get(8..)?;
    // Longer than it is: cut by whoever captured it.
    let payload = payload.get(..length.checked_sub(8)?).unwrap_or(payload);
    Some((SocketAddr::new(from, port(0)?), SocketAddr::new(to, port(2)?), payload))
}
