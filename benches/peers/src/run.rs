//! One run: two children, a server and a client, from their start to their reports.

use crate::Fallible;
use crate::sides::{GO, LISTENING, READY, REPORT, STOP};
use crate::work::{Report, Role, Task, Transport, Work};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// First word of the command line of a child.
pub const CHILD: &str = "side";
/// Nothing measured here takes so long.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a side that has reported may take to leave.
const FAREWELL: Duration = Duration::from_secs(10);

/// What both sides told.
#[derive(Clone, Debug)]
pub struct Pair {
    pub server: Report,
    pub client: Report,
}

/// A line that a child said; `None`: it has left.
type Said = (Role, Option<String>);

/// Starts both sides and waits for their reports.
pub fn run(transport: Transport, work: Work, keys: &Path) -> Fallible<Pair> {
    let (tell, heard) = channel();
    let task = |role, addr| Task {
        role,
        transport,
        work,
        keys: keys.to_owned(),
        addr,
    };
    let mut server = Side::start(&task(Role::Server, None), tell.clone())?;
    let mut client = None;
    let mut conversation = Conversation::default();
    let deadline = Instant::now() + PATIENCE;
    while conversation.pair().is_none() {
        let (role, line) = next(&heard, deadline).map_err(|error| format!("{transport:?}, {work:?}: {error}"))?;
        let Some(line) = line else {
            if conversation.report(role).is_none() {
                return Err(format!("{transport:?}, {work:?}: the {role:?} left without a report").into());
            }
            continue;
        };
        if let Some(addr) = line.strip_prefix(LISTENING) {
            client = Some(Side::start(&task(Role::Client, Some(addr.parse()?)), tell.clone())?);
        } else if line == READY {
            conversation.ready += 1;
            if conversation.ready == 2 {
                server.say(GO);
                client.as_mut().expect("both are ready").say(GO);
            }
        } else if let Some(report) = line.strip_prefix(REPORT) {
            let report = serde_json::from_str(report)?;
            match role {
                Role::Server => conversation.server = Some(report),
                Role::Client => {
                    conversation.client = Some(report);
                    server.say(STOP);
                }
            }
        }
    }
    let pair = conversation.pair().expect("the loop ended with it");
    if let Some(client) = &mut client {
        client.say(STOP);
    }
    server.leave();
    if let Some(mut client) = client {
        client.leave();
    }
    Ok(pair)
}

fn next(heard: &Receiver<Said>, deadline: Instant) -> Fallible<Said> {
    heard
        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        .map_err(|_| format!("no end after {} s", PATIENCE.as_secs()).into())
}

#[derive(Default)]
struct Conversation {
    ready: usize,
    server: Option<Report>,
    client: Option<Report>,
}

impl Conversation {
    fn report(&self, role: Role) -> Option<&Report> {
        match role {
            Role::Server => self.server.as_ref(),
            Role::Client => self.client.as_ref(),
        }
    }

    fn pair(&self) -> Option<Pair> {
        Some(Pair {
            server: self.server.clone()?,
            client: self.client.clone()?,
        })
    }
}

/// A child; killed if it is dropped before it has left.
struct Side(Child);

impl Side {
    fn start(task: &Task, tell: Sender<Said>) -> Fallible<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(CHILD)
            .arg(serde_json::to_string(task)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let role = task.role;
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = tell.send((role, Some(line)));
            }
            let _ = tell.send((role, None));
        });
        Ok(Self(child))
    }

    /// A child that is gone need not hear it.
    fn say(&mut self, word: &str) {
        if let Some(stdin) = &mut self.0.stdin {
            let _ = writeln!(stdin, "{word}");
        }
    }

    /// Waits until it is gone, so that it does not disturb the next run.
    fn leave(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
