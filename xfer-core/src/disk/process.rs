//! What a process sets right of its own before anything runs.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};

/// Sets right what a caller may have left wrong, and what the defaults of the system cost. Programs
/// that this process starts inherit most of it.
pub fn prepare() {
    keep_owner_rights();
    tell_file_size_limit();
    allow_many();
    keep_freed_memory();
}

/// Sets a umask right that takes the owner's own rights, with which directories could not be
/// entered by who made them.
fn keep_owner_rights() {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask & Mode::from_raw_mode(0o077));
}

/// Has a file that grows beyond the process's limit answered with `EFBIG` alone.
///
/// By default the system kills the process as well, before what has arrived can be kept and before
/// anybody is told. Programs that this process starts inherit it.
pub(crate) fn tell_file_size_limit() {
    // SAFETY: ignoring a signal installs no handler, and may be done at any time.
    #[expect(unsafe_code, reason = "the system has no other interface")]
    let _refused = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Has a program that is about to be started end when this process does, however that ends, and
/// keeps from it what is typed to interrupt this one: what it does is to be finished first.
pub(crate) fn end_with_us(command: &mut tokio::process::Command) {
    command.process_group(0).kill_on_drop(true);
    #[cfg(target_os = "linux")]
    {
        let us = rustix::process::getpid();
        let ask = move || {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            match rustix::process::getppid() == Some(us) {
                true => Ok(()),
                // It ended in between.
                false => Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe)),
            }
        };
        // SAFETY: what runs before the program makes two calls of the system and allocates nothing.
        #[expect(unsafe_code, reason = "the system has no other interface")]
        let _same = unsafe { command.pre_exec(ask) };
    }
}

/// Ends a program that was started so and was not waited for yet, with all that it started.
pub(crate) fn end_group(id: u32) {
    let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = id {
        // It may have ended by itself.
        let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Lets this process open as many descriptors as the system would let it on request. Programs that
/// it starts inherit that.
pub fn allow_many() {
    let allowed = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: allowed.maximum, ..allowed };
    // With fewer, a transfer of very many sources says so.
    let _refused = rustix::process::setrlimit(Resource::Nofile, wanted);
}

/// Tells the allocator to keep what is freed.
///
/// Blocks of a mebibyte are made and dropped by the thousand. By default the allocator hands each
/// back to the system, and the next one is faulted in page by page: a third of all processor time.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const SETTINGS: [(libc::c_int, libc::c_int); 4] = [
            (libc::M_ARENA_MAX, 2),
            (libc::M_MMAP_THRESHOLD, 32 << 20),
            (libc::M_TOP_PAD, 4 << 20),
            (libc::M_TRIM_THRESHOLD, 32 << 20),
        ];
        for (setting, value) in SETTINGS {
            // SAFETY: `mallopt` takes two numbers and may be called at any time.
            #[expect(unsafe_code, reason = "the allocator has no other interface")]
            let _refused = unsafe { libc::mallopt(setting, value) };
        }
    }
}
