//! A small language for tests of the core: at a time, an event; then what must follow.
//!
//! ```text
//!   let mut script = Script::new();
//!   script.write(4 * FULL);
//!   script.expect_packet().stream(0..1000);
//!   ...
//!   script.at(100.ms()).ack(0..=3);
//!   script.expect_nothing();
//! ```
//!
//! Time is virtual. Every packet that the core sends must be expected before the next input, so nothing happens
//! unseen. A failure prints the transcript of all steps.

pub(crate) mod endpoint;
mod expect;
mod pair;

pub(crate) use endpoint::{Endpoint, FULL, FULL_PACKET, PATH, Setup};
pub(crate) use expect::Expected;
pub(crate) use pair::{Pair, Side};

pub(crate) use endpoint::{Sent, byte_at, payload};
use securestream::proto::path::PathId;
use securestream::wire::codec::Writer;
use securestream::wire::frame::{Frame, Frames, encode_ack};
use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::time::{Duration, Instant};

/// `30.ms()` reads better than `Duration::from_millis(30)` in a script.
pub(crate) trait Time {
    fn us(self) -> Duration;
    fn ms(self) -> Duration;
    fn s(self) -> Duration;
}

impl Time for u64 {
    fn us(self) -> Duration {
        Duration::from_micros(self)
    }

    fn ms(self) -> Duration {
        Duration::from_millis(self)
    }

    fn s(self) -> Duration {
        Duration::from_secs(self)
    }
}

/// Any moment to count from.
#[expect(
    clippy::disallowed_methods,
    reason = "any moment will do as the origin; it never moves by itself"
)]
pub(crate) fn origin() -> Instant {
    Instant::now()
}

/// See the module.
pub(crate) struct Script {
    start: Instant,
    now: Instant,
    endpoint: Endpoint,
    peer_pn: u64,
    unseen: VecDeque<Sent>,
    transcript: Vec<String>,
}

