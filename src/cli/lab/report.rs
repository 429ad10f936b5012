//! What the lab prints at the end: one table.

use super::super::endpoint::carrier_word;
use super::super::quantity::{grouped, millis, rate};
use super::ends::End;
use crate::filter::Spec;
use crate::stream::Carrier;
use aws_lc_rs::digest::Digest;
use std::fmt::Write;
use std::time::Duration;

/// What the table shows.
pub(super) struct Report<'a> {
    pub(super) carrier: Carrier,
    pub(super) seed: u64,
    pub(super) faults: &'a Spec,
    /// There and back.
    pub(super) dropped: [u64; 2],
    pub(super) sent: &'a End,
    pub(super) received: &'a End,
    pub(super) cpu: Duration,
}

impl Report<'_> {
    pub(super) fn table(&self) -> String {
        let (there, back) = (&self.sent.stats, &self.received.stats);
        let impairment = if self.faults.is_empty() {
            "none".to_owned()
        } else {
            self.faults.to_string()
        };
        let mut rows = vec![
            (
                "link",
                format!("{} on loopback, {impairment}", carrier_word(self.carrier)),
            ),
            ("seed", self.seed.to_string()),
            ("bytes", grouped(self.received.bytes)),
            ("seconds", format!("{:.3}", self.sent.elapsed.as_secs_f64())),
            ("goodput", rate(self.received.bytes, self.sent.elapsed)),
            (
                "RTT",
                format!("{} (lowest {})", millis(there.smoothed_rtt), millis(there.min_rtt)),
            ),
            ("packets sent", both_ways(there.packets_sent, back.packets_sent)),
            ("lost on the link", both_ways(self.dropped[0], self.dropped[1])),
            ("sent again", format!("{} bytes", grouped(there.retransmitted_bytes))),
            ("CPU", format!("{:.3} s, both ends", self.cpu.as_secs_f64())),
        ];
        let (sent, received) = (hex(&self.sent.digest), hex(&self.received.digest));
        if sent == received {
            rows.push(("SHA-256", format!("{sent}, the same at both ends")));
        } else {
            rows.push(("SHA-256 sent", sent));
            rows.push(("SHA-256 received", received));
        }
        rows.into_iter().fold(String::new(), |mut table, (name, value)| {
            writeln!(table, "{name:<18}{value}").expect("a String takes everything");
            table
        })
    }
}

fn both_ways(there: u64, back: u64) -> String {
    format!("{} there, {} back", grouped(there), grouped(back))
}

fn hex(digest: &Digest) -> String {
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};

    #[test]
    fn a_digest_is_written_in_hex() {
        let empty = hex(&digest(&SHA256, b""));
        assert_eq!(
            empty,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
