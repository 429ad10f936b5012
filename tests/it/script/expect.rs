//! What a script expects of one packet.

use super::endpoint::Sent;
use super::{Script, describe};
use securestream::proto::path::PathId;
use securestream::wire::frame::Frame;
use std::ops::{Range, RangeInclusive};

/// A packet that was sent; every word checks one thing of it.
pub(crate) struct Expected<'a> {
    script: &'a Script,
    sent: Sent,
}

impl<'a> Expected<'a> {
    pub(super) fn new(script: &'a Script, sent: Sent) -> Self {
        Self { script, sent }
    }

    /// It carries exactly these bytes of the stream, without FIN.
    #[track_caller]
    pub(crate) fn stream(self, range: Range<u64>) -> Self {
        let found = self.streams();
        self.must(found == [(range.clone(), false)], &format!("STREAM {range:?}"))
    }

    /// It carries exactly these bytes of the stream, and the FIN behind them.
    #[track_caller]
    pub(crate) fn stream_end(self, range: Range<u64>) -> Self {
        let found = self.streams();
        let what = format!("STREAM {range:?} FIN");
        self.must(found == [(range.clone(), true)], &what)
    }

    /// It carries no bytes of the stream.
    #[track_caller]
    pub(crate) fn no_stream(self) -> Self {
        let none = self.streams().is_empty();
        self.must(none, "no STREAM")
    }

    /// It carries this frame.
    #[track_caller]
    pub(crate) fn frame(self, frame: &Frame<'_>) -> Self {
        let found = self.sent.frames().contains(frame);
        self.must(found, &format!("{frame:?}"))
    }

    /// It acknowledges exactly these ranges, highest first.
    #[track_caller]
    pub(crate) fn acks(self, ranges: &[RangeInclusive<u64>]) -> Self {
        let found = self
            .sent
            .frames()
            .iter()
            .any(|frame| matches!(frame, Frame::Ack(ack) if ack.ranges().eq(ranges.iter().cloned())));
        self.must(found, &format!("an ACK of {ranges:?}"))
    }

    /// It carries an ACK and nothing else.
    #[track_caller]
    pub(crate) fn only_ack(self) -> Self {
        let eliciting = self.sent.is_ack_eliciting();
        self.must(!eliciting, "an ACK alone")
    }

    /// It asks for an acknowledgement with a PING and carries no data.
    #[track_caller]
    pub(crate) fn ping(self) -> Self {
        self.no_stream().frame(&Frame::Ping)
    }

    /// It closes the connection with this code.
    #[track_caller]
    pub(crate) fn close(self, code: u64) -> Self {
        let found = self
            .sent
            .frames()
            .iter()
            .any(|frame| matches!(frame, Frame::ConnectionClose { code: found, .. } if *found == code));
        self.must(found, &format!("CONNECTION_CLOSE {code:#x}"))
    }

    /// Its number.
    #[track_caller]
    pub(crate) fn pn(self, pn: u64) -> Self {
        let same = self.sent.pn == pn;
        self.must(same, &format!("packet number {pn}"))
    }

    /// The path that it took.
    #[track_caller]
    pub(crate) fn on(self, path: PathId) -> Self {
        let same = self.sent.path == path;
        self.must(same, &format!("path {}", path.0))
    }

    /// The packet itself.
    pub(crate) fn sent(self) -> Sent {
        self.sent
    }

    fn streams(&self) -> Vec<(Range<u64>, bool)> {
        let frames = self.sent.frames();
        let streams = frames.iter().filter_map(|frame| match *frame {
            Frame::Stream { offset, fin, data, .. } => Some((offset..offset + data.len() as u64, fin)),
            _ => None,
        });
        streams.collect()
    }

    #[track_caller]
    fn must(self, holds: bool, what: &str) -> Self {
        if !holds {
            let found = describe(&self.sent);
            self.script.fail(&format!("expected {what} in {found}"));
        }
        self
    }
}
