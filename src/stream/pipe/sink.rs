//! The end of the pipe that the receive thread fills, and what stands under its lock.

use super::pages::Pages;
use crate::error::StreamError;
use crate::proto::recv_half::Sink;
use crate::subsystem::Buffer;
use std::sync::Arc;

/// How the stream ends for the reader.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// With a FIN: everything was delivered.
    Whole,
    /// Otherwise: what was delivered is a prefix.
    Cut(StreamError),
}

/// What both ends share.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pages: Pages,
    pub(super) delivered: u64,
    /// Bytes that wait elsewhere for what is missing before them.
    pub(super) gapped: u64,
    pub(super) end: Option<End>,
    pub(super) stopped: bool,
}

/// See the module.
pub(crate) struct PipeSink<'a> {
    pub(super) state: &'a mut State,
    /// Where the packets stand, if payload may stay there.
    pub(super) buffer: Option<&'a Arc<Buffer>>,
    /// An end came during this access.
    pub(super) ended: bool,
}

impl PipeSink<'_> {
    /// So many bytes wait for what is missing before them.
    pub(crate) fn set_gapped(&mut self, bytes: u64) {
        self.state.gapped = bytes;
    }
}

impl Sink for PipeSink<'_> {
    fn deliver(&mut self, bytes: &[u8]) {
        self.state.delivered += bytes.len() as u64;
        if self.state.stopped {
            return;
        }
        match self.buffer {
            Some(buffer) => self.state.pages.lend(bytes, buffer),
            None => self.state.pages.append(bytes),
        }
    }

    fn end(&mut self) {
        self.state.end.get_or_insert(End::Whole);
        self.ended = true;
    }

    fn reset(&mut self, _code: u64) {
        let reason = "the peer abandoned its direction".into();
        self.state.end.get_or_insert(End::Cut(StreamError::Reset { reason }));
        self.ended = true;
    }
}
