//! The sending half: everything that goes on the wire is decided here.
//!
//! It owns the send buffer, loss recovery, congestion control, what we owe in acknowledgements, the path and the
//! deadlines. It hears of the receiving half only through [`Update`]. How a packet is put together stands in
//! `transmit`, how a connection ends in `ending`.
//!
//! It is long because every input of the sender enters here and is handed on; what a piece does stands in its own file.
//!
//! RFC 9000, sections 3.1, 8 to 10 and 13; RFC 9002.

use super::ack_policy::AckPolicy;
use super::ack_tracker::AckTracker;
use super::chunk::Chunk;
use super::config::{Config, Settled};
use super::congestion::delivery_rate::Estimator;
use super::congestion::{self, AckEvent, Controller, LossEvent, SpuriousLossEvent};
use super::control::{Control, ControlFrames};
use super::ecn;
use super::ending::{Ended, Life};
use super::loss::{Detector, Fired, Outcome};
use super::pacer::Pacer;
use super::packet_builder::{Contents, Header};
use super::path::{Moved, PathId, Paths};
use super::pmtu::Pmtu;
use super::rtt::{INITIAL_RTT, Rtt};
use super::send_buffer::SendBuffer;
use super::timer::{Timer, Timers};
use super::update::{AckHead, Update};
use crate::wire::frame::close_code;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};

/// Bounds of what the application may have written and the peer not acknowledged, in bytes. In between it follows
/// twice what may be in flight, so that a window full can be in flight while the next is being written, or [`SHORT_READY`] of it.
const SEND_BUFFER: std::ops::RangeInclusive<u64> = 256 * 1024..=64 * 1024 * 1024;
/// A packet number is skipped once in this many packets on average, so that a peer that acknowledges what it never
/// received is found out (RFC 9000, section 21.4).
const SKIP_ONCE_IN: u64 = 500;
/// A path within a machine, or one switch away.
const SHORT_RTT: Duration = Duration::from_millis(1);
/// What may be ready to be sent on such a path beside what is in flight, in bytes.
const SHORT_READY: u64 = 512 * 1024;
/// No thread sleeps as short as it would have to, to pace packets on a path so short and so fast (2 Gbit/s). There the window
/// spreads them.
const UNPACED_BYTES_PER_SEC: u64 = 250_000_000;
/// Packets that a probe time-out may send (RFC 9002, section 6.2.4).
const MAX_PROBES: usize = 2;

/// What the sender counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Packets built.
    pub packets_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Payload bytes sent again.
    pub retransmitted_bytes: u64,
    /// Packets declared lost, probes for the path MTU not counted.
    pub lost_packets: u64,
    /// Packets declared lost and acknowledged later.
    pub spurious_losses: u64,
    /// Probe time-outs fired.
    pub probe_timeouts: u64,
}

/// How far sending has come, for the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Payload bytes acknowledged from the start without a gap.
    pub acked_offset: u64,
    /// Written and not acknowledged, in bytes.
    pub unacked_bytes: u64,
    /// What the send buffer may hold, in bytes.
    pub buffer_limit: u64,
    /// The FIN and everything before it was acknowledged.
    pub finished: bool,
    /// The peer's application read to the end.
    pub consumed: bool,
    /// The peer asked us to stop (code).
    pub stopped: Option<u64>,
}

/// See the module.
pub struct SendHalf {
    pub(super) config: Config,
    pub(super) header: Header,
    pub(super) peer_max_ack_delay: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) pmtu: Pmtu,
    pub(super) rng: ChaCha8Rng,
    pub(super) next_pn: u64,
    pub(super) skip_at: u64,
    pub(super) detector: Detector<Contents>,
    outcome: Outcome<Contents>,
    pub(super) estimator: Estimator,
    pub(super) rtt: Rtt,
    pub(super) controller: Box<dyn Controller>,
    pub(super) pacer: Pacer,
    pub(super) pacing_until: Option<Instant>,
    pub(super) buffer: SendBuffer,
    pub(super) max_data: u64,
    pub(super) control: ControlFrames,
    pub(super) acks: AckTracker,
    ack_policy: AckPolicy,
    pub(super) ecn: ecn::Validation,
    pub(super) paths: Paths,
    pub(super) timers: Timers,
    pub(super) probes: u32,
    pub(super) life: Life,
    pub(super) last_received: Instant,
    last_ping: Instant,
    pub(super) receive_done: bool,
    pub(super) peer_consumed: bool,
    pub(super) stopped: Option<u64>,
    pub(super) abandoned: bool,
    pub(super) counters: Counters,
}

