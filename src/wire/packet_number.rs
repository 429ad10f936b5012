//! How packet numbers are shortened and restored (RFC 9000, section 17.1 and appendix A).
//!
//! A packet carries the lowest bits of its number only: the receiver knows about which number it waits for.

/// In how many bytes, 2 to 4, `pn` must be sent so that a peer that acknowledged `largest_acked` can restore it
/// (RFC 9000, section 17.1 and appendix A.2). Never 1: one byte saved is not worth a form more.
#[inline]
pub fn packet_number_bytes(pn: u64, largest_acked: Option<u64>) -> usize {
    let unacked = match largest_acked {
        Some(largest) => pn.saturating_sub(largest),
        None => pn + 1,
    };
    // n bytes tell apart 2^(8n) numbers, half of them ahead of what the peer expects.
    if unacked <= 1 << 15 {
        2
    } else if unacked <= 1 << 23 {
        3
    } else {
        4
    }
}

/// Restores a packet number of `pn_bytes` (1 to 4) from its lowest bits: the one nearest to what is expected after
/// `largest`, the largest authentic one so far (RFC 9000, appendix A.3).
#[inline]
pub fn expand_packet_number(truncated: u64, pn_bytes: usize, largest: Option<u64>) -> u64 {
    let expected = largest.map_or(0, |largest| largest + 1);
    let window = 1u64 << (8 * pn_bytes);
    let half = window / 2;
    let candidate = expected & !(window - 1) | truncated & (window - 1);
    if candidate + half <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected + half && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_9000_appendix_a_2_have_two_and_three_bytes() {
        assert_eq!(packet_number_bytes(0x00ac_5c02, Some(0x00ab_e8b3)), 2);
        assert_eq!(packet_number_bytes(0x00ac_e8fe, Some(0x00ab_e8b3)), 3);
    }

    #[test]
    fn the_example_of_rfc_9000_appendix_a_3_is_restored() {
        assert_eq!(expand_packet_number(0x9b32, 2, Some(0xa82f_30ea)), 0xa82f_9b32);
    }

    #[test]
    fn lengths_change_where_half_of_the_numbers_are_used_up() {
        assert_eq!(packet_number_bytes(0, None), 2);
        assert_eq!(packet_number_bytes((1 << 15) - 1, None), 2);
        assert_eq!(packet_number_bytes(1 << 15, None), 3);
        assert_eq!(packet_number_bytes(1 << 15, Some(0)), 2);
        assert_eq!(packet_number_bytes((1 << 15) + 1, Some(0)), 3);
        assert_eq!(packet_number_bytes(1 << 23, Some(0)), 3);
        assert_eq!(packet_number_bytes((1 << 23) + 1, Some(0)), 4);
        assert_eq!(packet_number_bytes((1 << 62) - 1, None), 4);
    }

    #[test]
    fn the_first_packets_are_restored_without_a_largest() {
        assert_eq!(expand_packet_number(0, 2, None), 0);
        assert_eq!(expand_packet_number(7, 4, None), 7);
        // Nothing lies below zero, however near it would be.
        assert_eq!(expand_packet_number(0xffff, 2, None), 0xffff);
    }

    #[test]
    fn numbers_never_leave_the_range_at_its_upper_end() {
        let last = (1u64 << 62) - 1;
        assert_eq!(expand_packet_number(last & 0xffff, 2, Some(last - 1)), last);
        assert_eq!(expand_packet_number(0xfff0, 2, Some(last)), last & !0xffff | 0xfff0);
    }

    proptest! {
        #[test]
        fn what_a_peer_sends_is_restored_by_anybody_who_acknowledged_that_much(
            pn in 0u64..1 << 62,
            unacked in 1u64..1 << 31,
            seen in any::<prop::sample::Index>(),
        ) {
            let largest_acked = pn.checked_sub(unacked);
            let bytes = packet_number_bytes(pn, largest_acked);
            let truncated = pn & ((1 << (8 * bytes)) - 1);
            // The receiver has seen at least what it acknowledged, and at most all that came before.
            let low = largest_acked.map_or(0, |largest| largest + 1);
            let next = low + seen.index((pn - low + 1) as usize) as u64;
            prop_assert_eq!(expand_packet_number(truncated, bytes, next.checked_sub(1)), pn);
        }

        #[test]
        fn a_late_packet_is_restored_within_half_of_the_numbers(
            pn in 0u64..1 << 61,
            bytes in 2usize..=4,
            newer in any::<prop::sample::Index>(),
        ) {
            let half = 1usize << (8 * bytes - 1);
            let largest = pn + newer.index(half) as u64;
            let truncated = pn & ((1 << (8 * bytes)) - 1);
            prop_assert_eq!(expand_packet_number(truncated, bytes, Some(largest)), pn);
        }

        #[test]
        fn any_bits_expand_to_a_number_with_these_bits(
            truncated: u32,
            bytes in 1usize..=4,
            largest in prop::option::of(0u64..1 << 62),
        ) {
            let mask = (1u64 << (8 * bytes)) - 1;
            let pn = expand_packet_number(u64::from(truncated) & mask, bytes, largest);
            prop_assert_eq!(pn & mask, u64::from(truncated) & mask);
            let distance = pn.abs_diff(largest.map_or(0, |largest| largest + 1));
            prop_assert!(distance <= mask + 1);
        }
    }
}
