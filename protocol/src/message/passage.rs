//! Payload that goes from one far machine to another, and not through the controller.
//!
//! The controller has a session with each. It has the source's machine read, and *deliver* what it
//! read under a number, as a *parcel*; and it has the destination's machine *redeem* the parcel.
//! What is written, where, and under which digests, the destination hears from the controller
//! alone: whoever delivers can do nothing else there.

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::data_port::{Carrier, KeyDigest};
use crate::digest::Digest;
use crate::hello::SessionId;
use crate::limits;
use crate::message::{FileRead, FilesAt, ReadBlock, WriteBlock, WritePack};

/// Names payload on its way between two machines; chosen by the controller, unique within the
/// session that redeems it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ParcelIndex(pub u64);

/// What a machine that comes to a data port is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// It delivers parcels, and can do nothing else.
    Deliveries,
    /// It takes the parcels of this one.
    Passage,
}

/// Has the far side open a passage to another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The session of the other machine that parcels are for.
    pub session: SessionId,
    /// The key that must answer there.
    pub key: KeyDigest,
    /// Where it is dialled; where there is none, it comes to a data port that was opened for that.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::DIALS_MAX }>")]
    pub addresses: Vec<(Carrier, SocketAddr)>,
    /// Streams that are wanted; 0 for as many as seem good.
    pub streams: u16,
    /// Whether payload may be compressed on its way.
    pub compress: bool,
    /// Seconds of silence after which a stream is given up.
    pub stall: u16,
}

/// Has the far side open a passage by logging in to another machine, with the key of `MakeLogin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachByLogin {
    /// The session of the other machine that parcels are for.
    pub session: SessionId,
    /// As whom.
    pub user: String,
    /// The key that the other machine's sshd must show, as `TYPE BASE64`.
    pub host_key: String,
    /// Where its sshd is dialled; the first that shows that key is taken.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::DIALS_MAX }>")]
    pub addresses: Vec<SocketAddr>,
    /// What a stream begins with.
    pub mark: [u8; 32],
    /// Streams that are wanted; 0 for as many as seem good.
    pub streams: u16,
    /// Whether payload may be compressed on its way.
    pub compress: bool,
    /// Seconds of silence after which a stream is given up.
    pub stall: u16,
}

/// Lets whoever has a key log in to bring deliveries to a session, and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lend {
    /// The session.
    pub session: SessionId,
    /// The key, as `TYPE BASE64`.
    pub key: String,
    /// From where alone.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::DIALS_MAX }>")]
    pub from: Vec<IpAddr>,
    /// Until when, as `YYYYMMDDHHMMSS` in the time of that machine.
    pub expires: String,
    /// What a stream begins with.
    pub mark: [u8; 32],
}

/// An open passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// What carries its bytes; nothing for a login.
    pub carrier: Option<Carrier>,
    /// Streams that are open.
    pub streams: u16,
}

/// Reads, and delivers what was read through the passage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Its number.
    pub parcel: ParcelIndex,
    /// What is read.
    pub read: ForwardedRead,
}

/// What is read to be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardedRead {
    /// One block.
    Block(ReadBlock),
    /// Several small files whole.
    Pack(FilesAt),
}

/// What came of a read whose payload was to be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarded {
    /// The other machine has the block; the digest of each of its aligned spans.
    Block(#[serde(deserialize_with = "bounded::list::<_, _, { limits::SPANS_MAX }>")] Vec<Digest>),
    /// The other machine has the bytes of those files that could be read.
    Pack(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
        Vec<FileRead>,
    ),
    /// The passage was lost, or there is none.
    Undelivered,
}

/// Writes what was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeem {
    /// What holds the payload; it is given up by this.
    pub parcel: ParcelIndex,
    /// What is written.
    pub write: RedeemedWrite,
}

/// What is written of a parcel; its payload is as long as it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedeemedWrite {
    /// One block that is no hole.
    Block(WriteBlock),
    /// Several small files whole.
    Pack(WritePack),
}
