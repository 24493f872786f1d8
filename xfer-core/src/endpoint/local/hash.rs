//! Hashing what is there.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use xfer_protocol::digest::{Digest, span_digest_of, zero_span_digest};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Digests, FileAt, HashBlocks, HashFiles, Reading, Subject};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::{ByteRange, RangeSet};

use super::Shared;
use super::directories::Directories;
use super::roots::OpenRoot;
use super::source::{changed, refuse_unmeasured};
use crate::disk::direct::{AlignedBuffer, DirectFile};
use crate::disk::fault::fault;
use crate::disk::{Errno, file, sparse, stat};

/// Blocks for each thread below which another thread does not pay.
const BLOCKS_PER_THREAD: usize = 4;

/// Files for each thread below which another thread does not pay.
const FILES_PER_THREAD: usize = 16;

/// Threads that hash for one call.
const THREADS_MAX: usize = 8;

/// Bytes that a processor's own cache holds still when they were read: more would have to come from
/// memory once more to be hashed.
pub(super) const WARM_BYTES: u64 = 256 << 10;

/// Bytes of a small file that are read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A file open for hashing, in one of the ways that its bytes can be read.
pub(super) enum Readable {
    Cached(Arc<OwnedFd>),
    /// One that may be shorter yet than it will be, and is to have zeros there.
    Partial(Arc<OwnedFd>),
    Direct(DirectFile),
}

impl Readable {
    pub(super) fn is_past_cache(&self) -> bool {
        matches!(self, Self::Direct(file) if file.is_past_cache())
    }

    /// Reads a range whole; `None` where the file ends before.
    fn read<'b>(
        &self,
        buffers: &'b mut Scratch,
        range: ByteRange,
    ) -> Result<Option<&'b [u8]>, Errno> {
        let length = usize::try_from(range.len()).map_err(|_| Errno::INVAL)?;
        let bytes = match self {
            Self::Cached(file) => {
                buffers.plain.clear();
                file::read_at(&**file, &mut buffers.plain, range.start(), length)?;
                buffers.plain.as_slice()
            }
            Self::Partial(file) => {
                buffers.plain.clear();
                file::read_at(&**file, &mut buffers.plain, range.start(), length)?;
                buffers.plain.resize(length, 0);
                buffers.plain.as_slice()
            }
            Self::Direct(file) => file.read(&mut buffers.aligned, range.start(), length)?,
        };
        Ok((bytes.len() == length).then_some(bytes))
    }

    /// The digest of a block; `None` where the file ends before.
    fn hash(
        &self,
        buffers: &mut Scratch,
        block: ByteRange,
        size: u64,
    ) -> Result<Option<Digest>, Errno> {
        let step = match self {
            Self::Cached(_) | Self::Partial(_) => WARM_BYTES,
            // A medium is read fastest in long reads.
            Self::Direct(_) => block.len(),
        };
        let digest = span_digest_of(block.start(), block.len(), size, |update| {
            cut(block.start(), block.len(), step).into_iter().try_for_each(|piece| {
                update(self.read(buffers, piece).map_err(Some)?.ok_or(None)?);
                Ok(())
            })
        });
        match digest {
            Ok(digest) => Ok(Some(digest)),
            Err(None) => Ok(None),
            Err(Some(errno)) => Err(errno),
        }
    }
}

/// Cuts so many bytes into pieces.
pub(super) fn cut(start: u64, length: u64, step: u64) -> Vec<ByteRange> {
    let end = start + length;
    let starts = (0..length.div_ceil(step.max(1))).map(|number| start + number * step);
    starts.filter_map(|start| ByteRange::new(start, end.min(start + step)).ok()).collect()
}

#[derive(Default)]
struct Scratch {
    plain: Vec<u8>,
    aligned: AlignedBuffer,
}

impl Shared {
    pub(super) fn hash_blocks(&self, hash: &HashBlocks) -> Result<Digests, Fault> {
        match &hash.subject {
            Subject::File(at) => self.hash_file_blocks(hash, at),
            Subject::Partial(partial) => self.hash_partial(hash, *partial),
        }
    }

