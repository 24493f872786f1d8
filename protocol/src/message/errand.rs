//! Errands: a far machine asks a store by its own link, with requests that were signed elsewhere.
//!
//! The controller makes each request, signed for that one purpose, and says which bytes are its
//! body or where the bytes of its answer are kept. So payload goes between the machine and the
//! store alone, and no key of the store is ever on the machine.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::digest::Digest;
use crate::limits;
use crate::message::FileRead;
use crate::message::passage::{ForwardedRead, ParcelIndex, RedeemedWrite};

/// Reads, and keeps what was read for errands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gather {
    /// Its number.
    pub parcel: ParcelIndex,
    /// What is read.
    pub read: ForwardedRead,
}

/// What came of a read whose payload was to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gathered {
    /// The block is kept.
    Block {
        /// The digest of each of its aligned spans.
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::SPANS_MAX }>")]
        digests: Vec<Digest>,
        /// Its CRC-64/NVME.
        crc: u64,
    },
    /// The bytes of those files are kept that could be read, one behind the other; each with its
    /// CRC-64/NVME, which is 0 where it could not be read.
    Pack(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
        Vec<(FileRead, u64)>,
    ),
}

/// What a request of an errand does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CarriedMethod {
    /// Reads.
    Get,
    /// Writes.
    Put,
}

/// Has the far side make one request of HTTP.
///
/// Its address and its headers are secrets, for whoever has them can do what they were signed for:
/// they are shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// What is done.
    pub method: CarriedMethod,
    /// Where, with its query: `https://…` or `http://…`. No redirection is followed.
    pub address: String,
    /// Headers, beside those that say where and how much.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::CARRIED_HEADERS_MAX }>")]
    pub headers: Vec<(String, String)>,
    /// Of [`CarriedMethod::Put`]: its body, pieces of parcels one behind the other. These stay.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::SLICES_MAX }>")]
    pub body: Vec<Slice>,
    /// Of [`CarriedMethod::Get`]: where the body of the answer is kept.
    pub keep: Option<Keeping>,
    /// Seconds of silence after which it is given up.
    pub stall: u16,
}

impl fmt::Debug for Carry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, address: _, headers, body, keep, stall } = self;
        f.debug_struct("Carry")
            .field("method", method)
            .field("headers", &headers.len())
            .field("body", body)
            .field("keep", keep)
            .field("stall", stall)
            .finish_non_exhaustive()
    }
}

/// A piece of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The parcel.
    pub parcel: ParcelIndex,
    /// The piece's first byte within it.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
}

/// Where the body of an answer is kept: one whose status is 200 or 206, and that is as long as it
/// should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// Its number.
    pub parcel: ParcelIndex,
    /// Bytes that it must have.
    pub length: u64,
    /// Where it begins within its file.
    pub start: u64,
    /// Bytes of the whole file.
    pub size: u64,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// What was answered, or why there is no whole answer.
    pub outcome: Result<Head, CarryProblem>,
    /// The digest of each aligned span of what was kept.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::SPANS_MAX }>")]
    pub digests: Vec<Digest>,
    /// The CRC-64/NVME of what was kept.
    pub crc: Option<u64>,
}

/// An answer. Its headers may name an address that is a secret: they are shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its status.
    pub status: u16,
    /// Its headers, as far as they are text and within limits; names in lower case.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::CARRIED_HEADERS_MAX }>")]
    pub headers: Vec<(String, String)>,
    /// Its body, where that is not kept: the first [`limits::CARRIED_BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body } = self;
        write!(f, "Head({status}, {} headers, {} bytes)", headers.len(), body.len())
    }
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryProblem {
    /// Of which kind.
    pub kind: CarryProblemKind,
    /// What the machine says of it; nothing of the address.
    pub reason: String,
}

/// The kinds of reasons for which there is no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CarryProblemKind {
    /// No connection.
    Unreached,
    /// The certificate is not believed.
    Untrusted,
    /// The connection ended, or what came is no HTTP.
    Broken,
    /// Nothing moved for too long.
    TimedOut,
    /// The body is not as long as it should be.
    Length,
    /// No such request is made.
    Unusable,
    /// A parcel of the body is not there, or is shorter: it has to be gathered anew.
    NoParcel,
}

/// Writes what several parcels hold, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeemAll {
    /// What holds the payload; they are given up by this.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub parcels: Vec<ParcelIndex>,
    /// What is written.
    pub write: RedeemedWrite,
}
