//! How packets come: from the sockets into the links, each source in its turn.

use super::super::flow::Way;
use super::super::hub::Notice;
use super::super::links::Number;
use super::super::tap::PacketEvent;
use super::{Runner, now};
use crate::filter::Direction;
use crate::subsystem::Batch;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Batches that one source may bring before the others have their turn.
const TURN_BATCHES: usize = 16;

impl Runner {
    /// Takes what has come, from each source in turn.
    pub(super) fn receive(&mut self) {
        let mut index = 0;
        while index < self.sources.len() {
            if self.sources[index].is_ready && !self.must_wait(&self.sources[index]) && !self.receive_from(index) {
                self.sources.swap_remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Whether the source lives on.
    fn receive_from(&mut self, index: usize) -> bool {
        for _ in 0..TURN_BATCHES {
            let source = &mut self.sources[index];
            let own = source.way.as_ref().map(Arc::clone);
            match source.rx.recv(Some(self.past)) {
                Ok(Some(batch)) => {
                    let came = now();
                    let way = match own {
                        Some(way) => way,
                        None => match self.client_of(batch.path, came) {
                            Some(way) => way,
                            None => continue,
                        },
                    };
                    way.flow.touch(came - self.hub.start);
                    if self.direction == Direction::Downstream {
                        way.flow.note_answer();
                    }
                    self.take(batch, &way, came);
                    let source = &self.sources[index];
                    if self.must_wait(source) {
                        return true;
                    }
                }
                Ok(None) => {
                    self.sources[index].is_ready = false;
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    if let Some(way) = own {
                        self.refused(&way.flow, &error);
                    }
                }
                Err(error) => {
                    self.source_ended(own, &error);
                    return false;
                }
            }
        }
        true
    }

    /// Feeds the link of the client, and sends what passes at once.
    fn take(&mut self, batch: Batch, way: &Arc<Way>, came: Instant) {
        let hub = Arc::clone(&self.hub);
        let direction = self.direction;
        let at = came - hub.start;
        let client = way.flow.client;
        let tell = |event: PacketEvent| hub.taps.tell(&event);
        let mut number = |bytes: &[u8]| {
            let id = hub.number();
            hub.taps.tell(&PacketEvent::Arrived {
                id,
                direction,
                client,
                at,
                bytes: bytes.into(),
            });
            id
        };
        let number: Option<Number<'_>> = if hub.taps.is_tapped() { Some(&mut number) } else { None };
        let mut passed = std::mem::take(&mut self.passed);
        hub.links(direction).take(batch, way, came, number, &tell, &mut passed);
        self.pass(passed, came);
    }

    fn source_ended(&mut self, way: Option<Arc<Way>>, error: &io::Error) {
        let Some(way) = way else {
            // The socket of all clients: there is nothing left to do.
            self.hub.notice(Notice::Trouble {
                why: format!("the socket of the clients is broken: {error}"),
            });
            self.hub.end();
            return;
        };
        if error.kind() == io::ErrorKind::UnexpectedEof {
            self.endings.push(way);
        } else {
            self.hub.close(&way.flow, &error.to_string());
        }
    }
}
