//! Directories that are known by a name, and nothing else of the machine.
//!
//! A path is `/NAME/rest`. The directory behind a name is one that the owner of this process named,
//! links and all; below it no link is followed and nothing leads out. What a name stands for is
//! told to nobody.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;
use xfer_protocol::path::RelPath;

use super::base::MadeDirectory;
use super::confine::{self, Confinement};
use super::stat;

/// Names and what they stand for.
#[derive(Clone, Debug, Default)]
pub struct NamedRoots(Vec<NamedRoot>);

/// One of them.
#[derive(Clone, Debug)]
pub struct NamedRoot {
    name: String,
    directory: Vec<u8>,
}

/// Why nothing can be served under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamedRootError {
    /// The name holds what a path, a token file or a person could take for something else.
    #[error(
        "a name has 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
    )]
    BadName,
    /// Two have one name.
    #[error("two roots have one name")]
    SameName,
    /// The directory cannot be opened.
    #[error("{}", std::io::Error::from(*.0))]
    Closed(Errno),
}

/// Bytes of a name at most.
const NAME_BYTES_MAX: usize = 64;

/// Whether text can be the name of a root.
#[must_use]
pub fn is_root_name(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

impl NamedRoots {
    /// Adds a root whose directory can be opened now.
    ///
    /// # Errors
    /// When the name is none or taken, or the directory is not there.
    pub fn add(&mut self, name: &str, directory: Vec<u8>) -> Result<(), NamedRootError> {
        if !is_root_name(name) {
            return Err(NamedRootError::BadName);
        }
        if self.names().any(|known| known == name) {
            return Err(NamedRootError::SameName);
        }
        let opened = confine::open_root(&directory).map_err(NamedRootError::Closed)?;
        // Held by its whole path: a working directory may go.
        let directory = super::base::absolute_path(&opened, &directory);
        self.0.push(NamedRoot { name: name.to_owned(), directory });
        Ok(())
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|root| root.name.as_str())
    }

    /// Those that are wanted; the others are not there.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|root| is_wanted(&root.name)).cloned().collect())
    }

    /// What stands at a path; `None` if nothing does. A link is looked at, and where a `/` behind
    /// it asks for what it leads to, refused.
    ///
    /// # Errors
    /// `LOOP` and `XDEV` where the path leads through a link or upwards.
    pub fn look(&self, path: &[u8]) -> Result<Option<Stat>, Errno> {
        let found = self.find(path).and_then(|(root, below)| {
            let root = root.open()?;
            let (Some(parent), Some(name)) = (below.parent(), below.name()) else {
                return rustix::fs::fstat(&root);
            };
            let parent = confine::open_directory(root.as_fd(), &parent, Confinement::Kernel)?;
            rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
        });
        match found {
            Ok(found) if path.ends_with(b"/") => match stat::file_type(&found) {
                FileType::Symlink => Err(Errno::LOOP),
                FileType::Directory => Ok(Some(found)),
                _ => Ok(None),
            },
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Opens a directory as a place.
    ///
    /// # Errors
    /// As [`Self::look`], and `NOENT` where there is none.
    pub fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let (root, below) = self.find(path)?;
        confine::open_directory(root.open()?.as_fd(), &below, Confinement::Kernel)
    }

    /// Opens a directory for listing it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_listing(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        confine::open_for_reading(self.open(path)?.as_fd())
    }

    /// Opens a directory, and makes it with its parents below its root where it is missing.
    ///
    /// # Errors
    /// As [`Self::open`]; the root itself is never made.
    pub fn open_or_make(&self, path: &[u8]) -> Result<MadeDirectory, Errno> {
        let (root, below) = self.find(path)?;
        MadeDirectory::below(root.open()?, below.components(), |place, name| {
            let name = RelPath::new(name).map_err(|_| Errno::NAMETOOLONG)?;
            confine::open_directory(place.as_fd(), &name, Confinement::Kernel)
        })
    }

    /// How a path is told to others: below its name, without what means nothing.
    #[must_use]
    pub fn told(&self, path: &[u8]) -> Vec<u8> {
        match self.find(path) {
            Ok((root, below)) if below.is_root() => [b"/", root.name.as_bytes()].concat(),
            Ok((root, below)) => [b"/", root.name.as_bytes(), b"/", below.as_bytes()].concat(),
            Err(_) => path.to_vec(),
        }
    }

    /// The machine as a root's paths are told: another one for each directory that has a name, so
    /// that no path below a name is taken for the machine's own path of the same letters.
    #[must_use]
    pub fn machine(&self, path: &[u8], machine: [u8; 16]) -> [u8; 16] {
        let directory = self.find(path).map(|(root, _)| &root.directory[..]).unwrap_or_default();
        let mut told = [0; 16];
        for (half, whole) in told.chunks_mut(8).zip(machine.chunks(8)) {
            let mut hasher = blake3::Hasher::new();
            hasher.update(b"xfer named root").update(whole).update(directory);
            hasher.finalize_xof().fill(half);
        }
        told
    }

    fn find(&self, path: &[u8]) -> Result<(&NamedRoot, RelPath), Errno> {
        let mut names = path.split(|&b| b == b'/').filter(|name| !matches!(*name, b"" | b"."));
        let name = names.next().ok_or(Errno::NOENT)?;
        let below: Vec<&[u8]> = names.collect();
        if name == b".." || below.contains(&&b".."[..]) {
            return Err(Errno::XDEV);
        }
        let root = self.0.iter().find(|root| root.name.as_bytes() == name).ok_or(Errno::NOENT)?;
        let below = RelPath::new(below.join(&b'/')).map_err(|_| Errno::NAMETOOLONG)?;
        Ok((root, below))
    }
}

