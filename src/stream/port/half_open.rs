//! Handshakes that go on at a port: which packets are for which, their deadlines, and their turn at the signing pool.
//!
//! Sans-IO: datagrams and the time in; datagrams, work, deadlines and outcomes out. RFC 9000, sections 5.2 and 7.

use crate::error::StreamError;
use crate::stream::handshake::{Done, Established, Server, Work};
use crate::subsystem::PathId;
use crate::wire::packet::ConnectionId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

#[derive(Debug)]
struct HalfOpen {
    server: Server,
    path: PathId,
    /// The deadline that stands in the heap.
    armed: Option<Instant>,
    /// It stands in the queue for work.
    waits_for_work: bool,
}

/// A handshake has come to something.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) local_id: ConnectionId,
    pub(super) path: PathId,
    /// How it ended, told once.
    pub(super) outcome: Option<Result<Established, StreamError>>,
    /// It is forgotten from now on; this is the other id that its client used.
    pub(super) forgotten: Option<ConnectionId>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HalfOpens {
    by_local_id: HashMap<ConnectionId, HalfOpen>,
    /// The ids that clients use until they have heard of ours.
    by_initial_id: HashMap<ConnectionId, ConnectionId>,
    deadlines: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    /// Those whose next step is slow, in their order. Each stands here once, so it is as bounded as the handshakes.
    waiting: VecDeque<ConnectionId>,
}

impl HalfOpens {
    pub(super) fn len(&self) -> usize {
        self.by_local_id.len()
    }

    /// The handshake that uses this id, by our own id for it.
    pub(super) fn find(&self, id: ConnectionId) -> Option<ConnectionId> {
        if self.by_local_id.contains_key(&id) {
            return Some(id);
        }
        self.by_initial_id.get(&id).copied()
    }

    /// One more. Call [`HalfOpens::drive`] next.
    pub(super) fn insert(&mut self, local_id: ConnectionId, server: Server, path: PathId) {
        self.by_initial_id.insert(server.initial_destination_id(), local_id);
        let half_open = HalfOpen {
            server,
            path,
            armed: None,
            waits_for_work: false,
        };
        self.by_local_id.insert(local_id, half_open);
    }

    /// Takes a datagram for the handshake `local_id`, if it comes from the right address: the one that counts is the
    /// one that proves itself by the handshake.
    pub(super) fn handle_datagram(&mut self, local_id: ConnectionId, datagram: &[u8], path: PathId, now: Instant) {
        if let Some(half_open) = self.by_local_id.get_mut(&local_id)
            && half_open.path == path
        {
            half_open.server.handle_datagram(datagram, now);
        }
    }

    /// The next slow step, and whose it is.
    pub(super) fn poll_work(&mut self) -> Option<(ConnectionId, Work)> {
        while let Some(local_id) = self.waiting.pop_front() {
            // It may be over by now.
            if let Some(half_open) = self.by_local_id.get_mut(&local_id) {
                half_open.waits_for_work = false;
                if let Some(work) = half_open.server.poll_work() {
                    return Some((local_id, work));
                }
            }
        }
        None
    }

    /// Takes a slow step back. Call [`HalfOpens::drive`] next.
    pub(super) fn handle_done(&mut self, local_id: ConnectionId, done: Done, now: Instant) {
        if let Some(half_open) = self.by_local_id.get_mut(&local_id) {
            half_open.server.handle_done(done, now);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// The next handshake whose deadline has come. Call [`HalfOpens::drive`] for it, then ask again.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<ConnectionId> {
        while let Some(Reverse((at, local_id))) = self.deadlines.peek().copied()
            && at <= now
        {
            self.deadlines.pop();
            if let Some(half_open) = self.by_local_id.get_mut(&local_id) {
                // The deadline may have moved since; then this round only arms the next.
                half_open.armed = None;
                if half_open.server.next_timeout().is_some_and(|at| at <= now) {
                    half_open.server.handle_timeout(now);
                }
                return Some(local_id);
            }
        }
        None
    }

    /// Goes on with a handshake after any input: datagrams go to `out`.
    pub(super) fn drive(
        &mut self,
        local_id: ConnectionId,
        now: Instant,
        out: &mut Vec<(Vec<u8>, PathId)>,
    ) -> Option<Event> {
        let half_open = self.by_local_id.get_mut(&local_id)?;
        let path = half_open.path;
        if half_open.server.has_work() && !half_open.waits_for_work {
            half_open.waits_for_work = true;
            self.waiting.push_back(local_id);
        }
        while let Some(datagram) = half_open.server.poll_transmit(now) {
            out.push((datagram, path));
        }
        let outcome = half_open.server.poll_outcome();
        if half_open.server.is_drained() {
            let initial_id = half_open.server.initial_destination_id();
            self.by_local_id.remove(&local_id);
            self.by_initial_id.remove(&initial_id);
            return Some(Event {
                local_id,
                path,
                outcome,
                forgotten: Some(initial_id),
            });
        }
        let next = half_open.server.next_timeout();
        if let Some(at) = next.filter(|at| half_open.armed.is_none_or(|armed| *at < armed)) {
            half_open.armed = Some(at);
            self.deadlines.push(Reverse((at, local_id)));
        }
        outcome.map(|outcome| Event {
            local_id,
            path,
            outcome: Some(outcome),
            forgotten: None,
        })
    }
}
