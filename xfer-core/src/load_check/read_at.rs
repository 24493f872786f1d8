//! What stands between a check and wherever a file lies.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};

/// A file that is read at any place: local, in memory, or ranges of one that lies elsewhere.
pub trait ReadAt {
    /// Bytes of the file; the same at each call.
    fn size(&self) -> u64;

    /// Reads bytes from an offset on into `buffer`, and says how many these are; none only at the
    /// end of the file, or for an empty buffer.
    ///
    /// # Errors
    /// Those of the place where the file lies.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let rest = rest.unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.as_slice().read_at(offset, buffer)
    }
}

/// Anything that seeks, such as an open file.
#[derive(Debug)]
pub struct Seeking<R> {
    reader: RefCell<R>,
    size: u64,
}

impl<R: Read + Seek> Seeking<R> {
    /// Takes what seeks, and asks it for its size.
    ///
    /// # Errors
    /// Those of seeking.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let size = reader.seek(SeekFrom::End(0))?;
        Ok(Self { reader: RefCell::new(reader), size })
    }
}

impl<R: Read + Seek> ReadAt for Seeking<R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reader = self.reader.borrow_mut();
        reader.seek(SeekFrom::Start(offset))?;
        loop {
            match reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}
