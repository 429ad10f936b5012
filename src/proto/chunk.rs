//! Bytes that the application wrote: a copy of them, or the application's own, which it has given away.

use std::fmt;
use std::ops::Deref;

/// See the module.
pub enum Chunk {
    /// A copy, in memory that is used again.
    Copied(Vec<u8>),
    /// What was given away.
    Given(Given),
}

/// Bytes of the application that nobody writes to any more.
pub struct Given {
    owner: Box<dyn AsRef<[u8]> + Send + Sync>,
    len: usize,
}

impl Given {
    /// All bytes of `owner`, which must be the same ones whenever it is asked.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let len = owner.as_ref().len();
        Self {
            owner: Box::new(owner),
            len,
        }
    }
}

impl Deref for Given {
    type Target = [u8];
    /// Panics if the owner has fewer bytes now.
    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[..self.len]
    }
}

impl Chunk {
    /// The number of bytes. Asks no owner.
    pub fn len(&self) -> usize {
        match self {
            Self::Copied(bytes) => bytes.len(),
            Self::Given(given) => given.len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Given(given) => given,
        }
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Copied(bytes)
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Copied(_) => "copied",
            Self::Given(_) => "given",
        };
        write!(f, "Chunk({} bytes, {kind})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_was_given_is_not_copied_and_goes_with_its_chunk() {
        struct ByArc(Arc<Vec<u8>>);

        impl AsRef<[u8]> for ByArc {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        let owner = Arc::new(b"some bytes".to_vec());
        let chunk = Chunk::Given(Given::new(ByArc(Arc::clone(&owner))));
        assert_eq!((chunk.len(), &chunk[..]), (10, &owner[..]));
        assert_eq!(chunk.as_ptr(), owner.as_ptr());
        drop(chunk);
        assert_eq!(Arc::strong_count(&owner), 1);
    }
}
