//! What connects senders, receivers and proxies to a controller.
//!
//! ```text
//!   stream --stats()--> THREAD "control-report": ten times a second one batch, at most one under way
//!   reads <---Pace----- THREAD "control-config": long polls
//!   Proxy <--rules----- THREAD "control-rules"
//!         --status(), events()--> THREAD "control-report"
//! ```
//!
//! Nothing here is in the path of data. What cannot be told is added to the next batch, so that a controller that was away
//! learns all of it; and one that was started anew is told everything from the beginning. An old controller, which knows
//! `/config` and `/statistics` only, is told in its own words.

mod endpoint;
mod link;
mod pace;
mod proxy;
mod rules;
mod sampler;
mod threads;

pub use endpoint::{EndpointAgent, Followed, Role};
pub use pace::Pace;
pub use proxy::ProxyAgent;