impl NamedRoot {
    fn open(&self) -> Result<OwnedFd, Errno> {
        confine::open_root(&self.directory)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn lab() -> (tempfile::TempDir, NamedRoots) {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for made in ["data/sub", "outside/deep"] {
            std::fs::create_dir_all(at(made)).unwrap();
        }
        std::fs::write(at("data/file"), "x").unwrap();
        std::fs::write(at("outside/secret"), "x").unwrap();
        symlink("../outside", at("data/out")).unwrap();
        symlink("sub", at("data/in")).unwrap();
        let mut roots = NamedRoots::default();
        roots.add("data", at("data").into_os_string().into_encoded_bytes()).unwrap();
        (directory, roots)
    }

    #[test]
    fn nothing_but_what_lies_below_a_name_is_there() {
        let (directory, roots) = lab();
        let is_there = |path: &str| roots.look(path.as_bytes()).map(|found| found.is_some());
        for path in ["/data", "data", "//data/./sub//", "/data/file", "/data/out", "/data/in"] {
            assert_eq!(is_there(path), Ok(true), "{path}");
        }
        let whole = directory.path().join("outside").to_str().unwrap().to_owned();
        for path in ["", "/", ".", "/outside", "/etc/passwd", &whole, "/data/none", "/data/file/"] {
            assert_eq!(is_there(path), Ok(false), "{path}");
            assert!(roots.open_or_make(path.as_bytes()).is_err() || path == "/data/none", "{path}");
        }
        for (path, errno) in [
            ("/data/..", Errno::XDEV),
            ("/../data", Errno::XDEV),
            ("/data/sub/../../outside", Errno::XDEV),
            ("/data/out/secret", Errno::LOOP),
            ("/data/out/", Errno::LOOP),
            ("/data/in/", Errno::LOOP),
        ] {
            assert_eq!(is_there(path), Err(errno), "{path}");
            assert_eq!(roots.open(path.as_bytes()).map(drop), Err(errno), "{path}");
            assert_eq!(roots.open_or_make(path.as_bytes()).map(drop), Err(errno), "{path}");
        }
        assert_eq!(roots.open_or_make(b"/data/out/new").map(drop), Err(Errno::LOOP));
        assert!(!directory.path().join("outside/new").exists());
        roots.open_or_make(b"/data/a/b").unwrap();
        assert!(directory.path().join("data/a/b").is_dir());
    }

    #[test]
    fn a_name_stands_for_itself() {
        let (directory, mut roots) = lab();
        assert_eq!(roots.told(b"data//sub/"), b"/data/sub");
        assert_eq!(roots.told(b"/data/"), b"/data");
        let again = directory.path().as_os_str().as_encoded_bytes().to_vec();
        assert_eq!(roots.add("data", again.clone()), Err(NamedRootError::SameName));
        for name in ["", ".", "..", "-x", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(roots.add(name, again.clone()), Err(NamedRootError::BadName), "{name}");
        }
        roots.add("all", again).unwrap();
        assert_ne!(roots.machine(b"/all", [1; 16]), roots.machine(b"/data", [1; 16]));
        assert_eq!(roots.machine(b"/data/sub", [1; 16]), roots.machine(b"/data", [1; 16]));
        assert_eq!(roots.only(|name| name == "all").look(b"/data").map(drop), Ok(()));
        assert!(roots.only(|name| name == "all").open(b"/data").is_err());
    }
}
