//! How an attacker sits in a proxy: one value that sees the packets of both directions, between two filters.

use crate::filter::{Counters, Direction, Filter, Packet, Verdict};
use crate::proxy::{Injector, Proxy, ProxyBuilder, Tag};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

const NAME: &str = "attack";

/// An attacker. It works on bytes, and knows neither clock nor socket (but for [`super::spoof`]).
pub(super) trait Attacker: Send {
    /// Sees a packet, may change it, and says whether it goes on. `also` is sent besides, before it.
    fn packet(&mut self, direction: Direction, client: SocketAddr, bytes: &mut Vec<u8>, also: &mut Vec<Shot>) -> Fate;

    /// Where the packets upstream go.
    fn aim(&mut self, target: SocketAddr) {
        let _ = target;
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on as it is.
    Untouched,
    /// It goes on, changed.
    Changed,
    /// It is gone.
    Stolen,
}

/// A packet of the attacker's own.
pub(super) struct Shot {
    pub(super) direction: Direction,
    pub(super) bytes: Vec<u8>,
}

struct Shared {
    attacker: Mutex<Box<dyn Attacker>>,
    injector: Mutex<Option<Injector>>,
}

/// An attacker that waits for its proxy to start.
pub struct Armed {
    shared: Arc<Shared>,
}

impl Armed {
    /// Tells the attacker where it sits.
    pub fn aim(&self, proxy: &Proxy) {
        *self.shared.injector.lock() = Some(proxy.injector());
        self.shared.attacker.lock().aim(proxy.target()[0]);
    }
}

pub(super) fn arm(builder: ProxyBuilder, attacker: impl Attacker + 'static) -> (ProxyBuilder, Armed) {
    let shared = Arc::new(Shared {
        attacker: Mutex::new(Box::new(attacker)),
        injector: Mutex::new(None),
    });
    let hook = |direction| {
        let shared = Arc::clone(&shared);
        move || Hook {
            direction,
            shared: Arc::clone(&shared),
            counters: Counters::default(),
        }
    };
    let builder = builder
        .filter(Direction::Upstream, hook(Direction::Upstream))
        .filter(Direction::Downstream, hook(Direction::Downstream));
    (builder, Armed { shared })
}

struct Hook {
    direction: Direction,
    shared: Arc<Shared>,
    counters: Counters,
}

impl Filter<Tag> for Hook {
    fn handle(&mut self, mut packet: Packet<Tag>, _: Instant, out: &mut Vec<Packet<Tag>>) -> Verdict {
        self.counters.seen += 1;
        let client = packet.tag.client();
        let mut also = Vec::new();
        let fate = {
            let mut attacker = self.shared.attacker.lock();
            attacker.packet(self.direction, client, &mut packet.bytes, &mut also)
        };
        let mut added = 0;
        for Shot { direction, bytes } in also {
            if direction == self.direction {
                added += 1;
                out.push(Packet {
                    bytes,
                    tag: packet.tag.clone(),
                });
            } else if let Some(injector) = &*self.shared.injector.lock() {
                // A client that has gone is no victim any more.
                let _ = injector.inject(direction, client, bytes);
            }
        }
        self.counters.added += added;
        let verdict = match fate {
            Fate::Stolen => Verdict::Drop,
            Fate::Changed => Verdict::Corrupt,
            Fate::Untouched if added > 0 => Verdict::Duplicate(added as u32),
            Fate::Untouched => Verdict::Pass,
        };
        if verdict != Verdict::Pass {
            self.counters.hit += 1;
        }
        if fate == Fate::Stolen {
            self.counters.dropped += 1;
        } else {
            out.push(packet);
        }
        verdict
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
