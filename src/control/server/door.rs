//! THREAD `http-door`: takes requests from `tiny_http` and gives each to a thread of its own, for some wait for long.
//!
//! After an error of its socket `tiny_http` is done for; then it is made anew on a new one.

use crate::control::message::{Body, Method, Request, Response};
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;
use tiny_http::Server;

const STACK_BYTES: usize = 512 << 10;
/// How the names of our folders begin.
const FOLDER: &str = "securestream-door-";
/// Attempts to get a request through while the server is made anew.
const ATTEMPTS: u32 = 3;
/// How long the threads of requests are waited for at the end.
const END_TIME: Duration = Duration::from_secs(2);
/// A sign of life for clients that follow events.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What every response says besides what it is about.
const HEADERS: &str = "Content-Security-Policy: default-src 'self'; base-uri 'none'; form-action 'self'; \
                       frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
                       Cross-Origin-Resource-Policy: same-origin\r\n";

/// What answers requests.
pub(in crate::control) type Answer = Arc<dyn Fn(Request) -> Response + Send + Sync>;

/// See the module.
pub(in crate::control) struct Doors {
    /// For this user only.
    folder: PathBuf,
    open: Mutex<Open>,
    is_over: AtomicBool,
    guests: Arc<Guests>,
}

/// The threads of requests. A thing of its own, so that each can sign off when it holds nothing else any more.
#[derive(Default)]
struct Guests {
    within: Mutex<usize>,
    left: Condvar,
}

#[derive(Default)]
struct Open {
    path: PathBuf,
    made: u64,
    server: Option<Arc<Server>>,
}

impl Doors {
    pub(in crate::control) fn new() -> io::Result<Self> {
        clear_away();
        let name = format!("{FOLDER}{}-{:016x}", std::process::id(), rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self {
            folder,
            open: Mutex::default(),
            is_over: AtomicBool::new(false),
            guests: Arc::default(),
        })
    }

