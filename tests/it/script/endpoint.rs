//! One endpoint of the core in virtual time: both halves, the update between them, an application that reads at once,
//! and the packets that it sent. It does what a driver does, in the order that stands at the top of `proto`.
//!
//! It knows no peer and no script, so that the benchmark of the hostile peer can use it too.

use securestream::proto::flow::RecvWindow;
use securestream::proto::path::PathId;
use securestream::proto::recv_half::{Opened, Rules};
use securestream::proto::{Config, RecvHalf, SendHalf, Settled, Sink, Transmit, Update};
use securestream::wire::codec::Writer;
use securestream::wire::frame::{Frame, Frames};
use securestream::wire::packet::{ConnectionId, PLAIN_TAG_BYTES, ShortForm};
use std::time::{Duration, Instant};

/// The path of the handshake.
pub(crate) const PATH: PathId = PathId(0);
/// Rounds of timers and packets at one moment. A core that wants more does not let time pass.
const MAX_ROUNDS: usize = 10_000;

/// What an endpoint starts with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) settled: Settled,
    /// The application reads what arrives at once, and the window moves.
    pub(crate) reads: bool,
}

impl Default for Setup {
    /// A client without keep-alive on a path of 100 ms whose full packets carry 1000 bytes of payload, 16 of them in
    /// flight. These sizes need no ACK_FREQUENCY: it would stand in the way of tests that are about something else.
    fn default() -> Self {
        Self {
            config: Config {
                keep_alive: None,
                congestion: format!("fixed:{}", 16 * FULL_PACKET),
                packet_bytes: FULL_PACKET,
                ..Config::default()
            },
            settled: Settled {
                server: false,
                form: ShortForm::Plain,
                remote_id: ConnectionId([7; 8]),
                tag_bytes: PLAIN_TAG_BYTES,
                initial_max_data: 1 << 30,
                peer_max_ack_delay: Duration::from_millis(25),
                idle_timeout: Duration::from_secs(40),
                peer_max_packet: 65_527,
                rtt: Some(Duration::from_millis(100)),
                seed: LATE_SKIP,
            },
            reads: true,
        }
    }
}

/// Bytes of payload in a full packet, as long as the stream is shorter than 16 KiB.
pub(crate) const FULL: u64 = 1000;
/// Header, tag and STREAM header around [`FULL`].
pub(crate) const FULL_PACKET: usize = FULL as usize + 11 + PLAIN_TAG_BYTES + 6;
/// A seed whose first skipped packet number is far away.
pub(crate) const LATE_SKIP: u64 = 1;

/// What the application got.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u64>,
}

impl Sink for Received {
    fn deliver(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        assert!(!self.ended && self.reset.is_none(), "a stream ends once");
        self.ended = true;
    }

    fn reset(&mut self, code: u64) {
        assert!(!self.ended && self.reset.is_none(), "a stream is reset once");
        self.reset = Some(code);
    }
}

/// A packet that the endpoint sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) pn: u64,
    pub(crate) path: PathId,
    /// Size on the wire, in bytes.
    pub(crate) bytes: usize,
    pub(crate) payload: Vec<u8>,
}

impl Sent {
    /// Its frames.
    pub(crate) fn frames(&self) -> Vec<Frame<'_>> {
        Frames::new(&self.payload)
            .map(|frame| frame.expect("the core writes frames that it can read"))
            .collect()
    }

    pub(crate) fn is_ack_eliciting(&self) -> bool {
        self.frames().iter().any(Frame::is_ack_eliciting)
    }
}

/// See the module.
pub(crate) struct Endpoint {
    pub(crate) send: SendHalf,
    pub(crate) recv: RecvHalf,
    pub(crate) window: RecvWindow,
    pub(crate) received: Received,
    /// Payload bytes that the application was given.
    pub(crate) written: u64,
    update: Update,
    buffer: Vec<u8>,
    tag_bytes: usize,
    /// Packets from other paths come from the same host.
    pub(crate) port_only: bool,
    reads: bool,
    read: u64,
    told_consumed: bool,
}

