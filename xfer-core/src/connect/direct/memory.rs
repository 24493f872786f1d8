//! Ways that led nowhere, remembered for a while: nobody waits for them twice.
//!
//! What one network blocks another may let pass, so each is remembered with the address that this
//! machine has on its way there.

use std::net::IpAddr;
use std::sync::Arc;

use super::candidates::Candidate;
use crate::clock::Clock;
use crate::disk::state::StateDirectory;

/// For how many seconds a way is not tried again.
const REMEMBERED_SECONDS: i64 = 10 * 60;

/// The directory below the state directory.
const DIRECTORY: &str = "silent-routes";

/// What is remembered; nothing where there is no state directory.
pub(super) struct Memory {
    directory: Option<StateDirectory>,
    clock: Arc<dyn Clock>,
    network: Option<IpAddr>,
}

impl Memory {
    /// Reads and writes below the state directory, for a machine with this address.
    pub(super) fn new(
        state: Option<&StateDirectory>,
        network: Option<IpAddr>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let directory = state.and_then(|state| state.child(DIRECTORY).ok());
        Self { directory, clock, network }
    }

    /// Whether the way was silent a short while ago.
    pub(super) fn holds(&self, candidate: &Candidate) -> bool {
        let Some(directory) = &self.directory else { return false };
        let since = self.clock.now().seconds.saturating_sub(REMEMBERED_SECONDS);
        // What cannot be removed is believed a while longer, and costs a detour.
        let _still_there = directory.remove_older_than(since);
        directory.read(&self.name(candidate)).is_ok_and(|found| found.is_some())
    }

    /// Remembers a way that was silent. Where that fails, it is tried again.
    pub(super) fn note(&self, candidate: &Candidate, unique: u64) {
        let Some(directory) = &self.directory else { return };
        let made = directory.create(&self.name(candidate), unique);
        let _forgotten = made.and_then(|file| file.commit(false));
    }

    /// Forgets a way that answered.
    pub(super) fn forget(&self, candidate: &Candidate) {
        if let Some(directory) = &self.directory {
            let _never_there = directory.remove(&self.name(candidate));
        }
    }

    fn name(&self, candidate: &Candidate) -> String {
        let network = self.network.map(|address| address.to_string()).unwrap_or_default();
        let digest = blake3::hash(format!("{network} {candidate}").as_bytes());
        digest.to_hex()[..32].to_owned()
    }
}
