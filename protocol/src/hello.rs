//! The first bytes on every stream, in both directions.
//!
//! A hello is eight bytes of magic, the body's length as `u16` in little endian, and the body.
//! Bodies grow only at their end: a reader takes the fields that it knows and ignores what follows,
//! so a later version can still be told that there is no version in common.

use serde::{Deserialize, Serialize};

use crate::limits;

pub use crate::sentinel::{Sentinel, SentinelError, SentinelScan};

/// The first bytes of every hello. The high bit and the line ends show a channel that is not clean.
pub const MAGIC: [u8; 8] = *b"\x89xfer\r\n\x1a";

/// The oldest protocol version spoken here.
pub const VERSION_MIN: u32 = 1;

/// The newest protocol version spoken here.
pub const VERSION_MAX: u32 = 1;

/// The agent's environment maps ports from outside: [`crate::message::Request::Listen`] is worth
/// asking.
pub const FEATURE_MAPPED_PORTS: u64 = 1;

/// Encoded payload is understood: [`crate::message::Message::EncodedRequest`] and its like.
pub const FEATURE_ENCODED_PAYLOAD: u64 = 2;

/// Of an agent: it lets itself be measured (`Sink`, `Supply`, `Facts`, `TryDisk`).
pub const FEATURE_PROBES: u64 = 1 << 2;

/// Of an agent: it delivers payload to another machine, and takes what another one delivers
/// (`MakeKey`, `Reach`, `Forward`, `Deliver`, `Redeem`).
pub const FEATURE_PASSAGES: u64 = 1 << 3;

/// Of an agent: it makes requests of HTTP that are signed for it (`Gather`, `Carry`, `RedeemAll`,
/// `Dispose`).
pub const FEATURE_ERRANDS: u64 = 1 << 4;

/// Of an agent: it tells what the gate asks (`Identify`, `Survey`, `WriteBack`).
pub const FEATURE_SURVEYS: u64 = 1 << 5;

/// Of an agent: it removes entries (`Remove`).
pub const FEATURE_REMOVALS: u64 = 1 << 6;

/// Of an agent: it finds what two versions of a file have in common, and copies that (`Sign`,
/// `Match`, `ReadParts`, `Patch`).
pub const FEATURE_DELTA: u64 = 1 << 7;

/// Of an agent: it tells which files are still being written (`Settling`).
pub const FEATURE_SETTLING: u64 = 1 << 8;

/// Of an agent: it gives files other names (`Rename`).
pub const FEATURE_RENAMES: u64 = 1 << 9;

/// Of an agent: it writes over files where they stand (`OpenPartial` with `over`).
pub const FEATURE_IN_PLACE: u64 = 1 << 10;

/// What one side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest version it speaks.
    pub version_min: u32,
    /// The newest version it speaks.
    pub version_max: u32,
    /// Features it offers, one bit each; unknown bits are ignored.
    pub features: u64,
    /// Which side it is.
    pub role: Role,
    /// The session that the stream belongs to.
    pub session: SessionId,
    /// Which stream of the session this is; stream 0 carries control.
    pub stream: u16,
    /// Bytes in the largest payload that it takes.
    pub payload_max: u32,
}

/// The two sides of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The side that asks.
    Controller,
    /// The side that answers.
    Agent,
}

/// Random bytes that name a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 16]);

/// What both sides of a stream hold to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The newest version that both speak.
    pub version: u32,
    /// The features that both offer.
    pub features: u64,
    /// Bytes in the largest payload that both take.
    pub payload_max: u32,
}

/// Why a stream cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The body is too short, or a field holds what none may hold.
    #[error("the greeting is damaged")]
    Malformed,
    /// The first bytes are not ours: something else answers there.
    #[error("what answers does not speak this protocol")]
    NotOurs,
    /// The largest payload is too small for a block of the smallest size.
    #[error("the far side takes payloads of {0} bytes at most")]
    PayloadLimit(u32),
    /// The far side claims our own role: our own hello came back.
    #[error("our own greeting came back")]
    Reflected,
    /// The far side speaks for another session.
    #[error("the greeting belongs to another session")]
    Session,
    /// The far side speaks of another stream.
    #[error("the greeting belongs to stream {found} instead of {expected}")]
    Stream {
        /// Our index of the stream.
        expected: u16,
        /// The index in the greeting.
        found: u16,
    },
    /// The body's declared length is out of bounds.
    #[error("a greeting of {0} bytes")]
    TooLong(u16),
    /// No version in common.
    #[error(
        "the far side speaks versions {} to {}, this side {} to {}",
        .theirs.0, .theirs.1, .ours.0, .ours.1
    )]
    Version {
        /// Our oldest and newest version.
        ours: (u32, u32),
        /// Theirs.
        theirs: (u32, u32),
    },
}

