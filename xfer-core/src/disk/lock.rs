//! Locks of directories and partials: advisory, and gone with the process that held them.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Whom a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Those who want it exclusively.
    Shared,
    /// Everybody.
    Exclusive,
}

/// How often a held lock is tried again. A process that was killed may take this long to go.
const ATTEMPTS: u32 = 14;

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Locks a file or directory, or raises a shared lock on it.
///
/// # Errors
/// `WOULDBLOCK` when another holds it for longer than a dying process would, about 0.7 s.
pub fn lock(file: impl AsFd, mode: LockMode) -> Result<(), Errno> {
    for _ in 1..ATTEMPTS {
        match try_lock(&file, mode) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    try_lock(file, mode)
}

/// The same without waiting.
pub fn try_lock(file: impl AsFd, mode: LockMode) -> Result<(), Errno> {
    let operation = match mode {
        LockMode::Shared => FlockOperation::NonBlockingLockShared,
        LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation)) {
        // File systems without locks: two transfers into one entry are then not told apart.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_excludes_and_shared_shares() {
        let directory = tempfile::tempdir().unwrap();
        let open = || std::fs::File::open(directory.path()).unwrap();
        let (first, second) = (open(), open());
        lock(&first, LockMode::Shared).unwrap();
        lock(&second, LockMode::Shared).unwrap();
        assert_eq!(try_lock(&second, LockMode::Exclusive), Err(Errno::WOULDBLOCK));
        drop(first);
        lock(&second, LockMode::Exclusive).unwrap();
        assert_eq!(try_lock(open(), LockMode::Shared), Err(Errno::WOULDBLOCK));
    }

    #[test]
    fn a_lock_that_goes_soon_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let first = std::fs::File::open(directory.path()).unwrap();
        lock(&first, LockMode::Exclusive).unwrap();
        let second = std::fs::File::open(directory.path()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(&second, LockMode::Exclusive));
            drop(first);
            waiting.join().unwrap().unwrap();
        });
    }
}
