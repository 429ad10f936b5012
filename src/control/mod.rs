//! The controller: watches endpoints and proxies, and steers them, live. And what connects those to it.
//!
//! ```text
//!   browser, stream-ctl --> Controller { gate -> tiny_http -> guard -> router -> api -> State } <-- EndpointAgent (sender, receiver)
//!                                                                                              <-- ProxyAgent
//! ```
//!
//! It speaks JSON over HTTP, compatible at its root with that of the original program; `docs/rest.md` has all of it. Agents
//! run on threads of their own: a controller that is dead, or hangs, costs the path of data nothing.
//!
//! ```
//! use securestream::control::Controller;
//!
//! let controller = Controller::builder().start()?;
//! assert!(controller.url().starts_with("http://127.0.0.1:"));
//! // It ends when it is dropped.
//! # Ok::<(), std::io::Error>(())
//! ```

mod agent;
mod api;
mod client;
mod clock;
mod controller;
mod decode;
mod feed;
mod guard;
mod message;
mod metrics;
mod pages;
mod player;
mod qlog;
mod report;
mod router;
mod server;
mod state;

pub use agent::{EndpointAgent, Followed, Pace, ProxyAgent, Role};
pub use client::{Address, Client, Refused};
pub use controller::{Controller, ControllerBuilder};
pub use state::scenario::Canned;
