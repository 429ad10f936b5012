//! The keys of a command line: who this side is, and whose key the peer may have.
//!
//! Nothing here falls back. Without keys the packets are encrypted for whoever answers, and that is said with both
//! fingerprints as soon as they are known.

use super::console::Console;
use super::exit::{Exit, Failure};
use crate::crypto::identity::{KeyError, PrivateKey, PublicKey};
use crate::crypto::tls::{KeyLogFile, SecureOptions};
use crate::crypto::trust::{AuthorizedKeys, KnownPeers, Pinned, Trust, Unauthenticated};
use crate::stream::{Security, Stream};
use serde::Serialize;
use std::sync::Arc;

/// An identity that lives as long as the process: long enough to be safe for that, short enough to be made at once.
const EPHEMERAL_BITS: usize = 2048;
/// Where the secrets of all connections go, if anywhere.
const KEY_LOG_VARIABLE: &str = "STREAM_KEYLOGFILE";

/// What the command line says about keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyOptions {
    /// File with the only key that the peer may have.
    pub(crate) pub_key: Option<String>,
    /// File with the key of this side.
    pub(crate) priv_key: Option<String>,
    /// File or folder with the keys that the peer may have.
    pub(crate) authorized_keys: Option<String>,
    /// File with the keys that peers had the first time.
    pub(crate) known_peers: Option<String>,
    /// Peers that are not in that file yet are added.
    pub(crate) accept_new: bool,
}

impl KeyOptions {
    fn are_given(&self) -> bool {
        [&self.pub_key, &self.priv_key, &self.authorized_keys, &self.known_peers]
            .into_iter()
            .any(Option::is_some)
            || self.accept_new
    }

    /// Whose key the peer may have. `peer` is how the user calls it, "host:port".
    fn trust(&self, peer: &str) -> Result<Trust, Failure> {
        if self.accept_new && self.known_peers.is_none() {
            return Err(Failure::usage(
                "--accept-new says what becomes of peers that are not in --known-peers FILE: give that, too",
            ));
        }
        match (&self.pub_key, &self.authorized_keys, &self.known_peers) {
            (Some(file), None, None) => {
                let key = PublicKey::load(file).map_err(|error| unusable(&error))?;
                Ok(Trust::Pinned(Pinned::new(key)))
            }
            (None, Some(place), None) => {
                let keys = AuthorizedKeys::open(place).map_err(|error| unusable(&error))?;
                Ok(Trust::AuthorizedKeys(keys))
            }
            (None, None, Some(file)) => {
                let known = KnownPeers::open(file, peer, self.accept_new).map_err(|error| unusable(&error))?;
                Ok(Trust::KnownPeers(known))
            }
            (None, None, None) => Ok(Trust::Unauthenticated(Unauthenticated)),
            _ => unreachable!("the conventions allow one of them"),
        }
    }
}

/// How the streams of a tool are protected, and what people must know of it.
#[derive(Clone, Debug)]
pub(crate) struct Protection {
    pub(crate) security: Security,
    /// In secure mode: who this side is.
    own: Option<PrivateKey>,
    authenticates: bool,
}

/// Who speaks with whom.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Introduction {
    peer_fingerprint: Option<String>,
    own_fingerprint: Option<String>,
    peer_authenticated: bool,
}

impl Protection {
    /// Reads the keys. Says loudly what gives secrets away. `peer` is how the user calls the other side, for tools that
    /// know peers by name.
    pub(crate) fn new(plain: bool, keys: &KeyOptions, peer: &str, console: &Console) -> Result<Self, Failure> {
        if plain {
            if keys.are_given() {
                return Err(Failure::usage(
                    "--plain packets have no keys: leave out either --plain or the keys",
                ));
            }
            return Ok(Self {
                security: Security::plain(),
                own: None,
                authenticates: false,
            });
        }
        let trust = keys.trust(peer)?;
        let own = match &keys.priv_key {
            Some(file) => PrivateKey::load(file).map_err(|error| unusable(&error))?,
            None => PrivateKey::ephemeral(EPHEMERAL_BITS).map_err(|error| unusable(&error))?,
        };
        log::info!("this side is {}", own.public().fingerprint());
        let authenticates = trust.authenticates();
        let mut options = SecureOptions::default();
        if let Some(path) = std::env::var_os(KEY_LOG_VARIABLE).filter(|path| !path.is_empty()) {
            let log = KeyLogFile::append(&path)
                .map_err(|error| Failure::io(format_args!("cannot write the key log {}", path.display()), &error))?;
            console.warn(format_args!(
                "{KEY_LOG_VARIABLE}: the secrets of every connection are written to {}; whoever has that file reads \
                 everything",
                path.display()
            ));
            options.key_log = Some(Arc::new(log));
        }
        let security = Security::secure_with(own.clone(), trust, &options)
            .map_err(|error| Failure::new(Exit::Identity, error.to_string()))?;
        Ok(Self {
            security,
            own: Some(own),
            authenticates,
        })
    }

    /// Says with whom a stream speaks, and how sure that is.
    pub(crate) fn introduce(&self, stream: &Stream, peer: &str, console: &Console) -> Introduction {
        let (Some(own), Some(key)) = (&self.own, stream.peer_identity()) else {
            return Introduction::default();
        };
        let (ours, theirs) = (own.public().fingerprint(), key.fingerprint());
        if self.authenticates {
            log::info!("{peer} proved that it is {theirs}");
        } else {
            let lives = if own.is_ephemeral() { ", made for this run" } else { "" };
            console.warn(format_args!(
                "encrypted, but {peer} is NOT authenticated: its key is {theirs}, ours {ours}{lives} (--pub-key FILE \
                 says whose key it must be)"
            ));
        }
        Introduction {
            peer_fingerprint: Some(theirs.to_string()),
            own_fingerprint: Some(ours.to_string()),
            peer_authenticated: self.authenticates,
        }
    }
}

/// For two ends in one process: each has a key made for this run, and knows that of the other.
pub(crate) fn strangers(plain: bool) -> Result<[Security; 2], Failure> {
    if plain {
        return Ok([Security::plain(), Security::plain()]);
    }
    let make = || PrivateKey::ephemeral(EPHEMERAL_BITS).map_err(|error| unusable(&error));
    let (one, other) = (make()?, make()?);
    let trust = |key: &PrivateKey| Trust::Pinned(Pinned::new(key.public().clone()));
    let (trust_one, trust_other) = (trust(&one), trust(&other));
    Ok([Security::secure(one, trust_other), Security::secure(other, trust_one)])
}

/// A key that cannot be used: a matter of identity, unless the file could not even be read.
pub(crate) fn unusable(error: &KeyError) -> Failure {
    let exit = match error {
        KeyError::Read { .. } | KeyError::Write { .. } => Exit::Runtime,
        _ => Exit::Identity,
    };
    Failure::new(exit, error.to_string())
}
