//! One rule of a [`super::Spec`]: a value that can be shown, compared and made into a filter.

use super::words::{write_rate, write_size, write_time};
use super::{
    Blackhole, Codel, Corrupt, Damage, Delay, Dice, Direction, Distribution, DropList, Duplicate, Filter, Gilbert,
    Loss, Mtu, Next, OnOff, QueueLimit, Queueing, Rate, RebindOnce, Reorder, Trace, Traced,
};
use std::fmt;
use std::time::Duration;

/// A rule with its settings. [`fmt::Display`] gives the words of the one-line grammar. Settings out of range are cut
/// to the range by the filter; the parser refuses them.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// `loss P%`: see [`Loss`].
    Loss {
        /// Percent lost.
        pct: f64,
    },
    /// `loss P% burst N`: see [`Gilbert`].
    Gilbert {
        /// Percent lost.
        loss_pct: f64,
        /// Mean length of a burst in packets.
        mean_burst: f64,
    },
    /// `drop N,N,...`: see [`DropList`].
    DropList {
        /// The packets to drop; the first is 1.
        ordinals: Vec<u64>,
    },
    /// `next N`: see [`Next`].
    Next {
        /// How many packets.
        packets: u64,
    },
    /// `delay T [JITTER] [uniform|normal|pareto]`: see [`Delay`].
    Delay {
        /// The delay.
        delay: Duration,
        /// How much it varies.
        jitter: Duration,
        /// In which way.
        distribution: Distribution,
    },
    /// `reorder P% [T]`: see [`Reorder`].
    Reorder {
        /// Percent held back.
        pct: f64,
        /// For how long.
        hold: Duration,
    },
    /// `duplicate P% [N]`: see [`Duplicate`].
    Duplicate {
        /// Percent sent more than once.
        pct: f64,
        /// Extra copies of each.
        copies: u32,
    },
    /// `corrupt P% [bitflip|zero|truncate]`: see [`Corrupt`].
    Corrupt {
        /// Percent damaged.
        pct: f64,
        /// In which way.
        damage: Damage,
    },
    /// `rate R [burst B] [limit Np|NB] [codel]`: see [`Rate`] and [`Codel`].
    Rate {
        /// Bits per second.
        bits_per_sec: u64,
        /// Bytes that pass at once after a pause.
        burst_bytes: u64,
        /// The queue; `None` is [`QueueLimit::of_rate`].
        limit: Option<QueueLimit>,
        /// How the queue is kept short.
        queueing: Queueing,
    },
    /// `trace FILE`: see [`Traced`].
    Trace {
        /// When the link carries something.
        trace: Trace,
    },
    /// `mtu B`: see [`Mtu`].
    Mtu {
        /// The largest packet that passes, in bytes.
        max_bytes: u64,
    },
    /// `blackhole`: see [`Blackhole`].
    Blackhole,
    /// `onoff T T`: see [`OnOff`].
    OnOff {
        /// How long packets pass.
        on: Duration,
        /// How long they are lost.
        off: Duration,
    },
    /// `rebind T`: see [`RebindOnce`].
    Rebind {
        /// When, counted from the first packet.
        after: Duration,
    },
}

