//! What sender and receiver have in common: carrier, mode and limits of a stream, and how both speak of them.

use super::exit::Failure;
use super::quantity::{Datagram, grouped, millis, rate};
use super::signals::{Signals, Undo};
use crate::control::{Address, EndpointAgent, Followed, Role};
use crate::proto::congestion;
use crate::stats::Stats;
use crate::stream::{Carrier, Security, Stream, StreamBuilder};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// Silence that ends a stream, unless the command line says otherwise.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(40);
/// Whether a controller exists does not depend on the size of packets.
const SOME_PACKET_BYTES: u64 = 1200;

/// How an endpoint shall speak.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) carrier: Carrier,
    pub(crate) gso: bool,
    /// The largest packets on UDP.
    pub(crate) max_datagram: Option<Datagram>,
    pub(crate) idle_timeout: Duration,
    pub(crate) congestion: Option<Congestion>,
}

impl Endpoint {
    /// A builder with these options.
    pub(crate) fn builder(&self, security: Security) -> StreamBuilder {
        let builder = StreamBuilder::new(security)
            .carrier(self.carrier)
            .gso(self.gso)
            .idle_timeout(self.idle_timeout);
        let builder = match self.carrier {
            Carrier::Udp => builder.max_datagram(self.max_datagram.unwrap_or(Datagram::USUAL).0),
            Carrier::Tcp => builder,
        };
        controlled(builder, self.congestion.as_ref())
    }
}

/// The name of a congestion controller that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Congestion(String);

impl FromStr for Congestion {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match congestion::by_name(name, SOME_PACKET_BYTES) {
            Ok(_) => Ok(Self(name.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A builder with this controller, or its own where none is named.
fn controlled(builder: StreamBuilder, congestion: Option<&Congestion>) -> StreamBuilder {
    match congestion {
        Some(Congestion(name)) => builder
            .congestion(name)
            .expect("the name was found when the command line was read"),
        None => builder,
    }
}

/// The carrier that a `--udp` switch stands for.
pub(crate) fn carrier(udp: bool) -> Carrier {
    if udp { Carrier::Udp } else { Carrier::Tcp }
}

/// The carrier in a message.
pub(crate) fn carrier_word(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Udp => "udp",
        Carrier::Tcp => "tcp",
    }
}

/// The mode that a command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Secure,
    Plain,
    Classic,
}

impl Mode {
    /// What the two switches stand for, which exclude each other.
    pub(crate) fn new(plain: bool, classic: bool) -> Self {
        match (plain, classic) {
            (_, true) => Self::Classic,
            (true, false) => Self::Plain,
            (false, false) => Self::Secure,
        }
    }

    /// The mode in a message.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Secure => "secure",
            Self::Plain => "plain",
            Self::Classic => "classic",
        }
    }
}

/// What tells the controller of the command line, if there is one. Without, nobody is contacted.
pub(crate) fn agent(
    controller: Option<&Address>,
    role: Role,
    mode: Mode,
    carrier: Carrier,
) -> Result<Option<EndpointAgent>, Failure> {
    let agent = controller.map(|address| EndpointAgent::start(address, role, mode.word(), carrier_word(carrier)));
    let agent = agent.transpose();
    agent.map_err(|error| Failure::io("cannot start a thread for the controller", &error))
}

/// The controller sees this stream from now on, until what is returned is dropped.
pub(crate) fn follow(agent: Option<&EndpointAgent>, stream: &Stream) -> Option<Followed> {
    let stream = stream.try_clone().ok()?;
    Some(agent?.follow(move || stream.stats()))
}

/// A signal that finds this transfer standing still ends it, and the peer hears of it, until what is returned is dropped.
pub(crate) fn heed(signals: &Signals, stream: &Stream) -> Option<Undo> {
    let (watched, aborted) = (stream.try_clone().ok()?, stream.try_clone().ok()?);
    Some(signals.transfer(move || moved(&watched.stats()), move || aborted.abort()))
}

/// What grows while a transfer goes on.
pub(crate) fn moved(stats: &Stats) -> u64 {
    stats.acknowledged_bytes + stats.delivered_bytes + stats.read_bytes
}

/// An address as people know it: IPv4 even where it came in through an IPv6 socket.
pub(crate) fn shown(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// "1,234 bytes in 0.42 s (160.0 MB/s)"
pub(crate) fn volume(bytes: u64, elapsed: Duration) -> String {
    format!(
        "{} bytes in {:.2} s ({})",
        grouped(bytes),
        elapsed.as_secs_f64(),
        rate(bytes, elapsed)
    )
}

/// What the transport did, for `-v`.
pub(crate) fn log_stats(stats: &Stats) {
    log::info!(
        "RTT {} (lowest {}), {} packets sent, {} received, {} lost, {} bytes sent again, {} dropped as not authentic",
        millis(stats.smoothed_rtt),
        millis(stats.min_rtt),
        grouped(stats.packets_sent),
        grouped(stats.packets_received),
        grouped(stats.lost_packets),
        grouped(stats.retransmitted_bytes),
        grouped(stats.auth_failures),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_that_does_not_exist_is_refused_with_those_that_do() {
        let known: Congestion = "cubic".parse().unwrap();
        let builder = StreamBuilder::new(Security::plain());
        drop(controlled(builder, Some(&known)));
        let message = "vegas".parse::<Congestion>().unwrap_err();
        for name in congestion::names() {
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn a_mapped_address_is_shown_as_ipv4() {
        assert_eq!(
            shown("[::ffff:127.0.0.1]:7".parse().unwrap()).to_string(),
            "127.0.0.1:7"
        );
        assert_eq!(shown("[::1]:7".parse().unwrap()).to_string(), "[::1]:7");
    }
}
