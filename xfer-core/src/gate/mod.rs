//! Whether a machine may be destroyed: evidence in, verdict out.
//!
//! Pure. [`evidence`] is what was found, each piece known or unknown; [`coverage`] folds a
//! million entries and what receipts and destinations say of them into few groups; [`policy`] is
//! what is asked; [`verdict`] decides, and [`reason`] says why not. [`token`] is the signed word of
//! a release, [`destroy`] the order of steps in which one is spent. A false Hold costs money; a
//! false Release is the one error that nothing repairs, so whatever is unknown holds.

pub mod coverage;
pub mod destroy;
pub mod evidence;
pub mod policy;
pub mod reason;
pub mod token;
pub mod verdict;

#[cfg(test)]
mod tests;
