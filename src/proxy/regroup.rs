//! Single packets back into batches, so that what a rule took apart does not cost a system call for each packet.

use super::flow::{Tag, Way};
use crate::filter::Packet;
use crate::subsystem::{Batch, Buffer, Pool};
use std::sync::Arc;

/// As many as the kernel's receive offload merges.
const MAX_SEGMENTS: usize = 64;

/// Puts packets that may travel together into one batch each, in order.
pub(super) fn regroup(
    packets: impl Iterator<Item = Packet<Tag>>,
    pool: &Arc<Pool>,
    mut out: impl FnMut(Arc<Way>, Batch),
) {
    let mut open: Option<(Arc<Way>, Batch)> = None;
    for Packet { bytes, tag } in packets {
        if let Some((way, batch)) = &mut open
            && Arc::ptr_eq(way, &tag.way)
            && batch.ecn == tag.ecn
            && fits(batch, &bytes)
        {
            batch.buffer.extend_from_slice(&bytes);
            continue;
        }
        if let Some((way, batch)) = open.take() {
            out(way, batch);
        }
        let buffer = if bytes.len() <= pool.buffer_bytes() {
            let mut buffer = pool.take();
            buffer.extend_from_slice(&bytes);
            buffer
        } else {
            Buffer::from(bytes)
        };
        let batch = Batch {
            ecn: tag.ecn,
            ..Batch::single(buffer, tag.way.flow.path)
        };
        open = Some((tag.way, batch));
    }
    if let Some((way, batch)) = open {
        out(way, batch);
    }
}

/// Whether the packet may be the next segment of the batch.
fn fits(batch: &Batch, bytes: &[u8]) -> bool {
    let all_full = !batch.buffer.is_empty() && batch.buffer.len().is_multiple_of(batch.segment_bytes);
    let spare = batch.buffer.capacity() - batch.buffer.len();
    let size_fits = (1..=batch.segment_bytes.min(spare)).contains(&bytes.len());
    all_full && size_fits && batch.packets() < MAX_SEGMENTS
}
