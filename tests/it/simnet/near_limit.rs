//! The table of bad links, as far as it is computed quickly: every bound holds, and the figures are those that were.

use super::figure::Figure;
use super::link_table::rows;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

#[test]
fn bbr_comes_near_the_limit_of_bad_links() {
    let rows: Vec<_> = rows().into_iter().filter(|row| !row.is_large).collect();
    let figures: Mutex<Vec<Vec<Figure>>> = Mutex::new(vec![Vec::new(); rows.len()]);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let index = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(row) = rows.get(index)
                {
                    let measured = (row.measure)("bbr", 1);
                    figures.lock().unwrap_or_else(PoisonError::into_inner)[index] = measured;
                }
            });
        }
    });
    let figures = figures.into_inner().expect("nobody panicked with it");
    let mut table = String::new();
    for (row, figures) in rows.iter().zip(&figures) {
        let text: Vec<String> = figures.iter().map(Figure::rounded).collect();
        writeln!(table, "{:36} {}", row.name, text.join(", ")).expect("a string takes everything");
    }
    let missed = figures.iter().flatten().filter(|figure| !figure.holds()).count();
    assert_eq!(missed, 0, "bounds missed:\n{table}");
    insta::assert_snapshot!("links", table);
}