impl SendHalf {
    /// Starts after the handshake, on the path that the handshake used. `None` if the congestion controller has no
    /// such name.
    pub fn new(config: Config, settled: &Settled, path: PathId, now: Instant) -> Option<Self> {
        let pmtu = Pmtu::new(
            config.packet_bytes.min(settled.peer_max_packet),
            config.max_packet_bytes.min(settled.peer_max_packet),
        );
        let packet_bytes = pmtu.current();
        let mut rtt = Rtt::new(INITIAL_RTT);
        if let Some(sample) = settled.rtt {
            rtt.update(sample, Duration::ZERO);
        }
        let mut control = ControlFrames::default();
        if settled.server {
            control.handshake_done();
        }
        let header = Header {
            form: settled.form,
            destination_id: settled.remote_id,
            key_phase: false,
            tag_bytes: settled.tag_bytes,
        };
        let controller = congestion::by_name(&config.congestion, packet_bytes as u64).ok()?;
        let mut half = Self {
            header,
            peer_max_ack_delay: settled.peer_max_ack_delay,
            idle_timeout: settled.idle_timeout,
            pmtu,
            rng: ChaCha8Rng::seed_from_u64(settled.seed),
            next_pn: 0,
            skip_at: 0,
            detector: Detector::new(settled.peer_max_ack_delay),
            outcome: Outcome::default(),
            estimator: Estimator::new(now),
            rtt,
            controller,
            pacer: Pacer::new(now, packet_bytes as u64),
            pacing_until: None,
            buffer: SendBuffer::new(),
            max_data: settled.initial_max_data,
            control,
            acks: AckTracker::new(config.max_ack_delay),
            ack_policy: AckPolicy::new(settled.peer_max_ack_delay),
            ecn: ecn::Validation::default(),
            paths: Paths::new(path),
            timers: Timers::default(),
            probes: 0,
            life: Life::Open,
            last_received: now,
            last_ping: now,
            receive_done: false,
            peer_consumed: false,
            stopped: None,
            abandoned: false,
            counters: Counters::default(),
            config,
        };
        half.choose_skip();
        half.set_timers(now);
        Some(half)
    }

    // --- Questions.

    /// When [`SendHalf::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// There is something to send, but not before this moment.
    pub fn next_paced(&self) -> Option<Instant> {
        self.pacing_until
    }

    /// How many packets that want an acknowledgement may be gathered before the sender looks, and whether its timer
    /// for acknowledgements runs.
    pub fn look_after(&self) -> (u64, bool) {
        (self.acks.look_after(), self.acks.next_timeout().is_some())
    }

    /// How far sending has come.
    pub fn progress(&self) -> Progress {
        // What the peer does not let out need not be kept ready, however wide the congestion window.
        let usable = self
            .controller
            .window()
            .min(self.detector.bytes_in_flight() + self.credit());
        // What was sent is held until the first byte of it is acknowledged: behind a packet that is lost again and again that
        // is more than is in flight.
        let held = self.buffer.sent_offset() - self.buffer.acked_offset();
        // What is sent next must be there by then. Within a machine an application is woken in time for less than a window,
        // and less stays in the cache.
        let ready = if self.is_short() {
            usable.min(SHORT_READY)
        } else {
            usable
        };
        Progress {
            acked_offset: self.buffer.acked_offset(),
            unacked_bytes: self.buffer.unacked_bytes(),
            buffer_limit: (usable.max(held) + ready).clamp(*SEND_BUFFER.start(), *SEND_BUFFER.end()),
            finished: self.buffer.is_finished(),
            consumed: self.peer_consumed,
            stopped: self.stopped,
        }
    }

    /// Round-trip times.
    pub fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// Probe time-out without back-off.
    pub fn pto(&self) -> Duration {
        self.rtt.pto_base(self.peer_max_ack_delay)
    }

