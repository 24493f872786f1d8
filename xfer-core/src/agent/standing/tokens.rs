//! The token file of a standing peer: what it knows tokens by, and what each may do.
//!
//! One line for each: `VERIFIER access=read|write roots=*|NAME,… expires=never|SECONDS`, seconds
//! since 1970. Empty lines and those that begin with `#` mean nothing. No line lets anybody in.

use std::io;
use std::path::PathBuf;

use crate::disk::named_roots::is_root_name;
use crate::disk::settings_file::{self, SettingsFileError};
use crate::transport::peer::Verifier;

/// Bytes of a token file at most: it is read whenever somebody proves a key.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// What a token may do
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its names of roots; `None` stands for all that are served
    pub roots: Option<Vec<String>>,
    /// Whether it may write
    pub writes: bool,
    /// Seconds since 1970 from which on it is worth nothing; `None` for never
    pub expires: Option<i64>,
}

/// The file, read anew each time: a line that is added or taken away counts from then on
#[derive(Clone, Debug)]
pub struct TokenFile(PathBuf);

/// Why tokens cannot be told
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SettingsFileError),
    /// Others could let themselves in.
    #[error("{}: others may write it, or it belongs to somebody else", .0.display())]
    Exposed(PathBuf),
    /// A line that means nothing.
    #[error("{}: line {line} is none of a token file", path.display())]
    Malformed {
        /// The file
        path: PathBuf,
        /// Counted from one
        line: usize,
    },
    /// A line could not be added.
    #[error("{}: {cause}", path.display())]
    Unwritable {
        /// The file
        path: PathBuf,
        /// What the system said
        cause: io::Error,
    },
}

impl TokenFile {
    /// The file of this name
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// All tokens that are listed, expired ones too.
    ///
    /// # Errors
    /// When the file is missing, may be written by others, or holds anything else.
    pub fn read(&self) -> Result<Vec<(Verifier, Grant)>, TokenFileError> {
        let file = settings_file::read(&self.0, FILE_BYTES_MAX)?;
        let is_ours = file.owner == 0 || file.owner == rustix::process::geteuid().as_raw();
        if file.mode & 0o022 != 0 || !is_ours {
            return Err(TokenFileError::Exposed(self.0.clone()));
        }
        let malformed = |line| TokenFileError::Malformed { path: self.0.clone(), line };
        let text = std::str::from_utf8(&file.bytes).map_err(|_| malformed(1))?;
        let means = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
        let lines = text.lines().enumerate().filter(|(_, line)| means(line));
        lines.map(|(at, line)| understand(line).ok_or_else(|| malformed(at + 1))).collect()
    }

    /// The grant of one token, where it is listed.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn find(&self, verifier: Verifier) -> Result<Option<Grant>, TokenFileError> {
        let found = self.read()?.into_iter().find(|(known, _)| *known == verifier);
        Ok(found.map(|(_, grant)| grant))
    }

    /// Adds a token; the file is made, for its owner alone, where it is missing.
    ///
    /// # Errors
    /// When the file cannot be written, or others may.
    pub fn add(&self, verifier: Verifier, grant: &Grant) -> Result<(), TokenFileError> {
        match self.read() {
            Err(TokenFileError::Unreadable(error)) if error.is_missing() => {}
            other => drop(other?),
        }
        let roots = grant.roots.as_ref().map_or_else(|| "*".to_owned(), |roots| roots.join(","));
        let access = if grant.writes { "write" } else { "read" };
        let expires = grant.expires.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let line = format!("{verifier} access={access} roots={roots} expires={expires}");
        let added = settings_file::append_line(&self.0, &line);
        added.map_err(|cause| TokenFileError::Unwritable { path: self.0.clone(), cause })
    }
}

impl Grant {
    /// Whether it is worth nothing any more at a time in seconds since 1970
    #[must_use]
    pub fn has_expired(&self, now: i64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether a root of this name is within its reach
    #[must_use]
    pub fn reaches(&self, name: &str) -> bool {
        self.roots.as_ref().is_none_or(|roots| roots.iter().any(|root| root == name))
    }
}

/// Every field has to be there, once and in order: what a slip of the hand left out must not widen
/// what a token may do.
fn understand(line: &str) -> Option<(Verifier, Grant)> {
    let mut fields = line.split_whitespace();
    let verifier = verifier(fields.next()?)?;
    let writes = match fields.next()?.strip_prefix("access=")? {
        "read" => false,
        "write" => true,
        _ => return None,
    };
    let roots = match fields.next()?.strip_prefix("roots=")? {
        "*" => None,
        names => Some(names.split(',').map(ToOwned::to_owned).collect::<Vec<_>>()),
    };
    if roots.as_ref().is_some_and(|roots| !roots.iter().all(|name| is_root_name(name))) {
        return None;
    }
    let expires = match fields.next()?.strip_prefix("expires=")? {
        "never" => None,
        seconds => Some(seconds.parse().ok()?),
    };
    fields.next().is_none().then_some((verifier, Grant { roots, writes, expires }))
}

fn verifier(text: &str) -> Option<Verifier> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Verifier(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn lab() -> (tempfile::TempDir, PathBuf, TokenFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        (directory, path.clone(), TokenFile::new(path))
    }

    #[test]
    fn what_is_added_is_found_again() {
        let (_directory, path, file) = lab();
        let some = Some(vec!["a".to_owned(), "b-1".to_owned()]);
        let grants = [
            Grant { roots: None, writes: true, expires: None },
            Grant { roots: some, writes: false, expires: Some(100) },
        ];
        for (at, grant) in (1..).zip(&grants) {
            file.add(Verifier([at; 32]), grant).unwrap();
        }
        assert_eq!(settings_file::read(&path, 1000).unwrap().mode, 0o600);
        for (at, grant) in (1..).zip(&grants) {
            assert_eq!(file.find(Verifier([at; 32])).unwrap().as_ref(), Some(grant));
        }
        assert_eq!(file.find(Verifier([9; 32])).unwrap(), None);
        assert!(grants[1].has_expired(100) && !grants[1].has_expired(99));
        assert!(!grants[0].has_expired(i64::MAX));
        assert!(grants[0].reaches("x") && grants[1].reaches("a") && !grants[1].reaches("x"));
    }

    #[test]
    fn what_is_no_token_lets_nobody_in() {
        let (_directory, path, file) = lab();
        let hex = "ab".repeat(32);
        for line in [
            hex.clone(),
            format!("{hex} access=write"),
            format!("{hex} access=all roots=* expires=never"),
            format!("{hex} access=read roots= expires=never"),
            format!("{hex} access=read roots=a,../b expires=never"),
            format!("{hex} access=read roots=* expires=soon"),
            format!("{hex} access=read roots=* expires=never access=write"),
            format!("{} access=read roots=* expires=never", &hex[2..]),
        ] {
            #[expect(clippy::disallowed_methods, reason = "the test writes the file itself")]
            std::fs::write(&path, format!("# tokens\n\n{line}\n")).unwrap();
            let refused = file.read().unwrap_err();
            assert!(matches!(refused, TokenFileError::Malformed { line: 3, .. }), "{line}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(matches!(file.read().unwrap_err(), TokenFileError::Exposed(_)));
    }
}
