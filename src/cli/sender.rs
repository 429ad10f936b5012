//! `stream-sender`: a file or standard input goes out over a stream.
//!
//! ```text
//!   input --(one read)--> THREAD main --> stream
//!                           ^------------ THREAD "peer-watch": reads the other direction to its end, so that a peer
//!                                         that goes away is noticed while the input is silent
//! ```

use super::args::{self, Tool, classic_tool_options};
use super::classic::{self, Wishes};
use super::console::{Console, Progress};
use super::endpoint::{self, Endpoint, IDLE_TIMEOUT, Mode, carrier_word, shown};
use super::exit::{self, Exit, Failure, plain_words};
use super::json::{self, Transfer, Transport, Volume};
use super::keys::{KeyOptions, Protection};
use super::quantity::{Port, Span};
use super::signals::Signals;
use crate::control::{Address, Role};
use crate::error::StreamError;
use crate::stream::{Carrier, Finished, Stream};
use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Where the man in the middle listens; the default target, as it always was.
const PROXY_PORT: u16 = 6000;
const RECEIVER_PORT: u16 = 7000;
/// The largest read of the input.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// The peer's application may take its time: as long as the peer lives, the idle time-out is what ends the wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long the peer's own end of stream is waited for, once it has read ours.
const PEER_END: Duration = Duration::from_secs(5);

classic_tool_options! {
    #[argh(
        description = "Send a file or standard input over a stream. Ends well when the application at the other side has \
                       read everything.",
        help_triggers("-h", "--help"),
        example = "{command_name} --target-port 7000 --file picture.jpg",
        example = "date | {command_name} --target receiver.example --target-port 7000 --udp",
        error_code(0, "The receiving application has read everything."),
        error_code(1, "The transfer failed."),
        error_code(2, "The command line makes no sense."),
        error_code(3, "An identity was refused."),
        error_code(4, "No connection: nobody there, or another mode or version."),
        error_code(5, "The peer broke the protocol."),
        error_code(128, "Plus the number of the signal that ended it.")
    )]
    struct Options {
        /// host to send to (default: 127.0.0.1); every address of a name is tried
        #[argh(option, default = "String::from(\"127.0.0.1\")", arg_name = "host")]
        target: String,
        /// port to send to (default: 6000, the proxy's; a receiver listens on 7000)
        #[argh(option, default = "Port(PROXY_PORT)", arg_name = "port")]
        target_port: Port,
        /// file to send (default: -, standard input: whatever one read returns is sent at once)
        #[argh(option, arg_name = "file")]
        file: Option<String>,
        /// packets over UDP instead of framed on TCP
        #[argh(switch)]
        udp: bool,
        /// file with the public key of the peer; another key is refused
        #[argh(option, arg_name = "peer")]
        pub_key: Option<String>,
        /// file with the private key of this side (default: one made for this run)
        #[argh(option, arg_name = "own")]
        priv_key: Option<String>,
        /// file or folder with the public keys that the peer may have
        #[argh(option, arg_name = "place")]
        authorized_keys: Option<String>,
        /// file with the keys that peers had the first time; a changed key is refused
        #[argh(option, arg_name = "file")]
        known_peers: Option<String>,
        /// add a peer that is not in the file of --known-peers yet
        #[argh(switch)]
        accept_new: bool,
        /// packets in clear: readable and unauthenticated
        #[argh(switch)]
        plain: bool,
        /// longest wait for a connection (default: 20s)
        #[argh(option, default = "Span(Duration::from_secs(20))", arg_name = "time")]
        connect_timeout: Span,
        /// silence of the peer that ends the stream (default: 40s; the shorter one of both sides counts)
        #[argh(option, default = "Span(IDLE_TIMEOUT)", arg_name = "time")]
        idle_timeout: Span,
        /// address of a stream-controller that watches and steers, as it prints it (default: none)
        #[argh(option, arg_name = "url")]
        controller: Option<Address>,
    }
}

impl Options {
    fn keys(&self) -> KeyOptions {
        KeyOptions {
            pub_key: self.pub_key.clone(),
            priv_key: self.priv_key.clone(),
            authorized_keys: self.authorized_keys.clone(),
            known_peers: self.known_peers.clone(),
            accept_new: self.accept_new,
        }
    }
}

