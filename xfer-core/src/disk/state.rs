//! Files of our own in the state directory: private, and replaced only whole.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};

use super::space::{FileSystem, file_system};

/// A directory that belongs to us and that nobody else may write.
#[derive(Clone, Debug)]
pub struct StateDirectory(PathBuf);

/// A file that is read from its beginning on.
pub type StateReader = BufReader<File>;

/// Why a state directory or file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Others could forge what is in it.
    #[error("{} {why}", path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Who could, and how.
        why: &'static str,
    },
    /// Its locks and syncs are another machine's to keep.
    #[error("{} lies on a network file system, where a lock may not hold", .0.display())]
    OnNetwork(PathBuf),
}

impl StateDirectory {
    /// Opens a directory, making it and its parents with mode 0700 where they are missing.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |cause| StateError::Io { path: path.to_owned(), cause };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let found = fs::symlink_metadata(path).map_err(failed)?;
        let path = path.to_owned();
        if let Some(why) = exposure(&found) {
            return Err(StateError::NotPrivate { path, why });
        }
        let opened = File::open(&path).map_err(failed)?;
        match file_system(&opened) {
            FileSystem::Network => Err(StateError::OnNetwork(path)),
            _ => Ok(Self(path)),
        }
    }

    /// Whether a state directory lies in a directory or is it, either of which may yet have to be
    /// made.
    #[must_use]
    pub fn lies_in(path: &Path, directory: &Path) -> bool {
        resolved(path).starts_with(resolved(directory))
    }

    /// The directory that holds a file which the user named, and the file's name in it.
    pub fn holding(file: &Path) -> Result<(Self, String), StateError> {
        let unusable = || StateError::Io {
            path: file.to_owned(),
            cause: io::Error::from(io::ErrorKind::InvalidFilename),
        };
        let name = file.file_name().and_then(|n| n.to_str()).ok_or_else(unusable)?;
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok((Self(directory.to_owned()), name.to_owned()))
    }

    /// A directory below this one.
    pub fn child(&self, name: &str) -> Result<Self, StateError> {
        Self::open(&self.0.join(name))
    }

    /// Where a file of this directory is.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Opens a file for reading; `None` where there is none.
    pub fn read(&self, name: &str) -> Result<Option<StateReader>, StateError> {
        let path = self.path_of(name);
        match File::open(&path) {
            Ok(file) => Ok(Some(BufReader::with_capacity(1 << 18, file))),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StateError::Io { path, cause }),
        }
    }

    /// Begins a file that appears under its name by [`StateFile::commit`], whole.
    pub fn create(&self, name: &str, unique: u64) -> Result<StateFile, StateError> {
        let (path, partial) = (self.path_of(name), self.path_of(&format!(".{name}.{unique:016x}")));
        let file = private()
            .create_new(true)
            .open(&partial)
            .map_err(|cause| StateError::Io { path: partial.clone(), cause })?;
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(StateFile { directory: self.0.clone(), path, partial, file, committed: false })
    }

    /// Opens an empty file that stands for something to be locked, making it where it is missing.
    pub fn lock_file(&self, name: &str) -> Result<LockFile, StateError> {
        let path = self.path_of(name);
        let opened = private().create(true).truncate(false).open(&path);
        opened.map(LockFile).map_err(|cause| StateError::Io { path, cause })
    }

    /// Opens a file to be read in several places at once; `None` where there is none.
    pub fn read_sections(&self, name: &str) -> Result<Option<Sections>, StateError> {
        let file = self.read(name)?;
        Ok(file.map(|file| Sections(Arc::new(file.into_inner()))))
    }

    /// Begins a file that is there at once, to be grown by [`StateLog::append`]; one of that name
    /// is emptied.
    pub fn log(&self, name: &str) -> Result<StateLog, StateError> {
        let path = self.path_of(name);
        match private().create(true).truncate(true).open(&path) {
            Ok(file) => Ok(StateLog { path, file }),
            Err(cause) => Err(StateError::Io { path, cause }),
        }
    }

    /// Begins a file for another process to write; one of that name is an error.
    pub fn handed_on(&self, name: &str) -> Result<File, StateError> {
        let path = self.path_of(name);
        let opened = private().create_new(true).append(true).open(&path);
        opened.map_err(|cause| StateError::Io { path, cause })
    }

    /// Removes a file, if there is one.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path_of(name);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Io { path, cause })
            }
            _ => Ok(()),
        }
    }

    /// Gives a file another name, over whatever has it; durable when this returns.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), StateError> {
        let path = self.path_of(from);
        let renamed = fs::rename(&path, self.path_of(to));
        renamed.map_err(|cause| StateError::Io { path, cause })?;
        self.sync()
    }

    /// Makes durable which files there are.
    pub fn sync(&self) -> Result<(), StateError> {
        let synced = File::open(&self.0).and_then(|directory| directory.sync_all());
        synced.map_err(|cause| StateError::Io { path: self.0.clone(), cause })
    }

    /// Marks a file as used now.
    pub fn touch(&self, name: &str) -> Result<(), StateError> {
        let path = self.path_of(name);
        let touched = File::open(&path).and_then(|file| {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let times = Timestamps { last_access: now, last_modification: now };
            Ok(rustix::fs::futimens(&file, &times)?)
        });
        touched.map_err(|cause| StateError::Io { path, cause })
    }

    /// The names of all files.
    pub fn names(&self) -> Result<Vec<String>, StateError> {
        let failed = |cause| StateError::Io { path: self.0.clone(), cause };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string().ok());
        }
        Ok(names)
    }

    /// When a file was last modified, in seconds since 1970; `None` where that cannot be told.
    #[must_use]
    pub fn modified(&self, name: &str) -> Option<i64> {
        fs::metadata(self.path_of(name)).ok().map(|found| found.mtime())
    }

    /// Removes the files that were last modified before a moment, in seconds since 1970.
    pub fn remove_older_than(&self, moment: i64) -> Result<(), StateError> {
        let failed = |cause| StateError::Io { path: self.0.clone(), cause };
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // What is gone by now, or cannot be told of, is nobody's loss.
            let Ok(found) = entry.metadata() else { continue };
            if found.is_file() && found.mtime() < moment {
                let _as_far_as_it_goes = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// A file without a name, for what outgrows memory.
    pub fn spool(&self, unique: u64) -> Result<Spool, StateError> {
        let path = self.path_of(&format!(".spool.{unique:016x}"));
        let failed = |cause| StateError::Io { path: path.clone(), cause };
        let file = private().create_new(true).read(true).open(&path).map_err(failed)?;
        fs::remove_file(&path).map_err(failed)?;
        Ok(Spool { path, file: BufWriter::with_capacity(1 << 16, file) })
    }
}

/// Why others could write what we would believe; `None` for a directory of our own.
fn exposure(found: &fs::Metadata) -> Option<&'static str> {
    if found.is_symlink() {
        return Some("is a link, which may lead anywhere");
    }
    if !found.is_dir() {
        return Some("is no directory");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Some("belongs to somebody else");
    }
    (found.mode() & 0o022 != 0).then_some("may be written by others")
}

