//! The key by which a standing peer is known: made on first use, and kept

use crate::disk::secret::{SecretError, kept_secret};
use crate::disk::state::{StateDirectory, StateError};
use crate::transport::keys::{KeyError, SessionKey};

const FILE: &str = "peer.key";

/// Why the peer has no key
#[derive(Debug, thiserror::Error)]
pub enum PeerKeyError {
    /// It can be neither read nor written, or others may read it.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is none in it, or none could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<StateError> for PeerKeyError {
    fn from(error: StateError) -> Self {
        Self::Secret(error.into())
    }
}

/// The key of this state directory; `unique` is a random number.
///
/// # Errors
/// When there is none and none can be made, or others may read it.
pub fn kept_in(state: &StateDirectory, unique: u64) -> Result<SessionKey, PeerKeyError> {
    let document = kept_secret(state, FILE, unique, SessionKey::generate_document)??;
    Ok(SessionKey::from_pkcs8(&document)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_keeps_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&directory.path().join("state")).unwrap();
        let first = kept_in(&state, 1).unwrap();
        assert_eq!(kept_in(&state, 2).unwrap().digest(), first.digest());
    }
}
