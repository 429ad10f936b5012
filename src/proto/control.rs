//! Frames that carry one value each: sent once, sent again when lost, always with the newest value.
//!
//! RFC 9000, section 13.3.

use super::packet_builder::PacketBuilder;
use crate::wire::frame::Frame;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};
use std::time::{Duration, Instant};

/// A limit is said again on demand no more often than this, and no more often than once in a round trip. On a fast path
/// every limit crosses a DATA_BLOCKED of the peer, and to answer each would be a flood of control frames.
const MIN_REPEAT: Duration = Duration::from_millis(10);

/// The only channel of a stream.
pub const CHANNEL: u64 = 0;

/// A set of control frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control(u16);

impl Control {
    /// PING. Not sent again: whoever wants an answer sends a new one.
    pub const PING: Self = Self(1);
    /// `HANDSHAKE_DONE`.
    pub const HANDSHAKE_DONE: Self = Self(1 << 1);
    /// `MAX_DATA`.
    pub const MAX_DATA: Self = Self(1 << 2);
    /// `DATA_BLOCKED`.
    pub const DATA_BLOCKED: Self = Self(1 << 3);
    /// RESET.
    pub const RESET: Self = Self(1 << 4);
    /// STOP.
    pub const STOP: Self = Self(1 << 5);
    /// CONSUMED.
    pub const CONSUMED: Self = Self(1 << 6);
    /// `ACK_FREQUENCY`.
    pub const ACK_FREQUENCY: Self = Self(1 << 7);

    /// The peer may wait for these, and do nothing before they come.
    const AWAITED: [Self; 5] = [
        Self::HANDSHAKE_DONE,
        Self::MAX_DATA,
        Self::RESET,
        Self::STOP,
        Self::CONSUMED,
    ];

    /// In order of urgency.
    const ORDER: [Self; 8] = [
        Self::HANDSHAKE_DONE,
        Self::MAX_DATA,
        Self::RESET,
        Self::STOP,
        Self::CONSUMED,
        Self::ACK_FREQUENCY,
        Self::DATA_BLOCKED,
        Self::PING,
    ];

    /// No frame.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Has any frame of `other`.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Control {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Control {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Control {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Control {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// The values of the control frames, which of them wait to be sent, and which were acknowledged.
#[derive(Debug, Default)]
pub struct ControlFrames {
    pending: Control,
    /// Frames whose newest value has not been sent yet.
    changed: Control,
    /// Frames whose newest value was acknowledged.
    acked: Control,
    /// Frames that have been sent at all.
    said: Control,
    /// For each frame the first packet with its newest value. What becomes of earlier packets says nothing of it.
    since_pn: [u64; Control::ORDER.len()],
    max_data: u64,
    blocked_at: u64,
    reset: (u64, u64),
    stop: u64,
    consumed: Option<u64>,
    max_data_repeated_at: Option<Instant>,
    ack_frequency: (u64, u64, u64),
}

impl ControlFrames {
    /// Something waits.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The peer has acknowledged the newest value of any frame in `control`.
    pub fn is_acked(&self, control: Control) -> bool {
        self.acked.has(control)
    }

    /// Asks for any answer.
    pub fn ping(&mut self) {
        self.change(Control::PING);
    }

    /// Tells the client that the handshake is complete.
    pub fn handshake_done(&mut self) {
        self.change(Control::HANDSHAKE_DONE);
    }

    /// Says again what the peer may be waiting for and nobody knows whether it arrived. `HANDSHAKE_DONE`: until it has,
    /// the client acknowledges nothing, so its loss cannot be seen.
    pub fn repeat_unacked(&mut self) {
        for control in Control::AWAITED {
            if self.said.has(control) && !self.acked.has(control) {
                self.pending |= control;
            }
        }
    }

    /// The peer may send up to the absolute offset `max`.
    pub fn max_data(&mut self, max: u64) {
        if max > self.max_data {
            self.max_data = max;
            self.change(Control::MAX_DATA);
        }
    }

    /// The peer says that our `limit` stops it. If that is an old one, the newest is said again.
    pub fn handle_blocked(&mut self, limit: u64, now: Instant, smoothed_rtt: Duration) {
        let due = |at: Instant| now.saturating_duration_since(at) >= MIN_REPEAT.max(smoothed_rtt);
        if limit < self.max_data && self.max_data_repeated_at.is_none_or(due) {
            self.max_data_repeated_at = Some(now);
            self.pending |= Control::MAX_DATA;
        }
    }

