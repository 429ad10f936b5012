//! How packets leave: from the links to the sockets.

use super::super::flow::{Flow, Way};
use super::super::hub::Notice;
use super::super::links::{Books, Passed};
use super::super::port::{Outcome, Outlet};
use super::super::regroup::regroup;
use super::super::tap::PacketEvent;
use super::{Outlets, Runner};
use crate::subsystem::Batch;
use std::io;
use std::sync::Arc;
use std::time::Instant;

impl Runner {
    /// Lets go of what is due.
    pub(super) fn release(&mut self, now: Instant) {
        let hub = Arc::clone(&self.hub);
        let tell = |event: PacketEvent| hub.taps.tell(&event);
        let mut passed = std::mem::take(&mut self.passed);
        hub.links(self.direction).release(now, &tell, &mut passed);
        self.pass(passed, now);
    }

    /// Sends what has come through.
    pub(super) fn pass(&mut self, mut passed: Vec<Passed>, now: Instant) {
        for one in passed.drain(..) {
            self.pass_one(one, now);
        }
        self.passed = passed;
    }

    fn pass_one(&mut self, passed: Passed, now: Instant) {
        match passed {
            Passed::Whole(way, batch) => self.send(&way, batch),
            Passed::Packets(mut packets) => {
                if self.hub.taps.is_tapped() {
                    let at = now - self.hub.start;
                    for packet in &packets {
                        self.hub.taps.tell(&PacketEvent::Left {
                            id: packet.tag.id,
                            direction: self.direction,
                            client: packet.tag.client(),
                            at,
                            bytes: packet.bytes.as_slice().into(),
                        });
                    }
                }
                let pool = Arc::clone(&self.pool);
                regroup(packets.drain(..), &pool, |way, batch| self.send(&way, batch));
                self.links().recycle(packets);
            }
        }
    }

    /// Puts a batch on its way out.
    pub(super) fn send(&mut self, way: &Way, batch: Batch) {
        let flow = &way.flow;
        let (packets, bytes) = (batch.packets(), batch.buffer.len());
        let batch = Batch {
            path: flow.path,
            ..batch
        };
        let outlet = match &mut self.outlets {
            Outlets::Shared(outlet) => Some(outlet),
            Outlets::Own(outlets) => outlets.get_mut(&flow.id),
        };
        let books = &self.hub.links(self.direction).books;
        let Some(outlet) = outlet else {
            Books::add(&books.homeless, packets);
            return;
        };
        match outlet.send(batch) {
            Outcome::Taken => {
                Books::add(&books.sent_pkts, packets);
                Books::add(&books.sent_bytes, bytes);
            }
            Outcome::Overrun => Books::add(&books.overruns, packets),
            Outcome::Broken(error) => {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    // Told late, of an earlier packet: this one has gone.
                    Books::add(&books.sent_pkts, packets);
                    Books::add(&books.sent_bytes, bytes);
                }
                self.broken(flow.id, &error);
            }
        }
    }

    /// Goes on with outlets that were blocked.
    pub(super) fn push(&mut self) {
        let past = self.past;
        let mut broken = Vec::new();
        let mut push = |id: u64, outlet: &mut Outlet| {
            if !outlet.is_empty()
                && let Outcome::Broken(error) = outlet.push(past)
            {
                broken.push((id, error));
            }
        };
        match &mut self.outlets {
            Outlets::Shared(outlet) => push(0, outlet),
            Outlets::Own(outlets) => outlets.iter_mut().for_each(|(id, outlet)| push(*id, outlet)),
        }
        for (id, error) in broken {
            self.broken(id, &error);
        }
    }

    /// An outlet does not work. On UDP that is a refusal, which may pass; a connection is over.
    pub(super) fn broken(&mut self, id: u64, error: &io::Error) {
        let is_udp = match &self.outlets {
            Outlets::Shared(_) => true,
            Outlets::Own(outlets) => outlets.get(&id).is_none_or(Outlet::is_udp),
        };
        let flow = self.hub.flows.lock().get(&id).map(Arc::clone);
        let Some(flow) = flow else {
            return;
        };
        if is_udp {
            self.refused(&flow, error);
        } else {
            self.hub.close(&flow, &format!("the connection broke ({error})"));
        }
    }

    pub(super) fn refused(&self, flow: &Flow, error: &io::Error) {
        if flow.note_refused() {
            self.hub.notice(Notice::NoTarget {
                client: flow.client,
                why: error.to_string(),
            });
        }
    }
}