    /// A connection to the door that is open now.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        let mut tries = 0;
        loop {
            let path = self.open.lock().path.clone();
            match UnixStream::connect(path) {
                Ok(stream) => {
                    stream.set_nonblocking(true)?;
                    return Ok(stream);
                }
                Err(error) if tries >= ATTEMPTS => return Err(error),
                Err(_) => tries += 1,
            }
        }
    }

    /// Makes the server, in place of one that may be there.
    pub(in crate::control) fn make(&self) -> io::Result<Arc<Server>> {
        let mut open = self.open.lock();
        open.made += 1;
        let path = self.folder.join(format!("door-{}", open.made));
        let listener = UnixListener::bind(&path)?;
        let server = Server::from_listener(listener, None).map_err(|error| io::Error::other(error.to_string()))?;
        let server = Arc::new(server);
        open.path = path;
        open.server = Some(Arc::clone(&server));
        Ok(server)
    }

    /// The loop. `server` is the first one that was made.
    pub(in crate::control) fn run(&self, mut server: Arc<Server>, answer: &Answer) {
        loop {
            match server.recv() {
                Ok(request) => self.take(request, answer),
                Err(_) if self.is_over.load(Ordering::Acquire) => return,
                Err(error) => {
                    log::warn!("the server ended ({error}) and is made anew");
                    match self.make() {
                        Ok(new) => server = new,
                        Err(error) => {
                            log::error!("no server can be made: {error}");
                            return;
                        }
                    }
                }
            }
        }
    }

    fn take(&self, request: tiny_http::Request, answer: &Answer) {
        let guest = Guest::enter(&self.guests);
        let answer = Arc::clone(answer);
        let thread = Builder::new().name("http-request".to_owned()).stack_size(STACK_BYTES);
        let spawned = thread.spawn(move || {
            let _guest = guest;
            // Dropped before the guest leaves: whoever waits for it finds nothing left behind.
            let answer = answer;
            serve(request, &answer);
        });
        if let Err(error) = spawned {
            // The request went with the closure, which answers it with a 500.
            log::warn!("no thread for a request: {error}");
        }
    }

    /// Ends the loop.
    pub(in crate::control) fn close(&self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(server) = self.open.lock().server.take() {
            server.unblock();
        }
    }

    /// Waits for the threads of requests, which end when the gate is closed. To be called when the loop has ended: until then
    /// it may begin another.
    pub(in crate::control) fn wait(&self) {
        let deadline = crate::control::clock::now() + END_TIME;
        let mut within = self.guests.within.lock();
        while *within > 0 && !self.guests.left.wait_until(&mut within, deadline).timed_out() {}
    }

    /// Makes the server fail once, as an error of its socket would.
    #[cfg(test)]
    pub(in crate::control) fn fail(&self) {
        if let Some(server) = &self.open.lock().server {
            server.unblock();
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        // The socket goes with its server; what is left is a folder of ours.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes folders of controllers that were killed: ours, of a process that is gone, with a door that nobody opens any more.
///
/// Both are asked. A closed door may be one that is just being made. And the number of a process says nothing about a
/// controller in another container that shares the folder, nor in one that was given the number anew.
fn clear_away() {
    let own = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    let folders = entries.filter_map(Result::ok).filter(|entry| {
        let is_named_so = entry.file_name().to_string_lossy().starts_with(FOLDER);
        is_named_so
            && !is_of_the_living(&entry.file_name())
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own)
    });
    for folder in folders {
        let doors = fs::read_dir(folder.path()).into_iter().flatten().filter_map(Result::ok);
        let mut doors = doors.peekable();
        // One without a door is being made at this moment.
        if doors.peek().is_some() && doors.all(|door| is_closed(&door.path())) {
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}

/// Whether the process whose number is in the name of this folder is there.
fn is_of_the_living(folder: &OsStr) -> bool {
    let name = folder.to_string_lossy();
    let number = name.strip_prefix(FOLDER).and_then(|rest| rest.split('-').next());
    let pid = number.and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

fn is_closed(door: &Path) -> bool {
    UnixStream::connect(door).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The thread of one request.
struct Guest(Arc<Guests>);

impl Guest {
    fn enter(guests: &Arc<Guests>) -> Self {
        *guests.within.lock() += 1;
        Self(Arc::clone(guests))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        *self.0.within.lock() -= 1;
        self.0.left.notify_all();
    }
}

/// Answers one request. One that panics is answered with a 500 by `tiny_http`.
fn serve(mut request: tiny_http::Request, answer: &Answer) {
    let is_head = *request.method() == tiny_http::Method::Head;
    let mut body = Vec::new();
    // The gate has all of it, and has counted it.
    if request.as_reader().read_to_end(&mut body).is_err() {
        return;
    }
    let ours = Request::new(Method::of(request.method().as_str()), request.url()).with_body(body);
    let ours = request.headers().iter().fold(ours, |ours, header| {
        ours.with_header(header.field.as_str().as_str(), header.value.as_str())
    });
    let response = answer(ours);
    let mut out = request.into_writer();
    // A body may be large, and its reader slow: no second copy is made of it.
    let body = if is_head { &[] } else { body_of(&response) };
    let sent = out.write_all(&head_of(&response)).and_then(|()| out.write_all(body));
    // Whoever has gone needs no answer.
    let _ = sent.and_then(|()| out.flush());
    if let Body::Events(mut reader) = response.body
        && !is_head
    {
        while let Some((missed, events)) = reader.next(HEARTBEAT) {
            let mut text = String::new();
            if missed > 0 {
                let _ = write!(text, "event: missed\ndata: {{\"missed\":{missed}}}\n\n");
            }
            for event in &events {
                let data = event.data.get();
                let _ = write!(text, "id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.name);
            }
            if text.is_empty() {
                text += ":\n\n";
            }
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    }
}

/// A small response as a whole.
pub(super) fn render(response: &Response) -> Vec<u8> {
    let mut bytes = head_of(response);
    bytes.extend_from_slice(body_of(response));
    bytes
}

/// What is there of the body from the beginning.
fn body_of(response: &Response) -> &[u8] {
    match &response.body {
        Body::Whole(bytes) => bytes,
        Body::Fixed(bytes) => bytes,
        Body::Events(_) => &[],
    }
}

fn head_of(response: &Response) -> Vec<u8> {
    let Response {
        status, content_type, ..
    } = response;
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\n",
        reason(*status)
    );
    for (name, value) in &response.headers {
        // Belt and braces: no value is made of what a request said.
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !response.headers.iter().any(|(name, _)| *name == "Cache-Control") {
        head += "Cache-Control: no-store\r\n";
    }
    head += HEADERS;
    if matches!(response.body, Body::Events(_)) {
        head += "Connection: close\r\n\r\nretry: 1000\n\n";
    } else {
        let length = body_of(response).len();
        let _ = write!(head, "Content-Length: {length}\r\nConnection: close\r\n\r\n");
    }
    head.into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_that_a_living_process_is_about_to_open_stays() {
        let doors = Doors::new().unwrap();
        // As in the middle of `make`: its socket has a name already, and listens to nobody yet.
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        let door = doors.folder.join("door-1");
        socket.bind(&socket2::SockAddr::unix(&door).unwrap()).unwrap();
        assert!(is_closed(&door));
        let _next = Doors::new().unwrap();
        assert!(door.exists());
    }

    #[test]
    fn a_folder_that_a_killed_controller_left_is_removed_by_the_next_one() {
        let living = Doors::new().unwrap();
        let _server = living.make().unwrap();
        let dead = std::env::temp_dir().join(format!("{FOLDER}0-{:016x}", rand::random::<u64>()));
        fs::create_dir(&dead).unwrap();
        // A socket without its owner.
        drop(UnixListener::bind(dead.join("door-1")).unwrap());
        let next = Doors::new().unwrap();
        assert!(!dead.exists());
        assert!(living.folder.exists() && living.connect().is_ok());
        assert!(next.folder.exists());
    }
}
