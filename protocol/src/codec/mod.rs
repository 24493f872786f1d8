//! Frames: how messages and payloads lie on a stream.
//!
//! A frame is a head of eight bytes (the header's length and the payload's, both `u32` in little
//! endian), the header, which is one encoded [`Message`], and the payload's raw bytes. A reader
//! parses the head, then knows before it makes any room how much may follow.

pub mod deltas;
mod errands;
mod fields;
mod surveys;

pub use fields::FieldError;

use crate::limits;
use crate::message::Message;
use crate::path::{self, PathError};

/// Bytes of a frame's head.
pub const HEAD_BYTES: usize = 8;

/// What a frame's head declares; within the limits by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    header: u32,
    payload: u32,
}

/// Why bytes are no frame, or a message cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A field holds what none may hold.
    #[error("a field breaks a rule: {0}")]
    Field(#[from] FieldError),
    /// A header of no byte, or above [`limits::HEADER_BYTES_MAX`].
    #[error("a header of {0} bytes; 1 to {max} are allowed", max = limits::HEADER_BYTES_MAX)]
    HeaderLength(u64),
    /// The header is no message of ours: cut short, of an unknown kind, or a field that cannot be.
    #[error("the header is no message")]
    Malformed,
    /// The message is encoded in another than the shortest way.
    #[error("the header is not in its shortest form")]
    Overlong,
    /// A payload above [`limits::PAYLOAD_BYTES_MAX`].
    #[error("a payload of {0} bytes; {max} are allowed", max = limits::PAYLOAD_BYTES_MAX)]
    PayloadLength(u64),
    /// The payload is not as long as the message says.
    #[error("a payload of {found} bytes where the message says {expected}")]
    PayloadMismatch {
        /// Bytes that the message tells of.
        expected: u64,
        /// Bytes that the head tells of.
        found: u64,
    },
    /// Bytes after the message within its header.
    #[error("{0} bytes follow the message in its header")]
    Trailing(usize),
    /// A name in it leads out of its root, or can be none.
    #[error("an unsafe name: {0}")]
    UnsafeName(PathError),
}

impl FrameHead {
    /// Reads a head. Nothing may be allocated for a frame before this has passed it.
    pub fn parse(bytes: &[u8; HEAD_BYTES]) -> Result<Self, FrameError> {
        let [h0, h1, h2, h3, p0, p1, p2, p3] = *bytes;
        let header = u32::from_le_bytes([h0, h1, h2, h3]);
        let payload = u32::from_le_bytes([p0, p1, p2, p3]);
        let fits = |length: u32, max: usize| usize::try_from(length).is_ok_and(|l| l <= max);
        if header == 0 || !fits(header, limits::HEADER_BYTES_MAX) {
            return Err(FrameError::HeaderLength(header.into()));
        }
        if !fits(payload, limits::PAYLOAD_BYTES_MAX) {
            return Err(FrameError::PayloadLength(payload.into()));
        }
        Ok(Self { header, payload })
    }

    /// Bytes of the header that follows.
    #[must_use]
    pub fn header_length(self) -> usize {
        self.header as usize
    }

    /// Bytes of the payload behind the header.
    #[must_use]
    pub fn payload_length(self) -> usize {
        self.payload as usize
    }

    /// Decodes the header that followed this head.
    pub fn decode(self, header: &[u8]) -> Result<Message, FrameError> {
        decode(header, self.payload_length())
    }
}

/// The head and header of a frame whose payload of `payload_length` bytes the caller writes behind
/// them.
///
/// A message that a peer would refuse is refused here, so that a limit overstepped by ourselves
/// shows where it was overstepped.
pub fn encode(message: &Message, payload_length: usize) -> Result<Vec<u8>, FrameError> {
    let payload = u32::try_from(payload_length)
        .ok()
        .filter(|_| payload_length <= limits::PAYLOAD_BYTES_MAX)
        .ok_or(FrameError::PayloadLength(payload_length as u64))?;
    fields::check(message, payload_length as u64)?;
    let mut frame = Vec::with_capacity(512);
    frame.resize(HEAD_BYTES, 0);
    let mut frame = postcard::to_extend(message, frame).map_err(|_| FrameError::Malformed)?;
    let length = frame.len() - HEAD_BYTES;
    let header = u32::try_from(length)
        .ok()
        .filter(|_| length <= limits::HEADER_BYTES_MAX)
        .ok_or(FrameError::HeaderLength(length as u64))?;
    frame[..4].copy_from_slice(&header.to_le_bytes());
    frame[4..HEAD_BYTES].copy_from_slice(&payload.to_le_bytes());
    Ok(frame)
}

/// Decodes a header with a payload of `payload_length` bytes behind it.
///
/// Every byte must belong to the message, in its one shortest form, and every field must hold what
/// it may. Cost: linear in the header; memory stays within a small multiple of it.
pub fn decode(header: &[u8], payload_length: usize) -> Result<Message, FrameError> {
    if header.is_empty() || header.len() > limits::HEADER_BYTES_MAX {
        return Err(FrameError::HeaderLength(header.len() as u64));
    }
    path::take_refused();
    let (message, rest) = postcard::take_from_bytes::<Message>(header)
        .map_err(|_| path::take_refused().map_or(FrameError::Malformed, FrameError::UnsafeName))?;
    if !rest.is_empty() {
        return Err(FrameError::Trailing(rest.len()));
    }
    if encoded_length(&message) != Some(header.len()) {
        return Err(FrameError::Overlong);
    }
    fields::check(&message, payload_length as u64)?;
    Ok(message)
}

/// The shortest encoding's length: an encoding as long as this is the shortest, because only the
/// lengths of integers can differ.
fn encoded_length(message: &Message) -> Option<usize> {
    postcard::serialize_with_flavor(message, postcard::ser_flavors::Size::default()).ok()
}
