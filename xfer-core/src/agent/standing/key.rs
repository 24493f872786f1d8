//! The key by which a standing peer is known: made on first use, and kept

use crate::disk::lock::{LockMode, lock};
use crate::disk::settings_file::{self, SettingsFileError};
use crate::disk::state::{StateDirectory, StateError};
use crate::transport::keys::{KeyError, SessionKey};

const FILE: &str = "peer.key";

/// Bytes of the file at most
const FILE_BYTES_MAX: u64 = 4096;

/// Why the peer has no key
#[derive(Debug, thiserror::Error)]
pub enum PeerKeyError {
    /// The directory or the file cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SettingsFileError),
    /// Others may read it.
    #[error("the peer's key in the state directory may be read by others")]
    Exposed,
    /// There is none in it, or none could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another process holds the place where it is made.
    #[error("another process is making the peer's key")]
    Busy,
}

/// The key of this state directory; `unique` is a random number.
///
/// # Errors
/// When there is none and none can be made, or others may read it.
pub fn kept_in(state: &StateDirectory, unique: u64) -> Result<SessionKey, PeerKeyError> {
    // Two that start at once must end with one key.
    let turn = state.lock_file("peer.key.lock")?;
    lock(&turn, LockMode::Exclusive).map_err(|_| PeerKeyError::Busy)?;
    match settings_file::read(&state.path_of(FILE), FILE_BYTES_MAX) {
        Ok(file) if file.mode & 0o077 != 0 => Err(PeerKeyError::Exposed),
        Ok(file) => Ok(SessionKey::from_pkcs8(&file.bytes)?),
        Err(error) if error.is_missing() => {
            let document = SessionKey::generate_document()?;
            let mut file = state.create(FILE, unique)?;
            file.write(&document)?;
            file.commit(true)?;
            Ok(SessionKey::from_pkcs8(&document)?)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stays_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&directory.path().join("state")).unwrap();
        let first = kept_in(&state, 1).unwrap();
        assert_eq!(kept_in(&state, 2).unwrap().digest(), first.digest());
        let path = state.path_of(FILE);
        assert_eq!(settings_file::read(&path, FILE_BYTES_MAX).unwrap().mode, 0o600);
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(kept_in(&state, 3), Err(PeerKeyError::Exposed)));
    }
}
