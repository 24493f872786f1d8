//! How a payload lies on the wire, where it does not lie there as it is.
//!
//! A payload is encoded whole, and only where that makes it shorter. Digests, ranges and every
//! limit are those of the bytes that come out of it, whose number is told before any of it arrives.

use serde::{Deserialize, Serialize};

/// How a payload is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// One frame of Zstandard (RFC 8878).
    Zstd,
}

/// An encoded payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoded {
    /// How.
    pub encoding: Encoding,
    /// Bytes that come out of it: more than lie on the wire.
    pub length: u32,
}

/// What the asking side takes in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepts {
    /// The level of Zstandard to be used at most: 1 to [`crate::limits::LEVEL_MAX`].
    pub level: u8,
    /// Bytes a second that the link carries, where encoding is to pay; without one, whatever
    /// becomes shorter is encoded.
    pub rate: Option<u64>,
}
