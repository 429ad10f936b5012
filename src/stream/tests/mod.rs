//! The meeting places of a stream's threads under test: against models, with real threads, and in many interleavings.

mod alarm;
mod interleavings;
mod mailbox_model;
mod outbox;
mod pipe_model;
