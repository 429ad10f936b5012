//! Networks for tests: seeded, and as bad as you like. (Feature `testing`.)
//!
//! [`Network`] runs in *virtual time*, without threads and sockets: an hour of a bad link takes a moment, and a seed
//! repeats a run exactly. At its ends stand two [`Endpoint`]s of this library, or two [`Node`]s of your own.
//!
//! ```text
//!   client --poll_transmit--> [loss] [delay] [rate] ... --handle_datagram--> server
//!          <----------------- ... [rate] [delay] [loss] <-------------------
//! ```
//!
//! A mebibyte at 20 % loss, seed 7:
//!
//! ```
//! use securestream::testing::Network;
//! use std::time::Duration;
//!
//! let faults = "delay 20ms; loss 20%".parse()?;
//! let mut network = Network::new(7, &faults);
//! let megabyte = vec![42; 1 << 20];
//! let (at_server, _) = network.transfer(&megabyte, b"", Duration::from_secs(600))?;
//! assert_eq!(at_server, megabyte);
//! println!("{:?} of virtual time", network.elapsed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

//! # With real threads
//! [`pair`] is two subsystems in memory with the same faults in real time, for [`crate::Stream`]s, or for whatever else
//! talks over a [`crate::subsystem::Subsystem`].
//!
//! # With your own protocol
//! Whatever is a [`Node`] can stand at the ends of [`Network::of`]. A sender that repeats itself until it is answered:
//!
//! ```
//! use securestream::testing::{Datagram, Network, Node};
//! use std::time::{Duration, Instant};
//!
//! #[derive(Default)]
//! struct Asker { sent: u32, again_at: Option<Instant>, answered: bool }
//! #[derive(Default)]
//! struct Answerer { asked: u32 }
//!
//! impl Node for Asker {
//!     fn handle_datagram(&mut self, _: Instant, _: &mut [u8], _: u64) {
//!         self.answered = true;
//!     }
//!     fn poll_transmit(&mut self, now: Instant) -> Option<Datagram> {
//!         if self.answered || self.again_at.is_some_and(|at| at > now) {
//!             return None;
//!         }
//!         self.sent += 1;
//!         self.again_at = Some(now + Duration::from_millis(100));
//!         Some(Datagram { bytes: b"anybody there?".to_vec(), path: 0 })
//!     }
//!     fn next_timeout(&self) -> Option<Instant> {
//!         self.again_at.filter(|_| !self.answered)
//!     }
//! }
//! impl Node for Answerer {
//!     fn handle_datagram(&mut self, _: Instant, _: &mut [u8], _: u64) {
//!         self.asked += 1;
//!     }
//!     fn poll_transmit(&mut self, _: Instant) -> Option<Datagram> {
//!         self.asked = self.asked.checked_sub(1)?;
//!         Some(Datagram { bytes: b"yes".to_vec(), path: 0 })
//!     }
//!     fn next_timeout(&self) -> Option<Instant> {
//!         None
//!     }
//! }
//!
//! for seed in 0..100 {
//!     let faults = "delay 5ms; loss 20%".parse()?;
//!     let mut network = Network::of(Asker::default(), Answerer::default(), seed, &faults);
//!     assert!(network.run_until(Duration::from_secs(10), |network| network.client.answered));
//! }
//! # Ok::<(), securestream::filter::SpecError>(())
//! ```

pub mod fuzz;

mod endpoint;
mod letters;
mod link;
mod network;
mod node;
mod parts;
mod real_time;

pub use endpoint::{Endpoint, Options};
pub use link::{LinkCounters, Marks};
pub use network::{Event, Network, Observer};
pub use node::{Datagram, Node};
pub use parts::Mailbox;
pub use real_time::pair;
