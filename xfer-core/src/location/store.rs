//! Buckets, as they are typed.

use std::fmt;

use super::reason::LocationReason;

/// Bytes of the shortest and the longest name of a bucket.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=63;

/// Bytes of the longest name of Google's that has dots; none of its parts is longer than others.
const DOTTED_BYTES_MAX: usize = 222;

/// What speaks to a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// S3 and whatever speaks it: `s3://`.
    S3,
    /// Google Cloud Storage: `gs://`.
    Gcs,
    /// Azure Blob Storage: `az://`.
    Azure,
    /// Backblaze B2, which speaks S3: `b2://`.
    B2,
}

impl StoreKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::S3, Self::Gcs, Self::Azure, Self::B2];

    /// What stands before the `://` of a location.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
            Self::B2 => "b2",
        }
    }
}

/// A bucket, or a container of Azure's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// What speaks to it.
    pub kind: StoreKind,
    /// Its name.
    pub name: String,
}

impl Bucket {
    /// Reads what stands behind `://`: the bucket, and the path in it, which begins with `/`.
    pub(super) fn parse(kind: StoreKind, rest: &[u8]) -> Result<(Self, Vec<u8>), LocationReason> {
        let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        let (name, path) = rest.split_at(end);
        if name.contains(&b'@') || (name.contains(&b':') && path.contains(&b'@')) {
            return Err(LocationReason::KeyInLocation);
        }
        if name.is_empty() {
            return Err(LocationReason::BucketMissing);
        }
        let text = std::str::from_utf8(name).ok().filter(|name| is_name(kind, name));
        let name = text.ok_or(LocationReason::BadBucket)?.to_owned();
        Ok((Self { kind, name }, literal_path(path)?))
    }
}

/// Shows the bucket as it stands in a location.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind.scheme(), self.name)
    }
}

/// A name is part of a host's name and of a request's path: no other text than a bucket's gets
/// there.
fn is_name(kind: StoreKind, name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let may_hold = |b: u8| match b {
        b'-' => true,
        b'.' => kind != StoreKind::Azure,
        b'_' => kind == StoreKind::Gcs,
        b => is_letter(b),
    };
    let ends = [name.bytes().next(), name.bytes().next_back()];
    let is_long = kind == StoreKind::Gcs
        && name.contains('.')
        && name.len() <= DOTTED_BYTES_MAX
        && name.split('.').all(|part| part.len() <= *NAME_BYTES.end());
    name.bytes().all(may_hold)
        && ends.into_iter().all(|end| end.is_some_and(is_letter))
        && !name.contains("..")
        && (NAME_BYTES.contains(&name.len()) || is_long)
}

/// A path whose bytes are those of names, none encoded. What other tools take for a query or a
/// fragment, and what a file system would take for another place, is refused.
pub(super) fn literal_path(path: &[u8]) -> Result<Vec<u8>, LocationReason> {
    if path.iter().any(|b| b"?#".contains(b)) {
        return Err(LocationReason::BadKey);
    }
    let Some(below) = path.strip_prefix(b"/").filter(|below| !below.is_empty()) else {
        return Ok(b"/".to_vec());
    };
    let names = below.strip_suffix(b"/").unwrap_or(below);
    let is_none = |name: &[u8]| matches!(name, b"" | b"." | b"..");
    if names.split(|&b| b == b'/').any(is_none) {
        return Err(LocationReason::BadKey);
    }
    Ok(path.to_vec())
}
