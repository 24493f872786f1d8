//! Tests of what root would never meet.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage may panic")]

use std::path::Path;

use rustix::process::Uid;

/// A user that owns nothing.
const NOBODY: u32 = 65534;

/// Runs a test in an empty directory of its own, as somebody who is not root.
pub(crate) fn run(test: impl FnOnce(&Path) + Send) {
    let directory = tempfile::tempdir().unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(directory.path(), Some(NOBODY), None).unwrap();
    }
    std::thread::scope(|scope| {
        let tested = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let nobody = Uid::from_raw(NOBODY);
                // Of this thread alone, which ends with the test.
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            test(directory.path());
        });
        tested.join().unwrap();
    });
}
