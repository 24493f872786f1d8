//! Holes: where a file has data, and making holes again.

use std::os::fd::AsFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use xfer_protocol::range::ByteRange;

use super::file;

/// The ranges of the first `size` bytes that hold data, at most `limit` of them: beyond that, holes
/// between the last ones count as data. All of it where the file system knows no holes.
pub fn data_ranges(file: impl AsFd, size: u64, limit: usize) -> Result<Vec<ByteRange>, Errno> {
    match ByteRange::whole(size) {
        Some(whole) => data_within(file, whole, limit),
        None => Ok(Vec::new()),
    }
}

/// The same within a range.
pub fn data_within(
    file: impl AsFd,
    within: ByteRange,
    limit: usize,
) -> Result<Vec<ByteRange>, Errno> {
    let file = file.as_fd();
    let size = within.end();
    let mut ranges = Vec::new();
    let mut offset = within.start();
    while offset < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(start) => start.max(offset),
            // No data from here on.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => offset,
            Err(errno) => return Err(errno),
        };
        let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
            _ if ranges.len() + 1 >= limit => size,
            Ok(end) if end > start => end,
            Ok(_) | Err(Errno::INVAL | Errno::OPNOTSUPP) => size,
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        ranges.extend(ByteRange::new(start, end.min(size)));
        offset = end;
    }
    Ok(ranges)
}

/// Makes a range read as zeros, as a hole where the file system can.
pub fn punch(file: impl AsFd, range: ByteRange) -> Result<(), Errno> {
    let file = file.as_fd();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::FallocateFlags;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let punched = rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(file, flags, range.start(), range.len())
        });
        if !matches!(punched, Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)) {
            return punched;
        }
    }
    write_zeros(file, range)
}

fn write_zeros(file: impl AsFd, range: ByteRange) -> Result<(), Errno> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut offset = range.start();
    while offset < range.end() {
        let left = usize::try_from(range.end() - offset).unwrap_or(usize::MAX);
        let piece = &ZEROS[..left.min(ZEROS.len())];
        file::write_at(file.as_fd(), piece, offset)?;
        offset += u64::try_from(piece.len()).unwrap_or(u64::MAX);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).unwrap()
    }

    fn sparse_file(directory: &str) -> OwnedFd {
        let file: OwnedFd = tempfile::tempfile_in(directory).unwrap().into();
        file::set_length(&file, 8 * MIB).unwrap();
        for offset in [MIB, 4 * MIB] {
            file::write_at(&file, &vec![1; 65_536], offset).unwrap();
        }
        file
    }

    #[test]
    fn data_is_found_between_holes() {
        for directory in ["/tmp", "/dev/shm"] {
            let file = sparse_file(directory);
            let both = vec![range(MIB, MIB + 65_536), range(4 * MIB, 4 * MIB + 65_536)];
            assert_eq!(data_ranges(&file, 8 * MIB, 100).unwrap(), both, "{directory}");
            let clipped = data_ranges(&file, 4 * MIB + 10, 100).unwrap();
            assert_eq!(clipped, [range(MIB, MIB + 65_536), range(4 * MIB, 4 * MIB + 10)]);
            assert_eq!(data_ranges(&file, MIB, 100).unwrap(), []);
            assert_eq!(data_ranges(&file, 8 * MIB, 1).unwrap(), [range(MIB, 8 * MIB)]);
            let within = data_within(&file, range(MIB + 4096, 4 * MIB), 100).unwrap();
            assert_eq!(within, [range(MIB + 4096, MIB + 65_536)]);
            let empty: OwnedFd = tempfile::tempfile_in(directory).unwrap().into();
            assert_eq!(data_ranges(&empty, 0, 100).unwrap(), []);
        }
    }

    #[test]
    fn a_punched_range_reads_as_zeros() {
        for directory in ["/tmp", "/dev/shm"] {
            let file = sparse_file(directory);
            punch(&file, range(MIB, MIB + 65_536)).unwrap();
            assert_eq!(data_ranges(&file, 8 * MIB, 9).unwrap().len(), 1, "{directory}");
            write_zeros(&file, range(4 * MIB + 1, 4 * MIB + 65_530)).unwrap();
            let mut bytes = Vec::new();
            file::read_at(&file, &mut bytes, 4 * MIB, 65_536).unwrap();
            assert_eq!(bytes.iter().map(|&b| u32::from(b)).sum::<u32>(), 7);
        }
    }
}
