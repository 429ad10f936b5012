//! Two endpoints and the wire between them, in virtual time: one delay, and a rule that says which packets are lost or
//! late.

use super::endpoint::{Endpoint, PATH, Sent, Setup};
use super::origin;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Which endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    /// The other one.
    pub(crate) fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What the wire does to a packet, given its sender and its ordinal among the packets of that side: `None` loses it,
/// else it takes so long in addition to the delay.
pub(crate) type Rule = Box<dyn FnMut(Side, usize, &Sent) -> Option<Duration>>;

/// See the module.
pub(crate) struct Pair {
    pub(crate) client: Endpoint,
    pub(crate) server: Endpoint,
    pub(crate) now: Instant,
    start: Instant,
    delay: Duration,
    rule: Rule,
    /// Packets on the way, by arrival and order of sending.
    wire: BTreeMap<(Instant, usize), (Side, Sent)>,
    /// Packets that each side has sent.
    pub(crate) sent: [usize; 2],
    pub(crate) transcript: Vec<String>,
}

impl Pair {
    /// A path of `delay` each way.
    pub(crate) fn new(client: &Setup, server: &Setup, delay: Duration, rule: Rule) -> Self {
        let start = origin();
        Self {
            client: Endpoint::new(client, start),
            server: Endpoint::new(server, start),
            now: start,
            start,
            delay,
            rule,
            wire: BTreeMap::new(),
            sent: [0; 2],
            transcript: Vec::new(),
        }
    }

    pub(crate) fn side(&mut self, side: Side) -> &mut Endpoint {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Lets things happen until nothing is left to happen or `is_over`. Panics after `patience`.
    pub(crate) fn run(&mut self, patience: Duration, mut is_over: impl FnMut(&mut Self) -> bool) {
        let end = self.now + patience;
        loop {
            for side in [Side::Client, Side::Server] {
                self.step(side);
            }
            if is_over(self) {
                return;
            }
            let next = [
                self.client.next_event(),
                self.server.next_event(),
                self.wire.keys().next().map(|(at, _)| *at),
            ];
            let Some(next) = next.into_iter().flatten().min() else {
                return;
            };
            self.now = self.now.max(next);
            assert!(
                self.now <= end,
                "not over in {patience:?}
{}",
                self.transcript.join(
                    "
"
                )
            );
            while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
                let (from, sent) = entry.remove();
                let now = self.now;
                self.side(from.peer()).handle_packet(now, sent.pn, PATH, &sent.payload);
            }
        }
    }

    fn step(&mut self, side: Side) {
        let now = self.now;
        for sent in self.side(side).step(now) {
            let ordinal = self.sent[side as usize];
            self.sent[side as usize] += 1;
            let fate = (self.rule)(side, ordinal, &sent);
            self.transcript.push(format!(
                "{:12.3} ms  {side:?} {}{}",
                self.elapsed().as_secs_f64() * 1e3,
                super::describe(&sent),
                if fate.is_none() { "  LOST" } else { "" }
            ));
            if let Some(late) = fate {
                let key = (now + self.delay + late, self.sent[0] + self.sent[1]);
                self.wire.insert(key, (side, sent));
            }
        }
    }
}
