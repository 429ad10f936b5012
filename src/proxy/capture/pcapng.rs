//! The file format of Wireshark (draft-ietf-opsawg-pcapng): a block for the section, one for each interface, one for each
//! packet with its options. Written little endian, with times in nanoseconds; read in either order of bytes.

use std::io::{self, Read, Write};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const USER_APPLICATION: u16 = 4;
const EPB_FLAGS: u16 = 2;
const EPB_PACKETID: u16 = 5;
/// Packets begin with their IP header.
pub(in crate::proxy) const LINKTYPE_RAW: u16 = 101;
/// No block of anybody's is larger; what says so is damaged.
const MAX_BLOCK_BYTES: u32 = 16 << 20;

/// One packet of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Record {
    pub(in crate::proxy) interface: u32,
    /// Nanoseconds since 1970.
    pub(in crate::proxy) nanos: u64,
    pub(in crate::proxy) bytes: Vec<u8>,
    /// What the packet had, if that is more than was kept.
    pub(in crate::proxy) original_bytes: u32,
    pub(in crate::proxy) is_outbound: bool,
    pub(in crate::proxy) packet_id: Option<u64>,
    pub(in crate::proxy) comment: Option<String>,
}

/// Writes a file.
pub(in crate::proxy) struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a file with these interfaces.
    pub(in crate::proxy) fn new(out: W, interfaces: &[&str]) -> io::Result<Self> {
        let mut writer = Self { out };
        let mut section = Vec::new();
        section.extend(BYTE_ORDER.to_le_bytes());
        section.extend(1_u16.to_le_bytes());
        section.extend(0_u16.to_le_bytes());
        section.extend(u64::MAX.to_le_bytes());
        option(
            &mut section,
            USER_APPLICATION,
            concat!("stream-proxy ", env!("CARGO_PKG_VERSION")).as_bytes(),
        );
        option(&mut section, END_OF_OPTIONS, &[]);
        writer.block(SECTION, &section)?;
        for name in interfaces {
            let mut interface = Vec::new();
            interface.extend(LINKTYPE_RAW.to_le_bytes());
            interface.extend(0_u16.to_le_bytes());
            interface.extend(0_u32.to_le_bytes());
            option(&mut interface, IF_NAME, name.as_bytes());
            option(&mut interface, IF_TSRESOL, &[9]);
            option(&mut interface, END_OF_OPTIONS, &[]);
            writer.block(INTERFACE, &interface)?;
        }
        Ok(writer)
    }

    pub(in crate::proxy) fn packet(&mut self, record: &Record) -> io::Result<()> {
        let mut body = Vec::with_capacity(record.bytes.len() + 128);
        body.extend(record.interface.to_le_bytes());
        body.extend(((record.nanos >> 32) as u32).to_le_bytes());
        body.extend((record.nanos as u32).to_le_bytes());
        body.extend((record.bytes.len() as u32).to_le_bytes());
        body.extend(record.original_bytes.max(record.bytes.len() as u32).to_le_bytes());
        body.extend(&record.bytes);
        pad(&mut body);
        if let Some(comment) = &record.comment {
            option(&mut body, COMMENT, comment.as_bytes());
        }
        option(
            &mut body,
            EPB_FLAGS,
            &(if record.is_outbound { 2_u32 } else { 1 }).to_le_bytes(),
        );
        if let Some(id) = record.packet_id {
            option(&mut body, EPB_PACKETID, &id.to_le_bytes());
        }
        option(&mut body, END_OF_OPTIONS, &[]);
        self.block(ENHANCED_PACKET, &body)
    }

    pub(in crate::proxy) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let total = (body.len() as u32 + 12).to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&total)?;
        self.out.write_all(body)?;
        self.out.write_all(&total)
    }
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// An interface of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Interface {
    pub(in crate::proxy) link_type: u16,
    pub(in crate::proxy) name: String,
    /// Ticks of its clock in a second.
    ticks_per_sec: u64,
}

/// Reads a file, packet by packet.
pub(in crate::proxy) struct Reader<R> {
    input: R,
    is_big_endian: bool,
    has_section: bool,
    pub(in crate::proxy) interfaces: Vec<Interface>,
    /// Read, and part of a block that is not complete yet.
    buffer: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub(in crate::proxy) fn new(input: R) -> Self {
        Self {
            input,
            is_big_endian: false,
            has_section: false,
            interfaces: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// The next packet. `None`: there is no whole one (any more, or yet: it may be asked again when the file has grown).
    /// `InvalidData` for what is no such file.
    pub(in crate::proxy) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let Some((kind, body)) = self.block()? else {
                return Ok(None);
            };
            match kind {
                SECTION => self.interfaces.clear(),
                INTERFACE => {
                    let interface = self.interface(&body).ok_or_else(damaged)?;
                    self.interfaces.push(interface);
                }
                ENHANCED_PACKET => return self.enhanced(&body).ok_or_else(damaged).map(Some),
                _ => {}
            }
        }
    }