    /// The peer's `limit` stops us. Said once for each limit.
    pub fn blocked(&mut self, limit: u64) {
        if self.blocked_at != limit {
            self.blocked_at = limit;
            self.change(Control::DATA_BLOCKED);
        }
    }

    /// Our direction is abandoned at `final_size`.
    pub fn reset(&mut self, code: u64, final_size: u64) {
        self.reset = (code, final_size);
        self.change(Control::RESET);
    }

    /// We no longer read.
    pub fn stop(&mut self, code: u64) {
        self.stop = code;
        self.change(Control::STOP);
    }

    /// Our application read to the end.
    pub fn consumed(&mut self, final_size: u64) {
        self.consumed = Some(final_size);
        self.change(Control::CONSUMED);
    }

    /// Asks the peer to acknowledge after `packets` packets or `max_delay_us` microseconds.
    pub fn ack_frequency(&mut self, packets: u64, max_delay_us: u64) {
        let (sequence, ..) = self.ack_frequency;
        self.ack_frequency = (sequence + 1, packets, max_delay_us);
        self.change(Control::ACK_FREQUENCY);
    }

    /// A frame has a new value to send.
    fn change(&mut self, control: Control) {
        self.pending |= control;
        self.changed |= control;
        self.acked = self.acked & !control;
    }

    /// Writes what waits, as far as it fits, into packet `pn`.
    pub fn write_frames(&mut self, pn: u64, builder: &mut PacketBuilder<'_>) {
        // Packets of a bulk transfer have none, and there are many of these.
        if !self.is_pending() {
            return;
        }
        for (index, control) in Control::ORDER.into_iter().enumerate() {
            if self.pending.has(control) && builder.write_control(control, &self.frame(control)) {
                self.pending = self.pending & !control;
                self.said |= control;
                if self.changed.has(control) {
                    self.changed = self.changed & !control;
                    self.since_pn[index] = pn;
                }
            }
        }
    }

    /// Says once more, beside a close, that our application read to the end: nothing after the close would be heard.
    pub fn write_last_words(&self, builder: &mut PacketBuilder<'_>) {
        if self.consumed.is_some() && !self.is_acked(Control::CONSUMED) {
            builder.write(&self.frame(Control::CONSUMED));
        }
    }

    fn frame(&self, control: Control) -> Frame<'static> {
        match control {
            Control::HANDSHAKE_DONE => Frame::HandshakeDone,
            Control::MAX_DATA => Frame::MaxData { max: self.max_data },
            Control::DATA_BLOCKED => Frame::DataBlocked { limit: self.blocked_at },
            Control::RESET => Frame::Reset {
                channel: CHANNEL,
                code: self.reset.0,
                final_size: self.reset.1,
            },
            Control::STOP => Frame::Stop {
                channel: CHANNEL,
                code: self.stop,
            },
            Control::CONSUMED => Frame::Consumed {
                channel: CHANNEL,
                final_size: self.consumed.unwrap_or_default(),
            },
            Control::ACK_FREQUENCY => {
                let (sequence, packets, max_delay_us) = self.ack_frequency;
                Frame::AckFrequency {
                    sequence,
                    packets,
                    max_delay_us,
                }
            }
            _ => Frame::Ping,
        }
    }

    /// Packet `pn` with `control` was acknowledged.
    pub fn acked(&mut self, pn: u64, control: Control) {
        self.acked |= self.newest(pn, control);
    }

    /// Packet `pn` with `control` was lost: it goes out again, unless the newest value has arrived or is on its way
    /// in a later packet.
    pub fn lost(&mut self, pn: u64, control: Control) {
        self.pending |= self.newest(pn, control) & !self.acked & !Control::PING;
    }

