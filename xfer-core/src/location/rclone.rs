//! Remotes of an installed rclone, as they are typed.

use std::fmt;

use super::reason::LocationReason;

/// Bytes of the longest name of a remote.
const NAME_BYTES_MAX: usize = 128;

/// A remote that rclone's own configuration describes, or one of its backends (`:s3`) that its
/// environment does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RcloneRemote {
    /// Its name; a backend's begins with `:`.
    pub name: String,
    /// Whether paths begin at the top of what it leads to, and not where it says: a machine or a
    /// disk can tell these apart.
    pub absolute: bool,
}

impl RcloneRemote {
    /// Reads what stands behind `rclone:`: the remote, and the path in it, which begins with `/`.
    pub(super) fn parse(rest: &[u8]) -> Result<(Self, Vec<u8>), LocationReason> {
        let backend = rest.strip_prefix(b":");
        let text = backend.unwrap_or(rest);
        let end = text.iter().position(|&b| b == b':').unwrap_or(text.len());
        // What stands behind a comma may be a key, and would be seen by whoever lists programs.
        if text[..end].contains(&b',') {
            return Err(LocationReason::RemoteParameters);
        }
        let (name, path) = (&text[..end], text.get(end + 1..));
        let path = path.ok_or(LocationReason::BadRemote)?;
        let name = std::str::from_utf8(name).ok();
        let is_name = if backend.is_some() { is_backend } else { is_remote };
        let name = name.filter(|name| is_name(name)).ok_or(LocationReason::BadRemote)?;
        let colon = if backend.is_some() { ":" } else { "" };
        let remote = Self { name: format!("{colon}{name}"), absolute: path.starts_with(b"/") };
        let below = path.strip_prefix(b"/").unwrap_or(path);
        let names = below.strip_suffix(b"/").unwrap_or(below);
        let is_none = |name: &[u8]| matches!(name, b"" | b"." | b"..");
        if !below.is_empty() && names.split(|&b| b == b'/').any(is_none) {
            return Err(LocationReason::BadRemotePath);
        }
        Ok((remote, [b"/", below].concat()))
    }

    /// What rclone calls it: with a `:`, and a `/` where paths begin at the top.
    #[must_use]
    pub fn file_system(&self) -> String {
        format!("{}:{}", self.name, if self.absolute { "/" } else { "" })
    }

    /// A path in it, as it is typed behind the remote.
    pub(super) fn typed<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        if self.absolute { path } else { path.strip_prefix(b"/").unwrap_or(path) }
    }
}

/// Shows the remote as it stands in a location.
impl fmt::Display for RcloneRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rclone:{}", self.name)
    }
}

/// What rclone itself takes for the name of a remote.
fn is_remote(name: &str) -> bool {
    let may_hold = |c: char| c.is_alphanumeric() || "_-.+@ ".contains(c);
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(may_hold)
        && !name.starts_with(['-', ' '])
        && !name.ends_with(' ')
}

fn is_backend(name: &str) -> bool {
    let may_hold = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(may_hold)
}

/// What was typed, without what may be a key among the parameters of a remote.
pub(super) fn redact(text: &[u8]) -> Vec<u8> {
    match text.iter().position(|&b| b == b',') {
        Some(comma) => [&text[..comma], b",***"].concat(),
        None => text.to_vec(),
    }
}
