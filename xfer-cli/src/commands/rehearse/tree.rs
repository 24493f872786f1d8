//! The tree of the story: small, and with a little of everything.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use xfer_core::disk::scratch::Scratch;

/// The source, below the stage.
pub(super) const SOURCE: &str = "here/data";

/// The directory that the source is pushed into.
pub(super) const DESTINATION: &str = "there";

/// The copy.
pub(super) const COPY: &str = "there/data";

/// One of the large files, below either.
pub(super) const LARGE: &str = "checkpoint-0.bin";

const LARGE_FILES: u64 = 3;
const LARGE_BYTES: usize = 48 << 20;
const SMALL_FILES: usize = 1000;
const SMALL_DIRECTORIES: usize = 10;
const HOLE_BYTES: u64 = 64 << 20;

/// What was made.
pub(super) struct Made {
    /// Files, directories and links.
    pub(super) entries: u64,
    /// Bytes of all files, holes not counted.
    pub(super) bytes: u64,
    /// The same, a file with two names counted once.
    pub(super) unique_bytes: u64,
}

/// Makes the tree, and an empty home for the processes of the story.
pub(super) fn make(stage: &Scratch, seed: u64) -> io::Result<Made> {
    for name in ["home", "config", "state", SOURCE, DESTINATION] {
        stage.directory(name)?;
    }
    let mut random = Random(seed | 1);
    let mut made = Made { entries: 1, bytes: 0, unique_bytes: 0 };
    for index in 0..LARGE_FILES {
        let bytes = random.bytes(LARGE_BYTES);
        made.file(stage, &format!("checkpoint-{index}.bin"), &bytes)?;
    }
    for index in 0..SMALL_DIRECTORIES {
        stage.directory(&format!("{SOURCE}/small/{index}"))?;
    }
    made.entries += 1 + SMALL_DIRECTORIES as u64;
    for index in 0..SMALL_FILES {
        let bytes = random.bytes(index * 13);
        made.file(stage, &format!("small/{}/{index}.txt", index % SMALL_DIRECTORIES), &bytes)?;
    }
    let data = random.bytes(1 << 20);
    stage.sparse_file(&format!("{SOURCE}/sparse.img"), HOLE_BYTES, HOLE_BYTES / 2, &data)?;
    stage.directory(&format!("{SOURCE}/empty"))?;
    stage.link(LARGE, &format!("{SOURCE}/latest"))?;
    stage.hard_link(&format!("{SOURCE}/{LARGE}"), &format!("{SOURCE}/second-name.bin"))?;
    let odd = OsStr::from_bytes(b" odd\n\xff-name");
    stage.file(Path::new(SOURCE).join(odd), b"names are bytes\n")?;
    made.entries += 5;
    made.bytes += data.len() as u64 + 16;
    made.unique_bytes = made.bytes;
    Ok(made)
}

impl Made {
    fn file(&mut self, stage: &Scratch, name: &str, bytes: &[u8]) -> io::Result<()> {
        stage.file(format!("{SOURCE}/{name}"), bytes)?;
        self.entries += 1;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Bytes that no compression shrinks (xorshift64*); no secret is made of them.
struct Random(u64);

impl Random {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            bytes.extend_from_slice(&self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
