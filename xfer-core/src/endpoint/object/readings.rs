//! What is read is held to what is known of it: the digest that was written with an object, or a
//! checksum that the store computed. Ranges come in any order and more than once; what counts is
//! what came last, for that is what went on from here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;

use bytes::Bytes;
use xfer_protocol::digest::{BlockSize, Digest, file_digest};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::FileAt;
use xfer_protocol::path::RelPath;

use super::attributes;
use super::entry::Seen;
use super::manifest::DescribedKind;
use super::roots::OpenRoot;
use super::store::{Checksum, Key, Load, Object};
use super::sums::{Sums, is_of};
use super::{Shared, guard};
use crate::endpoint::EndpointResult;

/// Pieces of one file are put together within this, on which two ends are compared as well: so what
/// is read again replaces pieces as a whole.
const CELL: u64 = BlockSize::DEFAULT.bytes();

/// Files that are read at a time, and pieces of all of them: of what was read first, nothing is
/// remembered beyond that.
const FILES_MAX: usize = 256;
const PIECES_MAX: usize = 1 << 19;

/// Objects whose checksums are remembered; forgotten all at once beyond that.
const TOLD_MAX: usize = 1 << 16;

/// Words that wait to be told at most.
const WORDS_MAX: usize = 100;

/// What was read, by the objects that it is of.
#[derive(Default)]
pub(super) struct Readings(Mutex<Table>);

#[derive(Default)]
struct Table {
    files: HashMap<u64, Reading>,
    order: VecDeque<u64>,
    pieces: usize,
    /// The checksums that a look at an object told.
    told: HashMap<u64, Vec<Checksum>>,
}

/// One object, as far as it was read.
#[derive(Default)]
struct Reading {
    /// What its attributes tell.
    digest: Option<Digest>,
    pieces: BTreeMap<u64, Piece>,
}

#[derive(Clone, Copy)]
struct Piece {
    end: u64,
    sums: Sums,
}

/// Bytes as pieces, each within its cell.
fn pieces_of(start: u64, bytes: &[u8]) -> Vec<(u64, Piece)> {
    let (mut at, mut rest, mut pieces) = (start, bytes, Vec::new());
    while !rest.is_empty() {
        let room = usize::try_from(CELL - at % CELL).unwrap_or(usize::MAX);
        let (piece, behind) = rest.split_at(room.min(rest.len()));
        let end = at + piece.len() as u64;
        pieces.push((at, Piece { end, sums: Sums::of(piece) }));
        (at, rest) = (end, behind);
    }
    pieces
}

impl Reading {
    /// Takes a piece in the place of all that it overlaps, and joins it to its neighbours.
    fn insert(&mut self, start: u64, piece: Piece) {
        let cell = start / CELL * CELL;
        let of_cell = self.pieces.range(cell..cell + CELL);
        let overlaps = |(at, other): &(&u64, &Piece)| **at < piece.end && other.end > start;
        let gone: Vec<u64> = of_cell.filter(overlaps).map(|(at, _)| *at).collect();
        for at in gone {
            self.pieces.remove(&at);
        }
        let (mut start, mut piece) = (start, piece);
        let before = self.pieces.range(cell..start).next_back().map(|(at, other)| (*at, *other));
        if let Some((at, other)) = before.filter(|(_, other)| other.end == start) {
            let sums = other.sums.followed_by(piece.sums, piece.end - start);
            (start, piece) = (at, Piece { end: piece.end, sums });
        }
        if !piece.end.is_multiple_of(CELL)
            && let Some(other) = self.pieces.remove(&piece.end)
        {
            let sums = piece.sums.followed_by(other.sums, other.end - piece.end);
            piece = Piece { end: other.end, sums };
        }
        self.pieces.insert(start, piece);
    }

    /// The checksums of all of it; `None` unless all of it was read.
    fn sums(&self, size: u64) -> Option<Sums> {
        let mut whole = Piece { end: 0, sums: Sums::of(&[]) };
        for (start, piece) in &self.pieces {
            if *start != whole.end {
                return None;
            }
            let sums = whole.sums.followed_by(piece.sums, piece.end - start);
            whole = Piece { end: piece.end, sums };
        }
        (whole.end == size).then_some(whole.sums)
    }
}

impl Table {
    /// What was read of a file, begun now if nothing was.
    fn reading(&mut self, place: u64) -> &mut Reading {
        if !self.files.contains_key(&place) {
            self.order.push_back(place);
        }
        self.files.entry(place).or_default()
    }

    fn forget(&mut self, place: u64) {
        if let Some(gone) = self.files.remove(&place) {
            self.pieces -= gone.pieces.len();
            self.order.retain(|known| *known != place);
        }
    }