impl Hello {
    /// A hello of this version of the protocol, without optional features.
    #[must_use]
    pub fn new(role: Role, session: SessionId, stream: u16) -> Self {
        Self {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: 0,
            role,
            session,
            stream,
            payload_max: PAYLOAD_MAX,
        }
    }

    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).expect("integers and bytes always encode");
        let length = u16::try_from(body.len()).expect("a few dozen bytes");
        [&MAGIC[..], &length.to_le_bytes(), &body].concat()
    }

    fn decode(body: &[u8]) -> Result<Self, HelloError> {
        let (hello, _later_fields) =
            postcard::take_from_bytes::<Self>(body).map_err(|_| HelloError::Malformed)?;
        if hello.version_min > hello.version_max || hello.version_min == 0 {
            return Err(HelloError::Malformed);
        }
        Ok(hello)
    }
}

/// Hexadecimal, for logs.
impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Finds what two hellos have in common, or why they have nothing.
pub fn negotiate(ours: &Hello, theirs: &Hello) -> Result<Agreed, HelloError> {
    let version = ours.version_max.min(theirs.version_max);
    if version < ours.version_min || version < theirs.version_min {
        return Err(HelloError::Version {
            ours: (ours.version_min, ours.version_max),
            theirs: (theirs.version_min, theirs.version_max),
        });
    }
    if ours.role == theirs.role {
        return Err(HelloError::Reflected);
    }
    if ours.session != theirs.session {
        return Err(HelloError::Session);
    }
    if ours.stream != theirs.stream {
        return Err(HelloError::Stream { expected: ours.stream, found: theirs.stream });
    }
    let payload_max = ours.payload_max.min(theirs.payload_max);
    if payload_max < PAYLOAD_MIN {
        return Err(HelloError::PayloadLimit(theirs.payload_max));
    }
    Ok(Agreed { version, features: ours.features & theirs.features, payload_max })
}

/// Takes a hello from a stream's first bytes, as few or as many as come at a time.
///
/// It refuses at the first byte that cannot be a hello's, and never holds more than
/// [`limits::HELLO_BYTES_MAX`] bytes.
#[derive(Clone, Debug, Default)]
pub struct HelloReader {
    /// Invariant: a prefix of a possible hello.
    bytes: Vec<u8>,
}

/// How far a [`HelloReader`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloProgress {
    /// At least this many bytes more are needed. Reading no more than these never takes a byte that
    /// belongs to what follows the hello.
    NeedsMore(usize),
    /// The hello is complete.
    Complete {
        /// What it says.
        hello: Hello,
        /// How many of the last bytes given belonged to it.
        taken: usize,
    },
}

impl HelloReader {
    /// A reader at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn read(&mut self, input: &[u8]) -> Result<HelloProgress, HelloError> {
        let mut taken = 0;
        loop {
            let needed = self.needed()?;
            if needed == 0 {
                let hello = Hello::decode(&self.bytes[PREFIX_BYTES..])?;
                return Ok(HelloProgress::Complete { hello, taken });
            }
            let step = needed.min(input.len() - taken);
            self.bytes.extend_from_slice(&input[taken..taken + step]);
            taken += step;
            self.check_magic()?;
            if step < needed {
                return Ok(HelloProgress::NeedsMore(needed - step));
            }
        }
    }

    fn check_magic(&self) -> Result<(), HelloError> {
        let magic = &self.bytes[..self.bytes.len().min(MAGIC.len())];
        if MAGIC.starts_with(magic) { Ok(()) } else { Err(HelloError::NotOurs) }
    }

    /// Bytes missing from the prefix, or behind it from the body.
    fn needed(&self) -> Result<usize, HelloError> {
        let Some(prefix) = self.bytes.first_chunk::<PREFIX_BYTES>() else {
            return Ok(PREFIX_BYTES - self.bytes.len());
        };
        let length = u16::from_le_bytes([prefix[MAGIC.len()], prefix[MAGIC.len() + 1]]);
        if length == 0 || usize::from(length) > limits::HELLO_BYTES_MAX {
            return Err(HelloError::TooLong(length));
        }
        Ok((PREFIX_BYTES + usize::from(length)).saturating_sub(self.bytes.len()))
    }
}

/// Bytes of the magic and the body's length.
const PREFIX_BYTES: usize = MAGIC.len() + 2;

/// A block of the smallest size must fit a payload.
const PAYLOAD_MIN: u32 = 64 * 1024;

