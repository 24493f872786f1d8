//! Where each source goes: rsync's rules about directories and trailing slashes.

use xfer_protocol::message::{Located, LocatedKind};
use xfer_protocol::path::{Escaped, PathError, RelPath};

/// One source and its place at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Which source, by its place in the request.
    pub source: usize,
    /// The directory to open at the source.
    pub source_root: Vec<u8>,
    /// The entry below it at which the scan begins; the root for a directory.
    pub under: RelPath,
    /// The directory to open at the destination.
    pub destination_root: Vec<u8>,
    /// The entry below it that the source becomes; the root when contents are merged into it.
    pub top: RelPath,
}

impl Mapping {
    /// Where an entry of the source goes at the destination.
    pub fn destination_of(&self, path: &RelPath) -> Result<RelPath, PathError> {
        match path.strip_prefix(&self.under) {
            Some(below) => self.top.join(&below),
            None => Err(PathError::DotComponent),
        }
    }
}

/// Why sources cannot be mapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// A name that is none.
    #[error("{} cannot be the name of an entry: {reason}", Escaped(.name))]
    BadName {
        /// The name.
        name: Vec<u8>,
        /// Why.
        reason: PathError,
    },
    /// The destination must be a directory and is not.
    #[error("the destination is not a directory")]
    NotADirectory,
    /// Two sources have one last name.
    #[error("sources {0} and {1} would have the same name at the destination")]
    SameName(usize, usize),
    /// Nothing matches.
    #[error("source {0} does not exist")]
    SourceMissing(usize),
}

/// Maps every source; `rows` are the located sources with their place in the request.
pub fn map_sources(
    rows: &[(usize, Located)],
    destination: &Located,
) -> Result<Vec<Mapping>, MappingError> {
    let into_directory = match destination.kind {
        Some(LocatedKind::Directory | LocatedKind::DirectoryLink) => true,
        Some(LocatedKind::Other) if destination.path.ends_with(b"/") || rows.len() > 1 => {
            return Err(MappingError::NotADirectory);
        }
        Some(LocatedKind::Other) => false,
        None => destination.path.ends_with(b"/") || rows.len() > 1 || is_directory(&rows[0].1),
    };
    if !into_directory && is_directory(&rows[0].1) {
        return Err(MappingError::NotADirectory);
    }
    let mut mappings: Vec<Mapping> = Vec::with_capacity(rows.len());
    for (source, located) in rows {
        let mapping = map_one(*source, located, destination, into_directory)?;
        if let Some(twin) = mappings.iter().find(|m| m.top == mapping.top) {
            return Err(MappingError::SameName(twin.source, *source));
        }
        mappings.push(mapping);
    }
    Ok(mappings)
}

/// The directory to open for a source, and the entry below it at which its scan begins; wherever it
/// goes.
pub fn begin_of(located: &Located) -> Result<(Vec<u8>, RelPath), MappingError> {
    if is_directory(located) {
        return Ok((located.path.clone(), RelPath::root()));
    }
    above(&located.path)
}

/// The directory that holds an entry, and the entry's name in it.
pub fn above(path: &[u8]) -> Result<(Vec<u8>, RelPath), MappingError> {
    let (parent, name) = split_name(path);
    match RelPath::new(name.clone()) {
        Ok(name) => Ok((parent, name)),
        Err(reason) => Err(MappingError::BadName { name, reason }),
    }
}

fn map_one(
    source: usize,
    located: &Located,
    destination: &Located,
    into_directory: bool,
) -> Result<Mapping, MappingError> {
    if located.kind.is_none() {
        return Err(MappingError::SourceMissing(source));
    }
    let named = |name: Vec<u8>| {
        let bad = |reason| MappingError::BadName { name: name.clone(), reason };
        RelPath::new(name.clone()).map_err(bad)
    };
    let own_name = named(split_name(&located.path).1)?;
    let (source_root, under) = begin_of(located)?;
    let contents = is_directory(located) && (located.path.ends_with(b"/") || own_name.is_root());
    let (destination_root, top) = if into_directory {
        let top = if contents { RelPath::root() } else { own_name };
        (destination.path.clone(), top)
    } else {
        let (root, name) = split_name(&destination.path);
        (root, named(name)?)
    };
    Ok(Mapping { source, source_root, under, destination_root, top })
}

