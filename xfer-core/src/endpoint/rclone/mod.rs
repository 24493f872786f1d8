//! What an installed rclone reaches, as one bucket: Google Drive, Dropbox and whatever else it
//! knows.
//!
//! One rclone runs beside this process and is asked over a socket that nobody else reaches: a
//! process for each file would take longer than most files. It reads its own configuration, of
//! which nothing is known here. Small files are laid into a directory of ours, from where it copies
//! them with their times; large ones are streamed to it in order, under the name of a partial where
//! the remote can rename, so that no file appears before it is whole. What arrived is proven by
//! reading it back, and rclone's own sums count as received.

mod beside;
mod calls;
mod listing;
mod problem;
mod rows;
mod store;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::object::store::{Key, StoreError, StoreResult, UploadId};
use crate::clock::Clock;
use crate::location::RcloneRemote;
use futures_util::future::BoxFuture;

use self::beside::Beside;
use self::listing::Listings;
pub use self::problem::OpenProblem;
use self::rows::Features;
use self::upload::Streaming;

/// What an opened remote does beyond what it is asked in each call.
#[derive(Clone, Debug)]
pub struct RcloneOptions {
    /// The program; without a `/`, one that is found by its name.
    pub program: OsString,
    /// Silence after which what is streamed is given up.
    pub stall: Duration,
    /// Random bits, from which names of ours are drawn.
    pub seed: u64,
}

/// One remote.
pub struct RcloneStore {
    name: String,
    /// What rclone calls it.
    file_system: String,
    program: Beside,
    features: Features,
    options: RcloneOptions,
    counted: AtomicU64,
    listings: Listings,
    /// Bytes of parts that wait for their turn.
    ahead: Arc<AtomicU64>,
    uploads: Mutex<HashMap<UploadId, Arc<Streaming>>>,
}

impl fmt::Debug for RcloneStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RcloneStore").field("name", &self.name).finish_non_exhaustive()
    }
}

impl RcloneStore {
    /// Starts rclone and has it open the remote.
    ///
    /// # Errors
    /// No rclone, one that is too old, no such remote, or one that cannot be opened.
    pub fn open<'a>(
        remote: &'a RcloneRemote,
        options: RcloneOptions,
        clock: &'a dyn Clock,
    ) -> BoxFuture<'a, Result<Self, OpenProblem>> {
        Box::pin(async move {
            let program = Beside::start(&options, clock).await?;
            let file_system = remote.file_system();
            let features = program.features(&file_system).await?;
            Ok(Self {
                name: remote.to_string(),
                file_system,
                program,
                features,
                options,
                counted: AtomicU64::new(0),
                listings: Listings::default(),
                ahead: Arc::default(),
                uploads: Mutex::default(),
            })
        })
    }

    /// Whether an entity tag of this remote follows from the bytes, and not from size and time
    /// alone.
    #[must_use]
    pub fn proves_states(&self) -> bool {
        self.features.proves_states()
    }

    /// Asks for what stands at a key, to find out whether the remote answers at all.
    ///
    /// # Errors
    /// What keeps it from answering; that nothing stands there is none.
    pub async fn first_look(&self, path: &str) -> StoreResult<()> {
        let looked = match Key::new(path.trim_matches('/')) {
            Some(key) if !self.features.is_bucket(key.as_str()) => self.row(&key).await.map(drop),
            key => {
                let directory = key.as_ref().map_or("", Key::as_str);
                self.program.list(&self.file_system, directory, None).await.map(drop)
            }
        };
        match looked {
            Err(StoreError::Missing) => Ok(()),
            looked => looked,
        }
    }

    fn count(&self) -> u64 {
        self.counted.fetch_add(1, Ordering::Relaxed)
    }
}

fn guard<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
