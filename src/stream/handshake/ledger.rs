//! How much may be sent to an address that has not proven that it hears us (RFC 9000, section 8.1).

/// Bytes that may be sent for each byte received from an address that is not validated.
const AMPLIFICATION_LIMIT: u64 = 3;

/// Bytes received from and sent to one address.
#[derive(Debug)]
pub(super) struct Ledger {
    received_bytes: u64,
    sent_bytes: u64,
    is_validated: bool,
}

impl Ledger {
    /// For an address that is known to be right: chosen by us, or at the end of a reliable carrier.
    pub(super) const fn validated() -> Self {
        Self {
            received_bytes: 0,
            sent_bytes: 0,
            is_validated: true,
        }
    }

    /// For an address that may be forged.
    pub(super) const fn unvalidated() -> Self {
        Self {
            received_bytes: 0,
            sent_bytes: 0,
            is_validated: false,
        }
    }

    /// The peer has proven that it hears us.
    pub(super) fn validate(&mut self) {
        self.is_validated = true;
    }

    /// Counts a datagram of the address, whatever is in it.
    pub(super) fn on_received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
    }

    /// Counts a datagram to the address.
    pub(super) fn on_sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// What may be sent now.
    pub(super) fn budget_bytes(&self) -> usize {
        if self.is_validated {
            return usize::MAX;
        }
        let allowed = AMPLIFICATION_LIMIT * self.received_bytes;
        usize::try_from(allowed.saturating_sub(self.sent_bytes)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_what_came_may_go_until_the_address_is_validated() {
        let mut ledger = Ledger::unvalidated();
        assert_eq!(ledger.budget_bytes(), 0);
        ledger.on_received(1200);
        ledger.on_sent(1200);
        assert_eq!(ledger.budget_bytes(), 2400);
        ledger.on_sent(2400);
        assert_eq!(ledger.budget_bytes(), 0);
        ledger.on_received(0);
        assert_eq!(ledger.budget_bytes(), 0);
        ledger.validate();
        assert_eq!(ledger.budget_bytes(), usize::MAX);
        assert_eq!(Ledger::validated().budget_bytes(), usize::MAX);
    }
}
