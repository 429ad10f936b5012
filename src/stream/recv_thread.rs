//! The receive thread of a stream.
//!
//! The path of a packet: 1. a batch from the carrier, with one reading of the clock; 2. every packet opened in place;
//! 3. in-order payload into the pipe under one lock; 4. what the sender must know merged into its mailbox. It never
//! writes to the wire and never waits for the send thread.

#![expect(
    clippy::disallowed_methods,
    reason = "the driver of the receiving half reads the clock once a batch"
)]

use super::connection::Connection;
use super::intake::{Arrival, Found, Intake};
use crate::proto::Update;
use crate::subsystem::{Batch, PacketRx};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// What the thread works with.
struct Receiver<'a> {
    connection: &'a Connection,
    intake: Intake,
    update: Update,
    found: Vec<Option<Found>>,
}

/// Runs until the send thread says that the stream is over. `early` are datagrams that came during the handshake.
pub(crate) fn run(
    connection: &Arc<Connection>,
    intake: Intake,
    mut rx: Box<dyn PacketRx>,
    early: Vec<(Vec<u8>, Instant)>,
) {
    let mut receiver = Receiver {
        connection,
        intake,
        update: Update::default(),
        found: Vec::new(),
    };
    for (datagram, received_at) in early {
        let batch = Batch::single(datagram.into(), connection.path_of(crate::proto::path::PathId(0)));
        receiver.handle_batch(batch, received_at);
    }
    while !connection.is_closing() {
        match rx.recv(None) {
            Ok(None) => {}
            Ok(Some(batch)) => receiver.handle_batch(batch, Instant::now()),
            // An ICMP message proves nothing once the peer has shown that it is there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                connection
                    .mailbox
                    .post(|letters| letters.carrier_lost = Some((error.kind(), error.to_string())));
                return;
            }
        }
        connection.note_wakeup();
    }
}

impl Receiver<'_> {
    fn handle_batch(&mut self, mut batch: Batch, received_at: Instant) {
        self.found.clear();
        for datagram in batch.iter_mut() {
            self.found.push(self.intake.open(datagram));
        }
        self.intake.check_limit(received_at, &mut self.update);
        if self.found.iter().all(Option::is_none) {
            *self.connection.intake.lock() = self.intake.counters();
            if !self.update.is_empty() {
                self.connection.mailbox.merge(&mut self.update);
            }
            return;
        }
        let (path, active, port_only) = self.connection.arrived_on(batch.path);
        self.intake.set_active_path(active);
        let arrival = Arrival {
            path,
            port_only,
            received_at,
            limit: self.connection.pipe.limit(),
        };
        let Self {
            intake, update, found, ..
        } = self;
        self.connection.pipe.deliver(|sink| {
            for (datagram, found) in batch.iter().zip(found.iter()) {
                if let Some(found) = found {
                    intake.handle(found, datagram, &arrival, sink, update);
                }
            }
            sink.set_gapped(intake.half().buffered_bytes());
        });
        // The buffer goes home before anybody is woken.
        drop(batch);
        *self.connection.intake.lock() = self.intake.counters();
        if !self.update.is_empty() {
            self.connection.mailbox.merge(&mut self.update);
        }
    }
}
