//! Bytes that came, handed to the application where they are.

use super::pages::Page;
use std::fmt;

/// Bytes that came, where they are: in one piece, or in the packets in which they came. See
/// [`Stream::read_owned`](crate::Stream::read_owned).
#[derive(Default)]
pub struct Received {
    page: Option<Page>,
    /// Parts of the page that were read before.
    parts: usize,
    /// Bytes of the next part that were read before.
    taken: usize,
    len: usize,
}

impl Received {
    /// What is left of a page behind so many parts, and so many bytes more.
    pub(super) fn rest_of(page: Page, parts: usize, taken: usize) -> Self {
        let mut rest = Self {
            page: Some(page),
            parts,
            taken,
            len: 0,
        };
        rest.len = rest.slices().map(<[u8]>::len).sum();
        rest
    }

    /// The bytes in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let part = |number| self.page.as_ref().and_then(|page| page.part(number));
        let mut skip = self.taken;
        (self.parts..).map_while(part).map(move |part| {
            let rest = &part[skip..];
            skip = 0;
            rest
        })
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// There are none: nothing more comes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them in one piece, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len);
        self.slices().for_each(|slice| all.extend_from_slice(slice));
        all
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Received({} bytes)", self.len)
    }
}
