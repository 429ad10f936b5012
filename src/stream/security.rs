//! Which mode a stream speaks, with what the mode needs. Chosen by name, never negotiated, never a fallback.

use crate::crypto::engine::Mode;
use crate::crypto::plain::PlainMode;
use crate::wire::packet::{ShortForm, VERSION_PLAIN};
use std::fmt;
use std::sync::Arc;

/// How packets are protected. Both sides must be given the same kind.
#[derive(Clone)]
pub struct Security(Arc<dyn Mode>);

impl Security {
    /// Packets in clear, with a checksum against accidents. Anybody on the way can read, change and forge them: for
    /// looking at packets in the lab.
    pub fn plain() -> Self {
        Self(Arc::new(PlainMode))
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    pub(crate) fn mode(&self) -> &Arc<dyn Mode> {
        &self.0
    }

    /// Shape of the short header.
    pub(crate) fn form(&self) -> ShortForm {
        if self.0.version() == VERSION_PLAIN {
            ShortForm::Plain
        } else {
            ShortForm::Secure
        }
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Security({})", self.name())
    }
}
