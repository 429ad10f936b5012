//! The protocol core, sans-IO: bytes and `now` in, bytes and deadlines out. No socket, clock, thread or cryptography.
//!
//! Two halves, one direction of flow. Each half is owned by one thread, so protocol state needs no lock:
//!
//! ```text
//!   wire --> RecvHalf --in-order bytes--> Sink (the application)
//!               |
//!               +--- Update (merged, never queued) ---> SendHalf --packets--> wire
//!                          the application's writes -------^
//! ```
//!
//! Call order, for whoever drives it (a thread, or a simulator in virtual time):
//! 1. For each opened packet [`RecvHalf::handle_packet`], after the last [`RecvHalf::tell_marks`]; then merge the [`Update`]
//!    into the one that the sender takes.
//! 2. [`SendHalf::handle_update`], then the commands of the application, then [`SendHalf::handle_timeout`] if
//!    [`SendHalf::next_timeout`] has passed.
//! 3. [`SendHalf::poll_transmit`] until `None`; seal and send each packet. Then [`SendHalf::set_timers`].
//! 4. Wait for [`SendHalf::next_timeout`] or [`SendHalf::next_paced`], whichever comes first, or for more input.
//!
//! Time never runs backwards: `now` of a call is never before that of an earlier one.

pub mod chunk;
pub mod config;
pub mod update;

pub mod ack_policy;
pub mod ack_tracker;
pub mod control;
mod ending;
pub mod packet_builder;
pub mod path;
pub mod pmtu;
pub mod send_buffer;
pub mod send_half;
pub mod timer;
mod transmit;

pub mod congestion;
pub mod ecn;
pub mod loss;
pub mod pacer;
pub mod rtt;
pub mod sent;

pub mod control_limit;
pub mod flow;
pub mod range_set;
pub mod reassembler;
pub mod recv_half;

pub use config::{Config, Settled};
pub use ending::{Ended, LONGEST_CLOSE_WAIT};
pub use recv_half::{RecvHalf, Sink};
pub use send_half::SendHalf;
pub use transmit::Transmit;
pub use update::Update;
