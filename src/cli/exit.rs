//! Exit codes, and which error means which.

use crate::crypto::identity::KeyError;
use crate::error::{Limit, StreamError};
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// How a tool ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: everything was done and verified.
    Success,
    /// 1: something failed on the way.
    Runtime,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: an identity was refused.
    Identity,
    /// 4: no connection: nobody there, no answer, or another mode or version.
    Connect,
    /// 5: what came is not what was sent: damaged, or cut before its end.
    Integrity,
    /// 141 (128 + SIGPIPE): the reader of the output went away with payload still to come.
    OutputGone,
    /// 128 + n: ended by signal n.
    Signal(i32),
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Runtime => 1,
            Self::Usage => 2,
            Self::Identity => 3,
            Self::Connect => 4,
            Self::Integrity => 5,
            Self::OutputGone => 141,
            Self::Signal(number) => u8::try_from(128 + number).expect("signal numbers are below 65"),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a tool gives up: what to say, and the code to end with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// One line without the tool's name.
    pub(crate) message: String,
    /// Whether the options are at fault, so that a look at --help may help.
    pub(crate) is_about_options: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            is_about_options: false,
        }
    }

    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self::new(Exit::Runtime, message)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            is_about_options: true,
            ..Self::new(Exit::Usage, message)
        }
    }

    /// `what` could not be done because the system said `error`.
    pub(crate) fn io(what: impl Display, error: &io::Error) -> Self {
        Self::runtime(format!("{what}: {}", plain_words(error)))
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::runtime(error.to_string())
    }
}

/// The code for a failed connect. Everything but a refused identity, a bad option and a fault of ours means that
/// there is no connection.
pub(crate) fn of_connect(error: &io::Error) -> Exit {
    match StreamError::of(error) {
        Some(StreamError::Identity { .. }) => Exit::Identity,
        Some(StreamError::Invalid { .. }) => Exit::Usage,
        Some(StreamError::Internal) => Exit::Runtime,
        _ => Exit::Connect,
    }
}

/// The code for a sender whose stream broke after it was connected.
pub(crate) fn of_sending(error: &io::Error) -> Exit {
    match StreamError::of(error) {
        Some(StreamError::Identity { .. }) => Exit::Identity,
        Some(StreamError::Violation { .. }) => Exit::Integrity,
        _ => Exit::Runtime,
    }
}

/// The code for a receiver whose stream broke: whatever the network did, the end of the stream was not seen.
pub(crate) fn of_receiving(error: &io::Error) -> Exit {
    match StreamError::of(error) {
        Some(StreamError::Identity { .. }) => Exit::Identity,
        // Faults and time limits of our own say nothing about what came.
        Some(
            StreamError::Internal
            | StreamError::Aborted
            | StreamError::TimedOut {
                limit: Limit::Read | Limit::Accept,
                ..
            },
        ) => Exit::Runtime,
        _ => Exit::Integrity,
    }
}

/// The words of `error` without what helps nobody: the " (os error 2)" of the standard library, and the name of the
/// temporary file that `tempfile` puts behind it.
pub(crate) fn plain_words(error: &io::Error) -> String {
    let words = error.to_string();
    let words = words.split(" at path \"").next().unwrap_or_default();
    match words.rfind(" (os error ") {
        Some(end) if words.ends_with(')') => words[..end].to_owned(),
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_manual() {
        let all = [
            Exit::Success,
            Exit::Runtime,
            Exit::Usage,
            Exit::Identity,
            Exit::Connect,
            Exit::Integrity,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5]);
        assert_eq!(Exit::OutputGone.code(), 141);
        assert_eq!(Exit::Signal(15).code(), 143);
    }

    #[test]
    fn a_cut_stream_is_an_integrity_failure_for_its_receiver_and_a_runtime_failure_for_its_sender() {
        let reset = io::Error::from(StreamError::Reset { reason: String::new() });
        assert_eq!(of_receiving(&reset), Exit::Integrity);
        assert_eq!(of_sending(&reset), Exit::Runtime);
        assert_eq!(
            of_receiving(&StreamError::Truncated { read: 7 }.into()),
            Exit::Integrity
        );
        assert_eq!(
            of_receiving(&io::Error::from(io::ErrorKind::ConnectionReset)),
            Exit::Integrity
        );
    }

    #[test]
    fn the_system_speaks_without_its_error_number() {
        assert_eq!(
            plain_words(&io::Error::from_raw_os_error(2)),
            "No such file or directory"
        );
        assert_eq!(plain_words(&io::Error::other("as it is")), "as it is");
    }
}
