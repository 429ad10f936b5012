//! What a key may be used for.

use std::fmt;
use std::str::FromStr;

/// One key, one use: a signature of one must never come out of the arithmetic of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Proving who one is, in secure mode.
    Identity,
    /// Textbook RSA of each packet, in classic mode.
    Classic,
}

impl Use {
    /// The word in key files and on command lines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Classic => "classic",
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Use {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "identity" => Ok(Self::Identity),
            "classic" => Ok(Self::Classic),
            _ => Err(format!(
                "the use of a key is identity or classic, not '{}'",
                word.escape_debug()
            )),
        }
    }
}
