//! Runs a scenario, and checks at every step what must hold in all of them.

use super::scenario::{App, Change, Fault, Scenario, spec};
use super::transcript::Transcript;
use crate::keys;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use securestream::filter::Direction;
use securestream::proto::Config;
use securestream::testing::{Endpoint, Network, Options};
use securestream::{Security, StreamError};
use std::time::Duration;

/// How packets are protected in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Plain,
    Secure,
}

/// Every transfer completes within this much virtual time.
const LIMIT: Duration = Duration::from_secs(3600);
/// After a path has healed, something new arrives within this time.
const REVIVAL: Duration = Duration::from_secs(3);
/// After the last byte was read both sides close within this time, or one has lost the other's close.
const CLOSING: Duration = Duration::from_secs(10);
/// What a write may go beyond the limit of the send buffer, which follows the congestion window down as well.
const MAX_SEND_BUFFER: u64 = 64 << 20;

/// What a run led to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) virtual_time: Duration,
    pub(super) packets: u64,
}

/// The application of one side, and what it knows of the other's bytes.
struct Side {
    app: App,
    written: usize,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    read: usize,
    is_at_end: bool,
    buf: Vec<u8>,
}

impl Side {
    fn new(app: &App, outgoing: Vec<u8>, incoming: Vec<u8>) -> Self {
        Self {
            app: app.clone(),
            written: 0,
            outgoing,
            incoming,
            read: 0,
            is_at_end: false,
            buf: vec![0; 16 << 10],
        }
    }

    /// Writes what fits.
    fn write(&mut self, endpoint: &mut Endpoint) -> Result<(), String> {
        if self.written < self.outgoing.len() {
            let n = endpoint
                .write(&self.outgoing[self.written..])
                .map_err(|error| format!("write after {} bytes: {error}", self.written))?;
            self.written += n;
            if self.written == self.outgoing.len() {
                endpoint.finish();
            }
        }
        Ok(())
    }

    /// Reads at most `most` bytes, and looks at each.
    fn read(&mut self, endpoint: &mut Endpoint, mut most: usize) -> Result<(), String> {
        while !self.is_at_end && most > 0 {
            let room = self.buf.len().min(most);
            let result = endpoint.read(&mut self.buf[..room]);
            let n = match result {
                Ok(None) => return Ok(()),
                Ok(Some(n)) => n,
                Err(error) => return Err(format!("read after {} bytes: {error}", self.read)),
            };
            if n == 0 {
                self.is_at_end = true;
                return if self.read == self.incoming.len() {
                    Ok(())
                } else {
                    Err(format!("the end after {} bytes", self.read))
                };
            }
            let expected = self.incoming.get(self.read..self.read + n);
            if expected != Some(&self.buf[..n]) {
                return Err(format!("wrong bytes at offset {}", self.read));
            }
            self.read += n;
            most -= n;
        }
        Ok(())
    }

    /// What grows while anything new arrives.
    fn progress(&self) -> usize {
        self.read + usize::from(self.is_at_end)
    }
}

struct Run<'a> {
    scenario: &'a Scenario,
    network: Network,
    client: Side,
    server: Side,
    /// When the path healed, and how far both readers were.
    healed: Option<(Duration, [usize; 2])>,
}

/// Runs it; the error says what did not hold, and when.
pub(super) fn run(scenario: &Scenario, mode: Mode, transcript: Option<&Transcript>) -> Result<Outcome, String> {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0xb17e5);
    let mut bytes = |app: &App| {
        let mut bytes = vec![0; app.bytes];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    let (up, down) = (bytes(&scenario.client), bytes(&scenario.server));
    let (client_security, server_security) = match mode {
        Mode::Plain => (Security::plain(), Security::plain()),
        Mode::Secure => (keys::client(), keys::server()),
    };
    let options = |app: &App, security: Security| Options {
        security,
        config: Config {
            max_packet_bytes: scenario.max_packet_bytes,
            initial_window: app.initial_window,
            max_window: app.max_window,
            congestion: app.congestion.into(),
            // Loss of several kinds at once can silence a path for longer than people would wait.
            idle_timeout: Duration::from_secs(180),
            // A client that has nothing to say cannot know that its address has changed, nor can anybody else.
            keep_alive: scenario
                .faults
                .contains(&Fault::Rebind)
                .then_some(Duration::from_secs(1)),
            ..Config::default()
        },
        connect_timeout: Duration::from_secs(180),
        sender_late: app.sender_late,
    };
    let mut network = Network::with_options(
        scenario.seed,
        &spec(&scenario.spec),
        options(&scenario.client, client_security),
        options(&scenario.server, server_security),
    );
    if let Some(transcript) = transcript {
        network.observe(transcript.observer());
    }
    let mut run = Run {
        scenario,
        network,
        client: Side::new(&scenario.client, up.clone(), down.clone()),
        server: Side::new(&scenario.server, down, up),
        healed: None,
    };
    run.go().map_err(|error| {
        format!(
            "{:?}: {error}\n  client {:?}\n  server {:?}",
            run.network.elapsed(),
            run.network.client,
            run.network.server
        )
    })?;
    let sent = |direction| run.network.counters(direction).sent;
    Ok(Outcome {
        virtual_time: run.network.elapsed(),
        packets: sent(Direction::Upstream) + sent(Direction::Downstream),
    })
}

