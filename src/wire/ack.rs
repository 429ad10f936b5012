//! ACK frames (RFC 9000, section 19.3): which packet numbers arrived, as ranges from the highest to the lowest.
//!
//! The ranges stay in the packet's own bytes; decoding checks them once and iterating reads them again. Ack delay is
//! in plain microseconds: there is no exponent.

use std::ops::RangeInclusive;

use super::DecodeError;
use super::codec::{MAX_VARINT, Reader, Writer, varint_bytes};
use super::frame_type;

/// The most ranges that one ACK frame may carry. An older gap that does not fit has long been declared lost.
pub const MAX_ACK_RANGES: usize = 32;

/// Packets received with each ECN mark, since the start of the connection (RFC 9000, section 19.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcnCounts {
    /// Marked ECT(0).
    pub ect0: u64,
    /// Marked ECT(1).
    pub ect1: u64,
    /// Marked "congestion experienced".
    pub ce: u64,
}

impl EcnCounts {
    const fn encoded_bytes(&self) -> usize {
        varint_bytes(self.ect0) + varint_bytes(self.ect1) + varint_bytes(self.ce)
    }
}

/// An ACK frame whose ranges are known to be in order and within 0 to 2^62 - 1. There are 1 to [`MAX_ACK_RANGES`].
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    largest: u64,
    delay_us: u64,
    /// Packets below `largest` that belong to its range.
    first_range: u64,
    /// Pairs of (gap, range) below the first range, checked.
    more: Reader<'a>,
    ecn: Option<EcnCounts>,
}

impl<'a> Ack<'a> {
    /// The highest packet number acknowledged.
    #[inline]
    pub const fn largest(&self) -> u64 {
        self.largest
    }

    /// How long the peer sat on the largest packet before it sent this, in microseconds.
    #[inline]
    pub const fn delay_us(&self) -> u64 {
        self.delay_us
    }

    /// The ranges, highest first. Between two ranges at least one number is missing.
    #[inline]
    pub const fn ranges(&self) -> AckRanges<'a> {
        AckRanges {
            next: Some((self.largest - self.first_range, self.largest)),
            more: self.more,
        }
    }

    /// ECN counts, where the peer sees the marks.
    #[inline]
    pub const fn ecn(&self) -> Option<EcnCounts> {
        self.ecn
    }

    /// Reads what stands behind the frame type.
    pub(super) fn decode(reader: &mut Reader<'a>, with_ecn: bool) -> Result<Self, DecodeError> {
        let largest = reader.varint()?;
        let delay_us = reader.varint()?;
        let more_ranges = reader.varint()?;
        let first_range = reader.varint()?;
        if more_ranges >= MAX_ACK_RANGES as u64 {
            return Err(DecodeError);
        }
        let mut lowest = largest.checked_sub(first_range).ok_or(DecodeError)?;
        let mut behind = *reader;
        for _ in 0..more_ranges {
            (lowest, _) = range_below(lowest, &mut behind).ok_or(DecodeError)?;
        }
        let more_bytes = reader.remaining() - behind.remaining();
        let more = Reader::new(reader.bytes(more_bytes)?);
        let ecn = if with_ecn {
            Some(EcnCounts {
                ect0: reader.varint()?,
                ect1: reader.varint()?,
                ce: reader.varint()?,
            })
        } else {
            None
        };
        Ok(Self {
            largest,
            delay_us,
            first_range,
            more,
            ecn,
        })
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        let mut bytes = first_bytes(self.largest, self.delay_us, self.first_range, self.ecn);
        let mut ranges = self.ranges();
        let mut lowest = ranges.next().map_or(0, |range| *range.start());
        for range in ranges {
            bytes += range_bytes(lowest, &range);
            lowest = *range.start();
        }
        bytes
    }
}

/// Equal when they say the same, however long their integers are.
impl PartialEq for Ack<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.delay_us == other.delay_us && self.ecn == other.ecn && self.ranges().eq(other.ranges())
    }
}

impl Eq for Ack<'_> {}

/// Reads the (gap, range) pair below `lowest` (RFC 9000, section 19.3.1) as (start, end).
#[inline]
fn range_below(lowest: u64, pairs: &mut Reader<'_>) -> Option<(u64, u64)> {
    let gap = pairs.varint().ok()?;
    let length = pairs.varint().ok()?;
    let end = lowest.checked_sub(gap)?.checked_sub(2)?;
    Some((end.checked_sub(length)?, end))
}

/// See [`Ack::ranges`].
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    next: Option<(u64, u64)>,
    more: Reader<'a>,
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<u64>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (start, end) = self.next?;
        self.next = range_below(start, &mut self.more);
        Some(start..=end)
    }
}

