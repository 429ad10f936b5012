//! The sending half: batches to the kernel, whole where it can cut them into datagrams, else one by one.

use super::line::Line;
use super::socket::{self, Shared};
use crate::subsystem::wait::{Wake, push_all};
use crate::subsystem::{Batch, PacketTx, PathId, Pool, Sent, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Bytes of packets in one batch. With the headers of UDP, IPv6 and Ethernet they are 64 KiB; Linux cuts what is more into
/// packets before the device sees it, on loopback too, and the receiver gets them one by one.
const MAX_OFFLOADED: usize = 65_536 - 8 - 40 - 14;
/// Segments in one batch where segmentation offload sets no limit.
const MAX_SEGMENTS: usize = 64;

pub(super) struct Tx {
    shared: Arc<Shared>,
    /// The only peer, if there is just one.
    only: Option<PathId>,
    /// For sockets that may be replaced.
    moving: Option<Moving>,
    is_stranded: bool,
    oversize: Option<usize>,
    pool: Arc<Pool>,
    wake: Arc<Wake>,
    pending: Option<Pending>,
}

/// How the receiving half hears of another socket.
pub(super) struct Moving {
    pub(super) line: Arc<Line>,
    pub(super) receiver: Arc<Wake>,
}

/// A batch on its way into the kernel.
struct Pending {
    batch: Batch,
    /// Bytes of the batch that need no more care: sent, or lost.
    done_bytes: usize,
    /// Up to here the packets go one by one, because the kernel refused them as a whole.
    singly_until: usize,
    /// An ICMP port unreachable, told when the rest of the batch has gone.
    refused: Option<io::Error>,
}

impl Tx {
    pub(super) fn new(
        shared: Arc<Shared>,
        only: Option<PathId>,
        moving: Option<Moving>,
        pool: Arc<Pool>,
        wake: Arc<Wake>,
    ) -> Self {
        Self {
            shared,
            only,
            moving,
            is_stranded: false,
            oversize: None,
            pool,
            wake,
            pending: None,
        }
    }

    /// Sends as much as the socket takes now.
    fn push(&mut self) -> io::Result<Sent> {
        let Some(mut pending) = self.pending.take() else {
            return Ok(Sent::Taken);
        };
        let path = self.only.unwrap_or(pending.batch.path);
        loop {
            let chunk_bytes = pending.next_chunk(&self.shared);
            let segment_bytes = pending.batch.segment_bytes;
            let chunk = &pending.batch.buffer[pending.done_bytes..pending.done_bytes + chunk_bytes];
            let whole = chunk_bytes > segment_bytes;
            let packets = chunk_bytes.div_ceil(segment_bytes).max(1);
            let ecn = pending.batch.ecn;
            let mut result = self.shared.send(chunk, segment_bytes, path, ecn);
            if let Err(error) = &result
                && socket::may_be_belated(error)
            {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    pending.refused = Some(io::ErrorKind::ConnectionRefused.into());
                }
                // The error may be an ICMP message about an earlier packet, told once and in place of sending. A
                // probe that was too large must not cost the batch after it.
                result = self.shared.send(chunk, segment_bytes, path, ecn);
            }
            match result {
                Ok(()) => {
                    // The last packet may be shorter, and proves nothing.
                    if pending.done_bytes < pending.singly_until
                        && chunk_bytes == segment_bytes
                        && self.shared.gso.swap(false, Ordering::Relaxed)
                    {
                        log::info!("segmentation offload does not work on this path; sending packets one by one");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pending = Some(pending);
                    return Ok(Sent::Pending);
                }
                Err(error) if whole && socket::is_gso_refusal(&error) => {
                    // The offload may be missing, or these packets may be too large for the path: one packet that
                    // passes alone will tell.
                    pending.singly_until = pending.done_bytes + chunk_bytes;
                    continue;
                }
                Err(error) if socket::is_oversize(&error) => {
                    log::debug!("{packets} packets of {segment_bytes} bytes are too large for the path");
                    self.shared.losses.count_oversize(packets);
                    self.oversize = Some(segment_bytes);
                }
                Err(error) if socket::is_network_trouble(&error) => {
                    log::debug!("{packets} packets lost on sending: {error}");
                    self.shared.losses.count_dropped(packets);
                    self.is_stranded |= socket::may_need_another(&error);
                }
                Err(error) => return Err(error),
            }
            pending.done_bytes += chunk_bytes;
            if pending.done_bytes >= pending.batch.buffer.len() {
                return pending.refused.map_or(Ok(Sent::Taken), Err);
            }
        }
    }
}

impl Pending {
    /// How many bytes the next system call may take.
    fn next_chunk(&self, shared: &Shared) -> usize {
        let segment_bytes = self.batch.segment_bytes;
        let segments = if shared.uses_gso() && self.done_bytes >= self.singly_until {
            shared.max_gso_segments.min(MAX_OFFLOADED / segment_bytes).max(1)
        } else {
            1
        };
        (segments * segment_bytes).min(self.batch.buffer.len() - self.done_bytes)
    }
}

impl PacketTx for Tx {
    fn send(&mut self, batch: Batch) -> io::Result<Sent> {
        if self.pending.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the batch before is still pending",
            ));
        }
        self.pending = Some(Pending {
            batch,
            done_bytes: 0,
            singly_until: 0,
            refused: None,
        });
        self.push()
    }

    fn flush(&mut self, deadline: Option<Instant>) -> io::Result<Sent> {
        if self.pending.is_none() {
            return Ok(Sent::Taken);
        }
        let (shared, wake) = (Arc::clone(&self.shared), Arc::clone(&self.wake));
        push_all(&shared.socket, &wake, deadline, || self.push())
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn max_segments(&self, packet_bytes: usize) -> usize {
        max_segments(&self.shared, packet_bytes)
    }

    fn try_clone(&self) -> Option<Box<dyn PacketTx>> {
        if self.only.is_some() {
            return None;
        }
        Some(Box::new(Self::new(
            Arc::clone(&self.shared),
            None,
            None,
            Arc::clone(&self.pool),
            Arc::default(),
        )))
    }

    fn take_oversize(&mut self) -> Option<usize> {
        self.oversize.take()
    }

    fn is_stranded(&self) -> bool {
        self.is_stranded && self.moving.is_some()
    }

    fn rebind(&mut self) -> io::Result<bool> {
        let (Some(moving), Some(peer)) = (&self.moving, self.only.and_then(PathId::remote)) else {
            return Ok(false);
        };
        let (socket, _) = socket::connect(peer)?;
        self.shared = Arc::new(self.shared.moved_to(socket)?);
        self.is_stranded = false;
        moving.line.replace(Arc::clone(&self.shared));
        moving.receiver.wake();
        Ok(true)
    }

    fn waker(&self) -> Option<Arc<dyn Waker>> {
        Some(Arc::<Wake>::clone(&self.wake))
    }
}

/// The same with and without offload: a batch saves more than system calls.
pub(super) fn max_segments(shared: &Shared, packet_bytes: usize) -> usize {
    let limit = if shared.uses_gso() {
        shared.max_gso_segments
    } else {
        MAX_SEGMENTS
    };
    limit.min(MAX_OFFLOADED / packet_bytes.max(1)).max(1)
}
