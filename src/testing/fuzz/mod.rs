//! What must hold for any bytes at all: the bodies of the fuzz targets.
//!
//! Each takes an input of any length and panics if a promise is broken. The targets of `fuzz/` call them with what
//! libFuzzer finds, and `cargo test` with inputs made from seeds; so they must not know where an input comes from, and
//! do the same for the same input.
//!
//! ```
//! use securestream::testing::fuzz;
//!
//! fuzz::frames(b"\x01\x0a\x00\x00\x05hello");
//! ```

mod classic;
mod frames;
mod headers;
mod live_pair;
mod script;
mod tcp_framing;
mod transport_params;

pub use classic::classic;
pub use frames::frames;
pub use headers::{long_header, short_header};
pub use live_pair::live_pair;
pub use tcp_framing::tcp_framing;
pub use transport_params::transport_params;

/// Whether `part` lies within `whole`, and is no copy of it.
fn is_part(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    part.is_empty() || (whole.start <= part.start && part.end <= whole.end)
}
