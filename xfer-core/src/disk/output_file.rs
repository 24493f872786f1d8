//! A file that the user names for a result: a regular one is replaced only whole, all else is
//! written to, for a device, a FIFO or a link is no file of ours.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::named::{open_output, open_private_output};
use super::state::{StateDirectory, StateError, StateFile};

/// The file, begun.
#[derive(Debug)]
pub struct OutputFile(Kind);

#[derive(Debug)]
enum Kind {
    Replaced(StateFile),
    InPlace { path: PathBuf, file: BufWriter<File> },
}

impl OutputFile {
    /// Begins it: what is written appears by [`Self::commit`], or at once where something other
    /// than a regular file stands there.
    pub fn create(path: &Path, unique: u64) -> Result<Self, StateError> {
        Self::begin(path, unique, |path| open_output(path, false))
    }

    /// The same for what is nobody else's; other permissions of what is there already stay.
    pub fn create_private(path: &Path, unique: u64) -> Result<Self, StateError> {
        Self::begin(path, unique, open_private_output)
    }

    fn begin(
        path: &Path,
        unique: u64,
        open: impl FnOnce(&Path) -> Result<OwnedFd, Errno>,
    ) -> Result<Self, StateError> {
        if !is_special(path) {
            let (directory, name) = StateDirectory::holding(path)?;
            return directory.create(&name, unique).map(Self::from);
        }
        let file = open(path).map_err(|errno| failed(path, errno.into()))?;
        let file = BufWriter::with_capacity(1 << 18, File::from(file));
        Ok(Self(Kind::InPlace { path: path.to_owned(), file }))
    }

    /// Makes sure that there will be a place for it; leaves nothing behind. A FIFO is not opened:
    /// who reads it would take that for its end.
    pub fn check(path: &Path, unique: u64) -> Result<(), StateError> {
        if path.is_dir() {
            return Err(failed(path, io::ErrorKind::IsADirectory.into()));
        }
        if is_special(path) {
            let access = rustix::fs::Access::WRITE_OK;
            return match rustix::fs::access(path, access) {
                // A link to what is yet to be made.
                Err(Errno::NOENT) => Ok(()),
                checked => checked.map_err(|errno| failed(path, errno.into())),
            };
        }
        let (directory, name) = StateDirectory::holding(path)?;
        directory.create(&name, unique).map(drop).map_err(|error| match error {
            StateError::Io { cause, .. } => failed(path, cause),
            other => other,
        })
    }

    /// Writes bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        match &mut self.0 {
            Kind::Replaced(file) => file.write(bytes),
            Kind::InPlace { path, file } => file.write_all(bytes).map_err(|e| failed(path, e)),
        }
    }

    /// Writes all that a reader holds.
    pub fn copy_from(&mut self, reader: &mut impl Read) -> Result<(), StateError> {
        match &mut self.0 {
            Kind::Replaced(file) => file.copy_from(reader),
            Kind::InPlace { path, file } => {
                io::copy(reader, file).map(drop).map_err(|e| failed(path, e))
            }
        }
    }

    /// Ends it; a durable one is synced, where there is something to sync.
    pub fn commit(self, durable: bool) -> Result<PathBuf, StateError> {
        match self.0 {
            Kind::Replaced(file) => file.commit(durable),
            Kind::InPlace { path, mut file } => {
                file.flush().map_err(|e| failed(&path, e))?;
                let is_file = file.get_ref().metadata().is_ok_and(|found| found.is_file());
                if durable && is_file {
                    file.get_ref().sync_all().map_err(|e| failed(&path, e))?;
                }
                Ok(path)
            }
        }
    }
}

impl From<StateFile> for OutputFile {
    fn from(file: StateFile) -> Self {
        Self(Kind::Replaced(file))
    }
}

/// Whether something that is no regular file has that name.
fn is_special(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn failed(path: &Path, cause: io::Error) -> StateError {
    StateError::Io { path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn written(path: &Path) -> Result<PathBuf, StateError> {
        OutputFile::check(path, 1)?;
        let mut file = OutputFile::create(path, 1)?;
        file.write(b"head\n")?;
        file.copy_from(&mut &b"rest\n"[..])?;
        file.commit(true)
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("plain"), "longer than what comes").unwrap();
        symlink("target", at("link")).unwrap();
        for (name, holds) in [("new", "new"), ("plain", "plain"), ("link", "target")] {
            assert_eq!(written(&at(name)).unwrap(), at(name));
            assert_eq!(fs::read(at(holds)).unwrap(), b"head\nrest\n", "{name}");
        }
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        for name in ["/dev/null", "/dev/full"] {
            assert_eq!(written(Path::new(name)).is_ok(), name == "/dev/null", "{name}");
            assert!(is_special(Path::new(name)), "{name} was replaced");
        }
        assert!(written(directory.path()).is_err());
    }

    #[test]
    fn a_fifo_takes_what_its_reader_reads() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        assert!(written(&fifo).is_err(), "nobody reads");
        let reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        written(&fifo).unwrap();
        let mut text = [0; 10];
        (&reader).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"head\nrest\n");
    }
}
