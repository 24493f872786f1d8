//! Lines in the user's own `~/.ssh/authorized_keys` that let another machine in for one transfer.
//!
//! The file is replaced whole, under a lock of its directory, and what stood in it stays as it was,
//! byte for byte. A line of ours ends with a mark that names its session and says what has to go
//! with it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::lock::{LockMode, lock};

const DIRECTORY: &str = ".ssh";
const FILE: &str = "authorized_keys";

/// What a file begins to be called that is about to take its place.
const BESIDE: &str = ".authorized_keys.xfer-";

/// What the mark of a line of ours begins with.
const MARK: &str = "xfer-passage-";

/// How often is tried what others came in between of.
const ATTEMPTS: u32 = 4;

/// Bytes of such a file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a line of ours brought along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brought {
    Nothing,
    /// The end of the line before it, which had none.
    LineEnd,
    /// The file itself.
    File,
}

impl Brought {
    fn letter(self) -> char {
        match self {
            Self::Nothing => 'o',
            Self::LineEnd => 'l',
            Self::File => 'f',
        }
    }
}

/// The file below a home directory, while nobody else of ours changes it.
struct Held {
    directory: PathBuf,
    _lock: File,
    /// Nothing where there is no file.
    found: Option<(Vec<u8>, u32)>,
    /// What the file was when it was read, and its group.
    stamp: Option<Stamp>,
}

/// What tells that somebody changed the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    changed: (i64, i64),
    group: u32,
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            group: metadata.gid(),
        }
    }
}

/// Adds a line for a session, without its end and its mark; `unique` is a random number.
///
/// # Errors
/// Where there is no such directory, or what is there is no plain file of this user, or others
/// change it all the time.
pub(crate) fn add(home: &Path, session: &str, line: &str, unique: u64) -> io::Result<()> {
    unless_busy(|| add_once(home, session, line, unique))
}

/// Does it again where somebody else changed the file meanwhile.
fn unless_busy(act: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let is_busy = |done: &io::Result<()>| {
        done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
    };
    let again = (1..ATTEMPTS).map(|_| act()).find(|done| !is_busy(done));
    again.unwrap_or_else(act)
}

fn add_once(home: &Path, session: &str, line: &str, unique: u64) -> io::Result<()> {
    let held = hold(home)?;
    let (mut bytes, mode) = held.found.clone().unwrap_or((Vec::new(), 0o600));
    let brought = match (&held.found, bytes.last()) {
        (None, _) => Brought::File,
        (_, None | Some(b'\n')) => Brought::Nothing,
        _ => Brought::LineEnd,
    };
    if brought == Brought::LineEnd {
        bytes.push(b'\n');
    }
    let ours = format!("{line} {MARK}{session}-{}\n", brought.letter());
    bytes.extend(ours.as_bytes());
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    held.replace(&bytes, mode, unique)
}

/// Removes the lines of sessions that are over; without any, nothing is touched.
///
/// # Errors
/// Where the file cannot be read or replaced.
pub(crate) fn remove(home: &Path, is_over: impl Fn(&str) -> bool, unique: u64) -> io::Result<()> {
    unless_busy(|| remove_once(home, &is_over, unique))
}

fn remove_once(home: &Path, is_over: impl Fn(&str) -> bool, unique: u64) -> io::Result<()> {
    let found = match open(&home.join(DIRECTORY).join(FILE))? {
        None => return Ok(()),
        Some(file) => read(file)?,
    };
    // Most have none, and nobody is to wait for that.
    if !has_mark(&found) {
        return Ok(());
    }
    let held = hold(home)?;
    let Some((bytes, mode)) = &held.found else { return Ok(()) };
    let (rest, brought_file) = without(bytes, is_over);
    if rest == *bytes {
        return Ok(());
    }
    if rest.is_empty() && brought_file {
        held.is_unchanged()?;
        std::fs::remove_file(held.path())?;
        return sync(&held.directory);
    }
    held.replace(&rest, *mode, unique)
}

/// What is left without the lines of those sessions, and whether one of them brought the file.
fn without(bytes: &[u8], is_over: impl Fn(&str) -> bool) -> (Vec<u8>, bool) {
    let (mut rest, mut left) = (Vec::with_capacity(bytes.len()), Brought::Nothing);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match session_of(line) {
            Some((session, brought)) if is_over(session) => {
                left = if brought == Brought::Nothing { left } else { brought };
            }
            // What one line of ours brought goes with the next one.
            Some((_, Brought::Nothing)) if left != Brought::Nothing => {
                let text = line.trim_ascii_end();
                rest.extend(&text[..text.len() - 1]);
                rest.extend([std::mem::replace(&mut left, Brought::Nothing).letter() as u8, b'\n']);
            }
            // Somebody wrote behind our line: what it brought is theirs now.
            _ => {
                rest.extend(line);
                left = Brought::Nothing;
            }
        }
    }
    if left == Brought::LineEnd && rest.last() == Some(&b'\n') {
        rest.pop();
    }
    (rest, left == Brought::File)
}

/// The session of a line of ours.
fn session_of(line: &[u8]) -> Option<(&str, Brought)> {
    let text = std::str::from_utf8(line).ok()?.trim_end_matches('\n');
    let (_, mark) = text.rsplit_once(' ')?;
    let (session, letter) = mark.strip_prefix(MARK)?.rsplit_once('-')?;
    let all = [Brought::Nothing, Brought::LineEnd, Brought::File];
    let brought = all.into_iter().find(|brought| letter == brought.letter().to_string())?;
    Some((session, brought))
}

