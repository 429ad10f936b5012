//! A controller that runs: its options, its start, and its clock.

use super::clock;
use super::guard::Guard;
use super::message::Request;
use super::player;
use super::router;
use super::server::{Doors, Gate};
use super::state::State;
use super::state::scenario::Canned;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::json;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Ten samples a second.
const SAMPLE_TIME: Duration = Duration::from_millis(100);
/// Rules and what they were seen to do are told every so many samples, where there is news.
const NEWS_SAMPLES: u64 = 5;

/// Options of a [`Controller`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ControllerBuilder {
    bind: IpAddr,
    port: u16,
    token: Option<String>,
    hosts: Vec<String>,
    canned: Vec<Canned>,
}

impl ControllerBuilder {
    /// The address to listen on (127.0.0.1). One that others can reach needs a token.
    pub fn bind(mut self, ip: IpAddr) -> Self {
        self.bind = ip;
        self
    }

    /// The port (0, which takes a free one).
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// What everybody must show who asks or reports.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// A name by which this machine may be called in a browser.
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into().to_ascii_lowercase());
        self
    }

    /// A scenario that can be asked for by its name.
    pub fn canned(mut self, canned: Canned) -> Self {
        self.canned.push(canned);
        self
    }

    /// Listens and serves.
    ///
    /// # Errors
    /// `InvalidInput` without a token on an address that others can reach, or with one that no header can hold; else what
    /// the system says of address, sockets and threads.
    pub fn start(self) -> io::Result<Controller> {
        let invalid = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if !self.bind.is_loopback() && self.token.is_none() {
            return invalid("others can reach this address: it needs a token");
        }
        if let Some(token) = &self.token
            && (token.is_empty()
                || !token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)))
        {
            return invalid("a token has letters, digits and - . _ ~ only, so that it can stand in an address");
        }
        let mut hosts = self.hosts;
        if !self.bind.is_unspecified() {
            hosts.push(name_of(self.bind));
        }
        let guard = Guard {
            hosts,
            any_address: self.bind.is_unspecified(),
            token: self.token,
        };
        let listener = TcpListener::bind((self.bind, self.port))?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State::new(guard, self.canned));
        let doors = Arc::new(Doors::new()?);
        let server = doors.make()?;
        let answering = Arc::clone(&state);
        let answer: super::server::Answer = Arc::new(move |request: Request| router::answer(&answering, request));
        let door = Builder::new().name("http-door".to_owned()).spawn({
            let doors = Arc::clone(&doors);
            move || doors.run(server, &answer)
        })?;
        let mut controller = Controller {
            addr,
            state: Arc::clone(&state),
            doors: Arc::clone(&doors),
            gate: None,
            stop: None,
            threads: vec![door],
        };
        controller.gate = Some(Gate::open(listener, doors, Arc::clone(&state.counts))?);
        let (stop, stopped) = bounded(0);
        controller.stop = Some(stop);
        let ticking = Builder::new().name("control-clock".to_owned());
        controller.threads.push(ticking.spawn(move || tick(&state, &stopped))?);
        Ok(controller)
    }
}

/// As a `Host` header writes it.
fn name_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// A running controller. It ends when it is dropped.
pub struct Controller {
    addr: SocketAddr,
    state: Arc<State>,
    doors: Arc<Doors>,
    gate: Option<Gate>,
    /// Dropped to end the clock.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Controller {
    /// One on a free port of 127.0.0.1, if nothing else is said.
    pub fn builder() -> ControllerBuilder {
        ControllerBuilder {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            token: None,
            hosts: Vec::new(),
            canned: Vec::new(),
        }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the page, with the token if there is one: `http://127.0.0.1:5000/`. Agents and clients take it too.
    pub fn url(&self) -> String {
        let ip = match self.addr.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        let base = format!("http://{}:{}/", name_of(ip), self.addr.port());
        match &self.state.guard.token {
            Some(token) => format!("{base}?token={token}"),
            None => base,
        }
    }

    /// A line for the log that pages show.
    pub fn log(&self, text: &str) {
        self.state.log("controller", "info", text);
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // Whoever waits is let go; then nobody comes in any more; then those within end.
        self.state.end();
        self.gate.take();
        self.doors.close();
        self.stop.take();
        for thread in self.threads.drain(..) {
            // A panic there has been printed.
            let _ = thread.join();
        }
        self.doors.wait();
    }
}

/// THREAD `control-clock`.
fn tick(state: &State, stopped: &Receiver<()>) {
    let mut due = clock::now();
    let mut samples = 0_u64;
    loop {
        due += SAMPLE_TIME;
        let now = clock::now();
        // After a standstill the time that is lost stays lost.
        due = due.max(now);
        if stopped.recv_timeout(due - now) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let now = clock::now();
        samples += 1;
        sample(state, now);
        sweep(state, now);
        player::advance(state, now);
        if samples.is_multiple_of(NEWS_SAMPLES) {
            super::api::rules::tell(state);
        }
    }
}

fn sample(state: &State, now: Instant) {
    let sample = {
        let mut book = state.book();
        let sample = json!({
            "t_ms": state.millis_of(now),
            "sample": book.statistics.value(),
            "endpoints": book.endpoints.gauges(),
            "proxies": book.proxies.links(),
        });
        book.history.sample(&sample);
        sample
    };
    state.feed.push("stats", &sample);
}

fn sweep(state: &State, now: Instant) {
    let (endpoints, proxies) = {
        let mut book = state.book();
        (book.endpoints.sweep(now), book.proxies.sweep(now))
    };
    for endpoint in &endpoints {
        super::api::settings::tell(state, endpoint);
    }
    for id in proxies {
        state.log(&id, "warn", "the proxy is silent");
        state.mark(format!("proxy {id} is silent"));
        super::api::rules::tell(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::Client;

    #[test]
    fn a_server_that_fails_is_made_anew_and_nobody_notices() {
        let controller = Controller::builder().start().unwrap();
        let client = Client::new(&controller.url().parse().unwrap());
        for _ in 0..20 {
            controller.doors.fail();
            // One that was within at that moment is told to ask again.
            let answer = client.get("/v1/health").or_else(|_| client.get("/v1/health"));
            assert_eq!(answer.unwrap()["ok"], true);
        }
    }

    #[test]
    fn nothing_is_left_behind() {
        let controller = Controller::builder().start().unwrap();
        let (state, doors) = (Arc::downgrade(&controller.state), Arc::downgrade(&controller.doors));
        let client = Client::new(&controller.url().parse().unwrap());
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| client.get_within("/v1/events?since=99&wait=25", Duration::from_secs(30)));
            client.get("/config").unwrap();
            drop(controller);
            waiting.join().unwrap()
        });
        // Told in time, or cut off: it did not wait.
        drop(waiting);
        assert!(state.upgrade().is_none() && doors.upgrade().is_none());
    }
}
