//! A man in the middle who means harm, to see what each mode is worth. For lessons, and for the tests: each attack
//! succeeds against plain or classic mode, and fails against secure mode, where the counters of the endpoints show it.
//!
//! | attack | what it does | plain, classic | secure |
//! |---|---|---|---|
//! | bitflip | changes payload on its way, and repairs the checksum | damaged data, and nobody notices | dropped (`auth_failures`), sent again |
//! | replay | puts what one client said into the mouth of the next | yesterday's order is carried out again | dropped (`replays_rejected`) |
//! | forge-ack | takes a packet away and acknowledges it | the sender believes that it arrived, and the receiver that it will | dropped, sent again |
//! | truncate | ends the stream early, and tells both sides that all is well | a part looks like the whole, also to a sender that has written all | dropped (`auth_failures`), an error, never an end |
//! | spoof | sends in the name of a client, from another address | strange bytes in the stream; in classic mode all bytes are the stranger's | dropped (`auth_failures`) |
//! | downgrade | pretends that the server speaks plain only | nothing left to win | the connection fails |
//! | key-swap | two streams back to back, with keys of its own | reads everything | refused where the peer's key is known |
//!
//! It stands on the public API of the proxy and of streams, like a program of a user: the first six are filters of a
//! [`crate::proxy::Proxy`], the last is [`KeySwap`].

mod ack;
mod downgrade;
mod flip;
mod hook;
mod key_swap;
mod opened;
mod replay;
mod spoof;
mod truncate;

#[cfg(test)]
mod tests;

pub use hook::Armed;
pub use key_swap::KeySwap;

use crate::proxy::ProxyBuilder;
use std::str::FromStr;

/// An attack on packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// See the module.
    BitFlip,
    /// See the module.
    Replay,
    /// See the module.
    ForgeAck,
    /// See the module.
    Truncate,
    /// See the module.
    Spoof,
    /// See the module.
    Downgrade,
}

impl Attack {
    /// All of them by name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("bitflip", Self::BitFlip),
        ("replay", Self::Replay),
        ("forge-ack", Self::ForgeAck),
        ("truncate", Self::Truncate),
        ("spoof", Self::Spoof),
        ("downgrade", Self::Downgrade),
    ];

    /// Adds the attacker to a proxy that is to be started. Then [`Armed::aim`].
    pub fn arm(self, builder: ProxyBuilder) -> (ProxyBuilder, Armed) {
        match self {
            Self::BitFlip => hook::arm(builder, flip::Flip::default()),
            Self::Replay => hook::arm(builder, replay::Replay::default()),
            Self::ForgeAck => hook::arm(builder, ack::ForgeAck::default()),
            Self::Truncate => hook::arm(builder, truncate::Truncate::default()),
            Self::Spoof => hook::arm(builder, spoof::Spoof::default()),
            Self::Downgrade => hook::arm(builder, downgrade::Downgrade),
        }
    }
}

impl FromStr for Attack {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|(word, _)| *word == name);
        named.map(|(_, attack)| *attack).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(word, _)| *word).collect();
            format!("no attack is called \"{name}\"; there is {}", names.join(", "))
        })
    }
}
