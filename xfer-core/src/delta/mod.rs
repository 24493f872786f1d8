//! What a new file has in common with an old one: blocks of the old one, known by their sums
//! alone, are found again in the new one. Pure: bytes in, ranges out.
//!
//! A sum proves nothing, and a match that is none costs no more than its block sent after all. What
//! somebody means to be slow is bounded too: chains of equal sums are short, and blocks that are
//! hashed in vain are counted.

mod matching;
mod sums;

pub use matching::{Found, Index, find_in_place};
pub use sums::sums_of;
