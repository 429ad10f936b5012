//! How lost packets are sent again: the three schemes (ARQ, automatic repeat request) that every course teaches.

use crate::wire::classic::MAX_WINDOW;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Silence after which the original sends again.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a sender sends again, and what a receiver keeps. All three acknowledge cumulatively, for this wire has nothing
/// else, and any of them understands any other at the far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// One packet at a time.
    StopAndWait,
    /// A window of packets. The receiver drops what is out of order, and the sender sends the whole window again.
    GoBackN,
    /// A window of packets. The receiver keeps what is out of order, and the sender sends only the oldest missing packet
    /// again.
    #[default]
    SelectiveRepeat,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StopAndWait, Self::GoBackN, Self::SelectiveRepeat];

    /// The word on command lines.
    pub fn word(self) -> &'static str {
        match self {
            Self::StopAndWait => "stop-and-wait",
            Self::GoBackN => "go-back-n",
            Self::SelectiveRepeat => "selective-repeat",
        }
    }

    /// Whether the receiver keeps packets that came before their turn.
    pub(super) fn keeps_out_of_order(self) -> bool {
        matches!(self, Self::SelectiveRepeat)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.word() == word)
            .ok_or_else(|| "use one of stop-and-wait, go-back-n, selective-repeat".to_owned())
    }
}

/// A scheme with its two numbers. By default selective repeat with a window of ten and the original's two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arq {
    scheme: Scheme,
    window_pkts: u32,
    timeout: Duration,
}

impl Default for Arq {
    fn default() -> Self {
        Self::new(Scheme::default())
    }
}

impl Arq {
    /// A scheme with its largest window, ten or, for stop-and-wait, one.
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            window_pkts: if scheme == Scheme::StopAndWait { 1 } else { MAX_WINDOW },
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// At most this many packets are under way.
    ///
    /// # Errors
    /// What is possible: 1 to 10, or 1 for stop-and-wait.
    pub fn window(self, window_pkts: u32) -> Result<Self, String> {
        if self.scheme == Scheme::StopAndWait && window_pkts != 1 {
            return Err(format!(
                "stop-and-wait has one packet under way, not {window_pkts}: take go-back-n or selective-repeat for a window"
            ));
        }
        if !(1..=MAX_WINDOW).contains(&window_pkts) {
            return Err(format!(
                "a window has 1 to {MAX_WINDOW} packets, not {window_pkts}: the receive queue of this protocol has \
                 {MAX_WINDOW} places"
            ));
        }
        Ok(Self { window_pkts, ..self })
    }

    /// Packets are sent again when nothing was acknowledged for that long. Not zero: that is taken as a microsecond.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let timeout = timeout.max(Duration::from_micros(1));
        Self { timeout, ..self }
    }

    /// What is sent again.
    pub fn scheme(self) -> Scheme {
        self.scheme
    }

    /// The most packets under way.
    pub fn window_pkts(self) -> u32 {
        self.window_pkts
    }

    /// The silence after which packets are sent again.
    pub fn timeout_after(self) -> Duration {
        self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_the_schemes_and_nothing_else() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.word().parse(), Ok(scheme));
        }
        assert!("selective".parse::<Scheme>().unwrap_err().contains("stop-and-wait"));
    }

    #[test]
    fn windows_that_the_wire_cannot_say_are_refused() {
        let arq = Arq::default();
        assert_eq!(
            (arq.scheme(), arq.window_pkts(), arq.timeout_after()),
            (Scheme::SelectiveRepeat, 10, Duration::from_secs(2))
        );
        assert_eq!(arq.window(3).unwrap().window_pkts(), 3);
        assert!(arq.window(0).is_err());
        assert!(arq.window(11).unwrap_err().contains("10 places"));
        let one = Arq::new(Scheme::StopAndWait);
        assert_eq!(one.window(1), Ok(one));
        assert!(one.window(2).unwrap_err().contains("one packet"));
    }
}
