//! What an ACK or a deadline did to packets, for all who must hear of it: frame sources, congestion
//! controller, delivery rate. It must not know why a packet counts as lost. RFC 9002 appendix A.7 to A.10.

use std::time::Instant;

use super::super::congestion::delivery_rate;
use super::super::sent::Packet;

/// What happened to packets. Reused: the caller clears it between calls.
#[derive(Debug)]
pub struct Outcome<C> {
    /// Newly acknowledged packets with their numbers.
    pub acked: Vec<(u64, Packet<C>)>,
    /// Packets found lost, ascending.
    pub lost: Vec<(u64, Packet<C>)>,
    /// Packets found lost earlier that arrived after all.
    pub spurious: u64,
    /// When the oldest of the spurious losses was sent.
    pub earliest_spurious_sent_at: Option<Instant>,
    /// The RTT was measured.
    pub rtt_sampled: bool,
    /// Everything was lost for a long time (RFC 9002 section 7.6).
    pub persistent_congestion: bool,
    /// Bytes of `acked` that were in flight.
    pub newly_acked_bytes: u64,
    /// When the highest of `acked` was sent.
    pub largest_acked_sent_at: Option<Instant>,
    /// Packets of `lost` that were in flight and no probes for the path MTU, here and in what follows.
    pub lost_pkts: u64,
    /// Their bytes.
    pub lost_bytes: u64,
    /// When the newest of them was sent.
    pub largest_lost_sent_at: Option<Instant>,
}

impl<C> Default for Outcome<C> {
    fn default() -> Self {
        Self {
            acked: Vec::new(),
            lost: Vec::new(),
            spurious: 0,
            earliest_spurious_sent_at: None,
            rtt_sampled: false,
            persistent_congestion: false,
            newly_acked_bytes: 0,
            largest_acked_sent_at: None,
            lost_pkts: 0,
            lost_bytes: 0,
            largest_lost_sent_at: None,
        }
    }
}

impl<C> Outcome<C> {
    /// Nothing happened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        let mut acked = std::mem::take(&mut self.acked);
        let mut lost = std::mem::take(&mut self.lost);
        acked.clear();
        lost.clear();
        *self = Self {
            acked,
            lost,
            ..Self::default()
        };
    }

    /// The acknowledged packets as `delivery_rate::Estimator::on_ack` takes them.
    pub fn deliveries(&self) -> impl Iterator<Item = (Instant, u32, delivery_rate::Sent)> + '_ {
        self.acked
            .iter()
            .filter(|(_, p)| p.in_flight)
            .map(|(_, p)| (p.time_sent, p.size_bytes, p.rate))
    }

    pub(super) fn acked(&mut self, packet_number: u64, packet: Packet<C>) {
        if packet.in_flight {
            self.newly_acked_bytes += u64::from(packet.size_bytes);
        }
        // Send times rise with the numbers: the newest is the highest.
        self.largest_acked_sent_at = self.largest_acked_sent_at.max(Some(packet.time_sent));
        self.acked.push((packet_number, packet));
    }

    pub(super) fn lost(&mut self, packet_number: u64, packet: Packet<C>) {
        if packet.in_flight && !packet.is_mtu_probe {
            self.lost_pkts += 1;
            self.lost_bytes += u64::from(packet.size_bytes);
            self.largest_lost_sent_at = self.largest_lost_sent_at.max(Some(packet.time_sent));
        }
        self.lost.push((packet_number, packet));
    }

    pub(super) fn spurious(&mut self, time_sent: Instant) {
        self.spurious += 1;
        let earliest = self.earliest_spurious_sent_at.unwrap_or(time_sent);
        self.earliest_spurious_sent_at = Some(earliest.min(time_sent));
    }
}
