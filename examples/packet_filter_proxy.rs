//! A proxy with a filter of your own: here one that loses every packet with an odd number of bytes, and says so.
//!
//! `cargo run --example packet_filter_proxy`, and then, in other terminals:
//! `stream-receiver --udp --plain --output copy` and `stream-sender --udp --plain --file README.md`

use securestream::filter::{Counters, Direction, Filter, Packet, Verdict};
use securestream::proxy::{ProxyBuilder, Tag};
use std::io;
use std::time::Instant;

#[derive(Default)]
struct NothingOdd {
    counters: Counters,
}

impl Filter<Tag> for NothingOdd {
    fn handle(&mut self, packet: Packet<Tag>, _now: Instant, out: &mut Vec<Packet<Tag>>) -> Verdict {
        self.counters.seen += 1;
        if packet.bytes.len().is_multiple_of(2) {
            out.push(packet); // it goes on
            return Verdict::Pass;
        }
        println!("lost {} bytes from {}", packet.bytes.len(), packet.tag.client());
        self.counters.hit += 1;
        self.counters.dropped += 1;
        Verdict::Drop
    }

    fn name(&self) -> &'static str {
        "nothing odd"
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

fn main() -> io::Result<()> {
    let proxy = ProxyBuilder::new("127.0.0.1:7000")?
        .filter(Direction::Upstream, NothingOdd::default)
        .start("127.0.0.1:6000")?;
    println!("listening on {}; Enter ends it", proxy.local_addr());
    io::stdin().read_line(&mut String::new())?;
    println!("{:#?}", proxy.rules(Direction::Upstream));
    Ok(())
}
