//! The allocator's manners.

/// Tells the allocator to keep what is freed.
///
/// Blocks of a mebibyte are made and dropped by the thousand. By default the allocator hands each
/// back to the system, and the next one is faulted in page by page: a third of all processor time.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const SETTINGS: [(libc::c_int, libc::c_int); 4] = [
            (libc::M_ARENA_MAX, 2),
            (libc::M_MMAP_THRESHOLD, 32 << 20),
            (libc::M_TOP_PAD, 4 << 20),
            (libc::M_TRIM_THRESHOLD, 128 << 20),
        ];
        for (setting, value) in SETTINGS {
            // SAFETY: `mallopt` takes two numbers and may be called at any time.
            #[expect(unsafe_code, reason = "the allocator has no other interface")]
            let _refused = unsafe { libc::mallopt(setting, value) };
        }
    }
}