    /// Those frames of `control` that had their newest value in packet `pn`.
    fn newest(&self, pn: u64, control: Control) -> Control {
        Control::ORDER
            .into_iter()
            .zip(self.since_pn)
            .filter(|(one, since_pn)| control.has(*one) && !self.changed.has(*one) && pn >= *since_pn)
            .fold(Control::default(), |newest, (one, _)| newest | one)
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet_builder::Header;
    use super::*;
    use crate::wire::packet::{ConnectionId, ShortForm};

    #[expect(clippy::disallowed_methods, reason = "any moment will do as the origin")]
    fn start() -> Instant {
        Instant::now()
    }

    fn send(frames: &mut ControlFrames, pn: u64) -> Control {
        let header = Header {
            form: ShortForm::Plain,
            destination_id: ConnectionId([0; 8]),
            key_phase: false,
            tag_bytes: 4,
        };
        let mut buffer = [0; 1200];
        let mut builder = PacketBuilder::new(&mut buffer, &header, pn, None);
        frames.write_frames(pn, &mut builder);
        builder.finish().contents.control
    }

    #[test]
    fn the_end_of_the_handshake_is_repeated_until_it_is_known_to_have_arrived() {
        let mut client = ControlFrames::default();
        client.repeat_unacked();
        assert!(!client.is_pending(), "a client has nothing to confirm");

        let mut server = ControlFrames::default();
        server.handshake_done();
        assert_eq!(send(&mut server, 0), Control::HANDSHAKE_DONE);
        server.repeat_unacked();
        assert_eq!(send(&mut server, 1), Control::HANDSHAKE_DONE);
        server.acked(1, Control::HANDSHAKE_DONE);
        server.repeat_unacked();
        assert!(!server.is_pending());
    }

    #[test]
    fn what_becomes_of_an_older_value_says_nothing_of_the_newest() {
        let mut frames = ControlFrames::default();
        frames.max_data(1000);
        let first = send(&mut frames, 1);
        frames.max_data(2000);
        let second = send(&mut frames, 2);
        frames.acked(1, first);
        assert!(!frames.is_acked(Control::MAX_DATA));
        assert!(!frames.is_pending());
        frames.lost(2, second);
        assert!(frames.is_pending(), "or the peer would be stuck at 1000");
        let third = send(&mut frames, 3);
        frames.lost(1, first);
        assert!(!frames.is_pending(), "the newest value is on its way");
        frames.acked(3, third);
        assert!(frames.is_acked(Control::MAX_DATA));
        frames.lost(2, second);
        assert!(!frames.is_pending(), "a later copy has arrived");
    }

    #[test]
    fn any_copy_of_the_newest_value_will_do() {
        let mut frames = ControlFrames::default();
        frames.consumed(5);
        let first = send(&mut frames, 1);
        frames.lost(1, first);
        let _second = send(&mut frames, 2);
        // Not lost after all.
        frames.acked(1, first);
        assert!(frames.is_acked(Control::CONSUMED));
    }

    #[test]
    fn a_value_that_changes_before_it_is_sent_is_not_acknowledged_by_the_old_one() {
        let mut frames = ControlFrames::default();
        frames.max_data(1000);
        let first = send(&mut frames, 1);
        frames.max_data(2000);
        frames.acked(1, first);
        assert!(frames.is_pending() && !frames.is_acked(Control::MAX_DATA));
    }

    #[test]
    fn a_limit_that_the_peer_knows_is_not_repeated_and_an_older_one_once_in_a_round_trip() {
        let (now, rtt) = (start(), Duration::from_millis(100));
        let mut frames = ControlFrames::default();
        frames.handle_blocked(500, now, rtt);
        assert!(!frames.is_pending(), "no limit was ever told");
        frames.max_data(1000);
        send(&mut frames, 1);
        frames.handle_blocked(1000, now, rtt);
        assert!(!frames.is_pending());
        frames.handle_blocked(500, now, rtt);
        assert_eq!(send(&mut frames, 2), Control::MAX_DATA);
        frames.handle_blocked(600, now + rtt / 2, rtt);
        assert!(!frames.is_pending());
        frames.handle_blocked(600, now + rtt, rtt);
        assert!(frames.is_pending());
    }

    #[test]
    fn on_a_short_path_a_limit_is_repeated_a_hundred_times_a_second_at_most() {
        let (start, rtt) = (start(), Duration::from_micros(50));
        let mut frames = ControlFrames::default();
        let mut repeated = 0;
        for n in 0..20_000_u32 {
            frames.max_data(u64::from(n + 2) << 16);
            send(&mut frames, u64::from(n));
            frames.handle_blocked(u64::from(n) << 16, start + n * rtt, rtt);
            repeated += u32::from(frames.is_pending());
        }
        assert_eq!(repeated, 100);
    }

    #[test]
    fn a_lost_ping_is_not_repeated() {
        let mut frames = ControlFrames::default();
        frames.ping();
        let ping = send(&mut frames, 1);
        frames.lost(1, ping);
        assert!(!frames.is_pending());
    }
}
