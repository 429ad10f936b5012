//! The rules of recovery, flow control and life cycle, one script each.

mod acks;
mod ending;
mod flow;
mod hostile;
mod life;
mod loss;
mod path;
mod probes;
