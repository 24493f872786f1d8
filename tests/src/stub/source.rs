//! The stub as a source: what it says of bytes that it never had

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use xfer_protocol::digest::{file_digest, range_digests};
use xfer_protocol::encoding::{Encoded, Encoding};
use xfer_protocol::limits;
use xfer_protocol::message::{Message, ReadBlock, ReadFile, Reply, Request, RequestId};

use super::{Stub, frame, from_hex};
use crate::zstd::{WINDOW_2_GIB, WINDOW_2_MIB, repeated};

/// What every small file of the stub holds
pub const CONTENT: &[u8] = b"evil";

/// Bytes of the stub's large file, each of them the same
pub const LARGE: u64 = (5 << 20) + 1;

/// A block of the large file, encoded; `None` for one that nothing makes shorter
pub(super) fn encoded(id: RequestId, read: &ReadBlock, how: &str) -> Option<Vec<u8>> {
    let length = usize::try_from(read.range.len()).expect("a block");
    if length < 64 << 10 {
        return None;
    }
    let bytes = vec![CONTENT[0]; length];
    let digests = range_digests(read.range.start(), &bytes, read.file.stamp.size).expect("a block");
    let good = repeated(CONTENT[0], length, WINDOW_2_MIB);
    let (told, payload) = match how {
        "bomb" => (length, repeated(CONTENT[0], length << 9, WINDOW_2_MIB)),
        "more" => (length + 1, repeated(CONTENT[0], length + 1, WINDOW_2_MIB)),
        "less" => (length - 1, repeated(CONTENT[0], length - 1, WINDOW_2_MIB)),
        "short" => (length, repeated(CONTENT[0], length - 1, WINDOW_2_MIB)),
        "other" => (length, repeated(b'o', length, WINDOW_2_MIB)),
        "cut" => (length, good[..good.len() - 1].to_vec()),
        "trailing" => (length, [&good[..], b"x"].concat()),
        "noise" => (length, CONTENT.to_vec()),
        "window" => (length, repeated(CONTENT[0], length, WINDOW_2_GIB)),
        _ => (length, good),
    };
    let length = u32::try_from(told).expect("a block");
    let encoded = Encoded { encoding: Encoding::Zstd, length };
    Some(frame(&Message::EncodedReply(id, Reply::Block(digests), encoded), &payload))
}

impl Stub {
    pub(super) fn read(&mut self, request: Request) -> (Reply, Vec<u8>) {
        match request {
            // A file that claims to occupy less than its length holds nothing at all.
            Request::DataRanges(_) => (Reply::Ranges(Vec::new()), Vec::new()),
            Request::ReadBlock(read) => {
                let (start, size) = (read.range.start(), read.file.stamp.size);
                let length = usize::try_from(read.range.len()).expect("a block");
                let bytes = vec![CONTENT[0]; length];
                let claimed =
                    if self.row == "false-block" { vec![0; length] } else { bytes.clone() };
                let digests = range_digests(start, &claimed, size).expect("a block");
                let length = if self.row == "swollen-block" { length + 1 } else { length };
                (Reply::Block(digests), vec![CONTENT[0]; length])
            }
            Request::ReadPack(files) => self.read_pack(files.files.len()),
            _ => unreachable!("nothing that is read"),
        }
    }

    fn read_pack(&self, count: usize) -> (Reply, Vec<u8>) {
        let mut payload = CONTENT.repeat(count);
        let read = |size: usize, digest| Ok(ReadFile { size: size as u64, digest });
        let mut reads = vec![read(CONTENT.len(), file_digest(CONTENT)); count];
        match self.row.as_str() {
            "false-digest" | "false-link" => {
                reads = vec![read(CONTENT.len(), file_digest(b"good")); count];
            }
            "no-data" => {
                payload.clear();
                reads = vec![read(0, file_digest(CONTENT)); count];
            }
            "swollen" => {
                let rest = limits::PAYLOAD_BYTES_MAX - payload.len();
                payload.resize(limits::PAYLOAD_BYTES_MAX, 0);
                reads[0] = read(CONTENT.len() + rest, file_digest(CONTENT));
            }
            "swap" => self.swap(),
            _ => {}
        }
        (Reply::Pack(reads), payload)
    }

    /// Puts a link that leads out in the place of a directory at the destination, which lies on the
    /// same machine
    fn swap(&self) {
        let destination = PathBuf::from(std::ffi::OsString::from_vec(from_hex(&self.argument)));
        let directory = destination.join("d");
        fs::rename(&directory, destination.join("moved")).expect("rename");
        symlink("../outside", &directory).expect("link");
    }
}