const TOOL: Tool = Tool {
    name: "stream-sender",
    operand_hint: Some("--file"),
    exclusive: &[
        &["--quiet", "--verbose"],
        &["--plain", "--classic"],
        &["--pub-key", "--authorized-keys", "--known-peers"],
    ],
};

/// Runs `stream-sender` with the arguments of this process.
pub fn main() -> ExitCode {
    args::run(&TOOL, run)
}

fn run(options: &Options, console: &Console) -> Result<Exit, Failure> {
    let mut transfer = Transfer::new(
        endpoint::carrier(options.udp),
        Mode::new(options.plain, options.classic),
    );
    let ended = send_all(options, console, &mut transfer);
    json::conclude(options.json, &TOOL, &transfer, ended)
}

fn send_all(options: &Options, console: &Console, transfer: &mut Transfer) -> Result<Exit, Failure> {
    if options.target_port.0 == 0 {
        return Err(Failure::usage(
            "nobody listens on port 0: give --target-port a number from 1 to 65535",
        ));
    }
    let arq = classic::arq(options.classic, options.arq, options.window, options.timeout)?;
    let signals = Signals::watch(console).map_err(|error| Failure::io("cannot watch for signals", &error))?;
    let name = options.file.as_deref().unwrap_or("-");
    transfer.file = Some(name.to_owned());
    let input = Input::open(name, &signals)?;
    let agent = endpoint::agent(
        options.controller.as_ref(),
        Role::Sender,
        Mode::new(options.plain, options.classic),
        endpoint::carrier(options.udp),
    )?;
    if let Some(arq) = arq {
        let wishes = Wishes {
            carrier: endpoint::carrier(options.udp),
            arq,
            keys: options.keys(),
            has_congestion: options.congestion.is_some(),
            connect_timeout: Some(options.connect_timeout.0),
            idle_timeout: options.idle_timeout.0,
        };
        transfer.arq = wishes.facts();
        let (_, addresses, name) = destination(options, &signals)?;
        let to = classic::sender::Destination {
            addresses: &addresses,
            name: &name,
            port: options.target_port.0,
            agent: agent.as_ref(),
        };
        return classic::sender::send(&wishes, &to, input, console, &signals, transfer);
    }
    let stream = connect(options, console, &signals, transfer)?;
    transfer.peer = stream.peer_addr().ok().map(shown);
    let followed = endpoint::follow(agent.as_ref(), &stream);
    let watch = PeerWatch::start(&stream).map_err(|error| Failure::io("cannot watch the peer", &error))?;
    let told = endpoint::heed(&signals, &stream);
    let progress = console.progress(input.bytes);
    let sent = send(&stream, input, &watch, &progress, &signals);
    let (bytes, elapsed) = (progress.bytes(), progress.elapsed());
    drop(progress);
    transfer.volume = Volume::new(bytes, elapsed);
    match sent {
        Ok(()) => {
            transfer.completeness = Some("verified");
            console.note(format_args!("sent {}", endpoint::volume(bytes, elapsed)));
        }
        // What is not whole must not look so.
        Err(_) => stream.abort(),
    }
    // The peer ends its direction as well; then it knows that we know. It owes us nothing: no end, no failure.
    watch.close(PEER_END);
    drop((told, followed));
    let stats = stream.stats();
    endpoint::log_stats(&stats);
    transfer.transport = Transport::from(&stats);
    sent.map_err(|failure| signals.why(failure))?;
    Ok(signals.caught().unwrap_or(Exit::Success))
}