const PAYLOAD_MAX: u32 = 16 * 1024 * 1024;
const _: () = assert!(PAYLOAD_MAX as usize == limits::PAYLOAD_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(role: Role) -> Hello {
        Hello::new(role, SessionId([7; 16]), 3)
    }

    fn read(bytes: &[u8]) -> Result<HelloProgress, HelloError> {
        HelloReader::new().read(bytes)
    }

    #[test]
    fn a_hello_survives_any_splitting() {
        let sent = hello(Role::Agent);
        let mut bytes = sent.encode();
        let length = bytes.len();
        bytes.extend_from_slice(b"next");
        for step in 1..=bytes.len() {
            let mut reader = HelloReader::new();
            let mut before = 0;
            let (found, end) = bytes
                .chunks(step)
                .find_map(|chunk| match reader.read(chunk).unwrap() {
                    HelloProgress::NeedsMore(more) => {
                        before += chunk.len();
                        assert!(more > 0 && more <= length - before);
                        None
                    }
                    HelloProgress::Complete { hello, taken } => Some((hello, before + taken)),
                })
                .unwrap();
            assert_eq!((found, end), (sent, length), "by {step}");
        }
    }

    /// Rows: B-W9.
    #[test]
    fn whatever_else_answers_is_refused_at_its_first_wrong_byte() {
        let mut wrong: Vec<Vec<u8>> = [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"\x89PNG\r\n\x1a\n",
            b"\x89xfer\n\x1a",
            b"\0",
        ]
        .map(Vec::from)
        .to_vec();
        wrong.extend((0..MAGIC.len()).map(|i| {
            let mut bytes = MAGIC;
            bytes[i] ^= 0x80;
            bytes[..=i].to_vec()
        }));
        for bytes in wrong {
            assert_eq!(read(&bytes), Err(HelloError::NotOurs), "{bytes:?}");
        }
    }

    #[test]
    fn lengths_out_of_bounds_are_refused_before_the_body() {
        for length in [0, 1025, u16::MAX] {
            let bytes = [&MAGIC[..], &length.to_le_bytes()].concat();
            assert_eq!(read(&bytes), Err(HelloError::TooLong(length)));
        }
        let bytes = [&MAGIC[..], &1024_u16.to_le_bytes()].concat();
        assert_eq!(read(&bytes), Ok(HelloProgress::NeedsMore(1024)));
    }

    /// Rows: B-W8.
    #[test]
    fn damaged_bodies_are_refused() {
        let good = hello(Role::Agent).encode();
        for length in 1..good.len() - PREFIX_BYTES {
            let mut bytes = good[..PREFIX_BYTES + length].to_vec();
            bytes[MAGIC.len()..PREFIX_BYTES]
                .copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
            assert_eq!(read(&bytes), Err(HelloError::Malformed), "{length}");
        }
        for (min, max) in [(0, 0), (0, 1), (2, 1), (u32::MAX, 0)] {
            let bad = Hello { version_min: min, version_max: max, ..hello(Role::Agent) };
            assert_eq!(read(&bad.encode()), Err(HelloError::Malformed));
        }
    }

    #[test]
    fn fields_of_later_versions_are_skipped() {
        let sent = Hello { version_max: 9, ..hello(Role::Agent) };
        let mut bytes = sent.encode();
        bytes.extend_from_slice(&[0xff; 900]);
        let length = u16::try_from(bytes.len() - PREFIX_BYTES).unwrap();
        bytes[MAGIC.len()..PREFIX_BYTES].copy_from_slice(&length.to_le_bytes());
        let taken = bytes.len();
        assert_eq!(read(&bytes), Ok(HelloProgress::Complete { hello: sent, taken }));
    }

    #[test]
    fn what_both_offer_is_agreed() {
        let ours = Hello { version_max: 4, features: 0b0110, ..hello(Role::Controller) };
        let theirs = Hello {
            version_min: 1,
            version_max: 3,
            features: u64::MAX << 2,
            payload_max: 1 << 20,
            ..hello(Role::Agent)
        };
        let agreed = Agreed { version: 3, features: 0b0100, payload_max: 1 << 20 };
        assert_eq!(negotiate(&ours, &theirs), Ok(agreed));
        assert_eq!(negotiate(&theirs, &ours), Ok(agreed));
    }

    #[test]
    fn nothing_in_common_says_why() {
        let ours = hello(Role::Controller);
        let theirs = hello(Role::Agent);
        let (none, max) = ((1, 1), u32::MAX);
        let cases = [
            (ours, HelloError::Reflected),
            (Hello { version_min: 2, version_max: 11, ..theirs }, version_error(none, (2, 11))),
            (
                Hello { version_min: max, version_max: max, ..theirs },
                version_error(none, (max, max)),
            ),
            (Hello { session: SessionId([8; 16]), ..theirs }, HelloError::Session),
            (Hello { stream: 4, ..theirs }, HelloError::Stream { expected: 3, found: 4 }),
            (Hello { payload_max: 65_535, ..theirs }, HelloError::PayloadLimit(65_535)),
        ];
        for (theirs, expected) in cases {
            assert_eq!(negotiate(&ours, &theirs), Err(expected), "{theirs:?}");
        }
    }

    fn version_error(ours: (u32, u32), theirs: (u32, u32)) -> HelloError {
        HelloError::Version { ours, theirs }
    }
}