    fn hash_file_blocks(&self, hash: &HashBlocks, at: &FileAt) -> Result<Digests, Fault> {
        let failed = |errno| fault(errno, Operation::Hash, &at.path);
        let blocks = blocks_of(hash, at.stamp.size, &at.path)?;
        let file = self.open_at(at, Operation::Hash)?;
        self.reading(at, &file, || {
            let readable = match hash.reading {
                Reading::Cached => Readable::Cached(Arc::clone(&file)),
                Reading::PastCache => Readable::Direct(self.open_direct(at, &file)?),
            };
            let data = data_in(&file, hash.range, at.stamp.size).map_err(failed)?;
            let digests = hash_all(&readable, &blocks, at.stamp.size, &data)
                .map_err(failed)?
                .ok_or_else(|| changed(&at.path))?;
            if hash.reading == Reading::Cached {
                let device = stat::identity(&rustix::fs::fstat(&*file).map_err(failed)?).0;
                let root = self.root(at.root, Operation::Hash)?;
                root.rely_on(&*file, device, &at.path).map_err(failed)?;
            }
            Ok(Digests { digests, past_cache: readable.is_past_cache() })
        })
    }

    fn open_direct(&self, at: &FileAt, file: &OwnedFd) -> Result<DirectFile, Fault> {
        let root = self.root(at.root, Operation::Hash)?;
        let mut directories = Directories::new(&root, self.options.confinement, Operation::Hash);
        let opened = directories.open_source(&at.path)?;
        let (place, name) = opened.place();
        DirectFile::open(place, name, file.as_fd())
            .map_err(|errno| fault(errno, Operation::Hash, &at.path))
    }

    pub(super) fn hash_files(
        &self,
        hash: &HashFiles,
    ) -> Result<(Vec<Result<Digest, Fault>>, bool), Fault> {
        let root = self.root(hash.files.root, Operation::Hash)?;
        if hash.files.files.len() > limits::BATCH_ENTRIES_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::Hash, RelPath::root()));
        }
        let hash_share = |share: &[(RelPath, Stamp)]| {
            let confinement = self.options.confinement;
            let mut directories = Directories::new(&root, confinement, Operation::Hash);
            let mut scratch = Scratch::default();
            let each = share.iter().map(|(path, stamp)| {
                hash_whole(&root, &mut directories, (path, stamp), hash.reading, &mut scratch)
            });
            each.collect::<Vec<_>>()
        };
        let threads = match hash.reading {
            Reading::Cached => cores(),
            // Most of the time goes into waiting for the medium.
            Reading::PastCache => THREADS_MAX,
        };
        let hashed = in_threads(&hash.files.files, FILES_PER_THREAD, threads, hash_share);
        let past_cache = hash.reading == Reading::PastCache
            && hashed.iter().flatten().all(|(_, past_cache)| *past_cache);
        let digests = hashed.into_iter().map(|hashed| hashed.map(|(digest, _)| digest)).collect();
        Ok((digests, past_cache))
    }
}

/// The blocks of a request, checked against the limits.
pub(super) fn blocks_of(
    hash: &HashBlocks,
    size: u64,
    path: &RelPath,
) -> Result<Vec<ByteRange>, Fault> {
    let (range, block) = (hash.range, hash.block.bytes());
    let protocol = || Fault::new(FaultKind::Protocol, Operation::Hash, path.clone());
    let on_grid = range.start().is_multiple_of(block)
        && (range.end() == size || range.end().is_multiple_of(block));
    if !on_grid || range.end() > size {
        return Err(protocol());
    }
    let count = range.len().div_ceil(block);
    if usize::try_from(count).map_or(true, |count| count > limits::DIGESTS_MAX) {
        return Err(Fault::new(FaultKind::Limit, Operation::Hash, path.clone()));
    }
    (0..count)
        .map(|i| {
            let start = range.start() + i * block;
            ByteRange::new(start, range.end().min(start + block)).map_err(|_| protocol())
        })
        .collect()
}

/// The parts of a range that hold data.
pub(super) fn data_in(file: &OwnedFd, range: ByteRange, size: u64) -> Result<RangeSet, Errno> {
    let found = rustix::fs::fstat(file)?;
    // Most files have no hole, and looking for some costs more than this.
    if stat::allocated(&found) >= size {
        return Ok(RangeSet::from_iter([range]));
    }
    Ok(sparse::data_within(file, range, limits::RANGES_MAX)?.into_iter().collect())
}

