//! Single packets back into batches, so that what a filter took apart does not cost the threads above a wake-up and a
//! channel message per packet.

use super::Arrival;
use crate::filter::Packet;
use crate::subsystem::{Batch, Buffer, Pool};
use std::collections::VecDeque;
use std::sync::Arc;

/// Takes a batch apart.
pub(super) fn packets(batch: &Batch) -> impl Iterator<Item = Packet<Arrival>> {
    let tag = Arrival {
        path: batch.path,
        ecn: batch.ecn,
    };
    batch.iter().map(move |bytes| Packet {
        bytes: bytes.to_vec(),
        tag,
    })
}

/// Appends the packets to `out`, neighbours of one origin and size in one batch (the last may be shorter), with at
/// most `max_segments(size)` packets each.
pub(super) fn regroup(
    packets: impl Iterator<Item = Packet<Arrival>>,
    pool: &Arc<Pool>,
    max_segments: impl Fn(usize) -> usize,
    out: &mut VecDeque<Batch>,
) {
    let mut open: Option<Batch> = None;
    for Packet { bytes, tag } in packets {
        if let Some(batch) = &mut open
            && fits(batch, &bytes, tag)
            && batch.packets() < max_segments(batch.segment_bytes)
        {
            batch.buffer.extend_from_slice(&bytes);
            continue;
        }
        out.extend(open.take());
        let buffer = if bytes.len() <= pool.buffer_bytes() {
            let mut buffer = pool.take();
            buffer.extend_from_slice(&bytes);
            buffer
        } else {
            Buffer::from(bytes)
        };
        open = Some(Batch {
            ecn: tag.ecn,
            ..Batch::single(buffer, tag.path)
        });
    }
    out.extend(open);
}

/// Whether the packet may be the next segment of the batch.
fn fits(batch: &Batch, bytes: &[u8], tag: Arrival) -> bool {
    let all_full = !batch.buffer.is_empty() && batch.buffer.len().is_multiple_of(batch.segment_bytes);
    let spare = batch.buffer.capacity() - batch.buffer.len();
    let size_fits = (1..=batch.segment_bytes.min(spare)).contains(&bytes.len());
    all_full && size_fits && (batch.path, batch.ecn) == (tag.path, tag.ecn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subsystem::{Ecn, PathId};
    use proptest::prelude::*;

    fn any_packet() -> impl Strategy<Value = Packet<Arrival>> {
        let size = prop_oneof![Just(0_usize), Just(5), Just(6), 0..40_usize];
        (size, any::<u8>(), 0..2_u16, any::<bool>()).prop_map(|(size, fill, port, marked)| Packet {
            bytes: vec![fill; size],
            tag: Arrival {
                path: PathId::to(([127, 0, 0, 1], port).into()),
                ecn: marked.then_some(Ecn::Ce),
            },
        })
    }

    proptest! {
        #[test]
        fn packets_survive_being_grouped_and_taken_apart(
            sent in proptest::collection::vec(any_packet(), 0..60),
            max in 1..9_usize,
        ) {
            // Some packets are larger than the buffers of the pool.
            let (pool, mut batches) = (Pool::new(30, 4), VecDeque::new());
            regroup(sent.iter().cloned(), &pool, |_| max, &mut batches);
            prop_assert!(batches.iter().all(|batch| batch.packets() <= max));
            let received: Vec<_> = batches.iter().flat_map(packets).collect();
            prop_assert_eq!(received, sent);
        }
    }

    #[test]
    fn equal_neighbours_share_a_batch() {
        let tag = Arrival {
            path: PathId::ONLY,
            ecn: None,
        };
        let sizes = [4, 4, 3, 4, 5, 5];
        let sent = sizes.iter().map(|&size| Packet {
            bytes: vec![0; size],
            tag,
        });
        let mut batches = VecDeque::new();
        regroup(sent, &Pool::new(100, 4), |_| 64, &mut batches);
        assert_eq!(batches.iter().map(Batch::packets).collect::<Vec<_>>(), [3, 1, 2]);
    }
}
