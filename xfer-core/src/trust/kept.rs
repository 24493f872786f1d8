//! The key of a state directory: made on first use, and its owner's alone.

use std::path::Path;

use super::{KeyError, PublicKey, SigningKey};
use crate::disk::secret::{SecretError, found_secret, kept_secret};
use crate::disk::state::StateDirectory;

const FILE: &str = "trust.key";

/// Why a state directory has no key.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It can be neither read nor written, or others may read it.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is none in it, or none could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The key of this state directory; `unique` is a random number.
///
/// # Errors
/// When there is none and none can be made, or others may read it.
pub fn kept_in(state: &StateDirectory, unique: u64) -> Result<SigningKey, TrustError> {
    let document = kept_secret(state, FILE, unique, SigningKey::generate_document)??;
    Ok(SigningKey::from_pkcs8(&document)?)
}

/// What checks what the owner of a state directory signs; nothing where there is no key yet, and
/// none is made.
///
/// # Errors
/// When there is one that cannot be read, is none, or may be read by others.
pub fn found_in(directory: &Path) -> Result<Option<PublicKey>, TrustError> {
    match found_secret(directory, FILE)? {
        Some(document) => Ok(Some(SigningKey::from_pkcs8(&document)?.public())),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_has_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let open = |name| StateDirectory::open(&directory.path().join(name)).unwrap();
        let key = |name, unique| kept_in(&open(name), unique).unwrap().public();
        assert_eq!(found_in(&directory.path().join("a")).unwrap(), None);
        assert_eq!(key("a", 1), key("a", 2));
        assert_eq!(found_in(&directory.path().join("a")).unwrap(), Some(key("a", 3)));
        assert_ne!(key("a", 1), key("b", 1));
    }

    #[test]
    fn what_is_no_key_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(directory.path()).unwrap();
        let mut file = state.create(FILE, 1).unwrap();
        file.write(b"no key").unwrap();
        file.commit(false).unwrap();
        for unique in 2..4 {
            assert!(matches!(kept_in(&state, unique), Err(TrustError::Key(KeyError))));
        }
    }
}