impl Endpoint {
    pub(crate) fn new(setup: &Setup, now: Instant) -> Self {
        let (config, settled) = (&setup.config, &setup.settled);
        let send = SendHalf::new(config.clone(), settled, PATH, now).expect("the tests name controllers that exist");
        Self {
            buffer: vec![0; send.packet_bytes()],
            send,
            recv: RecvHalf::new(Rules {
                server: settled.server,
                max_channels: 1,
                path: PATH,
            }),
            window: RecvWindow::new(config.initial_window, config.max_window),
            received: Received::default(),
            written: 0,
            update: Update::default(),
            tag_bytes: settled.tag_bytes,
            port_only: false,
            reads: setup.reads,
            read: 0,
            told_consumed: false,
        }
    }

    /// The application writes `bytes` more of [`byte_at`].
    pub(crate) fn write(&mut self, bytes: u64) {
        let chunk: Vec<u8> = (self.written..self.written + bytes).map(byte_at).collect();
        self.written += bytes;
        self.send.write(chunk);
    }

    /// A packet arrives.
    pub(crate) fn handle_packet(&mut self, now: Instant, pn: u64, path: PathId, payload: &[u8]) {
        self.take_packet(now, pn, path, payload);
        self.digest(now);
    }

    /// A packet arrives and the sending half does not look yet.
    pub(crate) fn take_packet(&mut self, now: Instant, pn: u64, path: PathId, payload: &[u8]) {
        let opened = Opened {
            pn,
            payload,
            received_at: now,
            path,
            port_only: self.port_only,
            bytes: (payload.len() + 11 + self.tag_bytes) as u64,
            mark: None,
        };
        let limit = self.window.advertised();
        let mut news = Update::default();
        self.recv.handle_packet(&opened, limit, &mut self.received, &mut news);
        self.recv.tell_marks(&mut news);
        self.update.merge(&mut news);
    }

    /// The sending half looks at what the receiving half has learnt.
    pub(crate) fn digest(&mut self, now: Instant) {
        self.send.handle_update(now, &mut self.update);
        if self.reads {
            self.read(now);
        }
    }

    /// What the receiving half keeps for the sending half.
    pub(crate) fn update(&self) -> &Update {
        &self.update
    }

    /// The application reads all there is.
    pub(crate) fn read(&mut self, now: Instant) {
        let arrived = self.received.bytes.len() as u64;
        let new = arrived - self.read;
        self.read = arrived;
        if new > 0 && self.window.consumed(new) {
            let limit = self.window.next_limit(now, self.send.rtt().min_rtt());
            self.send.advertise(limit);
        }
        if self.received.ended && !self.told_consumed {
            self.told_consumed = true;
            self.send.consumed(arrived);
        }
    }

    /// Does all that is due and returns the packets that went out.
    pub(crate) fn step(&mut self, now: Instant) -> Vec<Sent> {
        let mut sent = Vec::new();
        self.send.close_if_complete(now);
        for _ in 0..MAX_ROUNDS {
            if self.send.next_timeout().is_some_and(|at| at <= now) {
                self.send.handle_timeout(now);
            }
            let before = sent.len();
            while let Some(transmit) = self.send.poll_path_transmit(now, &mut self.buffer) {
                sent.push(self.sent(&transmit));
            }
            while let Some(transmit) = self.send.poll_transmit(now, &mut self.buffer) {
                sent.push(self.sent(&transmit));
            }
            self.send.set_timers(now);
            if sent.len() == before && self.next_event().is_none_or(|at| at > now) {
                return sent;
            }
        }
        panic!("the deadlines do not move: {:?} at {now:?}", self.next_event());
    }

    /// When [`Endpoint::step`] must be called if nothing arrives.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        [self.send.next_timeout(), self.send.next_paced()]
            .into_iter()
            .flatten()
            .min()
    }

    fn sent(&self, transmit: &Transmit) -> Sent {
        let payload = transmit.pn_offset + transmit.pn_bytes..transmit.bytes - self.tag_bytes;
        Sent {
            pn: transmit.pn,
            path: transmit.path,
            bytes: transmit.bytes,
            payload: self.buffer[payload].to_vec(),
        }
    }
}

/// The byte at `offset` of every stream in the tests: any shift shows.
pub(crate) fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(2_654_435_761) >> 13) as u8
}

/// A payload of `frames`.
pub(crate) fn payload(frames: &[Frame<'_>]) -> Vec<u8> {
    let bytes = frames.iter().map(Frame::encoded_bytes).sum();
    let mut payload = vec![0; bytes];
    let mut writer = Writer::new(&mut payload);
    for frame in frames {
        frame.encode(&mut writer);
    }
    payload
}
