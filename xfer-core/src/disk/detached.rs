//! Processes of this program that go on by themselves, and how others find and end them.
//!
//! Who is detached holds a lock for as long as it lives: its standard output, a file, is locked
//! before it starts. So nobody has to ask the system whether a number is still that process.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

#[cfg(target_os = "linux")]
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::lock::{LockMode, try_lock};

/// Starts this program with other words in a session of its own: no terminal, nothing to read,
/// its output in two files. Returns its number.
///
/// # Errors
/// What the system says of starting it; `WOULDBLOCK` where another holds the file of its output.
pub fn start(words: &[OsString], output: File, log: File) -> io::Result<u32> {
    try_lock(&output, LockMode::Exclusive)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).stdin(Stdio::null()).stdout(output).stderr(log);
    let leave = || rustix::process::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: what runs before the program is one call of the system, and allocates nothing.
    #[expect(unsafe_code, reason = "the system has no other interface")]
    let command = unsafe { command.pre_exec(leave) };
    Ok(command.spawn()?.id())
}

/// Whether the process lives whose output is this file.
///
/// # Errors
/// What the system says of locks.
pub fn is_alive(output: &File) -> io::Result<bool> {
    match try_lock(output, LockMode::Shared) {
        Ok(()) => {
            rustix::fs::flock(output, rustix::fs::FlockOperation::Unlock)?;
            Ok(false)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Asks a process to stop, if it is still the one whose output is this file; whether it was.
///
/// # Errors
/// What the system says: of another user's process `PERM`.
#[cfg(target_os = "linux")]
pub fn stop(number: u32, output: &File) -> io::Result<bool> {
    let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { return Ok(false) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        other => other?,
    };
    // Its number was told after it took the lock. So whoever has both the lock and had the number
    // a moment ago is the one that was opened.
    if !is_alive(output)? {
        return Ok(false);
    }
    match pidfd_send_signal(&process, Signal::TERM) {
        Err(rustix::io::Errno::SRCH) => Ok(false),
        sent => Ok(sent.map(|()| true)?),
    }
}

/// The same where no system call holds a process while it is looked at.
///
/// # Errors
/// Always `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub fn stop(_number: u32, _output: &File) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_whether_its_process_lives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output");
        let held = File::create(&path).unwrap();
        assert!(!is_alive(&File::open(&path).unwrap()).unwrap());
        try_lock(&held, LockMode::Exclusive).unwrap();
        let seen = File::open(&path).unwrap();
        assert!(is_alive(&seen).unwrap());
        // A number alone proves nothing.
        drop(held);
        assert!(!stop(std::process::id(), &seen).unwrap());
        assert!(!stop(0, &seen).unwrap());
    }
}
