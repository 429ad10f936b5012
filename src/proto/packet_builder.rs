//! One 1-RTT packet under construction: header, frames, and the notes of what it carries.
//!
//! Every frame source writes through it, so that room, ack-eliciting state and the tokens for loss recovery are kept
//! in one place. Sealing is not its business: it leaves room for the tag.

use super::control::Control;
use super::send_buffer::StreamRange;
use crate::wire::codec::Writer;
use crate::wire::frame::{self, Frame};
use crate::wire::packet::{self, ConnectionId, ShortForm};

/// Stream ranges that one packet may carry: a hole to fill and what comes after it.
const MAX_STREAM_RANGES: usize = 2;
/// Header protection samples 16 bytes from 4 bytes behind the start of the packet number (RFC 9001, section 5.4.2).
/// With a tag of 16 bytes the payload must bring the packet number to 4 bytes at least.
const MIN_PAYLOAD: usize = 4;

/// A part of an AES block at the end of the payload costs 4 % of the time to seal 1,452 bytes. Where a longer packet number
/// can take those bytes of a full packet, it does. How full it becomes is not known when the number is written.
const CIPHER_BLOCK: usize = 16;
/// Of a packet number (RFC 9000, section 17.3.1).
const MAX_PN_BYTES: usize = 4;

/// What a packet carried. Loss recovery stores it and hands it back to the frame sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contents {
    /// Ranges of the stream.
    pub streams: [Option<StreamRange>; MAX_STREAM_RANGES],
    /// Control frames.
    pub control: Control,
    /// The largest number in the ACK frame.
    pub acked_up_to: Option<u64>,
}

/// Facts that stand in the header of each packet.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Shape of the short header.
    pub form: ShortForm,
    /// The peer's id.
    pub destination_id: ConnectionId,
    /// Key phase bit.
    pub key_phase: bool,
    /// Bytes to leave for the tag.
    pub tag_bytes: usize,
}

/// A finished packet.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    /// Length of the packet in bytes, tag included.
    pub bytes: usize,
    /// Its number.
    pub pn: u64,
    /// Where the packet number stands.
    pub pn_offset: usize,
    /// How many bytes it takes.
    pub pn_bytes: usize,
    /// What it carries.
    pub contents: Contents,
    /// It wants an acknowledgement.
    pub ack_eliciting: bool,
    /// It is a probe for the path MTU.
    pub is_mtu_probe: bool,
}

/// See the module.
#[derive(Debug)]
pub struct PacketBuilder<'a> {
    writer: Writer<'a>,
    pn: u64,
    pn_offset: usize,
    header_bytes: usize,
    tag_bytes: usize,
    contents: Contents,
    ack_eliciting: bool,
    is_mtu_probe: bool,
}

impl<'a> PacketBuilder<'a> {
    /// Begins a packet that fills at most `buffer`.
    pub fn new(buffer: &'a mut [u8], header: &Header, pn: u64, largest_acked: Option<u64>) -> Self {
        let end = buffer.len() - header.tag_bytes;
        let mut writer = Writer::new(&mut buffer[..end]);
        let mut pn_bytes = packet::packet_number_bytes(pn, largest_acked);
        if header.form == ShortForm::Secure {
            let odd_bytes = end.saturating_sub(packet::SHORT_PN_OFFSET + pn_bytes) % CIPHER_BLOCK;
            if pn_bytes + odd_bytes <= MAX_PN_BYTES {
                pn_bytes += odd_bytes;
            }
        }
        packet::encode_short(
            &mut writer,
            header.form,
            header.destination_id,
            header.key_phase,
            pn,
            pn_bytes,
        );
        let header_bytes = writer.position();
        Self {
            writer,
            pn,
            pn_offset: header_bytes - pn_bytes,
            header_bytes,
            tag_bytes: header.tag_bytes,
            contents: Contents::default(),
            ack_eliciting: false,
            is_mtu_probe: false,
        }
    }

    /// Bytes left for frames.
    pub fn room(&self) -> usize {
        self.writer.remaining()
    }

    /// Size of the packet so far, tag included.
    pub fn bytes(&self) -> usize {
        self.writer.position() + self.tag_bytes
    }