/// The most bytes that an ACK frame with `ranges` ranges can have, ECN counts included.
#[inline]
pub const fn ack_bytes_bound(ranges: usize) -> usize {
    const VARINT: usize = 8;
    // Type, count; largest, delay, first range; ECN; pairs.
    2 + 3 * VARINT + 3 * VARINT + ranges.saturating_sub(1) * 2 * VARINT
}

/// Bytes of an ACK frame with one range.
#[inline]
fn first_bytes(largest: u64, delay_us: u64, first_range: u64, ecn: Option<EcnCounts>) -> usize {
    let ecn_bytes = ecn.map_or(0, |ecn| ecn.encoded_bytes());
    // The count is below 32 and has one byte.
    2 + varint_bytes(largest) + varint_bytes(delay_us) + varint_bytes(first_range) + ecn_bytes
}

/// Gap and length of `range` below a range that starts at `lowest`.
#[inline]
fn gap_and_length(lowest: u64, range: &RangeInclusive<u64>) -> (u64, u64) {
    let gap = lowest
        .checked_sub(*range.end())
        .and_then(|distance| distance.checked_sub(2))
        .expect("ranges come highest first, with a gap between them");
    (gap, range.end() - range.start())
}

#[inline]
fn range_bytes(lowest: u64, range: &RangeInclusive<u64>) -> usize {
    let (gap, length) = gap_and_length(lowest, range);
    varint_bytes(gap) + varint_bytes(length)
}

