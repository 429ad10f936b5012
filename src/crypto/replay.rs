//! Which packet numbers were seen: a sliding window of bits. RFC 9000, section 12.3; the shape is that of RFC 6479.

/// Packet numbers remembered behind the highest one.
pub const WINDOW: u64 = 8192;
const WORD_BITS: u64 = 64;
// One word more than the window, so that the word being cleared never holds numbers still in the window.
const WORDS: usize = (WINDOW / WORD_BITS) as usize + 1;

/// See the module. Move it only after a packet was found authentic.
#[derive(Debug)]
pub struct ReplayWindow {
    words: Box<[u64; WORDS]>,
    next: u64,
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self {
            words: Box::new([0; WORDS]),
            next: 0,
        }
    }
}

impl ReplayWindow {
    /// Notes `pn`. `false` if it was seen before, or is too old to tell.
    pub fn insert(&mut self, pn: u64) -> bool {
        if pn >= self.next {
            self.advance_to(pn + 1);
        } else if self.next - pn > WINDOW {
            return false;
        }
        let bit = 1 << (pn % WORD_BITS);
        let word = &mut self.words[(pn / WORD_BITS) as usize % WORDS];
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn advance_to(&mut self, next: u64) {
        let first = self.next.div_ceil(WORD_BITS);
        let last = (next - 1) / WORD_BITS;
        if last >= first {
            // More words than there are would clear the same ones again.
            for word in first.max((last + 1).saturating_sub(WORDS as u64))..=last {
                self.words[word as usize % WORDS] = 0;
            }
        }
        self.next = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_behind_the_window_are_refused() {
        let mut window = ReplayWindow::default();
        assert!(window.insert(WINDOW));
        assert!(window.insert(1));
        assert!(!window.insert(0), "too old to tell");
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_all_numbers(jumps in proptest::collection::vec(0u64..20_000, 1..400)) {
            let (mut window, mut seen, mut highest) = (ReplayWindow::default(), HashSet::new(), 0u64);
            for jump in jumps {
                // Around the highest number, mostly within the window, sometimes far ahead.
                let pn = (highest + jump / 8).saturating_sub(1250);
                let fresh = seen.insert(pn) && (pn > highest || highest - pn < WINDOW);
                prop_assert_eq!(window.insert(pn), fresh, "pn {} highest {}", pn, highest);
                highest = highest.max(pn);
            }
        }
    }
}
