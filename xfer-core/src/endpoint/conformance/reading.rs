//! Bytes and digests of files.

use bytes::Bytes;
use xfer_protocol::digest::{BlockSize, file_digest, range_digests, span_digest};
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{FileAt, FilesAt, HashBlocks, HashFiles, ReadBlock, Reading, Subject};
use xfer_protocol::range::ByteRange;

use super::Fixture;
use super::stand::{Stand, cut, fault_of, path, slice};
use crate::endpoint::{Endpoint, Sink, Source};

fn bytes(size: usize) -> Bytes {
    (0..size).map(|i| u8::try_from(i * i % 251).unwrap()).collect()
}

async fn file<S: Sink + Source>(stand: &Stand<S>, name: &str, content: &[u8]) -> FileAt {
    let stamp = stand.put(name, content).await;
    FileAt { root: stand.root, path: path(name), stamp }
}

/// Any range on the 64 KiB grid can be read, to the file's end.
pub async fn blocks_come_with_their_digests<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let whole = bytes(300_000);
    let file = file(&stand, "file", &whole).await;
    for (start, end) in [(0, 300_000), (0, 65_536), (65_536, 262_144), (262_144, 300_000)] {
        let range = ByteRange::new(start, end).unwrap();
        let read = ReadBlock { file: file.clone(), range };
        let (digests, found) = stand.side.read_block(read).await.unwrap();
        assert_eq!(found, slice(&whole, range));
        assert_eq!(Some(digests), range_digests(start, &found, 300_000));
    }
    for (start, end) in [(0, 300_001), (300_000, 300_001), (100, 65_536), (0, 100)] {
        let range = ByteRange::new(start, end).unwrap();
        let read = ReadBlock { file: file.clone(), range };
        assert_eq!(fault_of(stand.side.read_block(read).await), FaultKind::Protocol);
    }
}

/// A file that is no more what the scan saw is told as changed, whatever is asked of it.
pub async fn a_file_that_changed_is_not_read<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let old = file(&stand, "file", b"old").await;
    let read = ReadBlock { file: old.clone(), range: ByteRange::whole(3).unwrap() };
    assert_eq!(&stand.side.read_block(read.clone()).await.unwrap().1[..], b"old");
    // Without an inode's change time, size and modification time are all there is to compare.
    let content: &[u8] = if stand.capabilities().inodes { b"new" } else { b"newer" };
    let new = file(&stand, "file", content).await;
    assert_ne!(old.stamp, new.stamp);
    assert_eq!(fault_of(stand.side.read_block(read).await), FaultKind::Changed);
    let hash = HashBlocks {
        subject: Subject::File(old.clone()),
        range: ByteRange::whole(3).unwrap(),
        block: BlockSize::DEFAULT,
        reading: Reading::Cached,
    };
    assert_eq!(fault_of(stand.side.hash_blocks(hash).await), FaultKind::Changed);
    let files = || FilesAt { root: stand.root, files: vec![(old.path.clone(), old.stamp)] };
    let (reads, payload) = stand.side.read_pack(files()).await.unwrap();
    assert_eq!(reads[0].as_ref().unwrap_err().kind, FaultKind::Changed);
    assert!(payload.is_empty());
    let hash = HashFiles { files: files(), reading: Reading::Cached };
    let (digests, _) = stand.side.hash_files(hash).await.unwrap();
    assert_eq!(digests[0].as_ref().unwrap_err().kind, FaultKind::Changed);
    let missing = FileAt { path: path("none"), ..old };
    let read = ReadBlock { file: missing, range: ByteRange::whole(3).unwrap() };
    assert_eq!(fault_of(stand.side.read_block(read).await), FaultKind::NotFound);
}

/// Each file of a pack succeeds or fails for itself; only the bytes of those read are there.
pub async fn packs_bring_whole_files<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let contents = [bytes(10), Bytes::new(), bytes(200_000), bytes(1)];
    let mut files = Vec::new();
    for (n, content) in contents.iter().enumerate() {
        let at = file(&stand, &format!("d/{n}"), content).await;
        files.push((at.path, at.stamp));
    }
    files.insert(1, (path("d/none"), Stamp { size: 5, ..Stamp::default() }));
    let pack = FilesAt { root: stand.root, files };
    let (reads, payload) = stand.side.read_pack(pack).await.unwrap();
    assert_eq!(reads.len(), 5);
    assert_eq!(reads[1].as_ref().unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(reads[1].as_ref().unwrap_err().path, path("d/none"));
    let read: Vec<_> = reads.into_iter().filter_map(Result::ok).collect();
    for (content, read) in contents.iter().zip(&read) {
        assert_eq!((read.size, read.digest), (content.len() as u64, file_digest(content)));
    }
    assert_eq!(payload, contents.concat());
}

/// Digests are BLAKE3's, of blocks and of whole files, from the cache and from the medium.
pub async fn digests_are_those_of_blake3<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    for size in [1, 65_536, 65_537, 2_500_000] {
        let whole = bytes(size);
        let size = size as u64;
        let file = file(&stand, "file", &whole).await;
        for reading in [Reading::Cached, Reading::PastCache] {
            let files = vec![(file.path.clone(), file.stamp)];
            let files = FilesAt { root: stand.root, files };
            let hash = HashFiles { files, reading };
            let (digests, _) = stand.side.hash_files(hash).await.unwrap();
            assert_eq!(digests, [Ok(file_digest(&whole))]);
            for block in [BlockSize::MIN, BlockSize::DEFAULT, BlockSize::MAX] {
                for first in cut(size, block.bytes()).step_by(3) {
                    let range = ByteRange::new(first.start(), size).unwrap();
                    let subject = Subject::File(file.clone());
                    let hash = HashBlocks { subject, range, block, reading };
                    let found = stand.side.hash_blocks(hash).await.unwrap().digests;
                    let expected: Vec<_> = cut(size, block.bytes())
                        .filter(|span| span.start() >= range.start())
                        .map(|span| span_digest(span.start(), &slice(&whole, span), size))
                        .collect();
                    assert_eq!(found, expected);
                }
            }
        }
    }
    let file = file(&stand, "file", b"").await;
    let files = FilesAt { root: stand.root, files: vec![(file.path.clone(), file.stamp)] };
    let hash = HashFiles { files, reading: Reading::PastCache };
    assert_eq!(stand.side.hash_files(hash).await.unwrap().0, [Ok(file_digest(b""))]);
}

/// No byte of data lies outside the ranges that are told.
pub async fn every_byte_of_data_is_told<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let file = file(&stand, "file", &bytes(100_000)).await;
    let ranges = stand.side.data_ranges(file).await.unwrap();
    let covered: u64 = ranges.iter().map(|range| range.len()).sum();
    assert_eq!(covered, 100_000);
    assert!(ranges.windows(2).all(|pair| pair[0].end() < pair[1].start()));
}
