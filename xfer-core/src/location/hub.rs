//! Repositories of the Hugging Face hub, as they are typed.

use std::fmt;

use super::reason::LocationReason;
use super::store::literal_path;

/// Bytes of the name of an owner, of a repository and of a revision.
const NAME_BYTES_MAX: usize = 96;
const REVISION_BYTES_MAX: usize = 255;

/// The revision where none is named.
const MAIN: &str = "main";

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HubKind {
    /// A model: `hf://owner/model`.
    Model,
    /// A dataset: `hf://datasets/owner/name`.
    Dataset,
}

/// A repository at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubRepository {
    /// What it holds.
    pub kind: HubKind,
    /// Whose it is, and its name: `owner/name`.
    pub id: String,
    /// A branch, a tag or a commit; `main` where none was named.
    pub revision: String,
}

impl HubRepository {
    /// Reads what stands behind `hf://`: the repository, and the path in it, which begins with `/`.
    pub(super) fn parse(rest: &[u8]) -> Result<(Self, Vec<u8>), LocationReason> {
        let bad = LocationReason::BadRepository;
        let (kind, rest) = match rest.strip_prefix(b"datasets/") {
            Some(rest) => (HubKind::Dataset, rest),
            None => (HubKind::Model, rest),
        };
        let mut parts = rest.splitn(3, |&b| b == b'/');
        let owner = parts.next().filter(|owner| is_name(owner)).ok_or(bad)?;
        let (name, revision) = split_revision(parts.next().ok_or(bad)?);
        if !is_name(name) || owner == b"spaces" || owner == b"datasets" {
            return Err(bad);
        }
        let revision = check_revision(revision.unwrap_or(MAIN.as_bytes()))?;
        let path = parts.next().map(|path| [b"/", path].concat()).unwrap_or_default();
        let id = String::from_utf8([owner, b"/", name].concat()).map_err(|_| bad)?;
        Ok((Self { kind, id, revision }, literal_path(&path)?))
    }
}

/// Shows the repository as it stands in a location.
impl fmt::Display for HubRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            HubKind::Model => "",
            HubKind::Dataset => "datasets/",
        };
        write!(f, "hf://{kind}{}", self.id)?;
        match &*self.revision {
            MAIN => Ok(()),
            revision => write!(f, "@{}", revision.replace('/', "%2F")),
        }
    }
}

fn split_revision(name: &[u8]) -> (&[u8], Option<&[u8]>) {
    match name.iter().position(|&b| b == b'@') {
        Some(at) => (&name[..at], Some(&name[at + 1..])),
        None => (name, None),
    }
}

/// As the hub has them: no other text gets into the path of a request.
fn is_name(name: &[u8]) -> bool {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    let is_end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let doubled = |pair: &[u8]| pair == b".." || pair == b"--";
    name.len() <= NAME_BYTES_MAX
        && name.iter().all(is_plain)
        && is_end(name.first())
        && is_end(name.last())
        && !name.windows(2).any(doubled)
}

/// A revision; the `/` within one is typed as `%2F`, as the hub's own tools have it.
fn check_revision(revision: &[u8]) -> Result<String, LocationReason> {
    let text = std::str::from_utf8(revision).map_err(|_| LocationReason::BadRepository)?;
    let text = text.replace("%2F", "/").replace("%2f", "/");
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./+".contains(&b);
    let is_name = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains("..");
    // Its further parts would be taken for a path.
    let is_cut = text == "refs";
    if is_cut
        || text.len() > REVISION_BYTES_MAX
        || !text.bytes().all(is_plain)
        || !text.split('/').all(is_name)
    {
        return Err(LocationReason::BadRepository);
    }
    Ok(text)
}