/// Hashes blocks, several at a time where there are many; `None` where the file ends before.
pub(super) fn hash_all(
    file: &Readable,
    blocks: &[ByteRange],
    size: u64,
    data: &RangeSet,
) -> Result<Option<Vec<Digest>>, Errno> {
    let share = |share: &[ByteRange]| vec![hash_share(file, share, size, data)];
    let shares = in_threads(blocks, BLOCKS_PER_THREAD, cores().min(THREADS_MAX), share);
    let shares = shares.into_iter().collect::<Result<Option<Vec<_>>, _>>()?;
    Ok(shares.map(|shares| shares.concat()))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Works on pieces, as many at a time as there are processors; in order.
pub(super) fn in_pieces<R: Send>(
    pieces: &[ByteRange],
    work: impl Fn(ByteRange) -> R + Sync,
) -> Vec<R> {
    in_threads_of(pieces, |piece| work(*piece))
}

/// Works on blocks, as many at a time as there are processors; in order.
pub(super) fn in_threads_of<T: Sync, R: Send>(
    blocks: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let share = |share: &[T]| share.iter().map(&work).collect();
    in_threads(blocks, BLOCKS_PER_THREAD, cores().min(THREADS_MAX), share)
}

/// Cuts items into shares of at least `least` and works on up to `threads` shares at a time.
fn in_threads<T: Sync, R: Send>(
    items: &[T],
    least: usize,
    threads: usize,
    work: impl Fn(&[T]) -> Vec<R> + Sync,
) -> Vec<R> {
    let threads = (items.len() / least).clamp(1, threads);
    let share = items.len().div_ceil(threads).max(1);
    let (first, others) = items.split_at(share.min(items.len()));
    std::thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> =
            others.chunks(share).map(|share| scope.spawn(move || work(share))).collect();
        let mut results = work(first);
        for other in others {
            results.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    })
}

fn hash_share(
    file: &Readable,
    blocks: &[ByteRange],
    size: u64,
    data: &RangeSet,
) -> Result<Option<Vec<Digest>>, Errno> {
    let mut scratch = Scratch::default();
    let mut digests = Vec::with_capacity(blocks.len());
    for block in blocks {
        let is_hole = data.missing_from(*block).contains(*block);
        digests.push(if is_hole {
            zero_span_digest(block.start(), block.len(), size)
        } else {
            match file.hash(&mut scratch, *block, size)? {
                Some(digest) => digest,
                None => return Ok(None),
            }
        });
    }
    Ok(Some(digests))
}

fn hash_whole(
    root: &OpenRoot,
    directories: &mut Directories<'_>,
    (path, stamp): (&RelPath, &Stamp),
    reading: Reading,
    scratch: &mut Scratch,
) -> Result<(Digest, bool), Fault> {
    let failed = |errno| fault(errno, Operation::Hash, path);
    let opened = directories.open_source(path)?;
    if stat::stamp(&opened.before) != *stamp {
        return Err(changed(path));
    }
    stat::outlast_tick(stamp.changed);
    if stamp.size == 0 {
        refuse_unmeasured(&opened.file, path, Operation::Hash)?;
    }
    let direct = match reading {
        Reading::Cached => None,
        Reading::PastCache => {
            let (place, name) = opened.place();
            Some(DirectFile::open(place, name, opened.file.as_fd()).map_err(failed)?)
        }
    };
    let file = Arc::new(opened.file);
    let readable = match direct {
        None => Readable::Cached(Arc::clone(&file)),
        Some(direct) => Readable::Direct(direct),
    };
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset < stamp.size {
        let piece = u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX).min(stamp.size - offset);
        let Ok(range) = ByteRange::at(offset, piece) else { return Err(changed(path)) };
        let bytes = readable.read(scratch, range).map_err(failed)?;
        hasher.update(bytes.ok_or_else(|| changed(path))?);
        offset = range.end();
    }
    let after = rustix::fs::fstat(&*file).map_err(failed)?;
    if stat::stamp(&after) != *stamp {
        return Err(changed(path));
    }
    if reading == Reading::Cached {
        root.rely_on(&*file, stat::identity(&after).0, path).map_err(failed)?;
    }
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    Ok((digest, readable.is_past_cache()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 64 << 10;

    fn hashed(file: OwnedFd, start: u64) -> Result<Option<Vec<Digest>>, Errno> {
        let block = ByteRange::at(start, BLOCK).unwrap();
        let data = RangeSet::from_iter([block]);
        hash_all(&Readable::Cached(Arc::new(file)), &[block], 4 * BLOCK, &data)
    }

    /// It may be cut while it is read, and a medium may fail at any place.
    #[test]
    fn what_ends_early_or_cannot_be_read_is_told_wherever_it_begins() {
        for length in [0, 10, BLOCK, BLOCK + 10] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(length).unwrap();
            for start in [0, BLOCK, 2 * BLOCK] {
                let found = hashed(file.try_clone().unwrap().into(), start).unwrap();
                assert_eq!(found.is_some(), start + BLOCK <= length, "{start} of {length}");
            }
        }
        let place = tempfile::tempdir().unwrap();
        for start in [0, BLOCK] {
            let flags = rustix::fs::OFlags::RDONLY;
            let directory =
                rustix::fs::open(place.path(), flags, rustix::fs::Mode::empty()).unwrap();
            assert_eq!(hashed(directory, start), Err(Errno::ISDIR));
        }
    }
}