fn connect(
    options: &Options,
    console: &Console,
    signals: &Signals,
    transfer: &mut Transfer,
) -> Result<Stream, Failure> {
    let endpoint = Endpoint {
        carrier: endpoint::carrier(options.udp),
        gso: !options.no_gso,
        max_datagram: options.max_datagram,
        idle_timeout: options.idle_timeout.0,
        congestion: options.congestion.clone(),
    };
    let _waiting = signals.waiting();
    let (host, addresses, target) = destination(options, signals)?;
    let port = options.target_port.0;
    let protection = Protection::new(options.plain, &options.keys(), &format!("{host}:{port}"), console)?;
    let builder = endpoint
        .builder(protection.security.clone())
        .connect_timeout(options.connect_timeout.0);
    let stream = builder.connect(addresses.as_slice()).map_err(|error| {
        Failure::new(
            exit::of_connect(&error),
            no_connection(&target, port, endpoint.carrier, &error),
        )
    })?;
    if let Ok(peer) = stream.peer_addr() {
        log::info!("connected to {} ({})", shown(peer), carrier_word(endpoint.carrier));
    }
    transfer.identity = protection.introduce(&stream, &target, console);
    Ok(stream)
}

/// The host without brackets, its addresses, and what to call them.
fn destination(options: &Options, signals: &Signals) -> Result<(String, Vec<SocketAddr>, String), Failure> {
    let _waiting = signals.waiting();
    // "[::1]" is how an IPv6 address is written beside a port.
    let host = options
        .target
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(&options.target);
    let port = options.target_port.0;
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| Failure::new(Exit::Connect, format!("cannot find {host}: {}", plain_words(&error))))?
        .collect();
    log::info!("{host} is {addresses:?}");
    let target = match addresses.as_slice() {
        [only] => only.to_string(),
        _ => format!("{host}:{port}"),
    };
    Ok((host.to_owned(), addresses, target))
}

/// Why there is no connection, and what may help.
pub(super) fn no_connection(target: &str, port: u16, carrier: Carrier, error: &io::Error) -> String {
    // A listener that is busy refuses as well, and says so.
    let nobody = match StreamError::of(error) {
        Some(StreamError::Refused { reason }) => reason.starts_with("nothing listens"),
        _ => error.kind() == io::ErrorKind::ConnectionRefused,
    };
    if nobody && port == PROXY_PORT {
        return format!(
            "nothing listens on {target} (the proxy's port); a receiver listens on {RECEIVER_PORT}: \
             --target-port {RECEIVER_PORT}"
        );
    }
    let word = carrier_word(carrier);
    let why = plain_words(error);
    if nobody {
        let other = if carrier == Carrier::Udp {
            "leave out --udp"
        } else {
            "add --udp"
        };
        return format!(
            "cannot connect to {target} ({word}): {why}; if the receiver is there on the other carrier, {other}"
        );
    }
    format!("cannot connect to {target} ({word}): {why}")
}

fn send(
    stream: &Stream,
    mut input: Input,
    watch: &PeerWatch,
    progress: &Progress,
    signals: &Signals,
) -> Result<(), Failure> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        input.wait(signals, watch.fd(), || watch.failure())?;
        let read = match input.read(&mut chunk)? {
            0 => break,
            read => read,
        };
        let mut writer = stream;
        writer
            .write_all(&chunk[..read])
            .map_err(|error| broken(progress.bytes(), &error))?;
        progress.advance(read);
    }
    match stream.finish(PATIENCE) {
        Ok(Finished::Consumed) => Ok(()),
        Ok(Finished::Acknowledged) => Err(Failure::runtime(
            "everything arrived, but the receiving application did not read to the end",
        )),
        Err(error) => Err(broken(progress.bytes(), &error)),
    }
}

fn broken(bytes: u64, error: &io::Error) -> Failure {
    let message = format!("the transfer failed after {bytes} bytes: {}", plain_words(error));
    Failure::new(exit::of_sending(error), message)
}

/// What is sent.
pub(super) struct Input {
    file: File,
    /// For messages.
    name: String,
    /// How long it is, where that is known. Then reading it never waits for anybody.
    bytes: Option<u64>,
}

impl Input {
    pub(super) fn open(name: &str, signals: &Signals) -> Result<Self, Failure> {
        let (file, name) = if name == "-" {
            (
                io::stdin().as_fd().try_clone_to_owned().map(File::from),
                "standard input",
            )
        } else {
            // A FIFO waits for its writer.
            let _waiting = signals.waiting();
            (File::open(name), name)
        };
        let file = file.map_err(|error| Failure::io(format!("cannot open {name}"), &error))?;
        let found = file
            .metadata()
            .map_err(|error| Failure::io(format!("cannot read {name}"), &error))?;
        if found.is_dir() {
            return Err(Failure::runtime(format!("cannot send {name}: it is a directory")));
        }
        Ok(Self {
            file,
            name: name.to_owned(),
            bytes: found.is_file().then_some(found.len()),
        })
    }

