//! Secrets that a state directory keeps: made on first use, and their owner's alone.

use std::path::Path;

use super::lock::{LockMode, lock};
use super::settings_file::{self, SettingsFileError};
use super::state::{StateDirectory, StateError};

/// Bytes of a secret at most.
const BYTES_MAX: u64 = 4096;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The directory or the file cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SettingsFileError),
    /// Others may read it.
    #[error("{0} in the state directory may be read by others")]
    Exposed(&'static str),
    /// Another process holds the place where it is made.
    #[error("another process is making {0} in the state directory")]
    Busy(&'static str),
}

/// A secret of this name, made where there is none; `unique` is a random number.
///
/// # Errors
/// When it can be neither read nor made, or others may read it; within, why none was made.
pub fn kept_secret<E>(
    state: &StateDirectory,
    name: &'static str,
    unique: u64,
    make: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Result<Vec<u8>, E>, SecretError> {
    // Two that start at once must end with one secret.
    let turn = state.lock_file(&format!("{name}.lock"))?;
    lock(&turn, LockMode::Exclusive).map_err(|_| SecretError::Busy(name))?;
    if let Some(secret) = read_secret(&state.path_of(name), name)? {
        return Ok(Ok(secret));
    }
    let secret = match make() {
        Ok(secret) => secret,
        Err(error) => return Ok(Err(error)),
    };
    let mut file = state.create(name, unique)?;
    file.write(&secret)?;
    file.commit(true)?;
    Ok(Ok(secret))
}

/// A secret that was made earlier.
///
/// # Errors
/// When there is one that cannot be read, or that others may read.
pub fn found_secret(directory: &Path, name: &'static str) -> Result<Option<Vec<u8>>, SecretError> {
    read_secret(&directory.join(name), name)
}

fn read_secret(path: &Path, name: &'static str) -> Result<Option<Vec<u8>>, SecretError> {
    match settings_file::read(path, BYTES_MAX) {
        Ok(file) if file.mode & 0o077 != 0 => Err(SecretError::Exposed(name)),
        Ok(file) => Ok(Some(file.bytes)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_stays_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&directory.path().join("state")).unwrap();
        let kept =
            |unique: u8| kept_secret(&state, "x.key", unique.into(), || Ok::<_, ()>(vec![unique]));
        assert_eq!(kept(1).unwrap(), Ok(vec![1]));
        assert_eq!(kept(2).unwrap(), Ok(vec![1]));
        let none = kept_secret(&state, "y.key", 3, || Err(5)).unwrap();
        assert_eq!(none, Err(5));
        let path = state.path_of("x.key");
        assert_eq!(settings_file::read(&path, BYTES_MAX).unwrap().mode, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(kept(3), Err(SecretError::Exposed("x.key"))));
    }
}