    fn add(&mut self, place: u64, pieces: Vec<(u64, Piece)>) {
        let reading = self.reading(place);
        let before = reading.pieces.len();
        pieces.into_iter().for_each(|(start, piece)| reading.insert(start, piece));
        let after = reading.pieces.len();
        self.pieces = self.pieces + after - before;
    }

    fn know(&mut self, place: u64, digest: Digest) {
        self.reading(place).digest = Some(digest);
    }

    /// Forgets what was read first, beyond the limits.
    fn bound(&mut self) {
        while self.files.len() > FILES_MAX || self.pieces > PIECES_MAX {
            let Some(first) = self.order.front().copied() else { return };
            self.forget(first);
        }
    }
}

impl Readings {
    /// Remembers the checksums of an object that was looked at.
    pub(super) fn tell(&self, key: &Key, object: &Object) {
        if object.checksums.is_empty() {
            return;
        }
        let mut table = guard(&self.0);
        if table.told.len() >= TOLD_MAX {
            table.told.clear();
        }
        let place = place_of(&[key.as_str().as_bytes()], Seen::of(object).number());
        table.told.insert(place, object.checksums.clone());
    }

    fn told(&self, key: &Key, stamp: &Stamp) -> Option<Vec<Checksum>> {
        let place = place_of(&[key.as_str().as_bytes()], stamp.inode);
        guard(&self.0).told.get(&place).cloned()
    }
}

/// A number for a state of an object, and for what it is read as.
fn place_of(names: &[&[u8]], state: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&state.to_le_bytes());
    for name in names {
        hasher.update(name).update(&[0]);
    }
    hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn name_of(checksum: Checksum) -> &'static str {
    match checksum {
        Checksum::Crc64Nvme(_) => "CRC-64/NVME that the store tells",
        Checksum::Crc32c(_) => "CRC-32C that the store tells",
        Checksum::Sha256(_) => "SHA-256 that the store tells",
        Checksum::Md5(_) => "MD5 that the store tells",
    }
}

pub(super) const WRITTEN_DIGEST: &str = "BLAKE3 digest that was written with it";

impl Shared {
    /// The digest that a manifest tells of an object in this state.
    fn described_digest(&self, root: &OpenRoot, path: &RelPath, stamp: &Stamp) -> Option<Digest> {
        let etag = self.versions.find(stamp)?.etag?;
        let (size, etag) = (stamp.size, Some(etag.into_boxed_str()));
        let seen = Seen { size, etag, modified: stamp.modified };
        match root.describes(path, &seen)?.kind {
            DescribedKind::File { digest, .. } => digest,
            DescribedKind::Directory | DescribedKind::Symlink { .. } => None,
        }
    }

    /// The digest that was written with an object, where anything tells one.
    pub(super) fn written_digest(
        &self,
        (root, path): (&OpenRoot, &RelPath),
        stamp: &Stamp,
        object: &Object,
    ) -> Option<Digest> {
        let kept = || attributes::read(&object.attributes).digest;
        self.described_digest(root, path, stamp).or_else(kept)
    }

    /// Remembers what was read of a large object, as far as that may be needed; of what another
    /// machine reads no bytes are here.
    pub(super) fn note_read(
        &self,
        (root, path): (&OpenRoot, &RelPath),
        stamp: &Stamp,
        (start, bytes): (u64, &Bytes),
        object: &Object,
    ) {
        if self.described_digest(root, path, stamp).is_some() {
            return;
        }
        let place = reading_of(root, path, stamp);
        let digest = attributes::read(&object.attributes).digest;
        // Sums are computed before the table is locked, for all files are in it.
        let pieces = if digest.is_none() { pieces_of(start, bytes) } else { Vec::new() };
        let mut table = guard(&self.readings.0);
        match digest {
            Some(digest) => table.know(place, digest),
            None => table.add(place, pieces),
        }
        table.bound();
    }

