//! A stretch of a file, read in order from any place of it.

use crc_fast::CrcAlgorithm::Crc32IsoHdlc;

use super::{Beyond, Checked, Flaw, ReadAt, Stop};

/// Bytes of the first read at a place, which is often the only one.
const FIRST_READ: usize = 4 << 10;

/// Bytes of a read at most.
const READ_MAX: usize = 256 << 10;

/// Reads a file from one offset up to another.
pub(super) struct Window<'a> {
    file: &'a dyn ReadAt,
    /// What was read last: bytes from `start` on, of which `at` were taken.
    buffer: Vec<u8>,
    start: u64,
    at: usize,
    end: u64,
    next_read: usize,
}

impl<'a> Window<'a> {
    pub(super) fn whole(file: &'a dyn ReadAt) -> Self {
        Self::at(file, 0)
    }

    /// From an offset, which may lie behind the end, to the end of the file.
    pub(super) fn at(file: &'a dyn ReadAt, start: u64) -> Self {
        let end = file.size().max(start);
        Self { file, buffer: Vec::new(), start, at: 0, end, next_read: FIRST_READ }
    }

    /// So many bytes from an offset on, all of which lie in the file.
    pub(super) fn of(file: &'a dyn ReadAt, start: u64, length: u64) -> Checked<Self> {
        let end = start.checked_add(length).filter(|end| *end <= file.size());
        let end = end.ok_or_else(|| Stop::broken(start.min(file.size()), Flaw::Extent))?;
        Ok(Self { end, ..Self::at(file, start) })
    }

    /// The next bytes of this one, which goes on behind them.
    pub(super) fn split(&mut self, length: u64) -> Checked<Self> {
        let start = self.position();
        self.skip(length)?;
        Self::of(self.file, start, length)
    }

    pub(super) fn position(&self) -> u64 {
        self.start.saturating_add(self.at as u64)
    }

    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.position())
    }

    pub(super) fn broken(&self, flaw: Flaw) -> Stop {
        Stop::broken(self.position(), flaw)
    }

    /// What comes next, as much of it as is there without waiting; nothing at the end alone.
    pub(super) fn fill(&mut self) -> Checked<&[u8]> {
        if self.at >= self.buffer.len() {
            self.start = self.position();
            self.at = 0;
            let length = usize::try_from(self.left()).unwrap_or(usize::MAX).min(self.next_read);
            self.next_read = (self.next_read * 2).min(READ_MAX);
            self.buffer.resize(length, 0);
            let read = self.file.read_at(self.start, &mut self.buffer).map_err(Stop::Read)?;
            self.buffer.truncate(read);
            if read == 0 && length > 0 {
                return Err(self.broken(Flaw::Truncated));
            }
        }
        Ok(&self.buffer[self.at..])
    }

    /// Takes what `fill` gave, or less.
    pub(super) fn consume(&mut self, length: usize) {
        self.at = self.at.saturating_add(length).min(self.buffer.len());
    }

    pub(super) fn skip(&mut self, length: u64) -> Checked<()> {
        if length > self.left() {
            return Err(self.broken(Flaw::Truncated));
        }
        match usize::try_from(length) {
            Ok(length) if length <= self.buffer.len() - self.at => self.at += length,
            _ => {
                self.start = self.position() + length;
                self.at = 0;
                self.buffer.clear();
                self.next_read = FIRST_READ;
            }
        }
        Ok(())
    }

    /// The next byte, unless this is the end.
    pub(super) fn next(&mut self) -> Checked<Option<u8>> {
        let byte = self.peek()?;
        self.consume(1);
        Ok(byte)
    }

    /// The same, and it stays.
    pub(super) fn peek(&mut self) -> Checked<Option<u8>> {
        if let Some(byte) = self.buffer.get(self.at) {
            return Ok(Some(*byte));
        }
        Ok(self.fill()?.first().copied())
    }

    pub(super) fn byte(&mut self) -> Checked<u8> {
        self.next()?.ok_or_else(|| self.broken(Flaw::Truncated))
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Checked<[u8; N]> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills a buffer.
    pub(super) fn read(&mut self, mut buffer: &mut [u8]) -> Checked<()> {
        if buffer.len() as u64 > self.left() {
            return Err(self.broken(Flaw::Truncated));
        }
        while !buffer.is_empty() {
            let bytes = self.fill()?;
            let length = bytes.len().min(buffer.len());
            let (now, later) = buffer.split_at_mut(length);
            now.copy_from_slice(&bytes[..length]);
            self.consume(length);
            buffer = later;
        }
        Ok(())
    }

    /// The next bytes, which are no more than are there, and no more than a limit.
    pub(super) fn take(&mut self, length: u64, max: u64) -> Checked<Vec<u8>> {
        if length > self.left() {
            return Err(self.broken(Flaw::Extent));
        }
        let fits = usize::try_from(length).ok().filter(|_| length <= max);
        let mut bytes = vec![0; fits.ok_or(Stop::Beyond(Beyond::Memory))?];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u16(&mut self) -> Checked<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Checked<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Checked<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Gives the next bytes away in order.
    pub(super) fn each(&mut self, length: u64, mut take: impl FnMut(&[u8])) -> Checked<()> {
        if length > self.left() {
            return Err(self.broken(Flaw::Truncated));
        }
        let mut left = length;
        while left > 0 {
            let bytes = self.fill()?;
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            take(&bytes[..now]);
            self.consume(now);
            left -= now as u64;
        }
        Ok(())
    }

    /// The CRC-32 of the next bytes, as zip, gzip and Parquet have it.
    pub(super) fn crc(&mut self, length: u64) -> Checked<u32> {
        let mut crc = Crc::new();
        self.each(length, |bytes| crc.update(bytes))?;
        Ok(crc.value())
    }

    /// How many of the next bytes are zeros, to the end or to the first that is none.
    pub(super) fn zeros(&mut self) -> Checked<u64> {
        let mut zeros = 0;
        loop {
            let bytes = self.fill()?;
            let run = bytes.iter().take_while(|byte| **byte == 0).count();
            let (is_whole, length) = (run == bytes.len(), bytes.len());
            self.consume(run);
            zeros += run as u64;
            if !is_whole || length == 0 {
                return Ok(zeros);
            }
        }
    }
}

/// A CRC-32 under way.
pub(super) struct Crc(crc_fast::Digest);

impl Crc {
    pub(super) fn new() -> Self {
        Self(crc_fast::Digest::new(Crc32IsoHdlc))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn value(&self) -> u32 {
        u32::try_from(self.0.finalize()).unwrap_or_default()
    }
}

/// Zero bytes with which a file ends.
pub(super) fn zeros_at_end(file: &dyn ReadAt) -> Checked<u64> {
    let mut end = file.size();
    let mut length = FIRST_READ as u64;
    while end > 0 {
        let start = end.saturating_sub(length);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        Window::of(file, start, end - start)?.read(&mut bytes)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(file.size() - (start + last as u64 + 1));
        }
        end = start;
        length = (length * 2).min(READ_MAX as u64);
    }
    Ok(file.size())
}
