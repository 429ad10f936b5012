//! Puts the next packet together: what may be sent now, in which order, and what must be remembered of it.

use super::control::CHANNEL;
use super::ecn::State;
use super::ending::Life;
use super::packet_builder::{Built, PacketBuilder};
use super::path::{PathFrame, PathId};
use super::send_half::SendHalf;
use super::sent::Packet;
use crate::wire::frame::{Frame, close_code};
use std::time::Instant;

/// A STREAM frame in what is left of a packet is worth its header from this many bytes on.
const MIN_STREAM_PAYLOAD: usize = 32;
/// ACKs alone that may follow a packet which the peer does not acknowledge. An honest peer acknowledges a probe within
/// a round trip, and cannot make us send so many in one; the memory for them must not grow for ever.
const MAX_ACKS_OPEN: usize = 1 << 16;

/// A packet in the caller's buffer, to be sealed and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Its length in bytes, room for the tag included.
    pub bytes: usize,
    /// Its number.
    pub pn: u64,
    /// Where the packet number stands.
    pub pn_offset: usize,
    /// How many bytes it takes.
    pub pn_bytes: usize,
    /// Where it goes.
    pub path: PathId,
}

impl SendHalf {
    /// Writes the next packet to the start of `buffer`, which must hold [`SendHalf::packet_bytes`]. Call until
    /// `None`; then either nothing is left to send, or [`SendHalf::next_paced`] says when to come back. After a batch call
    /// [`SendHalf::set_timers`]: what was sent moves deadlines.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        self.pacing_until = None;
        match self.life {
            Life::Open => {}
            Life::Closed(_) => return None,
            Life::Closing(_) | Life::Draining(_) => return self.poll_close(now, buffer),
        }
        let buffer = &mut buffer[..self.next_packet_bytes()];
        let ack_due = self.acks.is_due(now);
        let wants = self.wants_to_send();
        let may = wants && self.may_send(now);
        if !may && !ack_due {
            return None;
        }
        self.skip_number();
        let mut builder = PacketBuilder::new(buffer, &self.header, self.next_pn, self.detector.largest_acked());
        if ack_due || self.acks.is_owed() {
            self.acks.write_frames(&mut builder, now);
        }
        if may {
            self.control.write_frames(self.next_pn, &mut builder);
            self.write_stream(&mut builder);
            if self.probes > 0 && !builder.is_ack_eliciting() {
                builder.write(&Frame::Ping);
            }
            if builder.is_empty() {
                return None;
            }
        }
        let built = builder.finish();
        if self.detector.sent().not_in_flight() >= MAX_ACKS_OPEN {
            let reason = "acknowledges nothing";
            self.close(now, close_code::PROTOCOL_VIOLATION, reason);
            return self.poll_close(now, buffer);
        }
        if built.ack_eliciting {
            self.probes = self.probes.saturating_sub(1);
        } else if may {
            // Nothing was left to probe with.
            self.probes = 0;
        }
        self.note_sent(&built, self.ecn.is_marking(), now);
        Some(transmit(&built, self.paths.active()))
    }

    /// The packets of [`SendHalf::poll_transmit`] to come go out together, and have one ECN mark. Returns whether it is
    /// ECT(0), not none; packets of the other polls have none.
    ///
    /// None before the first acknowledgement: what comes during the handshake may wait where no mark is seen. None after a
    /// probe time-out: perhaps marked packets are what does not arrive. None of the test are spent on acknowledgements: of
    /// their loss nobody would hear, and the peer's sender would stand still.
    pub fn begin_batch(&mut self) -> bool {
        let is_heard = self.detector.largest_acked().is_some() && self.detector.pto_count() == 0;
        let may_mark = is_heard && (self.ecn.state() == State::Capable || self.has_unsent());
        self.ecn.begin_batch(may_mark);
        self.ecn.is_marking()
    }

    /// The last probe of a time-out is small where full packets are larger than what passes for sure, and so are all
    /// after the first time-out: if the path has shrunk, nothing else would ever arrive.
    fn next_packet_bytes(&self) -> usize {
        if self.probes == 1 || (self.probes > 0 && self.detector.pto_count() > 1) {
            self.pmtu.base()
        } else {
            self.pmtu.current()
        }
    }

    /// There is something that congestion control must allow.
    fn wants_to_send(&mut self) -> bool {
        if self.has_control() || self.probes > 0 {
            return true;
        }
        if self.buffer.has_lost() {
            return true;
        }
        if self.buffer.has_new(self.max_data) {
            return self.config.nodelay || self.fills_a_packet();
        }
        if self.buffer.end_offset() > self.max_data && self.buffer.sent_offset() >= self.max_data {
            self.control.blocked(self.max_data);
            return self.has_control();
        }
        false
    }

    /// Without `nodelay`, less than a packet waits for the acknowledgement of what is in flight (RFC 9293,
    /// section 3.7.4).
    fn fills_a_packet(&self) -> bool {
        let new = self.buffer.end_offset() - self.buffer.sent_offset();
        new >= self.packet_bytes() as u64 || self.buffer.final_size().is_some() || self.detector.bytes_in_flight() == 0
    }

    fn may_send(&mut self, now: Instant) -> bool {
        if self.probes > 0 {
            // RFC 9002, section 7.5: probes are not held back.
            return true;
        }
        let bytes = self.packet_bytes() as u64;
        let in_flight = self.detector.bytes_in_flight();
        // A window of less than a packet lets one go at a time.
        if in_flight > 0 && in_flight + bytes > self.controller.window() {
            return false;
        }
        if in_flight == 0 {
            self.pacer.on_idle(now);
        }
        if let Err(at) = self.pacer.can_send(now, bytes) {
            self.pacing_until = Some(at);
            return false;
        }
        true
    }

    fn write_stream(&mut self, builder: &mut PacketBuilder<'_>) {
        loop {
            let Some(room) = builder.stream_room(CHANNEL, self.buffer.end_offset()) else {
                return;
            };
            if room < MIN_STREAM_PAYLOAD {
                return;
            }
            let Some((range, again)) = self.buffer.next_range(room, self.max_data) else {
                return;
            };
            if again {
                self.counters.retransmitted_bytes += u64::from(range.len);
            }
            builder.write_stream(CHANNEL, range, |out| self.buffer.copy_to(&range, out));
        }
    }

    /// Like [`SendHalf::poll_transmit`], for packets that must take a path of their own. Call it first.
    pub fn poll_path_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        let buffer = &mut buffer[..self.pmtu.current()];
        let (path, frame, bytes) = self
            .paths
            .next_frame(buffer.len() as u64)
            .filter(|_| self.life.is_open())?;
        self.skip_number();
        let mut builder = PacketBuilder::new(buffer, &self.header, self.next_pn, self.detector.largest_acked());
        builder.write(&match frame {
            PathFrame::Challenge(data) => Frame::PathChallenge(data),
            PathFrame::Response(data) => Frame::PathResponse(data),
        });
        builder.pad((bytes as usize).saturating_sub(builder.bytes()));
        let built = builder.finish();
        self.paths.on_sent(path, frame, built.bytes as u64, now, self.pto());
        self.note_sent(&built, false, now);
        Some(transmit(&built, path))
    }

    /// Like [`SendHalf::poll_transmit`], for a probe of the path MTU, which is larger than full packets; `None` also
    /// where `buffer` cannot hold it. It carries nothing, so only a sender who has more to send than that pays for one.
    pub fn poll_mtu_probe(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        let is_calm = self.life.is_open() && self.probes == 0 && !self.buffer.has_lost();
        // With the first acknowledgement the handshake is behind us on both sides.
        if !is_calm || self.detector.largest_acked().is_none() {
            return None;
        }
        let unsent = self.buffer.end_offset() - self.buffer.sent_offset();
        if unsent <= self.pmtu.base() as u64 {
            return None;
        }
        let bytes = self.pmtu.next_probe(now)?;
        let in_flight = self.detector.bytes_in_flight();
        // It may stick out of the window, one at a time: full packets take each place that falls free, and a probe that is
        // larger would wait for ever.
        let fits = bytes <= buffer.len() && in_flight + self.packet_bytes() as u64 <= self.controller.window();
        if !fits || unsent < bytes as u64 || self.pacer.can_send(now, bytes as u64).is_err() {
            return None;
        }
        self.skip_number();
        let buffer = &mut buffer[..bytes];
        let mut builder = PacketBuilder::new(buffer, &self.header, self.next_pn, self.detector.largest_acked());
        builder.probe_mtu();
        let built = builder.finish();
        self.pmtu.on_probe_sent(built.pn, built.bytes);
        self.note_sent(&built, false, now);
        Some(transmit(&built, self.paths.active()))
    }

    pub(super) fn skip_number(&mut self) {
        if self.next_pn == self.skip_at {
            self.detector.on_skipped(self.next_pn);
            self.next_pn += 1;
            self.choose_skip();
        }
    }

    pub(super) fn note_sent(&mut self, built: &Built, is_marked: bool, now: Instant) {
        self.next_pn = built.pn + 1;
        let bytes = built.bytes as u64;
        self.counters.packets_sent += 1;
        self.counters.bytes_sent += bytes;
        let in_flight = self.detector.bytes_in_flight();
        let rate = self.estimator.on_sent(now, bytes, in_flight);
        self.detector.on_sent(
            built.pn,
            Packet {
                time_sent: now,
                size_bytes: built.bytes as u32,
                ack_eliciting: built.ack_eliciting,
                in_flight: built.ack_eliciting,
                is_mtu_probe: built.is_mtu_probe,
                is_marked,
                contents: built.contents,
                rate,
            },
        );
        if is_marked {
            self.ecn.on_sent(now);
        }
        if built.ack_eliciting {
            self.pacer.on_sent(bytes);
            self.controller.on_sent(now, bytes, in_flight, rate.app_limited);
            if in_flight == 0 {
                // After silence it may want another rate, and no acknowledgement comes before.
                self.pacer.set_rate(self.pacing_rate());
            }
        }
    }

    /// The application has nothing more to send though the window would allow it: rate samples taken from now on say
    /// nothing about the path.
    pub fn note_app_limited(&mut self) {
        if !self.buffer.can_send(self.max_data)
            && self.detector.bytes_in_flight() + (self.packet_bytes() as u64) < self.controller.window()
        {
            self.estimator.mark_app_limited(self.detector.bytes_in_flight());
        }
    }
}

pub(super) fn transmit(built: &Built, path: PathId) -> Transmit {
    Transmit {
        bytes: built.bytes,
        pn: built.pn,
        pn_offset: built.pn_offset,
        pn_bytes: built.pn_bytes,
        path,
    }
}