    /// How long it is, where that is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Reads once; 0 at the end.
    pub(super) fn read(&mut self, chunk: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.file.read(chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(|error| Failure::io(format!("cannot read {}", self.name), &error)),
            }
        }
    }

    /// Waits for something to read, for as long as no signal asks us to end and `peer` is not readable: then `failure`
    /// says why the peer has gone, unless that is no failure. After a signal nothing more is read from what may have no
    /// end; and an end that is there by then may be the doing of the same signal.
    pub(super) fn wait(
        &self,
        signals: &Signals,
        peer: BorrowedFd<'_>,
        failure: impl Fn() -> Option<Failure>,
    ) -> Result<(), Failure> {
        if self.bytes.is_some() {
            return Ok(());
        }
        let mut fds = [self.file.as_fd(), signals.fd(), peer].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        loop {
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(Failure::io("cannot wait for input", &error.into())),
                Ok(_) => {}
            }
            let [input, signal, peer] = [0, 1, 2].map(|index: usize| !fds[index].revents().is_empty());
            if peer && let Some(failure) = failure() {
                return Err(failure);
            }
            if signal {
                let exit = signals.caught().unwrap_or(Exit::Runtime);
                return Err(Failure::new(
                    exit,
                    "interrupted before the input ended: the transfer is not whole",
                ));
            }
            if input {
                return Ok(());
            }
        }
    }
}

/// Reads what the peer sends, which is nothing but its end, in a thread of its own.
struct PeerWatch {
    stream: Stream,
    /// How the peer's direction ended. An end that is no failure carries the alarm unused.
    outcome: Receiver<io::Result<OwnedFd>>,
    /// Readable when the stream has failed.
    failed: OwnedFd,
    thread: JoinHandle<()>,
}

impl PeerWatch {
    fn start(stream: &Stream) -> io::Result<Self> {
        let (failed, alarm) = pipe_with(PipeFlags::CLOEXEC)?;
        let (report, outcome) = crossbeam_channel::bounded(1);
        let mut reader = stream.try_clone()?;
        let thread = Builder::new().name("peer-watch".to_owned()).spawn(move || {
            match io::copy(&mut reader, &mut io::sink()) {
                // The other end of the channel lives until this thread is joined.
                Ok(_) => drop(report.send(Ok(alarm))),
                Err(error) => {
                    drop(report.send(Err(error)));
                    drop(alarm);
                }
            }
        })?;
        Ok(Self {
            stream: stream.try_clone()?,
            outcome,
            failed,
            thread,
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.failed.as_fd()
    }

    /// Why the stream has failed, once [`PeerWatch::fd`] is readable.
    fn failure(&self) -> Option<Failure> {
        let error = self.outcome.try_recv().ok().and_then(Result::err)?;
        Some(broken(self.stream.stats().written_bytes, &error))
    }

    /// Waits until the peer has ended its direction, at most for `within`; then gives the stream back.
    fn close(self, within: Duration) {
        if !self.thread.is_finished() && self.outcome.recv_timeout(within).is_err() {
            log::info!("the peer did not end its direction");
            // Wakes the thread. What else it says does not matter any more.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        // A panic there has been printed, and has nothing to do with what was sent.
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connection_to_the_default_port_names_the_receivers_port() {
        let refused = StreamError::Refused {
            reason: "nothing listens on 127.0.0.1:6000".to_owned(),
        }
        .into();
        assert_eq!(
            no_connection("127.0.0.1:6000", 6000, Carrier::Tcp, &refused),
            "nothing listens on 127.0.0.1:6000 (the proxy's port); a receiver listens on 7000: --target-port 7000"
        );
        let elsewhere = no_connection("127.0.0.1:7000", 7000, Carrier::Tcp, &refused);
        assert!(elsewhere.contains("add --udp"), "{elsewhere}");
    }
}
