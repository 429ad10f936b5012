//! `stream-receiver`: what a peer sends goes to standard output, a file or a directory.
//!
//! ```text
//!   Listener --accept--> stream --(one read)--> THREAD main --(write, flush)--> Output --commit at the verified end
//!       '--- incidents --> THREAD "incidents" --> standard error
//! ```
//!
//! With `--keep-open` each peer has a thread of its own: `keep_open`.

use super::args::{self, Tool, classic_tool_options};
use super::classic::{self, Wishes};
use super::console::{Console, Progress};
use super::endpoint::{self, Endpoint, IDLE_TIMEOUT, Mode, carrier_word, shown};
use super::exit::{self, Exit, Failure, plain_words};
use super::json::{self, Transfer, Transport, Volume};
use super::keep_open::Service;
use super::keys::{KeyOptions, Protection};
use super::output::{Output, Target};
use super::quantity::{Port, Span};
use super::signals::Signals;
use crate::control::{Address, EndpointAgent, Pace, Role};
use crate::stream::{Incident, Listener, Stream};
use crossbeam_channel::{Sender, select};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The largest read of the stream.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// How long the sender has to hear that everything was read.
const FAREWELL: Duration = Duration::from_secs(5);

classic_tool_options! {
    #[argh(
        description = "Receive a stream. Ends well when the verified end of the stream has come and everything is written.",
        help_triggers("-h", "--help"),
        example = "{command_name} --output picture.jpg",
        example = "{command_name} --udp --port 9000 | tar x",
        example = "{command_name} --keep-open --output incoming/",
        error_code(0, "The end of the stream was verified and everything is written."),
        error_code(1, "Something failed here."),
        error_code(2, "The command line makes no sense."),
        error_code(3, "An identity was refused."),
        error_code(4, "No connection."),
        error_code(5, "The stream was cut or damaged: what came is not the whole."),
        error_code(141, "The reader of the output went away before everything was written."),
        error_code(128, "Plus the number of the signal that ended it.")
    )]
    struct Options {
        /// port to listen on (default: 7000; 0 takes a free one and says which)
        #[argh(option, default = "Port(7000)", arg_name = "port")]
        port: Port,
        /// address to listen on (default: all interfaces)
        #[argh(option, arg_name = "addr")]
        bind: Option<String>,
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
        /// packets in clear: readable and unauthenticated
        #[argh(switch)]
        plain: bool,
        /// where the payload goes (default: -, standard output); a file appears when it is whole, a directory gets numbered
        /// files
        #[argh(option, arg_name = "file")]
        output: Option<String>,
        /// serve many peers, also side by side (with --classic one after another); --output is then a directory
        #[argh(switch)]
        keep_open: bool,
        /// silence of the peer that ends a stream (default: 40s; the shorter one of both sides counts)
        #[argh(option, default = "Span(IDLE_TIMEOUT)", arg_name = "time")]
        idle_timeout: Span,
        /// address of a stream-controller that watches and steers, as it prints it (default: none)
        #[argh(option, arg_name = "url")]
        controller: Option<Address>,
    }
}

const TOOL: Tool = Tool {
    name: "stream-receiver",
    operand_hint: Some("--output"),
    exclusive: &[
        &["--quiet", "--verbose"],
        &["--plain", "--classic"],
        &["--pub-key", "--authorized-keys"],
    ],
};

/// Runs `stream-receiver` with the arguments of this process.
pub fn main() -> ExitCode {
    args::run(&TOOL, run)
}

fn run(options: &Options, console: &Console) -> Result<Exit, Failure> {
    let mut transfer = Transfer::new(
        endpoint::carrier(options.udp),
        Mode::new(options.plain, options.classic),
    );
    let ended = receive_all(options, console, &mut transfer);
    json::conclude(options.json, &TOOL, &transfer, ended)
}