    /// Probe time-outs in a row, since anything was acknowledged.
    pub fn pto_count(&self) -> u32 {
        self.detector.pto_count()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The congestion controller.
    pub fn controller(&self) -> &dyn Controller {
        &*self.controller
    }

    /// Sent and neither acknowledged nor lost, in bytes.
    pub fn bytes_in_flight(&self) -> u64 {
        self.detector.bytes_in_flight()
    }

    /// What the peer allows us to send beyond what we have sent, in bytes.
    pub fn credit(&self) -> u64 {
        self.max_data.saturating_sub(self.buffer.sent_offset())
    }

    /// Something that was written waits to be sent, for the first time or again.
    pub fn has_unsent(&self) -> bool {
        self.buffer.has_lost() || self.buffer.end_offset() > self.buffer.sent_offset()
    }

    /// More to send would be sent at once, or the peer be told that it must wait. If not, an acknowledgement, credit or
    /// the pacer come first.
    pub fn is_hungry(&self) -> bool {
        let in_flight = self.detector.bytes_in_flight();
        let has_window = in_flight == 0 || in_flight + self.packet_bytes() as u64 <= self.controller.window();
        !self.has_unsent() || (self.pacing_until.is_none() && has_window && self.credit() > 0)
    }

    /// Size in bytes of full packets.
    pub fn packet_bytes(&self) -> usize {
        self.pmtu.current()
    }

    /// Size in bytes of the largest packet that may ever be built: full packets may become as large.
    pub fn largest_packet_bytes(&self) -> usize {
        self.pmtu.max()
    }

    /// Packet sizes that worked and then did not any more.
    pub fn mtu_black_holes(&self) -> u64 {
        self.pmtu.black_holes()
    }

    /// What is known of ECN marks on the path.
    pub fn ecn(&self) -> &ecn::Validation {
        &self.ecn
    }

    /// The path that packets take.
    pub fn active_path(&self) -> PathId {
        self.paths.active()
    }

    /// How the connection ended, once it has.
    pub fn ended(&self) -> Option<&Ended> {
        self.life.ended()
    }

    /// Nothing more will be sent: the driver may go.
    pub fn is_closed(&self) -> bool {
        matches!(self.life, Life::Closed(_))
    }

    /// The number of the next packet.
    pub fn next_pn(&self) -> u64 {
        self.next_pn
    }

    /// The highest number that the peer has acknowledged.
    pub fn largest_acked(&self) -> Option<u64> {
        self.detector.largest_acked()
    }

    /// The key phase bit of the packets to come (RFC 9001, section 6).
    pub fn set_key_phase(&mut self, key_phase: bool) {
        self.header.key_phase = key_phase;
    }

    // --- Commands of the application.

    /// Takes bytes to send.
    pub fn write(&mut self, chunk: impl Into<Chunk>) {
        if self.stopped.is_none() && self.life.is_open() {
            self.buffer.push(chunk);
        }
    }

    /// Nothing more will be written: a FIN goes behind the last byte.
    pub fn finish(&mut self) {
        if self.stopped.is_none() {
            self.buffer.finish();
        }
    }

    /// The peer may send up to the absolute offset `max`.
    pub fn advertise(&mut self, max: u64) {
        self.control.max_data(max);
    }

    /// The application read the peer's stream to its end.
    pub fn consumed(&mut self, final_size: u64) {
        // The application may know before the update of the receiving half has come: nothing is left to stop.
        self.receive_done = true;
        self.control.consumed(final_size);
    }

    /// The application no longer reads.
    pub fn stop_reading(&mut self) {
        if !self.receive_done {
            self.control.stop(close_code::NO_ERROR);
        }
    }

    /// Small writes go out at once, or wait for full packets while data is in flight.
    pub fn set_nodelay(&mut self, nodelay: bool) {
        self.config.nodelay = nodelay;
    }

    /// The memory of a fully acknowledged copy, empty, to be filled again.
    pub fn poll_recycled(&mut self) -> Option<Vec<u8>> {
        self.buffer.poll_recycled()
    }

    // --- Inputs from network and clock.

    /// Takes what the receiving half learnt, and leaves `update` empty.
    pub fn handle_update(&mut self, now: Instant, update: &mut Update) {
        let Some(last_received) = update.last_received else {
            return;
        };
        self.last_received = last_received;
        if update.state_lost {
            self.state_lost();
            update.reset();
            return;
        }
        if !self.life.is_open() {
            self.handle_update_while_closing(now, update);
            update.reset();
            return;
        }
        self.acks.handle_update(update);
        if let Some((pn, _)) = update.largest_received
            && update.path.is_none_or(|seen| seen.pn < pn)
        {
            self.paths.handle_active(pn);
        }
        self.handle_acks(now, update);
        if update.max_data > self.max_data {
            self.max_data = update.max_data;
        }
        if let Some(limit) = update.peer_blocked {
            self.control.handle_blocked(limit, now, self.rtt.smoothed_rtt());
        }
        if let Some(code) = update.stop {
            self.handle_stop(code);
        }
        if let Some(final_size) = update.consumed {
            self.handle_consumed(now, final_size);
        }
        self.receive_done |= update.receive_done;
        self.handle_path_news(now, update);
        if let Some(close) = update.closed.take() {
            self.handle_peer_close(now, close);
        } else if let Some(close) = update.violation.take() {
            self.close_for_violation(now, close);
        }
        update.reset();
        self.close_if_complete(now);
        self.set_timers(now);
    }

    fn handle_acks(&mut self, now: Instant, update: &Update) {
        for (head, ranges) in update.acks.iter() {
            let ack_delay = head.ack_delay.min(self.peer_max_ack_delay);
            let largest_before = self.detector.largest_acked();
            let result = self.detector.on_ack(
                head.received_at,
                ranges.iter().cloned(),
                ack_delay,
                &mut self.rtt,
                &mut self.outcome,
            );
            if result.is_err() {
                let reason = "acknowledged a packet that was never sent";
                self.close(now, close_code::PROTOCOL_VIOLATION, reason);
                return;
            }
            let advances = self.detector.largest_acked() > largest_before;
            self.settle(head.received_at, Some((head, advances)));
        }
    }

    /// Tells everybody what became of packets, by an ACK frame (and whether it is the newest) or by time.
    fn settle(&mut self, at: Instant, ack: Option<(&AckHead, bool)>) {
        let mut outcome = std::mem::take(&mut self.outcome);
        let mut marked_acked = 0;
        for (pn, packet) in &outcome.acked {
            marked_acked += u64::from(packet.is_marked && self.ecn.is_of_this_path(*pn));
            self.pmtu.on_acked(*pn, packet.size_bytes as usize);
            let contents = &packet.contents;
            for range in contents.streams.iter().flatten() {
                self.buffer.acked(*range);
            }
            if !contents.control.is_empty() {
                self.control.acked(*pn, contents.control);
            }
            if let Some(largest) = contents.acked_up_to {
                self.acks.acked(largest);
            }
        }
        let mut marked_lost = 0;
        for (pn, packet) in &outcome.lost {
            marked_lost += u64::from(packet.is_marked && self.ecn.is_of_this_path(*pn));
            self.pmtu.on_lost(*pn, packet.size_bytes as usize);
            for range in packet.contents.streams.iter().flatten() {
                self.buffer.lost(*range);
            }
            self.control.lost(*pn, packet.contents.control);
        }
        self.counters.lost_packets += outcome.lost_pkts;
        self.counters.spurious_losses += outcome.spurious;
        let is_marked = ack.is_some_and(|(head, advances)| self.ecn.on_ack(head.ecn, marked_acked, advances));
        self.inform_controller(at, &outcome, is_marked);
        if let Some((pkts, earliest_sent_at)) = self.ecn.on_lost(marked_lost) {
            self.controller.on_spurious_loss(&SpuriousLossEvent {
                now: at,
                pkts,
                earliest_sent_at,
            });
            self.pacer.set_rate(self.pacing_rate());
        }
        self.pmtu.suspect_a_black_hole();
        self.follow_pmtu();
        self.ask_for_acks();
        outcome.clear();
        self.outcome = outcome;
    }

    fn inform_controller(&mut self, now: Instant, outcome: &Outcome<Contents>, is_marked: bool) {
        let bytes_in_flight = self.detector.bytes_in_flight();
        if let Some(earliest_sent_at) = outcome.earliest_spurious_sent_at {
            self.controller.on_spurious_loss(&SpuriousLossEvent {
                now,
                pkts: outcome.spurious,
                earliest_sent_at,
            });
        }
        if let Some(largest_lost_sent_at) = outcome.largest_lost_sent_at {
            self.controller.on_loss(&LossEvent {
                now,
                largest_lost_sent_at,
                lost_bytes: outcome.lost_bytes,
                lost_pkts: outcome.lost_pkts,
                bytes_in_flight,
                persistent_congestion: outcome.persistent_congestion,
            });
        }
        self.estimator.on_lost(outcome.lost_bytes);
        if let Some(largest_acked_sent_at) = outcome.largest_acked_sent_at {
            if is_marked {
                self.controller.on_ecn_ce(now, largest_acked_sent_at);
            }
            let app_limited = !self.used_its_window(bytes_in_flight, outcome);
            let rate = self.estimator.on_ack(now, outcome.deliveries(), self.rtt.min_rtt());
            self.controller.on_ack(&AckEvent {
                now,
                newly_acked_bytes: outcome.newly_acked_bytes,
                largest_acked_sent_at,
                bytes_in_flight,
                rtt: &self.rtt,
                app_limited,
                rate,
                lost_bytes: outcome.lost_bytes,
            });
        }
        self.pacer.set_rate(self.pacing_rate());
    }

    /// What the controller says, in bytes per second; `u64::MAX` where pacing would only cost wake-ups.
    pub fn pacing_rate(&self) -> u64 {
        let rate = self.controller.pacing_rate(&self.rtt);
        if self.is_short() && rate > UNPACED_BYTES_PER_SEC {
            return u64::MAX;
        }
        rate
    }

    fn is_short(&self) -> bool {
        self.rtt.has_sample() && self.rtt.smoothed_rtt() < SHORT_RTT
    }

    /// Our own system says that a packet of `bytes` is too large for it. The packet itself counts as lost in its time.
    pub fn handle_oversize(&mut self, bytes: usize) {
        self.pmtu.on_oversize(bytes);
        self.follow_pmtu();
    }

    /// Tells those who reckon in full packets, when their size has changed.
    fn follow_pmtu(&mut self) {
        let bytes = self.pmtu.current() as u64;
        if self.pacer.mtu() != bytes {
            self.controller.on_mtu_change(bytes);
            self.pacer.on_mtu_change(bytes);
        }
    }

    /// Tells the peer how often we want to hear from it, and reckons with its delay once it knows.
    fn ask_for_acks(&mut self) {
        let (window, packet_bytes) = (self.controller.window(), self.packet_bytes() as u64);
        if let Some(request) = self.ack_policy.poll(window, packet_bytes, self.rtt.smoothed_rtt()) {
            self.control
                .ack_frequency(request.packets, request.max_delay.as_micros() as u64);
        }
        if self.control.is_acked(Control::ACK_FREQUENCY) {
            self.peer_max_ack_delay = self.ack_policy.current().max_delay;
            self.detector.on_max_ack_delay(self.peer_max_ack_delay);
        }
    }

    /// Whether the window was what limited us before this acknowledgement came. If not, it says nothing about a wider
    /// one (RFC 9002, section 7.8). In slow start half a window counts: it doubles within a round.
    fn used_its_window(&self, bytes_in_flight: u64, outcome: &Outcome<Contents>) -> bool {
        let before = bytes_in_flight + outcome.newly_acked_bytes + outcome.lost_bytes;
        let window = self.controller.window();
        if window < self.controller.ssthresh() {
            2 * before >= window
        } else {
            before + 2 * self.packet_bytes() as u64 >= window
        }
    }

    /// The peer no longer reads: what was not sent never will be (RFC 9000, section 3.5).
    fn handle_stop(&mut self, code: u64) {
        if self.stopped.is_none() && !self.buffer.is_finished() {
            self.stopped = Some(code);
            self.control.reset(code, self.buffer.sent_offset());
            self.buffer.discard();
        }
    }

    /// The peer's application read to the end. It cannot have, unless it got our FIN.
    fn handle_consumed(&mut self, now: Instant, final_size: u64) {
        if self.buffer.fin_sent() && self.buffer.final_size() == Some(final_size) {
            self.peer_consumed = true;
            // Who has read everything has received it, though the packets may count as lost.
            self.buffer.acked_all();
        } else if self.stopped.is_none() {
            let reason = "read to an end that the stream does not have";
            self.close(now, close_code::PROTOCOL_VIOLATION, reason);
        }
    }

    fn handle_path_news(&mut self, now: Instant, update: &mut Update) {
        if let Some(seen) = update.path.take() {
            let challenge = self.rng.random();
            self.paths.handle_other(&seen, challenge);
        }
        if let Some((path, data)) = update.path_challenge.take() {
            self.paths.handle_challenge(path, data);
        }
        if let Some((path, data)) = update.path_response.take()
            && let Some(moved) = self.paths.handle_response(path, data)
        {
            self.detector.on_path_change();
            self.ecn.on_path_change(self.next_pn);
            if moved == Moved::Elsewhere {
                // RFC 9000, section 9.4: nothing is known of the new path.
                self.rtt.reset();
                self.pmtu.reset();
                self.follow_pmtu();
                self.controller.reset(now);
            }
        }
    }

    /// A deadline passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_end_timeout(now);
        if self.life.is_open() {
            if self.timers.is_due(Timer::Loss, now) {
                self.handle_loss_timeout(now);
            }
            if self.timers.is_due(Timer::KeepAlive, now) {
                self.control.ping();
                self.last_ping = now;
            }
            if self.timers.is_due(Timer::Path, now) {
                self.paths.handle_timeout();
            }
        }
        self.set_timers(now);
    }