    /// Whether the file ended within a block.
    pub(in crate::proxy) fn is_cut(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn block(&mut self) -> io::Result<Option<(u32, Vec<u8>)>> {
        if !self.fill(12)? {
            return Ok(None);
        }
        let start: [u8; 12] = self.buffer[..12].try_into().expect("twelve bytes");
        let word = |at: usize| [start[at], start[at + 1], start[at + 2], start[at + 3]];
        if u32::from_le_bytes(word(0)) == SECTION {
            self.is_big_endian = match u32::from_le_bytes(word(8)) {
                BYTE_ORDER => false,
                other if other == BYTE_ORDER.swap_bytes() => true,
                _ => return Err(damaged()),
            };
            self.has_section = true;
        } else if !self.has_section {
            let text = "this is no pcapng file (an old pcap file? Wireshark can save it as pcapng)";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let (kind, total) = (self.u32(word(0)), self.u32(word(4)));
        if total < 12 || !total.is_multiple_of(4) || total > MAX_BLOCK_BYTES {
            return Err(damaged());
        }
        if !self.fill(total as usize)? {
            return Ok(None);
        }
        let body = self.buffer[8..total as usize - 4].to_vec();
        self.buffer.drain(..total as usize);
        Ok(Some((kind, body)))
    }

    /// Whether so many bytes are in the buffer now.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        let mut chunk = [0; 8192];
        while self.buffer.len() < bytes {
            match self.input.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn u16(&self, bytes: [u8; 2]) -> u16 {
        if self.is_big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }

    fn u32_at(&self, body: &[u8], at: usize) -> Option<u32> {
        Some(self.u32(body.get(at..)?.first_chunk().copied()?))
    }

    fn options(&self, mut rest: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let mut found = Vec::new();
        while let Some(head) = rest.first_chunk::<4>() {
            let code = self.u16([head[0], head[1]]);
            let length = usize::from(self.u16([head[2], head[3]]));
            let Some(value) = rest.get(4..4 + length).filter(|_| code != END_OF_OPTIONS) else {
                break;
            };
            found.push((code, value.to_vec()));
            rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
        found
    }

    fn interface(&self, body: &[u8]) -> Option<Interface> {
        let link_type = self.u16(body.first_chunk().copied()?);
        let mut interface = Interface {
            link_type,
            name: String::new(),
            ticks_per_sec: 1_000_000,
        };
        for (code, value) in self.options(body.get(8..)?) {
            match code {
                IF_NAME => interface.name = String::from_utf8_lossy(&value).into_owned(),
                IF_TSRESOL => {
                    let exponent = *value.first()?;
                    interface.ticks_per_sec = if exponent & 0x80 == 0 {
                        10_u64.checked_pow(u32::from(exponent))?
                    } else {
                        1_u64.checked_shl(u32::from(exponent & 0x7f))?
                    };
                }
                _ => {}
            }
        }
        Some(interface)
    }

    fn enhanced(&self, body: &[u8]) -> Option<Record> {
        let interface = self.u32_at(body, 0)?;
        let ticks = u64::from(self.u32_at(body, 4)?) << 32 | u64::from(self.u32_at(body, 8)?);
        let kept = self.u32_at(body, 12)? as usize;
        let original_bytes = self.u32_at(body, 16)?;
        let bytes = body.get(20..20_usize.checked_add(kept)?)?.to_vec();
        let ticks_per_sec = self.interfaces.get(interface as usize)?.ticks_per_sec;
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(ticks_per_sec.max(1));
        let mut record = Record {
            interface,
            nanos: u64::try_from(nanos).ok()?,
            bytes,
            original_bytes,
            ..Record::default()
        };
        for (code, value) in self.options(body.get(20 + kept.next_multiple_of(4)..).unwrap_or_default()) {
            match code {
                COMMENT => record.comment = Some(String::from_utf8_lossy(&value).into_owned()),
                EPB_FLAGS => record.is_outbound = self.u32(value.first_chunk().copied()?) & 3 == 2,
                EPB_PACKETID => {
                    let id: [u8; 8] = value.first_chunk().copied()?;
                    record.packet_id = Some(if self.is_big_endian {
                        u64::from_be_bytes(id)
                    } else {
                        u64::from_le_bytes(id)
                    });
                }
                _ => {}
            }
        }
        Some(record)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        (0..5_u64)
            .map(|number| Record {
                interface: (number % 2) as u32,
                nanos: 1_700_000_000_000_000_000 + number,
                bytes: vec![number as u8; 60 + number as usize],
                original_bytes: 2000,
                is_outbound: number % 2 == 1,
                packet_id: (number > 0).then_some(number),
                comment: (number > 1).then(|| "dropped by loss".to_owned()),
            })
            .collect()
    }

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, &["client side", "server side"]).unwrap();
        for record in records() {
            writer.packet(&record).unwrap();
        }
        file
    }

    #[test]
    fn what_is_written_can_be_read() {
        let file = file();
        let mut reader = Reader::new(&file[..]);
        let mut read = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            read.push(record);
        }
        assert_eq!(read, records());
        assert_eq!(reader.interfaces[1].name, "server side");
        assert!(!reader.is_cut());
    }

    #[test]
    fn no_damage_and_no_cut_makes_the_reader_panic() {
        let file = file();
        for at in 0..file.len() {
            let mut reader = Reader::new(&file[..at]);
            while let Ok(Some(_)) = reader.next() {}
            for bit in [0x01, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] ^= bit;
                let mut reader = Reader::new(&damaged[..]);
                while let Ok(Some(_)) = reader.next() {}
            }
        }
    }
}
