//! The threads that everything runs on.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Half as many workers as there are processors, and at least one: reading, writing and hashing
/// have threads of their own, and every worker more is woken to find little to do.
pub(crate) fn start() -> io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads((processors / 2).max(1)).enable_all().build()
}