/// `transfer` becomes that of the peer, or of the one with which `--keep-open` has ended.
fn receive_all(options: &Options, console: &Console, transfer: &mut Transfer) -> Result<Exit, Failure> {
    let places = places(options)?;
    let arq = classic::arq(options.classic, options.arq, options.window, options.timeout)?;
    let target = Target::new(options.output.as_deref(), options.keep_open)?;
    if options.json && target.is_standard_output() {
        return Err(Failure::usage(
            "standard output has the payload already: --json needs --output FILE or a directory",
        ));
    }
    let signals = Signals::watch(console).map_err(|error| Failure::io("cannot watch for signals", &error))?;
    if let Target::File(_) = target {
        // A directory that is not there should be known before the peer has sent everything.
        drop(target.open(&signals)?);
    }
    let agent = endpoint::agent(
        options.controller.as_ref(),
        Role::Receiver,
        Mode::new(options.plain, options.classic),
        endpoint::carrier(options.udp),
    )?;
    let keys = KeyOptions {
        pub_key: options.pub_key.clone(),
        priv_key: options.priv_key.clone(),
        authorized_keys: options.authorized_keys.clone(),
        ..KeyOptions::default()
    };
    if let Some(arq) = arq {
        let wishes = Wishes {
            carrier: endpoint::carrier(options.udp),
            arq,
            keys,
            has_congestion: options.congestion.is_some(),
            connect_timeout: None,
            idle_timeout: options.idle_timeout.0,
        };
        transfer.arq = wishes.facts();
        let service = classic::receiver::Service {
            tool: &TOOL,
            wishes,
            places: &places,
            target: &target,
            keep_open: options.keep_open,
            json: options.json,
            agent: agent.as_ref(),
        };
        return service.run(console, &signals, transfer);
    }
    let protection = Protection::new(options.plain, &keys, "", console)?;
    let listener = listen(options, &places, &protection, console)?;
    let porter = Porter::start(&listener, console).map_err(|error| Failure::io("cannot start a thread", &error))?;
    let door = Door {
        listener: &listener,
        protection: &protection,
        target: &target,
        agent: agent.as_ref(),
    };
    let served = serve(options, &door, console, &signals, transfer);
    porter.end();
    served?;
    Ok(signals.caught().unwrap_or(Exit::Success))
}

/// The addresses to listen on, the first that works.
fn places(options: &Options) -> Result<Vec<SocketAddr>, Failure> {
    let ips = match options.bind.as_deref() {
        // The IPv6 wildcard takes IPv4 as well; the second is for machines without IPv6.
        None => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        Some(text) => {
            let bare = text
                .strip_prefix('[')
                .and_then(|text| text.strip_suffix(']'))
                .unwrap_or(text);
            match (bare, bare.parse()) {
                ("localhost", _) => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
                (_, Ok(ip)) => vec![ip],
                (_, Err(_)) => {
                    return Err(Failure::usage(format!(
                        "--bind takes an address of this machine, not '{text}'"
                    )));
                }
            }
        }
    };
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, options.port.0)).collect())
}

fn listen(
    options: &Options,
    places: &[SocketAddr],
    protection: &Protection,
    console: &Console,
) -> Result<Listener, Failure> {
    let endpoint = Endpoint {
        carrier: endpoint::carrier(options.udp),
        gso: !options.no_gso,
        max_datagram: options.max_datagram,
        idle_timeout: options.idle_timeout.0,
        congestion: options.congestion.clone(),
    };
    if options.plain && places.iter().all(|place| place.ip().is_unspecified()) {
        console.warn(
            "--plain on all interfaces: everybody who reaches this port can send, and everybody on the way can read \
             and change it (--bind 127.0.0.1 keeps it on this machine)",
        );
    }
    let word = carrier_word(endpoint.carrier);
    let cannot = |error: &io::Error| Failure::io(format!("cannot listen on port {} ({word})", options.port.0), error);
    let listener = endpoint
        .builder(protection.security.clone())
        .bind(places)
        .map_err(|error| cannot(&error))?;
    let place = listener.local_addr().map_err(|error| cannot(&error))?;
    console.note(format_args!("listening on {place} ({word})"));
    Ok(listener)
}

/// Says what happens at the door, in a thread of its own.
struct Porter {
    /// Dropped to end the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Porter {
    fn start(listener: &Listener, console: &Console) -> io::Result<Self> {
        let incidents = listener.incidents();
        let console = console.clone();
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let thread = Builder::new().name("incidents".to_owned()).spawn(move || {
            loop {
                select! {
                    recv(incidents) -> incident => match incident {
                        Ok(incident) => say(&console, &incident),
                        Err(_) => break,
                    },
                    recv(stopped) -> _ => break,
                }
            }
            incidents.try_iter().for_each(|incident| say(&console, &incident));
        })?;
        Ok(Self { stop, thread })
    }

    /// Says what is still to be said, and goes.
    fn end(self) {
        drop(self.stop);
        // A panic there has been printed, and has nothing to do with what was received.
        let _ = self.thread.join();
    }
}

