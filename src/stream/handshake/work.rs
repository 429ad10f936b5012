//! Steps of an engine, here or on another thread.
//!
//! Signatures take a millisecond, and whoever drives many handshakes must not wait for them. So a step is a value: the
//! engine moves out with its input as [`Work`], runs anywhere, and comes back as [`Done`]. Fast engines take the same
//! steps at once.

use std::fmt;

use crate::crypto::engine::{Engine, EngineError, KeyChange};
use crate::crypto::identity::PublicKey;

/// One thing that an engine gave out. The order matters: bytes belong to the level before the change behind them.
#[derive(Debug)]
pub(super) enum Output {
    /// Handshake bytes.
    Bytes(Vec<u8>),
    /// Keys of the next level.
    Keys(KeyChange),
}

/// What one step of an engine led to.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) outputs: Vec<Output>,
    /// The peer's transport parameters, once known.
    pub(super) peer_params: Option<Vec<u8>>,
    /// The peer has proven all it must.
    pub(super) is_complete: bool,
    /// Who it is, if it had to prove that.
    pub(super) peer_identity: Option<PublicKey>,
}

/// Feeds the engine and takes everything that it has to say.
pub(super) fn step(engine: &mut dyn Engine, input: &[u8]) -> Result<Step, EngineError> {
    if !input.is_empty() {
        engine.read_handshake(input)?;
    }
    let mut outputs = Vec::new();
    loop {
        let mut bytes = Vec::new();
        let change = engine.write_handshake(&mut bytes);
        let is_quiet = bytes.is_empty() && change.is_none();
        if !bytes.is_empty() {
            outputs.push(Output::Bytes(bytes));
        }
        outputs.extend(change.map(Output::Keys));
        if is_quiet {
            break;
        }
    }
    Ok(Step {
        outputs,
        peer_params: engine.peer_params().map(<[u8]>::to_vec),
        is_complete: !engine.is_handshaking(),
        peer_identity: engine.peer_identity(),
    })
}

/// A step that may take long. To be run on any thread; dropping it abandons the handshake.
pub(crate) struct Work {
    pub(super) engine: Box<dyn Engine>,
    pub(super) input: Vec<u8>,
}

impl Work {
    /// Takes the step.
    pub(crate) fn run(mut self) -> Done {
        let result = step(&mut *self.engine, &self.input);
        Done {
            engine: self.engine,
            result,
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({} bytes)", self.input.len())
    }
}

/// A step that was taken: give it back to the handshake that it came from.
pub(crate) struct Done {
    pub(super) engine: Box<dyn Engine>,
    pub(super) result: Result<Step, EngineError>,
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Done({:?})", self.result)
    }
}
