//! The meeting places of a stream's threads under test: against models, with real threads, and in many interleavings.

mod outbox;