/// A link to a directory counts as one only with a trailing slash, as for rsync.
fn is_directory(located: &Located) -> bool {
    match located.kind {
        Some(LocatedKind::Directory) => true,
        Some(LocatedKind::DirectoryLink) => located.path.ends_with(b"/"),
        _ => false,
    }
}

/// The directory and the last name; the name is empty where a path ends in `.`, `..` or is `/`.
fn split_name(path: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |last| last + 1);
    let trimmed = &path[..end];
    let start = trimmed.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    let parent = match &trimmed[..start] {
        b"" => b".".to_vec(),
        parent => parent.to_vec(),
    };
    match &trimmed[start..] {
        b"" | b"." | b".." => (path.to_vec(), Vec::new()),
        name => (parent, name.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(path: &str, kind: Option<LocatedKind>) -> Located {
        Located { path: path.into(), kind }
    }

    fn map(source: &str, kind: LocatedKind, to: &str, at: Option<LocatedKind>) -> (String, String) {
        let rows = [(0, located(source, Some(kind)))];
        let mappings = map_sources(&rows, &located(to, at)).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&mappings[0].destination_root), text(mappings[0].top.as_bytes()))
    }

    #[test]
    fn slashes_mean_what_rsync_means_by_them() {
        use LocatedKind::{Directory, DirectoryLink, Other};
        let cases = [
            ("a/dir", Directory, "to", Some(Directory), "to", "dir"),
            ("a/dir/", Directory, "to", Some(Directory), "to", ""),
            (".", Directory, "to", Some(Directory), "to", ""),
            ("/", Directory, "to", Some(Directory), "to", ""),
            ("a/dir", Directory, "to", None, "to", "dir"),
            ("a/dir/", Directory, "new/to", None, "new/to", ""),
            ("a/f", Other, "to", Some(Directory), "to", "f"),
            ("a/f", Other, "to", None, ".", "to"),
            ("a/f", Other, "x/to", None, "x/", "to"),
            ("a/f", Other, "to/", None, "to/", "f"),
            ("a/f", Other, "x/g", Some(Other), "x/", "g"),
            ("a/link", DirectoryLink, "to", Some(Directory), "to", "link"),
            ("a/link/", DirectoryLink, "to", Some(Directory), "to", ""),
            ("a/dir", Directory, "/", Some(Directory), "/", "dir"),
        ];
        for (source, kind, to, at, root, top) in cases {
            assert_eq!(map(source, kind, to, at), (root.into(), top.into()), "{source} -> {to}");
        }
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        let file = |path| located(path, Some(LocatedKind::Other));
        let directory = located("d", Some(LocatedKind::Directory));
        let two = [(0, file("a/x")), (1, file("b/x"))];
        assert_eq!(map_sources(&two, &directory), Err(MappingError::SameName(0, 1)));
        let two = [(0, file("a/x")), (1, file("b/y"))];
        assert_eq!(map_sources(&two, &file("f")), Err(MappingError::NotADirectory));
        let one = [(0, directory.clone())];
        assert_eq!(map_sources(&one, &file("f")), Err(MappingError::NotADirectory));
        let none = [(0, located("gone", None))];
        assert_eq!(map_sources(&none, &directory), Err(MappingError::SourceMissing(0)));
    }

    #[test]
    fn entries_follow_their_top() {
        let rows = [(0, located("a/f", Some(LocatedKind::Other)))];
        let mapping = &map_sources(&rows, &located("g", None)).unwrap()[0];
        let from = RelPath::new("f").unwrap();
        assert_eq!(mapping.destination_of(&from).unwrap(), RelPath::new("g").unwrap());
    }
}
