//! The engine between the two levels: bytes in order go in, bytes and keys come out (RFC 9001, section 4.1).

use std::time::Instant;

use super::Exchange;
use crate::crypto::engine::{EngineError, KeyChange, Side};
use crate::stream::handshake::space::Space;
use crate::stream::handshake::stop::{Level, Stop, late_bytes, violation};
use crate::stream::handshake::work::{Done, Output, Step, Work, step};
use crate::wire::close_code;
use crate::wire::packet::LongType;
use crate::wire::params::TransportParams;

impl Exchange {
    /// Lets the engine speak first: the client's.
    pub(in crate::stream::handshake) fn start(&mut self, now: Instant) {
        if let Some(engine) = self.engine.as_mut() {
            let result = step(&mut **engine, &[]);
            self.handle_step(result, now);
        }
    }

    /// Lets the engine read what is in order and say what it has to say. A slow engine of a server waits for
    /// [`Exchange::poll_work`] instead.
    pub(super) fn advance(&mut self, now: Instant) {
        while self.is_running() && self.is_readable() && !self.is_work_due() {
            let level = self.read_level;
            let Some(engine) = self.engine.as_mut() else {
                return;
            };
            let space = if level == Level::Initial {
                &mut self.initial
            } else {
                &mut self.handshake
            };
            let Some(input) = space.as_mut().map(|space| space.receive.read()) else {
                return;
            };
            let result = step(&mut **engine, &input);
            self.handle_step(result, now);
        }
    }

    fn is_work_due(&self) -> bool {
        let is_slow = self.side == Side::Server && self.engine.as_ref().is_some_and(|engine| engine.is_slow());
        is_slow && self.is_readable()
    }

    fn is_readable(&self) -> bool {
        let space = if self.read_level == Level::Initial {
            &self.initial
        } else {
            &self.handshake
        };
        space.as_ref().is_some_and(|space| space.receive.is_readable())
    }

    pub(in crate::stream::handshake) fn has_work(&self) -> bool {
        self.is_running() && self.is_work_due()
    }

    /// A step for a worker. The engine is gone until [`Exchange::handle_done`]; meanwhile bytes are buffered.
    pub(in crate::stream::handshake) fn poll_work(&mut self) -> Option<Work> {
        if !self.has_work() {
            return None;
        }
        let level = self.read_level;
        let input = self.space(level)?.receive.read();
        let engine = self.engine.take()?;
        Some(Work { engine, input })
    }

    pub(in crate::stream::handshake) fn handle_done(&mut self, done: Done, now: Instant) {
        self.engine = Some(done.engine);
        if self.is_running() {
            self.handle_step(done.result, now);
            self.advance(now);
        }
    }

    fn handle_step(&mut self, result: Result<Step, EngineError>, now: Instant) {
        if let Err(stop) = result.map_err(Stop::from).and_then(|step| self.apply(step)) {
            self.stop(stop, now);
        }
    }

    fn apply(&mut self, step: Step) -> Result<(), Stop> {
        if let Some(bytes) = step.peer_params.filter(|_| self.peer_params.is_none()) {
            let unreadable = "transport parameters that cannot be read";
            let params =
                TransportParams::decode(&bytes).map_err(|_| violation(close_code::TRANSPORT_PARAMETER, unreadable))?;
            self.ids
                .check(&params, self.side)
                .map_err(|reason| violation(close_code::TRANSPORT_PARAMETER, reason))?;
            self.peer_params = Some(params);
        }
        for output in step.outputs {
            match output {
                Output::Bytes(bytes) => {
                    let level = self.write_level;
                    // No mode has handshake bytes at the 1-RTT level: no tickets.
                    if let Some(space) = self.space(level) {
                        space.send.push(bytes);
                    }
                }
                Output::Keys(KeyChange::Handshake(keys)) => {
                    if self.initial.as_ref().is_some_and(|space| space.receive.has_more()) {
                        return Err(late_bytes());
                    }
                    self.handshake = Some(Space::new(LongType::Handshake, keys));
                    self.read_level = Level::Handshake;
                    self.write_level = Level::Handshake;
                    if self.side == Side::Client {
                        // The server has all of our hello, or it had no keys (RFC 9001, section 4.9.1, one step early).
                        self.initial = None;
                        self.pto_count = 0;
                    }
                }
                Output::Keys(KeyChange::OneRtt(keys)) => {
                    self.one_rtt = Some(keys);
                    self.write_level = Level::OneRtt;
                }
            }
        }
        if step.is_complete && !self.is_complete {
            if self.handshake.as_ref().is_some_and(|space| space.receive.has_more()) {
                return Err(late_bytes());
            }
            if self.peer_params.is_none() {
                return Err(violation(close_code::TRANSPORT_PARAMETER, "no transport parameters"));
            }
            self.is_complete = true;
            self.peer_identity = step.peer_identity;
        }
        Ok(())
    }
}