impl Rule {
    /// What a rule of this kind is called where it has no name of its own.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Loss { .. } => "loss",
            Self::Gilbert { .. } => "gilbert",
            Self::DropList { .. } => "drop_list",
            Self::Next { .. } => "next",
            Self::Delay { .. } => "delay",
            Self::Reorder { .. } => "reorder",
            Self::Duplicate { .. } => "duplicate",
            Self::Corrupt { .. } => "corrupt",
            Self::Rate { .. } => "rate",
            Self::Trace { .. } => "trace",
            Self::Mtu { .. } => "mtu",
            Self::Blackhole => "blackhole",
            Self::OnOff { .. } => "onoff",
            Self::Rebind { .. } => "rebind",
        }
    }

    /// The filter that does it, under that name and with the dice of that name.
    pub fn filter<T>(&self, name: &str, seed: u64, direction: Direction) -> Box<dyn Filter<T>>
    where
        T: Clone + Send + 'static,
    {
        let dice = Dice::new(seed, name, direction);
        match *self {
            Self::Loss { pct } => Box::new(Loss::new(name, dice, pct)),
            Self::Gilbert { loss_pct, mean_burst } => Box::new(Gilbert::new(name, dice, loss_pct, mean_burst)),
            Self::DropList { ref ordinals } => Box::new(DropList::new(name, ordinals.iter().copied())),
            Self::Next { packets } => Box::new(Next::new(name, packets)),
            Self::Delay {
                delay,
                jitter,
                distribution,
            } => Box::new(Delay::new(name, dice, delay, jitter, distribution)),
            Self::Reorder { pct, hold } => Box::new(Reorder::new(name, dice, pct, hold)),
            Self::Duplicate { pct, copies } => Box::new(Duplicate::new(name, dice, pct, copies)),
            Self::Corrupt { pct, damage } => Box::new(Corrupt::new(name, dice, pct, damage)),
            Self::Rate {
                bits_per_sec,
                burst_bytes,
                limit,
                queueing,
            } => {
                let limit = limit.unwrap_or_else(|| QueueLimit::of_rate(bits_per_sec));
                match queueing {
                    Queueing::DropTail => Box::new(Rate::new(name, bits_per_sec, burst_bytes, limit)),
                    Queueing::Codel => Box::new(Codel::new(name, bits_per_sec, burst_bytes, limit)),
                }
            }
            Self::Trace { ref trace } => Box::new(Traced::new(name, trace)),
            Self::Mtu { max_bytes } => Box::new(Mtu::new(name, usize::try_from(max_bytes).unwrap_or(usize::MAX))),
            Self::Blackhole => Box::new(Blackhole::new(name)),
            Self::OnOff { on, off } => Box::new(OnOff::new(name, on, off)),
            Self::Rebind { after } => Box::new(RebindOnce::new(name, after)),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss { pct } => write!(f, "loss {pct}%"),
            Self::Gilbert { loss_pct, mean_burst } => write!(f, "loss {loss_pct}% burst {mean_burst}"),
            Self::DropList { ordinals } => {
                f.write_str("drop ")?;
                for (index, ordinal) in ordinals.iter().enumerate() {
                    write!(f, "{}{ordinal}", if index > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Self::Next { packets } => write!(f, "next {packets}"),
            Self::Delay {
                delay,
                jitter,
                distribution,
            } => {
                f.write_str("delay ")?;
                write_time(f, *delay)?;
                let word = match distribution {
                    Distribution::None => return Ok(()),
                    Distribution::Uniform => "",
                    Distribution::Normal => " normal",
                    Distribution::Pareto => " pareto",
                };
                f.write_str(" ")?;
                write_time(f, *jitter)?;
                f.write_str(word)
            }
            Self::Reorder { pct, hold } => {
                write!(f, "reorder {pct}% ")?;
                write_time(f, *hold)
            }
            Self::Duplicate { pct, copies: 1 } => write!(f, "duplicate {pct}%"),
            Self::Duplicate { pct, copies } => write!(f, "duplicate {pct}% {copies}"),
            Self::Corrupt { pct, damage } => {
                let word = match damage {
                    Damage::BitFlip => "",
                    Damage::Zero => " zero",
                    Damage::Truncate => " truncate",
                };
                write!(f, "corrupt {pct}%{word}")
            }
            Self::Rate {
                bits_per_sec,
                burst_bytes,
                limit,
                queueing,
            } => {
                f.write_str("rate ")?;
                write_rate(f, *bits_per_sec)?;
                if *burst_bytes > 0 {
                    f.write_str(" burst ")?;
                    write_size(f, *burst_bytes)?;
                }
                match limit {
                    None => {}
                    Some(QueueLimit::Packets(packets)) => write!(f, " limit {packets}p")?,
                    Some(QueueLimit::Bytes(bytes)) => {
                        f.write_str(" limit ")?;
                        write_size(f, *bytes)?;
                    }
                }
                match queueing {
                    Queueing::DropTail => Ok(()),
                    Queueing::Codel => f.write_str(" codel"),
                }
            }
            Self::Trace { trace } => write!(f, "trace {}", trace.file()),
            Self::Mtu { max_bytes } => {
                f.write_str("mtu ")?;
                write_size(f, *max_bytes)
            }
            Self::Blackhole => f.write_str("blackhole"),
            Self::OnOff { on, off } => {
                f.write_str("onoff ")?;
                write_time(f, *on)?;
                f.write_str(" ")?;
                write_time(f, *off)
            }
            Self::Rebind { after } => {
                f.write_str("rebind ")?;
                write_time(f, *after)
            }
        }
    }
}