    /// Holds a small object to what is known of it; its digest comes back, or what differs.
    pub(super) fn digest_of_whole(
        &self,
        (root, path): (&OpenRoot, &RelPath),
        (key, stamp): (&Key, &Stamp),
        bytes: &Bytes,
        object: &Object,
    ) -> Result<Digest, &'static str> {
        let found = file_digest(bytes);
        if let Some(known) = self.written_digest((root, path), stamp, object) {
            return if known == found { Ok(found) } else { Err(WRITTEN_DIGEST) };
        }
        let told = match object.checksums.is_empty() {
            true => self.readings.told(key, stamp).unwrap_or_default(),
            false => object.checksums.clone(),
        };
        let load = Load::Here(bytes.clone());
        match told.first().filter(|told| !is_of(**told, &load)) {
            Some(told) => Err(name_of(*told)),
            None => Ok(found),
        }
    }

    /// Holds a large file that was read to what is known of it.
    pub(super) async fn confirm(&self, at: &FileAt, found: Digest) -> EndpointResult<()> {
        let (path, stamp) = (&at.path, &at.stamp);
        let root = self.root(at.root, Operation::Read)?;
        let key = root.key(path, Operation::Read)?;
        let place = reading_of(&root, path, stamp);
        let (written, sums) = {
            let table = guard(&self.readings.0);
            let reading = table.files.get(&place);
            let written = reading.and_then(|reading| reading.digest);
            (written, reading.and_then(|reading| reading.sums(stamp.size)))
        };
        if let Some(known) = self.described_digest(&root, path, stamp).or(written) {
            if known != found {
                return Err(self.differs(&key, path, WRITTEN_DIGEST).into());
            }
        } else if let Some(sums) = sums {
            let told = match self.readings.told(&key, stamp) {
                Some(told) => told,
                None => self.look_at(&root, path, stamp, Operation::Read).await?.checksums,
            };
            if let Some(other) = told.into_iter().find(|told| sums.differ_from(*told)) {
                return Err(self.differs(&key, path, name_of(other)).into());
            }
        }
        guard(&self.readings.0).forget(place);
        Ok(())
    }

    /// Tells what it is that differs, which the fault alone does not say.
    pub(super) fn differs(&self, key: &Key, path: &RelPath, what: &str) -> Fault {
        let words = format!("{}/{key}: what was read of it does not have the {what}", self.name());
        let mut told = guard(&self.options.told);
        if told.len() < WORDS_MAX && !told.contains(&words) {
            told.push(words);
        }
        Fault::new(FaultKind::Mismatch, Operation::Read, path.clone())
    }

    fn name(&self) -> &str {
        self.store.name()
    }
}

/// What is read of one object below two roots goes to two files.
fn reading_of(root: &OpenRoot, path: &RelPath, stamp: &Stamp) -> u64 {
    place_of(&[&root.index.0.to_le_bytes(), path.as_bytes()], stamp.inode)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(reading: &mut Reading, start: u64, bytes: &[u8]) {
        pieces_of(start, bytes).into_iter().for_each(|(at, piece)| reading.insert(at, piece));
    }
    use crate::endpoint::object::sums::crc;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Whatever comes in which order, and again, the last of each byte is in the sum.
        #[test]
        fn ranges_in_any_order_come_to_the_sum_of_all(
            order in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle(),
            tail in 1..=BlockSize::MIN.bytes(),
        ) {
            let grid = BlockSize::MIN.bytes();
            let size = 39 * grid + tail;
            let at = |offset: u64| usize::try_from(offset).unwrap();
            let whole: Vec<u8> = (0..size).map(|i| u8::try_from(i * i % 251).unwrap()).collect();
            let expected = Checksum::Crc64Nvme(crc(&whole));
            let differs = |reading: &Reading| reading.sums(size).map(|s| s.differ_from(expected));
            let mut reading = Reading::default();
            // Damaged ones first, in whole cells.
            let damaged: Vec<u8> = whole.iter().map(|byte| byte ^ 1).collect();
            for start in (0..size).step_by(at(CELL)) {
                add(&mut reading, start, &damaged[at(start)..at(size.min(start + CELL))]);
            }
            prop_assert_eq!(differs(&reading), Some(true));
            for nth in order {
                prop_assert_ne!(differs(&reading), Some(false));
                let start = nth * grid;
                add(&mut reading, start, &whole[at(start)..at(size.min(start + grid))]);
            }
            prop_assert_eq!(differs(&reading), Some(false));
            prop_assert_eq!(reading.pieces.len() as u64, size.div_ceil(CELL));
            prop_assert!(reading.sums(size + 1).is_none());
        }
    }

    #[test]
    fn what_lacks_a_piece_has_no_sum() {
        let mut reading = Reading::default();
        add(&mut reading, 0, &[1; 10]);
        add(&mut reading, 20, &[1; 10]);
        assert!(reading.sums(30).is_none());
        add(&mut reading, 10, &[1; 10]);
        assert_eq!(reading.pieces.len(), 1);
        assert!(!reading.sums(30).unwrap().differ_from(Checksum::Crc64Nvme(crc(&[1; 30]))));
    }

    #[test]
    fn what_was_read_first_is_forgotten_first() {
        let mut table = Table::default();
        for place in 0..FILES_MAX as u64 + 3 {
            table.add(place, pieces_of(0, b"abc"));
            table.bound();
        }
        assert_eq!((table.files.len(), table.order.len()), (FILES_MAX, FILES_MAX));
        assert!(!table.files.contains_key(&2) && table.files.contains_key(&3));
        assert_eq!(table.pieces, FILES_MAX);
    }
}