impl Script {
    /// The default [`Setup`].
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A changed [`Setup`].
    pub(crate) fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let start = origin();
        Self {
            start,
            now: start,
            endpoint: Endpoint::new(&setup, start),
            peer_pn: 0,
            unseen: VecDeque::new(),
            transcript: Vec::new(),
        }
    }

    // --- Time.

    /// Lets time pass until `since_start`. Deadlines on the way are kept.
    pub(crate) fn at(&mut self, since_start: Duration) -> &mut Self {
        let until = self.start + since_start;
        if until < self.now {
            self.fail(&format!("the script goes back to {since_start:?}"));
        }
        while let Some(next) = self.endpoint.next_event().filter(|at| *at <= until) {
            self.run(next.max(self.now));
        }
        self.now = until;
        self
    }

    /// Lets time pass.
    pub(crate) fn after(&mut self, passed: Duration) -> &mut Self {
        self.at(self.elapsed() + passed)
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn run(&mut self, now: Instant) {
        self.now = now;
        for sent in self.endpoint.step(now) {
            self.note(&format!("-> {}", describe(&sent)));
            self.unseen.push_back(sent);
        }
    }

    // --- Events.

    /// Anything that the script has no word for.
    pub(crate) fn event<R>(&mut self, name: &str, event: impl FnOnce(&mut Endpoint, Instant) -> R) -> R {
        self.expect_all_seen();
        self.note(&format!("   {name}"));
        let result = event(&mut self.endpoint, self.now);
        self.run(self.now);
        result
    }

    /// The application writes.
    pub(crate) fn write(&mut self, bytes: u64) -> &mut Self {
        self.event(&format!("write {bytes} bytes"), |e, _| e.write(bytes));
        self
    }

    /// The application is done writing.
    pub(crate) fn finish(&mut self) -> &mut Self {
        self.event("finish", |e, _| e.send.finish());
        self
    }

    /// A packet of the peer arrives.
    pub(crate) fn receive(&mut self, frames: &[Frame<'_>]) -> &mut Self {
        self.receive_on(PATH, frames)
    }

    /// A packet of the peer arrives on `path`.
    pub(crate) fn receive_on(&mut self, path: PathId, frames: &[Frame<'_>]) -> &mut Self {
        let pn = self.peer_pn;
        self.receive_numbered(pn, path, &payload(frames))
    }

    /// A packet of the peer with any number and payload arrives.
    pub(crate) fn receive_numbered(&mut self, pn: u64, path: PathId, payload: &[u8]) -> &mut Self {
        self.peer_pn = self.peer_pn.max(pn + 1);
        let said = describe_payload(payload);
        let name = format!("<- {pn} (path {}): {said}", path.0);
        self.event(&name, |e, now| e.handle_packet(now, pn, path, payload));
        self
    }

    /// Packets of the peer do not arrive.
    pub(crate) fn peer_packets_lost(&mut self, packets: u64) -> &mut Self {
        self.note(&format!("   {packets} packets of the peer are lost"));
        self.peer_pn += packets;
        self
    }

    /// The peer acknowledges `range`, at once.
    pub(crate) fn ack(&mut self, range: RangeInclusive<u64>) -> &mut Self {
        self.ack_ranges(&[range])
    }

    /// The peer acknowledges `ranges`, highest first, at once.
    pub(crate) fn ack_ranges(&mut self, ranges: &[RangeInclusive<u64>]) -> &mut Self {
        let payload = ack_payload(ranges, Duration::ZERO);
        let pn = self.peer_pn;
        self.receive_numbered(pn, PATH, &payload)
    }

    /// The peer sends these bytes of its stream.
    pub(crate) fn receive_stream(&mut self, range: Range<u64>) -> &mut Self {
        self.receive_stream_piece(range, false)
    }

    /// The peer sends these bytes of its stream, which ends behind them.
    pub(crate) fn receive_stream_end(&mut self, range: Range<u64>) -> &mut Self {
        self.receive_stream_piece(range, true)
    }

    fn receive_stream_piece(&mut self, range: Range<u64>, fin: bool) -> &mut Self {
        let data: Vec<u8> = range.clone().map(byte_at).collect();
        self.receive(&[Frame::Stream {
            channel: 0,
            offset: range.start,
            fin,
            data: &data,
        }])
    }

    // --- Expectations.

    /// The next packet that was sent, before now.
    pub(crate) fn expect_packet(&mut self) -> Expected<'_> {
        match self.unseen.pop_front() {
            Some(sent) => Expected::new(self, sent),
            None => self.fail("expected a packet, but none was sent"),
        }
    }

    /// Nothing is sent until `since_start`, and then a packet.
    pub(crate) fn expect_packet_at(&mut self, since_start: Duration) -> Expected<'_> {
        self.expect_all_seen();
        while self.unseen.is_empty() {
            match self.endpoint.next_event() {
                Some(next) => self.run(next.max(self.now)),
                None => self.fail("expected a packet, but none will ever be sent"),
            }
        }
        let elapsed = self.elapsed();
        // Timers count in nanoseconds; a test that is right to the microsecond is right.
        if elapsed.abs_diff(since_start) >= Duration::from_micros(1) {
            self.fail(&format!(
                "expected a packet at {since_start:?}, but it was sent at {elapsed:?}"
            ));
        }
        self.expect_packet()
    }

    /// A packet was sent that was not expected yet.
    pub(crate) fn has_unseen(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// Every packet sent so far was expected.
    pub(crate) fn expect_nothing(&mut self) -> &mut Self {
        self.expect_all_seen();
        self
    }

    /// The next deadline.
    pub(crate) fn expect_timeout(&mut self, since_start: impl Into<Option<Duration>>) -> &mut Self {
        let expected = since_start.into();
        let found = self.endpoint.send.next_timeout().map(|at| at - self.start);
        let same = match (expected, found) {
            (Some(a), Some(b)) => a.abs_diff(b) < Duration::from_micros(1),
            (a, b) => a == b,
        };
        if !same {
            self.fail(&format!(
                "expected the next deadline at {expected:?}, but it is {found:?}"
            ));
        }
        self
    }

    /// Something is true of the endpoint.
    pub(crate) fn check(&mut self, what: &str, is_true: impl FnOnce(&Endpoint) -> bool) -> &mut Self {
        if !is_true(&self.endpoint) {
            self.fail(what);
        }
        self
    }

    /// Packets from other paths come from the same host from now on.
    pub(crate) fn only_ports_change(&mut self) -> &mut Self {
        self.endpoint.port_only = true;
        self
    }

    /// The endpoint itself.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn expect_all_seen(&mut self) {
        if let Some(sent) = self.unseen.front() {
            let what = format!("sent unexpectedly: {}", describe(sent));
            self.fail(&what);
        }
    }

    fn note(&mut self, what: &str) {
        let at = self.elapsed().as_secs_f64() * 1e3;
        self.transcript.push(format!("{at:12.3} ms  {what}"));
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!("{what}, at {:?}\n\n{}\n", self.elapsed(), self.transcript.join("\n"));
    }
}

/// A payload with one ACK frame.
pub(crate) fn ack_payload(ranges: &[RangeInclusive<u64>], delay: Duration) -> Vec<u8> {
    let mut payload = vec![0; 1000];
    let mut writer = Writer::new(&mut payload);
    let delay_us = delay.as_micros() as u64;
    let written = encode_ack(&mut writer, delay_us, ranges.iter().cloned(), None);
    assert_eq!(written, ranges.len(), "a script acknowledges what fits");
    let bytes = writer.position();
    payload.truncate(bytes);
    payload
}

fn describe(sent: &Sent) -> String {
    format!(
        "{} ({} bytes, path {}): {}",
        sent.pn,
        sent.bytes,
        sent.path.0,
        describe_payload(&sent.payload)
    )
}

fn describe_payload(payload: &[u8]) -> String {
    let frames = Frames::new(payload).map(|frame| match frame {
        Err(_) => "malformed".into(),
        Ok(Frame::Stream { offset, fin, data, .. }) => {
            let end = offset + data.len() as u64;
            format!("Stream {offset}..{end}{}", if fin { " FIN" } else { "" })
        }
        Ok(Frame::Ack(ack)) => format!("Ack {:?}", ack.ranges().collect::<Vec<_>>()),
        Ok(Frame::Padding { bytes }) => format!("Padding {bytes}"),
        Ok(frame) => format!("{frame:?}"),
    });
    frames.collect::<Vec<String>>().join(", ")
}