/// Writes an ACK frame with as many of `ranges` as fit the room and [`MAX_ACK_RANGES`], and returns how many. The
/// ranges come highest first, none empty, with a gap between any two. Writes nothing and returns 0 when there is no
/// range or no room for the first one.
pub fn encode_ack(
    writer: &mut Writer<'_>,
    delay_us: u64,
    ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
    ecn: Option<EcnCounts>,
) -> usize {
    let delay_us = delay_us.min(MAX_VARINT);
    let mut more = ranges;
    let Some(first) = more.next() else {
        return 0;
    };
    let (largest, first_range) = (*first.end(), first.end() - first.start());
    let mut bytes = first_bytes(largest, delay_us, first_range, ecn);
    if bytes > writer.remaining() {
        return 0;
    }
    // The count stands before the ranges, so they are measured first.
    let mut count = 1;
    let mut lowest = *first.start();
    for range in more.clone().take(MAX_ACK_RANGES - 1) {
        bytes += range_bytes(lowest, &range);
        if bytes > writer.remaining() {
            break;
        }
        lowest = *range.start();
        count += 1;
    }
    writer.varint(if ecn.is_some() {
        frame_type::ACK_ECN
    } else {
        frame_type::ACK
    });
    writer.varint(largest);
    writer.varint(delay_us);
    writer.varint(count as u64 - 1);
    writer.varint(first_range);
    lowest = *first.start();
    for range in more.take(count - 1) {
        let (gap, length) = gap_and_length(lowest, &range);
        writer.varint(gap);
        writer.varint(length);
        lowest = *range.start();
    }
    if let Some(ecn) = ecn {
        writer.varint(ecn.ect0);
        writer.varint(ecn.ect1);
        writer.varint(ecn.ce);
    }
    count
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Up to 40 ranges, highest first, with a gap between any two.
    pub(crate) fn any_ranges() -> impl Strategy<Value = Vec<RangeInclusive<u64>>> {
        let step = prop_oneof![0u64..3, 0u64..1 << 14, 0u64..1 << 40];
        (
            (1u64 << 50..1 << 62),
            prop::collection::vec((step.clone(), step), 1..=40),
        )
            .prop_map(|(largest, steps)| {
                let mut ranges = Vec::new();
                let mut end = largest;
                for (length, gap) in steps {
                    ranges.push(end - length..=end);
                    end -= length + gap + 2;
                }
                ranges
            })
    }

    pub(crate) fn any_ecn() -> impl Strategy<Value = Option<EcnCounts>> {
        let count = || 0u64..=MAX_VARINT;
        prop::option::of((count(), count(), count()).prop_map(|(ect0, ect1, ce)| EcnCounts { ect0, ect1, ce }))
    }

    fn encode(room: usize, delay_us: u64, ranges: &[RangeInclusive<u64>], ecn: Option<EcnCounts>) -> (usize, Vec<u8>) {
        let mut buffer = vec![0; room];
        let mut writer = Writer::new(&mut buffer);
        let count = encode_ack(&mut writer, delay_us, ranges.iter().cloned(), ecn);
        let bytes = writer.position();
        buffer.truncate(bytes);
        (count, buffer)
    }

    /// Reads a whole ACK frame.
    fn decode(frame: &[u8]) -> Result<Ack<'_>, DecodeError> {
        let mut reader = Reader::new(frame);
        let with_ecn = match reader.u8()? {
            2 => false,
            3 => true,
            _ => return Err(DecodeError),
        };
        Ack::decode(&mut reader, with_ecn)
    }

    #[test]
    fn an_ack_stands_on_the_wire_as_drawn() {
        // 10 to 12 and 5 to 6 arrived; 7 to 9 and all below 5 did not.
        let (count, bytes) = encode(64, 300, &[10..=12, 5..=6], None);
        assert_eq!(count, 2);
        assert_eq!(bytes, [0x02, 12, 0x41, 0x2c, 1, 2, 2, 1]);
        let counts = EcnCounts {
            ect0: 4,
            ect1: 0,
            ce: 64,
        };
        let (_, bytes) = encode(64, 0, &[0..=0], Some(counts));
        assert_eq!(bytes, [0x03, 0, 0, 0, 0, 4, 0, 0x40, 64]);
    }

    #[test]
    fn ranges_below_zero_are_refused() {
        assert_eq!(decode(&[2, 5, 0, 0, 6]), Err(DecodeError));
        assert_eq!(decode(&[2, 5, 0, 1, 2, 2, 0]), Err(DecodeError));
        assert_eq!(decode(&[2, 5, 0, 1, 2, 1, 1]), Err(DecodeError));
        assert_eq!(
            decode(&[2, 5, 0, 1, 2, 1, 0]).map(|ack| ack.ranges().last()),
            Ok(Some(0..=0))
        );
    }

    #[test]
    fn thirty_two_ranges_are_taken_and_one_more_is_refused() {
        let mut frame = vec![2, 0x40, 200, 0, 31, 0];
        frame.extend([0; 2 * 32]);
        assert_eq!(decode(&frame).map(|ack| ack.ranges().count()), Ok(32));
        frame[4] = 32;
        assert_eq!(decode(&frame), Err(DecodeError));
        // Nor does a huge count keep the reader busy.
        assert_eq!(
            decode(&[2, 9, 0, 0xff, 255, 255, 255, 255, 255, 255, 255, 0]),
            Err(DecodeError)
        );
    }

    #[test]
    fn no_ranges_make_no_frame() {
        assert_eq!(encode(64, 1, &[], None), (0, vec![]));
    }

    #[test]
    #[should_panic(expected = "with a gap between them")]
    fn ranges_in_the_wrong_order_are_a_bug_of_the_caller() {
        encode(64, 0, &[0..=1, 3..=4], None);
    }

    proptest! {
        #[test]
        fn acks_round_trip_up_to_the_limit_of_ranges(
            ranges in any_ranges(),
            delay_us in super::super::codec::tests::any_varint(),
            ecn in any_ecn(),
        ) {
            let (count, frame) = encode(2048, delay_us, &ranges, ecn);
            prop_assert_eq!(count, ranges.len().min(MAX_ACK_RANGES));
            prop_assert!(frame.len() <= ack_bytes_bound(count));
            let ack = decode(&frame).expect("we encoded it");
            prop_assert_eq!(ack.largest(), *ranges[0].end());
            prop_assert_eq!(ack.delay_us(), delay_us);
            prop_assert_eq!(ack.ecn(), ecn);
            prop_assert_eq!(ack.encoded_bytes(), frame.len());
            prop_assert_eq!(ack.ranges().collect::<Vec<_>>(), &ranges[..count]);
        }

        #[test]
        fn little_room_keeps_the_highest_ranges(ranges in any_ranges(), ecn in any_ecn(), room in 0usize..200) {
            let (count, frame) = encode(room, 9, &ranges, ecn);
            prop_assert_eq!(count == 0, frame.is_empty());
            if count > 0 {
                let ack = decode(&frame).expect("we encoded it");
                prop_assert_eq!(ack.ranges().collect::<Vec<_>>(), &ranges[..count]);
            }
            // One range more would not have fitted.
            let (more, longer) = encode(2048, 9, &ranges[..ranges.len().min(count + 1)], ecn);
            prop_assert!(more == count || longer.len() > room || more > MAX_ACK_RANGES);
        }

        #[test]
        fn every_cut_of_an_ack_is_refused(ranges in any_ranges(), ecn in any_ecn()) {
            let (_, frame) = encode(2048, 0, &ranges, ecn);
            for cut in 0..frame.len() {
                prop_assert_eq!(decode(&frame[..cut]), Err(DecodeError));
            }
        }
    }
}