    /// Looks only at the deadlines that end the connection: while the carrier takes nothing, all others must wait.
    pub fn handle_end_timeout(&mut self, now: Instant) {
        if self.timers.is_due(Timer::Close, now) {
            self.handle_close_timeout(now);
        }
        if self.timers.is_due(Timer::Idle, now) {
            // RFC 9000, section 10.1: silently, for nobody listens. If both directions are whole only the peer's close
            // is missing, and the peer has gone because it needed nothing more.
            let complete = self.buffer.is_finished() && self.receive_done;
            self.life = Life::Closed(if complete { Ended::Complete } else { Ended::Idle });
            self.timers.clear();
        }
    }

    fn handle_loss_timeout(&mut self, now: Instant) {
        match self.detector.on_timeout(now, &mut self.rtt, &mut self.outcome) {
            Fired::LossDetected => self.settle(now, None),
            Fired::Probe { count } => {
                self.counters.probe_timeouts += 1;
                self.probes = count;
                self.prepare_probes();
            }
        }
    }

    /// Probes carry new data if there is any, else what was sent longest ago (RFC 9002, section 6.2.4). One for which
    /// nothing is left becomes a PING. What the peer may be waiting for goes along in any case: it is small, and new
    /// data is no help to a peer that must not send.
    fn prepare_probes(&mut self) {
        let has_new = self.control.is_pending() || self.buffer.can_send(self.max_data);
        self.control.repeat_unacked();
        if has_new {
            return;
        }
        let mut oldest = [None; MAX_PROBES];
        let open = self.detector.sent().iter().filter(|(_, p)| p.ack_eliciting);
        for (slot, (pn, packet)) in oldest.iter_mut().take(self.probes as usize).zip(open) {
            *slot = Some((pn, packet.contents));
        }
        for (pn, contents) in oldest.into_iter().flatten() {
            for range in contents.streams.iter().flatten() {
                self.buffer.lost(*range);
            }
            self.control.lost(pn, contents.control);
        }
    }

