//! Signals that the system sends where an error number says the same.

/// Has a file that grows beyond the process's limit answered with `EFBIG` alone.
///
/// By default the system kills the process as well, before what has arrived can be kept and before
/// anybody is told. Programs that this process starts inherit it.
pub fn tell_file_size_limit() {
    // SAFETY: ignoring a signal installs no handler, and may be done at any time.
    #[expect(unsafe_code, reason = "the system has no other interface")]
    let _refused = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
