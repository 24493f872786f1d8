//! Opening directories beneath a held one, so that no name and no symbolic link leads elsewhere.
//!
//! Every entry is reached as one name in a directory that was opened here; a path never reaches a
//! call that follows links. A directory stays open while it is used: what others do to the names
//! above it meanwhile cannot move our work to another place, and a directory that they rename is
//! still the one that was opened beneath the root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use xfer_protocol::path::RelPath;

use super::stat;

/// How directories beneath a root are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confinement {
    /// By `openat2`, and by a walk where the system refuses that call, as in some containers.
    #[default]
    Kernel,
    /// By opening one component after the other.
    Walk,
}

/// Opens a directory only as a place: it is neither read nor written through the descriptor.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub const HANDLE: OFlags = OFlags::PATH;
/// Opens a directory for want of a flag that does less.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub const HANDLE: OFlags = OFlags::RDONLY;

const PLACE: OFlags = HANDLE.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Flags for every leaf: no link is followed, and no FIFO or terminal holds us up.
pub const LEAF: OFlags =
    OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens a directory that a person named, links followed. Only for roots.
pub fn open_root(path: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, PLACE, Mode::empty())
}

/// Opens the directory `path` beneath `root`.
///
/// # Errors
/// `LOOP` where a component is a symbolic link, `NOTDIR` where it is another thing that is no
/// directory.
pub fn open_directory(
    root: BorrowedFd<'_>,
    path: &RelPath,
    confinement: Confinement,
) -> Result<OwnedFd, Errno> {
    if path.is_root() {
        return rustix::io::fcntl_dupfd_cloexec(root, 0);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if confinement == Confinement::Kernel
        && let Some(opened) = kernel::open_directory(root, path)
    {
        return opened;
    }
    let _ = confinement;
    walk(root, path)
}

/// Opens a directory for listing, locking or syncing it.
pub fn open_for_reading(place: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(place, ".", flags, Mode::empty())
}

fn walk(root: BorrowedFd<'_>, path: &RelPath) -> Result<OwnedFd, Errno> {
    let mut place: Option<OwnedFd> = None;
    for name in path.components() {
        let parent = place.as_ref().map_or(root, AsFd::as_fd);
        let next = rustix::fs::openat(parent, name, PLACE | OFlags::NOFOLLOW, Mode::empty());
        place = Some(match next {
            Err(Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => return Err(no_place(parent, name)),
            other => other?,
        });
    }
    place.ok_or(Errno::NOENT)
}

/// Tells a link from other things that are no directory, as `openat2` does.
fn no_place(parent: BorrowedFd<'_>, name: &[u8]) -> Errno {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if stat::file_type(&found) == FileType::Symlink => Errno::LOOP,
        _ => Errno::NOTDIR,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{ResolveFlags, openat2};

    use super::*;

    /// Set once the system refused `openat2`, so that it is not asked again.
    static REFUSED: AtomicBool = AtomicBool::new(false);

    /// How often a lookup that raced with a rename is tried again.
    const ATTEMPTS: usize = 4;

    /// Bytes in one path that the system takes, without the NUL.
    const PIECE_BYTES_MAX: usize = 4095;

    /// `None` where the system has no `openat2` for us, or renames never let it finish.
    pub(super) fn open_directory(
        root: BorrowedFd<'_>,
        path: &RelPath,
    ) -> Option<Result<OwnedFd, Errno>> {
        if REFUSED.load(Ordering::Relaxed) {
            return None;
        }
        let mut place: Option<OwnedFd> = None;
        let mut rest = path.as_bytes();
        while !rest.is_empty() {
            let (piece, behind) = split(rest);
            let parent = place.as_ref().map_or(root, AsFd::as_fd);
            match open_piece(parent, piece)? {
                Ok(next) => place = Some(next),
                Err(errno) => return Some(Err(errno)),
            }
            rest = behind;
        }
        place.map(Ok)
    }

    fn open_piece(parent: BorrowedFd<'_>, piece: &[u8]) -> Option<Result<OwnedFd, Errno>> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            match openat2(parent, piece, PLACE, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS | Errno::PERM) => {
                    REFUSED.store(true, Ordering::Relaxed);
                    return None;
                }
                other => return Some(other),
            }
        }
        None
    }

    /// The longest run of whole components that the system takes, and what is behind it.
    fn split(path: &[u8]) -> (&[u8], &[u8]) {
        if path.len() <= PIECE_BYTES_MAX {
            return (path, &[]);
        }
        let end = path[..=PIECE_BYTES_MAX].iter().rposition(|&b| b == b'/');
        // A component is far shorter than a piece, so there always is a separator.
        end.map_or((path, &[]), |end| (&path[..end], &path[end + 1..]))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn long_paths_split_at_components() {
            let path = [b"0123456789".as_slice(); 1000].join(&b'/');
            let mut rest = path.as_slice();
            let mut pieces = Vec::new();
            while !rest.is_empty() {
                let (piece, behind) = split(rest);
                assert!(piece.len() <= PIECE_BYTES_MAX);
                pieces.push(piece);
                rest = behind;
            }
            assert_eq!(pieces.len(), 3);
            assert_eq!(pieces.join(&b'/'), path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Confinement; 2] = [Confinement::Kernel, Confinement::Walk];

    fn path(bytes: impl Into<Vec<u8>>) -> RelPath {
        RelPath::new(bytes).unwrap()
    }

    fn place_of(directory: &std::path::Path) -> OwnedFd {
        use std::os::unix::ffi::OsStrExt;
        open_root(directory.as_os_str().as_bytes()).unwrap()
    }

    #[test]
    fn plain_directories_open_and_links_do_not() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("secret")).unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(inside.path().join("a/b")).unwrap();
        std::fs::write(inside.path().join("a/file"), b"").unwrap();
        let link = |content: &std::path::Path, name: &str| {
            std::os::unix::fs::symlink(content, inside.path().join(name)).unwrap();
        };
        link(outside.path(), "absolute");
        link(std::path::Path::new("../.."), "a/up");
        link(std::path::Path::new("b"), "a/within");
        link(std::path::Path::new("loop"), "loop");
        let root = place_of(inside.path());
        for confinement in BOTH {
            let open = |p: &str| open_directory(root.as_fd(), &path(p), confinement);
            let identity = |fd: &OwnedFd| stat::identity(&rustix::fs::fstat(fd).unwrap());
            assert_eq!(identity(&open("").unwrap()), identity(&root));
            let b = std::fs::File::open(inside.path().join("a/b")).unwrap();
            assert_eq!(identity(&open("a/b").unwrap()), identity(&b.into()));
            for p in ["absolute", "absolute/secret", "a/up", "a/up/tmp", "a/within", "loop"] {
                assert_eq!(open(p).unwrap_err(), Errno::LOOP, "{p} by {confinement:?}");
            }
            for p in ["a/file", "a/file/x"] {
                assert_eq!(open(p).unwrap_err(), Errno::NOTDIR, "{p} by {confinement:?}");
            }
            assert_eq!(open("a/none").unwrap_err(), Errno::NOENT);
        }
    }

    #[test]
    fn deep_and_long_paths_open() {
        let directory = tempfile::tempdir().unwrap();
        let root = place_of(directory.path());
        let name = vec![b'n'; 50];
        let mut deep = RelPath::root();
        let mut place = place_of(directory.path());
        for _ in 0..400 {
            rustix::fs::mkdirat(&place, name.as_slice(), Mode::RWXU).unwrap();
            place = open_directory(place.as_fd(), &path(name.clone()), Confinement::Walk).unwrap();
            deep = deep.child(&name).unwrap();
        }
        assert!(deep.as_bytes().len() > 20_000);
        let deepest = stat::identity(&rustix::fs::fstat(&place).unwrap());
        for confinement in BOTH {
            let opened = open_directory(root.as_fd(), &deep, confinement).unwrap();
            assert_eq!(stat::identity(&rustix::fs::fstat(&opened).unwrap()), deepest);
        }
    }

    #[test]
    fn a_parent_swapped_for_a_link_never_leads_outside() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("b")).unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(inside.path().join("real/b")).unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).unwrap();
        let root = place_of(inside.path());
        let wanted = std::fs::File::open(inside.path().join("real/b")).unwrap();
        let wanted = stat::identity(&rustix::fs::fstat(&wanted).unwrap());
        let flips = 2000;
        std::thread::scope(|scope| {
            let flipper = scope.spawn(|| {
                for i in 0..flips {
                    let name = if i % 2 == 0 { "real" } else { "link" };
                    let _ = rustix::fs::renameat(&root, name, &root, "a");
                    let _ = rustix::fs::renameat(&root, "a", &root, name);
                }
            });
            let (mut opened, mut refused) = (0, 0);
            while !flipper.is_finished() {
                for confinement in BOTH {
                    match open_directory(root.as_fd(), &path("a/b"), confinement) {
                        Ok(fd) => {
                            let found = stat::identity(&rustix::fs::fstat(&fd).unwrap());
                            assert_eq!(found, wanted);
                            opened += 1;
                        }
                        Err(_) => refused += 1,
                    }
                }
            }
            assert!(opened + refused > 0);
        });
    }
}
