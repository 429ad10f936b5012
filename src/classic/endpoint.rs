//! One end of a classic stream as a value: both halves, and how it ends. Packets and `now` in, packets and a deadline out.
//!
//! Order of calls, after every input: [`Endpoint::handle_timeout`], then [`Endpoint::poll_transmit`] until `None`, then
//! [`Endpoint::next_timeout`]. Time never runs backwards. It knows no clock, no socket, no thread, and no cipher: RSA
//! works on whole packets, outside.

use super::arq::Arq;
use super::receiver::{Receiver, Verdict};
use super::sender::{Ack, GaveUp, Sender};
use crate::error::{Limit, StreamError};
use crate::stats::Stats;
use crate::wire::classic::{MAX_DATA, Packet};
use crate::wire::packet::{self, Decoded, VERSION_PLAIN, VERSION_SECURE};
use std::time::{Duration, Instant};

/// Bytes that are written and not acknowledged, at most.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// What an [`Endpoint`] must know.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How packets are sent again.
    pub arq: Arq,
    /// Bytes of data in a full packet, 1 to 2048: what the modulus leaves with textbook RSA.
    pub data_bytes: usize,
    /// Packets are numbers to textbook RSA: a window of zero would be lost, and is never announced. Old endpoints destroy
    /// packets now and then, so damage is no broken rule on any carrier.
    pub encrypted: bool,
    /// The carrier delivers everything or fails (TCP): its end is that of the stream, and silence means nothing.
    pub reliable: bool,
    /// How long the first answer may take.
    pub connect_timeout: Duration,
    /// How long the peer may be silent while packets are under way; and, where the carrier has no end, how long a silence
    /// is the end.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            arq: Arq::default(),
            data_bytes: MAX_DATA,
            encrypted: false,
            reliable: false,
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(40),
        }
    }
}

/// How the carrier ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarrierEnd {
    /// Between two packets.
    Closed,
    /// Within a packet.
    Cut,
}

/// See the module.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    sender: Sender,
    receiver: Receiver,
    stats: Stats,
    last_heard: Instant,
    has_heard: bool,
    is_finished: bool,
    /// What a read finds when there are no more bytes.
    read_end: Option<Result<(), StreamError>>,
    /// Why everything is over.
    failed: Option<StreamError>,
    is_closed: bool,
}

impl Endpoint {
    /// An end that has said and heard nothing yet.
    ///
    /// # Panics
    /// If `data_bytes` is not 1 to 2048.
    pub fn new(config: Config, now: Instant) -> Self {
        assert!((1..=MAX_DATA).contains(&config.data_bytes), "1 to 2048 bytes of data");
        Self {
            sender: Sender::new(config.arq, config.data_bytes),
            receiver: Receiver::new(config.arq.scheme(), config.encrypted),
            config,
            stats: Stats::default(),
            last_heard: now,
            has_heard: false,
            is_finished: false,
            read_end: None,
            failed: None,
            is_closed: false,
        }
    }

    // --- Questions.