fn has_mark(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

fn hold(home: &Path) -> io::Result<Held> {
    let directory = home.join(DIRECTORY);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::DIRECTORY | OFlags::NOFOLLOW))
        .open(&directory)?;
    lock(&opened, LockMode::Exclusive)?;
    remove_left(&directory);
    let (mut found, mut stamp) = (None, None);
    if let Some(file) = open(&directory.join(FILE))? {
        let metadata = file.metadata()?;
        let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
        // A second name would go on with the old content.
        if !is_ours || metadata.nlink() > 1 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stamp = Some(Stamp::of(&metadata));
        found = Some((read(file)?, metadata.mode() & 0o7777));
    }
    Ok(Held { directory, _lock: opened, found, stamp })
}

/// Opens the file; nothing where there is none.
fn open(path: &Path) -> io::Result<Option<File>> {
    let plain = flags(OFlags::NOFOLLOW | OFlags::NONBLOCK);
    match OpenOptions::new().read(true).custom_flags(plain).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(file) if !file.metadata()?.is_file() => Err(io::ErrorKind::PermissionDenied.into()),
        opened => opened.map(Some),
    }
}

/// Removes what one that was killed had begun to write; whoever holds the lock is alone.
fn remove_left(directory: &Path) {
    let Ok(names) = std::fs::read_dir(directory) else { return };
    for entry in names.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(BESIDE.as_bytes()) {
            // Nobody reads it, so it may as well stay.
            let _removed = std::fs::remove_file(entry.path());
        }
    }
}

fn read(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let is_too_long = count as u64 > FILE_BYTES_MAX;
    if is_too_long { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

impl Held {
    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    fn keep_group(&self, file: &File) -> io::Result<()> {
        match self.stamp {
            Some(stamp) if file.metadata()?.gid() != stamp.group => {
                std::os::unix::fs::fchown(file, None, Some(stamp.group))
            }
            _ => Ok(()),
        }
    }

    /// Fails where somebody else changed the file meanwhile: what they wrote is not to be undone.
    fn is_unchanged(&self) -> io::Result<()> {
        let now = match std::fs::symlink_metadata(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(Stamp::of(&found?)),
        };
        if now == self.stamp { Ok(()) } else { Err(io::ErrorKind::ResourceBusy.into()) }
    }

    fn replace(&self, bytes: &[u8], mode: u32, unique: u64) -> io::Result<()> {
        let beside = self.directory.join(format!("{BESIDE}{unique:016x}"));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| self.keep_group(&file))
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(mode)))
            .and_then(|()| file.sync_all())
            .and_then(|()| self.is_unchanged())
            .and_then(|()| std::fs::rename(&beside, self.path()));
        if written.is_err() {
            // Nobody reads it under that name.
            let _removed = std::fs::remove_file(&beside);
        }
        written.and_then(|()| sync(&self.directory))
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the test writes the file itself")]
    use super::*;

    fn home(content: Option<&[u8]>) -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(DIRECTORY)).unwrap();
        let path = home.path().join(DIRECTORY).join(FILE);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        (home, path)
    }

    #[test]
    fn what_stood_there_is_there_again_byte_for_byte() {
        let contents: [Option<&[u8]>; 5] =
            [None, Some(b""), Some(b"ssh-rsa A b\n"), Some(b"ssh-rsa A b"), Some(b"\xff#\n\n x")];
        for before in contents {
            let (home, path) = home(before);
            add(home.path(), "aa", "restrict ssh-ed25519 K", 1).unwrap();
            add(home.path(), "bb", "restrict ssh-ed25519 L", 2).unwrap();
            let with = std::fs::read(&path).unwrap();
            assert!(with.starts_with(before.unwrap_or_default()));
            let lines = with.split(|b| *b == b'\n');
            assert_eq!(lines.filter(|line| line.starts_with(b"restrict ")).count(), 2);
            remove(home.path(), |session| session == "zz", 3).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), with);
            for order in [["bb", "aa"], ["aa", "bb"]] {
                std::fs::write(&path, &with).unwrap();
                for over in order {
                    remove(home.path(), |session| session == over, 4).unwrap();
                }
                assert_eq!(std::fs::read(&path).ok().as_deref(), before, "{order:?}");
            }
            if before.is_some() {
                assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
            }
            let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
            assert_eq!(left, usize::from(before.is_some()));
        }
    }

    #[test]
    fn what_others_wrote_behind_our_line_stays_a_line() {
        let (home, path) = home(Some(b"ssh-rsa A"));
        add(home.path(), "aa", "restrict ssh-ed25519 K", 1).unwrap();
        let mut with = std::fs::read(&path).unwrap();
        with.extend(b"ssh-rsa B\n");
        std::fs::write(&path, with).unwrap();
        remove(home.path(), |_| true, 2).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"ssh-rsa A\nssh-rsa B\n");
    }

    #[test]
    fn nothing_but_a_plain_file_is_replaced() {
        let (home, path) = home(None);
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        add(home.path(), "aa", "restrict ssh-ed25519 K", 1).unwrap_err();
        assert!(std::fs::symlink_metadata(&path).unwrap().is_symlink());
        let (bare, _) = (tempfile::tempdir().unwrap(), ());
        add(bare.path(), "aa", "restrict ssh-ed25519 K", 1).unwrap_err();
        remove(bare.path(), |_| true, 1).unwrap();
    }
}
