//! A directory of this process alone, for a program that runs beside it: its socket, and files that
//! it is to read. One that a killed process left is removed by the next.

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use xfer_protocol::manifest::Timestamp;

use super::lock::{LockMode, try_lock};

/// What names begin with.
const PREFIX: &str = "xfer-beside-";

/// Is locked for as long as its process lives.
const LOCK: &str = "lock";

/// Left-over directories that are looked at.
const LEFT_MAX: usize = 64;

/// The directory; removed when dropped.
#[derive(Debug)]
pub struct PrivateDirectory {
    path: PathBuf,
    _lock: File,
}

impl PrivateDirectory {
    /// Makes a new one, which nobody else may enter.
    ///
    /// # Errors
    /// What the system says.
    pub fn make(unique: u64) -> io::Result<Self> {
        let parent = std::env::temp_dir();
        remove_left(&parent);
        let path = parent.join(format!("{PREFIX}{}-{unique:016x}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = OpenOptions::new().write(true).create_new(true).open(path.join(LOCK))?;
        try_lock(&lock, LockMode::Exclusive)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file there, with the time that it is to have.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, name: &str, bytes: &[u8], modified: Option<Timestamp>) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        file.write_all(bytes)?;
        match modified.and_then(moment) {
            Some(moment) => file.set_times(FileTimes::new().set_modified(moment)),
            None => Ok(()),
        }
    }

    /// Removes a file there; one that is not there is no error.
    pub fn remove(&self, name: &str) {
        drop(fs::remove_file(self.path.join(name)));
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
    }
}

fn moment(at: Timestamp) -> Option<SystemTime> {
    let whole = Duration::from_secs(at.seconds.unsigned_abs());
    let second = match at.seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(whole),
        false => SystemTime::UNIX_EPOCH.checked_add(whole),
    };
    second?.checked_add(Duration::from_nanos(at.nanoseconds.into()))
}

/// Removes directories of ours whose processes have ended.
fn remove_left(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let ours =
        |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
    for entry in entries.flatten().filter(ours).take(LEFT_MAX) {
        let is_own = fs::symlink_metadata(entry.path()).is_ok_and(|found| {
            found.is_dir() && found.uid() == rustix::process::geteuid().as_raw()
        });
        // One that has no lock yet is being made.
        let lock = is_own.then(|| OpenOptions::new().write(true).open(entry.path().join(LOCK)));
        if let Some(Ok(lock)) = lock
            && try_lock(&lock, LockMode::Exclusive).is_ok()
        {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_lives_is_kept() {
        let lives = PrivateDirectory::make(0x0dd1).unwrap();
        lives.write("a", b"bytes", Some(Timestamp { seconds: -2, nanoseconds: 5 })).unwrap();
        let left = std::env::temp_dir().join(format!("{PREFIX}left-{}", std::process::id()));
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), b"").unwrap();
        fs::write(left.join("1"), b"").unwrap();
        let second = PrivateDirectory::make(0x0dd2).unwrap();
        assert!(!left.exists() && lives.path().join("a").exists());
        let found = fs::metadata(lives.path().join("a")).unwrap();
        assert_eq!((found.mtime(), found.mtime_nsec(), found.mode() & 0o777), (-2, 5, 0o600));
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
    }
}
