//! The classic mode of the tools: what the command line says about it, its keys, and its warning.
//!
//! It is never chosen without being asked for, and nothing falls back to it.

pub(crate) mod receiver;
pub(crate) mod sender;

use super::console::Console;
use super::endpoint::moved;
use super::exit::{Exit, Failure};
use super::json::ArqFacts;
use super::keys::{KeyOptions, unusable};
use super::quantity::Span;
use super::signals::{Signals, Undo};
use crate::classic::{Arq, Builder, Cryptor, Scheme, Stream, build_cryptor};
use crate::control::{EndpointAgent, Followed};
use crate::crypto::identity::{KeyFile, KeyText};
use crate::stream::Carrier;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// A number of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window(u32);

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| "a window is a number of packets from 1 to 10".to_owned())
    }
}

/// How packets are sent again, if the command line asks for the classic mode.
pub(crate) fn arq(
    classic: bool,
    scheme: Option<Scheme>,
    window: Option<Window>,
    timeout: Option<Span>,
) -> Result<Option<Arq>, Failure> {
    if !classic {
        if scheme.is_some() || window.is_some() || timeout.is_some() {
            return Err(Failure::usage(
                "--arq, --window and --timeout are of the classic mode: add --classic, or leave them out",
            ));
        }
        return Ok(None);
    }
    let mut arq = Arq::new(scheme.unwrap_or_default());
    if let Some(Window(window)) = window {
        arq = arq.window(window).map_err(Failure::usage)?;
    }
    if let Some(Span(timeout)) = timeout {
        arq = arq.timeout(timeout);
    }
    Ok(Some(arq))
}

/// What sender and receiver need of the command line.
pub(crate) struct Wishes {
    pub(crate) carrier: Carrier,
    pub(crate) arq: Arq,
    pub(crate) keys: KeyOptions,
    pub(crate) has_congestion: bool,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) idle_timeout: Duration,
}

impl Wishes {
    /// The numbers of `--json`.
    pub(crate) fn facts(&self) -> ArqFacts {
        ArqFacts::of(self.arq)
    }

    /// Reads the keys, and says what this mode is.
    fn builder(&self, console: &Console) -> Result<Builder, Failure> {
        let keys = &self.keys;
        if keys.authorized_keys.is_some() || keys.known_peers.is_some() || keys.accept_new {
            return Err(Failure::usage(
                "--classic knows no lists of peers: give --priv-key (this side's) and --pub-key (the peer's), or no keys",
            ));
        }
        if self.has_congestion {
            return Err(Failure::usage(
                "--classic has no congestion control: choose --arq, --window and --timeout instead",
            ));
        }
        let mut builder = Builder::new().arq(self.arq).idle_timeout(self.idle_timeout);
        if let Some(timeout) = self.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        match (&keys.priv_key, &keys.pub_key) {
            (Some(own), Some(peer)) => {
                builder = builder.cryptor(cryptor(Path::new(own), Path::new(peer), console)?);
                console.warn(
                    "--classic is for teaching: its textbook RSA protects nothing; everybody on the way can read, \
                     repeat and cut what is sent",
                );
            }
            (None, None) => {
                console.warn("--classic is for teaching: everybody on the way can read, change and forge what is sent");
            }
            _ => {
                return Err(Failure::usage(
                    "--classic encrypts both directions or none: give --priv-key (this side's) and --pub-key (the \
                     peer's), or neither",
                ));
            }
        }
        Ok(builder)
    }
}

/// The controller sees this stream from now on, until what is returned is dropped.
fn follow(agent: Option<&EndpointAgent>, stream: &Stream) -> Option<Followed> {
    let stream = stream.try_clone().ok()?;
    Some(agent?.follow(move || stream.stats()))
}

/// As `endpoint::heed`.
fn heed(signals: &Signals, stream: &Stream) -> Option<Undo> {
    let (watched, aborted) = (stream.try_clone().ok()?, stream.try_clone().ok()?);
    Some(signals.transfer(move || moved(&watched.stats()), move || aborted.abort()))
}

/// The keys of two files. One that others can open is only warned about: the original writes such files.
fn cryptor(own: &Path, peer: &Path, console: &Console) -> Result<Cryptor, Failure> {
    let own_file = KeyFile::read(own).map_err(|error| unusable(&error))?;
    if let Err(error) = own_file.check_guarded() {
        console.warn(error);
    }
    let peer_text = KeyFile::read(peer)
        .map(KeyFile::into_text)
        .map_err(|error| unusable(&error))?;
    let own_key = KeyText::private_classic(own_file.text()).map_err(|error| unusable(&error.in_file(own)))?;
    let peer_key = peer_text
        .public_classic()
        .map_err(|error| unusable(&error.in_file(peer)))?;
    build_cryptor(&own_key, &peer_key).map_err(|error| Failure::new(Exit::Identity, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_mode_want_the_mode() {
        assert_eq!(arq(false, None, None, None), Ok(None));
        let given = arq(true, None, None, None).unwrap().unwrap();
        assert_eq!(given, Arq::default());
        for (scheme, window, timeout) in [
            (Some(Scheme::GoBackN), None, None),
            (None, Some(Window(3)), None),
            (None, None, Some(Span(Duration::from_secs(1)))),
        ] {
            let refused = arq(false, scheme, window, timeout).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage);
            assert!(arq(true, scheme, window, timeout).unwrap().is_some());
        }
        assert!(arq(true, None, Some(Window(11)), None).is_err());
        assert!(arq(true, Some(Scheme::StopAndWait), Some(Window(2)), None).is_err());
        assert!("ten".parse::<Window>().is_err());
    }
}