fn say(console: &Console, incident: &Incident) {
    let Incident::Refused { peer, reason } = incident;
    match peer {
        Some(peer) => console.warn(format_args!("{} was turned away: {reason}", shown(*peer))),
        None => console.warn(format_args!("a peer was turned away: {reason}")),
    }
}

/// Where peers come, and what becomes of what they send.
pub(super) struct Door<'a> {
    pub(super) listener: &'a Listener,
    protection: &'a Protection,
    target: &'a Target,
    agent: Option<&'a EndpointAgent>,
}

fn serve(
    options: &Options,
    door: &Door<'_>,
    console: &Console,
    signals: &Signals,
    transfer: &mut Transfer,
) -> Result<(), Failure> {
    if options.keep_open {
        let service = Service {
            tool: &TOOL,
            door,
            json: options.json,
            console,
            signals,
        };
        return service.run(transfer);
    }
    let (stream, peer) = {
        let _waiting = signals.waiting();
        let accepted = door.listener.accept();
        accepted.map_err(|error| Failure::io("cannot accept a stream", &error))?
    };
    // A second sender is refused, rather than left waiting for somebody who will not come.
    door.listener.close_handle().close();
    receive(&stream, peer, door, console.progress(None), console, signals, transfer)
}

/// All that one peer sends.
pub(super) fn receive(
    stream: &Stream,
    peer: Option<SocketAddr>,
    door: &Door<'_>,
    progress: Progress,
    console: &Console,
    signals: &Signals,
    transfer: &mut Transfer,
) -> Result<(), Failure> {
    transfer.peer = peer.map(shown);
    let peer = &transfer
        .peer
        .map_or_else(|| "the peer".to_owned(), |peer| peer.to_string());
    log::info!("{peer} is connected");
    transfer.identity = door.protection.introduce(stream, peer, console);
    let followed = endpoint::follow(door.agent, stream);
    let pace = door.agent.map_or_else(Pace::default, EndpointAgent::pace);
    let told = endpoint::heed(signals, stream);
    let pumped = pump(stream, peer, door.target, &progress, &pace, signals);
    let (bytes, elapsed) = (progress.bytes(), progress.elapsed());
    drop(progress);
    transfer.volume = Volume::new(bytes, elapsed);
    let done = pumped
        .map_err(|failure| signals.why(failure))
        .and_then(Output::commit)
        .map(|place| {
            let into = place
                .as_ref()
                .map_or_else(String::new, |place| format!(" into {}", place.display()));
            console.note(format_args!(
                "received {} from {peer}{into}",
                endpoint::volume(bytes, elapsed)
            ));
            transfer.file = place.map(|place| place.to_string_lossy().into_owned());
            transfer.completeness = Some("verified");
        });
    match &done {
        // The sender waits for our end, and we for its word that it has seen it; the payload is safe either way.
        Ok(()) => match stream.finish(FAREWELL) {
            Ok(finished) => log::debug!("{peer} said goodbye: {finished:?}"),
            Err(error) => log::debug!("{peer} said no goodbye: {error}"),
        },
        // The sender must not believe that all went well.
        Err(_) => stream.abort(),
    }
    drop((told, followed));
    let stats = stream.stats();
    endpoint::log_stats(&stats);
    transfer.transport = Transport::from(&stats);
    done
}

/// From the stream to the output, up to the verified end.
fn pump(
    mut stream: &Stream,
    peer: &str,
    target: &Target,
    progress: &Progress,
    pace: &Pace,
    signals: &Signals,
) -> Result<Output, Failure> {
    let mut output = target.open(signals)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match stream.read(&mut chunk[..pace.read_limit(CHUNK_BYTES)]) {
            Ok(0) => return Ok(output),
            Ok(read) => {
                output.write(&chunk[..read])?;
                progress.advance(read);
                pace.after_read();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cut(progress.bytes(), peer, target, &error)),
        }
    }
}

/// Why the stream is not whole, and what became of the part that came.
pub(super) fn cut(bytes: u64, peer: &str, target: &Target, error: &io::Error) -> Failure {
    let why = plain_words(error);
    let fate = match target {
        Target::File(_) | Target::Directory(_) => "no file was kept",
        Target::Stdout | Target::Device(_) => "the output is not whole",
    };
    let exit = exit::of_receiving(error);
    Failure::new(
        exit,
        format!("truncated: {bytes} bytes came from {peer}, and no end ({why}); {fate}"),
    )
}