impl Run<'_> {
    fn go(&mut self) -> Result<(), String> {
        let mut changes = self.scenario.changes.clone();
        loop {
            let now = self.network.elapsed();
            let is_open = self.network.client.is_established() && self.network.server.is_established();
            // An address that changes during the handshake ends it, as in QUIC.
            let is_due =
                |(at, change): &mut (Duration, Change)| *at <= now && (is_open || !matches!(change, Change::Rebind));
            for (_, change) in changes.extract_if(.., is_due) {
                self.change(&change);
            }
            let done = self.tick()?;
            self.check()?;
            if done {
                break;
            }
            if self.network.elapsed() > LIMIT {
                return Err("not complete in time".into());
            }
        }
        self.close()
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Faults(faults) => self.network.replace(&spec(faults)),
            Change::Heal(faults) => {
                self.network.replace(&spec(faults));
                self.note_healed();
            }
            Change::Rebind => {
                self.network.rebind();
                // One more thing to heal from.
                if self.healed.is_some() {
                    self.note_healed();
                }
            }
        }
    }

    fn note_healed(&mut self) {
        let progress = [self.client.progress(), self.server.progress()];
        self.healed = Some((self.network.elapsed(), progress));
    }

    /// Lets a little time pass. `true`: both have read to the end.
    fn tick(&mut self) -> Result<bool, String> {
        let (client, server) = (&mut self.client, &mut self.server);
        let mut result = Ok(());
        let slow = |side: &Side| side.app.reads.unwrap_or(0);
        result = result
            .and_then(|()| client.read(&mut self.network.client, slow(client)))
            .and_then(|()| server.read(&mut self.network.server, slow(server)));
        let eager = |side: &Side| side.app.reads.map_or(usize::MAX, |_| 0);
        let done = self.network.run_until(self.scenario.tick, |network| {
            if result.is_ok() {
                result = client
                    .write(&mut network.client)
                    .and_then(|()| server.write(&mut network.server))
                    .and_then(|()| client.read(&mut network.client, eager(client)))
                    .and_then(|()| server.read(&mut network.server, eager(server)));
            }
            result.is_err() || (client.is_at_end && server.is_at_end)
        });
        result.map(|()| done)
    }

    fn check(&mut self) -> Result<(), String> {
        for direction in [Direction::Upstream, Direction::Downstream] {
            let counters = self.network.counters(direction);
            if !counters.add_up() {
                return Err(format!("the packets {direction} do not add up: {counters:?}"));
            }
        }
        let sides = [
            (&self.network.client, &self.client),
            (&self.network.server, &self.server),
        ];
        for (endpoint, side) in sides {
            let stats = endpoint.stats();
            // The highest offset that was ever allowed, less what was read.
            if stats.recv_buffer_bytes > side.app.max_window {
                return Err(format!("{} bytes wait to be read", stats.recv_buffer_bytes));
            }
            if stats.send_buffer_bytes > MAX_SEND_BUFFER.min(side.outgoing.len() as u64) {
                return Err(format!("{} bytes wait to be sent", stats.send_buffer_bytes));
            }
            if stats.delivered_bytes > side.incoming.len() as u64 {
                return Err("more was delivered than written".into());
            }
        }
        self.check_damage()?;
        self.check_revival()
    }

    /// No endpoint takes a damaged packet for a good one.
    fn check_damage(&self) -> Result<(), String> {
        let ends = [
            (&self.network.client, Direction::Downstream),
            (&self.network.server, Direction::Upstream),
        ];
        for (endpoint, direction) in ends {
            let (stats, counters) = (endpoint.stats(), self.network.counters(direction));
            if stats.packets_received > counters.delivered {
                return Err(format!("{counters:?}, but it accepted {stats:?}"));
            }
        }
        Ok(())
    }

    fn check_revival(&mut self) -> Result<(), String> {
        let Some((at, before)) = self.healed else {
            return Ok(());
        };
        if self.network.elapsed() < at + REVIVAL {
            return Ok(());
        }
        self.healed = None;
        for (side, before) in [&self.client, &self.server].into_iter().zip(before) {
            if !side.is_at_end && side.progress() == before {
                return Err(format!("healed at {at:?}, and nothing new since"));
            }
        }
        Ok(())
    }

    /// Both have read to the end, and both hear of the other that it has: at the latest when nothing is lost any more.
    fn check_verdicts(&mut self) -> Result<(), String> {
        let knows = |endpoint: &Endpoint| endpoint.is_consumed() || endpoint.ended().is_some();
        let both_know = |network: &mut Network| knows(&network.client) && knows(&network.server);
        if self.network.run_until(CLOSING, both_know) {
            return Ok(());
        }
        self.network.replace(&spec("delay 10ms"));
        if self.network.run_until(REVIVAL, both_know) {
            return Ok(());
        }
        Err("both have read to the end, and one does not know of the other".into())
    }

    /// Both applications have all, and both connections end by themselves, or by the idle time-out of the side that
    /// never heard the other's last words.
    fn close(&mut self) -> Result<(), String> {
        self.check_verdicts()?;
        self.network.client.close();
        self.network.server.close();
        self.network.run_until(CLOSING, |network| {
            network.client.is_closed() && network.server.is_closed()
        });
        self.check()?;
        for (endpoint, who) in [(&self.network.client, "client"), (&self.network.server, "server")] {
            if let Some(Err(error)) = endpoint.ended()
                && !matches!(error, StreamError::TimedOut { .. })
            {
                return Err(format!("the {who} ended with: {error}"));
            }
        }
        Ok(())
    }
}
