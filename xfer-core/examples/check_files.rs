//! Says of each file whether it would load, as far as its structure tells, and runs nothing of it
//!
//! `cargo run --release -p xfer-core --example check_files -- FILE…`

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use xfer_core::disk::{confine, file};
use xfer_core::load_check::{LoadCheck, ReadAt, check};

/// An open file; whatever gives ranges of bytes can be checked the same way.
struct Opened {
    descriptor: OwnedFd,
    size: u64,
}

impl Opened {
    fn new(path: &Path) -> io::Result<Self> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or_else(|| Path::new(".")).as_os_str().as_bytes();
        let name = path.file_name().unwrap_or_default().as_bytes();
        let directory = confine::open_root(directory)?;
        let opened = file::open_source(directory.as_fd(), name)?;
        let (descriptor, found) = opened.ok_or(io::ErrorKind::InvalidInput)?;
        let size = u64::try_from(found.st_size).unwrap_or_default();
        Ok(Self { descriptor, size })
    }
}

impl ReadAt for Opened {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(file::read_into(&self.descriptor, buffer, offset)?)
    }
}

fn main() -> ExitCode {
    let mut all_sound = true;
    for path in std::env::args_os().skip(1) {
        let path = Path::new(&path);
        match Opened::new(path).and_then(|file| check(path.as_os_str().as_bytes(), &file)) {
            Ok(found) => {
                all_sound &= !matches!(found, LoadCheck::Broken { .. });
                println!("{path:?}: {found}");
            }
            Err(error) => {
                all_sound = false;
                println!("{path:?}: {error}");
            }
        }
    }
    if all_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
