//! Lines of a record: a length, a guard and an encoded value.

use std::io::Read;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xfer_protocol::limits;

/// Bytes of the guard: enough that no accident passes.
const GUARD_BYTES: usize = 8;

/// Appends one line.
pub(crate) fn write_line<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let body = postcard::to_stdvec(value).unwrap_or_default();
    append(out, &body, &guard(&body));
}

/// Appends one line to a file that no other process sees: nothing can tear it.
pub(crate) fn write_unguarded<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let body = postcard::to_stdvec(value).unwrap_or_default();
    append(out, &body, &[0; GUARD_BYTES]);
}

fn append(out: &mut Vec<u8>, body: &[u8], guard: &[u8; GUARD_BYTES]) {
    let length = u32::try_from(body.len()).unwrap_or(0);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(guard);
    out.extend_from_slice(body);
}

/// Reads lines until the first that is not whole.
pub(crate) struct LineReader<R> {
    inner: R,
    buffer: Vec<u8>,
    guarded: bool,
}

impl<R: Read> LineReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), guarded: true }
    }

    /// Reads what [`write_unguarded`] wrote.
    pub(crate) fn unguarded(inner: R) -> Self {
        Self { guarded: false, ..Self::new(inner) }
    }

    /// Bytes of the last line that was read.
    pub(crate) fn last_bytes(&self) -> u64 {
        (4 + GUARD_BYTES + self.buffer.len()) as u64
    }

    /// The next value; `None` at the end, and at damage, after which nothing more can be read.
    pub(crate) fn next_line<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut head = [0; 4 + GUARD_BYTES];
        self.inner.read_exact(&mut head).ok()?;
        let (length, expected) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        if length == 0 || length > limits::PATH_BYTES_MAX + limits::HEADER_BYTES_MAX {
            return None;
        }
        self.buffer.resize(length, 0);
        self.inner.read_exact(&mut self.buffer).ok()?;
        if self.guarded && guard(&self.buffer) != *expected {
            return None;
        }
        postcard::from_bytes(&self.buffer).ok()
    }
}

fn guard(body: &[u8]) -> [u8; GUARD_BYTES] {
    let mut guard = [0; GUARD_BYTES];
    guard.copy_from_slice(&blake3::hash(body).as_bytes()[..GUARD_BYTES]);
    guard
}
