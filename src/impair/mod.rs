//! Subsystems with filters in front.
//!
//! [`Impaired`] puts a [`crate::filter::Chain`] before the receiving half of any [`crate::subsystem::Subsystem`]:
//! a bad link without a second process. [`Filtered`] puts two functions of the user around both halves. Neither knows
//! what is in a packet, and neither needs a thread: the receiver waits for the carrier or for the chain, whichever is
//! first. This is the only place beside the proxy where filters meet a clock.

mod filtered;
mod impaired;
mod regroup;
#[cfg(test)]
mod testing;

pub use filtered::{Filtered, PacketFilter};
pub use impaired::{Control, Impaired};

use crate::subsystem::{Ecn, PathId};

/// What a chain keeps beside the bytes of a received packet: the tag of [`Impaired`]'s packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Where the packet came from.
    pub path: PathId,
    /// Its ECN mark, if the carrier shows it. Kept, so that an impaired path is no path that erases marks.
    pub ecn: Option<Ecn>,
}
