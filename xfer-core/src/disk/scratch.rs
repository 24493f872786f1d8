//! A directory of our own, for a rehearsal: made empty, filled with a small tree, then removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The directory; removed when dropped, unless it is kept.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    kept: bool,
}

impl Scratch {
    /// Makes a new directory with a name of its own below the system's directory for such.
    ///
    /// # Errors
    /// What the system says.
    pub fn unnamed(unique: u64) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("xfer-rehearsal-{unique:016x}"));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path: path.canonicalize()?, kept: false })
    }

    /// Uses a directory that the user names: it must be empty, or missing, and is kept.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` where something is in it, else what the system says.
    pub fn named(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if fs::read_dir(path)?.next().is_some() {
            return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty));
        }
        Ok(Self { path: path.canonicalize()?, kept: true })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A place in it.
    #[must_use]
    pub fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes all that was made.
    ///
    /// # Errors
    /// What the system says.
    pub fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes a directory and its parents.
    ///
    /// # Errors
    /// What the system says.
    pub fn directory(&self, name: &str) -> io::Result<()> {
        fs::create_dir_all(self.place(name))
    }

    /// Writes a new file.
    ///
    /// # Errors
    /// What the system says.
    pub fn file(&self, name: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?.write_all(bytes)
    }

    /// Makes a file with one run of data between two holes.
    ///
    /// # Errors
    /// What the system says.
    pub fn sparse_file(&self, name: &str, size: u64, at: u64, bytes: &[u8]) -> io::Result<()> {
        let file = File::create_new(self.place(name))?;
        file.set_len(size)?;
        file.write_all_at(bytes, at)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// What the system says.
    pub fn link(&self, content: &str, name: &str) -> io::Result<()> {
        std::os::unix::fs::symlink(content, self.place(name))
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    /// What the system says.
    pub fn hard_link(&self, name: &str, further: &str) -> io::Result<()> {
        fs::hard_link(self.place(name), self.place(further))
    }

    /// Changes one byte of a file in place.
    ///
    /// # Errors
    /// What the system says.
    pub fn change_byte(&self, name: &str, at: u64) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(self.place(name))?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ 1], at)
    }

    /// Opens a file to write behind its end, and writes nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).open(self.place(name))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.place(name))
    }

    /// Whether what is kept here is lost with the machine's memory.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_volatile(&self) -> io::Result<bool> {
        Ok(super::space::free(File::open(&self.path)?.as_fd(), 0)?.volatile)
    }

    /// Whether nothing of xfer is left directly in a directory of it or below.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_clean(&self, name: &str) -> io::Result<bool> {
        let mut directories = vec![self.place(name)];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if super::is_partial_name(entry.file_name().as_encoded_bytes()) {
                    return Ok(false);
                }
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                }
            }
        }
        Ok(true)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed stays in the system's directory for such; nothing can be done.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
