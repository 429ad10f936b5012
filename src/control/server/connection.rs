//! One client at the gate: read to the end of its request, then connected to the door behind, then closed politely.

use super::door::render;
use super::head::{Head, MAX_HEAD_BYTES, head};
use crate::control::message::{MAX_BODY_BYTES, Response};
use rustix::event::PollFlags;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The time for the head of a request, and for all of it.
const HEAD_TIME: Duration = Duration::from_secs(5);
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is dropped.
const STALL_TIME: Duration = Duration::from_secs(5);
/// A client that has had something to take for so long makes room where there is none.
const SLOW_TIME: Duration = Duration::from_secs(10);
/// How long a client may go on talking after its answer: closing at once would destroy the answer on its way.
const FAREWELL: Duration = Duration::from_secs(1);
const CHUNK_BYTES: usize = 16 << 10;
/// Reads from one client before the others have their turn.
const TURN_READS: usize = 4;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The rest of a request.
    Reading,
    /// The response, which the door gives.
    Relaying,
    /// The client, to take a response of the gate's own.
    Answering,
    /// The client, to close.
    Closing,
}

/// Bytes on their way, and how far they got.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    at: usize,
}

impl Pending {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Writes what is taken now. Returns how much that was.
    fn push(&mut self, out: &mut impl Write) -> io::Result<usize> {
        let start = self.at;
        while !self.is_empty() {
            match out.write(&self.bytes[self.at..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.at += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.at - start)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: TcpStream,
    pub(super) door: Option<UnixStream>,
    pub(super) opened: Instant,
    stage: Stage,
    /// What came and is no whole request yet.
    incoming: Vec<u8>,
    /// Up to here there is no end of a head.
    scanned: usize,
    head: Option<Head>,
    to_door: Pending,
    to_client: Pending,
    /// Whether the door has said anything.
    is_answered: bool,
    door_has_ended: bool,
    client_has_ended: bool,
    /// When the client last took something, or had nothing to take.
    moved: Instant,
    /// Since when it has had something to take, while the door has more than it takes at once.
    slow_since: Option<Instant>,
}

/// How to go on with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits.
    Stay,
    /// Its request is whole: connect it to the door.
    Connect,
    /// It is over.
    Drop,
}

impl Connection {
    pub(super) fn new(client: TcpStream, now: Instant) -> Self {
        Self {
            client,
            door: None,
            opened: now,
            stage: Stage::Reading,
            incoming: Vec::new(),
            scanned: 0,
            head: None,
            to_door: Pending::default(),
            to_client: Pending::default(),
            is_answered: false,
            door_has_ended: false,
            client_has_ended: false,
            moved: now,
            slow_since: None,
        }
    }

    /// Whether nothing is lost that somebody waits for when it makes room for another one.
    pub(super) fn may_go(&self) -> bool {
        matches!(self.stage, Stage::Reading | Stage::Closing)
    }

    /// Since when it has been slow to take its answer, if that is long enough to make room for another one.
    pub(super) fn slow_since(&self, now: Instant) -> Option<Instant> {
        let is_slow = |since: &Instant| now.saturating_duration_since(*since) > SLOW_TIME;
        self.slow_since.filter(is_slow)
    }

    /// What to wait for at the client, and at the door.
    pub(super) fn interest(&self) -> (PollFlags, PollFlags) {
        let (mut client, mut door) = (PollFlags::empty(), PollFlags::empty());
        if !self.client_has_ended {
            client |= PollFlags::IN;
        }
        if !self.to_client.is_empty() {
            client |= PollFlags::OUT;
        } else if !self.door_has_ended {
            door |= PollFlags::IN;
        }
        if !self.to_door.is_empty() {
            door |= PollFlags::OUT;
        }
        (client, door)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Reading if self.head.is_none() => Some(self.opened + HEAD_TIME),
            Stage::Reading => Some(self.opened + REQUEST_TIME),
            Stage::Relaying | Stage::Answering => (!self.to_client.is_empty()).then_some(self.moved + STALL_TIME),
            Stage::Closing => Some(self.moved + FAREWELL),
        }
    }

    /// Its time is up.
    pub(super) fn expire(&mut self, now: Instant) -> Next {
        if self.stage == Stage::Reading && !self.incoming.is_empty() {
            let response = Response::error(408, "the request did not come to its end in time");
            return self.answer(&response, now);
        }
        Next::Drop
    }

    /// Something can be read from the client.
    pub(super) fn read_client(&mut self, now: Instant) -> Next {
        let mut chunk = [0; CHUNK_BYTES];
        for _ in 0..TURN_READS {
            match self.client.read(&mut chunk) {
                Ok(0) => {
                    self.client_has_ended = true;
                    return if self.may_go() { Next::Drop } else { Next::Stay };
                }
                // More than one request on a connection is not served, so nothing can be hidden there.
                Ok(_) if self.stage != Stage::Reading => {}
                Ok(read) => {
                    self.incoming.extend_from_slice(&chunk[..read]);
                    match self.look(now) {
                        Next::Stay if self.stage == Stage::Reading => {}
                        next => return next,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Stay,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Next::Drop,
            }
        }
        Next::Stay
    }

    /// Looks at what has come of the request.
    fn look(&mut self, now: Instant) -> Next {
        if self.head.is_none() {
            let from = self.scanned.saturating_sub(3);
            let has_end = self.incoming[from..].windows(4).any(|window| window == b"\r\n\r\n");
            self.scanned = self.incoming.len();
            if !has_end && self.scanned <= MAX_HEAD_BYTES {
                return Next::Stay;
            }
            match head(&self.incoming) {
                Ok(Some(head)) => {
                    if head.expects_continue {
                        self.to_client = Pending::of(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec());
                        if self.push_client(now) == Next::Drop {
                            return Next::Drop;
                        }
                    }
                    self.head = Some(head);
                }
                Ok(None) => return Next::Stay,
                Err(refused) => return self.answer(&refused, now),
            }
        }
        let Some(head) = &self.head else {
            return Next::Stay;
        };
        match head.body(&self.incoming) {
            Ok(Some(body)) => {
                self.to_door = Pending::of(head.rewritten(&body));
                self.incoming = Vec::new();
                Next::Connect
            }
            Ok(None) if self.incoming.len() > MAX_HEAD_BYTES + 3 * MAX_BODY_BYTES => Next::Drop,
            Ok(None) => Next::Stay,
            Err(refused) => self.answer(&refused, now),
        }
    }

    /// The door is open.
    pub(super) fn connect(&mut self, door: UnixStream, now: Instant) -> Next {
        self.stage = Stage::Relaying;
        self.moved = now;
        self.door = Some(door);
        self.write_door()
    }

    /// Answers in place of the door.
    pub(super) fn answer(&mut self, response: &Response, now: Instant) -> Next {
        self.stage = Stage::Answering;
        self.moved = now;
        self.door = None;
        self.door_has_ended = true;
        self.incoming = Vec::new();
        self.to_door = Pending::default();
        self.to_client = Pending::of(render(response));
        self.push_client(now)
    }

    pub(super) fn write_door(&mut self) -> Next {
        let Some(door) = &mut self.door else {
            return Next::Stay;
        };
        // A door that has closed has said why, or nothing at all.
        let _ = self.to_door.push(door);
        Next::Stay
    }

    /// Something can be read from the door.
    pub(super) fn read_door(&mut self, now: Instant) -> Next {
        // A door that has closed is always ready. What the client has not taken yet comes first.
        if !self.to_client.is_empty() {
            return Next::Stay;
        }
        let Some(door) = &mut self.door else {
            return Next::Stay;
        };
        let mut chunk = [0; CHUNK_BYTES];
        match door.read(&mut chunk) {
            Ok(0) => self.end_of_door(now),
            Ok(read) => {
                self.is_answered = true;
                self.to_client = Pending::of(chunk[..read].to_vec());
                self.moved = now;
                let next = self.push_client(now);
                // A full chunk has more behind it: the client may be slow although it has just taken this one.
                if self.to_client.is_empty() && read < CHUNK_BYTES {
                    self.slow_since = None;
                } else {
                    self.slow_since.get_or_insert(now);
                }
                next
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Next::Stay,
            Err(_) => self.end_of_door(now),
        }
    }

    fn end_of_door(&mut self, now: Instant) -> Next {
        if !self.is_answered {
            let response = Response::error(503, "the controller was interrupted; ask again");
            return self.answer(&response, now);
        }
        self.door_has_ended = true;
        self.door = None;
        self.push_client(now)
    }

    /// Gives the client what it takes.
    pub(super) fn push_client(&mut self, now: Instant) -> Next {
        match self.to_client.push(&mut self.client) {
            Ok(0) => {}
            Ok(_) => self.moved = now,
            Err(_) => return Next::Drop,
        }
        if !self.to_client.is_empty() || !self.door_has_ended {
            return Next::Stay;
        }
        if self.client_has_ended || self.client.shutdown(Shutdown::Write).is_err() {
            return Next::Drop;
        }
        self.stage = Stage::Closing;
        self.moved = now;
        Next::Stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::clock;
    use std::net::TcpListener;

    #[test]
    fn a_client_that_is_slow_with_a_large_answer_can_make_room() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        accepted.set_nonblocking(true).unwrap();
        let (door, mut behind) = UnixStream::pair().unwrap();
        let now = clock::now();
        let mut connection = Connection::new(accepted, now);
        connection.connect(door, now);
        let later = now + SLOW_TIME + Duration::from_millis(1);
        behind.write_all(b"small").unwrap();
        connection.read_door(now);
        assert_eq!(connection.slow_since(later), None, "it is taken at once");
        behind.write_all(&[0; CHUNK_BYTES]).unwrap();
        connection.read_door(now);
        assert!(!connection.may_go());
        assert_eq!(connection.slow_since(now + SLOW_TIME), None);
        assert_eq!(connection.slow_since(later), Some(now));
    }
}