    /// Everything written has been acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        self.sender.held_bytes() == 0
    }

    /// Bytes written and not acknowledged.
    pub fn unacknowledged_bytes(&self) -> u64 {
        self.sender.held_bytes() as u64
    }

    /// Nothing will be sent or received any more. Bytes may still be there to be read.
    pub fn is_over(&self) -> bool {
        self.failed.is_some() || self.is_closed
    }

    /// Why the stream broke, if it did. Its end is no break.
    pub fn error(&self) -> Option<&StreamError> {
        self.failed.as_ref()
    }

    /// A packet that made sense has come.
    pub fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// A read would not wait.
    pub fn is_readable(&self) -> bool {
        self.receiver.has_bytes() || self.read_end.is_some() || self.failed.is_some()
    }

    /// A write would not wait.
    pub fn is_writable(&self) -> bool {
        self.sender.held_bytes() < SEND_BUFFER_BYTES || self.is_finished || self.is_over()
    }

    /// Counters and gauges at this moment.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        let packet_bytes = self.config.data_bytes as u64;
        stats.cwnd_bytes = u64::from(self.config.arq.window_pkts()) * packet_bytes;
        stats.in_flight_bytes = self.sender.in_flight_bytes() as u64;
        stats.rwnd_bytes = u64::from(self.sender.allowed_pkts()) * packet_bytes;
        stats.pto = self.config.arq.timeout_after();
        stats.pmtu_bytes = packet_bytes;
        stats.send_buffer_bytes = self.unacknowledged_bytes();
        stats.recv_buffer_bytes = self.receiver.held_bytes() as u64;
        stats
    }

    // --- Inputs.

    /// Takes a packet as it came, without a length in front and without encryption. An empty one is an introduction.
    pub fn handle_packet(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() || self.is_over() {
            return;
        }
        let Ok(packet) = Packet::decode(bytes) else {
            return self.handle_noise(bytes);
        };
        self.stats.packets_received += 1;
        self.stats.bytes_received += bytes.len() as u64;
        (self.has_heard, self.last_heard) = (true, now);
        let (read_offset, window) = (packet.read_offset, packet.recv_window_size);
        if self.sender.handle_ack(read_offset, window, now, &mut self.stats) == Ack::Impossible {
            self.stats.auth_failures += 1;
        }
        let Some(index) = packet.write_offset else {
            return;
        };
        match self.receiver.handle_packet(index, packet.data) {
            Verdict::Delivered(bytes) => self.stats.delivered_bytes += bytes as u64,
            Verdict::Kept => {}
            Verdict::Duplicate => self.stats.replays_rejected += 1,
            Verdict::Dropped => self.stats.queue_drops += 1,
        }
    }

    /// Counts something that came and cannot be a packet of the peer.
    pub fn handle_noise(&mut self, bytes: &[u8]) {
        self.stats.auth_failures += 1;
        if !self.config.reliable || self.is_over() {
            return;
        }
        if !self.has_heard {
            self.fail(not_classic(bytes, self.config.encrypted));
        } else if !self.config.encrypted {
            self.fail(StreamError::Violation {
                reason: "what came is no packet of the classic protocol".into(),
            });
        }
    }

    /// Counts packets that came from elsewhere than the peer.
    pub(super) fn count_strangers(&mut self, packets: u64) {
        self.stats.auth_failures += packets;
    }

    /// The carrier has ended.
    pub fn handle_carrier_end(&mut self, end: CarrierEnd) {
        if self.is_over() {
            return;
        }
        let is_cut = end == CarrierEnd::Cut || self.receiver.has_gap();
        self.end_reading(is_cut, Ok(()));
        if self.is_acknowledged() {
            self.is_closed = true;
        } else {
            let reason = format!(
                "it closed the connection with {} bytes that it has not acknowledged",
                self.unacknowledged_bytes()
            );
            self.fail(StreamError::Reset { reason });
        }
    }

    /// Breaks the stream: the carrier has failed, or the application wants no more.
    pub fn fail(&mut self, error: StreamError) {
        self.failed.get_or_insert(error);
    }

    /// Looks at the time limits.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_over() {
            return;
        }
        if self.give_up_at().is_some_and(|at| at <= now) {
            let (limit, after) = match self.sender.why_give_up() {
                GaveUp::Hole(index) => {
                    return self.fail(StreamError::Violation {
                        reason: format!(
                            "the peer asks for packet {index}, which was acknowledged before and is gone: somebody has \
                             forged an acknowledgement, or the peer has lost what it had"
                        ),
                    });
                }
                GaveUp::NobodyThere => (Limit::Connect, self.config.connect_timeout),
                GaveUp::Silence => (Limit::Idle, self.config.idle_timeout),
            };
            return self.fail(StreamError::TimedOut { limit, after });
        }
        if self.sender.is_used_up() {
            return self.fail(StreamError::Invalid {
                reason: "the classic protocol has numbers for 2^31 packets, and this stream has used them all".into(),
            });
        }
        if self.silent_at().is_some_and(|at| at <= now) {
            let after = self.config.idle_timeout;
            let silence = StreamError::TimedOut {
                limit: Limit::Idle,
                after,
            };
            self.end_reading(self.receiver.has_gap(), Err(silence));
        }
    }

    fn end_reading(&mut self, is_cut: bool, end: Result<(), StreamError>) {
        let read = self.stats.delivered_bytes;
        let end = if is_cut {
            Err(StreamError::Truncated { read })
        } else {
            end
        };
        self.read_end.get_or_insert(end);
    }

    // --- Wishes of the application.

    /// Takes bytes to send, as many as there is room for; 0 if there is none now.
    ///
    /// # Errors
    /// Why nothing can be written any more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.is_finished || self.is_closed {
            let reason = if self.is_finished {
                "this side has finished"
            } else {
                "the peer has closed the connection"
            };
            return Err(StreamError::BrokenPipe { reason: reason.into() });
        }
        let room = SEND_BUFFER_BYTES.saturating_sub(self.sender.held_bytes());
        let n = room.min(bytes.len());
        self.sender.push(&bytes[..n]);
        self.stats.written_bytes += n as u64;
        Ok(n)
    }

    /// Nothing more will be written. The peer does not hear of it: this protocol has no word for it.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Reads in order. `None`: nothing is there yet. `Some(0)`: the carrier was closed, and nothing is *known* to be
    /// missing.
    ///
    /// # Errors
    /// Why nothing more will come, once everything that came is read.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, StreamError> {
        if self.receiver.has_bytes() {
            let n = self.receiver.read(buf);
            self.stats.read_bytes += n as u64;
            return Ok(Some(n));
        }
        match (&self.read_end, &self.failed) {
            (Some(end), _) => end.clone().map(|()| Some(0)),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Ok(None),
        }
    }

    // --- Outputs.

    /// The next packet to send: owed acknowledgements first, one for each packet that came.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.is_over() {
            return None;
        }
        let mut bytes = Vec::new();
        if self.receiver.take_ack() {
            let (recv_window_size, read_offset) = self.receiver.announce();
            let packet = Packet {
                recv_window_size,
                read_offset,
                write_offset: None,
                data: &[],
            };
            packet.encode(&mut bytes);
        } else {
            let (index, data) = self.sender.poll(now, &mut self.stats)?;
            let (recv_window_size, read_offset) = self.receiver.announce();
            let packet = Packet {
                recv_window_size,
                read_offset,
                write_offset: Some(index),
                data,
            };
            packet.encode(&mut bytes);
        }
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += bytes.len() as u64;
        Some(bytes)
    }

    /// When `handle_timeout` and `poll_transmit` have something to do, if nothing comes before.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let deadlines = [self.sender.next_timeout(), self.give_up_at(), self.silent_at()];
        deadlines.into_iter().flatten().min()
    }

    fn give_up_at(&self) -> Option<Instant> {
        let Config {
            connect_timeout,
            idle_timeout,
            ..
        } = self.config;
        self.sender.give_up_at(connect_timeout, idle_timeout)
    }

    fn silent_at(&self) -> Option<Instant> {
        if self.config.reliable || self.read_end.is_some() {
            return None;
        }
        self.last_heard.checked_add(self.config.idle_timeout)
    }
}

/// Why the first thing that came is not understood.
pub(super) fn not_classic(bytes: &[u8], encrypted: bool) -> StreamError {
    let mode = match packet::decode(bytes) {
        Ok(Decoded::Long(header)) if header.version == VERSION_SECURE => "secure",
        Ok(Decoded::Long(header)) if header.version == VERSION_PLAIN => "plain",
        _ => {
            let cure = if encrypted {
                "do both sides have --classic, and each its own --priv-key and the other's --pub-key?"
            } else if Packet::decode(bytes).is_ok() {
                "this side has keys, and the peer has none: give both sides keys, or neither"
            } else {
                "is it encrypted? Then give --priv-key and --pub-key on this side, too"
            };
            return StreamError::Mismatch {
                reason: format!("the first packet is none of the classic protocol; {cure}"),
                ours: 0,
                theirs: 0,
            };
        }
    };
    StreamError::Mismatch {
        reason: format!("the peer speaks {mode}, this side classic: give --classic to both sides or to neither"),
        ours: 0,
        theirs: if mode == "secure" {
            VERSION_SECURE
        } else {
            VERSION_PLAIN
        },
    }
}