    /// Gives back memory that is kept for speed only, when the stream falls idle.
    pub fn release_memory(&mut self) {
        self.buffer.release_memory();
        self.detector.release_memory();
        self.outcome = Outcome::default();
    }

    /// The carrier took no packet between `since` and `until`, and the packets given to it after `since` were on the
    /// way only from `until` on.
    pub fn handle_stall(&mut self, since: Instant, until: Instant) {
        self.detector.carrier_stalled(since, until);
        self.set_timers(until);
    }

    /// When the last authentic packet came.
    pub fn last_heard(&self) -> Instant {
        self.last_received
    }

    /// Sets every deadline anew. Once for all packets of a batch, for it costs as much as to build one.
    pub fn set_timers(&mut self, now: Instant) {
        if !self.life.is_open() {
            return;
        }
        self.timers.set(Timer::Loss, self.detector.timeout(&self.rtt));
        self.timers.set(Timer::Ack, self.acks.next_timeout());
        self.timers
            .set(Timer::Idle, Some(self.last_received + self.idle_timeout));
        let heard = self.last_received.max(self.last_ping);
        self.timers.set(
            Timer::KeepAlive,
            self.config.keep_alive.map(|every| (heard + every).max(now)),
        );
        self.timers.set(Timer::Path, self.paths.next_timeout());
    }

    pub(super) fn choose_skip(&mut self) {
        self.skip_at = self.next_pn + 1 + self.rng.random_range(0..2 * SKIP_ONCE_IN);
    }

    /// Frames other than data wait to be sent.
    pub(super) fn has_control(&self) -> bool {
        self.control.is_pending()
    }

    /// Whether the peer knows that our application read its stream to the end.
    pub(super) fn consumed_is_known(&self) -> bool {
        self.control.is_acked(Control::CONSUMED)
    }
}