    /// Nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.writer.position() == self.header_bytes
    }

    /// The number of this packet.
    pub fn pn(&self) -> u64 {
        self.pn
    }

    /// What was written so far wants an acknowledgement.
    pub fn is_ack_eliciting(&self) -> bool {
        self.ack_eliciting
    }

    /// Notes that `control` is in this packet, if its frame fits. Returns whether it did.
    pub fn write_control(&mut self, control: Control, frame: &Frame<'_>) -> bool {
        let fits = self.write(frame);
        if fits {
            self.contents.control |= control;
        }
        fits
    }

    /// Writes a frame that nobody needs to hear about again. Returns whether it fitted.
    pub fn write(&mut self, frame: &Frame<'_>) -> bool {
        if frame.encoded_bytes() > self.room() {
            return false;
        }
        frame.encode(&mut self.writer);
        self.ack_eliciting |= frame.is_ack_eliciting();
        true
    }

    /// Writes an ACK frame whose largest number is `largest`.
    pub fn write_ack(&mut self, largest: u64, encode: impl FnOnce(&mut Writer<'a>) -> usize) {
        encode(&mut self.writer);
        self.contents.acked_up_to = Some(largest);
    }

    /// Bytes of payload that fit in a STREAM frame of `channel` at `offset`; `None` when this packet takes no more.
    pub fn stream_room(&self, channel: u64, offset: u64) -> Option<usize> {
        self.contents.streams.iter().position(Option::is_none)?;
        let overhead = frame::stream_overhead(channel, offset, self.room());
        self.room().checked_sub(overhead)
    }

    /// Writes a STREAM frame; `fill` copies its payload.
    pub fn write_stream(&mut self, channel: u64, range: StreamRange, fill: impl FnOnce(&mut [u8])) {
        let len = range.len as usize;
        // Before the payload: what is noted here is read back as soon as the packet is finished, and would wait in the
        // processor until all stores before it have reached the cache.
        let slot = self.contents.streams.iter_mut().find(|slot| slot.is_none());
        *slot.expect("stream_room() said that there is a slot") = Some(range);
        self.ack_eliciting = true;
        frame::encode_stream_header(&mut self.writer, channel, range.offset, len, range.fin);
        fill(&mut self.writer.spare_mut()[..len]);
        self.writer.advance(len);
    }

    /// Ends the packet; frames of fewer than four bytes are padded.
    pub fn finish(mut self) -> Built {
        let payload = self.writer.position() - self.header_bytes;
        if payload < MIN_PAYLOAD {
            self.pad(MIN_PAYLOAD - payload);
        }
        Built {
            bytes: self.writer.position() + self.tag_bytes,
            pn: self.pn,
            pn_offset: self.pn_offset,
            pn_bytes: self.header_bytes - self.pn_offset,
            contents: self.contents,
            ack_eliciting: self.ack_eliciting,
            is_mtu_probe: self.is_mtu_probe,
        }
    }

    /// Makes it a probe for the path MTU, which fills the buffer (RFC 8899, section 4.1).
    pub fn probe_mtu(&mut self) {
        self.write(&Frame::Ping);
        self.pad(self.room());
        self.is_mtu_probe = true;
    }

    /// Adds `bytes` of PADDING, or as many as fit.
    pub fn pad(&mut self, bytes: usize) {
        let bytes = bytes.min(self.room());
        self.writer.spare_mut()[..bytes].fill(0);
        self.writer.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pn_bytes(form: ShortForm, room: usize, pn: u64) -> usize {
        let header = Header {
            form,
            destination_id: ConnectionId([7; packet::CONNECTION_ID_BYTES]),
            key_phase: false,
            tag_bytes: 16,
        };
        let mut buffer = vec![0; room];
        let mut builder = PacketBuilder::new(&mut buffer, &header, pn, None);
        builder.pad(room);
        let built = builder.finish();
        assert_eq!(built.bytes, room, "the packet fills its room");
        built.pn_bytes
    }

    #[test]
    fn a_packet_number_takes_one_or_two_bytes_more_where_the_payload_is_whole_blocks_then() {
        let head_and_tag = packet::SHORT_PN_OFFSET + 16;
        let room = |odd_bytes| head_and_tag + 2 + 10 * CIPHER_BLOCK + odd_bytes;
        let secure = |odd, pn| pn_bytes(ShortForm::Secure, room(odd), pn);
        assert_eq!([0, 1, 2, 3, 15].map(|odd| secure(odd, 5)), [2, 3, 4, 2, 2]);
        let of_three = 1 << 16;
        assert_eq!([1, 2, 3].map(|odd| secure(odd, of_three)), [3, 4, 3]);
        assert_eq!(pn_bytes(ShortForm::Secure, 1452, 5), 3);
        assert_eq!(pn_bytes(ShortForm::Plain, 1452, 5), 2, "nothing is enciphered there");
    }
}