/// The real path of what may not be there: of the nearest directory above it that is, and the rest.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for above in absolute.ancestors() {
        if let Ok(real) = fs::canonicalize(above) {
            let rest = absolute.strip_prefix(above).unwrap_or_else(|_| Path::new(""));
            // Joining nothing would add a slash.
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    absolute
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// A file to be locked; the lock goes with it.
#[derive(Debug)]
pub struct LockFile(File);

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A file being written that nobody sees yet; removed again if it is not committed.
#[derive(Debug)]
pub struct StateFile {
    directory: PathBuf,
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    committed: bool,
}

impl StateFile {
    /// Renames the file over its name; a durable one is synced before, and its directory after.
    pub fn commit(mut self, durable: bool) -> Result<PathBuf, StateError> {
        self.place(durable).map_err(|cause| StateError::Io { path: self.path.clone(), cause })?;
        self.committed = true;
        Ok(self.path.clone())
    }

    fn place(&mut self, durable: bool) -> io::Result<()> {
        self.file.flush()?;
        if durable {
            self.file.get_ref().sync_all()?;
        }
        fs::rename(&self.partial, &self.path)?;
        if durable { File::open(&self.directory)?.sync_all() } else { Ok(()) }
    }

    /// Writes all that a reader holds.
    pub fn copy_from(&mut self, reader: &mut impl Read) -> Result<(), StateError> {
        let copied = io::copy(reader, &mut self.file).map(drop);
        copied.map_err(|cause| StateError::Io { path: self.partial.clone(), cause })
    }

    /// Writes bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let path = &self.partial;
        let failed = |cause| StateError::Io { path: path.clone(), cause };
        self.file.write_all(bytes).map_err(failed)
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        if !self.committed {
            drop(fs::remove_file(&self.partial));
        }
    }
}

