//! The path that packets take, and the validation of a new one. RFC 9000, sections 8.2 and 9.
//!
//! The peer's address may change (NAT rebinding, a new socket). We go on sending on the old path until the peer has
//! answered a challenge *from the new one*; until then at most three times what came from there goes there.

use super::update::PathSeen;
use std::time::{Duration, Instant};

/// A path as the core sees it: equal numbers are equal paths. Whoever drives the core knows the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathId(pub u64);

/// Bytes sent to an address that was not validated, for each byte received from there (RFC 9000, section 8).
pub const AMPLIFICATION: u64 = 3;
/// Challenges sent on a candidate path before it is given up.
const MAX_CHALLENGES: u32 = 3;
/// Datagrams that validate a path should show that it carries this many bytes (RFC 9000, section 8.2.1).
const FULL_BYTES: u64 = 1200;
/// The smallest packet with a challenge or a response: header, frame and tag.
const SMALLEST_BYTES: u64 = 13 + 9 + 16;

/// The wait for an answer doubles up to this: a path that was bad for long must be taken soon after it has healed.
const MAX_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Candidate {
    path: PathId,
    port_only: bool,
    challenge: [u8; 8],
    challenges_sent: u32,
    challenge_due: bool,
    received_bytes: u64,
    sent_bytes: u64,
    deadline: Option<Instant>,
}

impl Candidate {
    /// Every challenge had its time. An answer may still come, however late; and as long as the peer is heard from
    /// there, it is asked again.
    fn is_given_up(&self) -> bool {
        !self.challenge_due && self.deadline.is_none() && self.challenges_sent >= MAX_CHALLENGES
    }
}

/// A frame that must go out on a certain path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFrame {
    /// Asks whether the peer can be reached there.
    Challenge([u8; 8]),
    /// The answer to the peer's question.
    Response([u8; 8]),
}

/// What is different on the path that packets take from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The peer's port: a NAT has forgotten its entry. The network is the same.
    PortOnly,
    /// Everything, as far as we know.
    Elsewhere,
}

/// See the module.
#[derive(Debug)]
pub struct Paths {
    active: PathId,
    highest_pn: Option<u64>,
    candidate: Option<Candidate>,
    response: Option<(PathId, [u8; 8])>,
}

impl Paths {
    /// Starts on `active`, which the handshake has validated.
    pub fn new(active: PathId) -> Self {
        Self {
            active,
            highest_pn: None,
            candidate: None,
            response: None,
        }
    }

    /// Where packets go.
    pub fn active(&self) -> PathId {
        self.active
    }

    /// A packet with the highest number so far came from the active path.
    pub fn handle_active(&mut self, pn: u64) {
        self.highest_pn = self.highest_pn.max(Some(pn));
    }

    /// A packet came from another path. Begins to validate it if the packet is the newest so far; `challenge` must be
    /// unpredictable.
    pub fn handle_other(&mut self, seen: &PathSeen, challenge: [u8; 8]) {
        let PathSeen {
            path,
            pn,
            port_only,
            bytes,
        } = *seen;
        if path == self.active {
            // The receiver had not heard yet that this is where packets go now.
            return self.handle_active(pn);
        }
        match &mut self.candidate {
            Some(candidate) if candidate.path == path => {
                candidate.received_bytes += bytes;
                if candidate.is_given_up() && self.highest_pn.is_none_or(|highest| pn > highest) {
                    candidate.challenges_sent = 0;
                    candidate.challenge_due = true;
                }
            }
            _ if self.highest_pn.is_none_or(|highest| pn > highest) => {
                self.candidate = Some(Candidate {
                    path,
                    port_only,
                    challenge,
                    challenges_sent: 0,
                    challenge_due: true,
                    received_bytes: bytes,
                    sent_bytes: 0,
                    deadline: None,
                });
            }
            _ => {}
        }
        self.highest_pn = self.highest_pn.max(Some(pn));
    }

    /// The peer asks on `path`. One slot: the newest question wins.
    pub fn handle_challenge(&mut self, path: PathId, data: [u8; 8]) {
        self.response = Some((path, data));
    }

    /// The peer answered. If that validated the candidate, it is now the active path.
    pub fn handle_response(&mut self, path: PathId, data: [u8; 8]) -> Option<Moved> {
        match &self.candidate {
            Some(candidate) if candidate.path == path && candidate.challenge == data => {
                let moved = if candidate.port_only {
                    Moved::PortOnly
                } else {
                    Moved::Elsewhere
                };
                self.active = path;
                self.candidate = None;
                Some(moved)
            }
            _ => None,
        }
    }

