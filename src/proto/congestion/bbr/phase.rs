//! The phases of the state machine and their gains. draft-ietf-ccwg-bbr, sections 4.3 and 5.6.1.

/// What the sender is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The rate doubles each round until the pipe is full.
    Startup,
    /// The queue that Startup has built drains.
    Drain,
    /// `ProbeBW_DOWN`: a little slower than the path, until nothing is queued.
    Down,
    /// `ProbeBW_CRUISE`: as fast as the path.
    Cruise,
    /// `ProbeBW_REFILL`: a round that fills the pipe before it is probed.
    Refill,
    /// `ProbeBW_UP`: faster than the path, to see whether it has become wider.
    Up,
    /// Almost nothing in flight, to see the round trip without a queue.
    ProbeRtt,
}

impl Phase {
    /// The pacing rate as a multiple of the bandwidth.
    pub(super) fn pacing_gain(self) -> f64 {
        match self {
            // 4 ln 2: the rate that doubles deliveries each round.
            Self::Startup => 2.77,
            Self::Drain => 0.5,
            // Deviation: 0.9 in the draft. What a probe has queued is gone in half the time, and costs nothing: the
            // bottleneck works on.
            Self::Down => 0.8,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 1.0,
            Self::Up => 1.25,
        }
    }

    /// The window as a multiple of the bandwidth-delay product.
    pub(super) fn cwnd_gain(self) -> f64 {
        match self {
            Self::Up => 2.25,
            Self::ProbeRtt => 0.5,
            _ => 2.0,
        }
    }
}
