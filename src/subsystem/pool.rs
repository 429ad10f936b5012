//! Pooled packet buffers that move by ownership between threads and come home when dropped.

use parking_lot::Mutex;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A bounded store of equal buffers. Taking from an empty pool allocates, returning to a full pool frees; nobody ever
/// waits for a buffer. The one that came back last is taken first: it is the likeliest to be in the cache.
pub struct Pool {
    free: Mutex<Free>,
    keep: usize,
    buffer_bytes: usize,
}

#[derive(Default)]
struct Free {
    buffers: Vec<Box<[u8]>>,
    /// Nobody has taken one since the pool was emptied: what comes home late is not kept.
    is_idle: bool,
}

impl Pool {
    /// A pool of buffers of `buffer_bytes` each that keeps at most `keep` unused ones.
    pub fn new(buffer_bytes: usize, keep: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::default(),
            keep,
            buffer_bytes,
        })
    }

    /// A buffer with capacity for `buffer_bytes`, and length 0. Its spare bytes hold what was there before.
    pub fn take(self: &Arc<Self>) -> Buffer {
        let free = {
            let mut free = self.free.lock();
            free.is_idle = false;
            free.buffers.pop()
        };
        let bytes = free.unwrap_or_else(|| vec![0; self.buffer_bytes].into_boxed_slice());
        Buffer {
            bytes,
            len: 0,
            pool: Some(Arc::clone(self)),
        }
    }

    /// Frees all unused buffers, and those that come back before the next is taken. For the moment when a stream falls
    /// idle.
    pub fn trim(&self) {
        let idle = Free {
            buffers: Vec::new(),
            is_idle: true,
        };
        let unused = std::mem::replace(&mut *self.free.lock(), idle);
        drop(unused);
    }

    /// The number of unused buffers.
    pub fn unused(&self) -> usize {
        self.free.lock().buffers.len()
    }

    fn put(&self, bytes: Box<[u8]>) {
        let mut free = self.free.lock();
        if free.buffers.len() < self.keep && !free.is_idle {
            free.buffers.push(bytes);
        }
    }

    /// The capacity in bytes of each buffer.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("buffer_bytes", &self.buffer_bytes)
            .field("unused", &self.unused())
            .finish_non_exhaustive()
    }
}

/// An owned buffer: `len` bytes in use, the rest spare. Goes back to its pool when dropped.
pub struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
    pool: Option<Arc<Pool>>,
}

impl Buffer {
    /// The bytes that this buffer can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The unused part. Write there, then [`Buffer::set_len`].
    pub fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.len..]
    }

    /// Declares the first `len` bytes as used. Panics if that is more than the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(
            len <= self.bytes.len(),
            "length {len} exceeds the capacity {}",
            self.bytes.len()
        );
        self.len = len;
    }

    /// Appends a copy of `bytes`. Panics if they do not fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl From<Vec<u8>> for Buffer {
    /// A buffer outside any pool.
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self {
            bytes: bytes.into_boxed_slice(),
            len,
            pool: None,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.put(std::mem::take(&mut self.bytes));
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.len, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_taken_again_instead_of_a_new_one() {
        let pool = Pool::new(16, 2);
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"mark");
        drop(buffer);
        let mut again = pool.take();
        assert!(again.is_empty());
        assert_eq!(&again.spare_mut()[..4], b"mark");
    }

    #[test]
    fn what_comes_home_to_an_idle_pool_is_not_kept() {
        let pool = Pool::new(16, 4);
        let late = pool.take();
        pool.trim();
        drop(late);
        assert_eq!(pool.unused(), 0);
        drop(pool.take());
        assert_eq!(pool.unused(), 1, "it is busy again");
    }

    #[test]
    fn a_full_pool_frees_what_comes_back() {
        let pool = Pool::new(16, 1);
        drop((pool.take(), pool.take()));
        assert_eq!(pool.unused(), 1);
        pool.trim();
        assert_eq!(pool.unused(), 0);
    }
}