/// A file that is read in several places at once.
#[derive(Clone, Debug)]
pub struct Sections(Arc<File>);

impl Sections {
    /// Bytes in the file; `None` where the system does not tell.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.0.metadata().ok().map(|found| found.len())
    }

    /// Reads from an offset on, through a small buffer of its own.
    #[must_use]
    pub fn from(&self, offset: u64) -> impl Read + Send + use<> {
        BufReader::with_capacity(1 << 14, Section { file: Arc::clone(&self.0), at: offset })
    }
}

struct Section {
    file: Arc<File>,
    at: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A file that grows while it is there. It is never synced: a crash may cut or tear its end.
#[derive(Debug)]
pub struct StateLog {
    path: PathBuf,
    file: File,
}

impl StateLog {
    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let appended = self.file.write_all(bytes);
        appended.map_err(|cause| StateError::Io { path: self.path.clone(), cause })
    }
}

/// A nameless file: written once, then read from its start any number of times.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Spool {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let path = &self.path;
        let failed = |cause| StateError::Io { path: path.clone(), cause };
        self.file.write_all(bytes).map_err(failed)
    }

    /// Reads from the start.
    pub fn reader(&mut self) -> Result<impl Read + use<>, StateError> {
        let failed = |cause| StateError::Io { path: self.path.clone(), cause };
        self.file.flush().map_err(failed)?;
        let mut file = self.file.get_ref().try_clone().map_err(failed)?;
        io::Seek::rewind(&mut file).map_err(failed)?;
        Ok(BufReader::with_capacity(1 << 18, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&directory.path().join("a/b")).unwrap();
        let mut file = state.create("x", 1).unwrap();
        file.write(b"half").unwrap();
        assert!(state.read("x").unwrap().is_none());
        drop(file);
        assert_eq!(fs::read_dir(directory.path().join("a/b")).unwrap().count(), 0);
        let mut file = state.create("x", 1).unwrap();
        file.write(b"whole").unwrap();
        file.commit(true).unwrap();
        let mut text = String::new();
        state.read("x").unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "whole");
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            StateDirectory::open(directory.path()),
            Err(StateError::NotPrivate { .. })
        ));
    }

    #[test]
    fn a_place_is_found_through_links_and_before_it_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        for (path, within, lies) in [
            ("real/state/xfer", "real", true),
            ("real/state/xfer", "link", true),
            ("link/state/xfer", "real", true),
            ("link/state/xfer", "real/state/xfer", true),
            ("real/state/xfer", "real/state/xfe", false),
            ("real/state/xfer", "real/state/xfer/below", false),
            ("missing/state", "missing", true),
            ("missing/state", "real", false),
        ] {
            let found = StateDirectory::lies_in(&at(path), &at(within));
            assert_eq!(found, lies, "{path} in {within}");
        }
    }

    #[test]
    fn a_spool_is_read_twice() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = StateDirectory::open(directory.path()).unwrap().spool(3).unwrap();
        spool.write(b"abc").unwrap();
        for _ in 0..2 {
            let mut text = String::new();
            spool.reader().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "abc");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
