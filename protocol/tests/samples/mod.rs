//! One message of every kind, each with its payload, and the hellos: what the golden vectors hold.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

mod replies;
mod requests;

use xfer_protocol::digest::Digest;
use xfer_protocol::encoding::{Accepts, Encoded, Encoding};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::hello::{Hello, Role, SessionId};
use xfer_protocol::manifest::{Metadata, Owner, Stamp, Timestamp, Xattr};
use xfer_protocol::message::{
    FileAt, FilesAt, Message, PartialIndex, ReadBlock, Reply, Request, RequestId, RootIndex,
    WriteBlock,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

/// A named message with the payload behind it.
pub struct Sample {
    pub name: String,
    pub message: Message,
    pub payload: Vec<u8>,
}

impl Sample {
    fn new(name: &str, message: Message, payload: &[u8]) -> Self {
        Self { name: name.to_owned(), message, payload: payload.to_vec() }
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame =
            xfer_protocol::codec::encode(&self.message, self.payload.len()).expect(&self.name);
        frame.extend_from_slice(&self.payload);
        frame
    }
}

/// Every message.
pub fn messages() -> Vec<Sample> {
    let mut all = requests::samples();
    all.extend(replies::samples());
    all.push(Sample::new("end", Message::End, b""));
    all.extend(encoded());
    all
}

/// Messages whose payload is not what it stands for, and those that ask for such.
fn encoded() -> Vec<Sample> {
    let (id, zstd) = (RequestId(300), |length| Encoded { encoding: Encoding::Zstd, length });
    let write = WriteBlock {
        partial: PartialIndex(300),
        range: range(65_536, 131_072),
        digests: vec![digest(1)],
        hole: false,
    };
    let write = Request::WriteBlock(write);
    let read = ReadBlock { file: file(200_000), range: range(65_536, 131_072) };
    let files = vec![(path(b"one"), stamp(5)), (path(b"two"), stamp(0))];
    let pack = Request::ReadPack(FilesAt { root: RootIndex(2), files });
    let read = Request::ReadBlock(read);
    let always = Accepts { level: 19, rate: None };
    let paying = Accepts { level: 3, rate: Some(2_500_000) };
    let block = Reply::Block(vec![digest(1)]);
    let sample = |name, message, payload: &[u8]| Sample::new(name, message, payload);
    vec![
        sample("encoded-request", Message::EncodedRequest(id, write, zstd(65_536)), b"short"),
        sample("encoded-reply", Message::EncodedReply(id, block, zstd(65_536)), b"short"),
        sample("accepting-request", Message::AcceptingRequest(id, read, paying), b""),
        sample("accepting-request-always", Message::AcceptingRequest(id, pack, always), b""),
    ]
}

/// Every kind of hello.
pub fn hellos() -> Vec<(&'static str, Hello)> {
    let session = SessionId(std::array::from_fn(|i| u8::try_from(i * 16 + i).unwrap()));
    let plain = |role, stream| Hello::new(role, session, stream);
    let odd = Hello {
        version_min: 1,
        version_max: 300,
        features: u64::MAX,
        payload_max: 65_536,
        ..plain(Role::Agent, u16::MAX)
    };
    vec![
        ("controller", plain(Role::Controller, 0)),
        ("agent", plain(Role::Agent, 7)),
        ("later-version", odd),
    ]
}

pub fn path(bytes: &[u8]) -> RelPath {
    RelPath::new(bytes).unwrap()
}

pub fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

pub fn digest(first: u8) -> Digest {
    Digest::from_bytes(std::array::from_fn(|i| first.wrapping_add(u8::try_from(i).unwrap())))
}

pub fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp { seconds, nanoseconds }
}

pub fn stamp(size: u64) -> Stamp {
    Stamp {
        size,
        modified: time(1_700_000_000, 123_456_789),
        changed: time(1_700_000_001, 999_999_999),
        inode: 4_711,
    }
}

pub fn file(size: u64) -> FileAt {
    FileAt { root: RootIndex(2), path: path(b"models/weights.bin"), stamp: stamp(size) }
}

pub fn metadata() -> Metadata {
    Metadata {
        mode: 0o644,
        modified: time(-2_177_452_800, 1),
        owner: Some(Owner { user: 1000, group: 65_534 }),
        xattrs: vec![
            Xattr { name: b"user.a".to_vec(), value: vec![] },
            Xattr { name: b"user.b".to_vec(), value: vec![0, 255] },
        ],
    }
}

pub fn plain_metadata() -> Metadata {
    Metadata { mode: 0o7777, modified: time(4_291_747_199, 0), owner: None, xattrs: vec![] }
}

pub fn fault(kind: FaultKind, during: Operation) -> Fault {
    Fault::new(kind, during, path(b"caf\xe9\n"))
}