    /// When the current challenge is to be repeated or given up.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.candidate.as_ref().and_then(|candidate| candidate.deadline)
    }

    /// The challenge was not answered in time.
    pub fn handle_timeout(&mut self) {
        if let Some(candidate) = &mut self.candidate {
            candidate.deadline = None;
            candidate.challenge_due = candidate.challenges_sent < MAX_CHALLENGES;
        }
    }

    /// The next frame that must go out on a path of its own, and the size in bytes of the packet for it: as large as
    /// the path allows, at most `packet_bytes`. The caller sends it and calls [`Paths::on_sent`].
    pub fn next_frame(&self, packet_bytes: u64) -> Option<(PathId, PathFrame, u64)> {
        let full = packet_bytes.min(FULL_BYTES);
        if let Some((path, data)) = self.response
            && let Some(bytes) = self.allowed(path, full)
        {
            return Some((path, PathFrame::Response(data), bytes));
        }
        let candidate = self.candidate.as_ref().filter(|c| c.challenge_due)?;
        let bytes = self.allowed(candidate.path, full)?;
        let frame = PathFrame::Challenge(candidate.challenge);
        Some((candidate.path, frame, bytes))
    }

    /// How large a packet to `path` may be, if one may go there. A small one is better than none: a peer that only
    /// acknowledges would wait for ever on its new path.
    fn allowed(&self, path: PathId, full: u64) -> Option<u64> {
        match &self.candidate {
            _ if path == self.active => Some(full),
            Some(candidate) if candidate.path == path => {
                let budget = (AMPLIFICATION * candidate.received_bytes).saturating_sub(candidate.sent_bytes);
                (budget >= SMALLEST_BYTES).then_some(budget.min(full))
            }
            // A path that is neither gets an answer no larger than the question.
            _ => Some(SMALLEST_BYTES),
        }
    }

    /// A frame of [`Paths::next_frame`] went out in a packet of `bytes`; the answer is awaited for `patience`.
    pub fn on_sent(&mut self, path: PathId, frame: PathFrame, bytes: u64, now: Instant, patience: Duration) {
        if let Some(candidate) = self.candidate.as_mut().filter(|candidate| candidate.path == path) {
            candidate.sent_bytes += bytes;
        }
        match frame {
            PathFrame::Response(_) => self.response = None,
            PathFrame::Challenge(_) => {
                if let Some(candidate) = &mut self.candidate {
                    candidate.challenge_due = false;
                    candidate.challenges_sent += 1;
                    let patience = patience * (1 << (candidate.challenges_sent - 1));
                    candidate.deadline = Some(now + patience.min(MAX_PATIENCE));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: PathId = PathId(0);
    const NEW: PathId = PathId(1);

    fn seen(pn: u64, bytes: u64) -> PathSeen {
        PathSeen {
            path: NEW,
            pn,
            port_only: false,
            bytes,
        }
    }

    #[test]
    fn it_is_told_when_only_the_port_is_new() {
        let mut paths = Paths::new(OLD);
        let seen = PathSeen {
            port_only: true,
            ..seen(6, 1200)
        };
        paths.handle_other(&seen, [7; 8]);
        assert_eq!(paths.handle_response(NEW, [7; 8]), Some(Moved::PortOnly));
    }

    #[test]
    fn a_path_is_taken_only_after_an_answer_from_it() {
        let mut paths = Paths::new(OLD);
        paths.handle_active(5);
        paths.handle_other(&seen(6, 1200), [7; 8]);
        assert_eq!(paths.next_frame(1200), Some((NEW, PathFrame::Challenge([7; 8]), 1200)));
        assert!(
            paths.handle_response(OLD, [7; 8]).is_none(),
            "an answer over the old path proves nothing"
        );
        assert_eq!(paths.handle_response(NEW, [8; 8]), None);
        assert_eq!(paths.active(), OLD);
        assert_eq!(paths.handle_response(NEW, [7; 8]), Some(Moved::Elsewhere));
        assert_eq!(paths.active(), NEW);
    }

    #[test]
    fn the_active_path_is_not_validated_again() {
        let mut paths = Paths::new(OLD);
        paths.handle_other(&seen(6, 1200), [7; 8]);
        assert_eq!(paths.handle_response(NEW, [7; 8]), Some(Moved::Elsewhere));
        paths.handle_other(&seen(7, 1200), [9; 8]);
        assert_eq!(paths.next_frame(1200), None);
    }

    #[test]
    fn an_answer_that_comes_after_the_last_challenge_still_counts_and_new_packets_are_asked_again() {
        #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
        let now = Instant::now();
        let mut paths = Paths::new(OLD);
        paths.handle_other(&seen(6, 1200), [7; 8]);
        for _ in 0..MAX_CHALLENGES {
            let (path, frame, _) = paths.next_frame(1200).expect("a challenge");
            paths.on_sent(path, frame, 1200, now, Duration::from_secs(1));
            paths.handle_timeout();
        }
        assert_eq!((paths.next_frame(1200), paths.next_timeout()), (None, None));
        paths.handle_other(&seen(5, 1200), [9; 8]);
        assert_eq!(paths.next_frame(1200), None, "an old packet asks for nothing");
        paths.handle_other(&seen(7, 1200), [9; 8]);
        assert_eq!(paths.next_frame(1200), Some((NEW, PathFrame::Challenge([7; 8]), 1200)));
        assert_eq!(paths.handle_response(NEW, [7; 8]), Some(Moved::Elsewhere));
        assert_eq!(paths.active(), NEW);
    }

    #[test]
    fn an_old_packet_from_elsewhere_starts_nothing() {
        let mut paths = Paths::new(OLD);
        paths.handle_active(5);
        paths.handle_other(&seen(4, 1200), [7; 8]);
        assert_eq!(paths.next_frame(50), None);
    }

    #[test]
    fn three_times_what_came_from_there_goes_there() {
        let mut paths = Paths::new(OLD);
        paths.handle_other(&seen(1, 100), [7; 8]);
        assert_eq!(paths.next_frame(1200), Some((NEW, PathFrame::Challenge([7; 8]), 300)));
    }
}
